// Package backends links rclone's backends into the library: by default the few
// that an iCloud backup needs, and all of them with the build tag all_backends.
package backends

import (
	"fmt"

	_ "plakar-icloud/librclone/backend/icloud"       // iCloud Drive, in place of rclone's own
	_ "plakar-icloud/librclone/backend/icloudphotos" // iCloud Photos, which the former opens

	"github.com/rclone/rclone/fs"
)

// In a configuration made by rclone, "iclouddrive" stands for our backend too.
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
