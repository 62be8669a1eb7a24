package remote

import (
	"context"
)

// scope is the lifetime of an operation of the caller. Its context exists before the
// first call under it, so that the caller can end the scope at any time.
type scope struct {
	ctx context.Context
	end context.CancelFunc
}

var scopes = newHandles[scope]("scope")

// BeginScope creates a scope and returns its handle, which is never 0.
func BeginScope() uint64 {
	ctx, end := context.WithCancel(context.Background())
	return scopes.add(scope{ctx, end})
}

// EndScope cancels the calls that run under a scope and removes it. Ending an unknown
// scope does nothing.
func EndScope(id uint64) {
	if s, ok := scopes.take(id); ok {
		s.end()
	}
}

// scoped returns the context of a scope. The scope 0 never ends.
func scoped(id uint64) (context.Context, error) {
	if id == 0 {
		return context.Background(), nil
	}
	s, err := scopes.get(id)
	return s.ctx, err
}
