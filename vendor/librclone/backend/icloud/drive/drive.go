// Package drive is the web API of iCloud Drive: look-ups and listings with a
// cache of folders, changes, uploads and downloads. It knows items and paths of
// names; package icloud presents them as a file system of rclone.
package drive

import (
	"context"
	"errors"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/service"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/lib/encoder"
	"golang.org/x/sync/semaphore"
)

// Drive is the iCloud Drive of an Apple Account in this process. All remotes of
// the account share it, so each sees the changes of the others.
type Drive struct {
	Service  *service.Service
	folders  *folders
	lister   *lister
	contents *contents
	facts    *recollection
	removals *batcher // moves to the Trash
	erasures *batcher // deletions from the Trash
	renames  *batcher
	pending  pending
	unmade   unmade

	encoding encoder.MultiEncoder // of names that the service refuses
	age      time.Duration        // the maximum age of a listing for look-ups

	examined   atomic.Int64 // doubtful listings
	noDetails  atomic.Bool  // the service does not return single items
	copyBroken atomic.Bool  // the service made a wrong copy
	foldsCase  atomic.Bool  // the service treated two names that differ in case as equal
}

// Config is the configuration of a drive.
type Config struct {
	SessionFile string               // beside which facts for later processes are stored, or ""
	BatchSize   int                  // folders in one listing request, at least 1
	ListingAge  time.Duration        // the maximum age of a listing for look-ups
	CacheItems  int                  // items of listings in memory
	Encoding    encoder.MultiEncoder // of names that the service refuses
}

// New returns the drive of an account.
func New(service *service.Service, config Config) *Drive {
	folders := newFolders(config.CacheItems)
	lister := &lister{service: service, folders: folders, proving: semaphore.NewWeighted(1)}
	lister.batch.Store(int64(max(1, config.BatchSize)))
	d := &Drive{
		Service: service, folders: folders, lister: lister,
		facts: newRecollection(config.SessionFile), age: config.ListingAge,
		removals: newBatcher(service, "/moveItemsToTrash", 2),
		erasures: newBatcher(service, "/deleteItems", 1),
		renames:  newBatcher(service, "/renameItems", maxBatches),
		encoding: config.Encoding,
	}
	d.contents = newContents(service, d.facts, d.unchanged)
	return d
}

// ListingBatch returns how many folders are listed with one request.
func (d *Drive) ListingBatch() int { return int(max(1, d.lister.batch.Load())) }

// MergesCase reports whether the service was seen to treat names that differ in
// case as equal.
func (d *Drive) MergesCase() bool { return d.foldsCase.Load() }

// IsIdle reports whether no content is being requested, and none is in memory.
func (d *Drive) IsIdle() bool { return d.contents.gate.Idle() && d.contents.budget.isWhole() }

// ForgetListings drops the cached contents of all folders.
func (d *Drive) ForgetListings() { d.folders.forgetAll() }

// Finish waits for the changes in the background, until ctx ends. It returns
// those that failed since the last call and those that are still under way.
func (d *Drive) Finish(ctx context.Context) []Unfinished { return d.pending.finish(ctx) }

// Shutdown stores the session as the service has changed it, and the facts that
// later processes need not determine again, and finishes.
func (d *Drive) Shutdown(ctx context.Context) []Unfinished {
	d.Service.Session.Flush(ctx)
	d.facts.flush(ctx)
	return d.Finish(ctx)
}

// named returns the child that a name stands for. A child whose name differs in
// case is a different one, unless the service was seen to treat the two names
// as equal.
func (d *Drive) named(got found) *Item {
	if got.exact == nil && !d.foldsCase.Load() {
		return nil
	}
	return got.like
}

// walk finds a folder by the names on its path. It returns fs.ErrorDirNotFound
// if a listing of the parent folder lacks it; that the service reports the id
// as gone does not suffice.
func (d *Drive) walk(ctx context.Context, names []string, create bool) (place, error) {
	begun := d.folders.now()
	first := d.recall(ctx, names)
	for try := 1; ; try++ {
		var passed []string
		at, made, err := d.descend(ctx, names, create, begun, &passed)
		made = made && ctx.Value(trailKey) != nil
		if err == nil && (first || made) && at.item != nil && !at.item.Shared() { // for a shared folder, the id does not suffice
			found := trail{Names: names, IDs: append(passed[1:], at.id)}
			if made {
				found.Made = time.Now().Unix()
			}
			d.facts.keepTrail(ctx, found)
		}
		if !isGone(err) || err == fs.ErrorDirNotFound {
			return at, err
		}
		if err := d.stillListed(ctx, try, err); err != nil {
			return place{}, err
		}
		// An id in the cache no longer exists, so the names lead to another
		// folder now.
		for _, id := range passed {
			d.folders.forget(id)
		}
		begun = d.folders.now()
	}
}

// recall lists the folders on the path to the first folder that the process
// uses, with one request, if an earlier process has stored their ids. descend
// would request the same listings one by one, and it requests those that recall
// does not return. Folders that an earlier process has just created are not
// listed: that the ids lead there is assumed.
func (d *Drive) recall(ctx context.Context, names []string) (first bool) {
	if len(names) == 0 {
		return false
	}
	if _, known := d.folders.find(rootID, names[0]); known {
		return false // the process has already listed the root
	}
	ids, recent, first := d.facts.first(names)
	for _, made := range recent {
		d.folders.assume(made)
	}
	if _, known := d.folders.find(rootID, names[0]); known || len(ids) == 0 {
		return first
	}
	done, err := d.folders.fill(ctx, rootID) // other callers that begin at the root wait for it
	if err != nil {
		return first
	}
	defer done()
	targets := []target{driveRoot.target()}
	for _, id := range ids {
		targets = append(targets, target{id: id, weight: 1})
	}
	d.lister.list(ctx, targets)
	return first
}

// stillListed waits before a path is looked up again because the service lists
// a folder and reports that it is gone. At the first attempt, the listing may
// have been an old one. It returns the error to end with if the service keeps
// contradicting itself.
func (d *Drive) stillListed(ctx context.Context, try int, gone error) error {
	if try == 1 {
		return nil
	}
	contradiction := errContradiction
	var typed *apierr.Error
	if errors.As(gone, &typed) {
		contradiction = apierr.About(contradiction, typed.Op, typed.On)
	}
	return d.Service.Retries.Wait(ctx, try, contradiction)
}

// errContradiction is the error for an item that the service lists and whose id
// it reports as gone.
var errContradiction = apierr.Damaged("the service lists it and reports it as missing")

// descend finds a folder as walk does, and reports whether the last folders on
// the path were created. passed gets the ids of the folders on the way.
func (d *Drive) descend(ctx context.Context, names []string, create bool, begun time.Time, passed *[]string) (at place, made bool, err error) {
	at = driveRoot
	for _, name := range names {
		*passed = append(*passed, at.id)
		got, err := d.child(ctx, at, name, begun, create)
		if err != nil {
			return place{}, false, apierr.About(err, "list", at.path)
		}
		child := d.named(got)
		if create && child == nil {
			child, err = d.makeFolder(ctx, at, name)
			if err != nil {
				return place{}, false, err
			}
			made = true
		}
		switch {
		case child == nil && got.short != nil:
			return place{}, false, apierr.About(got.short, "list", at.path)
		case child == nil:
			return place{}, false, fs.ErrorDirNotFound
		case !child.Folder && create:
			return place{}, false, apierr.New(apierr.KindExists, "make folder", path.Join(at.path, name), "a file has this name").Matching(fs.ErrorIsFile)
		case !child.Folder:
			return place{}, false, fs.ErrorDirNotFound
		}
		if err := at.loops(child); err != nil {
			return place{}, false, apierr.About(err, "list", path.Join(at.path, name))
		}
		at = at.under(child)
	}
	return at, made, nil
}

// child finds the item of a folder that has a name. A cached item is assumed to
// be present. A name that is not cached is looked up in a listing that is no
// older than begun. If the item is to be created, an older listing suffices,
// because the service itself detects a conflict.
func (d *Drive) child(ctx context.Context, in place, name string, begun time.Time, create bool) (found, error) {
	return d.lookup(ctx, in, name, func(got found) bool {
		return d.named(got) != nil || create || !got.listed.Before(begun)
	})
}

// identify finds the child that a name stands for: in a listing within the age
// that the option listing_age allows or, if that does not have it, in one no
// older than begun. It returns fs.ErrorObjectNotFound if there is none.
func (d *Drive) identify(ctx context.Context, in place, name string, begun time.Time) (*Item, error) {
	oldest := begun.Add(-d.age)
	got, err := d.lookup(ctx, in, name, func(got found) bool {
		if got.exact == nil {
			return !got.listed.Before(begun)
		}
		return !got.listed.Before(oldest)
	})
	if err != nil {
		return nil, err
	}
	child := d.named(got)
	switch {
	case child == nil && got.short != nil:
		return nil, apierr.About(got.short, "list", in.path)
	case child == nil:
		return nil, fs.ErrorObjectNotFound
	}
	return child, nil
}

// lookup finds a child in a listing that good accepts, or in a new one.
func (d *Drive) lookup(ctx context.Context, in place, name string, good func(found) bool) (found, error) {
	for range maxListings {
		if got, known := d.folders.find(in.id, name); known && good(got) {
			return got, nil
		}
		var fresh *folderContents
		err := d.refresh(ctx, in, func() bool {
			got, known := d.folders.find(in.id, name)
			return known && good(got)
		}, &fresh)
		if err != nil {
			return found{}, err
		}
		if fresh != nil { // the cache may have dropped it again, because of other changes or its limit
			exact, like := pick(fresh.items, name)
			return lookedUp(exact, like, name, fresh.short, fresh.invalid), nil
		}
	}
	return found{}, apierr.New(apierr.KindChanged, "list", in.path, "the folder keeps changing")
}

// maxListings is how often a folder is listed to find one item.
const maxListings = 4

// pick finds an item by its name in a listing, as children.find does.
func pick(shown []*Item, name string) (exact, like *Item) {
	key, folded := nameKey(name), foldKey(name)
	for _, child := range shown {
		if nameKey(child.Shown) == key {
			return child, child
		}
		if foldKey(child.Shown) == folded {
			like = child
		}
	}
	return nil, like
}

// refresh lists a folder for all callers that wait for it, unless good accepts
// the contents in the meantime.
func (d *Drive) refresh(ctx context.Context, folder place, good func() bool, fresh **folderContents) error {
	done, err := d.folders.fill(ctx, folder.id)
	if err != nil {
		return err
	}
	defer done()
	if good() {
		return nil
	}
	listed := d.listOne(ctx, folder)
	if listed.err != nil {
		return listed.err
	}
	*fresh = &listed
	return nil
}

// listOne lists a folder, and repeats that while the service reports an
// existing folder as gone.
func (d *Drive) listOne(ctx context.Context, folder place) folderContents {
	for try := 1; ; try++ {
		listed := d.lister.list(ctx, []target{folder.target()})[0]
		if isGone(listed.err) && d.isThere(folder.id) {
			waitErr := d.Service.Retries.Wait(ctx, try+1, apierr.Damaged("the service reports it as missing: "+listed.err.Error()))
			if waitErr == nil {
				continue
			}
			if folder.id == rootID {
				listed.err = waitErr
			}
		}
		listed.err = apierr.About(listed.err, "list", folder.path)
		return listed
	}
}

// isThere reports whether a folder is known to exist whatever the service
// reports: the root, and a folder that this process has just created.
func (d *Drive) isThere(id string) bool { return id == rootID || d.folders.isNew(id) }

// SplitPath returns the parts of a path, none for the root.
func SplitPath(remote string) []string {
	var parts []string
	for part := range strings.SplitSeq(remote, "/") {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}
