package drive

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path"

	"plakar-icloud/librclone/backend/icloud/apierr"

	"github.com/rclone/rclone/fs"
)

// MoveFile moves a file with the path on to another path. An existing file at the
// new path is moved to the Trash.
func (d *Drive) MoveFile(ctx context.Context, it *Item, on string, names []string) (*Item, error) {
	to, err := d.walk(ctx, names[:len(names)-1], true)
	if err != nil {
		return nil, err
	}
	return d.relocate(ctx, folderOf(it, on), it, to, names[len(names)-1])
}

// MoveFolder moves a folder to a path at which there is no item.
func (d *Drive) MoveFolder(ctx context.Context, fromNames, toNames []string) error {
	in, at, err := d.folderToDelete(ctx, fromNames)
	if err != nil {
		return err
	}
	to, err := d.walk(ctx, toNames[:len(toNames)-1], true)
	if err != nil {
		return err
	}
	_, err = d.relocate(ctx, in, at.item, to, toNames[len(toNames)-1])
	return err
}

// relocate moves an item to a folder and a name. A file that already has the name
// is moved to the Trash. If another device takes the name in the meantime, its item
// is kept, and the moved item is moved back.
func (d *Drive) relocate(ctx context.Context, from place, it *Item, to place, name string) (*Item, error) {
	on := path.Join(to.path, name)
	if err := checkName("move", on, name); err != nil {
		return nil, err
	}
	if err := d.pending.waitFor(ctx, nameIn(to, name)); err != nil {
		return nil, err
	}
	was, before := it, new(nameHolder)
	if err := before.find(ctx, d, to, name); err != nil {
		return nil, err
	}
	holder := before.old
	if holder != nil && holder.ID != it.ID && (holder.Folder || it.Folder) {
		return nil, apierr.New(apierr.KindExists, "move", on, "something else has this name").Matching(fs.ErrorIsDir)
	}
	if from.id != to.id {
		moved, err := d.move(ctx, from, it, to)
		if apierr.HasKind(err, apierr.KindExists) {
			// The item's present name is taken in the new folder, so it is
			// moved under another one.
			if it, err = d.rename(ctx, from, it, travelName(it.Name, rand.Uint32())); err != nil {
				return nil, err
			}
			moved, err = d.move(ctx, from, it, to)
		}
		if err != nil {
			return nil, err
		}
		it = moved
		if sameName(it.Name, name) {
			return it, nil
		}
	}
	if holder != nil && holder.ID != it.ID {
		if err := d.retire(ctx, to, holder, name); err != nil {
			return nil, d.moveBack(ctx, from, was, to, it, err)
		}
	}
	renamed, err := d.rename(ctx, to, it, name)
	switch {
	case err == nil && nameKey(renamed.Name) == nameKey(name):
		return renamed, nil
	case err == nil:
		it = renamed
	case !apierr.HasKind(err, apierr.KindExists):
		return nil, d.refused(to, name, err)
	}
	return nil, d.moveBack(ctx, from, was, to, it, apierr.New(apierr.KindExists, "move", on, "another device or program has taken this name in the meantime"))
}

// moveBack moves an item back to the folder and the name that it had before a
// failed move, and returns the failure of the move.
func (d *Drive) moveBack(ctx context.Context, from place, was *Item, to place, it *Item, failed error) error {
	var err error
	if from.id != to.id {
		it, err = d.move(ctx, to, it, from)
	}
	if err == nil && !sameName(it.Name, was.Name) {
		_, err = d.rename(ctx, from, it, was.Name)
	}
	if err != nil {
		fs.LogPrintf(fs.LogLevelWarning, nil, "icloud: %q could not be moved back to %q: %v",
			path.Join(to.path, it.Name), path.Join(from.path, was.Name), err)
	}
	return failed
}

// travelName returns a temporary name for an item that is moved to a folder in
// which its present name is taken. It is not the name of a leftover.
func travelName(name string, random uint32) string {
	stem, extension := splitName(name)
	if extension != "" {
		extension = "." + extension
	}
	return fmt.Sprintf("%s (moving %08x)%s", stem, random, extension)
}

// Remove moves a file and the leftovers of its replacements to the Trash.
func (d *Drive) Remove(ctx context.Context, it *Item, on string) error {
	in := folderOf(it, on)
	if err := d.pending.waitFor(ctx, nameIn(in, it.Shown)); err != nil {
		return err
	}
	for _, left := range d.folders.leftoversOf(in.id, it.Shown) {
		if left.ID != it.ID {
			if err := d.trash(ctx, in, left); err != nil {
				return err
			}
		}
	}
	return d.trash(ctx, in, it)
}
