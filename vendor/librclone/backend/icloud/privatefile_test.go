package icloud

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What is no regular file of a sane size is refused at once, and the error names
// the file.
func TestFilesThatAreNoSession(t *testing.T) {
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
			return os.Truncate(path, largestPrivateFile+1)
		}),
		made("loop", func(path string) error { return os.Symlink(path, path) }),
		made("cut", func(path string) error { return os.WriteFile(path, []byte(`{"version":1,`), 0o600) }),
	} {
		_, err := LoadSessionFile(path)
		assert.Equal(t, KindBadConfig, KindOf(err), path)
		var typed *Error
		require.ErrorAs(t, err, &typed)
		assert.Contains(t, typed.Reason(), path)
		assert.Equal(t, CauseSessionFile, typed.Cause())
	}
}

// A session file of a newer version is not replaced by one that lacks what that
// version has put into it.
func TestNewerSessionFileStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.json")
	newer := []byte(`{"version":2,"apple_id":"user@example.com","more":"x"}`)
	require.NoError(t, os.WriteFile(path, newer, 0o600))
	assert.ErrorContains(t, SaveSessionFile(path, &SessionFile{AppleID: "user@example.com"}), "newer version")
	c := newFakeCloud()
	c.alive = false
	_, err := processBy(c, "secret", path).List(background, "")
	assert.Equal(t, KindBadConfig, KindOf(err), "%v", err)
	assert.ErrorContains(t, err, "newer version")
	assert.Zero(t, c.proofs)
	left, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, newer, left)
}

// What root writes belongs to the owner of the folder.
func TestRootLeavesFilesToTheUser(t *testing.T) {
	if os.Geteuid() != 0 {
		assert.NoError(t, inherit("/none", "/none"), "others change no owner")
		return
	}
	const user = 65534
	home := filepath.Join(t.TempDir(), "home")
	require.NoError(t, os.Mkdir(home, 0o700))
	require.NoError(t, os.Chown(home, user, user))
	path := filepath.Join(home, "state", "sessions", "s.json")
	require.NoError(t, UpdateSessionFile(background, path, func(*SessionFile) error { return nil }))
	for _, made := range []string{path, path + ".lock", filepath.Dir(path), filepath.Dir(filepath.Dir(path))} {
		info, err := os.Stat(made)
		require.NoError(t, err)
		owner, group, _ := ownerOf(info)
		assert.Equal(t, []int{user, user}, []int{owner, group}, made)
	}
	require.NoError(t, os.Chown(path, 12345, 12345))
	_, err := LoadSessionFile(path)
	assert.ErrorContains(t, err, "another user")
}
