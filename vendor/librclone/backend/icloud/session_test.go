package icloud

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/rclone/rclone/fs/fserrors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A session that dies under 16 parallel transfers costs one sign-in and no file,
// whatever the status that says so.
func TestSessionEndsUnderTransfers(t *testing.T) {
	for _, dead := range []int{421, 401, 423} {
		t.Run(fmt.Sprint(dead), func(t *testing.T) {
			sim := startSimulator(t)
			f := sim.open("")
			for i := range 16 {
				sim.putFile(fmt.Sprintf("down/file%02d", i), fmt.Sprint("content ", i))
			}
			entries, err := f.List(background, "down")
			require.NoError(t, err)
			put(t, f, "up/first", "1")
			sim.resetCounts()
			var ended atomic.Bool
			inParallel(16, 64, func(i int) {
				if i >= 16 && ended.CompareAndSwap(false, true) {
					sim.control("POST", "session/end", status(dead), nil)
				}
				if i%2 == 0 {
					_, err := tryPut(f, fmt.Sprintf("up/file%02d", i), fmt.Sprint("content ", i))
					assert.NoError(t, err)
					return
				}
				content, err := read(entries[i%16].(fs.Object))
				assert.NoError(t, err)
				assert.Equal(t, fmt.Sprint("content ", i%16), content)
			})
			counts := sim.counts()
			assert.Equal(t, 1, counts["account-login"], "%v", counts)
			assert.Equal(t, 1, counts["signin-complete"])
			assert.Zero(t, counts["push-code"])
			for i := 0; i < 64; i += 2 {
				assert.Equal(t, fmt.Sprint("content ", i), sim.file(fmt.Sprintf("up/file%02d", i)))
			}
		})
	}
}

// Without a session file, what answers replace goes to the configuration, and
// no sign-in is made.
func TestSessionIsSavedToTheConfiguration(t *testing.T) {
	sim := startSimulator(t)
	configuration := sim.configured(configmap.Simple{"session_file": ""})
	f, err := sim.openConfigured("", configuration)
	require.NoError(t, err)
	_, err = f.List(background, "")
	require.NoError(t, err)
	f.drive.service.session.answered("X-APPLE-NEW", "v")
	require.NoError(t, f.Shutdown(background))
	assert.Contains(t, configuration["cookies"], "X-APPLE-NEW")
	assert.NotEmpty(t, configuration["trust_token"])

	sim.control("POST", "session/end", status(421), nil)
	_, err = f.List(background, "")
	assert.Equal(t, KindBadConfig, KindOf(err), "%v", err)
	assert.Zero(t, sim.counts()["authorize"])
}

// What ends in "needs login" does so with one try, and is not tried again by
// later calls, later processes, or other processes.
func TestSessionNeedsLogin(t *testing.T) {
	wrong := jsonObject{"account": jsonObject{"password": "another"}}
	for _, test := range []struct {
		name     string
		prepare  func(*simulator, configmap.Simple)
		requests string // of which kind there may be one, ever
		cause    string
	}{
		{"trust is over", func(sim *simulator, _ configmap.Simple) { sim.control("POST", "trust/end", nil, nil) },
			"signin-complete", CauseTrustOver},
		{"password is wrong", func(sim *simulator, _ configmap.Simple) { sim.rules(wrong) },
			"signin-complete", CauseWrongPassword},
		{"account is locked", func(sim *simulator, _ configmap.Simple) {
			sim.rules(jsonObject{"account": jsonObject{"locked": true}})
		}, "signin-complete", CauseLocked},
		{"no password", func(_ *simulator, configuration configmap.Simple) { configuration["password"] = hiddenPassword },
			"authorize", CauseNoPassword},
		{"no trust token", func(_ *simulator, configuration configmap.Simple) { configuration["trust_token"] = "" },
			"authorize", CauseNotSignedIn},
	} {
		t.Run(test.name, func(t *testing.T) {
			sim := startSimulator(t)
			configuration := sim.configured()
			file := filepath.Join(t.TempDir(), "session.json")
			test.prepare(sim, configuration)
			sim.control("POST", "session/end", status(421), nil)
			sim.resetCounts()
			for process := range 3 {
				again := configmap.Simple{"session_file": file}
				for key, value := range configuration {
					if key != "session_file" {
						again[key] = value
					}
				}
				f, err := sim.openConfigured("", again)
				require.NoError(t, err)
				inParallel(4, 8, func(int) {
					_, err := f.List(background, "")
					assert.Equal(t, KindNeedsLogin, KindOf(err), "%v", err)
					var typed *Error
					if assert.ErrorAs(t, err, &typed) {
						assert.Equal(t, test.cause, typed.Cause(), "%v", err)
					}
					assert.True(t, fserrors.IsFatalError(err))
					assert.False(t, fserrors.IsRetryError(err))
				})
				counts := sim.counts()
				assert.LessOrEqual(t, counts[test.requests], 1, "process %d: %v", process, counts)
				assert.Zero(t, counts["push-code"]+counts["send-sms"])
			}
			session, err := LoadSessionFile(file)
			require.NoError(t, err)
			described := session.Describe(time.Now())
			assert.True(t, described.NeedsLogin)
			assert.Equal(t, test.cause, described.Cause)
		})
	}
}

// What was refused is that session, not one that is brought later.
func TestSessionRefused(t *testing.T) {
	session := SessionFile{TrustToken: "trust", Cookies: []Cookie{{Name: "session", Value: "first"}}}
	session.refuseSession(CauseNoPassword, "no password is stored")
	assert.True(t, session.Describe(time.Now()).NeedsLogin)
	session.Cookies[0].Value = "second"
	assert.False(t, session.Describe(time.Now()).NeedsLogin)
}

// A wrong password that is corrected is tried: it is another one.
func TestSessionAfterTheRightPassword(t *testing.T) {
	sim := startSimulator(t)
	configuration := sim.configured(configmap.Simple{"session_file": filepath.Join(t.TempDir(), "s.json")})
	right := configuration["password"]
	sim.rules(jsonObject{"account": jsonObject{"password": "another"}})
	sim.control("POST", "session/end", status(421), nil)
	f, err := sim.openConfigured("", configuration)
	require.NoError(t, err)
	_, err = f.List(background, "")
	require.Equal(t, KindNeedsLogin, KindOf(err))
	sim.rules(jsonObject{"account": jsonObject{"password": "correct horse"}})
	configuration["password"] = right
	f, err = sim.openConfigured("", configuration)
	require.NoError(t, err)
	_, err = f.List(background, "")
	assert.Equal(t, KindNeedsLogin, KindOf(err), "that password has been turned down")
	require.NoError(t, UpdateSessionFile(background, configuration["session_file"], func(file *SessionFile) error {
		file.Refused = Refusals{} // as a login does
		return nil
	}))
	f, err = sim.openConfigured("", configuration)
	require.NoError(t, err)
	_, err = f.List(background, "")
	assert.NoError(t, err)
}

// A running process takes up what a login has put into the session file.
func TestSessionRevives(t *testing.T) {
	sim := startSimulator(t)
	path := filepath.Join(t.TempDir(), "s.json")
	f, err := sim.openConfigured("", sim.configured(configmap.Simple{"session_file": path}))
	require.NoError(t, err)
	sim.control("POST", "trust/end", nil, nil)
	sim.control("POST", "session/end", status(421), nil)
	_, err = f.List(background, "")
	require.Equal(t, KindNeedsLogin, KindOf(err))
	fresh := sim.session()
	require.NoError(t, UpdateSessionFile(background, path, func(file *SessionFile) error {
		file.TrustToken = Secret(fresh["trust_token"])
		file.Cookies = cookiesOf(fresh["cookies"])
		file.RenewedAt = time.Now()
		return nil
	}))
	_, err = f.List(background, "")
	assert.NoError(t, err)
}

func cookiesOf(header string) []Cookie {
	var cookies []Cookie
	for pair := range strings.SplitSeq(header, "; ") {
		name, value, _ := strings.Cut(pair, "=")
		cookies = append(cookies, Cookie{name, Secret(value)})
	}
	return cookies
}

// Sign-in is not repeated when Apple turns it away for a while, by nobody.
func TestSignInIsNotRepeatedWhenThrottled(t *testing.T) {
	for _, kind := range []string{"authorize", "federate", "signin-init", "signin-complete", "account-login"} {
		for _, code := range []int{429, 503} {
			t.Run(fmt.Sprint(kind, code), func(t *testing.T) {
				sim := startSimulator(t)
				path := filepath.Join(t.TempDir(), "s.json")
				configuration := sim.configured(configmap.Simple{"session_file": path})
				f, err := sim.openConfigured("", configuration)
				require.NoError(t, err)
				_, err = f.List(background, "")
				require.NoError(t, err)
				sim.control("POST", "session/end", status(421), nil)
				sim.fault(kind, "status", status(code), jsonObject{"headers": jsonObject{"retry-after": "600"}, "times": nil})
				inParallel(4, 8, func(int) {
					_, err := f.List(background, "")
					assert.Equal(t, KindThrottled, KindOf(err), "%v", err)
					var typed *Error
					require.ErrorAs(t, err, &typed)
					assert.InDelta(t, 600, typed.RetryAfter().Seconds(), 5)
					assert.True(t, fserrors.IsRetryAfterError(err))
				})
				f, err = sim.openConfigured("", configuration)
				require.NoError(t, err)
				_, err = f.List(background, "")
				assert.Equal(t, KindThrottled, KindOf(err), "%v", err)
				assert.Equal(t, 1, sim.counts()[kind])
			})
		}
	}
}

// A connection that breaks during a sign-in is no wrong password and no refusal.
// Where the proof was sent, that process sends no other one.
func TestSignInSurvivesTheNetwork(t *testing.T) {
	for _, kind := range []string{"authorize", "federate", "signin-init", "signin-complete", "account-login"} {
		for _, action := range []string{"reset-before", "reset-after"} {
			t.Run(kind+" "+action, func(t *testing.T) {
				sim := startSimulator(t)
				configuration := sim.configured()
				f, err := sim.openConfigured("", configuration)
				require.NoError(t, err)
				sim.control("POST", "session/end", status(421), nil)
				sim.fault(kind, action)
				_, err = f.List(background, "")
				if kind == "signin-complete" {
					assert.Equal(t, KindNetwork, KindOf(err), "%v", err)
					assert.True(t, fserrors.IsFatalError(err))
					require.NoError(t, UpdateSessionFile(background, configuration["session_file"], func(file *SessionFile) error {
						file.Refused.NotBefore = time.Time{}
						return nil
					}))
					f, err = sim.openConfigured("", configuration)
					require.NoError(t, err)
					_, err = f.List(background, "")
				}
				assert.NoError(t, err)
			})
		}
	}
}

// Advanced Data Protection that waits for somebody's approval is said at once.
func TestSessionWaitsForNoApproval(t *testing.T) {
	sim := startSimulator(t)
	f := sim.open("")
	sim.rules(jsonObject{"account": jsonObject{"advanced_data_protection": true, "pcs_approval_after": 1000}})
	sim.control("POST", "session/end", status(421), nil)
	_, err := f.List(background, "")
	assert.Equal(t, KindNeedsLogin, KindOf(err))
	assert.ErrorContains(t, err, "Advanced Data Protection")
	counts := sim.counts()
	assert.LessOrEqual(t, counts["request-pcs"], pcsTries)
	assert.Equal(t, 1, counts["account-login"])
}

// Cookies for protected data alone are renewed without a sign-in.
func TestSessionRenewsProtectedDataAlone(t *testing.T) {
	sim := startSimulator(t)
	sim.rules(jsonObject{"account": jsonObject{"advanced_data_protection": true}})
	f := sim.open("")
	_, err := f.List(background, "")
	require.NoError(t, err)
	sim.resetCounts()
	sim.control("POST", "pcs/end", nil, nil)
	inParallel(8, 16, func(int) {
		_, err := f.List(background, "")
		assert.NoError(t, err)
	})
	counts := sim.counts()
	assert.Equal(t, 1, counts["request-pcs"], "%v", counts)
	assert.Zero(t, counts["account-login"])
}

// Other reasons to fail a sign-in have texts of their own.
func TestSignInSaysWhy(t *testing.T) {
	for _, test := range []struct {
		rules jsonObject
		kind  string
		says  string
		cause string
	}{
		{jsonObject{"mainland_china": true}, KindUnsupported, "mainland China", CauseMainlandChina},
		{jsonObject{"web_access": false}, KindNeedsLogin, "Access iCloud Data on the Web", CauseWebAccessOff},
		{jsonObject{"terms_pending": true}, KindNeedsLogin, "terms", CauseTermsPending},
		{jsonObject{"advanced_data_protection": true, "pcs_approval_after": 1000}, KindNeedsLogin, "Advanced Data Protection", CauseADPNotApproved},
	} {
		sim := startSimulator(t)
		f := sim.open("")
		sim.rules(jsonObject{"account": test.rules})
		sim.control("POST", "session/end", status(421), nil)
		_, err := f.List(background, "")
		assert.Equal(t, test.kind, KindOf(err), "%v: %v", test.rules, err)
		assert.ErrorContains(t, err, test.says)
		var typed *Error
		require.ErrorAs(t, err, &typed)
		assert.Equal(t, test.cause, typed.Cause())
	}
}

// Both ways of deriving the secret from the password work, and the account that
// has to be repaired.
func TestSignInVariants(t *testing.T) {
	for _, rules := range []jsonObject{{"protocol": "s2k"}, {"protocol": "s2k_fo"}, {"repair_required": true, "two_factor": false}} {
		sim := startSimulator(t)
		f := sim.open("")
		sim.rules(jsonObject{"account": rules})
		sim.control("POST", "session/end", status(421), nil)
		_, err := f.List(background, "")
		assert.NoError(t, err, "%v", rules)
	}
}

// An account without a second factor has no trust token; what it has of its
// last sign-in is enough to renew the session.
func TestSessionWithoutASecondFactor(t *testing.T) {
	sim := startSimulator(t)
	sim.rules(jsonObject{"account": jsonObject{"two_factor": false}})
	path := filepath.Join(t.TempDir(), "s.json")
	require.NoError(t, SaveSessionFile(path, &SessionFile{AppleID: "user@example.com", SessionToken: "of an older sign-in"}))
	f, err := sim.openConfigured("", sim.configured(configmap.Simple{"session_file": path, "trust_token": "", "cookies": ""}))
	require.NoError(t, err)
	_, err = f.List(background, "")
	assert.NoError(t, err)
}

// Without a password the proof of the last sign-in renews the session.
func TestSessionRenewsWithoutThePassword(t *testing.T) {
	sim := startSimulator(t)
	path := filepath.Join(t.TempDir(), "s.json")
	configuration := sim.configured(configmap.Simple{"session_file": path})
	f, err := sim.openConfigured("", configuration)
	require.NoError(t, err)
	sim.control("POST", "session/end", status(421), nil)
	_, err = f.List(background, "")
	require.NoError(t, err)

	configuration["password"] = ""
	f, err = sim.openConfigured("", configuration)
	require.NoError(t, err)
	sim.control("POST", "session/end", status(421), nil)
	sim.resetCounts()
	_, err = f.List(background, "")
	require.NoError(t, err)
	assert.Zero(t, sim.counts()["signin-complete"])
}

// Six processes share an account through a session that ends: one sign-in.
func TestSessionFileIsShared(t *testing.T) {
	sim := startSimulator(t)
	path := filepath.Join(t.TempDir(), "state", "s.json")
	configuration := sim.configured(configmap.Simple{"session_file": path})
	var processes []*Fs
	for range 6 {
		f, err := sim.openConfigured("", configuration) // each with a session of its own in memory
		require.NoError(t, err)
		processes = append(processes, f)
	}
	for _, f := range processes {
		_, err := f.List(background, "")
		require.NoError(t, err)
	}
	assert.Equal(t, 1, sim.counts()["validate"], "what the first has asked for is there for the others")
	sim.control("POST", "session/end", status(421), nil)
	sim.resetCounts()
	inParallel(6, 24, func(i int) {
		_, err := tryPut(processes[i%6], fmt.Sprint("file", i), "content")
		assert.NoError(t, err)
	})
	counts := sim.counts()
	assert.Equal(t, 1, counts["account-login"], "%v", counts)
	assert.Len(t, sim.tree(), 24)

	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	info, err = os.Stat(filepath.Dir(path))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	info, err = os.Stat(path + ".lock")
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

// A session file that cannot be written does not end a session that is alive;
// no sign-in is made, and the error names the file.
func TestSessionFileCannotBeWritten(t *testing.T) {
	sim := startSimulator(t)
	occupied := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(occupied, nil, 0o600))
	path := filepath.Join(occupied, "s.json")
	f, err := sim.openConfigured("", sim.configured(configmap.Simple{"session_file": path}))
	require.NoError(t, err)
	_, err = f.List(background, "")
	require.NoError(t, err)
	sim.control("POST", "session/end", status(421), nil)
	for range 2 {
		_, err = f.List(background, "")
		assert.Equal(t, KindBadConfig, KindOf(err))
		assert.ErrorContains(t, err, path)
	}
	assert.Zero(t, sim.counts()["authorize"])
}

// A half-written session file does not keep a working configuration from working.
func TestSessionFileIsBroken(t *testing.T) {
	sim := startSimulator(t)
	path := filepath.Join(t.TempDir(), "s.json")
	require.NoError(t, os.WriteFile(path, []byte(`{"version":1,"apple_id":"us`), 0o600))
	configuration := sim.configured(configmap.Simple{"session_file": path})
	f, err := sim.openConfigured("", configuration)
	require.NoError(t, err)
	_, err = f.List(background, "")
	require.NoError(t, err)
	file, err := LoadSessionFile(path)
	require.NoError(t, err)
	assert.NotEmpty(t, file.Endpoints)

	require.NoError(t, os.WriteFile(path, []byte(`{`), 0o600))
	configuration["trust_token"], configuration["cookies"] = "", ""
	_, err = sim.openConfigured("", configuration)
	assert.Equal(t, KindBadConfig, KindOf(err), "%v", err)
}

func TestSessionFileOfAnotherAccount(t *testing.T) {
	sim := startSimulator(t)
	path := filepath.Join(t.TempDir(), "s.json")
	require.NoError(t, SaveSessionFile(path, &SessionFile{AppleID: "other@example.com", TrustToken: "x"}))
	_, err := sim.openConfigured("", sim.configured(configmap.Simple{"session_file": path}))
	assert.Equal(t, KindBadConfig, KindOf(err), "%v", err)
}

// Remotes of one account in one process share the session, and a configuration
// with a new login is taken up.
func TestRemotesShareTheSession(t *testing.T) {
	sim := startSimulator(t)
	fileless := configmap.Simple{"session_file": ""}
	configuration := sim.configured(fileless)
	first, err := sim.openConfigured("", configuration)
	require.NoError(t, err)
	second, err := sim.openShared("folder", configuration)
	require.NoError(t, err)
	assert.Same(t, first.drive, second.drive)
	_, err = first.List(background, "")
	require.NoError(t, err)
	assert.Equal(t, 1, sim.counts()["validate"])

	sim.control("POST", "trust/end", nil, nil)
	sim.control("POST", "session/end", status(421), nil)
	_, err = first.List(background, "")
	require.Equal(t, KindBadConfig, KindOf(err))
	_, err = sim.openShared("", sim.configured(fileless))
	require.NoError(t, err)
	_, err = first.List(background, "")
	assert.NoError(t, err)
}

// Cookies that answers replace are sent from then on and saved at the end.
func TestSessionTakesReplacedCookies(t *testing.T) {
	sim := startSimulator(t)
	path := filepath.Join(t.TempDir(), "s.json")
	f, err := sim.openConfigured("", sim.configured(configmap.Simple{"session_file": path}))
	require.NoError(t, err)
	_, err = f.List(background, "")
	require.NoError(t, err)
	sim.fault("list", "status", status(404), jsonObject{"headers": jsonObject{"set-cookie": "ignored=1"}})
	_, _ = f.List(background, "")
	f.drive.service.session.merge(f.drive.service.session.current(), []*http.Cookie{{Name: "X-APPLE-NEW", Value: "v"}, {Name: "X-APPLE-WEBAUTH-USER", Value: ""}})
	require.NoError(t, f.Shutdown(background))
	file, err := LoadSessionFile(path)
	require.NoError(t, err)
	assert.True(t, hasCookie(file.Cookies, "X-APPLE-NEW"))
	assert.False(t, hasCookie(file.Cookies, "X-APPLE-WEBAUTH-USER"))
	assert.True(t, hasCookie(file.Cookies, "X-APPLE-WEBAUTH-TOKEN"))
}

func TestSessionStatus(t *testing.T) {
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	file := &SessionFile{AppleID: "user@example.com", TrustToken: "hunter2", TrustedAt: now.AddDate(0, 0, -25), SignIns: 3}
	status := file.Describe(now)
	left, known := status.TrustLeft(now)
	assert.True(t, known)
	assert.Equal(t, 5*24*time.Hour, left)
	assert.False(t, status.NeedsLogin)
	file.refuse("", CauseTrustOver, "the trust is over")
	assert.True(t, file.Describe(now).NeedsLogin)
	assert.Equal(t, CauseTrustOver, file.Describe(now).Cause)
	encoded, err := json.Marshal(file.Describe(now))
	require.NoError(t, err)
	assert.NotContains(t, string(encoded), "hunter2")
}

// No way of printing shows a secret.
func TestSecretsDoNotPrint(t *testing.T) {
	file := SessionFile{TrustToken: "hunter2", Cookies: []Cookie{{"name", "hunter2"}}}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		assert.NotContains(t, fmt.Sprintf(format, file), "hunter2", format)
		assert.NotContains(t, fmt.Sprintf(format, file), "68756e74657232", format)
	}
	options := Options{Password: "hunter2", TrustToken: "hunter2", Cookies: "a=hunter2", PasswordCommand: "echo hunter2"}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, printed := range []any{options, &options, []Options{options}} {
			assert.NotContains(t, fmt.Sprintf(format, printed), "hunter2", format)
			assert.NotContains(t, fmt.Sprintf(format, printed), "68756e74657232", format)
		}
	}
	data, err := json.Marshal(file)
	require.NoError(t, err)
	assert.Contains(t, string(data), "hunter2", "or it could not be read again")
	assert.NotContains(t, errors.New(file.TrustToken.String()).Error(), "hunter2")
}

// A wrong password is sent once by all processes together: Apple has locked an
// account after two.
func TestWrongPasswordLocksNothing(t *testing.T) {
	sim := startSimulator(t)
	configuration := sim.configured(configmap.Simple{"session_file": filepath.Join(t.TempDir(), "s.json")})
	sim.rules(jsonObject{"account": jsonObject{"password": "another", "lock_after": 2}})
	sim.control("POST", "session/end", status(421), nil)
	for range 3 {
		f, err := sim.openConfigured("", configuration)
		require.NoError(t, err)
		inParallel(4, 8, func(int) {
			_, err := f.List(background, "")
			assert.Equal(t, KindNeedsLogin, KindOf(err), "%v", err)
		})
	}
	assert.Equal(t, 1, sim.counts()["signin-complete"])
	configuration["session_file"] = filepath.Join(t.TempDir(), "fresh.json")
	sim.rules(jsonObject{"account": jsonObject{"password": "correct horse"}})
	f, err := sim.openConfigured("", configuration)
	require.NoError(t, err)
	_, err = f.List(background, "")
	assert.NoError(t, err, "the account is not locked")
}
