package icloud

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// retries says how often and how fast a failed step is repeated.
type retries struct {
	tries   int           // of one step, the first included
	base    time.Duration // before the second try; doubled for each further one
	longest time.Duration // the longest wait that is worth it
	outages *outages      // of the account, if they are remembered
}

// pause is how long to wait before try number next (2 is the first repetition).
// asked is what the service asked for; more than the longest wait is not worth
// waiting for.
func (r retries) pause(next int, asked time.Duration) (time.Duration, bool) {
	if next > r.tries || asked > r.longest {
		return 0, false
	}
	return r.delay(next, asked), true
}

// delay is how long to wait before try number next.
func (r retries) delay(next int, asked time.Duration) time.Duration {
	wait := min(r.base<<min(next-2, 16), r.longest, longestPause)
	if wait > 0 {
		wait = wait/2 + rand.N(wait/2+1) // spread, so that parallel calls do not come back together
	}
	return max(wait, asked)
}

// longestPause bounds the pauses that nobody asked for.
const longestPause = 30 * time.Second

// wait waits before try number next of a step that failed so. It gives the
// failure when the step was tried often enough.
func (r retries) wait(ctx context.Context, next int, err error) error {
	if away := r.outages.since(failedHost(err)); away > 0 {
		return duringOutage(err, away)
	}
	pause, ok := r.forError(err).pause(next, retryAfterOf(err))
	if !ok {
		return err
	}
	return wait(ctx, pause, "trying again: "+reasonOf(err))
}

// How often failures of some kinds are worth a repetition. Writes of several
// processes to one zone shut each other out for about a second each; a service
// that asks for patience gets it; what is called wrong mostly is; and a silent
// service has been waited for already.
const (
	busyTries      = 4 // times the usual number
	silentTries    = 3
	throttledTries = 2 // times the usual number
	doubtfulTries  = 3
)

// forError adapts the retries to a failure.
func (r retries) forError(err error) retries {
	var typed *Error
	switch {
	case !errors.As(err, &typed):
	case typed.busy:
		r.tries *= busyTries
	case typed.kind == KindThrottled:
		r.tries *= throttledTries
	case typed.doubtful:
		r.tries = min(r.tries, doubtfulTries)
	case errors.Is(err, errSilent):
		r.tries = min(r.tries, silentTries)
	}
	return r
}

// zones keeps writes to one zone apart, once the service has turned one away
// for another that was under way. People have seen it do so; when exactly is
// not known, so writes begin side by side.
type zones struct {
	mu    sync.Mutex
	turns map[string]chan struct{} // of the zones in which writes go one by one
}

// enter waits for the turn of a write.
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

// crowded is told that a write was turned away.
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

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
