package remote

import (
	"strings"

	"github.com/rclone/rclone/lib/encoder"
)

// standIns are the characters of real names for which rclone's own form of a
// name has others: control characters and DEL. A caller sees the real ones. The
// stand-ins for "/", "." and "..", which are no names in a path, stay, and so
// does that for NUL, which cannot be in a path.
const standIns = encoder.EncodeCtl | encoder.EncodeDel

const (
	nul       = "\x00"
	nulsProxy = "␀"
)

// outward makes a path of rclone's the caller's.
func outward(path string) string {
	return strings.ReplaceAll(standIns.Decode(path), nul, nulsProxy)
}

// inward makes a path of the caller's rclone's.
func inward(path string) string {
	return standIns.Encode(strings.ReplaceAll(path, nulsProxy, nul))
}
