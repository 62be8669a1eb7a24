package icloud

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/session"
	"plakar-icloud/librclone/backend/icloud/signin"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/rclone/rclone/fs/fserrors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// If a session ends during 16 concurrent transfers, one sign-in renews it and all
// transfers succeed.
func TestSessionEndsUnderTransfers(t *testing.T) {
	for _, dead := range []int{421, 401, 423} {
		t.Run(fmt.Sprint(dead), func(t *testing.T) {
			sim := startSimulator(t)
			f := sim.open("")
			for i := range 16 {
				sim.PutFile(fmt.Sprintf("down/file%02d", i), fmt.Sprint("content ", i))
			}
			entries, err := f.List(background, "down")
			require.NoError(t, err)
			put(t, f, "up/first", "1")
			sim.ResetCounts()
			var ended atomic.Bool
			simtest.InParallel(16, 64, func(i int) {
				if i >= 16 && ended.CompareAndSwap(false, true) {
					sim.Control("POST", "session/end", simtest.Status(dead), nil)
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
			counts := sim.Counts()
			assert.Equal(t, 1, counts["account-login"], "%v", counts)
			assert.Equal(t, 1, counts["signin-complete"])
			assert.Zero(t, counts["push-code"])
			for i := 0; i < 64; i += 2 {
				assert.Equal(t, fmt.Sprint("content ", i), sim.File(fmt.Sprintf("up/file%02d", i)))
			}
		})
	}
}

// A failure that needs a person is detected with one attempt. It is not attempted again
// by later calls or processes.
func TestSessionNeedsLogin(t *testing.T) {
	wrong := simtest.JSON{"account": simtest.JSON{"password": "another"}}
	for _, test := range []struct {
		name     string
		prepare  func(*simulator, configmap.Simple)
		requests string // the kind of which at most one request is made
		cause    string
	}{
		{"trust is over", func(sim *simulator, _ configmap.Simple) { sim.Control("POST", "trust/end", nil, nil) },
			"signin-complete", apierr.CauseTrustOver},
		{"password is wrong", func(sim *simulator, _ configmap.Simple) { sim.Rules(wrong) },
			"signin-complete", apierr.CauseWrongPassword},
		{"account is locked", func(sim *simulator, _ configmap.Simple) {
			sim.Rules(simtest.JSON{"account": simtest.JSON{"locked": true}})
		}, "signin-complete", apierr.CauseLocked},
		{"no password", func(_ *simulator, configuration configmap.Simple) { configuration["password"] = "*** ENCRYPTED ***" },
			"authorize", apierr.CauseNoPassword},
		{"no trust token", func(_ *simulator, configuration configmap.Simple) { configuration["trust_token"] = "" },
			"authorize", apierr.CauseNotSignedIn},
	} {
		t.Run(test.name, func(t *testing.T) {
			sim := startSimulator(t)
			configuration := sim.configured()
			file := filepath.Join(t.TempDir(), "session.json")
			test.prepare(sim, configuration)
			sim.Control("POST", "session/end", simtest.Status(421), nil)
			sim.ResetCounts()
			for process := range 3 {
				again := configmap.Simple{"session_file": file}
				for key, value := range configuration {
					if key != "session_file" {
						again[key] = value
					}
				}
				f, err := sim.openConfigured("", again)
				require.NoError(t, err)
				simtest.InParallel(4, 8, func(int) {
					_, err := f.List(background, "")
					assert.Equal(t, apierr.KindNeedsLogin, apierr.KindOf(err), "%v", err)
					var typed *apierr.Error
					if assert.ErrorAs(t, err, &typed) {
						assert.Equal(t, test.cause, typed.Cause(), "%v", err)
					}
					assert.True(t, fserrors.IsFatalError(err))
					assert.False(t, fserrors.IsRetryError(err))
				})
				counts := sim.Counts()
				assert.LessOrEqual(t, counts[test.requests], 1, "process %d: %v", process, counts)
				assert.Zero(t, counts["push-code"]+counts["send-sms"])
			}
			session, err := session.LoadFile(file)
			require.NoError(t, err)
			described := session.Describe(time.Now())
			assert.True(t, described.NeedsLogin)
			assert.Equal(t, test.cause, described.Cause)
		})
	}
}

// A refusal concerns one session and not a later one.
func TestSessionRefused(t *testing.T) {
	session := session.File{TrustToken: "trust", Cookies: []session.Cookie{{Name: "session", Value: "first"}}}
	session.RefuseSession(apierr.CauseNoPassword, "no password is stored")
	assert.True(t, session.Describe(time.Now()).NeedsLogin)
	session.Cookies[0].Value = "second"
	assert.False(t, session.Describe(time.Now()).NeedsLogin)
}

// After a refused password, a login clears the refusal, and the correct password is used.
func TestSessionAfterTheRightPassword(t *testing.T) {
	sim := startSimulator(t)
	configuration := sim.configured(configmap.Simple{"session_file": filepath.Join(t.TempDir(), "s.json")})
	right := configuration["password"]
	sim.Rules(simtest.JSON{"account": simtest.JSON{"password": "another"}})
	sim.Control("POST", "session/end", simtest.Status(421), nil)
	f, err := sim.openConfigured("", configuration)
	require.NoError(t, err)
	_, err = f.List(background, "")
	require.Equal(t, apierr.KindNeedsLogin, apierr.KindOf(err))
	sim.Rules(simtest.JSON{"account": simtest.JSON{"password": "correct horse"}})
	configuration["password"] = right
	f, err = sim.openConfigured("", configuration)
	require.NoError(t, err)
	_, err = f.List(background, "")
	assert.Equal(t, apierr.KindNeedsLogin, apierr.KindOf(err), "the same password was refused before")
	require.NoError(t, session.UpdateFile(background, configuration["session_file"], func(file *session.File) error {
		file.Refused = session.Refusals{} // as a login does
		return nil
	}))
	f, err = sim.openConfigured("", configuration)
	require.NoError(t, err)
	_, err = f.List(background, "")
	assert.NoError(t, err)
}

// A running process adopts the session that a login has stored in the session file.
func TestSessionRevives(t *testing.T) {
	sim := startSimulator(t)
	path := filepath.Join(t.TempDir(), "s.json")
	f, err := sim.openConfigured("", sim.configured(configmap.Simple{"session_file": path}))
	require.NoError(t, err)
	sim.Control("POST", "trust/end", nil, nil)
	sim.Control("POST", "session/end", simtest.Status(421), nil)
	_, err = f.List(background, "")
	require.Equal(t, apierr.KindNeedsLogin, apierr.KindOf(err))
	fresh := sim.Session()
	require.NoError(t, session.UpdateFile(background, path, func(file *session.File) error {
		file.TrustToken = session.Secret(fresh["trust_token"])
		file.Cookies = cookiesOf(fresh["cookies"])
		file.RenewedAt = time.Now()
		return nil
	}))
	_, err = f.List(background, "")
	assert.NoError(t, err)
}

func cookiesOf(header string) []session.Cookie {
	var cookies []session.Cookie
	for pair := range strings.SplitSeq(header, "; ") {
		name, value, _ := strings.Cut(pair, "=")
		cookies = append(cookies, session.Cookie{Name: name, Value: session.Secret(value)})
	}
	return cookies
}

// A sign-in that Apple throttles is not repeated, neither by other calls nor by other
// processes.
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
				sim.Control("POST", "session/end", simtest.Status(421), nil)
				sim.Fault(kind, "status", simtest.Status(code), simtest.JSON{"headers": simtest.JSON{"retry-after": "600"}, "times": nil})
				simtest.InParallel(4, 8, func(int) {
					_, err := f.List(background, "")
					assert.Equal(t, apierr.KindThrottled, apierr.KindOf(err), "%v", err)
					var typed *apierr.Error
					require.ErrorAs(t, err, &typed)
					assert.InDelta(t, 600, typed.RetryAfter().Seconds(), 5)
					assert.True(t, fserrors.IsRetryAfterError(err))
				})
				f, err = sim.openConfigured("", configuration)
				require.NoError(t, err)
				_, err = f.List(background, "")
				assert.Equal(t, apierr.KindThrottled, apierr.KindOf(err), "%v", err)
				assert.Equal(t, 1, sim.Counts()[kind])
			})
		}
	}
}

// A broken connection during a sign-in does not count as a refusal. If the proof was
// sent, only a later process sends another one.
func TestSignInSurvivesTheNetwork(t *testing.T) {
	for _, kind := range []string{"authorize", "federate", "signin-init", "signin-complete", "account-login"} {
		for _, action := range []string{"reset-before", "reset-after"} {
			t.Run(kind+" "+action, func(t *testing.T) {
				sim := startSimulator(t)
				configuration := sim.configured()
				f, err := sim.openConfigured("", configuration)
				require.NoError(t, err)
				sim.Control("POST", "session/end", simtest.Status(421), nil)
				sim.Fault(kind, action)
				_, err = f.List(background, "")
				if kind == "signin-complete" {
					assert.Equal(t, apierr.KindNetwork, apierr.KindOf(err), "%v", err)
					assert.True(t, fserrors.IsFatalError(err))
					require.NoError(t, session.UpdateFile(background, configuration["session_file"], func(file *session.File) error {
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

// If the access to protected data is not approved, the error says so after a few requests.
func TestSessionWaitsForNoApproval(t *testing.T) {
	sim := startSimulator(t)
	f := sim.open("")
	sim.Rules(simtest.JSON{"account": simtest.JSON{"advanced_data_protection": true, "pcs_approval_after": 1000}})
	sim.Control("POST", "session/end", simtest.Status(421), nil)
	_, err := f.List(background, "")
	assert.Equal(t, apierr.KindNeedsLogin, apierr.KindOf(err))
	assert.ErrorContains(t, err, "Advanced Data Protection")
	counts := sim.Counts()
	assert.LessOrEqual(t, counts["request-pcs"], signin.PCSTries)
	assert.Equal(t, 1, counts["account-login"])
}

// Cookies for protected data alone are renewed without a sign-in.
func TestSessionRenewsProtectedDataAlone(t *testing.T) {
	sim := startSimulator(t)
	sim.Rules(simtest.JSON{"account": simtest.JSON{"advanced_data_protection": true}})
	f := sim.open("")
	_, err := f.List(background, "")
	require.NoError(t, err)
	sim.ResetCounts()
	sim.Control("POST", "pcs/end", nil, nil)
	simtest.InParallel(8, 16, func(int) {
		_, err := f.List(background, "")
		assert.NoError(t, err)
	})
	counts := sim.Counts()
	assert.Equal(t, 1, counts["request-pcs"], "%v", counts)
	assert.Zero(t, counts["account-login"])
}

// The other reasons for a failed sign-in have their own causes and texts.
func TestSignInReportsTheCause(t *testing.T) {
	for _, test := range []struct {
		rules simtest.JSON
		kind  string
		says  string
		cause string
	}{
		{simtest.JSON{"mainland_china": true}, apierr.KindNeedsLogin, "no longer trusts", apierr.CauseTrustOver},
		{simtest.JSON{"web_access": false}, apierr.KindNeedsLogin, "Access iCloud Data on the Web", apierr.CauseWebAccessOff},
		{simtest.JSON{"terms_pending": true}, apierr.KindNeedsLogin, "terms", apierr.CauseTermsPending},
		{simtest.JSON{"advanced_data_protection": true, "pcs_approval_after": 1000}, apierr.KindNeedsLogin, "Advanced Data Protection", apierr.CauseADPNotApproved},
	} {
		sim := startSimulator(t)
		f := sim.open("")
		sim.Rules(simtest.JSON{"account": test.rules})
		sim.Control("POST", "session/end", simtest.Status(421), nil)
		_, err := f.List(background, "")
		assert.Equal(t, test.kind, apierr.KindOf(err), "%v: %v", test.rules, err)
		assert.ErrorContains(t, err, test.says)
		var typed *apierr.Error
		require.ErrorAs(t, err, &typed)
		assert.Equal(t, test.cause, typed.Cause())
	}
}

// Both protocols of the key derivation work, and so does an account without a second
// factor.
func TestSignInVariants(t *testing.T) {
	for _, rules := range []simtest.JSON{{"protocol": "s2k"}, {"protocol": "s2k_fo"}, {"repair_required": true, "two_factor": false}} {
		sim := startSimulator(t)
		f := sim.open("")
		sim.Rules(simtest.JSON{"account": rules})
		sim.Control("POST", "session/end", simtest.Status(421), nil)
		_, err := f.List(background, "")
		assert.NoError(t, err, "%v", rules)
	}
}

// An account without a second factor has no trust token. Its session token suffices to
// renew the session.
func TestSessionWithoutASecondFactor(t *testing.T) {
	sim := startSimulator(t)
	sim.Rules(simtest.JSON{"account": simtest.JSON{"two_factor": false}})
	path := filepath.Join(t.TempDir(), "s.json")
	require.NoError(t, session.SaveFile(path, &session.File{AppleID: "user@example.com", SessionToken: "of an older sign-in"}))
	f, err := sim.openConfigured("", sim.configured(configmap.Simple{"session_file": path, "trust_token": "", "cookies": ""}))
	require.NoError(t, err)
	_, err = f.List(background, "")
	assert.NoError(t, err)
}

// Without a password, the session token renews the session.
func TestSessionRenewsWithoutThePassword(t *testing.T) {
	sim := startSimulator(t)
	path := filepath.Join(t.TempDir(), "s.json")
	configuration := sim.configured(configmap.Simple{"session_file": path})
	f, err := sim.openConfigured("", configuration)
	require.NoError(t, err)
	sim.Control("POST", "session/end", simtest.Status(421), nil)
	_, err = f.List(background, "")
	require.NoError(t, err)

	configuration["password"] = ""
	f, err = sim.openConfigured("", configuration)
	require.NoError(t, err)
	sim.Control("POST", "session/end", simtest.Status(421), nil)
	sim.ResetCounts()
	_, err = f.List(background, "")
	require.NoError(t, err)
	assert.Zero(t, sim.Counts()["signin-complete"])
}

// All processes together send one proof of a wrong password, because Apple has locked an
// account after two.
func TestWrongPasswordDoesNotLockTheAccount(t *testing.T) {
	sim := startSimulator(t)
	configuration := sim.configured(configmap.Simple{"session_file": filepath.Join(t.TempDir(), "s.json")})
	sim.Rules(simtest.JSON{"account": simtest.JSON{"password": "another", "lock_after": 2}})
	sim.Control("POST", "session/end", simtest.Status(421), nil)
	for range 3 {
		f, err := sim.openConfigured("", configuration)
		require.NoError(t, err)
		simtest.InParallel(4, 8, func(int) {
			_, err := f.List(background, "")
			assert.Equal(t, apierr.KindNeedsLogin, apierr.KindOf(err), "%v", err)
		})
	}
	assert.Equal(t, 1, sim.Counts()["signin-complete"])
	configuration["session_file"] = filepath.Join(t.TempDir(), "fresh.json")
	sim.Rules(simtest.JSON{"account": simtest.JSON{"password": "correct horse"}})
	f, err := sim.openConfigured("", configuration)
	require.NoError(t, err)
	_, err = f.List(background, "")
	assert.NoError(t, err, "the account is not locked")
}
