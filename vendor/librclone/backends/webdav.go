//go:build webdav && !all_backends

package backends

import (
	_ "github.com/rclone/rclone/backend/webdav" // not in packages: see Cargo.toml
)
