package transport

import (
	"context"
	"strings"
	"sync"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"

	"golang.org/x/time/rate"
)

// limiter limits the calls to the service's API: their rate, and how many are
// under way. It reduces both after the service asked for it, and raises them
// again later. A limiter serves one Apple Account with all its remotes.
// Transfers of contents do not count as calls.
//
// After several consecutive refusals, there are no calls for a while, and then
// one at a time until one is accepted: if the service refuses everything for a
// minute, other calls would be refused as well.
type limiter struct {
	tokens *rate.Limiter
	slots  *Gate

	mu      sync.Mutex
	highest rate.Limit
	now     rate.Limit
	good    rate.Limit // a rate that was not refused, or not for long
	row     int        // refusals in a row
	run     int        // calls accepted since the last refusal
	broke   time.Time  // when the last break began
	until   time.Time  // no call before
	strikes int        // breaks in a row
	probing bool       // a call is under way that finds out whether calls are accepted again
	changed chan struct{}
	recent  []time.Time // when the calls of the last second were accepted, the oldest first
}

const (
	minRate      = rate.Limit(0.5) // calls a second
	slowDown     = 0.5             // on a refusal
	speedUp      = 1.25            // on each success up to the good rate; rclone's pacer has 1.33
	creepUp      = 0.004           // calls a second more on each success beyond the good rate
	inARow       = 3               // refusals that make a break
	goodRun      = 50              // accepted calls after which a single refusal says nothing about the rate
	lessGood     = 0.93            // of the good rate, on a single refusal after fewer
	minGoodRate  = rate.Limit(25)  // to which single refusals lower the good rate; they may be random
	goodPart     = 0.8             // of the rate that was accepted before a break
	firstBreak   = time.Second     // without calls after a refusal that names no time; doubled for each further one
	maxBreak     = 30 * time.Second
	burst        = 1 // no bursts: this is what rclone's pacer does too
	DefaultRate  = 100
	DefaultSlots = 64
)

func newLimiter(perSecond float64, slots int) *limiter {
	highest := rate.Limit(perSecond)
	if perSecond <= 0 {
		highest = rate.Inf
	}
	return &limiter{
		tokens:  rate.NewLimiter(highest, burst),
		slots:   newGate(max(1, slots)),
		highest: highest,
		now:     highest,
		good:    highest,
		run:     goodRun,
		changed: make(chan struct{}),
	}
}

// turn is a call that the limiter has admitted.
type turn struct {
	begun time.Time
	probe bool
}

// begin waits until a call is admitted. It must be followed by end. If the
// service asked for more than the longest wait, begin fails at once.
func (l *limiter) begin(ctx context.Context, longest time.Duration) (turn, error) {
	if err := l.slots.Enter(ctx); err != nil {
		return turn{}, err
	}
	mine, err := l.pass(ctx, longest)
	if err == nil {
		if err = l.tokens.Wait(ctx); err == nil {
			mine.begun = time.Now()
			return mine, nil
		}
		if ctx.Err() == nil {
			err = context.DeadlineExceeded // the deadline comes before the turn
		}
	}
	l.end(mine)
	return turn{}, err
}

// pass waits while the service accepts no calls.
func (l *limiter) pass(ctx context.Context, longest time.Duration) (turn, error) {
	for {
		l.mu.Lock()
		left, changed := time.Until(l.until), l.changed
		mine := turn{probe: left <= 0 && l.strikes > 0 && !l.probing}
		free := left <= 0 && (l.strikes == 0 || mine.probe)
		l.probing = l.probing || mine.probe
		l.mu.Unlock()
		switch {
		case free:
			return mine, nil
		case left > longest:
			e := apierr.New(apierr.KindThrottled, "", "", "iCloud asked to wait with further requests")
			e.Wait, e.Final = left, true
			return turn{}, e
		case left > 0:
			if err := wait(ctx, left, "iCloud asks for fewer calls"); err != nil {
				return turn{}, err
			}
		default:
			select {
			case <-changed:
			case <-ctx.Done():
				return turn{}, ctx.Err()
			}
		}
	}
}

// end releases the slot of a call.
func (l *limiter) end(mine turn) {
	l.mu.Lock()
	if mine.probe && l.probing {
		l.probing = false
		l.wake()
	}
	l.mu.Unlock()
	l.slots.Leave()
}

// wake wakes the callers that wait for a probe. mu must be held.
func (l *limiter) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// refused records a 429 or 503: there are no calls for as long as the service
// asked, and fewer afterwards. After several consecutive refusals there is a
// break, and then the rate is a fraction of the rate that was accepted before.
// The results of calls that were under way when the break began are ignored.
func (l *limiter) refused(mine turn, asked time.Duration) {
	l.slots.Throttled(mine.begun)
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.row++
	often := l.run < goodRun
	l.run = 0
	if until := now.Add(asked); until.After(l.until) {
		l.until = until
	}
	lowest := min(minRate, l.highest)
	if l.row < inARow {
		if l.now != rate.Inf {
			if often {
				l.good = max(l.good*lessGood, min(l.good, minGoodRate))
			}
			l.setRate(max(l.now*slowDown, lowest))
		}
		return
	}
	if mine.begun.Before(l.broke) {
		return
	}
	l.broke = now
	l.strikes++
	if until := now.Add(min(firstBreak<<min(l.strikes-1, 8), maxBreak)); asked == 0 && until.After(l.until) {
		l.until = until
	}
	if l.now == rate.Inf {
		return
	}
	l.forget(now)
	reached := min(l.now, l.highest)
	if len(l.recent) > 0 {
		reached = rate.Limit(len(l.recent))
		l.good = max(min(l.good, reached*goodPart), lowest)
	}
	l.setRate(max(reached*slowDown, lowest))
}

// accepted records a call that succeeded.
func (l *limiter) accepted() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.row = 0
	l.run++
	if l.strikes > 0 {
		l.strikes = 0
		l.wake()
	}
	if l.highest == rate.Inf {
		return
	}
	now := time.Now()
	l.forget(now)
	l.recent = append(l.recent, now)
	switch {
	case l.now >= l.highest:
	case l.now < l.good:
		l.setRate(min(l.now*speedUp, l.good))
	default:
		l.good = min(l.good+creepUp, l.highest)
		l.setRate(l.good)
	}
}

// forget removes the calls that were accepted more than a second ago. mu must
// be held.
func (l *limiter) forget(now time.Time) {
	for len(l.recent) > 0 && now.Sub(l.recent[0]) > time.Second {
		l.recent = l.recent[1:]
	}
}

func (l *limiter) setRate(to rate.Limit) {
	l.now = to
	l.tokens.SetLimit(to)
}

// tighten applies the stricter limits of another remote of the account.
func (l *limiter) tighten(perSecond float64, slots int) {
	l.slots.tighten(slots)
	l.mu.Lock()
	defer l.mu.Unlock()
	if wanted := rate.Limit(perSecond); perSecond > 0 && wanted < l.highest {
		l.highest = wanted
		l.good = min(l.good, wanted)
		l.setRate(min(l.now, wanted))
	}
}

// limiters has the limiter of each Apple Account.
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

// ForgetLimiters forgets the limiters of all accounts, so that the next remotes
// are limited as in a new process. It is for tests.
func ForgetLimiters() {
	limiters.Lock()
	defer limiters.Unlock()
	clear(limiters.of)
}
