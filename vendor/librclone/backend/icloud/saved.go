package icloud

import (
	"context"
	"encoding/json"
	"time"

	"github.com/rclone/rclone/fs"
)

// savedFile is the form in which the description of a file is stored, so that a
// later process can read the file without listing its folder.
type savedFile struct {
	ID       string `json:"id"`
	ItemID   string `json:"item,omitempty"`
	Parent   string `json:"parent"`
	ETag     string `json:"etag"`
	Name     string `json:"name"`
	Size     int64  `json:"size"`
	Modified int64  `json:"modified"` // seconds since 1970
}

// Save returns the description of the file for Fs.Saved, on one line, or "" for
// a file whose description does not suffice.
func (o *Object) Save() string {
	it := o.state.Load()
	if it.shared() || o.Size() < 0 || it.shown != it.name {
		return ""
	}
	saved, err := json.Marshal(savedFile{
		ID: it.id, ItemID: it.itemID, Parent: it.parent, ETag: it.etag, Name: it.name, Size: it.size,
		Modified: it.modified.Unix(),
	})
	if err != nil { // strings and numbers only
		return ""
	}
	return string(saved)
}

// Saved returns the file that Object.Save has described, without a request. If
// the file was changed or deleted since, opening it fails, as with an old
// listing.
func (f *Fs) Saved(remote, description string) (fs.Object, error) {
	var saved savedFile
	if err := json.Unmarshal([]byte(description), &saved); err != nil || saved.ID == "" || saved.Name == "" {
		return nil, damaged("the stored description of a file cannot be read")
	}
	return f.newObject(remote, &item{
		id: saved.ID, itemID: saved.ItemID, parent: saved.Parent, etag: saved.ETag, name: saved.Name, shown: saved.Name,
		size: saved.Size, modified: time.Unix(saved.Modified, 0), files: -1, children: -1,
	}), nil
}

// Unchanged returns an error of the kind KindChanged unless the file is known to
// be in its folder in the version that the object describes.
func (o *Object) Unchanged(ctx context.Context) error {
	if !o.fs.drive.unchanged(ctx, o.state.Load()) {
		return fail(KindChanged, "find", o.path(), "it was changed, moved or deleted in the meantime")
	}
	return nil
}
