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
	Base    time.Duration // the pause before the second try; doubled for each further one
	Longest time.Duration // the longest wait that the service may ask for
	Outages *Outages      // of the account; nil for none
}

// Pause returns how long to wait before attempt number next (2 is the first
// retry), and whether to make this attempt. asked is the wait that the service
// asked for, or 0.
func (r Retries) Pause(next int, asked time.Duration) (time.Duration, bool) {
	if next > r.Tries || asked > r.Longest {
		return 0, false
	}
	return r.Delay(next, asked), true
}

// Delay returns how long to wait before attempt number next, at least asked.
func (r Retries) Delay(next int, asked time.Duration) time.Duration {
	wait := min(r.Base<<min(next-2, 16), r.Longest, MaxPause)
	if wait > 0 {
		wait = wait/2 + rand.N(wait/2+1) // jitter, so that concurrent calls are not retried together
	}
	return max(wait, asked)
}

// MaxPause is the longest pause that the service did not ask for.
const MaxPause = 30 * time.Second

// Wait waits before attempt number next of a step that failed with err. If the
// step is not to be attempted again, Wait returns err at once.
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

// The numbers of attempts for some kinds of failure. Writes of several processes
// to one zone block each other for about a second each. A throttling service
// gets more time. A doubtful refusal is usually correct. An attempt at a silent
// host takes as long as the option silence allows. The first attempts at a quick
// request take less.
const (
	busyTries      = 4 // times the usual number
	silentTries    = 4
	throttledTries = 2 // times the usual number
	DoubtfulTries  = 3
)

// forError returns the retries with the number of attempts for a failure.
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
