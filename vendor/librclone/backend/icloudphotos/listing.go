package icloudphotos

import (
	"cmp"
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
)

// lister lists a zone completely.
type lister struct {
	service        *database
	known          *library // the state before the listing, or nil
	withoutMasters bool     // assets are listed without masters, because masters are known

	mu      sync.Mutex
	library *library
	edges   map[int]string // the first and the last asset of each page of an index, by rank
	found   findings       // in the current pass
}

// findings is what is found in one pass of a listing.
type findings struct {
	withoutMasters bool // a page without masters was listed
	lacksMasters   bool // an asset in a page without masters does not refer to its master
	moved          bool // assets have moved in an index while it was listed
}

// assets lists an index with count items. Pages are requested concurrently,
// because a page can begin at any rank. A page may be shorter than requested, and
// may be empty although more assets follow. Each page begins with the last asset of the
// page before it. If it begins with another asset, assets have moved, and the listing may
// lack some.
func (l *lister) assets(ctx context.Context, ix index, count int) error {
	l.edges = map[int]string{}
	first, err := l.page(ctx, ix, 0)
	if err != nil {
		return err
	}
	var empty atomic.Int64 // consecutive windows without assets
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxQueries)
	step := l.pageSize(ix) - 1
	for start := 0; start == 0 || start < count-1; start += step {
		w := window{index: ix, rank: start, through: min(start+step, count-1), last: start+step >= count-1}
		if start == 0 {
			w.first = first
		}
		if empty.Load() >= maxEmptyWindows && !w.last {
			continue
		}
		group.Go(func() error {
			number, err := l.window(ctx, w)
			if number > 0 {
				empty.Store(0)
			} else {
				empty.Add(1)
			}
			return err
		})
	}
	return group.Wait()
}

// maxEmptyWindows is the number of consecutive windows without assets after which only
// the last window is still listed, because the service has counted too many assets. The
// number is a guess: kei expects stretches of ranks whose assets were deleted.
// https://github.com/rhoopr/kei/blob/aa722f4dc7e6d383e89729db33104e44a1be3950/src/icloud/photos/album.rs
const maxEmptyWindows = 100

// omitsMasters reports whether an index is listed without masters. That of bursts is
// always listed with them, because compareCounts cannot find that it lacks assets.
func (l *lister) omitsMasters(ix index) bool { return l.withoutMasters && ix != burstAssets }

// listMasters lets the next pass list masters, too.
func (l *lister) listMasters() {
	l.withoutMasters, l.library.Masters = false, map[string]*master{}
}

// pageSize returns the maximum number of assets in a page of an index.
func (l *lister) pageSize(ix index) int {
	if l.omitsMasters(ix) {
		return pageRecords
	}
	return pageRecords / 2
}

// window is a range of ranks of an index.
type window struct {
	index         index
	rank, through int      // the first and the last rank
	last          bool     // assets that were added after the index was counted are listed, too
	first         []string // the assets of the first page, or nil if it was not requested
}

// window lists the assets of a window and returns their number. It may miss assets:
// loader.compareCounts finds that.
func (l *lister) window(ctx context.Context, w window) (int, error) {
	seen := map[string]bool{}
	names, rank := w.first, w.rank
	for retried := false; ; names = nil {
		if names == nil {
			var err error
			if names, err = l.page(ctx, w.index, rank); err != nil {
				return len(seen), err
			}
		}
		before, end := len(seen), rank+len(names)-1
		for _, name := range names {
			seen[name] = true
		}
		isNew := len(seen) > before
		mayContinue := w.last && isNew && len(names) >= l.pageSize(w.index)
		if end >= w.through && !mayContinue || !isNew && retried {
			return len(seen), nil
		}
		retried = retried || !isNew // a single page without new assets is not the end
		if rank = end; !isNew || len(names) == 1 {
			rank++ // a page of one asset would be returned again
		}
	}
}

// page lists a page of assets from a rank and returns their record names.
func (l *lister) page(ctx context.Context, ix index, rank int) (names []string, err error) {
	kind := ix.withMasters
	if l.omitsMasters(ix) {
		kind = ix.alone
	}
	response, err := queryPage(ctx, l.service, l.library.zone, query{kind: kind, ranked: true, rank: rank}, "")
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.library.apply(response.Records)
	l.library.Token = cmp.Or(l.library.Token, response.Token)
	l.found.withoutMasters = l.found.withoutMasters || l.omitsMasters(ix)
	inPage := map[string]bool{}
	for i := range response.Records {
		r := &response.Records[i]
		if r.Type != typeAsset || inPage[r.Name] { // the repetition of a record has no rank
			continue
		}
		inPage[r.Name] = true
		names = append(names, r.Name)
		if a := l.library.Assets[r.Name]; a != nil {
			a.Main = a.Main || ix == visibleAssets
			l.checkMaster(ix, r.Name)
			l.shareAsset(r.Name)
		}
	}
	if len(names) > 0 {
		l.noteEdge(rank, names[0])
		l.noteEdge(rank+len(names)-1, names[len(names)-1])
	}
	return names, nil
}

// checkMaster notes an asset in a page without masters that does not refer to its master,
// unless the asset is known to have none.
func (l *lister) checkMaster(ix index, name string) {
	if l.omitsMasters(ix) && l.library.Assets[name].Master == "" {
		earlier := l.known.Assets[name]
		l.found.lacksMasters = l.found.lacksMasters || earlier == nil || earlier.Master != ""
	}
}

// shareAsset replaces a listed asset that equals that of the known state by the latter.
// This saves memory, and forgetMasters recognizes unchanged assets by it.
func (l *lister) shareAsset(name string) {
	if l.known == nil {
		return
	}
	if earlier := l.known.Assets[name]; earlier != nil && l.library.Assets[name].isSame(earlier) {
		l.library.Assets[name] = earlier
	}
}

// noteEdge compares the first or the last asset of a page with the asset that another
// page has at the same rank. The caller has locked l.
func (l *lister) noteEdge(rank int, name string) {
	other, isKnown := l.edges[rank]
	l.found.moved = l.found.moved || isKnown && other != name
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
	found, err := lookUp(ctx, l.service, l.library.zone, unlisted)
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
	var empty emptyPages
	for marker := ""; ; {
		response, err := queryPage(ctx, l.service, l.library.zone, query{kind: indexOfAlbums, parent: folder}, marker)
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
		if empty.isEndless(len(listed) > before) {
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
		response, err := queryPage(ctx, l.service, l.library.zone, query{kind: indexOfMembers, parent: name, ranked: true, rank: rank}, "")
		if err != nil {
			return err
		}
		listed, before, inPage := 0, len(seen), map[string]bool{}
		l.mu.Lock()
		for i := range response.Records {
			// The assets in the response are ignored: the indexes of assets list them.
			if r := &response.Records[i]; r.Type == typeRelation {
				l.library.applyRelation(r)
				if !inPage[r.Name] {
					listed++
				}
				inPage[r.Name], seen[r.Name] = true, true
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
