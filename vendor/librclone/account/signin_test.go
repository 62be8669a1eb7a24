package account

import (
	"context"
	"path/filepath"
	"testing"

	"plakar-icloud/librclone/backend/icloud"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An answer that says nothing about the account is no account.
func TestAnswersThatAreNoAccount(t *testing.T) {
	for _, body := range []string{"<html>Welcome to the hotel's network</html>", "", `{"webservices":`} {
		_, err := infoIn(&reply{status: 200, body: []byte(body)})
		var failed *failure
		if assert.ErrorAs(t, err, &failed, body) {
			assert.Equal(t, icloud.KindDamaged, failed.Kind())
		}
	}
}

// A sign-in that brings nothing of use leaves the session of before; one that
// waits for the terms is kept, as it works once they are accepted.
func TestSignInOfNoUseReplacesNothing(t *testing.T) {
	for body, replaces := range map[string]bool{
		`{}`:                         false,
		`{"termsUpdateNeeded":true}`: true,
	} {
		path := filepath.Join(t.TempDir(), "s.json")
		require.NoError(t, icloud.SaveSessionFile(path, &icloud.SessionFile{TrustToken: "good"}))
		account, err := infoIn(&reply{status: 200, body: []byte(body)})
		require.NoError(t, err)
		s := &signIn{file: path, client: &api.Session{TrustToken: "new"}}
		_, err = s.finish(context.Background(), account)
		assert.Error(t, err)
		file, err := icloud.LoadSessionFile(path)
		require.NoError(t, err)
		assert.Equal(t, replaces, file.TrustToken == "new", body)
	}
}

// A logout leaves no secret, and no sign-in that waits for its code.
func TestForgetLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.json")
	for _, end := range []string{"", ".1", ".challenge", ".challenge.2"} {
		require.NoError(t, icloud.ReplaceFile(path+end, nil))
	}
	_, err := forget(context.Background(), sessionRequest{SessionFile: path})
	require.NoError(t, err)
	left, err := filepath.Glob(filepath.Dir(path) + "/*")
	require.NoError(t, err)
	assert.Equal(t, []string{path + ".lock"}, left)
}
