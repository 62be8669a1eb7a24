package service

import (
	"context"
	"sync"
)

// zones serialises the writes to a zone after the service has refused a write
// because another one was under way. Users have seen such refusals, but their
// exact condition is unknown, so writes are concurrent at first.
type zones struct {
	mu    sync.Mutex
	turns map[string]chan struct{} // of the zones in which writes are serialised
}

// enter waits until a write to a zone may begin. leave must be called after it.
func (z *zones) enter(ctx context.Context, zone string) (leave func(), err error) {
	z.mu.Lock()
	turn := z.turns[zone]
	z.mu.Unlock()
	if zone == "" || turn == nil {
		return func() {}, nil
	}
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// crowded records that the service refused a write to a zone because of another
// one, so that later writes to it are serialised.
func (z *zones) crowded(zone string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.turns == nil {
		z.turns = map[string]chan struct{}{}
	}
	if z.turns[zone] == nil {
		z.turns[zone] = make(chan struct{}, 1)
	}
}
