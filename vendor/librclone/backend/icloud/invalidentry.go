package icloud

import (
	"context"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"

	"github.com/rclone/rclone/fs"
)

// InvalidEntry represents an item of a listing that cannot be used. Only
// ListFolders returns such entries; List and ListR fail instead.
type InvalidEntry struct {
	remote string
	err    error
}

// Invalid returns why the item cannot be used.
func (e *InvalidEntry) Invalid() error { return e.err }

// Fs implements fs.DirEntry.
func (e *InvalidEntry) Fs() fs.Info { return fs.Unknown }

// String implements fs.DirEntry.
func (e *InvalidEntry) String() string { return e.remote }

// Remote implements fs.DirEntry. It is the path of the folder for an item whose
// name cannot be part of a path.
func (e *InvalidEntry) Remote() string { return e.remote }

// ModTime implements fs.DirEntry.
func (e *InvalidEntry) ModTime(context.Context) time.Time { return time.Time{} }

// Size implements fs.DirEntry.
func (e *InvalidEntry) Size() int64 { return -1 }

// firstInvalid returns why the first invalid entry cannot be used.
func firstInvalid(entries fs.DirEntries) error {
	for _, entry := range entries {
		if invalid, ok := entry.(*InvalidEntry); ok {
			return apierr.About(invalid.err, "list", invalid.remote)
		}
	}
	return nil
}
