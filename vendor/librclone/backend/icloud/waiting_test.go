package icloud

import (
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rclone/rclone/fs/fserrors"
	"github.com/rclone/rclone/fs/log"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// patientProcess opens a drive with the pauses of a real process.
func patientProcess(transport http.RoundTripper, password Secret, path string) *Fs {
	f := processBy(&attentive{next: transport, silence: time.Minute}, password, path)
	f.drive.service.session.base, f.drive.service.session.longest = firstPause, defaultLongestWait
	return f
}

const portalPage = "<html><body>Sign in to the hotel's network</body></html>"

func waiting(status int, seconds string) func() *fakeAnswer {
	return func() *fakeAnswer {
		answer := refusing(status, "")()
		answer.header.Set("Retry-After", seconds)
		return answer
	}
}

// passingFailures are failures that say nothing about the account.
var passingFailures = map[string]func() *fakeAnswer{
	"503": refusing(503, ""), "429": refusing(429, ""), "429 with a time": waiting(429, "5"), "503 with a time": waiting(503, "60"),
	"500": refusing(500, ""), "502 page": refusing(502, portalPage),
	"400": refusing(400, ""), "401": refusing(401, ""), "403": refusing(403, ""), "404": refusing(404, ""), "409": refusing(409, ""), "412": refusing(412, ""),
	"401 page": refusing(401, portalPage), "403 page": refusing(403, portalPage), "409 page": refusing(409, portalPage), "412 page": refusing(412, portalPage),
	"lost":  func() *fakeAnswer { return &fakeAnswer{lost: true, carriedOut: true} },
	"reset": func() *fakeAnswer { return &fakeAnswer{lost: true} },
	"stall": func() *fakeAnswer { return &fakeAnswer{hung: true} },
	"page":  refusing(200, portalPage), "empty": refusing(200, ""),
}

// Failures of the sign-in hosts that pass cost time: no call fails, the password
// is proven once, and the session is begun once.
func TestPassingFailuresOfARenewalAreWaitedOut(t *testing.T) {
	for _, kind := range []string{"signin", "federate", "init", "complete", "accountLogin", "validate"} {
		for name, failure := range passingFailures {
			t.Run(kind+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newFakeCloud()
					c.alive = kind == "validate"
					left := 2
					b := newBetween(c, func(asked string, _ *http.Request) *fakeAnswer {
						if asked == kind && left > 0 {
							left--
							return failure()
						}
						return nil
					})
					f := patientProcess(b, "secret", newSessionFile())
					if kind == "validate" {
						f.drive.service.session.state.Endpoints = nil
					}
					inParallel(8, 16, func(i int) {
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

// An outage that lasts ends the run with one cause, after the longest wait; it
// leaves nothing that keeps later runs from working.
func TestOutageOfTheSignIn(t *testing.T) {
	for _, kind := range []string{"signin", "federate", "init", "accountLogin"} {
		for _, name := range []string{"503", "403 page", "stall", "reset", "page"} {
			if name == "page" && kind != "init" && kind != "accountLogin" {
				continue // what these answer is not looked at
			}
			t.Run(kind+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newFakeCloud()
					c.alive = false
					failing := true
					b := newBetween(c, func(asked string, _ *http.Request) *fakeAnswer {
						if failing && asked == kind {
							return passingFailures[name]()
						}
						return nil
					})
					path := newSessionFile()
					begun := time.Now()
					f := patientProcess(b, "secret", path)
					var causes [16]error
					inParallel(8, 16, func(i int) {
						_, err := f.List(background, fmt.Sprint("folder", i))
						assert.True(t, fserrors.IsFatalError(err), "%v", err)
						var typed *Error
						if assert.ErrorAs(t, err, &typed) {
							assert.NotEqual(t, KindNeedsLogin, typed.Kind())
							assert.NotEmpty(t, typed.Cause())
							causes[i] = typed
						}
					})
					for _, cause := range causes {
						assert.Equal(t, causes[0].(*Error).Reason(), cause.(*Error).Reason(), "one cause")
					}
					took := time.Since(begun)
					assert.LessOrEqual(t, took, defaultLongestWait+2*time.Minute)
					assert.Greater(t, took, defaultLongestWait-longestPause-time.Minute)
					assert.Less(t, b.counts[kind], 40)
					described := loaded(t, path).Describe(time.Now())
					assert.False(t, described.NeedsLogin)
					assert.NotEmpty(t, described.Reason, "status and doctor tell")

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

// Processes that share a session wait for an outage together, and one signs in.
func TestProcessesWaitTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud()
		c.alive = false
		end := time.Now().Add(2 * time.Minute)
		b := newBetween(c, func(kind string, _ *http.Request) *fakeAnswer {
			if kind == "signin" && time.Now().Before(end) {
				return refusing(503, "")()
			}
			return nil
		})
		path := newSessionFile()
		var processes []*Fs
		for range 6 {
			processes = append(processes, patientProcess(b, "secret", path))
		}
		inParallel(24, 24, func(i int) {
			_, err := processes[i%6].List(background, "")
			assert.NoError(t, err)
		})
		assert.Equal(t, 1, c.proofs)
		assert.Equal(t, 1, c.logins)
		assert.Less(t, b.counts["signin"], 20, "they do not try side by side")
	})
}

// While a renewal waits, a person can sign in; the waiting calls use the session.
func TestLoginDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud()
		c.alive = false
		b := newBetween(c, func(kind string, _ *http.Request) *fakeAnswer {
			if kind == "signin" {
				return refusing(503, "")()
			}
			return nil
		})
		path := newSessionFile()
		f := patientProcess(b, "secret", path)
		done := make(chan error)
		go func() {
			_, err := f.List(background, "")
			done <- err
		}()
		time.Sleep(20 * time.Second) // of the test's own time
		synctest.Wait()
		require.NoError(t, UpdateSessionFile(background, path, func(file *SessionFile) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			c.alive = true
			now := time.Now().UTC()
			*file = SessionFile{AppleID: "user@example.com", TrustToken: "new", Cookies: []Cookie{{"WEB", "alive"}}, RenewedAt: now, SignedInAt: now,
				Endpoints: map[string]string{driveHost: "https://p1-drivews.icloud.com", docsHost: "https://p1-docws.icloud.com"}}
			return nil
		}))
		assert.NoError(t, <-done)
		assert.Zero(t, c.proofs)
	})
}

// What Apple states with one of its codes, or needs a person for, is final at
// once, and later processes do not ask again.
func TestRefusalsThatAreFinal(t *testing.T) {
	coded := func(status int, code string) func() *fakeAnswer {
		return refusing(status, `{"serviceErrors":[{"code":"`+code+`","message":"no"}]}`)
	}
	for name, test := range map[string]struct {
		kind   string
		answer func() *fakeAnswer
		cause  string
	}{
		"wrong password": {"complete", coded(401, CodeWrongPassword), CauseWrongPassword},
		"locked":         {"complete", coded(403, CodeLocked), CauseLocked},
		"locked early":   {"init", coded(403, CodeLocked), CauseLocked},
		"another code":   {"complete", coded(401, "-20283"), CauseSessionOver},
		"code wanted":    {"complete", refusing(409, `{"authType":"hsa2"}`), CauseTrustOver},
		"key wanted":     {"complete", refusing(409, `{"authType":"hsa2","fsaChallenge":{"challenge":"x"}}`), CauseSecurityKeys},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newFakeCloud()
				c.alive = false
				b := newBetween(c, func(kind string, _ *http.Request) *fakeAnswer {
					if kind == test.kind {
						return test.answer()
					}
					return nil
				})
				path := newSessionFile()
				begun := time.Now()
				for range 3 {
					f := patientProcess(b, "secret", path)
					inParallel(4, 8, func(int) {
						_, err := f.List(background, "")
						var typed *Error
						if assert.ErrorAs(t, err, &typed) {
							assert.Equal(t, KindNeedsLogin, typed.Kind())
							assert.Equal(t, test.cause, typed.Cause())
						}
					})
				}
				assert.Zero(t, time.Since(begun))
				assert.Equal(t, 1, b.counts[test.kind])
				described := loaded(t, path).Describe(time.Now())
				assert.True(t, described.NeedsLogin)
				assert.Equal(t, test.cause, described.Cause)
			})
		})
	}
}

// A session token that Apple refuses, also the one of a proof just accepted,
// costs two sign-ins for all runs together, and status tells.
func TestTokensThatAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud()
		c.alive = false
		refused := true
		b := newBetween(c, func(kind string, _ *http.Request) *fakeAnswer {
			if refused && kind == "accountLogin" {
				return refusing(400, `{"success":false,"error":"Invalid Session Token"}`)()
			}
			return nil
		})
		path := newSessionFile()
		for run := range 5 {
			f := patientProcess(b, "secret", path)
			_, err := f.List(background, "")
			assert.True(t, fserrors.IsFatalError(err), "%v", err)
			described := loaded(t, path).Describe(time.Now())
			assert.Contains(t, described.Reason, "Invalid Session Token")
			assert.Equal(t, run > 0, described.NeedsLogin)
			time.Sleep(time.Hour) // of the test's own time
		}
		assert.Equal(t, 2, c.proofs)
	})
}

// Nothing is proven where the outcome cannot be recorded; the error names the
// file.
func TestNoProofWithoutARecord(t *testing.T) {
	occupied := filepath.Join(t.TempDir(), "file")
	require.NoError(t, ReplaceFile(occupied, nil))
	for _, path := range []string{"", filepath.Join(occupied, "s.json")} {
		c := newFakeCloud()
		c.alive = false
		for range 3 {
			_, err := c.drive("secret").List(background, "")
			require.NoError(t, err) // the path of its own can be written
			c.alive = false
			f := processBy(c, "secret", path)
			_, err = f.List(background, "")
			assert.Equal(t, KindBadConfig, KindOf(err), "%v", err)
			assert.True(t, fserrors.IsFatalError(err))
			var typed *Error
			require.ErrorAs(t, err, &typed)
			assert.Equal(t, CauseStateFolder, typed.Cause())
			if path != "" {
				assert.Contains(t, err.Error(), path)
			}
		}
		assert.Equal(t, 3, c.proofs)
	}
}

// The record is in the file when the proof leaves.
func TestProofIsRecordedBeforeItIsSent(t *testing.T) {
	path := newSessionFile()
	c := newFakeCloud()
	c.alive = false
	c.instead = func(_ int, kind string) *fakeAnswer {
		if kind == "complete" {
			file := loaded(t, path)
			assert.Equal(t, 1, file.Proofs.Sent)
			assert.True(t, file.Proofs.Open)
			assert.Contains(t, file.Describe(time.Now()).Reason, whyUnclear)
			assert.Equal(t, Secret("proof"), file.SessionToken, "all else is still there")
		}
		return nil
	}
	_, err := processBy(c, "secret", path).List(background, "")
	require.NoError(t, err)
	assert.Zero(t, loaded(t, path).Proofs)
}

// hostile answers requests of a sign-in with a failure at random.
func hostile(random interface{ IntN(int) int }, percent int, kinds map[string]int) func(string, *http.Request) *fakeAnswer {
	failures := sortedKeys(passingFailures)
	return func(kind string, req *http.Request) *fakeAnswer {
		if !strings.Contains(req.URL.Host, "idmsa") && !strings.Contains(req.URL.Host, "setup") || random.IntN(100) >= percent {
			return nil
		}
		kinds[kind]++
		answer := passingFailures[failures[random.IntN(len(failures))]]()
		if answer.header != nil && random.IntN(4) == 0 {
			answer.body = []byte(`{"reason":"not now"}`)
		}
		answer.carriedOut = !answer.hung && random.IntN(2) == 0
		return answer
	}
}

// The error about sign-ins of unknown outcome is the same after each run.
func TestUnclearSignInsAreToldInOneSentence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud()
		c.alive = false
		b := newBetween(c, func(kind string, _ *http.Request) *fakeAnswer {
			if kind == "complete" {
				return &fakeAnswer{lost: true, carriedOut: true}
			}
			return nil
		})
		path := newSessionFile()
		require.NoError(t, SaveSessionFile(path, &SessionFile{
			AppleID: "user@example.com", TrustToken: "trust", Cookies: []Cookie{{"WEB", "over"}}, Proofs: ProofLog{Sent: mostProofs - 1},
		}))
		run := func() *Error {
			_, err := patientProcess(b, "secret", path).List(background, "")
			var typed *Error
			require.ErrorAs(t, err, &typed)
			time.Sleep(time.Hour) // of the test's own time
			return typed
		}
		first := run()
		assert.Equal(t, CauseUnclear, first.Cause())
		assert.Equal(t, 1, strings.Count(first.Reason(), "not known"), first.Reason())
		for range 3 {
			assert.Equal(t, first.Reason(), run().Reason())
			assert.Equal(t, first.why, loaded(t, path).Refused.Reason)
		}
	})
}

// A process that waits for the time in the session file tells why in one sentence.
func TestWaitOfARenewalIsToldInOneSentence(t *testing.T) {
	var lines []string
	log.Handler.SetOutput(func(level slog.Level, text string) {
		if level >= slog.LevelWarn {
			lines = append(lines, text)
		}
	})
	defer log.Handler.ResetOutput()
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud()
		c.alive = false
		path := newSessionFile()
		require.NoError(t, SaveSessionFile(path, &SessionFile{
			AppleID: "user@example.com", TrustToken: "trust", Cookies: []Cookie{{"WEB", "over"}},
			Refused: Refusals{Reason: "iCloud does not accept the sign-in (status 503)", NotBefore: time.Now().Add(30 * time.Second)},
		}))
		_, err := patientProcess(newBetween(c, func(string, *http.Request) *fakeAnswer { return nil }), "secret", path).List(background, "")
		assert.NoError(t, err)
	})
	require.Len(t, lines, 1)
	assert.Contains(t, lines[0], "is renewed again within 5m0s, because the last renewal failed: iCloud does not accept the sign-in (status 503)")
	assert.NotContains(t, lines[0], "asks to wait")
}
