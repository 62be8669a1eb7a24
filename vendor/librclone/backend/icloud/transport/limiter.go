package transport

import (
	"context"
	"sync"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"

	"golang.org/x/time/rate"
)

// Limiter limits the rate and the concurrency of calls to the service's API. It
// lowers both limits when the service refuses calls because of its load, and
// raises them again later. All remotes of an Apple Account share a limiter.
// Transfers of contents do not count as calls.
//
// After several consecutive refusals, no call is made for a while, and then one
// at a time until one is accepted. A service that refuses everything for a
// minute would refuse any other call, too.
type Limiter struct {
	tokens *rate.Limiter
	slots  *Gate
	shared pauseFile // with the other processes of the account

	mu           sync.Mutex
	maxRate      rate.Limit
	currentRate  rate.Limit
	goodRate     rate.Limit    // the highest rate that the service is assumed to accept
	refusals     int           // consecutive refusals
	sinceRefusal int           // calls accepted since the last refusal
	breakBegan   time.Time     // when the last break began
	until        time.Time     // no call is made before this time
	breaks       int           // consecutive breaks
	probing      bool          // a call is under way that tests whether calls are accepted again
	changed      chan struct{} // closed and replaced when a waiting call may be admitted
	acceptedAt   []time.Time   // when the calls of the last second were accepted, the oldest first
}

const (
	minRate      = rate.Limit(0.5)  // calls a second
	slowDown     = 0.5              // factor of the rate on a refusal
	speedUp      = 1.25             // factor of the rate on each success below the good rate; rclone's pacer has 1.33
	creepUp      = 0.004            // increase of the rate, in calls a second, on each success at the good rate
	inARow       = 3                // consecutive refusals that begin a break
	goodRun      = 50               // accepted calls after which a single refusal does not lower the good rate
	lessGood     = 0.93             // factor of the good rate on a single refusal after fewer accepted calls
	minGoodRate  = rate.Limit(25)   // single refusals do not lower the good rate below this, because they may be random
	goodPart     = 0.5              // the good rate after a break, as a part of the rate before it, which a burst may have raised
	firstBreak   = time.Second      // length of a break if the service asked for none; doubled for each further break
	maxBreak     = 30 * time.Second // longest break that the service did not ask for
	burst        = 1                // no bursts, as in rclone's pacer
	DefaultRate  = 100
	DefaultSlots = 64
)

// NewLimiter returns a limiter of perSecond calls a second, or of any number if
// that is 0, with at most slots calls under way.
func NewLimiter(perSecond float64, slots int) *Limiter {
	highest := rate.Limit(perSecond)
	if perSecond <= 0 {
		highest = rate.Inf
	}
	return &Limiter{
		tokens:       rate.NewLimiter(highest, burst),
		slots:        newGate(max(1, slots)),
		maxRate:      highest,
		currentRate:  highest,
		goodRate:     highest,
		sinceRefusal: goodRun,
		changed:      make(chan struct{}),
	}
}

// turn is a call that the limiter has admitted.
type turn struct {
	begun time.Time
	probe bool // the call tests whether calls are accepted again
}

// begin waits until a call is admitted. If it succeeds, it must be followed by
// end. It fails at once if the service asked for a wait longer than longest.
func (l *Limiter) begin(ctx context.Context, longest time.Duration) (turn, error) {
	if err := l.slots.Enter(ctx); err != nil {
		return turn{}, err
	}
	for {
		admitted, err := l.pass(ctx, longest)
		if err == nil {
			if err = l.tokens.Wait(ctx); err == nil {
				if !admitted.probe && l.onBreak() {
					continue // the break began while the call waited for its token
				}
				admitted.begun = time.Now()
				return admitted, nil
			}
			if ctx.Err() == nil {
				err = context.DeadlineExceeded // ctx would end before the call is due
			}
		}
		l.end(admitted)
		return turn{}, err
	}
}

// onBreak reports whether only a probe or no call may be made.
func (l *Limiter) onBreak() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.breaks > 0 || time.Until(l.until) > 0
}

// pass waits for the end of a break. One call at a time passes as a probe until
// a call is accepted.
func (l *Limiter) pass(ctx context.Context, longest time.Duration) (turn, error) {
	for {
		others := l.shared.get(time.Now())
		l.mu.Lock()
		if others.After(l.until) {
			l.until = others
		}
		left, changed := time.Until(l.until), l.changed
		admitted := turn{probe: left <= 0 && l.breaks > 0 && !l.probing}
		free := left <= 0 && (l.breaks == 0 || admitted.probe)
		l.probing = l.probing || admitted.probe
		l.mu.Unlock()
		switch {
		case free:
			return admitted, nil
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
func (l *Limiter) end(admitted turn) {
	l.mu.Lock()
	if admitted.probe && l.probing {
		l.probing = false
		l.wake()
	}
	l.mu.Unlock()
	l.slots.Leave()
}

// wake wakes the calls that wait for the result of a probe. mu must be held.
func (l *Limiter) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// refused records that the service refused a call because of its load and asked
// for a wait, or for none if that is 0. No call is made during the wait, and the
// rate is lower afterwards. Several consecutive refusals begin a break, after
// which the rate is a fraction of the rate that was accepted before it. Further
// refusals of calls that were made before the break do not begin another one.
func (l *Limiter) refused(admitted turn, asked time.Duration) {
	l.slots.Throttled(admitted.begun)
	if asked > 0 {
		l.shared.set(time.Now(), time.Now().Add(asked))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.refusals++
	often := l.sinceRefusal < goodRun
	l.sinceRefusal = 0
	if until := now.Add(asked); until.After(l.until) {
		l.until = until
	}
	lowest := min(minRate, l.maxRate)
	if l.refusals < inARow {
		if l.currentRate != rate.Inf {
			if often {
				l.goodRate = max(l.goodRate*lessGood, min(l.goodRate, minGoodRate))
			}
			l.setRate(max(l.currentRate*slowDown, lowest))
		}
		return
	}
	if admitted.begun.Before(l.breakBegan) {
		return
	}
	l.breakBegan = now
	l.breaks++
	if until := now.Add(min(firstBreak<<min(l.breaks-1, 8), maxBreak)); asked == 0 && until.After(l.until) {
		l.until = until
	}
	if l.currentRate == rate.Inf {
		return
	}
	l.forget(now)
	reached := min(l.currentRate, l.maxRate)
	if len(l.acceptedAt) > 0 {
		reached = rate.Limit(len(l.acceptedAt))
		l.goodRate = max(min(l.goodRate, reached*goodPart), lowest)
	}
	l.setRate(max(reached*slowDown, lowest))
}

// accepted records a call that succeeded.
func (l *Limiter) accepted() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refusals = 0
	l.sinceRefusal++
	if l.breaks > 0 {
		l.breaks = 0
		l.wake()
	}
	if l.maxRate == rate.Inf {
		return
	}
	now := time.Now()
	l.forget(now)
	l.acceptedAt = append(l.acceptedAt, now)
	switch {
	case l.currentRate >= l.maxRate:
	case l.currentRate < l.goodRate:
		l.setRate(min(l.currentRate*speedUp, l.goodRate))
	default:
		l.goodRate = min(l.goodRate+creepUp, l.maxRate)
		l.setRate(l.goodRate)
	}
}

// forget removes the calls from acceptedAt that were accepted more than a second
// before now. mu must be held.
func (l *Limiter) forget(now time.Time) {
	for len(l.acceptedAt) > 0 && now.Sub(l.acceptedAt[0]) > time.Second {
		l.acceptedAt = l.acceptedAt[1:]
	}
}

func (l *Limiter) setRate(to rate.Limit) {
	l.currentRate = to
	l.tokens.SetLimit(to)
}

// ShareIn makes the processes of the account share the waits that the service
// asks for in a file, "" for none. It must be called before any call.
func (l *Limiter) ShareIn(path string) { l.shared.path = path }

// Tighten lowers the limits to those of another remote of the account.
func (l *Limiter) Tighten(perSecond float64, slots int) {
	l.slots.tighten(slots)
	l.mu.Lock()
	defer l.mu.Unlock()
	if wanted := rate.Limit(perSecond); perSecond > 0 && wanted < l.maxRate {
		l.maxRate = wanted
		l.goodRate = min(l.goodRate, wanted)
		l.setRate(min(l.currentRate, wanted))
	}
}
