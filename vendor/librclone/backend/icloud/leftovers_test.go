package icloud

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/drive"
	"plakar-icloud/librclone/internal/simtest"
	"plakar-icloud/librclone/leftovers"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// withLeftover returns a drive with a file and the replacement that a killed process
// has left, and the description of the replacement.
func withLeftover(t *testing.T, account string) (c *fakeCloud, old, made *fakeItem, item json.RawMessage) {
	t.Helper()
	c = newFakeCloud()
	old = c.add("root", "a.txt", []byte("old"))
	temporary := drive.ReplacementName("a.txt", time.Now(), 1)
	made = c.add("root", temporary, []byte("new"))
	modified := time.Date(2024, 3, 5, 6, 7, 8, 0, time.UTC) // see fakeCloud.form
	item, err := json.Marshal(simtest.JSON{
		"account": account, "folder": simtest.JSON{"id": rootDriveID}, "id": made.driveID(), "old": old.driveID(),
		"name": temporary, "replaces": "a.txt", "size": 3, "modified": modified.Unix(),
	})
	require.NoError(t, err)
	return c, old, made, item
}

func settleOne(c *fakeCloud, item json.RawMessage) leftovers.Result {
	return settleAfter(c, item, false)
}

// settleAfter settles a replacement of a process that may have ended a moment ago.
func settleAfter(c *fakeCloud, item json.RawMessage, recent bool) leftovers.Result {
	return processBy(c, "", simtest.NewSessionFile()).drive.Settle(background, []json.RawMessage{item}, recent)[0]
}

// The new file is removed while the old one has the name.
func TestLeftoverIsRemoved(t *testing.T) {
	c, old, made, item := withLeftover(t, ".")
	assert.Equal(t, leftovers.Result{Outcome: leftovers.Done}, settleOne(c, item))
	assert.False(t, old.trashed)
	assert.True(t, made.trashed)
	assert.Equal(t, leftovers.Result{Outcome: leftovers.Nothing}, settleOne(c, item))
}

// While the process may have asked for the removal of the old file, the new one is kept.
// It is removed at once if another file has the name, and gets the name if that is free.
func TestLeftoverOfAProcessThatHasJustEnded(t *testing.T) {
	for name, at := range map[string]struct {
		change func(c *fakeCloud, old *fakeItem)
		want   leftovers.Outcome
		paths  []string
	}{
		"old file":    {func(*fakeCloud, *fakeItem) {}, leftovers.Waiting, nil},
		"folded name": {func(_ *fakeCloud, old *fakeItem) { old.name = "A.txt" }, leftovers.Waiting, nil},
		"free name":   {func(_ *fakeCloud, old *fakeItem) { old.trashed = true }, leftovers.Done, []string{"a.txt"}},
		"other file": {func(c *fakeCloud, old *fakeItem) {
			old.trashed = true
			c.add("root", "a.txt", []byte("of the next process"))
		}, leftovers.Done, []string{"a.txt"}},
	} {
		t.Run(name, func(t *testing.T) {
			c, old, made, item := withLeftover(t, ".")
			at.change(c, old)
			if at.paths == nil {
				at.paths = c.paths()
			}
			assert.Equal(t, leftovers.Result{Outcome: at.want}, settleAfter(c, item, true))
			assert.Equal(t, at.paths, c.paths())
			assert.Equal(t, name == "other file", made.trashed)
		})
	}
}

// A rename of the killed process may be carried out after the name was taken.
func TestLeftoverUnderAnotherName(t *testing.T) {
	c, _, made, item := withLeftover(t, ".")
	made.name = "a 2.txt"
	assert.Equal(t, leftovers.Result{Outcome: leftovers.Kept}, settleOne(c, item))
	assert.False(t, made.trashed)
}

// If the old file disappears while the new one is removed, the error has both names.
func TestLeftoverOfAFileThatDisappears(t *testing.T) {
	c, old, made, item := withLeftover(t, ".")
	c.spoil = func(_ int, kind string, _ *fakeResponse) {
		if kind == "moveItemsToTrash" { // like a request of the killed process
			old.trashed = true
		}
	}
	result := settleOne(c, item)
	assert.Equal(t, leftovers.Failed, result.Outcome)
	assert.ErrorContains(t, result.Err, "a.txt")
	assert.ErrorContains(t, result.Err, made.name)
}

// The item of another account is not touched.
func TestLeftoverOfAnotherAccount(t *testing.T) {
	c, _, made, item := withLeftover(t, "other")
	assert.Equal(t, leftovers.Result{Outcome: leftovers.NotOurs}, settleOne(c, item))
	assert.False(t, made.trashed)
	assert.Zero(t, c.requests)
}

// A listing that may be incomplete does not prove that a leftover is gone.
func TestLeftoverInAnIncompleteListing(t *testing.T) {
	c, _, made, item := withLeftover(t, ".")
	made.trashed = true
	c.spoil = func(_ int, kind string, response *fakeResponse) {
		if kind == "retrieveItemDetailsInFolders" {
			var folders []simtest.JSON
			require.NoError(t, json.Unmarshal(response.body, &folders))
			folders[0]["numberOfItems"] = 2
			response.body, _ = json.Marshal(folders)
		}
	}
	assert.Equal(t, leftovers.Failed, settleOne(c, item).Outcome)
}

// A new file that was withdrawn, because another device has changed the old one, is
// not a leftover.
func TestLeftoversOfFailedReplacements(t *testing.T) {
	c := newFakeCloud()
	old := c.add("root", "a.txt", []byte("old"))
	f := processBy(c, "", simtest.NewSessionFile())
	changed := false
	c.instead = func(_ int, kind string) *fakeResponse {
		if kind == "moveItemsToTrash" && !changed {
			changed = true
			c.change++
			old.content, old.etag = []byte("of another device"), c.change
		}
		return nil
	}
	prefix := filepath.Join(t.TempDir(), "account")
	list := leftovers.New(prefix)
	_, err := f.Put(leftovers.With(background, list), strings.NewReader("new"), infoOf("a.txt", "new"))
	assert.Equal(t, apierr.KindChanged, apierr.KindOf(err), "%v", err)
	assert.Equal(t, []string{"a.txt"}, c.paths())
	lists, err := filepath.Glob(prefix + "*")
	require.NoError(t, err)
	assert.Len(t, lists, 1)
	list.Close()
	lists, err = filepath.Glob(prefix + "*")
	require.NoError(t, err)
	assert.Empty(t, lists)
}

// A new file that was registered although the service refused it is a leftover.
func TestLeftoverOfARefusalThatWasMade(t *testing.T) {
	c := newFakeCloud()
	c.add("root", "a.txt", []byte("old"))
	f := processBy(c, "", simtest.NewSessionFile())
	c.spoil = func(_ int, kind string, response *fakeResponse) {
		if kind == "documents" {
			response.status = 403
		}
	}
	prefix := filepath.Join(t.TempDir(), "account")
	list := leftovers.New(prefix)
	_, err := f.Put(leftovers.With(background, list), strings.NewReader("new"), infoOf("a.txt", "new"))
	assert.Equal(t, apierr.KindDenied, apierr.KindOf(err), "%v", err)
	assert.Len(t, c.paths(), 2)
	list.Close()
	lists, err := filepath.Glob(prefix + "*")
	require.NoError(t, err)
	assert.Len(t, lists, 1)
}
