// Package drive is a client of the web API of iCloud Drive: look-ups and listings
// with a cache of folders, changes, uploads and downloads. Package icloud presents
// a drive as a file system of rclone.
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

// Drive is the iCloud Drive of an Apple Account. All remotes of the account in
// this process share it, so the changes of each are visible to the others.
type Drive struct {
	Service       *service.Service
	folders       *folders
	lister        *lister
	contents      *contents
	facts         *factsFile
	removals      *batcher // moves to the Trash
	erasures      *batcher // deletions from the Trash
	renames       *batcher
	pending       pending
	failedFolders failedFolders

	encoding encoder.MultiEncoder // encodes the characters that are a likely reason of a refused name
	age      time.Duration        // the maximum age of a listing for look-ups

	examined   atomic.Int64 // number of examined listings
	noDetails  atomic.Bool  // the service does not return single items
	copyBroken atomic.Bool  // the service made a wrong copy
	foldsCase  atomic.Bool  // the service treated two names that differ in case as equal
	warned     atomic.Bool  // the user knows of leftovers that are kept
}

// Config is the configuration of a drive.
type Config struct {
	SessionFile string               // facts for later processes are stored beside it; "" for none
	BatchSize   int                  // the maximum number of folders in a listing request, at least 1
	ListingAge  time.Duration        // the maximum age of a listing for look-ups
	CacheItems  int                  // the maximum number of items of listings in memory
	Encoding    encoder.MultiEncoder // encodes the characters that are a likely reason of a refused name
}

// New returns the drive of an account.
func New(service *service.Service, config Config) *Drive {
	folders := newFolders(config.CacheItems)
	lister := &lister{service: service, folders: folders, proving: semaphore.NewWeighted(1)}
	lister.batch.Store(int64(max(1, config.BatchSize)))
	d := &Drive{
		Service: service, folders: folders, lister: lister,
		facts: newFactsFile(config.SessionFile), age: config.ListingAge,
		removals: newBatcher(service, "/moveItemsToTrash", 2),
		erasures: newBatcher(service, "/deleteItems", 1),
		renames:  newBatcher(service, "/renameItems", maxBatches),
		encoding: config.Encoding,
	}
	d.contents = newContents(service, d.facts, d.unchanged)
	return d
}

// ListingBatch returns the maximum number of folders that are listed with one
// request.
func (d *Drive) ListingBatch() int { return int(max(1, d.lister.batch.Load())) }

// ForgetListings drops the cached contents of all folders.
func (d *Drive) ForgetListings() { d.folders.forgetAll() }

// WaitForChanges waits for the changes in the background until ctx ends. It returns
// those that failed since the last call and those that are still under way.
func (d *Drive) WaitForChanges(ctx context.Context) []UnfinishedChange { return d.pending.waitAll(ctx) }

// Shutdown stores the cookies that the service has replaced and the facts for
// later processes, and calls WaitForChanges.
func (d *Drive) Shutdown(ctx context.Context) []UnfinishedChange {
	d.Service.Session.Flush(ctx)
	d.facts.flush(ctx)
	return d.WaitForChanges(ctx)
}

// named returns the child that a look-up has found, or nil. A child whose name
// differs in case only counts if the service was seen to treat the two names as
// equal.
func (d *Drive) named(got found) *Item {
	if got.exact == nil && !d.foldsCase.Load() {
		return nil
	}
	return got.like
}

// walk finds a folder by the names on its path and, if create is set, creates the
// missing folders. It returns fs.ErrorDirNotFound only if the listing of a parent
// folder lacks the next name, not if the service reports an id as gone.
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
		// A folder in the cache no longer exists, so the path leads elsewhere now.
		for _, id := range passed {
			d.folders.forget(id)
		}
		begun = d.folders.now()
	}
}

// recall lists the folders on the path to the first folder that the process uses,
// with one request, if an earlier process has stored their ids. Without it,
// descend would request these listings one by one. Folders that an earlier
// process has just created are not listed; see folders.assume. first reports
// whether this is the first folder.
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
	done, err := d.folders.fill(ctx, rootID) // so that other callers wait for the listing of the root
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

// stillListed waits before a path is looked up again because the service lists a
// folder but reports its id as gone. It does not wait at the first attempt, at
// which the listing may have been an old one. If the service keeps contradicting
// itself, stillListed returns an error.
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

// errContradiction is the error for an item that the service lists although it
// reports the id as gone.
var errContradiction = apierr.Damaged("the service lists it but reports it as missing")

// descend makes one attempt of walk. made reports whether it created folders. It
// appends the ids of the folders on the path to passed.
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

// child looks up a name in a folder. A cached item is assumed to be present. A
// name that is not cached is looked up in a listing that is not older than begun.
// If the item is to be created, an older listing suffices, because the service
// itself detects a conflict.
func (d *Drive) child(ctx context.Context, in place, name string, begun time.Time, create bool) (found, error) {
	return d.lookup(ctx, in, name, func(got found) bool {
		return d.named(got) != nil || create || !got.listed.Before(begun)
	})
}

// identify returns the child with a name. A listing that is not older than the
// option listing_age suffices to find a child. That there is none has to be shown
// by a listing that is not older than begun; then the error is
// fs.ErrorObjectNotFound.
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

// lookup looks up a name in the cached listing of a folder, if good accepts the
// result, or else in a new one.
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
		if fresh != nil { // use the result, because the cache may have dropped it already
			exact, like := pick(fresh.items, name)
			return lookedUp(exact, like, name, fresh.short, fresh.invalid), nil
		}
	}
	return found{}, apierr.New(apierr.KindChanged, "list", in.path, "the folder keeps changing")
}

// maxListings is how often lookup tries to list a folder.
const maxListings = 4

// pick finds an item by its name in a listing. Its results are those of
// children.find.
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

// refresh lists a folder once for all callers that wait for the listing, and sets
// fresh. It does nothing if good returns true when it is this caller's turn.
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

// listOne lists a folder. It repeats the listing while the service reports a
// folder as gone that is known to exist.
func (d *Drive) listOne(ctx context.Context, folder place) folderContents {
	for try := 1; ; try++ {
		listed := d.lister.list(ctx, []target{folder.target()})[0]
		if isGone(listed.err) && d.isThere(folder.id) {
			waitErr := d.Service.Retries.Wait(ctx, try+1, apierr.Damaged("the service reports the folder as missing: "+listed.err.Error()))
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

// isThere reports whether a folder is known to exist, regardless of what the
// service reports: it is the root, or this process has just created it.
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
