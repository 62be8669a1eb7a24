package icloud

import (
	"fmt"
	"strings"
	"sync"

	"github.com/rclone/rclone/fs"
)

// substitutes has the names that the service has refused, with the names under
// which the items are stored instead: those of rclone's encoding. It is unknown
// which characters the service refuses, so every name is first tried unchanged.
type substitutes struct {
	mu sync.Mutex
	of map[string]string
}

// inUse returns the name under which an item is stored or looked up.
func (s *substitutes) inUse(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if used, ok := s.of[name]; ok {
		return used
	}
	return name
}

// learn records that a name was refused and its substitute accepted.
func (s *substitutes) learn(name, used string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[string]string{}
	}
	s.of[name] = used
}

// substituteFor returns the substitute for a name that was refused in the form
// used, or "" if there is none or it was itself refused.
func (d *drive) substituteFor(name, used string, err error) string {
	if !hasKind(err, KindRefusedName) {
		return ""
	}
	if substitute := d.encoding.Encode(name); substitute != name && substitute != used {
		return substitute
	}
	return ""
}

// tell warns that an item is stored under another name.
func (d *drive) tell(on, used string) {
	fs.LogPrintf(fs.LogLevelWarning, nil, "icloud: %q is stored as %q, because the service refuses the name", on, used)
}

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
