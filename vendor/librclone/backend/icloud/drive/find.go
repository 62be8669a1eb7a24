package drive

import (
	"context"
	"errors"
	"path"

	"plakar-icloud/librclone/backend/icloud/apierr"

	"github.com/rclone/rclone/fs"
)

// Find returns the item with a path. It returns fs.ErrorObjectNotFound if there is
// none. on is the path in messages.
func (d *Drive) Find(ctx context.Context, names []string, on string) (*Item, error) {
	if len(names) == 0 {
		return nil, fs.ErrorIsDir
	}
	name := names[len(names)-1]
	begun := d.folders.now()
	for try := 1; ; try++ {
		parent, err := d.walk(ctx, names[:len(names)-1], false)
		if errors.Is(err, fs.ErrorDirNotFound) {
			return nil, fs.ErrorObjectNotFound
		}
		if err != nil {
			return nil, err
		}
		if err := d.pending.waitFor(ctx, nameIn(parent, name)); err != nil {
			return nil, err
		}
		it, err := d.identify(ctx, parent, name, begun)
		if isGone(err) && err != fs.ErrorObjectNotFound {
			if err := d.stillListed(ctx, try, apierr.About(err, "list", parent.path)); err != nil {
				return nil, err
			}
			d.folders.forget(parent.parent) // its listing has the folder that is gone
			continue
		}
		return it, apierr.About(err, "find", on)
	}
}

// Latest returns the item that now has the name of it, in the folder in which it
// was listed. Unlike Find, it does not use the path, whose case may differ. gone
// reports whether the folder no longer exists.
func (d *Drive) Latest(ctx context.Context, it *Item, on string) (now *Item, gone bool, err error) {
	now, err = d.identify(ctx, folderOf(it, on), it.Shown, d.folders.now())
	if isGone(err) && err != fs.ErrorObjectNotFound {
		return nil, true, nil
	}
	return now, false, apierr.About(err, "find", on)
}

// folderOf returns the folder in which an item with the path on was listed.
func folderOf(it *Item, on string) place { return place{id: it.Parent, path: path.Dir(on)} }
