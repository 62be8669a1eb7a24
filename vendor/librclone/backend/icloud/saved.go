package icloud

import (
	"context"

	"plakar-icloud/librclone/backend/icloud/drive"

	"github.com/rclone/rclone/fs"
)

// Save returns the description of the file for Fs.Saved, on one line. It returns ""
// for a file whose description would not suffice to read it.
func (o *Object) Save() string { return o.fs.drive.Describe(o.state.Load()) }

// Saved returns the file with a description of Object.Save, without a request. If
// the file was changed or deleted since, opening it fails, as with an old listing.
func (f *Fs) Saved(remote, description string) (fs.Object, error) {
	it, err := drive.Described(description)
	if err != nil {
		return nil, err
	}
	return f.newObject(remote, it), nil
}

// Unchanged returns an error with KindChanged unless the file is still in its
// folder in the version of the object.
func (o *Object) Unchanged(ctx context.Context) error {
	return o.fs.drive.CheckUnchanged(ctx, o.state.Load(), o.path())
}
