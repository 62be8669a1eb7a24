package icloud

import (
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/privatefile"
	"plakar-icloud/librclone/backend/icloud/session"
	"plakar-icloud/librclone/backend/icloud/transport"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/rclone/rclone/fs/fserrors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// patientProcess opens a drive with the pauses of a real process.
func patientProcess(next http.RoundTripper, password session.Secret, path string, changes ...func(*session.File)) *Fs {
	f := processBy(&transport.SilenceTransport{Next: next, Silence: time.Minute}, password, path, changes...)
	f.drive.Service.Session.Base, f.drive.Service.Session.Longest = transport.FirstPause, defaultLongestWait
	return f
}

const portalPage = "<html><body>Sign in to the hotel's network</body></html>"

func waiting(status int, seconds string) func() *fakeResponse {
	return func() *fakeResponse {
		response := refusing(status, "")()
		response.header.Set("Retry-After", seconds)
		return response
	}
}

// temporaryFailures are failures that are not about the account.
var temporaryFailures = map[string]func() *fakeResponse{
	"503": refusing(503, ""), "429": refusing(429, ""), "429 with a time": waiting(429, "5"), "503 with a time": waiting(503, "60"),
	"500": refusing(500, ""), "502 page": refusing(502, portalPage),
	"400": refusing(400, ""), "401": refusing(401, ""), "403": refusing(403, ""), "404": refusing(404, ""), "409": refusing(409, ""), "412": refusing(412, ""),
	"401 page": refusing(401, portalPage), "403 page": refusing(403, portalPage), "409 page": refusing(409, portalPage), "412 page": refusing(412, portalPage),
	"lost":  func() *fakeResponse { return &fakeResponse{lost: true, carriedOut: true} },
	"reset": func() *fakeResponse { return &fakeResponse{lost: true} },
	"stall": func() *fakeResponse { return &fakeResponse{hung: true} },
	"page":  refusing(200, portalPage), "empty": refusing(200, ""),
}

// Temporary failures of the sign-in hosts delay calls but fail none. The password is
// proven once, and the session is begun once.
func TestTemporaryFailuresOfARenewal(t *testing.T) {
	for _, kind := range []string{"signin", "federate", "init", "complete", "accountLogin", "validate"} {
		for name, failure := range temporaryFailures {
			if kind == "complete" && strings.HasPrefix(name, "401") {
				continue // it counts as a wrong password
			}
			t.Run(kind+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newFakeCloud()
					c.alive = kind == "validate"
					left := 2
					b := newBetween(c, func(asked string, _ *http.Request) *fakeResponse {
						if asked == kind && left > 0 {
							left--
							return failure()
						}
						return nil
					})
					f := patientProcess(b, "secret", simtest.NewSessionFile(), func(state *session.File) {
						if kind == "validate" {
							state.Endpoints = nil
						}
					})
					simtest.InParallel(8, 16, func(i int) {
						_, err := f.List(background, "")
						assert.NoError(t, err)
					})
					assert.LessOrEqual(t, c.proofs, 1)
					assert.LessOrEqual(t, b.counts["complete"], 1)
					if kind != "accountLogin" || name != "lost" {
						assert.LessOrEqual(t, c.logins, 1)
					}
				})
			})
		}
	}
}

// A long outage ends the run with one cause after the longest wait, and a refusal without
// a reason after a few attempts. A later run succeeds after either.
func TestOutageOfTheSignIn(t *testing.T) {
	for _, kind := range []string{"signin", "federate", "init", "accountLogin"} {
		for _, name := range []string{"503", "401", "403 page", "412", "stall", "reset", "page"} {
			if name == "page" && kind != "init" && kind != "accountLogin" {
				continue // the responses to these requests are ignored
			}
			t.Run(kind+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newFakeCloud()
					c.alive = false
					failing := true
					b := newBetween(c, func(asked string, _ *http.Request) *fakeResponse {
						if failing && asked == kind {
							return temporaryFailures[name]()
						}
						return nil
					})
					path := simtest.NewSessionFile()
					begun := time.Now()
					f := patientProcess(b, "secret", path)
					var causes [16]error
					simtest.InParallel(8, 16, func(i int) {
						_, err := f.List(background, fmt.Sprint("folder", i))
						assert.True(t, fserrors.IsFatalError(err), "%v", err)
						var typed *apierr.Error
						if assert.ErrorAs(t, err, &typed) {
							assert.NotEqual(t, apierr.KindNeedsLogin, typed.Kind())
							assert.NotEmpty(t, typed.Cause())
							causes[i] = typed
						}
					})
					for _, cause := range causes {
						assert.Equal(t, causes[0].(*apierr.Error).Reason(), cause.(*apierr.Error).Reason(), "one cause")
					}
					took := time.Since(begun)
					if unexplained := strings.HasPrefix(name, "4"); unexplained {
						assert.LessOrEqual(t, took, 20*time.Second)
						assert.LessOrEqual(t, b.counts[kind], 7)
						_, err := patientProcess(b, "secret", path).List(background, "")
						assert.True(t, fserrors.IsFatalError(err), "%v", err)
						assert.Equal(t, took, time.Since(begun), "the next process does not wait")
						assert.LessOrEqual(t, b.counts[kind], 7)
						time.Sleep(transport.MaxPause) // of the test's own time
					} else {
						assert.LessOrEqual(t, took, defaultLongestWait+2*time.Minute)
						assert.Greater(t, took, defaultLongestWait-transport.MaxPause-time.Minute)
						assert.Less(t, b.counts[kind], 40)
					}
					assert.Zero(t, b.counts["complete"]-c.proofs)
					described := loaded(t, path).Describe(time.Now())
					assert.False(t, described.NeedsLogin)
					assert.NotEmpty(t, described.Reason, "status and doctor show the reason")

					failing = false
					next := patientProcess(b, "secret", path)
					_, err := next.List(background, "")
					assert.NoError(t, err)
					assert.LessOrEqual(t, c.proofs, 1)
					assert.Empty(t, loaded(t, path).Describe(time.Now()).Reason)
				})
			})
		}
	}
}

// Processes that share a session wait for the end of an outage together, and one signs in.
func TestProcessesWaitTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud()
		c.alive = false
		end := time.Now().Add(2 * time.Minute)
		b := newBetween(c, func(kind string, _ *http.Request) *fakeResponse {
			if kind == "signin" && time.Now().Before(end) {
				return refusing(503, "")()
			}
			return nil
		})
		path := simtest.NewSessionFile()
		var processes []*Fs
		for range 6 {
			processes = append(processes, patientProcess(b, "secret", path))
		}
		simtest.InParallel(24, 24, func(i int) {
			_, err := processes[i%6].List(background, "")
			assert.NoError(t, err)
		})
		assert.Equal(t, 1, c.proofs)
		assert.Equal(t, 1, c.logins)
		assert.Less(t, b.counts["signin"], 20, "only one process tries at a time")
	})
}

// While a renewal waits, a person can sign in, and the waiting calls use that session.
func TestLoginDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud()
		c.alive = false
		b := newBetween(c, func(kind string, _ *http.Request) *fakeResponse {
			if kind == "signin" {
				return refusing(503, "")()
			}
			return nil
		})
		path := simtest.NewSessionFile()
		f := patientProcess(b, "secret", path)
		done := make(chan error)
		go func() {
			_, err := f.List(background, "")
			done <- err
		}()
		time.Sleep(20 * time.Second) // on the clock of synctest
		synctest.Wait()
		require.NoError(t, session.UpdateFile(background, path, func(file *session.File) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			c.alive = true
			now := time.Now().UTC()
			*file = session.File{AppleID: "user@example.com", TrustToken: "new", Cookies: []session.Cookie{{Name: "WEB", Value: "alive"}}, RenewedAt: now, SignedInAt: now,
				Endpoints: map[string]string{hosts.Drive: "https://p1-drivews.icloud.com", hosts.Docs: "https://p1-docws.icloud.com"}}
			return nil
		}))
		assert.NoError(t, <-done)
		assert.Zero(t, c.proofs)
	})
}

// A refusal with one of Apple's codes, or that needs a person, is final at once, and later
// processes do not repeat the request.
func TestFinalRefusals(t *testing.T) {
	coded := func(status int, code string) func() *fakeResponse {
		return refusing(status, `{"serviceErrors":[{"code":"`+code+`","message":"no"}]}`)
	}
	for name, test := range map[string]struct {
		kind     string
		response func() *fakeResponse
		cause    string
	}{
		"wrong password": {"complete", coded(401, apierr.CodeWrongPassword), apierr.CauseWrongPassword},
		"401":            {"complete", refusing(401, ""), apierr.CauseWrongPassword},
		"locked":         {"complete", coded(403, apierr.CodeLocked), apierr.CauseLocked},
		"locked early":   {"init", coded(403, apierr.CodeLocked), apierr.CauseLocked},
		"another code":   {"complete", coded(401, "-20283"), apierr.CauseSessionOver},
		"code wanted":    {"complete", refusing(409, `{"authType":"hsa2"}`), apierr.CauseTrustOver},
		"key wanted":     {"complete", refusing(409, `{"authType":"hsa2","fsaChallenge":{"challenge":"x"}}`), apierr.CauseSecurityKeys},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newFakeCloud()
				c.alive = false
				b := newBetween(c, func(kind string, _ *http.Request) *fakeResponse {
					if kind == test.kind {
						return test.response()
					}
					return nil
				})
				path := simtest.NewSessionFile()
				begun, advices := time.Now(), new(sync.Map)
				for range 3 {
					f := patientProcess(b, "secret", path)
					simtest.InParallel(4, 8, func(int) {
						_, err := f.List(background, "")
						var typed *apierr.Error
						if assert.ErrorAs(t, err, &typed) {
							assert.Equal(t, []string{apierr.KindNeedsLogin, test.cause}, []string{typed.Kind(), typed.Cause()})
							advices.Store(typed.Advice, nil)
						}
					})
				}
				assert.Len(t, maps.Collect(advices.Range), 1, "later processes give the same advice")
				assert.Zero(t, time.Since(begun))
				assert.Equal(t, 1, b.counts[test.kind])
				described := loaded(t, path).Describe(time.Now())
				assert.True(t, described.NeedsLogin)
				assert.Equal(t, test.cause, described.Cause)
			})
		})
	}
}

// A proof that is refused without a reason may count as a wrong password. So the next
// proof is sent after an hour at the earliest, and it is the last one.
func TestProofsThatAreRefusedWithoutAReason(t *testing.T) {
	for _, status := range []int{400, 403, 404, 409, 412} {
		synctest.Test(t, func(t *testing.T) {
			c := newFakeCloud()
			c.alive = false
			b := newBetween(c, func(kind string, _ *http.Request) *fakeResponse {
				if kind == "complete" {
					return refusing(status, "")()
				}
				return nil
			})
			path := simtest.NewSessionFile()
			require.NoError(t, session.UpdateFile(background, path, func(file *session.File) error {
				*file = session.File{AppleID: "user@example.com", TrustToken: "trust"}
				return nil
			}))
			for run := range 48 {
				begun := time.Now()
				_, err := processBy(b, "secret", path).List(background, "")
				assert.True(t, fserrors.IsFatalError(err), "%v", err)
				assert.Less(t, time.Since(begun), time.Minute)
				sent := 1 + min(run/12, 1)
				assert.Equal(t, sent, b.counts["complete"], "status %d, run %d", status, run)
				time.Sleep(5 * time.Minute) // on the clock of synctest
			}
			assert.True(t, loaded(t, path).Describe(time.Now()).NeedsLogin)
		})
	}
}

// If Apple refuses session tokens, even that of an accepted proof, all runs together make
// two sign-ins, and the status shows the reason.
func TestTokensThatAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud()
		c.alive = false
		refused := true
		b := newBetween(c, func(kind string, _ *http.Request) *fakeResponse {
			if refused && kind == "accountLogin" {
				return refusing(400, `{"success":false,"error":"Invalid Session Token"}`)()
			}
			return nil
		})
		path := simtest.NewSessionFile()
		for run := range 5 {
			f := patientProcess(b, "secret", path)
			_, err := f.List(background, "")
			assert.True(t, fserrors.IsFatalError(err), "%v", err)
			described := loaded(t, path).Describe(time.Now())
			assert.Contains(t, described.Reason, "Invalid Session Token")
			assert.Equal(t, run > 0, described.NeedsLogin)
			time.Sleep(time.Hour) // on the clock of synctest
		}
		assert.Equal(t, 2, c.proofs)
	})
}

// No proof is sent if its outcome cannot be recorded, and the error has the path.
func TestNoProofWithoutARecord(t *testing.T) {
	occupied := filepath.Join(t.TempDir(), "file")
	require.NoError(t, privatefile.Replace(occupied, nil))
	for _, path := range []string{"", filepath.Join(occupied, "s.json")} {
		c := newFakeCloud()
		c.alive = false
		for range 3 {
			_, err := c.drive("secret").List(background, "")
			require.NoError(t, err) // its own session file can be written
			c.alive = false
			f := processBy(c, "secret", path)
			_, err = f.List(background, "")
			assert.Equal(t, apierr.KindBadConfig, apierr.KindOf(err), "%v", err)
			assert.True(t, fserrors.IsFatalError(err))
			var typed *apierr.Error
			require.ErrorAs(t, err, &typed)
			assert.Equal(t, apierr.CauseStateFolder, typed.Cause())
			if path != "" {
				assert.Contains(t, err.Error(), path)
			}
		}
		assert.Equal(t, 3, c.proofs)
	}
}

// A proof is recorded in the session file before it is sent.
func TestProofIsRecordedBeforeItIsSent(t *testing.T) {
	path := simtest.NewSessionFile()
	c := newFakeCloud()
	c.alive = false
	c.instead = func(_ int, kind string) *fakeResponse {
		if kind == "complete" {
			file := loaded(t, path)
			assert.Equal(t, 1, file.Proofs.Sent)
			assert.True(t, file.Proofs.Open)
			assert.Contains(t, file.Describe(time.Now()).Reason, "outcome is not known")
			assert.Equal(t, session.Secret("proof"), file.SessionToken, "the rest of the file is unchanged")
		}
		return nil
	}
	_, err := processBy(c, "secret", path).List(background, "")
	require.NoError(t, err)
	assert.Zero(t, loaded(t, path).Proofs)
}

// hostile returns a function that makes requests of a sign-in fail at random.
func hostile(random interface{ IntN(int) int }, percent int, kinds map[string]int) func(string, *http.Request) *fakeResponse {
	failures := slices.Sorted(maps.Keys(temporaryFailures))
	return func(kind string, req *http.Request) *fakeResponse {
		if !strings.Contains(req.URL.Host, "idmsa") && !strings.Contains(req.URL.Host, "setup") || random.IntN(100) >= percent {
			return nil
		}
		response := temporaryFailures[failures[random.IntN(len(failures))]]()
		if kind == "complete" && response.status == http.StatusUnauthorized {
			return nil // it counts as a wrong password
		}
		kinds[kind]++
		if response.header != nil && random.IntN(4) == 0 {
			response.body = []byte(`{"reason":"not now"}`)
		}
		response.carriedOut = !response.hung && random.IntN(2) == 0
		return response
	}
}
