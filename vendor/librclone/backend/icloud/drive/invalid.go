package drive

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"plakar-icloud/librclone/backend/icloud/apierr"
)

// InvalidItem is an item of a listing that cannot be used, because the service
// describes it wrongly. The other items of its folder can be used.
type InvalidItem struct {
	Name string // in the service's form; "" if there is no usable name
	Err  error
}

// maxFileSize is the largest accepted size of a file in bytes. It is far beyond
// any storage plan of Apple.
const maxFileSize = 1 << 50

// listedItem checks an item of a listing and converts it. decoded is the error of
// decoding it, or nil.
func listedItem(received *driveItem, decoded error) (*Item, *InvalidItem) {
	var wrongType *json.UnmarshalTypeError
	switch {
	case errors.As(decoded, &wrongType) && wrongType.Field == "":
		return nil, newInvalidItem("", "an item that is not a JSON object")
	case decoded != nil: // the name may be incomplete
		return nil, newInvalidItem("", "an item with a member of the wrong type")
	}
	name := received.fullName()
	it, err := newItem(received)
	var typed *apierr.Error
	if errors.As(err, &typed) {
		return nil, newInvalidItem(name, typed.Why)
	}
	if why := invalidBecause(name, received.Size); why != "" {
		return nil, newInvalidItem(name, why)
	}
	return it, nil
}

// invalidBecause returns why an item with this name and size is invalid, or "".
func invalidBecause(name string, size *number) string {
	switch {
	case name == "":
		return "an item without a name"
	case strings.Contains(name, "/"):
		return fmt.Sprintf("an item whose name %q contains a slash", name)
	case size.isUnreadable():
		return "an item whose size is not a number of bytes"
	case size != nil && (*size < 0 || *size > maxFileSize):
		return fmt.Sprintf("an item with a size of %d bytes", *size)
	}
	return ""
}

func newInvalidItem(name, what string) *InvalidItem {
	e := apierr.New(apierr.KindDamaged, "", "", "the service lists "+what).Advise("rename or delete the item in iCloud Drive")
	e.Final = true
	if strings.Contains(name, "/") {
		name = ""
	}
	return &InvalidItem{Name: name, Err: e}
}

// invalidNamed returns the error of the invalid item with a name, or nil if there
// is none.
func invalidNamed(items []*InvalidItem, name string) error {
	key := nameKey(name)
	at := slices.IndexFunc(items, func(it *InvalidItem) bool { return it.Name != "" && nameKey(it.Name) == key })
	if at < 0 {
		return nil
	}
	return items[at].Err
}
