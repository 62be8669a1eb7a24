package transport

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
)

// Retries defines how often and how fast a failed step is retried.
type Retries struct {
	Tries   int           // of one step, including the first
	Base    time.Duration // before the second try; doubled for each further one
	Longest time.Duration // the longest wait that is worthwhile
	Outages *Outages      // of the account, if they are remembered
}

// Pause returns how long to wait before attempt number next (2 is the first
// retry). asked is the wait that the service asked for. A wait longer than the
// longest one is not worthwhile.
func (r Retries) Pause(next int, asked time.Duration) (time.Duration, bool) {
	if next > r.Tries || asked > r.Longest {
		return 0, false
	}
	return r.Delay(next, asked), true
}

// Delay returns how long to wait before attempt number next.
func (r Retries) Delay(next int, asked time.Duration) time.Duration {
	wait := min(r.Base<<min(next-2, 16), r.Longest, MaxPause)
	if wait > 0 {
		wait = wait/2 + rand.N(wait/2+1) // jitter, so that parallel calls are not retried together
	}
	return max(wait, asked)
}

// MaxPause limits the pauses that the service did not ask for.
const MaxPause = 30 * time.Second

// Wait waits before attempt number next of a failed step. It returns the
// failure if the step was attempted often enough.
func (r Retries) Wait(ctx context.Context, next int, err error) error {
	if away := r.Outages.since(apierr.HostOf(err)); away > 0 {
		return duringOutage(err, away)
	}
	pause, ok := r.forError(err).Pause(next, apierr.RetryAfterOf(err))
	if !ok {
		return err
	}
	return wait(ctx, pause, "trying again: "+apierr.ReasonOf(err))
}

// How often failures of some kinds are retried. Writes of several processes to
// one zone block each other for about a second each. A throttling service gets
// more time. A refusal as invalid is usually correct. A silent service has
// already been waited for.
const (
	busyTries      = 4 // times the usual number
	silentTries    = 3
	throttledTries = 2 // times the usual number
	DoubtfulTries  = 3
)

// forError adapts the retries to a failure.
func (r Retries) forError(err error) Retries {
	var typed *apierr.Error
	switch {
	case !errors.As(err, &typed):
	case typed.Busy:
		r.Tries *= busyTries
	case typed.Kind() == apierr.KindThrottled:
		r.Tries *= throttledTries
	case typed.Doubtful:
		r.Tries = min(r.Tries, DoubtfulTries)
	case errors.Is(err, ErrSilent):
		r.Tries = min(r.Tries, silentTries)
	}
	return r
}

// Sleep waits for a duration, or until ctx ends.
func Sleep(ctx context.Context, d time.Duration) error {
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
