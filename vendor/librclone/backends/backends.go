// Package backends links rclone's backends into the library: the few that an
// iCloud backup needs by default, all of them with the build tag all_backends.
package backends
