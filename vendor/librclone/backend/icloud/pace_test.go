package icloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"
)

// The limiter keeps to its rate, slows down when it is told to, and speeds up
// again. The time in these tests is not that of the clock.
func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(100, 4)
		calls := func(n int) time.Duration {
			start := time.Now()
			for range n {
				mine, err := l.begin(background, time.Hour)
				require.NoError(t, err)
				l.end(mine)
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
		assert.Equal(t, lowestRate, l.now)
		l.until = time.Time{}
		for range 300 {
			l.accepted()
		}
		assert.Equal(t, rate.Limit(100), l.now)

		for call := range 1000 { // one in ten that is turned away at random is no reason to crawl
			if call%10 == 0 {
				refuse(0)
			} else {
				l.accepted()
			}
			assert.GreaterOrEqual(t, l.now, rate.Limit(50))
		}

		refuse(2 * time.Hour)
		_, err := l.begin(background, time.Hour)
		var typed *Error
		require.ErrorAs(t, err, &typed)
		assert.Equal(t, KindThrottled, typed.Kind())
		assert.Equal(t, 2*time.Hour, typed.RetryAfter())
	})
}

// Of a service that accepts so many calls a second, or that refuses all for a minute
// after a burst, at most two in a hundred calls are refused.
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
				l := newLimiter(defaultRate, defaultSlots)
				var mu sync.Mutex
				var second, closed time.Time
				inSecond, refused, accepted := 0, 0, 0
				answer := func() bool {
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
				inParallel(defaultSlots, 4000, func(int) {
					for {
						mine, err := l.begin(background, time.Hour)
						require.NoError(t, err)
						time.Sleep(40 * time.Millisecond)
						good := answer()
						if good {
							l.accepted()
						} else {
							l.refused(mine, 0)
						}
						l.end(mine)
						if good {
							return
						}
						time.Sleep(firstPause)
					}
				})
				t.Logf("%d of %d refused", refused, refused+accepted)
				assert.LessOrEqual(t, refused*50, refused+accepted)
			})
		})
	}
}

func TestLimiterOfSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(0, 2)
		begin := func(ctx context.Context) error { _, err := l.begin(ctx, 0); return err }
		require.NoError(t, begin(background))
		require.NoError(t, begin(background))
		ctx, cancel := context.WithTimeout(background, time.Second)
		defer cancel()
		assert.ErrorIs(t, begin(ctx), context.DeadlineExceeded)
		l.end(turn{})
		assert.NoError(t, begin(background))
	})
}

// One limiter serves an account, as strict as its strictest remote wants.
func TestLimiterOfAnAccount(t *testing.T) {
	forgetAccounts()
	a := limiterOf("User@example.com", 100, 4)
	assert.Same(t, a, limiterOf("user@EXAMPLE.com", 50, 4))
	assert.Equal(t, rate.Limit(50), a.highest)
	limiterOf("user@example.com", 80, 4)
	assert.Equal(t, rate.Limit(50), a.highest)
	assert.NotSame(t, a, limiterOf("other@example.com", 80, 4))
}

// A second remote of an account that wants fewer calls at once gets that, also
// while more are under way; one that wants more gets no more.
func TestSlotsOfAnAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(0, 4)
		begin := func(ctx context.Context) error { _, err := l.begin(ctx, time.Hour); return err }
		for range 4 {
			require.NoError(t, begin(background))
		}
		l.tighten(0, 2)
		l.tighten(0, 9)
		synctest.Wait()
		for range 4 {
			l.end(turn{})
			synctest.Wait()
		}
		require.NoError(t, begin(background))
		require.NoError(t, begin(background))
		ctx, cancel := context.WithTimeout(background, time.Second)
		defer cancel()
		assert.Error(t, begin(ctx))
	})
}

func TestPauses(t *testing.T) {
	r := retries{tries: 5, base: time.Second, longest: 10 * time.Second}
	for next, longest := range map[int]time.Duration{2: time.Second, 3: 2 * time.Second, 4: 4 * time.Second, 5: 8 * time.Second} {
		for range 50 {
			wait, ok := r.pause(next, 0)
			assert.True(t, ok)
			assert.LessOrEqual(t, wait, longest)
			assert.GreaterOrEqual(t, wait, longest/2)
		}
	}
	_, ok := r.pause(6, 0)
	assert.False(t, ok)
	wait, ok := r.pause(2, 7*time.Second)
	assert.True(t, ok)
	assert.Equal(t, 7*time.Second, wait)
	_, ok = r.pause(2, 11*time.Second)
	assert.False(t, ok)

	// What kind of failure it is decides how often it is worth it.
	status := func(code int) error {
		return (&refusal{status: code}).err()
	}
	busy := (&refusal{status: 409, reason: "ZONE_BUSY"}).err()
	for err, tries := range map[error]int{
		status(500): 5, status(503): 10, status(429): 10, status(400): 3, status(409): 3, busy: 20,
		fail(KindNetwork, "", "", "").from(errSilent): 3, damaged(""): 5, errors.New("any other"): 5,
	} {
		assert.Equal(t, tries, r.forError(err).tries, "%v", err)
	}
	r.base, r.longest = time.Minute, time.Hour
	wait, ok = r.pause(4, 0)
	assert.True(t, ok)
	assert.LessOrEqual(t, wait, longestPause)
}

// Never more calls at once than configured, each until its answer has been
// read; contents are no calls.
func TestCallsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{cloud: newFakeCloud()}
		c.cloud.limit = 1000
		c.cloud.add("root", "folder", nil)
		f := c.cloud.drive("")
		f.drive.service.http = newRESTClient(&http.Client{Transport: c})
		f.drive.service.limiter = newLimiter(0, 3)
		inParallel(16, 64, func(i int) {
			_, err := tryPut(f, fmt.Sprintf("folder/%d", i), "content")
			assert.NoError(t, err)
		})
		assert.Equal(t, 3, c.most["api"])
		assert.Greater(t, c.most["content"], 3)
	})
}

// crowd counts the requests that are under way at once.
type crowd struct {
	mu        sync.Mutex
	cloud     *fakeCloud
	now, most map[string]int
}

func (c *crowd) change(kind string, by int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now == nil {
		c.now, c.most = map[string]int{}, map[string]int{}
	}
	c.now[kind] += by
	c.most[kind] = max(c.most[kind], c.now[kind])
}

func (c *crowd) RoundTrip(req *http.Request) (*http.Response, error) {
	kind := "api"
	if strings.HasPrefix(fakeKind(req), "content-") {
		kind = "content"
	}
	c.change(kind, 1)
	time.Sleep(time.Millisecond) // of the test's own time: others come in the meantime
	if kind == "content" {
		time.Sleep(time.Second)
	}
	c.mu.Lock()
	resp, err := c.cloud.RoundTrip(req)
	c.mu.Unlock()
	if err != nil {
		c.change(kind, -1)
		return nil, err
	}
	resp.Body = &crowdBody{resp.Body, func() { c.change(kind, -1) }}
	return resp, nil
}

type crowdBody struct {
	io.ReadCloser
	closed func()
}

func (b *crowdBody) Close() error { b.closed(); return b.ReadCloser.Close() }

// A service that turns writes away while another one is under way gets them
// one by one, after a few refusals.
func TestWritesToABusyZone(t *testing.T) {
	sim := startSimulator(t)
	sim.driveRules(jsonObject{"zone_lock": true})
	sim.rules(jsonObject{"transport": jsonObject{"latency_ms": 5}})
	f := sim.open("")
	inParallel(16, 64, func(i int) {
		_, err := tryPut(f, fmt.Sprintf("folder%d/file%d", i%4, i), "content")
		assert.NoError(t, err)
	})
	assert.Len(t, filesIn(sim), 64)
	counts := sim.counts()
	t.Log(counts)
	assert.Less(t, counts["update-documents"], 64+32, "refusals end when they are noticed")
	assert.Equal(t, rate.Inf, f.drive.service.limiter.now, "it is no reason to be slower")

	// Another process writes, too.
	other := sim.openOwn("")
	inParallel(4, 40, func(i int) {
		_, err := tryPut([]*Fs{f, other}[i%2], fmt.Sprintf("both/file%d", i), "content")
		assert.NoError(t, err)
	})
	assert.Len(t, filesIn(sim), 104)
}

// A service that asks for more patience than configured gets it: the operation
// fails and says for how long.
func TestLongRetryAfter(t *testing.T) {
	sim := startSimulator(t)
	f := sim.open("")
	sim.fault("list", "status", status(503), jsonObject{"headers": jsonObject{"retry-after": "3600"}, "times": nil})
	for range 3 {
		_, err := f.List(background, "")
		var typed *Error
		require.ErrorAs(t, err, &typed)
		assert.Equal(t, KindThrottled, typed.Kind())
		assert.InDelta(t, 3600, typed.RetryAfter().Seconds(), 5)
	}
	assert.Equal(t, 1, sim.counts()["list"], "nobody asks again before that")
}

func TestRetryAfterHeader(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "5": 5 * time.Second, "0": 0, "-3": 0, "x": 0, "99999999999": 0,
		"Thu, 01 Jan 2026 00:01:00 GMT": time.Minute,
		"Thu, 01 Jan 2025 00:01:00 GMT": 0,
	} {
		assert.Equal(t, want, RetryAfter(http.Header{"Retry-After": {value}}, now), value)
	}
}

// With one request in twenty failing in every way, everything gets through.
func TestEverythingGetsThrough(t *testing.T) {
	sim := startSimulator(t)
	f := sim.open("")
	f.drive.service.retries.base = 50 * time.Microsecond
	for _, action := range []struct {
		name string
		more jsonObject
	}{
		{"status", status(503)}, {"status", status(429)}, {"status", status(500)},
		{"reset-before", nil}, {"reset-after", nil}, {"truncate", jsonObject{"bytes": 20, "clean": false}},
	} {
		sim.fault("", action.name, action.more, jsonObject{"times": nil, "probability": 0.01})
	}
	// Uploads of one name at the same time may fail, so the files are replaced
	// in a second round.
	for round, files := range []int{150, 50} {
		inParallel(8, files, func(i int) {
			remote := fmt.Sprintf("folder%d/file%d", i%5, i)
			content := strings.Repeat(fmt.Sprint(round, i, " "), 50)
			o, err := tryPut(f, remote, content)
			if !assert.NoError(t, err) {
				return
			}
			read, err := read(o)
			assert.NoError(t, err)
			assert.Equal(t, content, read)
		})
	}
	sim.control("DELETE", "faults", nil, nil)
	for _, path := range sim.paths() {
		assert.False(t, isLeftover(path), path)
	}
	assert.Len(t, filesIn(sim), 150)
}

// Texts name the operation, the file, the reason and what to do, and hold no
// secret.
func TestErrorTexts(t *testing.T) {
	err := fail(KindThrottled, "list", "a/b", "the service answered 503").with("wait a while")
	err.retryAfter = 90 * time.Second
	assert.Equal(t, `list "a/b": the service answered 503 (asks to wait 1m30s): wait a while`, err.Error())
	named := about(fail(KindNetwork, "", "", "no answer").from(errors.New("reset")), "read", "x")
	assert.Equal(t, `read "x": no answer: reset`, named.Error())
	assert.Equal(t, named, about(named, "other", "y"), "the first name counts")
	for _, text := range []string{"Bad Request", "QUOTA_EXCEEDED: Quota exceeded", "Missing PCS cookies from the request"} {
		assert.Equal(t, text, reasonIn([]byte(`{"reason":"`+text+`"}`)))
	}
	for _, text := range []string{"https://x.example/?s=abcdef", "tokenXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX", "a=b; c=d", "<html>"} {
		assert.Empty(t, reasonIn([]byte(`{"reason":"`+text+`"}`)), text)
	}
}

// No error of any operation holds an address, a cookie, a token or a password.
func TestErrorsHoldNoSecrets(t *testing.T) {
	sim := startSimulator(t)
	configuration := sim.configured(configmap.Simple{"tries": "1", "longest_wait": "100ms"})
	secrets := []string{"correct horse", configuration["trust_token"], "https://", "icloud-content.com/", "tk=", "s=", "X-APPLE"}
	for pair := range strings.SplitSeq(configuration["cookies"], "; ") {
		if _, value, _ := strings.Cut(pair, "="); len(value) > 4 {
			secrets = append(secrets, value)
		}
	}
	sim.putFile("file.txt", "content")
	for _, action := range []string{"reset-before", "status", "html-page", "replace"} {
		for _, kind := range []string{"list", "by-id", "content-get", "upload-web", "content-post", "update-documents", "account-login", "signin-complete"} {
			sim.control("DELETE", "faults", nil, nil)
			f, err := sim.openConfigured("", configuration)
			require.NoError(t, err)
			o, err := f.NewObject(background, "file.txt")
			require.NoError(t, err)
			if strings.Contains(kind, "in") {
				sim.control("POST", "session/end", status(421), nil)
			}
			sim.fault(kind, action, jsonObject{"times": nil, "status": 418, "text": `{"reason":"https://x?s=1"}`, "effect": true})
			_, putErr := tryPut(f, "new.txt", "content")
			_, readErr := read(o)
			_, listErr := f.List(background, "")
			for _, err := range []error{putErr, readErr, listErr} {
				if err == nil {
					continue
				}
				assert.NotEmpty(t, KindOf(err), "%v", err)
				for _, secret := range secrets {
					assert.NotContains(t, err.Error(), secret)
					assert.NotContains(t, fmt.Sprintf("%+v", err), secret)
				}
			}
		}
	}
}
