package icloudphotos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"plakar-icloud/librclone/backend/icloud/apierr"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/fserrors"
)

const (
	primaryZone  = "PrimarySync"
	sharedPrefix = "SharedSync"
	privateArea  = "private"
	sharedArea   = "shared"

	// maxPasses is how often a library is listed if the counts of the service
	// are higher: a listing can miss assets that move between pages meanwhile.
	maxPasses = 2
)

// endsRun reports whether no other call can succeed after an error.
func endsRun(err error) bool { return fserrors.IsFatalError(err) }

// findZones returns the zones that are photo libraries. Other zones belong to
// shared links and to apps. It returns sharedErr if only the libraries of other
// accounts could not be found.
func findZones(ctx context.Context, s *database) (libraries []foundZone, sharedErr, err error) {
	found, err := zones(ctx, s, privateArea)
	if err != nil {
		return nil, nil, err
	}
	others, err := zones(ctx, s, sharedArea)
	switch {
	case err == nil:
	case endsRun(err) || ctx.Err() != nil:
		return nil, nil, err
	case apierr.HasKind(err, apierr.KindNotFound) && s.knowsShared():
		// Not of the kind not-found, because the folder is shown.
		sharedErr = apierr.New(apierr.KindDamaged, "", "", "the service does not find the libraries of other accounts, although an earlier run has read one").From(err)
	case apierr.HasKind(err, apierr.KindNotFound):
		// An account without a shared library may not have this area.
		fs.Debugf(nil, "icloud photos: there are no libraries of other accounts: %v", err)
	default:
		sharedErr = err
	}
	known := map[string]bool{}
	for _, zone := range append(found, others...) {
		if (zone.Name == primaryZone || strings.HasPrefix(zone.Name, sharedPrefix)) && !known[zone.Name] {
			known[zone.Name] = true
			libraries = append(libraries, zone)
		}
	}
	if !known[primaryZone] {
		return nil, nil, endRun(finalError(apierr.KindUnsupported, "the account has no photo library", "turn on iCloud Photos on a device"))
	}
	return libraries, sharedErr, nil
}

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
	known := readIndex(file)
	libraries := make([]*library, len(found))
	errs := make([]error, len(found))
	var running sync.WaitGroup
	for i, zone := range found {
		running.Go(func() {
			libraries[i], errs[i] = c.library(ctx, zone, known[zone.Name])
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
		}
	}
	nameSharedAlbums(c.service.albums, libraries)
	for _, l := range libraries {
		if l.failed == nil {
			l.nameAssets(c.layoutOf(l))
			l.nameAlbums()
			known[l.Name] = l
		}
	}
	if err := writeIndex(file, known); err != nil {
		fs.Logf(nil, "icloud photos: the next backup will list the library again: the index cannot be stored: %v", err)
	}
	return libraries, nil
}

// layoutOf returns the layout of the folders of a library. A shared album is a
// single folder.
func (c *loader) layoutOf(l *library) string {
	if l.Area == sharedAlbumArea {
		return flat
	}
	return c.layout
}

// library returns the present state of a library. It updates the known state,
// if there is one, and lists the library completely if the counts of the service
// differ afterwards.
func (c *loader) library(ctx context.Context, zone foundZone, known *library) (*library, error) {
	if zone.Area == sharedAlbumArea {
		return c.sharedAlbum(ctx, zone, known)
	}
	if known != nil {
		known.zone, known.membersErr = zone.zoneID, map[string]error{}
	}
	if known != nil && known.Token != "" && (known.HasDeleted || !c.deleted) {
		complete, err := c.update(ctx, known)
		if err != nil || complete {
			return known, err
		}
	}
	return c.list(ctx, zone, known)
}

// update applies the changes since the known state of a library. It returns
// false if the library has to be listed completely.
func (c *loader) update(ctx context.Context, l *library) (bool, error) {
	token, err := changes(ctx, c.service, l.zone, l.Token, l.apply)
	switch {
	case errors.Is(err, errTokenRefused):
		return false, nil
	case err != nil:
		return false, err
	}
	l.Token = token
	if err := c.listAlbums(ctx, &lister{service: c.service, zone: l.zone, library: l}); err != nil {
		return false, err
	}
	difference, _, err := c.compareCounts(ctx, l)
	if err != nil || !sameCounts(difference, l.Missing) {
		return false, err
	}
	l.checkComplete(difference)
	if l.Indexed {
		return true, nil
	}
	indexed, err := isIndexed(ctx, c.service, l.zone)
	return !indexed, err
}

// list lists a library completely, and then requests the changes since the
// beginning of the listing. Assets and albums keep the names that they have in
// the known state, if there is one.
func (c *loader) list(ctx context.Context, zone foundZone, known *library) (*library, error) {
	l := newLibrary(zone.zoneID)
	l.Token, l.HasDeleted = zone.token, c.deleted
	if known != nil {
		l.Masters = known.Masters
	}
	var err error
	if l.Indexed, err = isIndexed(ctx, c.service, zone.zoneID); err != nil {
		return nil, err
	}
	lister := &lister{service: c.service, zone: zone.zoneID, library: l, alone: len(l.Masters) > 0}
	for pass := 1; ; pass++ {
		before, err := c.listOnce(ctx, lister)
		if err != nil {
			return nil, err
		}
		if known != nil {
			l.keepNames(known)
		}
		difference, after, err := c.compareCounts(ctx, l)
		if err != nil {
			return nil, err
		}
		// Without the changes since its beginning, a listing can contain deleted
		// assets in place of assets that have moved between pages.
		l.changed = l.Token == "" && !sameCounts(after, before)
		l.Missing = difference
		l.checkComplete(difference)
		if missing(difference) == 0 && !l.changed || pass == maxPasses {
			return l, nil
		}
	}
}

// listOnce lists the indexes and the albums, and then applies the changes since
// the beginning of the listing. It returns the counts before the listing.
func (c *loader) listOnce(ctx context.Context, lister *lister) (counted map[string]int, err error) {
	l := lister.library
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
	if l.Token == "" {
		return counted, nil
	}
	token, err := changes(ctx, c.service, l.zone, l.Token, l.apply)
	if errors.Is(err, errTokenRefused) {
		token, err = "", nil // the next backup lists everything again
	}
	l.Token = token
	return counted, err
}

// listAlbums lists the albums if they are not known, and the photos of albums
// that were not listed yet. Shared libraries have no albums. Only an error that
// ends the run is returned.
func (c *loader) listAlbums(ctx context.Context, lister *lister) error {
	l := lister.library
	if l.Name != primaryZone {
		return nil
	}
	if !l.HasAlbums {
		if l.albumsErr = lister.albums(ctx, "", map[string]bool{}); l.albumsErr != nil {
			if endsRun(l.albumsErr) || ctx.Err() != nil {
				return l.albumsErr
			}
			return nil
		}
		l.HasAlbums = true
		for name, a := range l.Albums {
			if !a.Folder {
				l.Unlisted = append(l.Unlisted, name)
			}
		}
	}
	err := lister.members(ctx, l.Unlisted)
	l.Unlisted = slices.Collect(maps.Keys(l.membersErr))
	return err
}

// compareCounts looks up unknown masters, and returns for each index the count of
// the service, and that count minus the number of known assets.
func (c *loader) compareCounts(ctx context.Context, l *library) (difference, counted map[string]int, err error) {
	found, err := lookUp(ctx, c.service, l.zone, l.unknownMasters())
	if err != nil {
		return nil, nil, err
	}
	l.apply(found)
	l.prune()
	indexes := []index{visibleAssets, hiddenAssets}
	if l.HasDeleted {
		indexes = append(indexes, deletedAssets)
	}
	if counted, err = counts(ctx, c.service, l.zone, names(indexes)); err != nil {
		return nil, nil, err
	}
	known := map[string]int{}
	for _, a := range l.Assets {
		switch {
		case a.Deleted:
			known[deletedAssets.alone]++
		case a.Hidden:
			known[hiddenAssets.alone]++
		case a.Main:
			known[visibleAssets.alone]++
		}
	}
	difference, l.uncounted = map[string]int{}, nil
	for _, index := range names(indexes) {
		count, isCounted := counted[index]
		if !isCounted {
			l.uncounted = append(l.uncounted, index)
			count = known[index]
		}
		difference[index] = count - known[index]
	}
	return difference, counted, nil
}

// checkComplete sets l.partial if photos may be missing from the library.
func (l *library) checkComplete(difference map[string]int) {
	why, advice := "", ""
	switch count := missing(difference); {
	case count > 0:
		why = fmt.Sprintf("the service counts %d more photos and videos than it lists", count)
		advice = "if later backups say so too, compare the numbers on icloud.com"
	case len(l.Refused) > 0:
		why = "the service does not list some photos (index " + strings.Join(l.Refused, ", ") + ")"
		advice = "photos of bursts, hidden photos or deleted photos may be missing"
	case len(l.uncounted) > 0:
		why = "the service does not count all photos (index " + strings.Join(l.uncounted, ", ") + "), so some may be missing"
		advice = "if later backups say so too, compare the numbers on icloud.com"
	case l.changed:
		why = "the photo library has changed while it was listed, so some photos may be missing"
		advice = "back it up again"
	case !l.Indexed:
		why = "Apple has not finished indexing the photo library, so the listing may be incomplete"
		advice = "wait for a day and back it up again"
	default:
		l.partial = nil
		return
	}
	l.partial = finalError(apierr.KindDamaged, why, advice)
}

// missing returns the number of assets that the service counts but does not
// list.
func missing(difference map[string]int) int {
	total := 0
	for _, count := range difference {
		total += max(0, count)
	}
	return total
}

// sameCounts reports whether b has all counts of a.
func sameCounts(a, b map[string]int) bool {
	for key, count := range a {
		if b[key] != count {
			return false
		}
	}
	return true
}

// names returns the names of indexes in counts.
func names(indexes []index) []string {
	names := make([]string, len(indexes))
	for i, ix := range indexes {
		names[i] = ix.alone
	}
	return names
}

// keepNames takes the names of assets and albums from a known state.
func (l *library) keepNames(known *library) {
	for id, a := range l.Assets {
		if old := known.Assets[id]; old != nil {
			a.Folder, a.Stem = old.Folder, old.Stem
		}
	}
	for id, a := range l.Albums {
		if old := known.Albums[id]; old != nil && old.Name == a.Name && old.Parent == a.Parent {
			a.Given = old.Given
		}
	}
}
