package privatefile

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Files and folders that root writes belong to the owner of the folder above
// them. Files of other users are refused.
func TestFilesOfRootBelongToTheOwnerOfTheFolder(t *testing.T) {
	if os.Geteuid() != 0 {
		assert.NoError(t, Inherit("/none", "/none"), "only root changes owners")
		return
	}
	const user = 65534
	home := filepath.Join(t.TempDir(), "home")
	require.NoError(t, os.Mkdir(home, 0o700))
	require.NoError(t, os.Chown(home, user, user))
	path := filepath.Join(home, "state", "sessions", "s.json")
	require.NoError(t, Replace(path, nil))
	unlock, err := Lock(context.Background(), path)
	require.NoError(t, err)
	unlock()
	for _, made := range []string{path, path + ".lock", filepath.Dir(path), filepath.Dir(filepath.Dir(path))} {
		info, err := os.Stat(made)
		require.NoError(t, err)
		owner, group, _ := ownerOf(info)
		assert.Equal(t, []int{user, user}, []int{owner, group}, made)
	}
	require.NoError(t, os.Chown(path, 12345, 12345))
	_, err = Read(path)
	assert.ErrorContains(t, err, "another user")
}
