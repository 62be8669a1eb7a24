package icloud

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// retries defines how often and how fast a failed step is retried.
type retries struct {
	tries   int           // of one step, including the first
	base    time.Duration // before the second try; doubled for each further one
	longest time.Duration // the longest wait that is worthwhile
	outages *outages      // of the account, if they are remembered
}

// pause returns how long to wait before attempt number next (2 is the first
// retry). asked is the wait that the service asked for. A wait longer than the
// longest one is not worthwhile.
func (r retries) pause(next int, asked time.Duration) (time.Duration, bool) {
	if next > r.tries || asked > r.longest {
		return 0, false
	}
	return r.delay(next, asked), true
}

// delay returns how long to wait before attempt number next.
func (r retries) delay(next int, asked time.Duration) time.Duration {
	wait := min(r.base<<min(next-2, 16), r.longest, longestPause)
	if wait > 0 {
		wait = wait/2 + rand.N(wait/2+1) // jitter, so that parallel calls are not retried together
	}
	return max(wait, asked)
}

// longestPause limits the pauses that the service did not ask for.
const longestPause = 30 * time.Second

// wait waits before attempt number next of a failed step. It returns the
// failure if the step was attempted often enough.
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

// How often failures of some kinds are retried. Writes of several processes to
// one zone block each other for about a second each. A throttling service gets
// more time. A refusal as invalid is usually correct. A silent service has
// already been waited for.
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
