package account

import (
	"context"
	"encoding/json"
	"path/filepath"
	"testing"

	"plakar-icloud/librclone/backend/icloud/privatefile"
	"plakar-icloud/librclone/backend/icloud/session"
	"plakar-icloud/librclone/backend/icloud/signin"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A response describes the phones, and a page describes no second factor.
func TestSecondFactorInAResponse(t *testing.T) {
	said, err := factorIn(&response{status: 409, body: []byte(`{"trustedPhoneNumbers":[{"id":1,"numberWithDialCode":"+1 23"}]}`)})
	require.NoError(t, err)
	assert.Equal(t, []phone{{ID: 1, Number: "+1 23"}}, said.phones)
	now, err := factorIn(&response{status: 200, body: []byte("<html>")})
	require.NoError(t, err)
	assert.Nil(t, now)
}

// A refusal by the setup host is never about a password.
func TestRefusalsOfASession(t *testing.T) {
	for cause, refused := range map[string]signin.Refused{
		causeSessionOver: {Status: 423, SessionOver: true},
		causeOtherDomain: {Status: 302, Elsewhere: "iCloud.com.cn"},
		causeUnknown:     {Status: 302, Elsewhere: "icloud.com.cn.example.org"},
		causeThrottled:   {Status: 503},
		causeService:     {Status: 502},
		causeOther:       {Status: 403},
	} {
		assert.Equal(t, cause, refusedSession(&refused).cause)
	}
}

// A useless session does not replace the earlier one. A session that waits for the
// acceptance of Apple's terms does, because it works once they are accepted.
func TestUselessSessionReplacesNothing(t *testing.T) {
	for body, replaces := range map[string]bool{
		`{}`:                         false,
		`{"termsUpdateNeeded":true}`: true,
	} {
		path := filepath.Join(t.TempDir(), "s.json")
		require.NoError(t, session.SaveFile(path, &session.File{TrustToken: "good"}))
		account := new(signin.Account)
		require.NoError(t, json.Unmarshal([]byte(body), account))
		s := &signIn{file: path, client: &api.Session{TrustToken: "new"}}
		_, err := s.finish(context.Background(), account)
		assert.Error(t, err)
		file, err := session.LoadFile(path)
		require.NoError(t, err)
		assert.Equal(t, replaces, file.TrustToken == "new", body)
	}
}

// A logout removes all files but the lock, including those of a sign-in under way.
func TestForgetLeavesOnlyTheLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.json")
	for _, end := range []string{"", ".1", ".challenge", ".challenge.2"} {
		require.NoError(t, privatefile.Replace(path+end, nil))
	}
	_, err := forget(context.Background(), sessionRequest{SessionFile: path})
	require.NoError(t, err)
	left, err := filepath.Glob(filepath.Dir(path) + "/*")
	require.NoError(t, err)
	assert.Equal(t, []string{path + ".lock"}, left)
}
