package icloud

import (
	"encoding/json"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// That the host of accounts is in trouble is not what it says about protected
// data: it is asked again, and in the end the session goes on.
func TestTroubleWithProtectedData(t *testing.T) {
	for name, trouble := range map[string]func() *fakeAnswer{
		"502": refusing(502, "<html>"), "504": refusing(504, ""), "500": refusing(500, ""), "a page": refusing(200, "<html>"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newFakeCloud()
				c.needsPCS, c.pcs = true, false
				left := 0
				b := newBetween(c, func(kind string, _ *http.Request) *fakeAnswer {
					if kind == "requestPCS" && left > 0 {
						left--
						return trouble()
					}
					return nil
				})
				f := patientProcess(b, "secret", newSessionFile())
				left = 1000
				_, err := f.List(background, "")
				assert.Contains(t, []string{KindNetwork, KindDamaged}, KindOf(err), "%v", err)
				left = 2
				time.Sleep(time.Hour) // of the test's own time
				_, err = f.List(background, "")
				assert.NoError(t, err)
				assert.Zero(t, b.counts["accountLogin"], "%v", b.counts)
			})
		})
	}
}

// Trouble with the cookies for protected data in the middle of a sign-in does
// not begin the sign-in again.
func TestTroubleWithProtectedDataInASignIn(t *testing.T) {
	c := newFakeCloud()
	c.needsPCS, c.alive = true, false
	left := 2
	b := newBetween(c, func(kind string, _ *http.Request) *fakeAnswer {
		if kind == "requestPCS" && !c.alive {
			return refusing(421, "")()
		}
		if kind == "requestPCS" && left > 0 {
			left--
			return refusing(502, "")()
		}
		return nil
	})
	_, err := driveBy(b, "secret").List(background, "")
	assert.NoError(t, err)
	assert.Equal(t, 1, b.counts["accountLogin"])
	assert.Equal(t, 1, b.counts["signin"])
}

// A 500 that says that a cookie is missing is an answer.
func TestProtectedDataThatIsRefused(t *testing.T) {
	c := newFakeCloud()
	c.needsPCS, c.pcs = true, false
	b := newBetween(c, func(kind string, _ *http.Request) *fakeAnswer {
		if kind == "requestPCS" {
			return refusing(500, `{"success":false,"error":"Missing X-APPLE-WEBAUTH-TOKEN cookie"}`)()
		}
		return nil
	})
	_, err := driveBy(b, "secret").List(background, "")
	var typed *Error
	require.ErrorAs(t, err, &typed)
	assert.Equal(t, CauseADPNotApproved, typed.Cause())
	assert.Equal(t, 1, b.counts["accountLogin"])
}

// That services want cookies for protected data says nothing of the account;
// when a device's consent ends is kept.
func TestProtectedAccounts(t *testing.T) {
	forgetAccounts()
	for _, protected := range []bool{false, true} {
		sim := startSimulator(t)
		sim.rules(jsonObject{"account": jsonObject{"advanced_data_protection": protected}})
		configuration := sim.configured()
		f, err := sim.openConfigured("", configuration)
		require.NoError(t, err)
		sim.control("POST", "session/end", status(421), nil)
		_, err = f.List(background, "")
		require.NoError(t, err)
		described := loaded(t, configuration["session_file"]).Describe(time.Now())
		assert.Equal(t, protected, described.Protected)
		assert.Equal(t, protected, !described.ConsentUntil.IsZero())
		if protected {
			assert.InDelta(t, time.Hour.Seconds(), time.Until(described.ConsentUntil).Seconds(), 60)
		}
	}
}

// Cookies for protected data go to the session that they are of.
func TestPCSOfAnotherSession(t *testing.T) {
	now := time.Now().UTC()
	asked := &SessionFile{TrustToken: "trust", RenewedAt: now.Add(time.Minute), Cookies: []Cookie{{"WEB", "old"}, {pcsCookie, "fresh"}}}
	file := &SessionFile{TrustToken: "trust", RenewedAt: now, Cookies: []Cookie{{"WEB", "rotated"}, {"NEW", "1"}}}
	assert.True(t, file.TakePCS(asked, now))
	assert.Equal(t, []Cookie{{"WEB", "rotated"}, {"NEW", "1"}, {pcsCookie, "fresh"}}, file.Cookies)
	renewed := &SessionFile{TrustToken: "trust", RenewedAt: now.Add(time.Second), Cookies: []Cookie{{"WEB", "renewed"}}}
	assert.False(t, renewed.TakePCS(asked, now))
	assert.Equal(t, []Cookie{{"WEB", "renewed"}}, renewed.Cookies)
}

// That the services want cookies for protected data is no data protection.
func TestProtectionOfAnAccount(t *testing.T) {
	for body, protected := range map[string]bool{
		`{"webservices":{"drivews":{"pcsRequired":true}}}`:     false,
		`{"iCDPEnabled":true}`:                                 true,
		`{"dsInfo":{"iCDPEnabled":true}}`:                      true,
		`{"iCDPEnabled":false,"dsInfo":{"iCDPEnabled":false}}`: false,
	} {
		account := new(AccountAnswer)
		require.NoError(t, json.Unmarshal([]byte(body), account))
		assert.Equal(t, protected, account.Protected(), body)
	}
	account := new(AccountAnswer)
	require.NoError(t, json.Unmarshal([]byte(`{"webservices":{"drivews":{"pcsRequired":true}}}`), account))
	assert.True(t, account.WantsPCS(nil))
	assert.False(t, account.WantsPCS([]Cookie{{pcsCookie, "there"}}))
}
