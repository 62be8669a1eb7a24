package drive

import (
	"context"
	"encoding/json"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
)

// savedFile is the description of a file, with which a later process can read the
// file without listing its folder.
type savedFile struct {
	ID       string `json:"id"`
	ItemID   string `json:"item,omitempty"`
	Parent   string `json:"parent"`
	ETag     string `json:"etag"`
	Name     string `json:"name"`
	Size     int64  `json:"size"`
	Modified int64  `json:"modified"` // seconds since 1970
}

// Describe returns the description of a file for Described, on one line. It returns
// "" for a file whose description would not suffice to read it.
func (d *Drive) Describe(it *Item) string {
	if it.Shared() || d.IsPackage(it) || it.MayBePackage() || it.Size < 0 || it.Shown != it.Name {
		return ""
	}
	saved, err := json.Marshal(savedFile{
		ID: it.ID, ItemID: it.itemID, Parent: it.Parent, ETag: it.ETag, Name: it.Name, Size: it.Size,
		Modified: it.Modified.Unix(),
	})
	if err != nil { // impossible for strings and numbers
		return ""
	}
	return string(saved)
}

// Described returns the file with a description of Describe, without a request.
func Described(description string) (*Item, error) {
	var saved savedFile
	if err := json.Unmarshal([]byte(description), &saved); err != nil || saved.ID == "" || saved.Name == "" {
		return nil, apierr.Damaged("the stored description of a file cannot be read")
	}
	return &Item{
		ID: saved.ID, itemID: saved.ItemID, Parent: saved.Parent, ETag: saved.ETag, Name: saved.Name, Shown: saved.Name,
		Size: saved.Size, Modified: time.Unix(saved.Modified, 0), Files: -1, Children: -1,
	}, nil
}

// CheckUnchanged returns an error with KindChanged unless the file is still in its
// folder in this version. on is the path of the file in messages.
func (d *Drive) CheckUnchanged(ctx context.Context, it *Item, on string) error {
	if !d.unchanged(ctx, it) {
		return apierr.New(apierr.KindChanged, "find", on, "it was changed, moved or deleted in the meantime")
	}
	return nil
}
