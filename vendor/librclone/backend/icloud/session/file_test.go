package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Anything but a regular file of a sane size is refused without blocking, and the
// error contains the path.
func TestFilesThatAreNoSessionAreRefused(t *testing.T) {
	folder := t.TempDir()
	made := func(name string, make func(path string) error) string {
		path := filepath.Join(folder, name)
		require.NoError(t, make(path))
		return path
	}
	for _, path := range []string{
		made("fifo", func(path string) error { return syscall.Mkfifo(path, 0o600) }),
		made("zero", func(path string) error { return os.Symlink("/dev/zero", path) }),
		made("folder", func(path string) error { return os.Mkdir(path, 0o700) }),
		made("huge", func(path string) error {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				return err
			}
			return os.Truncate(path, 2<<20)
		}),
		made("loop", func(path string) error { return os.Symlink(path, path) }),
		made("cut", func(path string) error { return os.WriteFile(path, []byte(`{"version":1,`), 0o600) }),
	} {
		_, err := LoadFile(path)
		assert.Equal(t, apierr.KindBadConfig, apierr.KindOf(err), path)
		var typed *apierr.Error
		require.ErrorAs(t, err, &typed)
		assert.Contains(t, typed.Reason(), path)
		assert.Equal(t, apierr.CauseSessionFile, typed.Cause())
	}
}

// A session file of a newer format is not replaced, because the members that
// this version does not know would be lost.
func TestNewerSessionFileIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.json")
	newer := []byte(`{"version":2,"apple_id":"user@example.com","more":"x"}`)
	require.NoError(t, os.WriteFile(path, newer, 0o600))
	assert.ErrorContains(t, SaveFile(path, &File{AppleID: "user@example.com"}), "newer version")
}

// The status has the rest of the trust and any refusal, but no secret.
func TestStatusOfASession(t *testing.T) {
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	file := &File{AppleID: "user@example.com", TrustToken: "hunter2", TrustedAt: now.AddDate(0, 0, -25), SignIns: 3}
	status := file.Describe(now)
	left, known := status.TrustLeft(now)
	assert.True(t, known)
	assert.Equal(t, 5*24*time.Hour, left)
	assert.False(t, status.NeedsLogin)
	file.Refuse("", apierr.CauseTrustOver, "the trust is over")
	assert.True(t, file.Describe(now).NeedsLogin)
	assert.Equal(t, apierr.CauseTrustOver, file.Describe(now).Cause)
	encoded, err := json.Marshal(file.Describe(now))
	require.NoError(t, err)
	assert.NotContains(t, string(encoded), "hunter2")
}

// No verb of package fmt prints a secret.
func TestSecretsAreNotPrinted(t *testing.T) {
	file := File{TrustToken: "hunter2", Cookies: []Cookie{{"name", "hunter2"}}}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		assert.NotContains(t, fmt.Sprintf(format, file), "hunter2", format)
		assert.NotContains(t, fmt.Sprintf(format, file), "68756e74657232", format)
	}
	data, err := json.Marshal(file)
	require.NoError(t, err)
	assert.Contains(t, string(data), "hunter2", "a session file contains the secrets")
	assert.NotContains(t, errors.New(file.TrustToken.String()).Error(), "hunter2")
}

// The cookies and addresses of one domain are never used in the other one.
func TestAnAccountThatMovesHasNoCookies(t *testing.T) {
	file := File{Cookies: []Cookie{{Name: "a", Value: "secret"}}, Endpoints: map[string]string{hosts.Drive: "https://p1-drivews.icloud.com"}}
	file.MoveTo(hosts.World)
	assert.Len(t, file.Cookies, 1)
	assert.Len(t, file.Endpoints, 1)
	file.MoveTo(hosts.China)
	assert.Equal(t, File{Domain: hosts.China}, file)
}
