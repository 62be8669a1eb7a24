package icloud

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limiter keeps the calls to the service's API polite: so many a second, so
// many at once, fewer after the service asked for it, more again after a while.
// One limiter serves one Apple Account, whatever the number of remotes. The
// transfer of contents is no call.
type limiter struct {
	tokens *rate.Limiter
	slots  chan struct{}

	mu      sync.Mutex
	taken   int // slots that nobody gets any more
	highest rate.Limit
	now     rate.Limit
	until   time.Time // no call before
}

const (
	lowestRate   = rate.Limit(0.5) // calls a second
	slowDown     = 0.5             // on each refusal
	speedUp      = 1.25            // on each success below the highest rate; rclone's pacer has 1.33
	burst        = 1               // no bursts: this is what rclone's pacer does too
	defaultRate  = 100
	defaultSlots = 16
)

func newLimiter(perSecond float64, slots int) *limiter {
	if slots < 1 {
		slots = 1
	}
	highest := rate.Limit(perSecond)
	if perSecond <= 0 {
		highest = rate.Inf
	}
	return &limiter{
		tokens:  rate.NewLimiter(highest, burst),
		slots:   make(chan struct{}, slots),
		highest: highest,
		now:     highest,
	}
}

// begin waits for the turn of one call; end has to follow. Where the service
// asked for more than the longest wait it fails at once.
func (l *limiter) begin(ctx context.Context, longest time.Duration) error {
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		l.mu.Lock()
		wait := time.Until(l.until)
		l.mu.Unlock()
		if wait <= 0 {
			break
		}
		if wait > longest {
			l.end()
			e := fail(KindThrottled, "", "", "iCloud asked for no calls for a while")
			e.retryAfter, e.final = wait, true
			return e
		}
		if err := sleep(ctx, wait); err != nil {
			l.end()
			return err
		}
	}
	if err := l.tokens.Wait(ctx); err != nil {
		l.end()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return context.DeadlineExceeded // the deadline comes before the turn
	}
	return nil
}

func (l *limiter) end() { <-l.slots }

// refused is told of a 429 or 503: slower from now on, and nothing at all for
// as long as the service asked.
func (l *limiter) refused(wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if until := time.Now().Add(wait); until.After(l.until) {
		l.until = until
	}
	if l.now == rate.Inf {
		return
	}
	l.now = max(l.now*slowDown, min(lowestRate, l.highest))
	l.tokens.SetLimit(l.now)
}

// accepted is told of every call that worked.
func (l *limiter) accepted() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now >= l.highest {
		return
	}
	l.now = min(l.now*speedUp, l.highest)
	l.tokens.SetLimit(l.now)
}

// tighten makes the limiter as strict as another remote of the account wants.
func (l *limiter) tighten(perSecond float64, slots int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ; l.taken < cap(l.slots)-max(1, slots); l.taken++ {
		go func() { l.slots <- struct{}{} }() // which may wait for the end of a call
	}
	if wanted := rate.Limit(perSecond); perSecond > 0 && wanted < l.highest {
		l.highest = wanted
		l.now = min(l.now, wanted)
		l.tokens.SetLimit(l.now)
	}
}

// limiters holds the limiter of each Apple Account.
var limiters = struct {
	sync.Mutex
	of map[string]*limiter
}{of: map[string]*limiter{}}

func limiterOf(appleID string, perSecond float64, slots int) *limiter {
	limiters.Lock()
	defer limiters.Unlock()
	key := strings.ToLower(appleID)
	known, ok := limiters.of[key]
	if !ok {
		known = newLimiter(perSecond, slots)
		limiters.of[key] = known
		return known
	}
	known.tighten(perSecond, slots)
	return known
}

// retries says how often and how fast a failed step is repeated.
type retries struct {
	tries   int           // of one step, the first included
	base    time.Duration // before the second try; doubled for each further one
	longest time.Duration // the longest wait that is worth it
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
	pause, ok := r.forError(err).pause(next, retryAfterOf(err))
	if !ok {
		return err
	}
	return sleep(ctx, pause)
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
