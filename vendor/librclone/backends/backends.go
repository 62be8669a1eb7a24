// Package backends links rclone's backends into the library: the few that an
// iCloud backup needs by default, all of them with the build tag all_backends.
package backends

import (
	"fmt"

	_ "plakar-icloud/librclone/backend/icloud" // iCloud Drive, in place of rclone's own

	"github.com/rclone/rclone/fs"
)

// A configuration made by rclone says "iclouddrive" and means our backend too.
func init() {
	own, rclones := find("icloud"), find("iclouddrive")
	rclones.NewFs, rclones.Options = own.NewFs, own.Options
}

func find(name string) *fs.RegInfo {
	info, err := fs.Find(name)
	if err != nil { // the import above is gone
		panic(fmt.Sprintf("backends: %v", err))
	}
	return info
}
