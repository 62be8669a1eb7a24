//go:build servers && !all_backends

package backends

import (
	// Not in the small package: see Cargo.toml.
	_ "github.com/rclone/rclone/backend/s3"
	_ "github.com/rclone/rclone/backend/sftp"
	_ "github.com/rclone/rclone/backend/webdav"
)
