package icloud

import (
	"fmt"
	"strings"
	"sync"

	"github.com/rclone/rclone/fs"
)

// substitutes holds the names that the service has refused, with the names that
// things are stored under instead: those of rclone's encoding. Which characters
// the service refuses is not known, so every name is tried as it is first.
type substitutes struct {
	mu sync.Mutex
	of map[string]string
}

// inUse returns the name under which something is stored or looked for.
func (s *substitutes) inUse(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if used, ok := s.of[name]; ok {
		return used
	}
	return name
}

// learn records that a name was refused and its substitute taken.
func (s *substitutes) learn(name, used string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[string]string{}
	}
	s.of[name] = used
}

// substituteFor returns the substitute for a name that was refused as used; ""
// if there is none, or it is the one that was refused.
func (d *drive) substituteFor(name, used string, err error) string {
	if !hasKind(err, KindRefusedName) {
		return ""
	}
	if substitute := d.encoding.Encode(name); substitute != name && substitute != used {
		return substitute
	}
	return ""
}

// tell warns that something is not stored under its own name.
func (d *drive) tell(on, used string) {
	fs.LogPrintf(fs.LogLevelWarning, nil, "icloud: %q is stored as %q, because the service refuses the name", on, used)
}

// refused names the likely reason when the service refuses to make something. A
// name is one if there is something unusual about it.
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
