package icloud

import (
	"fmt"
	"strings"
)

// refused adds the likely reason if the service refuses to create an item. The
// name is a likely reason if it is unusual.
func (d *drive) refused(in place, name string, err error) error {
	if !hasKind(err, KindUnsupported) || isFinal(err) {
		return err
	}
	if in.item != nil && in.item.shared() {
		return fail(KindDenied, "", "", "the service refuses changes here, below a folder that another account shares").from(err)
	}
	why := ""
	switch {
	case len(name) > longestName:
		why = fmt.Sprintf("the length of the name, %d bytes", len(name))
	case d.encoding.Encode(name) != name, strings.ContainsAny(name, `:?*"<>|`), strings.HasPrefix(name, "."):
		why = "a character in the name"
	default:
		return err
	}
	return fail(KindRefusedName, "", "", "the service refuses it, most likely for "+why).from(err).with("give it another name")
}
