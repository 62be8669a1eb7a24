package icloud

import (
	"context"
	"path"

	"plakar-icloud/librclone/backend/icloud/apierr"

	"github.com/rclone/rclone/fs"
)

// Copy implements fs.Copier if the option server_side_copy is set.
func (f *Fs) Copy(ctx context.Context, src fs.Object, remote string) (fs.Object, error) {
	o, ok := src.(*Object)
	if !ok || o.fs.drive != f.drive {
		return nil, fs.ErrorCantCopy
	}
	copied, err := f.drive.Copy(ctx, o.state.Load(), f.names(remote), path.Join(f.root, remote))
	if err != nil {
		return nil, err
	}
	return f.newObject(remote, copied), nil
}

// Move implements fs.Mover. An existing file at the new path is moved to the
// Trash.
func (f *Fs) Move(ctx context.Context, src fs.Object, remote string) (fs.Object, error) {
	o, ok := src.(*Object)
	if !ok || o.fs.drive != f.drive {
		return nil, fs.ErrorCantMove
	}
	names := f.names(remote)
	if len(names) == 0 {
		return nil, fs.ErrorCantMove
	}
	moved, err := f.drive.MoveFile(ctx, o.state.Load(), o.path(), names)
	if err != nil {
		return nil, err
	}
	return f.newObject(remote, moved), nil
}

// DirMove implements fs.DirMover.
func (f *Fs) DirMove(ctx context.Context, src fs.Fs, srcRemote, dstRemote string) error {
	from, ok := src.(*Fs)
	if !ok || from.drive != f.drive {
		return fs.ErrorCantDirMove
	}
	fromNames, toNames := from.names(srcRemote), f.names(dstRemote)
	if len(fromNames) == 0 || len(toNames) == 0 {
		return fs.ErrorCantDirMove
	}
	if _, err := f.find(ctx, dstRemote); err == nil {
		return fs.ErrorDirExists
	} else if !apierr.HasKind(err, apierr.KindNotFound) {
		return err
	}
	return f.drive.MoveFolder(ctx, fromNames, toNames)
}

// About implements fs.Abouter with the storage of the account, which Drive shares
// with other services.
func (f *Fs) About(ctx context.Context) (*fs.Usage, error) {
	used, total, err := f.drive.Storage(ctx)
	if err != nil {
		return nil, apierr.About(err, "get the quota of", f.name)
	}
	return &fs.Usage{
		Total: fs.NewUsageValue(total),
		Used:  fs.NewUsageValue(used),
		Free:  fs.NewUsageValue(max(0, total-used)),
	}, nil
}
