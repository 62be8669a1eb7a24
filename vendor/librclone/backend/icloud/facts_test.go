package icloud

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"plakar-icloud/librclone/backend/icloud/drive"
	"plakar-icloud/librclone/backend/icloud/session"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// later opens the drive like a later process with the same session file.
func (s *simulator) later(sessionFile string) *Fs {
	s.T.Helper()
	forgetAccounts()
	return s.open("", configmap.Simple{"session_file": sessionFile})
}

// A later process lists all folders on a known path with one request.
func TestLaterProcessesListAPathAtOnce(t *testing.T) {
	sim := startSimulator(t)
	sim.PutFile("a/b/c/CONFIG", "kloset")
	sessionFile := filepath.Join(t.TempDir(), "session.json")
	look := func() int {
		f := sim.later(sessionFile)
		sim.ResetCounts()
		_, err := f.NewObject(context.Background(), "a/b/c/CONFIG")
		require.NoError(t, err)
		return sim.Counts()["list"]
	}
	require.Equal(t, 4, look())
	require.Equal(t, 1, look())
	f := sim.later(sessionFile)
	sim.ResetCounts()
	entries, err := f.List(context.Background(), "a/b/c")
	require.NoError(t, err)
	require.Equal(t, []string{"a/b/c/CONFIG"}, names(entries))
	require.Equal(t, 1, sim.Counts()["list"], "the folder itself is not listed twice")

	f = sim.later(sessionFile)
	_, err = f.List(context.Background(), "")
	require.NoError(t, err)
	sim.ResetCounts()
	_, err = f.List(context.Background(), "a")
	require.NoError(t, err)
	require.Equal(t, 1, sim.Counts()["list"], "stored ids are not used once the root is cached")

	info, err := os.Stat(sessionFile + ".seen")
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	require.NoError(t, os.WriteFile(sessionFile+".seen", []byte("{"), 0o600))
	require.Equal(t, 4, look(), "a damaged file counts as missing")
	require.Equal(t, 1, look())
	require.NoError(t, session.ForgetFile(context.Background(), sessionFile))
	require.NoFileExists(t, sessionFile+".seen")
}

// Stored ids that are out of date do not lead to a wrong folder.
func TestOutdatedFacts(t *testing.T) {
	for name, change := range map[string]func(*simulator){
		"renamed":  func(sim *simulator) { sim.Mutate("a/b", "rename", simtest.JSON{"name": "old"}) },
		"deleted":  func(sim *simulator) { sim.Mutate("a/b", "trash", nil) },
		"replaced": func(sim *simulator) { sim.Mutate("a/b", "trash", nil); sim.PutFile("a/b/c/new", "new") },
	} {
		t.Run(name, func(t *testing.T) {
			sim := startSimulator(t)
			sim.PutFile("a/b/c/old", "old")
			sessionFile := filepath.Join(t.TempDir(), "session.json")
			_, err := sim.later(sessionFile).List(context.Background(), "a/b/c")
			require.NoError(t, err)
			change(sim)

			f := sim.later(sessionFile)
			entries, err := f.List(context.Background(), "a/b/c")
			if name == "replaced" {
				require.NoError(t, err)
				assert.Equal(t, []string{"a/b/c/new"}, names(entries))
			} else {
				require.Error(t, err)
			}
			put(t, f, "a/b/c/mine", "mine")
			assert.Equal(t, "mine", sim.File("a/b/c/mine"))
			assert.NotContains(t, sim.Tree(), "a/old/c/mine")
		})
	}
}

// A later process knows which files turned out to be packages.
func TestPackagesAreKnownToLaterProcesses(t *testing.T) {
	sim := startSimulator(t)
	sim.Control("POST", "package", simtest.JSON{"path": "book.scriv", "listed_size": 5, "entries": simtest.JSON{"text": "some text"}}, nil)
	sessionFile := filepath.Join(t.TempDir(), "session.json")
	f := sim.later(sessionFile)
	o, err := f.NewObject(context.Background(), "book.scriv")
	require.NoError(t, err)
	first := o.Size()
	_, err = read(o)
	require.NoError(t, err)
	require.NoError(t, f.Shutdown(context.Background()))

	o, err = sim.later(sessionFile).NewObject(context.Background(), "book.scriv")
	require.NoError(t, err)
	assert.Equal(t, int64(5), first)
	assert.Equal(t, int64(-1), o.Size(), "the size of the archive is unknown")
}

// A later process does not list the folders on the path to a new folder. The first
// listing of a folder after a change is slow, and all of them were just changed.
func TestLaterProcessesDoNotListThePathToANewFolder(t *testing.T) {
	sim := startSimulator(t)
	sessionFile := filepath.Join(t.TempDir(), "session.json")
	f := sim.later(sessionFile)
	require.NoError(t, f.Mkdir(drive.KeepTrail(context.Background()), "a/b/c"))
	require.NoError(t, f.Mkdir(drive.KeepTrail(context.Background()), "a/b/d"))
	f = sim.later(sessionFile)
	sim.ResetCounts()
	for _, dir := range []string{"a/b/c", "a/b/d"} {
		entries, err := f.List(context.Background(), dir)
		require.NoError(t, err)
		require.Empty(t, entries)
	}
	require.Equal(t, 2, sim.Counts()["list"], "only the two folders")
}

// A new folder that another device has moved, deleted or replaced is not used.
func TestOutdatedTrails(t *testing.T) {
	for name, change := range map[string]func(*simulator){
		"renamed":  func(sim *simulator) { sim.Mutate("a/b", "rename", simtest.JSON{"name": "old"}) },
		"deleted":  func(sim *simulator) { sim.Mutate("a/b", "trash", nil) },
		"replaced": func(sim *simulator) { sim.Mutate("a/b", "trash", nil); sim.PutFile("a/b/new", "new") },
	} {
		t.Run(name, func(t *testing.T) {
			sim := startSimulator(t)
			sessionFile := filepath.Join(t.TempDir(), "session.json")
			require.NoError(t, sim.later(sessionFile).Mkdir(drive.KeepTrail(context.Background()), "a/b"))
			change(sim)
			entries, err := sim.later(sessionFile).List(context.Background(), "a/b")
			if name == "replaced" {
				require.NoError(t, err)
				require.Equal(t, []string{"a/b/new"}, names(entries))
			} else {
				require.ErrorIs(t, err, fs.ErrorDirNotFound)
			}
		})
	}
}
