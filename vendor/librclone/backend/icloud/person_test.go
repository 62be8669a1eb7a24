package icloud

import (
	"testing"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/session"
	"plakar-icloud/librclone/backend/icloud/signin"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sessionFile returns a valid session in the form of a session file.
func (s *simulator) sessionFile() *session.File {
	minted := s.Session()
	return &session.File{AppleID: minted["apple_id"], ClientID: minted["client_id"], Cookies: cookiesOf(minted["cookies"])}
}

// A response that does not describe an account is an error.
func TestResponsesWithoutAnAccount(t *testing.T) {
	forgetAccounts()
	sim := startSimulator(t)
	for _, body := range []string{"<html>Welcome to the hotel's network</html>", "", `{"webservices":`} {
		sim.Fault("account-login", "replace", simtest.JSON{"text": body})
		account, refused, err := signin.AccountLogin(sim.Context(), api.NewSession(), &session.File{AppleID: "user@example.com"})
		assert.Equal(t, apierr.KindDamaged, apierr.KindOf(err), "%q: %v", body, err)
		assert.Nil(t, refused)
		assert.Nil(t, account)
	}
}

// Validate reports for each status whether the session has ended.
func TestValidateReportsEndedSessions(t *testing.T) {
	forgetAccounts()
	sim := startSimulator(t)
	file := sim.sessionFile()
	for code, over := range map[int]bool{401: true, 421: true, 423: true, 450: true, 403: false, 502: false} {
		sim.Fault("validate", "status", simtest.Status(code))
		_, refused, err := signin.Validate(sim.Context(), file)
		require.NoError(t, err)
		require.NotNil(t, refused)
		assert.Equal(t, code, refused.Status)
		assert.Equal(t, over, refused.SessionOver, code)
	}
	account, refused, err := signin.Validate(sim.Context(), file)
	require.NoError(t, err)
	require.Nil(t, refused)
	assert.Len(t, account.Endpoints(), 4)

	sim.Rules(simtest.JSON{"account": simtest.JSON{"mainland_china": true}})
	_, refused, err = signin.AccountLogin(sim.Context(), api.NewSession(), file)
	require.NoError(t, err)
	assert.Equal(t, 400, refused.Status, "a session without a token")
	assert.Equal(t, hosts.China, file.Domain)
}

// RequestPCS does not take an old cookie for protected data for the requested one.
func TestRequestPCSIgnoresOldCookies(t *testing.T) {
	forgetAccounts()
	sim := startSimulator(t)
	sim.Rules(simtest.JSON{"account": simtest.JSON{"advanced_data_protection": true, "pcs_approval_after": 1}})
	file := sim.sessionFile()
	file.Cookies = append(file.Cookies, session.Cookie{Name: session.PCSCookie, Value: "stale"})
	granted, access, refused, err := signin.RequestPCS(sim.Context(), file)
	require.NoError(t, err)
	assert.Nil(t, refused)
	assert.False(t, granted)
	assert.False(t, access.Off())
	assert.False(t, file.HasPCS())
	granted, _, _, err = signin.RequestPCS(sim.Context(), file)
	require.NoError(t, err)
	assert.True(t, granted)
	assert.True(t, file.HasPCS())

	sim.Fault("request-pcs", "replace", simtest.JSON{"text": `{"isWebAccessAllowed":true,"status":"success"}`})
	file.Cookies = append(file.Cookies, session.Cookie{Name: session.PCSCookie, Value: "stale"})
	granted, _, _, err = signin.RequestPCS(sim.Context(), file)
	require.NoError(t, err)
	assert.False(t, granted, "the response has no cookie")
}
