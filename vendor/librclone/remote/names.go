package remote

import (
	"strings"

	"github.com/rclone/rclone/lib/encoder"
)

// standIns replaces control characters and DEL by stand-ins, as rclone does in its
// own form of a name. Callers get the real characters. They also get the stand-ins
// of NUL, "/", "." and "..", which cannot be part of a name.
const standIns = encoder.EncodeCtl | encoder.EncodeDel

const (
	nul        = "\x00"
	nulStandIn = "␀"
)

// outward converts a path of rclone into the form of the caller.
func outward(path string) string {
	return strings.ReplaceAll(standIns.Decode(path), nul, nulStandIn)
}

// inward converts a path of the caller into the form of rclone.
func inward(path string) string {
	return standIns.Encode(strings.ReplaceAll(path, nulStandIn, nul))
}
