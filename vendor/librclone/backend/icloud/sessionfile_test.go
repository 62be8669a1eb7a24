package icloud

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/service"
	"plakar-icloud/librclone/backend/icloud/session"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Six processes that share a session renew it with one sign-in.
func TestSessionFileIsShared(t *testing.T) {
	sim := startSimulator(t)
	path := filepath.Join(t.TempDir(), "state", "s.json")
	configuration := sim.configured(configmap.Simple{"session_file": path})
	var processes []*Fs
	for range 6 {
		f, err := sim.openConfigured("", configuration) // each has its own session in memory
		require.NoError(t, err)
		processes = append(processes, f)
	}
	for _, f := range processes {
		_, err := f.List(background, "")
		require.NoError(t, err)
	}
	assert.Equal(t, 1, sim.Counts()["validate"], "the others use the addresses that the first one has requested")
	sim.Control("POST", "session/end", simtest.Status(421), nil)
	sim.ResetCounts()
	simtest.InParallel(6, 24, func(i int) {
		_, err := tryPut(processes[i%6], fmt.Sprint("file", i), "content")
		assert.NoError(t, err)
	})
	counts := sim.Counts()
	assert.Equal(t, 1, counts["account-login"], "%v", counts)
	assert.Len(t, sim.Tree(), 24)

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

// If the session file cannot be written, a valid session can be used, but no sign-in is
// made, and the error has the path.
func TestSessionFileCannotBeWritten(t *testing.T) {
	sim := startSimulator(t)
	occupied := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(occupied, nil, 0o600))
	path := filepath.Join(occupied, "s.json")
	f, err := sim.openConfigured("", sim.configured(configmap.Simple{"session_file": path}))
	require.NoError(t, err)
	_, err = f.List(background, "")
	require.NoError(t, err)
	sim.Control("POST", "session/end", simtest.Status(421), nil)
	for range 2 {
		_, err = f.List(background, "")
		assert.Equal(t, apierr.KindBadConfig, apierr.KindOf(err))
		assert.ErrorContains(t, err, path)
	}
	assert.Zero(t, sim.Counts()["authorize"])
}

// A damaged session file is ignored if the configuration has a session, and is an error
// otherwise.
func TestSessionFileIsBroken(t *testing.T) {
	sim := startSimulator(t)
	path := filepath.Join(t.TempDir(), "s.json")
	require.NoError(t, os.WriteFile(path, []byte(`{"version":1,"apple_id":"us`), 0o600))
	configuration := sim.configured(configmap.Simple{"session_file": path})
	f, err := sim.openConfigured("", configuration)
	require.NoError(t, err)
	_, err = f.List(background, "")
	require.NoError(t, err)
	file, err := session.LoadFile(path)
	require.NoError(t, err)
	assert.NotEmpty(t, file.Endpoints)

	require.NoError(t, os.WriteFile(path, []byte(`{`), 0o600))
	configuration["trust_token"], configuration["cookies"] = "", ""
	_, err = sim.openConfigured("", configuration)
	assert.Equal(t, apierr.KindBadConfig, apierr.KindOf(err), "%v", err)
}

// A session file of another Apple ID is an error.
func TestSessionFileOfAnotherAccount(t *testing.T) {
	sim := startSimulator(t)
	path := filepath.Join(t.TempDir(), "s.json")
	require.NoError(t, session.SaveFile(path, &session.File{AppleID: "other@example.com", TrustToken: "x"}))
	_, err := sim.openConfigured("", sim.configured(configmap.Simple{"session_file": path}))
	assert.Equal(t, apierr.KindBadConfig, apierr.KindOf(err), "%v", err)
}

// The remotes of an account in a process share the session, and adopt a configuration
// with a new login.
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
	assert.Equal(t, 1, sim.Counts()["validate"])

	sim.Control("POST", "trust/end", nil, nil)
	sim.Control("POST", "session/end", simtest.Status(421), nil)
	_, err = first.List(background, "")
	require.Equal(t, apierr.KindBadConfig, apierr.KindOf(err))
	_, err = sim.openShared("", sim.configured(fileless))
	require.NoError(t, err)
	_, err = first.List(background, "")
	assert.NoError(t, err)
}

// Cookies that responses replace are stored in the session file at the end.
func TestReplacedCookiesAreStored(t *testing.T) {
	sim := startSimulator(t)
	path := filepath.Join(t.TempDir(), "s.json")
	f, err := sim.openConfigured("", sim.configured(configmap.Simple{"session_file": path}))
	require.NoError(t, err)
	_, err = f.List(background, "")
	require.NoError(t, err)
	sim.Fault("list", "status", simtest.Status(404), simtest.JSON{"headers": simtest.JSON{"set-cookie": "ignored=1"}})
	_, _ = f.List(background, "")
	f.drive.Service.Session.Merge(f.drive.Service.Session.Current(), []*http.Cookie{{Name: "X-APPLE-NEW", Value: "v"}, {Name: "X-APPLE-WEBAUTH-USER", Value: ""}})
	require.NoError(t, f.Shutdown(background))
	file, err := session.LoadFile(path)
	require.NoError(t, err)
	assert.True(t, session.HasCookie(file.Cookies, "X-APPLE-NEW"))
	assert.False(t, session.HasCookie(file.Cookies, "X-APPLE-WEBAUTH-USER"))
	assert.True(t, session.HasCookie(file.Cookies, "X-APPLE-WEBAUTH-TOKEN"))
}

// A session file of a newer format is neither used nor changed.
func TestNewerSessionFileIsNotUsed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.json")
	newer := []byte(`{"version":2,"apple_id":"user@example.com","more":"x"}`)
	require.NoError(t, os.WriteFile(path, newer, 0o600))
	c := newFakeCloud()
	c.alive = false
	_, err := processBy(c, "secret", path).List(background, "")
	assert.Equal(t, apierr.KindBadConfig, apierr.KindOf(err), "%v", err)
	assert.ErrorContains(t, err, "newer version")
	assert.Zero(t, c.proofs)
	left, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, newer, left)
}

// No verb of package fmt prints a secret of the options.
func TestOptionsAreNotPrinted(t *testing.T) {
	options := Options{Options: service.Options{Password: "hunter2", TrustToken: "hunter2", Cookies: "a=hunter2", PasswordCommand: "echo hunter2"}}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, printed := range []any{options, &options, []Options{options}, options.Options} {
			assert.NotContains(t, fmt.Sprintf(format, printed), "hunter2", format)
			assert.NotContains(t, fmt.Sprintf(format, printed), "68756e74657232", format)
		}
	}
}

// Without a session file, replaced cookies are stored in the configuration, and no
// sign-in is made.
func TestSessionIsSavedToTheConfiguration(t *testing.T) {
	sim := startSimulator(t)
	configuration := sim.configured(configmap.Simple{"session_file": ""})
	f, err := sim.openConfigured("", configuration)
	require.NoError(t, err)
	_, err = f.List(background, "")
	require.NoError(t, err)
	f.drive.Service.Session.Merge(f.drive.Service.Session.Current(), []*http.Cookie{{Name: "X-APPLE-NEW", Value: "v"}})
	require.NoError(t, f.Shutdown(background))
	assert.Contains(t, configuration["cookies"], "X-APPLE-NEW")
	assert.NotEmpty(t, configuration["trust_token"])

	sim.Control("POST", "session/end", simtest.Status(421), nil)
	_, err = f.List(background, "")
	assert.Equal(t, apierr.KindBadConfig, apierr.KindOf(err), "%v", err)
	assert.Zero(t, sim.Counts()["authorize"])
}
