package drive

import (
	"context"
	"slices"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"

	"github.com/rclone/rclone/backend/iclouddrive/api"
)

// Listing is the outcome of listing one folder.
type Listing struct {
	Items   []*Item
	Invalid []*InvalidItem // items that cannot be used
	// Err is why the folder could not be listed or, if there are items, why
	// there may be more of them.
	Err error
	// Doubt is why there may be more items, by counters whose meaning is not
	// certain, or nil. Only ListCounted sets it.
	Doubt error
}

// ListFolders lists several folders with as few requests as the service allows. A
// folder whose listing is requested in order to find one of the others is not
// listed twice.
func (d *Drive) ListFolders(ctx context.Context, dirs [][]string) []Listing {
	return d.listFolders(ctx, dirs, false)
}

// ListCounted is ListFolders that also compares the listings with all counters of
// the service, and sets Listing.Doubt. The items of a doubtful listing are usable.
func (d *Drive) ListCounted(ctx context.Context, dirs [][]string) []Listing {
	return d.listFolders(ctx, dirs, true)
}

// listFolders implements ListFolders and, if compare is set, ListCounted.
func (d *Drive) listFolders(ctx context.Context, dirs [][]string, compare bool) []Listing {
	begun := d.folders.now()
	if ctx.Value(knownKey) != nil {
		begun = time.Time{}
	}
	listed := make([]Listing, len(dirs))
	var places []place
	var targets []target
	var at []int
	for i, names := range dirs {
		found, err := d.walk(ctx, names, false)
		if err != nil {
			listed[i].Err = err
			continue
		}
		if fresh, ok := d.folders.listedSince(found.id, begun); ok {
			listed[i] = found.contents(fresh)
			continue
		}
		places, targets, at = append(places, found), append(targets, found.target()), append(at, i)
	}
	var contradicted bool // the service has contradicted itself about one folder, after all retries
	for n, outcome := range d.lister.list(ctx, targets) {
		i, found := at[n], places[n]
		if isGone(outcome.err) && d.isThere(found.id) {
			outcome = d.listOne(ctx, found)
		}
		if outcome.err == nil && !found.moved(outcome.self) {
			if compare {
				outcome = d.examine(ctx, found, outcome)
			}
			listed[i] = found.contents(outcome)
			if compare {
				listed[i].Doubt = apierr.About(outcome.doubt, "list", found.path)
			}
			continue
		}
		listed[i].Err = outcome.err
		switch {
		case contradicted && isGone(outcome.err):
			listed[i].Err = errContradiction
		case outcome.err == nil || isGone(outcome.err):
			listed[i] = d.listMoved(ctx, dirs[i])
			contradicted = listed[i].Items == nil && apierr.HasKind(listed[i].Err, apierr.KindDamaged)
		}
		listed[i].Err = apierr.About(listed[i].Err, "list", found.path)
	}
	return listed
}

// contents returns the listing of a folder for callers. A child that is the folder
// itself or one of its ancestors is invalid.
func (p place) contents(listed folderContents) Listing {
	shown := Listing{Items: make([]*Item, 0, len(listed.items)), Invalid: listed.invalid, Err: apierr.About(listed.short, "list", p.path)}
	for _, it := range listed.items {
		if err := p.loops(it); err != nil {
			shown.Invalid = append(slices.Clip(shown.Invalid), &InvalidItem{Name: it.Shown, Err: err})
		} else {
			shown.Items = append(shown.Items, it)
		}
	}
	return shown
}

// moved reports whether a folder has another parent or name than in the cache,
// according to its own listing. It returns false for shared folders, whose parents
// cannot be compared.
func (p place) moved(self *driveItem) bool {
	if p.item == nil || p.item.Shared() || p.item.Library || self == nil {
		return false
	}
	parent := p.parent
	if p.item.within != "" {
		parent = p.item.within
	}
	return self.ParentID != "" && self.parentDoc() != api.GetDocIDFromDriveID(parent) ||
		self.Name != "" && nameKey(self.fullName()) != nameKey(p.item.Name)
}

// listMoved lists a folder whose path in the cache was out of date.
func (d *Drive) listMoved(ctx context.Context, names []string) Listing {
	for try := 2; ; try++ { // the first attempt used the cache
		for id := range d.ancestors(names) {
			d.folders.forget(id)
		}
		found, err := d.walk(ctx, names, false)
		if err != nil {
			return Listing{Err: err}
		}
		outcome := d.listOne(ctx, found)
		if outcome.err == nil {
			return found.contents(outcome)
		}
		if !isGone(outcome.err) {
			return Listing{Err: outcome.err}
		}
		if err := d.stillListed(ctx, try, outcome.err); err != nil {
			return Listing{Err: err}
		}
	}
}

// ancestors returns the ids of the root and of the folders on a path, as far as
// the cache has them.
func (d *Drive) ancestors(names []string) map[string]bool {
	ids := map[string]bool{rootID: true}
	id := rootID
	for _, name := range names {
		got, _ := d.folders.find(id, name)
		if got.like == nil {
			break
		}
		id = got.like.ID
		ids[id] = true
	}
	return ids
}
