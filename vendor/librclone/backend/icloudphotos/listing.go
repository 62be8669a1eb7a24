package icloudphotos

import (
	"context"
	"sync"

	"plakar-icloud/librclone/backend/icloud/apierr"

	"golang.org/x/sync/errgroup"
)

// index is an index of assets. It has two names: one in queries that also return
// masters, and one in counts and in queries without masters.
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

	// maxQueries is how many queries are sent concurrently.
	maxQueries = 8
	// memberRecords is the number of records in a page for each member of an
	// album: the membership, the asset and the master.
	memberRecords = 3
)

// lister lists a zone completely.
type lister struct {
	service *database
	zone    zoneID
	known   *library // the state before the listing, or nil
	alone   bool     // assets are listed without masters, because masters are known

	mu          sync.Mutex
	library     *library
	listedAlone bool // a page without masters was listed in this pass
}

// assets lists an index with count items. Pages are requested concurrently,
// because a page can begin at any rank. A page may be shorter than requested, and
// may be empty although more assets follow.
func (l *lister) assets(ctx context.Context, ix index, count int) error {
	first, err := l.page(ctx, ix, 0)
	if err != nil && l.alone && apierr.KindOf(err) == apierr.KindUnsupported {
		l.alone = false // the service does not support queries without masters
		first, err = l.page(ctx, ix, 0)
	}
	if err != nil {
		return err
	}
	stride := l.stride()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxQueries)
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

// stride returns the maximum number of assets in a page.
func (l *lister) stride() int {
	if l.alone {
		return pageRecords
	}
	return pageRecords / 2
}

// window lists the assets with the ranks from start to end. The last window also
// lists assets that were added to the index after it was counted. A window may
// miss assets: loader.compareCounts finds that.
func (l *lister) window(ctx context.Context, ix index, start, end int, last bool) error {
	for again := true; start < end || last; {
		listed, err := l.page(ctx, ix, start)
		if err != nil {
			return err
		}
		start += listed
		switch {
		case listed == 0 && again && start < end:
			again = false // a single empty page is not the end
		case listed == 0, last && start >= end && listed < l.stride():
			return nil
		}
	}
	return nil
}

// page lists a page of assets from a rank and returns the number of assets.
func (l *lister) page(ctx context.Context, ix index, rank int) (int, error) {
	kind := ix.withMasters
	if l.alone {
		kind = ix.alone
	}
	response, err := queryPage(ctx, l.service, l.zone, query{kind: kind, ranked: true, rank: rank}, "")
	if err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.library.apply(response.Records)
	l.listedAlone = l.listedAlone || l.alone
	if l.library.Token == "" {
		l.library.Token = response.Token
	}
	listed := 0
	for i := range response.Records {
		r := &response.Records[i]
		if r.Type != typeAsset {
			continue
		}
		listed++
		a := l.library.Assets[r.Name]
		if a == nil {
			continue
		}
		a.Main = a.Main || ix == visibleAssets
		if l.known == nil {
			continue
		}
		if earlier := l.known.Assets[r.Name]; earlier != nil && a.isSame(earlier) {
			l.library.Assets[r.Name] = earlier // frees the memory of the other one
		}
	}
	return listed, nil
}

// allAlbums lists all albums. Of the albums in known, those that it does not find are
// looked up, because folders that contain each other are below no other folder.
func (l *lister) allAlbums(ctx context.Context) error {
	known := l.known
	if err := l.albums(ctx, "", map[string]bool{}); err != nil || known == nil {
		return err
	}
	var unlisted []string
	for name := range known.Albums {
		if l.library.Albums[name] == nil {
			unlisted = append(unlisted, name)
		}
	}
	found, err := lookUp(ctx, l.service, l.zone, unlisted)
	if err != nil {
		return err
	}
	l.library.apply(found)
	for name, a := range l.library.Albums {
		if earlier := known.Albums[name]; earlier != nil {
			a.keep(earlier)
		}
	}
	return nil
}

// albums lists the albums below a folder, or all albums if folder is "". It skips
// the folders in seen and adds the folders that it lists.
func (l *lister) albums(ctx context.Context, folder string, seen map[string]bool) error {
	var folders []string
	for marker := ""; ; {
		response, err := queryPage(ctx, l.service, l.zone, query{kind: indexOfAlbums, parent: folder}, marker)
		if err != nil {
			return err
		}
		l.library.apply(response.Records)
		for i := range response.Records {
			name := response.Records[i].Name
			if a := l.library.Albums[name]; a != nil && a.Folder && !seen[name] {
				seen[name] = true
				folders = append(folders, name)
			}
		}
		if response.Marker == "" || response.Marker == marker {
			break
		}
		marker = response.Marker
	}
	for _, name := range folders {
		if err := l.albums(ctx, name, seen); err != nil {
			return err
		}
	}
	return nil
}

// members lists the assets of albums. An error that does not end the run is
// stored as that of its album.
func (l *lister) members(ctx context.Context, albums []string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxQueries)
	for _, name := range albums {
		group.Go(func() error {
			err := l.membersOf(ctx, name)
			if err == nil || endsRun(err) || ctx.Err() != nil {
				return err
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			l.library.membersErr[name] = err
			return nil
		})
	}
	return group.Wait()
}

func (l *lister) membersOf(ctx context.Context, name string) error {
	again := true
	for rank := 0; ; {
		response, err := queryPage(ctx, l.service, l.zone, query{kind: indexOfMembers, parent: name, ranked: true, rank: rank}, "")
		if err != nil {
			return err
		}
		listed := 0
		l.mu.Lock()
		for i := range response.Records {
			// The assets in the response are ignored: the indexes of assets list them.
			if r := &response.Records[i]; r.Type == typeRelation {
				l.library.applyRelation(r)
				listed++
			}
		}
		l.mu.Unlock()
		rank += listed
		switch {
		case listed >= pageRecords/memberRecords:
		case listed == 0 && again:
			again = false // a single empty page is not the end
		case listed == 0:
			return nil
		}
	}
}
