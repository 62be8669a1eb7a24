package drive

import (
	"fmt"
	"strings"

	"plakar-icloud/librclone/backend/icloud/apierr"
)

// refused adds the likely reason to the error if the service refuses to create an
// item: a folder of another account, or an unusual name.
func (d *Drive) refused(in place, name string, err error) error {
	if !apierr.HasKind(err, apierr.KindUnsupported) || apierr.IsFinal(err) {
		return err
	}
	if in.item != nil && in.item.Shared() {
		return apierr.New(apierr.KindDenied, "", "", "the service refuses changes here, below a folder that another account shares").From(err)
	}
	why := ""
	switch {
	case len(name) > maxNameLength:
		why = fmt.Sprintf("the length of the name, %d bytes", len(name))
	case d.encoding.Encode(name) != name, strings.ContainsAny(name, `:?*"<>|`), strings.HasPrefix(name, "."):
		why = "a character in the name"
	default:
		return err
	}
	return apierr.New(apierr.KindRefusedName, "", "", "the service refuses it, most likely for "+why).From(err).Advise("give it another name")
}
