package remote

import (
	"fmt"
	"sync"
)

// handles assigns numbers to values, by which the other side of the C boundary
// refers to them. A number is never reused, so that the use of a stale one is an
// error.
type handles[T any] struct {
	kind string // of the values, for errors

	mu     sync.Mutex
	last   uint64
	values map[uint64]T
}

func newHandles[T any](kind string) *handles[T] {
	return &handles[T]{kind: kind, values: make(map[uint64]T)}
}

func (h *handles[T]) add(value T) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	h.values[h.last] = value
	return h.last
}

func (h *handles[T]) get(id uint64) (T, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	value, ok := h.values[id]
	if !ok {
		return value, fmt.Errorf("%s %d is not open", h.kind, id)
	}
	return value, nil
}

// put replaces the value of a handle, if the handle still exists.
func (h *handles[T]) put(id uint64, value T) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.values[id]; ok {
		h.values[id] = value
	}
}

// take removes a value and returns it. Only one caller gets it.
func (h *handles[T]) take(id uint64) (T, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	value, ok := h.values[id]
	delete(h.values, id)
	return value, ok
}
