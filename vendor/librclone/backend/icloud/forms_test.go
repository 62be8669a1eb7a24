package icloud

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"testing"

	"plakar-icloud/librclone/internal/simtest"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// reshape changes the JSON of the responses to requests of a kind, or of all kinds if
// that is "".
func reshape(kind string, change func(value any)) func(c *fakeCloud) {
	return func(c *fakeCloud) {
		c.spoil = func(_ int, now string, response *fakeResponse) {
			var value any
			if kind != "" && now != kind || json.Unmarshal(response.body, &value) != nil {
				return
			}
			change(value)
			response.body, _ = json.Marshal(value)
		}
	}
}

// eachObject calls change with every object within a value.
func eachObject(value any, change func(object simtest.JSON)) {
	switch value := value.(type) {
	case simtest.JSON:
		change(value)
		for _, member := range value {
			eachObject(member, change)
		}
	case []any:
		for _, member := range value {
			eachObject(member, change)
		}
	}
}

// without removes members from every object.
func without(members ...string) func(any) {
	return func(value any) {
		eachObject(value, func(object simtest.JSON) {
			for _, member := range members {
				delete(object, member)
			}
		})
	}
}

// replaced changes the value of a member in every object.
func replaced(member string, with func(old any) any) func(any) {
	return func(value any) {
		eachObject(value, func(object simtest.JSON) {
			if old, ok := object[member]; ok {
				object[member] = with(old)
			}
		})
	}
}

func always(value any) func(any) any { return func(any) any { return value } }

// otherForms are forms of responses that Apple is not known to send but that rclone's
// client accepts.
var otherForms = map[string]func(c *fakeCloud){
	"a deletion without the parent":       reshape("moveItemsToTrash", without("parentId")),
	"the Trash as a drive id":             reshape("moveItemsToTrash", replaced("parentId", always("FOLDER::com.apple.CloudDocs::TRASH_ROOT"))),
	"a deletion with the old parent":      reshape("moveItemsToTrash", replaced("parentId", always(rootDriveID))),
	"a rename without a name":             reshape("renameItems", without("name", "extension")),
	"a rename with the stem alone":        reshape("renameItems", without("extension")),
	"a rename without an etag":            reshape("renameItems", without("etag")),
	"a rename with the status alone":      reshape("renameItems", without("name", "extension", "etag", "parentId", "drivewsid", "type", "size")),
	"a move without a parent":             reshape("moveItems", without("parentId")),
	"a move with the old parent":          reshape("moveItems", replaced("parentId", always(rootDriveID))),
	"a move with the status alone":        reshape("moveItems", without("name", "extension", "etag", "parentId", "drivewsid", "type", "size")),
	"a new folder without a parent":       reshape("createFolders", without("parentId")),
	"a new folder without a name":         reshape("createFolders", without("name")),
	"a new folder without a type":         reshape("createFolders", without("type")),
	"an update without codes":             reshape("documents", without("status_code")),
	"an update with codes of HTTP":        reshape("documents", replaced("status_code", always(200))),
	"an update without statuses":          reshape("documents", without("status")),
	"an update without an etag":           reshape("documents", without("etag")),
	"an update without a name":            reshape("documents", without("name")),
	"an update without sizes":             reshape("documents", without("size")),
	"an update with the data's size":      reshape("documents", func(value any) { delete(within(value, "results", "document"), "size") }),
	"two results of an update":            reshape("documents", func(value any) { doubled(value.(simtest.JSON), "results") }),
	"listings without statuses":           reshape("retrieveItemDetailsInFolders", without("status")),
	"listings without types":              reshape("retrieveItemDetailsInFolders", without("type")),
	"listings without counters":           reshape("retrieveItemDetailsInFolders", without("numberOfItems", "fileCount", "directChildrenCount", "assetQuota")),
	"listings without parents":            reshape("retrieveItemDetailsInFolders", without("parentId")),
	"listings that do not say of what":    reshape("retrieveItemDetailsInFolders", func(value any) { delete(value.([]any)[0].(simtest.JSON), "drivewsid") }),
	"listings without the folder's name":  reshape("retrieveItemDetailsInFolders", func(value any) { delete(value.([]any)[0].(simtest.JSON), "name") }),
	"sizes as texts":                      reshape("retrieveItemDetailsInFolders", replaced("size", func(old any) any { return fmt.Sprint(old) })),
	"no size of an empty file":            reshape("", withoutZero("size")),
	"times with fractions":                reshape("", replaced("dateModified", always("2024-03-05T06:07:08.123456Z"))),
	"times with a zone":                   reshape("", replaced("dateModified", always("2024-03-05T06:07:08+02:00"))),
	"times that are none":                 reshape("", replaced("dateModified", always("yesterday"))),
	"times as numbers":                    reshape("", replaced("dateModified", always(1709618828000))),
	"receipts without a checksum":         reshape("content-post", without("fileChecksum", "referenceChecksum", "wrappingKey")),
	"contents without a signature":        reshape("by_id", without("signature", "double_etag", "document_id")),
	"a second token that is null":         reshape("by_id", func(value any) { value.(simtest.JSON)["package_token"] = nil }),
	"more members than anybody has heard": reshape("", func(value any) { eachObject(value, func(o simtest.JSON) { o["x-unheard-of"] = []any{nil, 1} }) }),
	"etags as numbers":                    reshape("", replaced("etag", asNumber)),
	"statuses of an update as texts":      reshape("documents", replaced("status_code", always("0"))),
	"sizes of a receipt as texts":         reshape("content-post", replaced("size", func(old any) any { return fmt.Sprint(old) })),
	"members of other kinds": reshape("", func(value any) {
		eachObject(value, func(o simtest.JSON) {
			for _, unused := range []string{"owner_dsid", "operation_id", "mtime", "btime", "file_flags", "deleted", "hierarchy", "dateCreated"} {
				o[unused] = "another kind"
			}
		})
	}),
	"parents by their document ids":     reshape("", replaced("parentId", func(old any) any { return api.GetDocIDFromDriveID(old.(string)) })),
	"another id of the root":            reshape("retrieveItemDetailsInFolders", renamedRoot),
	"the root as its children's parent": reshape("", replaced("parentId", otherRoot)),
	"ids without a kind and a zone":     reshape("retrieveItemDetailsInFolders", replaced("drivewsid", func(old any) any { return api.GetDocIDFromDriveID(old.(string)) })),
	"stale etags that are accepted": func(c *fakeCloud) {
		c.quiet = true
		c.spoil = func(_ int, kind string, _ *fakeResponse) {
			if kind == "retrieveItemDetailsInFolders" || kind == "documents" { // so that every known etag is stale once
				for _, it := range c.items {
					if it.etag%7 != 0 {
						c.change += 7 - c.change%7
						it.etag = c.change
					}
				}
			}
		}
	},
}

// asNumber converts a text to a number if possible.
func asNumber(old any) any {
	number, err := strconv.Atoi(fmt.Sprint(old))
	if err != nil {
		return old
	}
	return number
}

const anotherRoot = "FOLDER::com.apple.CloudDocs::0A1B2C3D"

// otherRoot replaces the id of the root by another id of it.
func otherRoot(old any) any {
	if old == rootDriveID {
		return anotherRoot
	}
	return old
}

func renamedRoot(value any) {
	eachObject(value, func(object simtest.JSON) {
		for _, member := range []string{"drivewsid", "parentId"} {
			if old, ok := object[member]; ok {
				object[member] = otherRoot(old)
			}
		}
	})
}

func within(value any, list, member string) simtest.JSON {
	return value.(simtest.JSON)[list].([]any)[0].(simtest.JSON)[member].(simtest.JSON)
}

func doubled(object simtest.JSON, list string) {
	if members, ok := object[list].([]any); ok {
		object[list] = append(members, members...)
	}
}

// withoutZero removes a member where it is 0, as encoders do that omit empty members.
func withoutZero(member string) func(any) {
	return func(value any) {
		eachObject(value, func(object simtest.JSON) {
			if object[member] == 0.0 {
				delete(object, member)
			}
		})
	}
}

// Responses in other forms lead to the same result.
func TestOtherForms(t *testing.T) {
	for name, form := range otherForms {
		t.Run(name, func(t *testing.T) {
			c := cloudForWorkday()
			form(c)
			assertWorkday(t, c, workday(c.drive("")))
		})
	}
}

// A document may get another id if its folder contains it under that id.
func TestDocumentsGetOtherIDs(t *testing.T) {
	c := cloudForWorkday()
	c.spoil = func(_ int, kind string, response *fakeResponse) {
		var value any
		if kind != "documents" || response.status != 200 || json.Unmarshal(response.body, &value) != nil {
			return
		}
		doc := within(value, "results", "document")
		old := doc["document_id"].(string)
		it := c.items[old]
		delete(c.items, old)
		it.id = "own-" + old
		c.items[it.id], doc["document_id"] = it, it.id
		response.body, _ = json.Marshal(value)
	}
	assertWorkday(t, c, workday(c.drive("")))
}

// If the response to a registration is lost and the listing does not have the file yet,
// the taken name is recognised as that of the upload itself.
func TestUploadMeetsItself(t *testing.T) {
	c := cloudForWorkday()
	registered := 0
	c.spoil = func(_ int, kind string, response *fakeResponse) {
		switch {
		case kind == "documents" && registered == 0:
			registered++
			response.lost = true
		case kind == "documents":
			registered++
			*response = *refusing(409, `{"reason":"Uniqueness constraint violation. Rejecting update"}`)()
		case kind == "retrieveItemDetailsInFolders" && registered == 1:
			response.body = []byte(`[{"drivewsid":"FOLDER::com.apple.CloudDocs::root","status":"OK","numberOfItems":0,"items":[]}]`)
		case kind == "retrieveItemDetails" && registered == 1:
			response.body = []byte(`{"items":[{"drivewsid":"FILE::com.apple.CloudDocs::late","status":"ID_INVALID"}]}`)
		}
	}
	f := c.drive("")
	_, err := tryPut(f, "new.txt", "content")
	require.NoError(t, err)
	assert.Equal(t, 2, registered)
	require.NotNil(t, c.at("new.txt"))
	assert.Equal(t, "content", string(c.at("new.txt").content))
	for _, it := range c.items {
		assert.False(t, it.trashed, it.name)
	}
}

// A deletion that is refused with 404 does not count as made while the item is there.
func TestRefusedDeletionsFail(t *testing.T) {
	for _, status := range []int{404, 410, 412} {
		c := cloudForWorkday()
		c.add("root", "empty", nil)
		c.instead = func(_ int, kind string) *fakeResponse {
			if kind == "moveItemsToTrash" {
				return refusing(status, "")()
			}
			return nil
		}
		f := c.drive("")
		o := must(f.NewObject(background, "folder/file.txt"))
		assert.Error(t, o.Remove(background), status)
		assert.Error(t, f.Purge(background, "full"), status)
		assert.Error(t, f.Rmdir(background, "empty"), status)
		assert.Len(t, c.paths(), 6)
	}
}

// Cookies in a late response to a call of an ended session are not stored in the next
// session.
func TestLateCookies(t *testing.T) {
	c := cloudForWorkday()
	f := c.drive("")
	s := f.drive.Service.Session
	late := s.Current()
	c.alive = false
	_, err := f.List(background, "folder")
	require.NoError(t, err)
	s.Merge(late, []*http.Cookie{{Name: "WEB", Value: "dead"}})
	assert.Contains(t, s.Current().Headers()["Cookie"], "WEB=alive")
	s.Merge(s.Current(), []*http.Cookie{{Name: "WEB", Value: "rotated"}})
	assert.Contains(t, s.Current().Headers()["Cookie"], "WEB=rotated")
}

// A folder whose parent has another id than in the cache is not taken for moved, so
// that each listing takes one request.
func TestParentsByOtherIDs(t *testing.T) {
	c := cloudWithStates()
	reshape("retrieveItemDetailsInFolders", renamedRoot)(c)
	f := c.drive("")
	must(f.List(background, "kloset/states"))
	before := c.requests
	for _, dir := range []string{"kloset", "kloset/states"} {
		_, err := f.List(background, dir)
		require.NoError(t, err)
	}
	assert.Equal(t, 2, c.requests-before)
}
