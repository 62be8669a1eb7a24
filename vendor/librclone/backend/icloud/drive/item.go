package drive

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"

	"github.com/rclone/rclone/backend/iclouddrive/api"
)

// rootID is the id of the root folder of iCloud Drive.
const rootID = "FOLDER::com.apple.CloudDocs::root"

// trashID is the parent of items in the Trash.
const trashID = "TRASH_ROOT"

// The statuses of single items in responses.
const (
	statusOK       = "OK"
	statusConflict = "ETAG_CONFLICT"
)

// driveItem is an item in a response of the Drive host, with the members that are
// used. Every member may be missing; required members are checked where they are
// used. The items of a folder are decoded separately; see FolderResponse.
type driveItem struct {
	DriveID   text            `json:"drivewsid"`
	ItemID    text            `json:"item_id"`
	Name      string          `json:"name"`
	Extension string          `json:"extension"`
	ParentID  text            `json:"parentId"`
	ETag      text            `json:"etag"`
	Type      string          `json:"type"`
	Status    text            `json:"status"`
	Size      *number         `json:"size"`
	Modified  moment          `json:"dateModified"`
	Quota     *number         `json:"assetQuota"`
	Files     *number         `json:"fileCount"`
	Children  *number         `json:"directChildrenCount"`
	Count     *number         `json:"numberOfItems"`
	ShareID   json.RawMessage `json:"shareID"`
	Owner     json.RawMessage `json:"owner"`
}

// text is a string, or a number that is treated as one. Ids, etags and statuses
// are only compared and sent back.
type text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(data []byte) error {
	var value any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return err
	}
	switch value := value.(type) {
	case nil:
	case string:
		*t = text(value)
	case json.Number:
		*t = text(value)
	default:
		return &json.UnmarshalTypeError{Value: "another value", Offset: int64(len(data))}
	}
	return nil
}

// number is an integer that is encoded as a number or as a string.
type number int64

// unreadable is the value of a number that is not a 64-bit integer. It is not
// reported as an error, because the decoder would then skip the members that
// follow.
const unreadable number = math.MinInt64

// UnmarshalJSON implements json.Unmarshaler.
func (n *number) UnmarshalJSON(data []byte) error {
	value, err := strconv.ParseInt(strings.Trim(string(data), `"`), 10, 64)
	*n = number(value)
	if err != nil {
		*n = unreadable
	}
	return nil
}

// isUnreadable reports whether the member is present but not an integer.
func (n *number) isUnreadable() bool { return n != nil && *n == unreadable }

// Or returns the number, -1 if it is negative or unreadable, or missing if the
// member is missing.
func (n *number) Or(missing int64) int64 {
	if n == nil {
		return missing
	}
	return max(-1, int64(*n))
}

// moment is a time. A time that cannot be parsed becomes the zero time, because
// a listing must not fail for it.
type moment time.Time

// UnmarshalJSON implements json.Unmarshaler.
func (m *moment) UnmarshalJSON(data []byte) error {
	if at, err := time.Parse(time.RFC3339, strings.Trim(string(data), `"`)); err == nil {
		*m = moment(at)
	}
	return nil
}

// fullName returns the name, which the service stores in two parts.
func (d *driveItem) fullName() string {
	if d.Extension == "" {
		return d.Name
	}
	return d.Name + "." + d.Extension
}

// Item is a file or a folder, as it is stored in the cache.
type Item struct {
	ID       string // drivewsid
	itemID   string
	Parent   string // drivewsid of its folder
	within   string // the parent that the service reports, if its id differs from Parent
	ETag     string
	Name     string // in the service's form
	Shown    string // the name in listings; differs from Name for some leftovers and for duplicates
	Size     int64  // in bytes; -1 if the service does not report it
	Modified time.Time
	Folder   bool
	Library  bool // a folder that belongs to an app
	packaged bool // a package: a folder on a Mac, an archive when it is downloaded
	share    json.RawMessage
	owner    string // the name of the account that shares it, if the service reports one
	Files    int64  // in a folder and below, as the service counts them; -1 if unknown
	Children int64  // items in a folder, as the service counts them; -1 if unknown
}

func (i *Item) zone() string  { return api.ZoneFromDriveID(i.ID) }
func (i *Item) docID() string { return api.GetDocIDFromDriveID(i.ID) }

// newItem converts an item of a response. It fails if the item has no id, or no
// known type.
func newItem(received *driveItem) (*Item, error) {
	id := string(received.DriveID)
	kind, _, _ := api.DeconstructDriveID(id)
	docID := api.GetDocIDFromDriveID(id)
	if docID == "" {
		return nil, apierr.Damaged("an item without an id")
	}
	i := &Item{
		ID:       id,
		itemID:   string(received.ItemID),
		Parent:   string(received.ParentID),
		ETag:     string(received.ETag),
		Name:     received.fullName(),
		Size:     received.Size.Or(-1),
		Modified: time.Time(received.Modified),
		Files:    received.Files.Or(-1),
		Children: received.Children.Or(-1),
	}
	if i.Name == "" {
		i.Name = docID
	}
	i.Shown = i.Name
	byType, byID := formOf(received.Type), formOf(kind)
	switch {
	case received.Type == "" && kind == "":
		return nil, apierr.Damaged("an item without a type")
	case byType == unknownForm && byID == unknownForm:
		return nil, apierr.Damaged("an item of an unknown type")
	case byType == unknownForm:
		byType = byID
	case byID != unknownForm && byType != packageForm && byType.isFolder() != byID.isFolder():
		return nil, apierr.Damaged("an item whose type contradicts its id")
	}
	i.Folder, i.Library, i.packaged = byType.isFolder(), byType == libraryForm, byType == packageForm
	if i.Folder {
		i.Size = received.Quota.Or(-1)
	}
	if len(received.ShareID) > 0 && string(received.ShareID) != "null" {
		i.share = received.ShareID
		i.owner = ownerName(received.Owner)
	}
	return i, nil
}

// form is the kind of an item.
type form int

const (
	unknownForm form = iota
	fileForm
	packageForm
	folderForm
	libraryForm // the folder of an app
)

// formOf returns the form for a type, such as FOLDER, SHARED_FOLDER or
// FILE_IN_SHARED_FOLDER, which is the member "type" or the beginning of an id.
func formOf(kind string) form {
	kind = strings.ToUpper(kind)
	switch {
	case kind == "APP_LIBRARY", kind == "APP_CONTAINER":
		return libraryForm
	case strings.HasPrefix(kind, "PACKAGE"):
		return packageForm
	case strings.HasPrefix(kind, "FILE"), strings.HasPrefix(kind, "SHARED_FILE"):
		return fileForm
	case strings.Contains(kind, "FOLDER"):
		return folderForm
	}
	return unknownForm
}

func (f form) isFolder() bool { return f == folderForm || f == libraryForm }

// packageExtensions has the extensions of documents that Mac programs store as
// folders. Most of these documents are listed as files, and some of them are
// files. https://github.com/rclone/rclone/issues/9798
var packageExtensions = map[string]bool{
	"app": true, "band": true, "bundle": true, "fcpbundle": true, "graffle": true, "imovielibrary": true,
	"key": true, "key-tef": true, "kth": true, "logicx": true, "mindnode": true, "nmbtemplate": true,
	"numbers": true, "numbers-tef": true, "pages": true, "pages-tef": true, "photoslibrary": true,
	"playground": true, "playgroundbook": true, "rtfd": true, "sparsebundle": true, "template": true,
	"textbundle": true, "xcodeproj": true, "xcworkspace": true,
}

// MayBePackage reports whether the item has the extension of a package. Whether
// it is one, and its size, is then only known after its content was opened.
func (i *Item) MayBePackage() bool {
	_, extension := splitName(i.Name)
	return !i.Folder && packageExtensions[strings.ToLower(extension)]
}

// Shared reports whether another account owns the item.
func (i *Item) Shared() bool {
	kind, _, _ := api.DeconstructDriveID(i.ID)
	return len(i.share) > 0 || strings.Contains(kind, "SHARED")
}

// Owner returns the name of the account that shares the item or, if the service
// reports none, the record name of the account.
func (i *Item) Owner() string { return ownerOf(i.owner, i.share) }

// ownerName returns the name in the description of an owner, or "". The fields
// are those in https://github.com/mandarons/icloud-docker/issues/113.
func ownerName(description json.RawMessage) string {
	var owner struct {
		First string `json:"firstName"`
		Last  string `json:"lastName"`
	}
	_ = json.Unmarshal(description, &owner) // without a name, the record name is used
	return strings.TrimSpace(owner.First + " " + owner.Last)
}

// ownerOf returns name or, if it is empty, the record name in a share.
func ownerOf(name string, share json.RawMessage) string {
	var described struct {
		Zone struct {
			Owner string `json:"ownerRecordName"`
		} `json:"zoneID"`
	}
	if name == "" && json.Unmarshal(share, &described) == nil {
		name = described.Zone.Owner
	}
	return name
}

// parentDoc returns the document id of the folder of the item, or "" if the
// response has none.
func (d *driveItem) parentDoc() string { return api.GetDocIDFromDriveID(string(d.ParentID)) }

// inTrash reports whether the item is in the Trash according to the response.
func (d *driveItem) inTrash() bool { return d.parentDoc() == trashID }

// itemsResponse is the response of the Drive host to a call about items.
type itemsResponse struct {
	Items   []driveItem `json:"items"`
	Folders []driveItem `json:"folders"`
}

// itemStatus is the error for an item that the service refuses within a response
// whose own status is a success.
type itemStatus struct {
	status string
}

// isDefinite reports whether the refusal is definite, so that the change is not
// tried again. Another status that users have seen is "UNKNOWN", after which
// rclone repeats the call or checks the result.
func (s *itemStatus) isDefinite() bool {
	text := strings.ToUpper(s.status)
	for _, word := range []string{"EXIST", "DENIED", "FORBIDDEN", "INVALID", "QUOTA"} {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}

func (s *itemStatus) Error() string {
	if plain := apierr.PlainText(s.status); plain != "" {
		return "the service responded with " + plain
	}
	return "the service refused the item"
}

// only returns the item of a response about one item. If its status is not a
// success, the error is an *itemStatus.
func only(items []driveItem) (*driveItem, error) {
	if len(items) != 1 {
		return nil, apierr.Damaged("the response about one item has " + strconv.Itoa(len(items)))
	}
	switch status := items[0].Status; status {
	case statusOK:
		return &items[0], nil
	case "":
		return nil, apierr.Damaged("the response about one item has no status")
	default:
		return nil, &itemStatus{status: string(status)}
	}
}
