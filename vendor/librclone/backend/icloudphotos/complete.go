package icloudphotos

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"

	"github.com/rclone/rclone/fs"
)

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

// acceptedAfter is how long the same difference is an error. Several listings have
// confirmed it then, so users who have compared the numbers need no further errors.
const acceptedAfter = 7 * 24 * time.Hour

// isAccepted reports whether a difference of the counts is no longer an error. There
// must be no other reason why photos may be missing, and few photos: at most 10, or 1 %
// of the library up to 100.
func (l *library) isAccepted(now time.Time) bool {
	count := missing(l.Missing)
	isFew := count <= 10 || count <= 100 && 100*count <= len(l.Assets)
	isOnlyReason := len(l.Refused) == 0 && len(l.uncounted) == 0 && !l.changed && l.Indexed
	return l.Doubt != "" && isFew && isOnlyReason && now.Sub(l.DoubtSince) >= acceptedAfter
}

// checkComplete sets l.partial if photos may be missing from the library. It sets
// l.note instead if the reason has stayed the same for a long time.
func (l *library) checkComplete(now time.Time) {
	why, advice := "", ""
	switch count := missing(l.Missing); {
	case count > 0:
		why = fmt.Sprintf("the service counts %d more photos and videos than it lists", count)
		advice = "if later backups say so too, compare the numbers on icloud.com; after a week, a small difference is no longer an error"
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
	}
	l.partial, l.note = nil, ""
	if why != l.Doubt {
		l.Doubt, l.DoubtSince, l.unsaved = why, now, true
	}
	switch {
	case why == "":
	case l.isAccepted(now):
		l.note = why + sinceThen(l.DoubtSince)
	default:
		l.partial = finalError(apierr.KindDamaged, why, advice)
	}
}

// sinceThen returns the end of a note about a difference.
func sinceThen(since time.Time) string {
	return fmt.Sprintf("; this has not changed since %s and is no longer an error: compare the numbers on icloud.com", since.UTC().Format(time.DateOnly))
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

// memberCounts is the name in counts of the index of the photos of an album, before
// the record name of the album.
// https://github.com/rclone/rclone/blob/master/backend/iclouddrive/api/photos.go
const memberCounts = "CPLContainerRelationNotDeletedByAssetDate:"

// countedAlbums is the number of albums that one request counts.
const countedAlbums = 50

// compareMembers stores an error for each of the albums of which the service counts
// more photos than it lists, or a note if the difference has stayed the same for a
// long time. It is unknown whether hidden photos, and photos in
// Recently Deleted, belong to the list, so as many of them are not missed. It returns
// the albums that lack only as many, but another number than when they were last listed:
// these albums have to be listed again. Without the number of these photos, nothing is
// compared. Only an error that ends the run is returned, because the photos themselves
// are counted for the library.
func (c *loader) compareMembers(ctx context.Context, l *library, albums []string) (doubtful []string, err error) {
	listed := map[string]int{}
	for _, r := range l.Relations {
		listed[r.Album]++
	}
	for albums := range slices.Chunk(albums, countedAlbums) {
		indexes := names([]index{hiddenAssets, deletedAssets})
		for _, name := range albums {
			indexes = append(indexes, memberCounts+name)
		}
		counted, err := counts(ctx, c.service, l.zone, indexes)
		switch {
		case err == nil:
		case endsRun(err) || ctx.Err() != nil:
			return nil, err
		default:
			fs.Debugf(nil, "icloud photos: the photos of albums are not counted: %v", err)
			return doubtful, nil
		}
		hidden, isHiddenCounted := counted[hiddenAssets.alone]
		deleted, isDeletedCounted := counted[deletedAssets.alone]
		if !isHiddenCounted || !isDeletedCounted {
			return doubtful, nil
		}
		unlisted := hidden + deleted
		for _, name := range albums {
			if l.membersErr[name] == nil && l.checkMembers(name, counted[memberCounts+name]-listed[name], unlisted, time.Now()) {
				doubtful = append(doubtful, name)
			}
		}
	}
	return doubtful, nil
}

// checkMembers stores an error or a note if an album lacks more photos than are hidden or
// recently deleted. Otherwise it reports whether the number differs from that of the last
// listing, so that the album has to be listed again.
func (l *library) checkMembers(name string, lacks, unlisted int, now time.Time) bool {
	a := l.Albums[name]
	lacks = max(lacks, 0)
	changed := a.Lacks != lacks
	a.Lacks = lacks
	if lacks <= unlisted {
		a.LacksSince = 0
		return changed && lacks > 0
	}
	if changed || a.LacksSince == 0 {
		a.LacksSince = now.UnixMilli()
	}
	why := fmt.Sprintf("the service counts %d more photos in the album than it lists", lacks)
	if since := time.UnixMilli(a.LacksSince); now.Sub(since) >= acceptedAfter {
		l.membersNote[name] = why + sinceThen(since)
		return false
	}
	l.membersErr[name] = finalError(apierr.KindDamaged, why,
		"the photos themselves are in the library; the next backup lists the album again, and after a week, the same difference is no longer an error")
	return false
}
