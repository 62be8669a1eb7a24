package icloudphotos

import (
	"context"
	"sync"

	"plakar-icloud/librclone/backend/icloud/apierr"

	"golang.org/x/sync/errgroup"
)

// index is an index of assets: its name in queries that also return masters,
// and its name in counts and in queries that do not.
type index struct{ withMasters, alone string }

var (
	visibleAssets = index{"CPLAssetAndMasterByAssetDateWithoutHiddenOrDeleted", "CPLAssetByAssetDateWithoutHiddenOrDeleted"}
	hiddenAssets  = index{"CPLAssetAndMasterHiddenByAssetDate", "CPLAssetHiddenByAssetDate"}
	deletedAssets = index{"CPLAssetAndMasterDeletedByExpungedDate", "CPLAssetDeletedByExpungedDate"}
	burstAssets   = index{"CPLBurstStackAssetAndMasterByAssetDate", "CPLAssetBurstStackAssetByAssetDate"}
)

const (
	indexOfAlbums  = "CPLAlbumByPositionLive"
	indexOfMembers = "CPLContainerRelationLiveByAssetDate"

	// queriesAtOnce is how many pages of an index are requested concurrently.
	queriesAtOnce = 8
	// memberRecords is how many records a member of an album takes in a page:
	// its membership, the asset and the master.
	memberRecords = 3
)

// lister lists a zone completely.
type lister struct {
	service *database
	zone    zoneID
	alone   bool // masters are known, so assets are listed without them

	mu      sync.Mutex
	library *library
}

// assets lists an index. An index of hidden or visible assets is sorted by date,
// and a page begins at a rank. So pages are requested concurrently. A page may be
// shorter than requested, or empty although more assets follow.
func (l *lister) assets(ctx context.Context, ix index, count int) error {
	first, err := l.page(ctx, ix, 0)
	if err != nil && l.alone && apierr.KindOf(err) == apierr.KindUnsupported {
		l.alone = false // the service does not support such queries
		first, err = l.page(ctx, ix, 0)
	}
	if err != nil {
		return err
	}
	stride := l.stride()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(queriesAtOnce)
	for start := 0; start == 0 || start < count; start += stride {
		end, last, from := min(start+stride, count), start+stride >= count, start
		if start == 0 {
			from = first
			if last && from > 0 && from >= count && from < stride {
				break
			}
		}
		group.Go(func() error { return l.window(ctx, ix, from, end, last) })
	}
	return group.Wait()
}

func (l *lister) stride() int {
	if l.alone {
		return pageRecords
	}
	return pageRecords / 2
}

// window lists the ranks from start to end. The last window also lists what the
// index has gained since it was counted. Whether assets are missing is found by
// counting.
func (l *lister) window(ctx context.Context, ix index, start, end int, last bool) error {
	for again := true; start < end || last; {
		listed, err := l.page(ctx, ix, start)
		if err != nil {
			return err
		}
		start += listed
		switch {
		case listed == 0 && again && start < end:
			again = false // one empty page is not the end
		case listed == 0, last && start >= end && listed < l.stride():
			return nil
		}
	}
	return nil
}

// page lists the assets from a rank and returns how many they are.
func (l *lister) page(ctx context.Context, ix index, rank int) (int, error) {
	kind := ix.withMasters
	if l.alone {
		kind = ix.alone
	}
	answer, err := ask(ctx, l.service, l.zone, query{kind: kind, ranked: true, rank: rank}, "")
	if err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.library.apply(answer.Records)
	if l.library.Token == "" {
		l.library.Token = answer.Token
	}
	listed := 0
	for i := range answer.Records {
		if r := &answer.Records[i]; r.Type == typeAsset {
			listed++
			if a := l.library.Assets[r.Name]; a != nil && ix == visibleAssets {
				a.Main = true
			}
		}
	}
	return listed, nil
}

// albums lists the albums in a folder, "" for the top, and in the folders in it.
func (l *lister) albums(ctx context.Context, folder string, above map[string]bool) error {
	var folders []string
	for marker := ""; ; {
		answer, err := ask(ctx, l.service, l.zone, query{kind: indexOfAlbums, parent: folder}, marker)
		if err != nil {
			return err
		}
		l.library.apply(answer.Records)
		for i := range answer.Records {
			name := answer.Records[i].Name
			if a := l.library.Albums[name]; a != nil && a.Folder && !above[name] {
				above[name] = true
				folders = append(folders, name)
			}
		}
		if answer.Marker == "" || answer.Marker == marker {
			break
		}
		marker = answer.Marker
	}
	for _, name := range folders {
		if err := l.albums(ctx, name, above); err != nil {
			return err
		}
	}
	return nil
}

// members lists the assets of albums. If that fails for an album, the error is
// that of the album, unless it ends the run.
func (l *lister) members(ctx context.Context, albums []string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(queriesAtOnce)
	for _, name := range albums {
		group.Go(func() error {
			err := l.membersOf(ctx, name)
			if err == nil || endsRun(err) || ctx.Err() != nil {
				return err
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			l.library.albumErr[name] = err
			return nil
		})
	}
	return group.Wait()
}

func (l *lister) membersOf(ctx context.Context, name string) error {
	again := true
	for rank := 0; ; {
		answer, err := ask(ctx, l.service, l.zone, query{kind: indexOfMembers, parent: name, ranked: true, rank: rank}, "")
		if err != nil {
			return err
		}
		listed := 0
		l.mu.Lock()
		for i := range answer.Records {
			// The assets themselves are listed elsewhere, as they were then.
			if r := &answer.Records[i]; r.Type == typeRelation {
				l.library.applyRelation(r)
				listed++
			}
		}
		l.mu.Unlock()
		rank += listed
		switch {
		case listed >= pageRecords/memberRecords:
		case listed == 0 && again:
			again = false // one empty page is not the end
		case listed == 0:
			return nil
		}
	}
}
