// Package backends links backends into the library: by default the few that a backup
// of iCloud needs, and with the build tag all_backends all backends of rclone.
package backends

import (
	"fmt"

	_ "plakar-icloud/librclone/backend/icloud"       // iCloud Drive, in place of rclone's own
	_ "plakar-icloud/librclone/backend/icloudphotos" // iCloud Photos

	"github.com/rclone/rclone/fs"
)

// init makes "iclouddrive", the name of rclone's own backend, open ours, so that a
// configuration of rclone can be used.
func init() {
	own, rclones := find("icloud"), find("iclouddrive")
	rclones.NewFs, rclones.Options = own.NewFs, own.Options
}

func find(name string) *fs.RegInfo {
	info, err := fs.Find(name)
	if err != nil { // impossible, because both are imported
		panic(fmt.Sprintf("backends: %v", err))
	}
	return info
}
