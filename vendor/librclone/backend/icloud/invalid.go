package icloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rclone/rclone/fs"
)

// invalidItem is an item of a listing that cannot be used because of what the
// service reports about it. The other items of its folder can be used.
type invalidItem struct {
	name string // as the service has it; "" when it is no name
	err  *Error
}

// largestSize is the largest size of a file that is accepted, in bytes. It is
// far beyond any storage plan of Apple.
const largestSize = 1 << 50

// listedItem checks an item of a listing. decoded is the error of decoding it,
// if any.
func listedItem(answered *driveItem, decoded error) (*item, *invalidItem) {
	var wrongType *json.UnmarshalTypeError
	switch {
	case errors.As(decoded, &wrongType) && wrongType.Field == "":
		return nil, newInvalidItem("", "something that is no object")
	case decoded != nil: // the name may be missing or in part only
		return nil, newInvalidItem("", "an item with a member of the wrong type")
	}
	name := answered.fullName()
	it, err := newItem(answered)
	var typed *Error
	if errors.As(err, &typed) {
		return nil, newInvalidItem(name, typed.why)
	}
	if why := invalidBecause(name, answered.Size); why != "" {
		return nil, newInvalidItem(name, why)
	}
	return it, nil
}

// invalidBecause returns what is wrong with an item of this name and size, or
// "".
func invalidBecause(name string, size *number) string {
	switch {
	case name == "":
		return "an item without a name"
	case strings.Contains(name, "/"):
		return fmt.Sprintf("an item whose name %q holds a slash", name)
	case size.isUnreadable():
		return "an item whose size is no number of bytes"
	case size != nil && (*size < 0 || *size > largestSize):
		return fmt.Sprintf("an item with a size of %d bytes", *size)
	}
	return ""
}

func newInvalidItem(name, what string) *invalidItem {
	e := fail(KindDamaged, "", "", "the service lists "+what).with("rename or delete the item in iCloud Drive")
	e.final = true
	if strings.Contains(name, "/") {
		name = ""
	}
	return &invalidItem{name: name, err: e}
}

// invalidNamed returns why the item of a name cannot be used, or nil if no
// invalid item has the name.
func invalidNamed(items []*invalidItem, name string) error {
	key := nameKey(name)
	at := slices.IndexFunc(items, func(it *invalidItem) bool { return it.name != "" && nameKey(it.name) == key })
	if at < 0 {
		return nil
	}
	return items[at].err
}

// InvalidEntry represents an item of a listing that cannot be used. Only
// ListFolders returns such entries; List and ListR fail instead.
type InvalidEntry struct {
	remote string
	err    error
}

// Invalid returns why the item cannot be used.
func (e *InvalidEntry) Invalid() error { return e.err }

// Fs implements fs.DirEntry.
func (e *InvalidEntry) Fs() fs.Info { return fs.Unknown }

// String implements fs.DirEntry.
func (e *InvalidEntry) String() string { return e.remote }

// Remote implements fs.DirEntry. It is the path of the folder for an item whose
// name cannot be part of a path.
func (e *InvalidEntry) Remote() string { return e.remote }

// ModTime implements fs.DirEntry.
func (e *InvalidEntry) ModTime(context.Context) time.Time { return time.Time{} }

// Size implements fs.DirEntry.
func (e *InvalidEntry) Size() int64 { return -1 }

// firstInvalid returns why the first invalid entry cannot be used.
func firstInvalid(entries fs.DirEntries) error {
	for _, entry := range entries {
		if invalid, ok := entry.(*InvalidEntry); ok {
			return about(invalid.err, "list", invalid.remote)
		}
	}
	return nil
}
