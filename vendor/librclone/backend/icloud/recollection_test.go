package icloud

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// later opens the drive as another process would that has the same session file.
func (s *simulator) later(sessionFile string) *Fs {
	s.t.Helper()
	forgetAccounts()
	return s.open("", configmap.Simple{"session_file": sessionFile})
}

func TestLaterProcessesGoToADeepFolderAtOnce(t *testing.T) {
	sim := startSimulator(t)
	sim.putFile("a/b/c/CONFIG", "kloset")
	sessionFile := filepath.Join(t.TempDir(), "session.json")
	look := func() int {
		f := sim.later(sessionFile)
		sim.resetCounts()
		_, err := f.NewObject(context.Background(), "a/b/c/CONFIG")
		require.NoError(t, err)
		return sim.counts()["list"]
	}
	require.Equal(t, 4, look())
	require.Equal(t, 1, look())
	f := sim.later(sessionFile)
	sim.resetCounts()
	entries, err := f.List(context.Background(), "a/b/c")
	require.NoError(t, err)
	require.Equal(t, []string{"a/b/c/CONFIG"}, names(entries))
	require.Equal(t, 1, sim.counts()["list"], "the folder itself is not listed twice")

	f = sim.later(sessionFile)
	_, err = f.List(context.Background(), "")
	require.NoError(t, err)
	sim.resetCounts()
	_, err = f.List(context.Background(), "a")
	require.NoError(t, err)
	require.Equal(t, 1, sim.counts()["list"], "nothing is recollected on the way from a root that is known")

	info, err := os.Stat(sessionFile + ".seen")
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	require.NoError(t, os.WriteFile(sessionFile+".seen", []byte("{"), 0o600))
	require.Equal(t, 4, look(), "a broken file is as good as none")
	require.Equal(t, 1, look())
	require.NoError(t, ForgetSessionFile(context.Background(), sessionFile))
	require.NoFileExists(t, sessionFile+".seen")
}

// Of more packages than are kept, the latest are.
func TestTheLatestPackagesAreKept(t *testing.T) {
	seen := newRecollection(filepath.Join(t.TempDir(), "session.json"))
	for i := range mostKeptPackages {
		seen.learnPackage(fmt.Sprint("id ", i))
	}
	seen.flush(context.Background())
	seen.learnPackage("the last")
	seen.flush(context.Background())
	kept := seen.load().Packages
	assert.Len(t, kept, mostKeptPackages)
	assert.Equal(t, "the last", kept[len(kept)-1])
	assert.Equal(t, "id 1", kept[0])
}

// What is recollected may be out of date in every way.
func TestRecollectedFoldersThatAreElsewhereMisleadNobody(t *testing.T) {
	for name, change := range map[string]func(*simulator){
		"renamed":  func(sim *simulator) { sim.mutate("a/b", "rename", jsonObject{"name": "old"}) },
		"deleted":  func(sim *simulator) { sim.mutate("a/b", "trash", nil) },
		"replaced": func(sim *simulator) { sim.mutate("a/b", "trash", nil); sim.putFile("a/b/c/new", "new") },
	} {
		t.Run(name, func(t *testing.T) {
			sim := startSimulator(t)
			sim.putFile("a/b/c/old", "old")
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
			assert.Equal(t, "mine", sim.file("a/b/c/mine"))
			assert.NotContains(t, sim.tree(), "a/old/c/mine")
		})
	}
}

func TestPackagesAreKnownToLaterProcesses(t *testing.T) {
	sim := startSimulator(t)
	sim.control("POST", "package", jsonObject{"path": "book.scriv", "listed_size": 5, "entries": jsonObject{"text": "some text"}}, nil)
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
	assert.Equal(t, int64(-1), o.Size(), "only its content tells")
}

// The first listing of a folder after a change is slow, and all folders on the
// path were just changed.
func TestLaterProcessesDoNotListTheWayToANewFolder(t *testing.T) {
	sim := startSimulator(t)
	sessionFile := filepath.Join(t.TempDir(), "session.json")
	f := sim.later(sessionFile)
	require.NoError(t, f.Mkdir(KeepTrail(context.Background()), "a/b/c"))
	require.NoError(t, f.Mkdir(KeepTrail(context.Background()), "a/b/d"))
	f = sim.later(sessionFile)
	sim.resetCounts()
	for _, dir := range []string{"a/b/c", "a/b/d"} {
		entries, err := f.List(context.Background(), dir)
		require.NoError(t, err)
		require.Empty(t, entries)
	}
	require.Equal(t, 2, sim.counts()["list"], "only the two folders")

	// Nothing is assumed of a folder that is no longer new.
	seen := newRecollection(sessionFile)
	seen.update(context.Background(), func(kept *recollected) bool {
		for i := range kept.Trails {
			kept.Trails[i].Made -= int64(newTrail.Seconds())
		}
		return true
	})
	ids, recent, _ := seen.first([]string{"a", "b", "d"})
	require.Len(t, ids, 3)
	require.Empty(t, recent)
}

func TestANewFolderThatIsElsewhereMisleadsNobody(t *testing.T) {
	for name, change := range map[string]func(*simulator){
		"renamed":  func(sim *simulator) { sim.mutate("a/b", "rename", jsonObject{"name": "old"}) },
		"deleted":  func(sim *simulator) { sim.mutate("a/b", "trash", nil) },
		"replaced": func(sim *simulator) { sim.mutate("a/b", "trash", nil); sim.putFile("a/b/new", "new") },
	} {
		t.Run(name, func(t *testing.T) {
			sim := startSimulator(t)
			sessionFile := filepath.Join(t.TempDir(), "session.json")
			require.NoError(t, sim.later(sessionFile).Mkdir(KeepTrail(context.Background()), "a/b"))
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
