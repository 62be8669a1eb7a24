package remote

import "github.com/rclone/rclone/lib/encoder"

// standIns are the characters of real names for which rclone's own form of a
// name has others: control characters and DEL. A caller sees the real ones. The
// stand-ins for "/", "." and "..", which are no names in a path, stay.
const standIns = encoder.EncodeCtl | encoder.EncodeDel

// outward makes a path of rclone's the caller's.
func outward(path string) string { return standIns.Decode(path) }

// inward makes a path of the caller's rclone's.
func inward(path string) string { return standIns.Encode(path) }
