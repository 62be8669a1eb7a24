package icloudphotos

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/privatefile"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/fserrors"
)

// maxPasses is how often a library is listed if the counts of the service are
// higher: a listing can miss assets that move between pages meanwhile.
const maxPasses = 2

// endsRun reports whether no other call can succeed after an error.
func endsRun(err error) bool { return fserrors.IsFatalError(err) }

// loader loads libraries and shared albums.
type loader struct {
	service *database
	layout  string // the option photos_layout
	deleted bool   // also load Recently Deleted
}

// load returns the present state of libraries and stores it in the index. Only
// one process of an account loads at a time: the next process starts from the
// stored state.
func (c *loader) load(ctx context.Context, found []foundZone) ([]*library, error) {
	file, unlock, err := c.service.lockIndex(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if file != "" {
		if err := privatefile.RemoveTemporary(file); err != nil {
			fs.Debugf(nil, "icloud photos: the temporary files of ended processes cannot be removed: %v", err)
		}
	}
	known := readIndex(file)
	libraries := make([]*library, len(found))
	errs := make([]error, len(found))
	var running sync.WaitGroup
	for i, zone := range found {
		running.Go(func() {
			libraries[i], errs[i] = c.library(ctx, zone, known[zone.key()])
		})
	}
	running.Wait()
	for i, zone := range found {
		switch err := errs[i]; {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err == nil:
		case endsRun(err):
			return nil, err
		case zone.Name == primaryZone:
			var typed *apierr.Error
			if errors.As(err, &typed) {
				return nil, endRun(typed)
			}
			return nil, err
		default:
			libraries[i] = newLibrary(zone.zoneID)
			libraries[i].failed = err
			if before := known[zone.key()]; before != nil {
				libraries[i].Title, libraries[i].Given = before.Title, before.Given
			}
		}
	}
	nameSharedAlbums(c.service.albums, libraries)
	for _, l := range libraries {
		if l.failed == nil {
			l.noteEdits(time.Now())
			l.nameAssets(c.layoutOf(l))
			l.nameAlbums()
			known[l.key()] = l
		}
	}
	c.store(file, found, libraries, known)
	return libraries, nil
}

// countedValid is how long the index is not replaced if only the time of Counted has
// changed.
const countedValid = time.Hour

// store replaces the index, unless its libraries are unchanged.
func (c *loader) store(file string, found []foundZone, libraries []*library, known map[string]*library) {
	before, head, now := readHead(file), readHead(file), time.Now()
	head.Counted, head.Collections = now, summaries(found, libraries)
	_, gone := head.noteFound(found, c.service.sharedUnknown, now)
	if !c.service.albumsUnknown {
		_, goneAlbums := head.noteAlbums(found, now)
		gone = append(gone, goneAlbums...)
	}
	for _, key := range gone {
		delete(known, key)
	}
	isUnsaved := func(l *library) bool { return l.failed == nil && l.unsaved }
	sameAlbum := func(a, b seenAlbum) bool { return a.Folder == b.Folder && a.Gone.Equal(b.Gone) }
	if !slices.ContainsFunc(libraries, isUnsaved) && len(gone) == 0 && maps.EqualFunc(head.Shared, before.Shared, time.Time.Equal) &&
		maps.EqualFunc(head.Albums, before.Albums, sameAlbum) && reflect.DeepEqual(head.Collections, before.Collections) && now.Sub(before.Counted).Abs() < countedValid {
		return
	}
	if err := writeIndex(file, head, known); err != nil {
		fs.Logf(nil, "icloud photos: the next backup will list the library again: the index cannot be stored: %v", err)
	}
}

// layoutOf returns the layout of the folders of a library. A shared album is a
// single folder.
func (c *loader) layoutOf(l *library) string {
	if l.Area == sharedAlbumArea {
		return flat
	}
	return c.layout
}

// listedAgain is how long after a listing a library is listed again if photos are
// missing in it.
const listedAgain = 24 * time.Hour

// library returns the present state of a library. It updates the known state,
// if there is one, and lists the library completely if the counts of the service
// differ afterwards.
func (c *loader) library(ctx context.Context, zone foundZone, known *library) (*library, error) {
	if zone.Area == sharedAlbumArea {
		return c.sharedAlbum(ctx, zone, known)
	}
	if known == nil {
		return c.list(ctx, zone, nil)
	}
	known.zone, known.membersErr, known.membersNote = zone.zoneID, map[string]error{}, map[string]string{}
	started := time.Now()
	if err := c.applyChanges(ctx, known); err != nil {
		return nil, err
	}
	if known.Token != "" && !known.Unproven {
		known.Synced = started
	}
	again := listedAgain
	if known.isAccepted(time.Now()) {
		again = acceptedAfter
	}
	lacks := missing(known.Missing) > 0 || len(known.Refused) > 0
	isCurrent := known.Token != "" && !known.isOverdue(started) || known.isOfThisRun(started)
	if isCurrent && (known.HasDeleted || !c.deleted) && (!lacks || time.Since(known.Listed) < again) {
		complete, err := c.update(ctx, known)
		if err != nil || complete {
			return known, err
		}
	}
	return c.list(ctx, zone, known)
}

// processStart is when this process started.
var processStart = time.Now()

// isOfThisRun reports whether another process has listed the library without a loss since
// this process started. plakar starts two importers for a backup. If the service does not
// accept the sync token, the second one need not list the library again.
func (l *library) isOfThisRun(now time.Time) bool {
	return l.Doubt == "" && l.Listed.After(processStart) && l.Listed.Before(now)
}

// applyChanges applies the changes since the sync token of a library. If the service
// does not accept the token, the library has none afterwards. If it does not accept the
// token of a later page, Synced is zero afterwards, because assets may be newer than their
// masters.
func (c *loader) applyChanges(ctx context.Context, l *library) error {
	if l.Token == "" {
		return nil
	}
	synced := l.Synced
	token, err := changes(ctx, c.service, l.zone, l.Token, l.maxChangePages(), func(records []record) {
		l.apply(records)
		l.Synced = time.Time{}
	})
	if err != nil && !errors.Is(err, errTokenRefused) {
		return err
	}
	if err == nil {
		l.Synced = synced
	}
	l.Token = token
	return nil
}

// maxChangePages returns the maximum number of pages of changes. With more pages, a
// complete listing needs fewer requests.
func (l *library) maxChangePages() int {
	return 1000 + 2*(len(l.Assets)+len(l.Masters)+len(l.Relations))/pageRecords
}

// update completes a library to which the changes have been applied. It returns
// false if the library has to be listed completely.
func (c *loader) update(ctx context.Context, l *library) (bool, error) {
	if err := c.listAlbums(ctx, &lister{service: c.service, zone: l.zone, library: l}); err != nil {
		return false, err
	}
	difference, _, err := c.compareCounts(ctx, l)
	if err != nil || !sameCounts(difference, l.Missing) {
		return false, err
	}
	l.checkComplete(time.Now())
	if l.Indexed {
		return true, nil
	}
	indexed, err := isIndexed(ctx, c.service, l.zone)
	return !indexed, err
}

// list lists a library completely, and then requests the changes since the
// beginning of the listing. Assets and albums keep the names that they have in
// the known state, if there is one. Masters that can be kept are not listed.
func (c *loader) list(ctx context.Context, zone foundZone, known *library) (*library, error) {
	l := newLibrary(zone.zoneID)
	l.Token, l.HasDeleted, l.Listed = zone.token, c.deleted, time.Now()
	lister := &lister{service: c.service, zone: zone.zoneID, library: l, known: known}
	if known != nil {
		l.Token = cmp.Or(known.Token, l.Token)
		if kept := known.keptMasters(l.Listed); len(kept) > 0 {
			l.Masters, lister.alone = kept, true
		}
	}
	var err error
	if l.Indexed, err = isIndexed(ctx, c.service, zone.zoneID); err != nil {
		return nil, err
	}
	for pass := 1; ; pass++ {
		before, err := c.listOnce(ctx, lister)
		if err != nil {
			return nil, err
		}
		if known != nil {
			l.keep(known)
			if lister.listedAlone {
				l.forgetMasters(known)
			}
		}
		difference, after, err := c.compareCounts(ctx, l)
		if err != nil {
			return nil, err
		}
		// Without the changes since its beginning, a listing can contain deleted
		// assets in place of assets that have moved between pages.
		l.changed = l.Token == "" && (lister.moved || !sameCounts(after, before))
		l.Missing = difference
		if missing(difference) == 0 && !l.changed && !lister.lacksMasters || pass == maxPasses {
			break
		}
		if l.Token == "" { // no changes remove the assets that were deleted meanwhile
			clear(l.Assets)
		}
		// It is a guess that queries without masters return all assets.
		lister.alone = lister.alone && sameCounts(difference, known.Missing) && !lister.lacksMasters
	}
	l.Synced = l.Listed
	if known != nil {
		l.Doubt, l.DoubtSince = known.Doubt, known.DoubtSince
		if lister.listedAlone {
			l.Synced, l.Unproven = known.Synced, known.Unproven || known.Token == ""
		}
	}
	l.checkComplete(time.Now())
	return l, nil
}

// listOnce lists the indexes and the albums, and then applies the changes since
// the beginning of the listing. It returns the counts before the listing.
func (c *loader) listOnce(ctx context.Context, lister *lister) (counted map[string]int, err error) {
	l := lister.library
	lister.listedPass = listedPass{}
	indexes := []index{visibleAssets, hiddenAssets, burstAssets}
	if c.deleted {
		indexes = append(indexes, deletedAssets)
	}
	if counted, err = counts(ctx, c.service, l.zone, names(indexes)); err != nil {
		return nil, err
	}
	for _, ix := range indexes {
		count, isCounted := counted[ix.alone]
		if ix != visibleAssets && isCounted && count == 0 {
			continue
		}
		err := lister.assets(ctx, ix, count)
		if ix != visibleAssets && apierr.KindOf(err) == apierr.KindUnsupported && !endsRun(err) {
			if !slices.Contains(l.Refused, ix.alone) {
				l.Refused = append(l.Refused, ix.alone)
			}
			continue
		}
		if err != nil {
			return nil, err
		}
	}
	if err := c.listAlbums(ctx, lister); err != nil {
		return nil, err
	}
	return counted, c.applyChanges(ctx, l)
}

// listAlbums lists the albums if they are not known, and the photos of albums
// that were not listed yet. Shared libraries have no albums. Only an error that ends
// the run is returned.
func (c *loader) listAlbums(ctx context.Context, lister *lister) error {
	l := lister.library
	if l.Name != primaryZone {
		return nil
	}
	if !l.HasAlbums {
		if l.albumsErr = lister.allAlbums(ctx); l.albumsErr != nil {
			if endsRun(l.albumsErr) || ctx.Err() != nil {
				return l.albumsErr
			}
			return nil
		}
		l.HasAlbums, l.unsaved = true, true
		for name, a := range l.Albums {
			if !a.Folder {
				l.Unlisted = append(l.Unlisted, name)
			}
		}
	}
	clear(l.membersErr)
	clear(l.membersNote)
	l.Unlisted = slices.DeleteFunc(l.Unlisted, func(name string) bool { return l.Albums[name] == nil })
	if len(l.Unlisted) == 0 {
		return nil
	}
	l.unsaved = true
	var doubtful []string
	err := lister.members(ctx, l.Unlisted)
	if err == nil {
		doubtful, err = c.compareMembers(ctx, l, l.Unlisted)
	}
	l.Unlisted = slices.AppendSeq(doubtful, maps.Keys(l.membersErr))
	return err
}

// keep takes from a known state what the service does not return: the names of assets,
// and when an edit was first seen.
func (l *library) keep(known *library) {
	for id, a := range l.Assets {
		old := known.Assets[id]
		if old == nil || old == a {
			continue
		}
		a.Folder, a.Stem = old.Folder, old.Stem
		a.keepModified(old)
	}
}

// forgetMasters removes the masters of the assets that have changed since a known
// state, so that they are looked up. An asset that has not changed is that of the known
// state itself.
func (l *library) forgetMasters(known *library) {
	for id, a := range l.Assets {
		if a != known.Assets[id] {
			delete(l.Masters, a.Master)
		}
	}
}
