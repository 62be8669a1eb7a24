package remote

import "context"

// A scope is the lifetime of one operation as the caller sees it: a context
// that exists before the first call made under it, so that ending it can never
// come too early to be noticed.
type scope struct {
	ctx context.Context
	end context.CancelFunc
}

var scopes = newHandles[scope]("scope")

// BeginScope makes a scope and returns its handle, never 0.
func BeginScope() uint64 {
	ctx, end := context.WithCancel(context.Background())
	return scopes.add(scope{ctx, end})
}

// EndScope cancels everything that runs under the scope and forgets it.
// Ending an unknown scope does nothing.
func EndScope(id uint64) {
	if s, ok := scopes.take(id); ok {
		s.end()
	}
}

// scoped returns the context of a scope; 0 is the scope that never ends.
func scoped(id uint64) (context.Context, error) {
	if id == 0 {
		return context.Background(), nil
	}
	s, err := scopes.get(id)
	return s.ctx, err
}
