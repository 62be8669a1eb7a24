package icloud

import (
	"encoding/json"
	"strings"
	"testing"

	"plakar-icloud/librclone/internal/simtest"

	"github.com/rclone/rclone/fs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// spoilListings changes the listings of a cloud.
func spoilListings(cloud *fakeCloud, change func(folder simtest.JSON)) {
	cloud.spoil = func(_ int, kind string, response *fakeResponse) {
		if kind != "retrieveItemDetailsInFolders" {
			return
		}
		var folders []simtest.JSON
		if json.Unmarshal(response.body, &folders) != nil {
			return
		}
		for _, folder := range folders {
			change(folder)
		}
		response.body, _ = json.Marshal(folders)
	}
}

// An item that cannot be used is an entry with a reason. The other items of the folder
// are listed with the same request.
func TestListFoldersWithInvalidItems(t *testing.T) {
	valid := func(change func(simtest.JSON)) simtest.JSON {
		it := simtest.JSON{"drivewsid": "FILE::com.apple.CloudDocs::odd", "name": "odd", "extension": "txt", "type": "FILE", "size": 1, "etag": "1"}
		change(it)
		return it
	}
	set := func(member string, value any) simtest.JSON {
		return valid(func(it simtest.JSON) { it[member] = value })
	}
	for name, test := range map[string]struct {
		item   any
		remote string
		reason string
	}{
		"no object":          {7, "", "not a JSON object"},
		"null":               {nil, "", "without an id"},
		"no id":              {valid(func(it simtest.JSON) { delete(it, "drivewsid") }), "odd.txt", "without an id"},
		"an id of no type":   {set("drivewsid", []any{}), "", "wrong type"},
		"an unknown type":    {valid(func(it simtest.JSON) { it["type"], it["drivewsid"] = "DOOR", "DOOR::com.apple.CloudDocs::odd" }), "odd.txt", "unknown type"},
		"no type":            {valid(func(it simtest.JSON) { delete(it, "type"); it["drivewsid"] = "::com.apple.CloudDocs::odd" }), "odd.txt", "without a type"},
		"two types":          {set("type", "FOLDER"), "odd.txt", "contradicts"},
		"a negative size":    {set("size", -5), "odd.txt", "size of -5 bytes"},
		"a huge size":        {set("size", 1<<60), "odd.txt", "size of"},
		"an enormous size":   {set("size", json.Number("1e300")), "odd.txt", "not a number of bytes"},
		"a number as a name": {set("name", 7), "", "wrong type"},
		"no name":            {valid(func(it simtest.JSON) { delete(it, "name"); delete(it, "extension") }), "", "without a name"},
		"a slash in a name":  {set("name", "o/d"), "", `"o/d.txt" contains a slash`},
	} {
		t.Run(name, func(t *testing.T) {
			cloud := newFakeCloud()
			cloud.add("root", "good.txt", []byte("content"))
			folder := cloud.add("root", "folder", nil)
			cloud.add(folder.id, "inside.txt", []byte("content"))
			spoilListings(cloud, func(folder simtest.JSON) {
				folder["items"] = append(folder["items"].([]any), test.item)
				folder["numberOfItems"] = len(folder["items"].([]any))
			})
			f := cloud.drive("")
			listed, errs := f.ListFolders(background, []string{"", "folder"})
			require.NoError(t, errs[0])
			require.NoError(t, errs[1])
			assert.Equal(t, 2, cloud.requests)
			for i, dir := range []string{"", "folder"} {
				var found []string
				var invalid []*InvalidEntry
				for _, entry := range listed[i] {
					if odd, ok := entry.(*InvalidEntry); ok {
						invalid = append(invalid, odd)
					} else {
						found = append(found, entry.Remote())
					}
				}
				assert.Equal(t, [][]string{{"folder", "good.txt"}, {"folder/inside.txt"}}[i], found)
				require.Len(t, invalid, 1)
				assert.Equal(t, strings.Trim(dir+"/"+test.remote, "/"), invalid[0].Remote())
				assert.ErrorContains(t, invalid[0].Invalid(), test.reason)
			}
			_, err := f.List(background, "")
			assert.ErrorContains(t, err, test.reason, "List fails, because its callers do not know such entries")
			if test.remote != "" {
				_, err = f.NewObject(background, test.remote)
				assert.ErrorContains(t, err, test.reason, "the item is not reported as missing")
			}
		})
	}
}

// A folder that is listed below itself is an entry with a reason, and is not listed.
func TestListingOfALoop(t *testing.T) {
	for name, target := range map[string]string{"itself": "b", "the one above": "a", "the root": "root"} {
		t.Run(name, func(t *testing.T) {
			cloud := newFakeCloud()
			a := cloud.add("root", "a", nil)
			b := cloud.add(a.id, "b", nil)
			cloud.add(b.id, "file.txt", []byte("content"))
			again := *map[string]*fakeItem{"a": a, "b": b, "root": cloud.items["root"]}[target]
			again.name = "again"
			spoilListings(cloud, func(folder simtest.JSON) {
				if folder["drivewsid"] == b.driveID() {
					folder["items"] = append(folder["items"].([]any), cloud.form(&again))
					folder["numberOfItems"] = 2
				}
			})
			f := cloud.drive("")
			listed, errs := f.ListFolders(background, []string{"a/b"})
			require.NoError(t, errs[0])
			require.Len(t, listed[0], 2)
			invalid, ok := listed[0][0].(*InvalidEntry)
			require.True(t, ok)
			assert.Equal(t, "a/b/again", invalid.Remote())
			assert.ErrorContains(t, invalid.Invalid(), "within itself")
			assert.ErrorContains(t, f.ListR(background, "", func(fs.DirEntries) error { return nil }), "within itself")
			_, err := f.List(background, "a/b/again/b/again")
			assert.ErrorContains(t, err, "within itself")
			assert.Less(t, cloud.requests, 12)
		})
	}
}
