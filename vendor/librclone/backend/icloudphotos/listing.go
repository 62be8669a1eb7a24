package icloudphotos

import (
	"context"
	"sync"
	"sync/atomic"

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

	mu      sync.Mutex
	library *library
	edges   map[int]string // the first and the last asset of each page of an index, by rank
	listedPass
}

// listedPass is what was found in one pass of a listing.
type listedPass struct {
	listedAlone  bool // a page without masters was listed
	lacksMasters bool // an asset in such a page does not refer to its master
	moved        bool // assets have moved in an index while it was listed
}

// assets lists an index with count items. Pages are requested concurrently,
// because a page can begin at any rank. A page may be shorter than requested, and
// may be empty although more assets follow. Each page begins with the last asset of the
// page before it. If it is another one, assets have moved, and some may not be listed.
func (l *lister) assets(ctx context.Context, ix index, count int) error {
	l.edges = map[int]string{}
	first, err := l.page(ctx, ix, 0)
	if err != nil && l.alone && apierr.KindOf(err) == apierr.KindUnsupported {
		l.alone = false // the service does not support queries without masters
		first, err = l.page(ctx, ix, 0)
	}
	if err != nil {
		return err
	}
	step := l.stride() - 1
	var empty atomic.Int64 // consecutive windows without assets
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxQueries)
	for start := 0; start == 0 || start < count-1; start += step {
		through, last := min(start+step, count-1), start+step >= count-1
		listed := first
		first = nil
		group.Go(func() error {
			if empty.Load() >= maxEmptyWindows && !last {
				return nil
			}
			number, err := l.window(ctx, ix, listed, start, through, last)
			if empty.Add(1); number > 0 {
				empty.Store(0)
			}
			return err
		})
	}
	return group.Wait()
}

// maxEmptyWindows is the number of consecutive windows without assets after which the
// other windows are not listed. The service has counted more assets than there are.
const maxEmptyWindows = 16

// stride returns the maximum number of assets in a page.
func (l *lister) stride() int {
	if l.alone {
		return pageRecords
	}
	return pageRecords / 2
}

// window lists the assets with the ranks from rank through another rank, and returns
// their number. names is the first page, or nil. The last window also lists assets that
// were added to the index after it was counted. A window may miss assets:
// loader.compareCounts finds that.
func (l *lister) window(ctx context.Context, ix index, names []string, rank, through int, last bool) (int, error) {
	seen := map[string]bool{}
	for again := true; ; {
		if names == nil {
			var err error
			if names, err = l.page(ctx, ix, rank); err != nil {
				return len(seen), err
			}
		}
		before, reached := len(seen), rank+len(names)-1
		for _, name := range names {
			seen[name] = true
		}
		isNew := len(seen) > before
		switch {
		case reached >= through && (!isNew || !last || len(names) < l.stride()), !isNew && !again:
			return len(seen), nil
		case !isNew:
			again = false // a single page without new assets is not the end
			rank = reached + 1
		case len(names) == 1:
			rank = reached + 1
		default:
			rank = reached
		}
		names = nil
	}
}

// page lists a page of assets from a rank and returns their record names.
func (l *lister) page(ctx context.Context, ix index, rank int) (names []string, err error) {
	kind := ix.withMasters
	if l.alone {
		kind = ix.alone
	}
	response, err := queryPage(ctx, l.service, l.zone, query{kind: kind, ranked: true, rank: rank}, "")
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.library.apply(response.Records)
	l.listedAlone = l.listedAlone || l.alone
	if l.library.Token == "" {
		l.library.Token = response.Token
	}
	for i := range response.Records {
		r := &response.Records[i]
		if r.Type != typeAsset {
			continue
		}
		names = append(names, r.Name)
		l.lacksMasters = l.lacksMasters || l.alone && r.master() == "" && !r.isSparse()
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
	if len(names) > 0 {
		l.noteEdge(rank, names[0])
		l.noteEdge(rank+len(names)-1, names[len(names)-1])
	}
	return names, nil
}

// noteEdge compares the first or the last asset of a page with the asset that another
// page has at the same rank. The caller has locked l.
func (l *lister) noteEdge(rank int, name string) {
	other, isKnown := l.edges[rank]
	l.moved = l.moved || isKnown && other != name
	l.edges[rank] = name
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
	listed := map[string]bool{}
	empty := 0
	for marker := ""; ; {
		response, err := queryPage(ctx, l.service, l.zone, query{kind: indexOfAlbums, parent: folder}, marker)
		if err != nil {
			return err
		}
		l.library.apply(response.Records)
		before := len(listed)
		for i := range response.Records {
			name := response.Records[i].Name
			listed[name] = true
			if a := l.library.Albums[name]; a != nil && a.Folder && !seen[name] {
				seen[name] = true
				folders = append(folders, name)
			}
		}
		if response.Marker == "" || response.Marker == marker {
			break
		}
		if empty++; len(listed) > before {
			empty = 0
		}
		if empty == maxEmptyPages {
			return apierr.Damaged("the list of albums does not end")
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
	again, seen := true, map[string]bool{}
	for rank := 0; ; {
		response, err := queryPage(ctx, l.service, l.zone, query{kind: indexOfMembers, parent: name, ranked: true, rank: rank}, "")
		if err != nil {
			return err
		}
		listed, before := 0, len(seen)
		l.mu.Lock()
		for i := range response.Records {
			// The assets in the response are ignored: the indexes of assets list them.
			if r := &response.Records[i]; r.Type == typeRelation {
				l.library.applyRelation(r)
				seen[r.Name] = true
				listed++
			}
		}
		l.mu.Unlock()
		rank += listed
		switch isNew := len(seen) > before; {
		case isNew:
		case again:
			again = false // a single empty page is not the end
		default:
			return nil
		}
	}
}
