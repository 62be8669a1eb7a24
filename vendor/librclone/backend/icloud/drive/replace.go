package drive

import (
	"context"
	"errors"
	"math/rand/v2"
	"path"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/leftovers"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/hash"
)

// A file is replaced in three steps: the new file is registered beside the old one
// under a special name (see leftoverMark), the old file is moved to the Trash, and
// the new file is renamed. At every moment, the folder contains the old or the new
// content in full. The second step sends the etag that the old file had when it was
// listed. So a version that another device has written since is never moved to the
// Trash: it is kept, the new file is withdrawn, and the upload fails.

// nameHolder is the item that had a name in a folder before an upload began. An item
// that appears later belongs to another device and is not changed.
type nameHolder struct {
	in   string // the id of the folder; "" while nothing is known
	old  *Item  // the item with that name, or nil
	like *Item  // an item whose name the service may treat as equal, or nil

	packaged bool // the upload is a package, so it may replace a package
}

// find looks up a name in a folder, at the first call only. Under a context of
// ExpectNew, it does not list the folder.
func (h *nameHolder) find(ctx context.Context, d *Drive, in place, name string) error {
	if h.in != "" {
		if h.in != in.id { // the folder was created again, so it had no item before
			h.old, h.like = nil, nil
		}
		return nil
	}
	if ctx.Value(newKey) != nil {
		got, _ := d.folders.find(in.id, name)
		h.in, h.old, h.like = in.id, got.exact, got.like
		return nil
	}
	got, err := d.lookup(ctx, in, name, func(found) bool { return true })
	if err != nil {
		return err
	}
	h.in, h.old, h.like = in.id, got.exact, got.like
	if h.like == nil {
		h.like = d.folders.findCoarsely(in.id, name)
	}
	return nil
}

// putDocument makes a document the file with a name in a folder.
func (d *Drive) putDocument(ctx context.Context, in place, before *nameHolder, name string, doc *document) (*Item, error) {
	if before.old != nil {
		return d.replace(ctx, in, before.old, name, doc)
	}
	made, err := d.register(ctx, in, name, doc)
	switch {
	case err == nil && nameKey(made.Name) == nameKey(name):
		d.tidy(ctx, in, name, made)
		return made, nil
	case err != nil && !apierr.HasKind(err, apierr.KindExists):
		return nil, err
	}
	// The name is taken: the service refused it or chose another one.
	if ctx.Value(newKey) != nil {
		if before.like != nil && foldKey(before.like.Shown) == foldKey(name) {
			d.foldsCase.Store(true)
		}
		if made != nil { // permanently, because nothing else is left of this upload
			if err := d.trash(Permanently(ctx), in, made); err != nil {
				fs.Debugf(nil, "icloud: an upload that was given up is left over: %v", err)
			}
		}
		return nil, taken(path.Join(in.path, name))
	}
	if before.like != nil {
		if before.like.Folder {
			err = folderInTheWay(path.Join(in.path, name))
		} else {
			if foldKey(before.like.Shown) == foldKey(name) {
				d.foldsCase.Store(true)
			}
			if made == nil {
				return d.replace(ctx, in, before.like, name, doc)
			}
			return d.background(ctx, in, name, made, func(ctx context.Context) (*Item, error) {
				return d.takeOver(ctx, in, before.like, made, name, nil)
			})
		}
	} else {
		err = newcomer(path.Join(in.path, name))
	}
	if made != nil {
		d.withdraw(ctx, in, made)
	}
	return nil, err
}

// taken returns the error for an upload under a context of ExpectNew whose name is
// taken.
func taken(on string) error {
	return apierr.Finally(apierr.New(apierr.KindExists, "upload", on, "an item has this name, or one that the service treats as equal").
		Advise("give it another name"))
}

// newcomer returns the error for an upload whose name another device has taken
// since the folder was listed.
func newcomer(on string) error {
	return apierr.Finally(apierr.New(apierr.KindExists, "upload", on, "another device or program has stored an item under this name in the meantime").
		Advise("that item is unchanged; upload again to replace it"))
}

// overwritten returns the error for the replacement of a file that another
// device changed after it was listed.
func overwritten(on string) error {
	return apierr.Finally(apierr.New(apierr.KindChanged, "replace", on, "another device or program has changed the file in the meantime").
		Advise("its version was kept and this one withdrawn; upload again to replace it"))
}

// replace replaces a file by a document.
func (d *Drive) replace(ctx context.Context, in place, old *Item, name string, doc *document) (*Item, error) {
	temporary := ReplacementName(name, d.folders.now(), rand.Uint32())
	mark := d.record(ctx, in, old, temporary, name, doc)
	made, err := d.register(ctx, in, temporary, doc)
	if err != nil {
		if certainlyRefused(err) {
			mark.Done()
		}
		return nil, err
	}
	return d.background(ctx, in, name, made, func(ctx context.Context) (*Item, error) {
		return d.takeOver(ctx, in, old, made, name, mark)
	})
}

// certainlyRefused reports whether the service did not make a document a file. Other
// refusals were seen in place of a success, or end a registration whose outcome could
// not be determined. A later process looks up the file then.
func certainlyRefused(err error) bool {
	if apierr.IsRepeated(err) {
		return false
	}
	switch apierr.KindOf(err) {
	case apierr.KindExists, apierr.KindQuota, apierr.KindRefusedName, apierr.KindRefusedPackage:
		return true
	}
	return false
}

// background runs the last steps of a replacement, which continue when ctx ends.
// Under a context of DeferReplacement, it returns the new file at once.
func (d *Drive) background(ctx context.Context, in place, name string, made *Item, run func(context.Context) (*Item, error)) (*Item, error) {
	deferred := ctx.Value(deferredKey) != nil && d.pending.hasRoom()
	change := d.pending.start(ctx, path.Join(in.path, name), nameIn(in, name), run)
	if deferred {
		return made, nil
	}
	return d.pending.wait(ctx, change)
}

// nameIn returns the key for pending changes of a name in a folder.
func nameIn(in place, name string) string { return in.id + "\x00" + nameKey(name) }

// takeOver moves the replaced file to the Trash and renames the new file. If the new
// file keeps its temporary name, the mark stays, and a later process looks it up.
func (d *Drive) takeOver(ctx context.Context, in place, old, made *Item, name string, mark *leftovers.Mark) (*Item, error) {
	on := path.Join(in.path, name)
	mark.Touch()
	if err := d.retire(ctx, in, old, name); err != nil {
		now, lookErr := d.present(ctx, in, old.ID)
		if lookErr == nil && now == nil {
			d.folders.drop(in.id, old.ID)
		} else {
			// Otherwise the new file is kept, because the old one may be gone.
			if lookErr == nil && d.withdraw(ctx, in, made) {
				mark.Done()
			}
			return nil, err
		}
	}
	named, err := d.rename(ctx, in, made, name)
	switch {
	case err == nil && nameKey(named.Name) == nameKey(name):
		mark.Done()
		d.tidy(ctx, in, name, named)
		return named, nil
	case err == nil:
		made = named
	case isGone(err):
		mark.Done()
		return nil, apierr.Finally(apierr.New(apierr.KindChanged, "replace", on, "another device or program removed the new file before it was renamed").
			Advise("it is in the Trash, like the old one; upload it again"))
	case !apierr.HasKind(err, apierr.KindExists):
		return nil, err
	}
	if d.withdraw(ctx, in, made) {
		mark.Done()
	}
	d.folders.forget(in.id)
	if digest, ok := ctx.Value(identicalKey).(*string); ok {
		got, err := d.lookup(ctx, in, name, func(found) bool { return true })
		if err == nil && got.exact != nil && d.isIdentical(ctx, got.exact, made, on, *digest) {
			return got.exact, nil
		}
	}
	return nil, newcomer(on)
}

// isIdentical reports whether a file that has taken the name of a new file has the same
// size and time and, unless digest is empty, the same content. The archives of a
// package differ, so their content is not compared.
func (d *Drive) isIdentical(ctx context.Context, it, made *Item, on, digest string) bool {
	if it.Folder || it.Size != made.Size || !it.Modified.Equal(made.Modified) {
		return false
	}
	if digest == "" || made.packaged {
		return true
	}
	content, err := d.Read(ctx, it, on, 0, -1, func(*Item) {})
	if err != nil {
		return false
	}
	defer content.Close()
	hashes, err := hash.StreamTypes(content, hash.NewHashSet(hash.XXH128))
	return err == nil && hashes[hash.XXH128] == digest
}

// retire moves a file that is about to be replaced to the Trash. It fails if
// another device has changed the file since it was listed. A file that another
// device has moved, renamed or deleted needs no change.
func (d *Drive) retire(ctx context.Context, in place, old *Item, name string) error {
	on := path.Join(in.path, name)
	if err := old.writable("replace", on); err != nil {
		return err
	}
	for try := 1; ; try++ {
		_, err := d.trashUnchanged(ctx, old)
		if err == nil {
			d.folders.drop(in.id, old.ID)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var status *itemStatus
		hasStatus := errors.As(err, &status)
		if !hasStatus && !apierr.OutcomeUnknown(err) && !isGone(err) && !apierr.HasKind(err, apierr.KindChanged) {
			return itemError("replace", on, err)
		}
		now, lookErr := d.present(ctx, in, old.ID)
		switch {
		case lookErr != nil:
			return itemError("replace", on, lookErr)
		case now == nil:
			d.folders.drop(in.id, old.ID)
			return nil
		case !sameName(now.Name, old.Name) && !sameName(now.Name, name):
			d.folders.put(in.id, now)
			return nil
		case !sameContent(old, now):
			d.folders.put(in.id, now)
			return overwritten(on)
		case hasStatus && status.isDefinite() && !isGone(err):
			return itemError("replace", on, err)
		}
		moved := now.ETag != old.ETag
		old = now
		if isConflict(err) && moved && try < maxAttempts {
			continue
		}
		if isGone(err) {
			err = errContradiction
		}
		if waitErr := d.Service.Retries.Wait(ctx, try+1, err); waitErr != nil {
			return itemError("replace", on, waitErr)
		}
	}
}

// withdraw moves an upload of this process that is no longer wanted to the Trash,
// unless another device has changed it. It reports whether the upload is gone.
func (d *Drive) withdraw(ctx context.Context, in place, made *Item) bool {
	err := d.retire(ctx, in, made, made.Name)
	if err != nil {
		fs.Debugf(nil, "icloud: a failed upload could not be removed: %v", err)
	}
	return err == nil
}

// tidy moves the leftovers of a file to the Trash after another item, stored, has got
// its name. Leftovers of other files are kept, because they may belong to a running
// process of another machine, which is about to move the replaced file to the Trash.
func (d *Drive) tidy(ctx context.Context, in place, name string, stored *Item) {
	for _, left := range d.folders.leftoversOf(in.id, name) {
		if left.ID != stored.ID {
			d.withdraw(ctx, in, left)
		}
	}
	if forgotten := d.folders.forgotten(in.id); len(forgotten) > 0 && !d.warned.Swap(true) {
		fs.LogPrintf(fs.LogLevelWarning, nil, "icloud: %q, and perhaps other folders, has files that a killed process has left under temporary names over an hour ago: %d (the first: %q); to remove them, restore the same files again, or delete them in iCloud Drive",
			"/"+in.path, len(forgotten), forgotten[0].Name)
	}
}
