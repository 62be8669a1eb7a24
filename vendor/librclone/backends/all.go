//go:build all_backends

package backends

import (
	_ "github.com/rclone/rclone/backend/all" // every backend of rclone
)
