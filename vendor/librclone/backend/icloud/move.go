package icloud

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path"

	"github.com/rclone/rclone/fs"
)

// Move implements fs.Mover: by a move, a rename, or both. An existing file of
// the new name is moved to the Trash.
func (f *Fs) Move(ctx context.Context, src fs.Object, remote string) (fs.Object, error) {
	o, ok := src.(*Object)
	if !ok || o.fs.drive != f.drive {
		return nil, fs.ErrorCantMove
	}
	names := f.names(remote)
	if len(names) == 0 {
		return nil, fs.ErrorCantMove
	}
	to, err := f.drive.walk(ctx, names[:len(names)-1], true)
	if err != nil {
		return nil, err
	}
	moved, err := f.drive.relocate(ctx, o.folder(), o.state.Load(), to, names[len(names)-1])
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
	if _, err := f.lookup(ctx, dstRemote); err == nil {
		return fs.ErrorDirExists
	} else if !hasKind(err, KindNotFound) {
		return err
	}
	in, at, err := from.folderToDelete(ctx, srcRemote)
	if err != nil {
		return err
	}
	to, err := f.drive.walk(ctx, toNames[:len(toNames)-1], true)
	if err != nil {
		return err
	}
	_, err = f.drive.relocate(ctx, in, at.item, to, toNames[len(toNames)-1])
	return err
}

// relocate moves an item to a folder and a name. A file that had the name
// before is moved to the Trash. If another item took the name in the meantime,
// that item stays, and the moved item returns to its old place.
func (d *drive) relocate(ctx context.Context, from place, it *item, to place, name string) (*item, error) {
	on := path.Join(to.path, name)
	if err := checkName("move", on, name); err != nil {
		return nil, err
	}
	if err := d.pending.waitFor(ctx, nameIn(to, name)); err != nil {
		return nil, err
	}
	was, before := it, new(known)
	if err := before.learn(ctx, d, to, name); err != nil {
		return nil, err
	}
	holder := before.old
	if holder != nil && holder.id != it.id && (holder.folder || it.folder) {
		return nil, fail(KindExists, "move", on, "something else has this name").is(fs.ErrorIsDir)
	}
	if from.id != to.id {
		moved, err := d.move(ctx, from, it, to)
		if hasKind(err, KindExists) {
			// The item's present name is taken in the new folder, so it is
			// moved under another one.
			if it, err = d.rename(ctx, from, it, travelName(it.name, rand.Uint32())); err != nil {
				return nil, err
			}
			moved, err = d.move(ctx, from, it, to)
		}
		if err != nil {
			return nil, err
		}
		it = moved
		if sameName(it.name, name) {
			return it, nil
		}
	}
	if holder != nil && holder.id != it.id {
		if err := d.retire(ctx, to, holder, name); err != nil {
			return nil, d.moveBack(ctx, from, was, to, it, err)
		}
	}
	renamed, err := d.rename(ctx, to, it, name)
	switch {
	case err == nil && nameKey(renamed.name) == nameKey(name):
		return renamed, nil
	case err == nil:
		it = renamed
	case !hasKind(err, KindExists):
		return nil, d.refused(to, name, err)
	}
	return nil, d.moveBack(ctx, from, was, to, it, fail(KindExists, "move", on, "another device or program has taken this name in the meantime"))
}

// moveBack moves an item back to the folder and the name that it had before a
// failed move, and returns the failure of the move.
func (d *drive) moveBack(ctx context.Context, from place, was *item, to place, it *item, failed error) error {
	var err error
	if from.id != to.id {
		it, err = d.move(ctx, to, it, from)
	}
	if err == nil && !sameName(it.name, was.name) {
		_, err = d.rename(ctx, from, it, was.name)
	}
	if err != nil {
		fs.LogPrintf(fs.LogLevelWarning, nil, "icloud: %q could not be moved back to %q: %v",
			path.Join(to.path, it.name), path.Join(from.path, was.name), err)
	}
	return failed
}

// travelName returns a name for moving an item to a folder where its own name
// is taken. The name does not count as that of an upload under way.
func travelName(name string, random uint32) string {
	stem, extension := splitName(name)
	if extension != "" {
		extension = "." + extension
	}
	return fmt.Sprintf("%s (moving %08x)%s", stem, random, extension)
}

// remove moves a file to the Trash, together with unfinished replacements of
// it.
func (d *drive) remove(ctx context.Context, in place, it *item) error {
	if err := d.pending.waitFor(ctx, nameIn(in, it.shown)); err != nil {
		return err
	}
	for _, left := range d.folders.leftoversOf(in.id, it.shown) {
		if left.id != it.id {
			if err := d.trash(ctx, in, left); err != nil {
				return err
			}
		}
	}
	return d.trash(ctx, in, it)
}

// About implements fs.Abouter with the storage of the account, of which Drive
// uses a part.
func (f *Fs) About(ctx context.Context) (*fs.Usage, error) {
	type storage struct {
		Info *struct {
			Used  *number `json:"usedStorageInBytes"`
			Total *number `json:"totalStorageInBytes"`
		} `json:"storageUsageInfo"`
	}
	answer, err := fetch(ctx, f.drive.service, request{
		host: setupHost, method: http.MethodPost, path: "/storageUsageInfo", repeats: true,
	}, func(answer *storage) error {
		if answer.Info == nil || answer.Info.Used == nil || answer.Info.Total == nil {
			return damaged("an answer without the storage of the account")
		}
		return nil
	})
	if err != nil {
		return nil, about(err, "ask for the quota of", f.name)
	}
	used, total := int64(*answer.Info.Used), int64(*answer.Info.Total)
	return &fs.Usage{
		Total: fs.NewUsageValue(total),
		Used:  fs.NewUsageValue(used),
		Free:  fs.NewUsageValue(max(0, total-used)),
	}, nil
}
