package icloud

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An invalid listing is an error and never an empty folder.
func TestInvalidListings(t *testing.T) {
	root := `"drivewsid":"FOLDER::com.apple.CloudDocs::root","status":"OK"`
	for _, response := range []string{
		`[]`, `null`, `{}`, `[null]`, `"x"`, `[{}]`, `[1]`,
		`[{` + root + `}]`,
		`[{` + root + `,"items":null}]`,
		`[{` + root + `,"items":null,"numberOfItems":3}]`,
		`[{` + root + `,"items":null,"numberOfItems":0}]`,
		`[{` + root + `,"numberOfItems":0,"directChildrenCount":0}]`,
		`[{` + root + `,"items":[],"numberOfItems":1}]`,
		`[{` + root + `,"items":[],"numberOfItems":0,"directChildrenCount":1}]`,
		`[{` + root + `,"items":[],"numberOfItems":"many"}]`,
		`[{` + root + `,"items":{}}]`,
		`[{` + root + `,"items":[{"name":"a"}]}]`,
		`[{` + root + `,"items":[null]}]`,
		`[{"drivewsid":"FOLDER::com.apple.CloudDocs::other","items":[]}]`,
		`[{"drivewsid":"FOLDER::com.apple.CloudDocs::root","status":"UNKNOWN_ERROR"}]`,
	} {
		sim := startSimulator(t)
		f := sim.open("")
		f.drive.Service.Retries.Tries = 2
		sim.Fault("list", "replace", simtest.JSON{"text": response, "times": nil})
		_, err := f.List(background, "")
		assert.Error(t, err, response)
		assert.NotEqual(t, fs.ErrorDirNotFound, err, response)
	}
}

// A listing with fewer items than the service counts is requested again. If it stays
// short, it is returned with an error.
func TestListingThatIsShort(t *testing.T) {
	for times, want := range map[int]int{1: 2, 2: 2, 1000: 1} {
		sim := startSimulator(t)
		sim.PutFile("one", "1")
		sim.PutFile("two", "2")
		f := sim.open("")
		it := sim.Tree()["one"]
		sim.Fault("list", "replace", simtest.JSON{"times": times, "text": `[{"drivewsid":"FOLDER::com.apple.CloudDocs::root","status":"OK",` +
			`"numberOfItems":2,"items":[{"drivewsid":"` + it.DriveID + `","name":"one","type":"FILE","size":1,"etag":"x"}]}]`})
		entries, err := f.List(background, "")
		assert.Len(t, entries, want, "%d times", times)
		if want == 2 {
			require.NoError(t, err)
			continue
		}
		assert.Equal(t, apierr.KindDamaged, apierr.KindOf(err), "%v", err)
		assert.ErrorContains(t, err, "1 of the 2 items")
	}
}

// If one of several folders is gone, only that folder fails.
func TestListFoldersWithAFailure(t *testing.T) {
	for _, missing := range []string{"id-invalid", "not-found"} {
		t.Run(missing, func(t *testing.T) {
			sim := startSimulator(t)
			sim.DriveRules(simtest.JSON{"missing_folder": missing})
			for i := range 10 {
				sim.PutFile(fmt.Sprintf("folder%d/file", i), "content")
			}
			f := sim.open("")
			entries, err := f.List(background, "")
			require.NoError(t, err)
			sim.Mutate("folder4", "erase", nil)
			listed, errs := f.ListFolders(background, append(names(entries), "nowhere"))
			for i := range 10 {
				if i == 4 {
					assert.Equal(t, fs.ErrorDirNotFound, errs[i])
					continue
				}
				require.NoError(t, errs[i])
				assert.Equal(t, []string{fmt.Sprintf("folder%d/file", i)}, names(listed[i]))
			}
			assert.Equal(t, fs.ErrorDirNotFound, errs[10])
		})
	}
}

// A listing is sorted by name and has the counts of the service.
func TestListShowsWhatAppleCounts(t *testing.T) {
	sim := startSimulator(t)
	for _, name := range []string{"b", "a/2", "a/1", "a/c/3", "C", "é"} {
		sim.PutFile(name, "content")
	}
	f := sim.open("")
	entries, err := f.List(background, "")
	require.NoError(t, err)
	assert.Equal(t, []string{"C", "a", "b", "é"}, names(entries))
	dir := entries[1].(*Directory)
	assert.Equal(t, int64(3), dir.Items())
	assert.Equal(t, int64(21), dir.Size())
	assert.Equal(t, int64(3), dir.Children())
	assert.NotEmpty(t, dir.ID())
	assert.NotEmpty(t, dir.Version())
	file := entries[2].(*Object)
	assert.NotEmpty(t, file.ID())
	before := file.Version()
	sim.Mutate("b", "touch", simtest.JSON{"modified_ms": 1_600_000_000_000})
	again, err := f.List(background, "")
	require.NoError(t, err)
	assert.NotEqual(t, before, again[2].(*Object).Version(), "the version changes with the metadata")
	assert.Equal(t, int64(1_600_000_000), again[2].ModTime(background).Unix())
}

// A folder that another device has moved, renamed or replaced is found at its new path
// and not at the old one.
func TestListFollowsOtherDevices(t *testing.T) {
	sim := startSimulator(t)
	sim.PutFile("a/b/file", "content")
	f := sim.open("")
	list := func(dir string) ([]string, error) {
		entries, err := f.List(background, dir)
		return names(entries), err
	}
	_, err := list("a/b")
	require.NoError(t, err)
	sim.Mutate("a/b", "rename", simtest.JSON{"to": "a/c"})
	_, err = list("a/b")
	assert.Equal(t, fs.ErrorDirNotFound, err)
	found, err := list("a/c")
	require.NoError(t, err)
	assert.Equal(t, []string{"a/c/file"}, found)

	sim.PutFile("z/other", "content")
	sim.Mutate("a/c", "rename", simtest.JSON{"to": "z/c"})
	_, err = list("a/c")
	assert.Equal(t, fs.ErrorDirNotFound, err, "the name is the same, but the parent is not")
	sim.Mutate("z/c", "rename", simtest.JSON{"to": "a/c"})
	_, err = list("a/c")
	require.NoError(t, err)

	sim.Mutate("a/c", "trash", nil)
	_, err = list("a/c")
	assert.Equal(t, fs.ErrorDirNotFound, err)

	sim.PutFile("a/c/another", "content") // a new folder under the old name
	found, err = list("a/c")
	require.NoError(t, err)
	assert.Equal(t, []string{"a/c/another"}, found)

	sim.Mutate("a", "rename", simtest.JSON{"to": "y"})
	_, err = list("")
	require.NoError(t, err, "the listing of the parent shows the rename")
	_, err = list("a/c")
	assert.Equal(t, fs.ErrorDirNotFound, err)
}

// A file that another process has just stored is found: a folder is listed again if
// its cached listing lacks a file.
func TestNewObjectFindsNewFiles(t *testing.T) {
	sim := startSimulator(t)
	sim.PutFile("store/one", "1")
	f := sim.open("", configmap.Simple{"listing_age": "1h"})
	_, err := f.NewObject(background, "store/one")
	require.NoError(t, err)
	sim.PutFile("store/two", "2")
	sim.ResetCounts()
	_, err = f.NewObject(background, "store/two")
	require.NoError(t, err)
	_, err = f.NewObject(background, "store/one")
	require.NoError(t, err)
	assert.Equal(t, 1, sim.Counts()["total"])
	_, err = f.NewObject(background, "store/three")
	assert.Equal(t, fs.ErrorObjectNotFound, err)
	assert.Equal(t, 2, sim.Counts()["total"])
}

// A listing that is older than listing_age is not used.
func TestNewObjectIgnoresOldListings(t *testing.T) {
	sim := startSimulator(t)
	sim.PutFile("file", "content")
	f := sim.open("", configmap.Simple{"listing_age": "1ns"})
	_, err := f.NewObject(background, "file")
	require.NoError(t, err)
	sim.Mutate("file", "write", simtest.JSON{"text": "another content"})
	o, err := f.NewObject(background, "file")
	require.NoError(t, err)
	assert.Equal(t, int64(15), o.Size())
}

// Concurrent look-ups in a folder share one listing.
func TestLookupsShareAListing(t *testing.T) {
	sim := startSimulator(t)
	for i := range 20 {
		sim.PutFile(fmt.Sprintf("store/%02d", i), "content")
	}
	f := sim.open("store")
	sim.ResetCounts()
	simtest.InParallel(20, 20, func(i int) {
		_, err := f.NewObject(background, fmt.Sprintf("%02d", i))
		assert.NoError(t, err)
	})
	assert.Equal(t, 1, sim.Counts()["list"])
}

// Changes that this process makes while a listing is under way are in the cache
// afterwards, whether the service listed the folder before or after them.
func TestOwnChangesSurviveAListing(t *testing.T) {
	for _, at := range []string{"arrival", "answer"} {
		t.Run(at, func(t *testing.T) {
			sim := startSimulator(t)
			f := sim.open("")
			put(t, f, "store/one", "1")
			put(t, f, "store/two", "2")
			doomed, err := f.NewObject(background, "store/two")
			require.NoError(t, err)
			sim.Fault("list", "hold", simtest.JSON{"gate": "g", "at": at})
			done := make(chan error)
			go func() {
				_, err := f.List(background, "store")
				done <- err
			}()
			sim.Control("POST", "wait", simtest.JSON{"kind": "list", "n": 2, "timeout_ms": 5000}, nil)
			put(t, f, "store/three", "3")
			put(t, f, "store/one", "one")
			require.NoError(t, doomed.Remove(background))
			sim.Control("POST", "gates/release", simtest.JSON{"gate": "g"}, nil)
			require.NoError(t, <-done)
			sim.ResetCounts()
			_, err = f.NewObject(background, "store/three")
			assert.NoError(t, err)
			one, err := f.NewObject(background, "store/one")
			require.NoError(t, err)
			assert.Equal(t, int64(3), one.Size())
			assert.Zero(t, sim.Counts()["total"], "the cache has the changes")
			_, err = f.NewObject(background, "store/two")
			assert.Equal(t, fs.ErrorObjectNotFound, err)
		})
	}
}

// ListR stops at the first failure, of the service or of the callback.
func TestListRFails(t *testing.T) {
	sim := startSimulator(t)
	sim.Control("POST", "seed", simtest.JSON{"prefix": "tree", "files": 50, "folders": 50, "size": 1, "seed": 1, "modified_ms": 0}, nil)
	f := sim.open("")
	f.drive.Service.Retries.Tries = 1
	enough := errors.New("enough")
	assert.Equal(t, enough, f.ListR(background, "tree", func(fs.DirEntries) error { return enough }))
	assert.Equal(t, fs.ErrorDirNotFound, f.ListR(background, "nowhere", func(fs.DirEntries) error { return nil }))
	sim.Fault("list", "status", simtest.Status(500), simtest.JSON{"times": nil, "skip": 1})
	assert.Equal(t, apierr.KindNetwork, apierr.KindOf(f.ListR(background, "tree", func(fs.DirEntries) error { return nil })))
}

// A folder or a file below a share that the service refuses is an error that names
// the account.
func TestARefusalBelowAShareNamesTheOwner(t *testing.T) {
	sim := startSimulator(t)
	sim.PutFile("shared/below/file.txt", "below")
	sim.Control("POST", "share", simtest.JSON{"path": "shared"}, nil)
	f := sim.open("")
	o, err := f.NewObject(background, "shared/below/file.txt")
	require.NoError(t, err)
	sim.Fault("item", "status", simtest.Status(400), simtest.JSON{"times": nil})
	_, err = read(o)
	assert.Equal(t, apierr.KindDenied, apierr.KindOf(err), "%v", err)
	assert.ErrorContains(t, err, `this file, which the account "Share Owner" shares`)

	sim.Fault("enumerate", "status", simtest.Status(400), simtest.JSON{"times": nil})
	_, err = sim.open("").List(background, "shared/below")
	assert.Equal(t, apierr.KindDenied, apierr.KindOf(err), "%v", err)
	assert.ErrorContains(t, err, `this folder, which the account "Share Owner" shares`)
}

// Items below a shared folder can be listed and read but not changed.
func TestBelowAShare(t *testing.T) {
	sim := startSimulator(t)
	sim.PutFile("shared/top.txt", "top")
	sim.PutFile("shared/below/file.txt", "below")
	sim.PutFile("shared/below/deeper/file.txt", "deeper")
	sim.Control("POST", "share", simtest.JSON{"path": "shared"}, nil)
	f := sim.open("")
	seen := map[string]fs.DirEntry{}
	require.NoError(t, f.ListR(background, "", func(entries fs.DirEntries) error {
		for _, entry := range entries {
			seen[entry.Remote()] = entry
		}
		return nil
	}))
	require.Equal(t, []string{"shared", "shared/below", "shared/below/deeper", "shared/below/deeper/file.txt",
		"shared/below/file.txt", "shared/top.txt"}, slices.Sorted(maps.Keys(seen)))
	owner, shared := seen["shared"].(*Directory).Owner()
	assert.True(t, shared)
	assert.Equal(t, "Share Owner", owner)
	for remote, want := range map[string]string{
		"shared/top.txt": "top", "shared/below/file.txt": "below", "shared/below/deeper/file.txt": "deeper",
	} {
		o := seen[remote].(*Object)
		_, shared := o.Owner()
		assert.True(t, shared, remote)
		content, err := read(o)
		require.NoError(t, err, remote)
		assert.Equal(t, want, content)
		again, err := f.NewObject(background, remote)
		require.NoError(t, err)
		assert.Equal(t, o.ID(), again.(*Object).ID())
	}
	_, err := tryPut(f, "shared/below/new.txt", "content")
	assert.Equal(t, apierr.KindDenied, apierr.KindOf(err), "%v", err)
	_, err = tryPut(f, "shared/below/file.txt", "content")
	assert.Equal(t, apierr.KindDenied, apierr.KindOf(err), "%v", err)
	assert.Equal(t, apierr.KindDenied, apierr.KindOf(seen["shared/below/file.txt"].(*Object).Remove(background)))
	assert.Equal(t, apierr.KindDenied, apierr.KindOf(f.Mkdir(background, "shared/below/new")))
	put(t, f, "shared/new.txt", "into the share itself")
	assert.Equal(t, "into the share itself", sim.File("shared/new.txt"))
}

// All operations work in the library of an app, which is a folder of another zone.
func TestAppLibrary(t *testing.T) {
	sim := startSimulator(t)
	sim.Control("POST", "app-library", simtest.JSON{"name": "Notes", "zone": "iCloud.com.example.notes"}, nil)
	f := sim.open("")
	put(t, f, "Notes/folder/one.txt", "1")
	put(t, f, "Notes/folder/one.txt", "one")
	put(t, f, "plain.txt", "plain")
	o, err := f.NewObject(background, "Notes/folder/one.txt")
	require.NoError(t, err)
	content, err := read(o)
	require.NoError(t, err)
	assert.Equal(t, "one", content)
	entries, err := f.List(background, "")
	require.NoError(t, err)
	assert.True(t, entries[0].(*Directory).IsLibrary())
	plain, err := f.NewObject(background, "plain.txt")
	require.NoError(t, err)
	moved, err := f.Move(background, plain, "Notes/folder/moved.txt")
	require.NoError(t, err)
	content, err = read(moved)
	require.NoError(t, err, "the zone is part of the id")
	assert.Equal(t, "plain", content)
	require.NoError(t, moved.Remove(background))
	require.NoError(t, o.Remove(background))
	require.NoError(t, f.Rmdir(background, "Notes/folder"))
	assert.Error(t, f.Purge(background, "Notes"))
}

// If the response to a move into another zone is lost, the item is found there.
func TestLostMoveIntoALibrary(t *testing.T) {
	sim := startSimulator(t)
	sim.Control("POST", "app-library", simtest.JSON{"name": "Notes", "zone": "iCloud.com.example.notes"}, nil)
	sim.PutFile("plain.txt", "plain")
	f := sim.open("")
	plain, err := f.NewObject(background, "plain.txt")
	require.NoError(t, err)
	sim.Fault("move", "reset-after")
	moved, err := f.Move(background, plain, "Notes/plain.txt")
	require.NoError(t, err)
	content, err := read(moved)
	require.NoError(t, err)
	assert.Equal(t, "plain", content)
	assert.Equal(t, []string{"Notes", "Notes/plain.txt"}, sim.Paths())
}
