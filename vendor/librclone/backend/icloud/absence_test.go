package icloud

import (
	"testing"

	"github.com/rclone/rclone/fs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A folder or a file that is said not to be there is taken for a new one by who
// stores backups, so only a listing of the folder above says so.

// cloudWithStates is a drive with a file two folders down.
func cloudWithStates() *fakeCloud {
	c := newFakeCloud()
	states := c.add(c.add("root", "kloset", nil).id, "states", nil)
	c.add(states.id, "aa", []byte("state"))
	return c
}

// refuseListings makes the first listings fail, -1 for all.
func (c *fakeCloud) refuseListings(times, status int) {
	c.instead = func(_ int, kind string) *fakeAnswer {
		if kind != "retrieveItemDetailsInFolders" || times == 0 {
			return nil
		}
		times--
		return refusing(status, "{}")()
	}
}

// Some 404s to listings, to the first ones or when the way is known, neither
// hide a folder nor make it look empty; nor does a service that says nothing else.
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
		"find above": func(f *Fs) error { _, err := f.lookup(background, "kloset"); return err },
	}
	for name, operation := range operations {
		for _, status := range []int{404, 410} {
			for _, known := range []bool{false, true} {
				for times := 1; times <= 8; times++ {
					c := cloudWithStates()
					f := c.drive("")
					f.drive.service.retries.tries = 12
					if known {
						require.NoError(t, operations["list"](f))
					}
					c.refuseListings(times, status)
					assert.NoError(t, operation(f), "%s, known %v: %d times %d", name, known, times, status)
				}
				c := cloudWithStates()
				f := c.drive("")
				f.drive.age = 0
				if known {
					require.NoError(t, operations["list"](f))
				}
				c.refuseListings(-1, status)
				assert.Equal(t, KindDamaged, KindOf(operation(f)), "%s, known %v: always %d", name, known, status)
			}
		}
	}
}

// A folder that its parent lists and that the service calls gone, each time, is
// a contradiction and not a missing folder.
func TestFolderThatIsListedAndGone(t *testing.T) {
	for _, status := range []string{"", "ID_INVALID"} {
		c := cloudWithStates()
		states := c.at("kloset/states").driveID()
		c.spoil = func(_ int, kind string, answer *fakeAnswer) {
			if kind != "retrieveItemDetailsInFolders" || !isAbout(answer, states) {
				return
			}
			*answer = *refusing(404, "{}")()
			if status != "" {
				*answer = *refusing(200, `[{"drivewsid":"`+states+`","status":"`+status+`"}]`)()
			}
		}
		f := c.drive("")
		_, err := f.List(background, "kloset/states")
		assert.Equal(t, KindDamaged, KindOf(err), "%v", err)
		assert.ErrorContains(t, err, "kloset/states")
		_, err = f.NewObject(background, "kloset/states/aa")
		assert.Equal(t, KindDamaged, KindOf(err), "%v", err)
		assert.Equal(t, KindDamaged, KindOf(f.Rmdir(background, "kloset/states")))
		_, err = tryPut(f, "kloset/states/aa", "another")
		assert.Error(t, err)
		assert.Len(t, c.paths(), 3)
	}
}

// A deletion that was not made is none, though the folder cannot be listed to
// find that out.
func TestDeletionInAFolderThatIsNotFound(t *testing.T) {
	c := cloudWithStates()
	f := c.drive("")
	o := must(f.NewObject(background, "kloset/states/aa"))
	refused := 0
	c.instead = func(_ int, kind string) *fakeAnswer {
		if kind == "moveItemsToTrash" && refused == 0 || kind == "retrieveItemDetailsInFolders" && refused == 1 {
			refused++
			return refusing(404, "{}")()
		}
		return nil
	}
	require.NoError(t, o.Remove(background))
	assert.Nil(t, c.at("kloset/states/aa"), "said to be deleted")
}
