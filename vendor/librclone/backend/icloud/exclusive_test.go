package icloud

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/drive"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func putNew(f fs.Fs, remote, content string) (fs.Object, error) {
	return f.Put(drive.ExpectNew(context.Background()), strings.NewReader(content), infoOf(remote, content))
}

// An upload under ExpectNew neither lists the folder nor replaces a file, whether the
// service refuses a taken name or chooses another one.
func TestExpectNewNeverReplaces(t *testing.T) {
	for _, bounces := range []bool{false, true} {
		sim := startSimulator(t)
		sim.DriveRules(simtest.JSON{"registration_bounces": bounces})
		sim.PutFile("folder/there.txt", "theirs")
		sim.PutFile("folder/Case.txt", "theirs")
		f := sim.open("")
		_, err := f.NewObject(context.Background(), "other.txt")
		require.ErrorIs(t, err, fs.ErrorObjectNotFound)
		sim.ResetCounts()
		o, err := putNew(f, "folder/new.txt", "ours")
		require.NoError(t, err)
		assert.Equal(t, 0, sim.Counts()["list"])
		content, err := read(o)
		require.NoError(t, err)
		assert.Equal(t, "ours", content)

		for range 2 { // the second time, the folder is known
			_, err = putNew(f, "folder/there.txt", "ours")
			require.Equal(t, apierr.KindExists, apierr.KindOf(err), "%v", err)
			_, err = f.List(context.Background(), "folder")
			require.NoError(t, err)
		}
		assert.Equal(t, "theirs", sim.File("folder/there.txt"))
		assert.Equal(t, []string{"folder", "folder/Case.txt", "folder/new.txt", "folder/there.txt"}, sim.Paths())

		sim.DriveRules(simtest.JSON{"registration_bounces": bounces, "name_matching": "ignoring-case"})
		_, err = putNew(f, "folder/case.txt", "ours")
		require.Equal(t, apierr.KindExists, apierr.KindOf(err), "%v", err)
		assert.Equal(t, "theirs", sim.File("folder/Case.txt"))
	}
}

// Of many uploads with the same name under ExpectNew, by several processes, only one
// succeeds.
func TestExpectNewIsExclusive(t *testing.T) {
	for _, bounces := range []bool{false, true} {
		sim := startSimulator(t)
		sim.DriveRules(simtest.JSON{"registration_bounces": bounces})
		sim.PutFile("folder/other.txt", "other")
		var succeeded atomic.Int64
		var uploads sync.WaitGroup
		for range 8 {
			f := sim.open("")
			uploads.Go(func() {
				if _, err := putNew(f, "folder/new.txt", "ours"); err == nil {
					succeeded.Add(1)
				} else {
					assert.Equal(t, apierr.KindExists, apierr.KindOf(err), "%v", err)
				}
			})
		}
		uploads.Wait()
		assert.Equal(t, int64(1), succeeded.Load())
		assert.Equal(t, []string{"folder", "folder/new.txt", "folder/other.txt"}, sim.Paths())
	}
}

// A later process reads a file by its description, without a listing.
func TestSavedFiles(t *testing.T) {
	sim := startSimulator(t)
	sessionFile := filepath.Join(t.TempDir(), "session.json")
	o := put(t, sim.later(sessionFile), "folder/file.txt", "content")
	saved := o.(*Object).Save()
	require.NotEmpty(t, saved)
	require.NotContains(t, saved, "\n")

	again := func() *Object {
		f := sim.open("", configmap.Simple{"session_file": sessionFile})
		sim.ResetCounts()
		o, err := f.Saved("folder/file.txt", saved)
		require.NoError(t, err)
		return o.(*Object)
	}
	later := again()
	assert.Equal(t, o.(*Object).Version(), later.Version())
	assert.Equal(t, o.Size(), later.Size())
	assert.Equal(t, saved, later.Save())
	content, err := read(later)
	require.NoError(t, err)
	assert.Equal(t, "content", content)
	require.NoError(t, later.Unchanged(context.Background()))
	assert.Equal(t, 0, sim.Counts()["list"])

	sim.PutFile("folder/file.txt", "another content")
	require.Equal(t, apierr.KindChanged, apierr.KindOf(again().Unchanged(context.Background())))
	_, err = read(again())
	require.Equal(t, apierr.KindChanged, apierr.KindOf(err), "%v", err)
	sim.Mutate("folder/file.txt", "trash", nil)
	require.Equal(t, apierr.KindChanged, apierr.KindOf(again().Unchanged(context.Background())))
	_, err = again().fs.Saved("folder/file.txt", "{}")
	require.Equal(t, apierr.KindDamaged, apierr.KindOf(err))
}
