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

// maxPasses is the maximum number of times that a library is listed. A listing is
// repeated if assets may be missing or may have moved between pages.
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
	if known.Token != "" && !known.Unsure {
		known.Synced = started
	}
	again := listedAgain
	if known.isAccepted(time.Now()) {
		again = acceptedAfter
	}
	lacks := missing(known.Missing) > 0 || len(known.Refused) > 0
	isCurrent := (known.Token != "" && !known.isOverdue(started)) || known.isOfThisRun(started)
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

// isOfThisRun reports whether another process has listed the library since this process
// started, and nothing was missing. plakar starts two importers for a backup, so without a
// sync token the second importer uses the listing of the first.
func (l *library) isOfThisRun(now time.Time) bool {
	return l.Doubt == "" && l.Listed.After(processStart) && l.Listed.Before(now)
}

// applyChanges applies the changes since the sync token of a library. If the service
// does not accept the token, the library has none afterwards. If only some of the changes
// could be applied, Synced is zero afterwards.
func (c *loader) applyChanges(ctx context.Context, l *library) error {
	if l.Token == "" {
		return nil
	}
	isPartial := false
	token, err := changes(ctx, c.service, l.zone, l.Token, l.maxChangePages(), func(records []record) {
		l.apply(records)
		isPartial = true
	})
	if err != nil && isPartial {
		l.Synced = time.Time{} // assets may be newer than their masters
	}
	if err != nil && !errors.Is(err, errTokenRefused) {
		return err
	}
	l.Token = token
	return nil
}

// maxChangePages returns the number of pages of changes after which the library is listed
// instead: twice the number of pages that the known records take, and 1,000. The latter is a
// guess that allows for empty pages.
func (l *library) maxChangePages() int {
	return 1000 + 2*(len(l.Assets)+len(l.Masters)+len(l.Relations))/pageRecords
}

// update completes a library to which the changes have been applied. It returns
// false if the library has to be listed completely.
func (c *loader) update(ctx context.Context, l *library) (bool, error) {
	if err := c.listAlbums(ctx, &lister{service: c.service, library: l}); err != nil {
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
	lister := &lister{service: c.service, library: l, known: known}
	l.Synced = l.Listed
	if known != nil {
		l.Token, l.Doubt, l.DoubtSince = cmp.Or(known.Token, l.Token), known.Doubt, known.DoubtSince
		if kept := known.keptMasters(l.Listed); len(kept) > 0 {
			l.Masters, lister.withoutMasters = kept, true
		}
	}
	var err error
	if l.Indexed, err = isIndexed(ctx, c.service, zone.zoneID); err != nil {
		return nil, err
	}
	var earlier map[string]*asset // the assets that the last pass has found
	for pass := 1; ; pass++ {
		before, err := c.listOnce(ctx, lister)
		if err != nil && lister.withoutMasters && !endsRun(err) && ctx.Err() == nil {
			// It is unknown how a service refuses queries without masters.
			lister.listMasters()
			before, err = c.listOnce(ctx, lister)
		}
		if err != nil {
			return nil, err
		}
		difference, after, err := c.compareCounts(ctx, l)
		if err != nil {
			return nil, err
		}
		// Without the changes since its beginning, a listing can contain deleted
		// assets in place of assets that have moved between pages. If two listings have
		// the same assets, only the ranks of the service have gaps.
		isSame := pass > 1 && maps.EqualFunc(l.Assets, earlier, func(_, _ *asset) bool { return true })
		l.changed = l.Token == "" && (lister.found.moved && !isSame || !sameCounts(after, before))
		l.Missing = difference
		if missing(difference) == 0 && !l.changed && !lister.found.lacksMasters || pass == maxPasses {
			break
		}
		if l.Token == "" { // no change reports what was deleted meanwhile
			earlier, l.Assets = l.Assets, map[string]*asset{}
			l.forgetAlbums()
		}
		// That queries without masters return all assets is a guess. So masters are
		// listed, too, unless the difference is the known one.
		if lister.withoutMasters && (lister.found.lacksMasters || !sameCounts(difference, known.Missing)) {
			lister.listMasters()
		}
	}
	if lister.found.withoutMasters {
		l.Unsure = known.Unsure || known.Token == ""
		if !l.Synced.IsZero() {
			l.Synced = known.Synced
		}
	}
	l.checkComplete(time.Now())
	return l, nil
}

// listOnce lists the indexes and the albums, and then applies the changes since
// the beginning of the listing. It returns the counts before the listing.
func (c *loader) listOnce(ctx context.Context, lister *lister) (counted map[string]int, err error) {
	l := lister.library
	lister.found = findings{}
	indexes := []index{visibleAssets, hiddenAssets, burstAssets}
	if c.deleted {
		indexes = append(indexes, deletedAssets)
	}
	if counted, err = counts(ctx, c.service, l.zone, names(indexes)); err != nil {
		return nil, err
	}
	for _, ix := range indexes {
		if err := listIndex(ctx, lister, ix, counted); err != nil {
			return nil, err
		}
	}
	if err := c.listAlbums(ctx, lister); err != nil {
		return nil, err
	}
	if err := c.applyChanges(ctx, l); err != nil {
		return nil, err
	}
	if lister.known != nil {
		l.keep(lister.known)
		if lister.found.withoutMasters {
			l.forgetMasters(lister.known)
		}
	}
	return counted, nil
}

// listIndex lists the assets of an index, unless the service counts none. An index that
// the service does not support is stored as refused, except for that of the visible assets.
func listIndex(ctx context.Context, lister *lister, ix index, counted map[string]int) error {
	count, isCounted := counted[ix.alone]
	if ix != visibleAssets && isCounted && count == 0 {
		return nil
	}
	err := lister.assets(ctx, ix, count)
	if ix == visibleAssets || lister.omitsMasters(ix) || apierr.KindOf(err) != apierr.KindUnsupported || endsRun(err) {
		return err
	}
	if l := lister.library; !slices.Contains(l.Refused, ix.alone) {
		l.Refused = append(l.Refused, ix.alone)
	}
	return nil
}

// forgetAlbums removes the albums, so that they are listed again.
func (l *library) forgetAlbums() {
	l.Albums, l.Relations = map[string]*album{}, map[string]*relation{}
	l.HasAlbums, l.Unlisted = false, nil
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
