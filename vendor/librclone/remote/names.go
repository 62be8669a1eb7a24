package remote

import (
	"strings"

	"github.com/rclone/rclone/lib/encoder"
)

// standIns are the characters that rclone replaces in its own form of a name:
// control characters and DEL. A caller gets the real characters. The
// replacements of "/", "." and "..", which cannot be names in a path, are kept,
// and so is that of NUL, which cannot occur in a path.
const standIns = encoder.EncodeCtl | encoder.EncodeDel

const (
	nul       = "\x00"
	nulsProxy = "␀"
)

// outward converts a path of rclone into the form of the caller.
func outward(path string) string {
	return strings.ReplaceAll(standIns.Decode(path), nul, nulsProxy)
}

// inward converts a path of the caller into the form of rclone.
func inward(path string) string {
	return standIns.Encode(strings.ReplaceAll(path, nulsProxy, nul))
}
