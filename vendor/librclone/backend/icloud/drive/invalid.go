package drive

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"plakar-icloud/librclone/backend/icloud/apierr"
)

// InvalidItem is an item of a listing that cannot be used because of what the
// service reports about it. The other items of its folder can be used.
type InvalidItem struct {
	Name string // as the service has it; "" when it is no name
	Err  error
}

// maxFileSize is the largest size of a file that is accepted, in bytes. It is
// far beyond any storage plan of Apple.
const maxFileSize = 1 << 50

// listedItem checks an item of a listing. decoded is the error of decoding it,
// if any.
func listedItem(answered *driveItem, decoded error) (*Item, *InvalidItem) {
	var wrongType *json.UnmarshalTypeError
	switch {
	case errors.As(decoded, &wrongType) && wrongType.Field == "":
		return nil, newInvalidItem("", "something that is no object")
	case decoded != nil: // the name may be missing or in part only
		return nil, newInvalidItem("", "an item with a member of the wrong type")
	}
	name := answered.fullName()
	it, err := newItem(answered)
	var typed *apierr.Error
	if errors.As(err, &typed) {
		return nil, newInvalidItem(name, typed.Why)
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

// invalidNamed returns why the item of a name cannot be used, or nil if no
// invalid item has the name.
func invalidNamed(items []*InvalidItem, name string) error {
	key := nameKey(name)
	at := slices.IndexFunc(items, func(it *InvalidItem) bool { return it.Name != "" && nameKey(it.Name) == key })
	if at < 0 {
		return nil
	}
	return items[at].Err
}
