package icloud

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A failure of the setup host does not count as a refusal of protected data. The request
// is repeated, and the session continues.
func TestFailuresOfRequestPCS(t *testing.T) {
	for name, trouble := range map[string]func() *fakeResponse{
		"502": refusing(502, "<html>"), "504": refusing(504, ""), "500": refusing(500, ""), "a page": refusing(200, "<html>"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newFakeCloud()
				c.needsPCS, c.pcs = true, false
				left := 0
				b := newBetween(c, func(kind string, _ *http.Request) *fakeResponse {
					if kind == "requestPCS" && left > 0 {
						left--
						return trouble()
					}
					return nil
				})
				f := patientProcess(b, "secret", simtest.NewSessionFile())
				left = 1000
				_, err := f.List(background, "")
				assert.Contains(t, []string{apierr.KindNetwork, apierr.KindDamaged}, apierr.KindOf(err), "%v", err)
				left = 2
				time.Sleep(time.Hour) // on the clock of synctest
				_, err = f.List(background, "")
				assert.NoError(t, err)
				assert.Zero(t, b.counts["accountLogin"], "%v", b.counts)
			})
		})
	}
}

// A failure of the request for cookies for protected data does not repeat the sign-in
// before it.
func TestFailureOfRequestPCSAfterASignIn(t *testing.T) {
	c := newFakeCloud()
	c.needsPCS, c.alive = true, false
	left := 2
	b := newBetween(c, func(kind string, _ *http.Request) *fakeResponse {
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

// A 500 with a reason is a refusal of protected data and not a failure.
func TestRefusedProtectedData(t *testing.T) {
	c := newFakeCloud()
	c.needsPCS, c.pcs = true, false
	b := newBetween(c, func(kind string, _ *http.Request) *fakeResponse {
		if kind == "requestPCS" {
			return refusing(500, `{"success":false,"error":"Missing X-APPLE-WEBAUTH-TOKEN cookie"}`)()
		}
		return nil
	})
	_, err := driveBy(b, "secret").List(background, "")
	var typed *apierr.Error
	require.ErrorAs(t, err, &typed)
	assert.Equal(t, apierr.CauseADPNotApproved, typed.Cause())
	assert.Equal(t, 1, b.counts["accountLogin"])
}

// An account is protected only if Apple reports it, and not because services require
// cookies for protected data. The end of the consent is stored.
func TestProtectedAccounts(t *testing.T) {
	forgetAccounts()
	for _, protected := range []bool{false, true} {
		sim := startSimulator(t)
		sim.Rules(simtest.JSON{"account": simtest.JSON{"advanced_data_protection": protected}})
		configuration := sim.configured()
		f, err := sim.openConfigured("", configuration)
		require.NoError(t, err)
		sim.Control("POST", "session/end", simtest.Status(421), nil)
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
