package icloud

import (
	"encoding/json"
	"fmt"
	"testing"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/drive"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/rclone/rclone/fs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Callers that store backups take a missing folder or file for a new one. So an
// item is only reported as missing if the listing of its parent folder lacks it.

// cloudWithStates returns a drive with a file two folders down.
func cloudWithStates() *fakeCloud {
	c := newFakeCloud()
	states := c.add(c.add("root", "kloset", nil).id, "states", nil)
	c.add(states.id, "aa", []byte("state"))
	return c
}

// refuseListings makes the first listings fail. times is -1 for all of them.
func (c *fakeCloud) refuseListings(times, status int) {
	c.instead = func(_ int, kind string) *fakeResponse {
		if kind != "retrieveItemDetailsInFolders" || times == 0 {
			return nil
		}
		times--
		return refusing(status, "{}")()
	}
}

// Listings that fail with 404 neither hide a folder nor make it look empty, whether
// or not the path is cached, and even if all of them fail.
func TestListingsThatAreNotFound(t *testing.T) {
	operations := map[string]func(f *Fs) error{
		"list": func(f *Fs) error {
			entries, err := f.List(background, "kloset/states")
			if err == nil && len(entries) != 1 {
				t.Errorf("listed %q", names(entries))
			}
			return err
		},
		"list all":   func(f *Fs) error { return f.ListR(background, "", func(fs.DirEntries) error { return nil }) },
		"find":       func(f *Fs) error { _, err := f.NewObject(background, "kloset/states/aa"); return err },
		"find above": func(f *Fs) error { _, err := f.find(background, "kloset"); return err },
	}
	for name, operation := range operations {
		for _, status := range []int{404, 410} {
			for _, known := range []bool{false, true} {
				for times := 1; times <= 8; times++ {
					c := cloudWithStates()
					f := c.drive("")
					f.drive.Service.Retries.Tries = 12
					if known {
						require.NoError(t, operations["list"](f))
					}
					c.refuseListings(times, status)
					assert.NoError(t, operation(f), "%s, known %v: %d times %d", name, known, times, status)
				}
				c := cloudWithStates()
				f := c.drive("")
				f.drive = drive.New(f.drive.Service, drive.Config{BatchSize: 20, CacheItems: 1000})
				if known {
					require.NoError(t, operations["list"](f))
				}
				c.refuseListings(-1, status)
				assert.Equal(t, apierr.KindDamaged, apierr.KindOf(operation(f)), "%s, known %v: always %d", name, known, status)
			}
		}
	}
}

// If the service reports many listed folders as gone, the retries are made for only
// one of them.
func TestManyFoldersThatAreListedAndGone(t *testing.T) {
	c := newFakeCloud()
	for i := range 30 {
		c.add("root", fmt.Sprint("folder", i), nil)
	}
	f := c.drive("")
	dirs := names(must(f.List(background, "")))
	c.refuseListings(-1, 404)
	_, errs := f.ListFolders(background, dirs)
	for i, err := range errs {
		assert.Equal(t, apierr.KindDamaged, apierr.KindOf(err), "%s: %v", dirs[i], err)
	}
	assert.Less(t, c.requests, 300)
}

// A folder that its parent lists and that the service reports as gone is an error,
// not a missing folder.
func TestFolderThatIsListedAndGone(t *testing.T) {
	for _, status := range []string{"", "ID_INVALID"} {
		c := cloudWithStates()
		states := c.at("kloset/states").driveID()
		c.spoil = func(_ int, kind string, response *fakeResponse) {
			if kind != "retrieveItemDetailsInFolders" || !isAbout(response, states) {
				return
			}
			*response = *refusing(404, "{}")()
			if status != "" {
				*response = *refusing(200, `[{"drivewsid":"`+states+`","status":"`+status+`"}]`)()
			}
		}
		f := c.drive("")
		_, err := f.List(background, "kloset/states")
		assert.Equal(t, apierr.KindDamaged, apierr.KindOf(err), "%v", err)
		assert.ErrorContains(t, err, "kloset/states")
		_, err = f.NewObject(background, "kloset/states/aa")
		assert.Equal(t, apierr.KindDamaged, apierr.KindOf(err), "%v", err)
		assert.Equal(t, apierr.KindDamaged, apierr.KindOf(f.Rmdir(background, "kloset/states")))
		_, err = tryPut(f, "kloset/states/aa", "another")
		assert.Error(t, err)
		assert.Len(t, c.paths(), 3)
	}
}

// A deletion that was refused is made in the end, even if the folder cannot be listed
// to check it.
func TestDeletionInAFolderThatIsNotFound(t *testing.T) {
	c := cloudWithStates()
	f := c.drive("")
	o := must(f.NewObject(background, "kloset/states/aa"))
	refused := 0
	c.instead = func(_ int, kind string) *fakeResponse {
		if kind == "moveItemsToTrash" && refused == 0 || kind == "retrieveItemDetailsInFolders" && refused == 1 {
			refused++
			return refusing(404, "{}")()
		}
		return nil
	}
	require.NoError(t, o.Remove(background))
	assert.Nil(t, c.at("kloset/states/aa"), "reported as deleted")
}

// shorten removes the last item from the listing of a folder or, if all is set, every
// item.
func (c *fakeCloud) shorten(folder *fakeItem, all bool) {
	c.spoil = func(_ int, kind string, response *fakeResponse) {
		var folders []simtest.JSON
		if kind != "retrieveItemDetailsInFolders" || json.Unmarshal(response.body, &folders) != nil {
			return
		}
		for _, listed := range folders {
			if items, ok := listed["items"].([]any); ok && listed["drivewsid"] == folder.driveID() {
				if all {
					items = items[:1]
				}
				listed["items"] = items[:len(items)-1]
			}
		}
		response.body, _ = json.Marshal(folders)
	}
}

// If a listing has fewer items than the service counts, an item that it lacks does not
// count as missing: it is neither created, nor taken for deleted, nor is the folder
// taken for empty.
func TestShortListingsProveNothing(t *testing.T) {
	for _, all := range []bool{true, false} {
		c := cloudForWorkday()
		c.add(c.at("folder").id, "zoo", []byte{})
		c.add(c.add(c.at("folder").id, "zz", nil).id, "deep", []byte("content"))
		shown := 3
		if all {
			shown = 0
		}
		f := c.drive("")
		theirs := must(f.NewObject(background, "folder/zoo"))
		must(f.List(background, "folder/zz"))
		before := c.paths()
		c.shorten(c.at("folder"), all)
		f.DirCacheFlush()

		listed, errs := f.ListFolders(background, []string{"full", "folder", ""})
		assert.NoError(t, errs[0])
		assert.NoError(t, errs[2])
		assert.Equal(t, apierr.KindDamaged, apierr.KindOf(errs[1]), "%v", errs[1])
		assert.ErrorContains(t, errs[1], `"folder"`)
		require.NotNil(t, listed[1])
		assert.Len(t, listed[1], shown)
		assert.Equal(t, apierr.KindDamaged, apierr.KindOf(f.ListR(background, "", func(fs.DirEntries) error { return nil })))

		_, err := f.NewObject(background, "folder/zz")
		assert.Equal(t, apierr.KindDamaged, apierr.KindOf(err), "%v", err)
		_, err = f.NewObject(background, "folder/zz/deep")
		assert.Equal(t, apierr.KindDamaged, apierr.KindOf(err), "%v", err)
		_, err = f.List(background, "folder/zz")
		assert.Equal(t, apierr.KindDamaged, apierr.KindOf(err), "%v", err)

		c.instead = func(_ int, kind string) *fakeResponse {
			if kind == "moveItemsToTrash" {
				return refusing(404, "{}")()
			}
			return nil
		}
		stale := *theirs.(*Object).state.Load()
		stale.ID = c.at("folder/zz").driveID() // which the listing does not have
		theirs.(*Object).state.Store(&stale)
		assert.Error(t, theirs.Remove(background))
		assert.Equal(t, fs.ErrorDirectoryNotEmpty, f.Rmdir(background, "folder"))
		for _, path := range before {
			assert.NotNil(t, c.at(path), path)
		}
	}
}

// If the response lacks the number of its items, the number of children is used.
func TestEmptyListingWithChildren(t *testing.T) {
	c := cloudWithStates()
	reshape("retrieveItemDetailsInFolders", func(value any) {
		eachObject(value, func(object simtest.JSON) {
			if _, listed := object["items"]; listed {
				object["items"] = []any{}
			}
			delete(object, "numberOfItems")
		})
	})(c)
	f := c.drive("")
	_, err := f.List(background, "")
	assert.Equal(t, apierr.KindDamaged, apierr.KindOf(err), "%v", err)
}

// A response without items does not mean that a folder is empty, even if this process
// has created the folder.
func TestListingWithoutItemsOfANewFolder(t *testing.T) {
	c := cloudWithStates()
	f := c.drive("")
	put(t, f, "new/a", "content")
	reshape("retrieveItemDetailsInFolders", func(value any) {
		without("items", "numberOfItems", "directChildrenCount")(value)
	})(c)
	_, err := f.List(background, "new")
	assert.Equal(t, apierr.KindDamaged, apierr.KindOf(err), "%v", err)
}

// A folder with a temporary status is listed again, whether it is listed alone or with
// others.
func TestFoldersWithATemporaryStatus(t *testing.T) {
	for _, status := range []string{"SERVER_ERROR", "UNKNOWN", "ZONE_BUSY"} {
		for _, dirs := range [][]string{{"kloset"}, {"kloset", "kloset/states", ""}} {
			c := cloudWithStates()
			f := c.drive("")
			must(f.List(background, "kloset/states"))
			bad, times := c.at("kloset").driveID(), 3
			reshape("retrieveItemDetailsInFolders", func(value any) {
				for i, folder := range value.([]any) {
					if folder.(simtest.JSON)["drivewsid"] == bad && times > 0 {
						times--
						value.([]any)[i] = simtest.JSON{"drivewsid": bad, "status": status}
					}
				}
			})(c)
			listed, errs := f.ListFolders(background, dirs)
			for i := range dirs {
				assert.NoError(t, errs[i], "%s %s", status, dirs[i])
				assert.Len(t, listed[i], 1)
			}
			assert.Zero(t, times)
		}
	}
}

// A definite status of a folder is not retried.
func TestFolderThatMayNotBeListed(t *testing.T) {
	c := cloudWithStates()
	c.instead = func(int, string) *fakeResponse {
		return refusing(200, `[{"drivewsid":"`+rootDriveID+`","status":"ACCESS_DENIED"}]`)()
	}
	_, err := c.drive("").List(background, "")
	assert.Equal(t, apierr.KindDenied, apierr.KindOf(err), "%v", err)
	assert.Equal(t, 1, c.requests)
}
