package icloud

import (
	"context"
	"fmt"
	"testing"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/rclone/rclone/fs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Moves, renames and deletions succeed despite faults of their requests.
func TestChangesSurviveFaults(t *testing.T) {
	for _, fault := range stepFaults {
		for _, kind := range []string{"move", "rename", "trash", "create-folders"} {
			t.Run(fmt.Sprint(kind, " ", fault.action, fault.more), func(t *testing.T) {
				t.Parallel()
				sim := startSimulator(t)
				sim.PutFile("a/file.txt", "content")
				sim.PutFile("a/taken.txt", "another")
				sim.PutFile("b/file.txt", "in the way")
				sim.PutFile("full/folder/file.txt", "content")
				f := sim.openOwn("")
				o, err := f.NewObject(background, "a/file.txt")
				require.NoError(t, err)
				sim.Fault(kind, fault.action, fault.more, simtest.JSON{"times": 2})
				_, err = f.Move(background, o, "b/c/taken.txt")
				require.NoError(t, err)
				require.NoError(t, f.DirMove(background, f, "a", "d/e"))
				require.NoError(t, f.Purge(background, "full"))
				taken, err := f.NewObject(background, "d/e/taken.txt")
				require.NoError(t, err)
				require.NoError(t, taken.Remove(background))
				require.NoError(t, f.Rmdir(background, "d/e"))
				assert.Equal(t, []string{"b", "b/c", "b/c/taken.txt", "b/file.txt", "d"}, sim.Paths())
				assert.Equal(t, "content", sim.File("b/c/taken.txt"))
			})
		}
	}
}

// A move takes one request for the folder and one for the name.
func TestRequestsOfMoves(t *testing.T) {
	sim := startSimulator(t)
	sim.PutFile("a/one", "1")
	sim.PutFile("b/two", "2")
	f := sim.open("")
	one, err := f.NewObject(background, "a/one")
	require.NoError(t, err)
	_, err = f.NewObject(background, "b/two")
	require.NoError(t, err)
	sim.ResetCounts()
	one, err = f.Move(background, one, "a/uno")
	require.NoError(t, err)
	one, err = f.Move(background, one, "b/uno")
	require.NoError(t, err)
	one, err = f.Move(background, one, "a/one")
	require.NoError(t, err)
	assert.Equal(t, map[string]int{"total": 4, "move": 2, "rename": 2}, sim.Counts())
	one, err = f.Move(background, one, "a/ONE")
	require.NoError(t, err, "a name that differs only in case")
	assert.Equal(t, []string{"a", "a/ONE", "b", "b/two"}, sim.Paths())
	content, err := read(one)
	require.NoError(t, err)
	assert.Equal(t, "1", content)
}

// A folder that this process has written into is removed with two requests, although
// its etag has changed since it was created.
func TestRequestsOfRmdir(t *testing.T) {
	sim := startSimulator(t)
	f := sim.open("")
	o := put(t, f, "folder/file", "content")
	require.NoError(t, o.Remove(background))
	sim.ResetCounts()
	require.NoError(t, f.Rmdir(background, "folder"))
	assert.Equal(t, map[string]int{"total": 2, "list": 1, "trash": 1}, sim.Counts())
}

// A moved file replaces a file with its new name. A moved folder replaces nothing.
func TestMoveToATakenName(t *testing.T) {
	for _, taken := range []string{"bounce", "refuse"} {
		t.Run(taken, func(t *testing.T) {
			sim := startSimulator(t)
			sim.DriveRules(simtest.JSON{"taken_name": taken})
			sim.PutFile("a/file", "from a")
			sim.PutFile("b/file", "from b")
			sim.PutFile("c/file", "from c")
			f := sim.open("")
			o, err := f.NewObject(background, "a/file")
			require.NoError(t, err)
			moved, err := f.Move(background, o, "b/file")
			require.NoError(t, err)
			assert.Equal(t, "b/file", moved.Remote())
			assert.Equal(t, "from a", sim.File("b/file"))
			assert.Equal(t, []string{"a", "b", "b/file", "c", "c/file"}, sim.Paths())
			assert.Equal(t, fs.ErrorDirExists, f.DirMove(background, f, "b", "c"))
			assert.Equal(t, fs.ErrorDirNotFound, f.DirMove(background, f, "nowhere", "d"))
		})
	}
}

// A folder that is not empty is not removed, even if its first file appears between
// the listing and the deletion.
func TestRmdirOfAFolderThatFills(t *testing.T) {
	sim := startSimulator(t)
	sim.Control("POST", "folder", simtest.JSON{"path": "a/empty"}, nil)
	f := sim.open("")
	sim.Fault("trash", "hold", simtest.JSON{"gate": "g", "at": "arrival"})
	done := make(chan error)
	go func() { done <- f.Rmdir(background, "a/empty") }()
	sim.Control("POST", "wait", simtest.JSON{"kind": "trash", "n": 1, "timeout_ms": 5000}, nil)
	sim.PutFile("a/empty/file", "content")
	sim.Control("POST", "gates/release", simtest.JSON{"gate": "g"}, nil)
	assert.Equal(t, fs.ErrorDirectoryNotEmpty, <-done)
	assert.Equal(t, "content", sim.File("a/empty/file"))

	assert.Equal(t, fs.ErrorDirectoryNotEmpty, f.Rmdir(background, "a"))
	assert.Equal(t, fs.ErrorDirNotFound, f.Rmdir(background, "b"))
	assert.Equal(t, fs.ErrorDirNotFound, f.Rmdir(background, "a/empty/file"))
	assert.Equal(t, apierr.KindDenied, apierr.KindOf(f.Rmdir(background, "")))
	assert.Equal(t, fs.ErrorCantPurge, f.Purge(background, ""))
}

// Deleting a file succeeds if another device has changed, moved or deleted it.
func TestRemoveOfAChangedFile(t *testing.T) {
	sim := startSimulator(t)
	for _, name := range []string{"changed", "trashed", "erased"} {
		sim.PutFile(name, "content")
	}
	f := sim.open("")
	entries, err := f.List(background, "")
	require.NoError(t, err)
	sim.Mutate("changed", "write", simtest.JSON{"text": "more"})
	sim.Mutate("trashed", "trash", nil)
	sim.Mutate("erased", "erase", nil)
	for _, entry := range entries {
		assert.NoError(t, entry.(fs.Object).Remove(background), entry.Remote())
	}
	assert.Empty(t, sim.Paths())
}

// A move or a deletion of a folder whose etag has changed since it was listed is
// repeated with the present etag.
func TestFoldersChangeTheirEtags(t *testing.T) {
	sim := startSimulator(t)
	f := sim.open("")
	put(t, f, "a/b/one", "1")
	sim.Mutate("a/b", "etag", nil)
	require.NoError(t, f.DirMove(background, f, "a/b", "c"))
	sim.Mutate("c", "etag", nil)
	require.NoError(t, f.Purge(background, "c"))
	assert.Equal(t, []string{"a"}, sim.Paths())
}

// A deletion that reports success but leaves the item in its folder is repeated.
func TestRemoveThatDidNothing(t *testing.T) {
	sim := startSimulator(t)
	sim.PutFile("folder/file", "content")
	f := sim.open("")
	o, err := f.NewObject(background, "folder/file")
	require.NoError(t, err)
	sim.Fault("trash", "replace", simtest.JSON{"effect": false, "text": `{"items":[{"drivewsid":"` + o.(*Object).ID() +
		`","status":"OK","etag":"x","parentId":"` + sim.Tree()["folder"].DriveID + `"}]}`})
	require.NoError(t, o.Remove(background))
	assert.Equal(t, []string{"folder"}, sim.Paths())
}

// About returns the storage of the account.
func TestAbout(t *testing.T) {
	sim := startSimulator(t)
	sim.DriveRules(simtest.JSON{"quota": 1000})
	sim.PutFile("file", "0123456789")
	usage, err := sim.open("").About(background)
	require.NoError(t, err)
	assert.Equal(t, int64(1000), *usage.Total)
	assert.Equal(t, int64(10), *usage.Used)
	assert.Equal(t, int64(990), *usage.Free)
}

// A cancelled upload returns context.Canceled, whichever request it waits for.
func TestChangesAreCancelled(t *testing.T) {
	for _, kind := range []string{"list", "create-folders", "upload-web", "content-post", "update-documents"} {
		t.Run(kind, func(t *testing.T) {
			sim := startSimulator(t)
			f := sim.open("")
			sim.Fault(kind, "hold", simtest.JSON{"gate": "g", "at": "arrival"})
			ctx, cancel := context.WithCancel(background)
			done := make(chan error)
			go func() {
				_, err := f.Put(ctx, newGuarded(t, "content"), infoOf("folder/file", "content"))
				done <- err
			}()
			sim.Control("POST", "wait", simtest.JSON{"kind": kind, "n": 1, "timeout_ms": 5000}, nil)
			cancel()
			assert.ErrorIs(t, <-done, context.Canceled)
		})
	}
}
