package drive

import (
	"context"
	"errors"
	"path"

	"plakar-icloud/librclone/backend/icloud/apierr"

	"github.com/rclone/rclone/fs"
)

// MakeFolders creates a folder and the missing folders above it.
func (d *Drive) MakeFolders(ctx context.Context, names []string) error {
	_, err := d.walk(ctx, names, true)
	return err
}

// RemoveFolder removes an empty folder. It lists the folder first and moves it to
// the Trash only if it has not changed since, so that no item in it is ever
// deleted.
func (d *Drive) RemoveFolder(ctx context.Context, names []string) error {
	unknown := false // an earlier attempt may have removed the folder
	for attempt := 1; ; attempt++ {
		in, at, err := d.folderToDelete(ctx, names)
		if unknown && err == fs.ErrorDirNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		if err := at.writable("remove folder"); err != nil {
			return err
		}
		listed := d.listOne(ctx, at)
		switch {
		case isGone(listed.err) && unknown:
			return nil
		case isGone(listed.err):
			if err := d.stillListed(ctx, attempt, listed.err); err != nil {
				return err
			}
			d.folders.forget(in.id)
			continue
		case listed.err != nil:
			return listed.err
		case len(listed.items) > 0 || len(listed.invalid) > 0 || listed.short != nil || listed.self.Children.Or(0) > 0:
			return fs.ErrorDirectoryNotEmpty
		}
		empty := *at.item
		if listed.self.ETag != "" {
			empty.ETag = string(listed.self.ETag)
		}
		_, err = d.trashUnchanged(ctx, &empty)
		if err == nil {
			d.folders.drop(in.id, empty.ID)
			d.folders.forget(empty.ID)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var status *itemStatus
		temporary := errors.As(err, &status) && !status.isDefinite()
		if !temporary && !isGone(err) && !apierr.HasKind(err, apierr.KindChanged) && !apierr.OutcomeUnknown(err) {
			return itemError("remove folder", at.path, err)
		}
		if isGone(err) {
			err = errContradiction
		}
		if waitErr := d.Service.Retries.Wait(ctx, attempt+1, err); waitErr != nil {
			return itemError("remove folder", at.path, waitErr)
		}
		unknown = true
		d.folders.forget(in.id) // so that the next look-up shows whether the folder is gone
	}
}

// folderToDelete finds a folder and its parent. It fails for the root of the drive.
func (d *Drive) folderToDelete(ctx context.Context, names []string) (in, at place, err error) {
	if len(names) == 0 {
		return place{}, place{}, apierr.New(apierr.KindDenied, "delete", "/", "the root of the drive cannot be deleted")
	}
	at, err = d.walk(ctx, names, false)
	if err != nil {
		return place{}, place{}, err
	}
	return place{id: at.parent, path: ParentOf(at.path)}, at, nil
}

// Purge deletes a folder and its contents with one call.
func (d *Drive) Purge(ctx context.Context, names []string) error {
	in, at, err := d.folderToDelete(ctx, names)
	if err != nil {
		return err
	}
	return d.trash(ctx, in, at.item)
}

// ParentOf returns the path of the folder of an item, "" for the root.
func ParentOf(remote string) string {
	dir := path.Dir(remote)
	if dir == "." || dir == "/" {
		return ""
	}
	return dir
}
