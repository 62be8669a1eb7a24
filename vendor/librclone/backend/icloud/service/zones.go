package service

import (
	"context"
	"sync"
)

// zones serialises the writes to a zone after the service has refused one
// because another was under way. Users have seen such refusals, but their exact
// condition is unknown, so writes are concurrent at first.
type zones struct {
	mu    sync.Mutex
	turns map[string]chan struct{} // of the zones in which writes go one by one
}

// enter waits until a write may begin.
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

// crowded records that a write was refused.
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
