package transport

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"
)

// The limiter keeps to its rate, slows down after refusals, and speeds up again
// afterwards. These tests run on the clock of synctest.
func TestLimiterAdaptsItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(100, 4)
		calls := func(n int) time.Duration {
			start := time.Now()
			for range n {
				admitted, err := l.begin(context.Background(), time.Hour)
				require.NoError(t, err)
				l.end(admitted)
			}
			return time.Since(start)
		}
		assert.InDelta(t, 2.0, calls(200).Seconds(), 0.05, "100 calls a second")
		refuse := func(asked time.Duration) { l.refused(turn{begun: time.Now()}, asked) }
		refuse(0)
		assert.InDelta(t, 2.0, calls(100).Seconds(), 0.05, "half as many")
		refuse(10 * time.Second)
		assert.InDelta(t, 10.0, calls(1).Seconds(), 0.1, "none while the service asked for it")
		for range 100 {
			refuse(0)
		}
		assert.Equal(t, minRate, l.currentRate)
		l.until = time.Time{}
		for range 300 {
			l.accepted()
		}
		assert.InDelta(t, 100, float64(l.currentRate), 10)

		for call := range 1000 { // one refusal in ten calls does not slow the limiter down for long
			if call%10 == 0 {
				refuse(0)
			} else {
				l.accepted()
			}
			assert.GreaterOrEqual(t, l.currentRate, minGoodRate*slowDown)
		}

		refuse(2 * time.Hour)
		_, err := l.begin(context.Background(), time.Hour)
		var typed *apierr.Error
		require.ErrorAs(t, err, &typed)
		assert.Equal(t, apierr.KindThrottled, typed.Kind())
		assert.Equal(t, 2*time.Hour, typed.RetryAfter())
	})
}

// At most 2 % of the calls are refused by a service that accepts a certain number
// of calls a second, and by a service that refuses all calls for a minute after
// too many.
func TestFewCallsAreRefused(t *testing.T) {
	for name, busy := range map[string]struct {
		perSecond int           // more are refused
		closed    time.Duration // after a refusal
	}{
		"30 calls a second":      {30, 0},
		"60 calls a second":      {60, 0},
		"a minute after a burst": {70, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := NewLimiter(DefaultRate, DefaultSlots)
				var mu sync.Mutex
				var second, closed time.Time
				inSecond, refused, accepted := 0, 0, 0
				accept := func() bool {
					mu.Lock()
					defer mu.Unlock()
					now := time.Now()
					if now.Sub(second) >= time.Second {
						second, inSecond = now, 0
					}
					inSecond++
					if now.Before(closed) || inSecond > busy.perSecond {
						if !now.Before(closed) {
							closed = now.Add(busy.closed)
						}
						refused++
						return false
					}
					accepted++
					return true
				}
				simtest.InParallel(DefaultSlots, 4000, func(int) {
					for {
						admitted, err := l.begin(context.Background(), time.Hour)
						require.NoError(t, err)
						time.Sleep(40 * time.Millisecond)
						good := accept()
						if good {
							l.accepted()
						} else {
							l.refused(admitted, 0)
						}
						l.end(admitted)
						if good {
							return
						}
						time.Sleep(FirstPause)
					}
				})
				t.Logf("%d of %d refused", refused, refused+accepted)
				assert.LessOrEqual(t, refused*50, refused+accepted)
			})
		})
	}
}

// A call that waits for its turn in the rate when a break begins is not made before
// a probe is accepted.
func TestABreakHoldsBackWaitingCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(10, DefaultSlots)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var made atomic.Int32
		for range initialAdmitted {
			go func() {
				if _, err := l.begin(ctx, time.Hour); err == nil {
					made.Add(1)
				}
			}()
		}
		synctest.Wait()
		assert.EqualValues(t, 1, made.Load())
		for range inARow {
			l.refused(turn{begun: time.Now()}, 0)
		}
		time.Sleep(firstBreak - time.Millisecond)
		assert.EqualValues(t, 1, made.Load(), "none during the break")
		time.Sleep(time.Minute)
		assert.EqualValues(t, 2, made.Load(), "one probe")
		l.accepted()
		time.Sleep(time.Minute)
		assert.EqualValues(t, initialAdmitted, made.Load())
	})
}

// A call waits for a slot until its context ends, and gets a slot that another
// call releases.
func TestLimiterLimitsCallsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(0, 2)
		begin := func(ctx context.Context) error { _, err := l.begin(ctx, 0); return err }
		require.NoError(t, begin(context.Background()))
		require.NoError(t, begin(context.Background()))
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		assert.ErrorIs(t, begin(ctx), context.DeadlineExceeded)
		l.end(turn{})
		assert.NoError(t, begin(context.Background()))
	})
}

// A second remote of an account can lower the rate, but cannot raise it.
func TestLowestRateApplies(t *testing.T) {
	l := NewLimiter(100, 4)
	l.Tighten(50, 4)
	l.Tighten(80, 4)
	assert.Equal(t, rate.Limit(50), l.maxRate)
}

// A second remote of an account can lower the number of concurrent calls, even
// while more are under way, but cannot raise it.
func TestLowestNumberOfSlotsApplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(0, 4)
		begin := func(ctx context.Context) error { _, err := l.begin(ctx, time.Hour); return err }
		for range 4 {
			require.NoError(t, begin(context.Background()))
		}
		l.Tighten(0, 2)
		l.Tighten(0, 9)
		synctest.Wait()
		for range 4 {
			l.end(turn{})
			synctest.Wait()
		}
		require.NoError(t, begin(context.Background()))
		require.NoError(t, begin(context.Background()))
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		assert.Error(t, begin(ctx))
	})
}

// Pauses double from the base, vary by half, and are at least what the service
// asked for. The number of attempts depends on the failure.
func TestPausesAndTriesOfRetries(t *testing.T) {
	r := Retries{Tries: 5, Base: time.Second, Longest: 10 * time.Second}
	for next, longest := range map[int]time.Duration{2: time.Second, 3: 2 * time.Second, 4: 4 * time.Second, 5: 8 * time.Second} {
		for range 50 {
			wait, ok := r.Pause(next, 0)
			assert.True(t, ok)
			assert.LessOrEqual(t, wait, longest)
			assert.GreaterOrEqual(t, wait, longest/2)
		}
	}
	_, ok := r.Pause(6, 0)
	assert.False(t, ok)
	wait, ok := r.Pause(2, 7*time.Second)
	assert.True(t, ok)
	assert.Equal(t, 7*time.Second, wait)
	_, ok = r.Pause(2, 11*time.Second)
	assert.False(t, ok)

	status := func(code int) error {
		return (&apierr.Refusal{Status: code}).Err()
	}
	busy := (&apierr.Refusal{Status: 409, Reason: "ZONE_BUSY"}).Err()
	for err, tries := range map[error]int{
		status(500): 5, status(503): 10, status(429): 10, status(400): 3, status(409): 3, busy: 20,
		apierr.New(apierr.KindNetwork, "", "", "").From(ErrSilent): 4, apierr.Damaged(""): 5, errors.New("any other"): 5,
	} {
		assert.Equal(t, tries, r.forError(err).Tries, "%v", err)
	}
	r.Base, r.Longest = time.Minute, time.Hour
	wait, ok = r.Pause(4, 0)
	assert.True(t, ok)
	assert.LessOrEqual(t, wait, MaxPause)
}
