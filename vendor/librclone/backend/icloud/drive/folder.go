package drive

import (
	"container/list"
	"context"
	"slices"
	"sync"
	"time"
)

// folders is the directory cache of a drive. It has the contents of folders by
// their ids, from the service's listings and the changes of this process.
//
// The cache can be out of date, because other devices change the drive, too. If
// an outdated entry is used for a write, the service reports a conflict, another
// name or an unknown id, and the folder is dropped from the cache. If an entry is
// used for a look-up, its age is checked.
type folders struct {
	mu      sync.Mutex
	byID    map[string]*folder
	recent  *list.List // of *folder with known contents, the last used first
	items   int        // number of folders with known contents and of the items in them
	largest *folder    // the largest of them; it does not count towards limit
	limit   int        // the maximum of items
	assumed []*Item    // folders of assume
	now     func() time.Time
}

// folder is the cached state of a folder.
type folder struct {
	id       string
	children *children      // nil while the contents are unknown
	listed   time.Time      // when the listing was requested that children comes from
	short    error          // why there may be more children than in that listing, or nil
	invalid  []*InvalidItem // items of that listing that cannot be used
	made     time.Time      // when this process created the folder, or zero
	element  *list.Element  // in folders.recent

	// filling is held while the folder is being listed or a child folder is
	// being created, so that concurrent callers share the operation.
	filling chan struct{}
	// listings is the number of listings under way, and journal the changes that
	// this process has made meanwhile. A listing may or may not contain them.
	listings int
	journal  []change
}

// change is a change that this process has made in a folder.
type change struct {
	put  *Item  // the new or changed item, or nil
	drop string // the id of the removed item, or ""
}

func newFolders(limit int) *folders {
	return &folders{byID: map[string]*folder{}, recent: list.New(), limit: limit, now: time.Now}
}

// at returns the record of a folder and creates it if necessary. mu must be
// held.
func (f *folders) at(id string) *folder {
	known, ok := f.byID[id]
	if !ok {
		known = &folder{id: id, filling: make(chan struct{}, 1)}
		f.byID[id] = known
	}
	return known
}

// contents returns the known contents of a folder, or nil. mu must be held.
func (f *folders) contents(id string) *children {
	if in := f.byID[id]; in != nil {
		return in.children
	}
	return nil
}

// found is the result of a look-up by name.
type found struct {
	exact  *Item     // the child with that name, or nil
	like   *Item     // exact, or a child whose name differs in case, or nil
	listed time.Time // when the listing was requested
	short  error     // why the folder may have the child although the listing lacks it, or nil
}

// lookedUp returns the result of a look-up in a listing with invalid items.
func lookedUp(exact, like *Item, name string, short error, invalid []*InvalidItem) found {
	if like == nil {
		if err := invalidNamed(invalid, name); err != nil {
			short = err
		}
	}
	return found{exact: exact, like: like, short: short}
}

// find looks up a child by its name in the cached contents of a folder. known is
// false if they are unknown.
func (f *folders) find(id, name string) (got found, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	in := f.byID[id]
	if in == nil || in.children == nil {
		return f.findAssumed(id, name)
	}
	f.recent.MoveToFront(in.element)
	exact, like := in.children.find(name)
	got = lookedUp(exact, like, name, in.short, in.invalid)
	got.listed = in.listed
	return got, true
}

// listedSince returns the listing of a folder if it was requested after a time.
func (f *folders) listedSince(id string, begun time.Time) (folderContents, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	in := f.byID[id]
	if in == nil || in.children == nil || !in.listed.After(begun) {
		return folderContents{}, false
	}
	return folderContents{items: in.children.visible(), invalid: in.invalid, short: in.short}, true
}

// findCoarsely returns a child whose name has the same coarseKey, or nil.
func (f *folders) findCoarsely(id, name string) *Item {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known := f.contents(id); known != nil {
		return known.findCoarsely(name)
	}
	return nil
}

// findID returns a child by its id, or nil.
func (f *folders) findID(id, childID string) *Item {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known := f.contents(id); known != nil {
		return known.withID(childID)
	}
	return nil
}

// leftover returns the new file of a replacement, or nil, and the item that has its
// name, or nil. known is false if the contents of the folder are not cached.
func (f *folders) leftover(id string, made replacement) (child, holder *Item, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	in := f.contents(id)
	if in == nil {
		return nil, nil, false
	}
	child = in.withID(made.ID)
	holder, _ = in.find(made.Replaces)
	if holder != nil && holder.ID == made.ID {
		holder = nil // the new file is shown in place of the replaced one
	}
	if old := in.withID(made.Old); holder == nil && old != nil && foldKey(old.Name) == foldKey(made.Replaces) {
		holder = old
	}
	return child, holder, true
}

// forgotten returns the leftovers in a folder that no process has completed within an
// hour.
func (f *folders) forgotten(id string) []*Item {
	return f.uploads(id, func(known *children, child *Item, made leftover) bool {
		return known.hides(child) && f.now().Sub(made.made) > leftoverAge
	})
}

// leftoversOf returns the leftovers in a folder that were to replace a file.
func (f *folders) leftoversOf(id, name string) []*Item {
	return f.uploads(id, func(_ *children, _ *Item, made leftover) bool { return made.replaces(name) })
}

// uploads returns the children of a folder that have the name of a leftover and
// that wanted accepts.
func (f *folders) uploads(id string, wanted func(*children, *Item, leftover) bool) (found []*Item) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.contents(id)
	if known == nil {
		return nil
	}
	for childID := range known.uploads {
		child := known.withID(childID)
		if made, ok := parseLeftover(child.Name); ok && wanted(known, child, made) {
			found = append(found, child)
		}
	}
	return found
}

// ticket is a listing under way.
type ticket struct {
	folder  *folder
	started time.Time
	changes int   // the length of the journal at the start
	short   error // why the listing may be incomplete, or nil
	invalid []*InvalidItem
}

// begin must be called before a listing is requested, and end after it.
func (f *folders) begin(id string) *ticket {
	f.mu.Lock()
	defer f.mu.Unlock()
	in := f.at(id)
	in.listings++
	return &ticket{folder: in, started: f.now(), changes: len(in.journal)}
}

// end stores the listed items, unless the cached contents are newer. listed is nil
// if the listing failed. end returns the items that the folder shows, with the
// changes that this process has made in the meantime.
func (f *folders) end(t *ticket, listed []*Item) []*Item {
	f.mu.Lock()
	defer f.mu.Unlock()
	in := t.folder
	in.listings--
	made := in.journal[t.changes:]
	if in.listings == 0 {
		in.journal = nil
	}
	defer f.release(in)
	if listed == nil {
		return nil
	}
	arranged := arrange(listed)
	for _, change := range made {
		arranged.apply(change)
	}
	if !t.started.Before(in.listed) {
		f.empty(in)
		in.children = arranged
		in.listed, in.short, in.invalid = t.started, t.short, t.invalid
		in.element = f.recent.PushFront(in)
		f.items += in.size()
		if f.largest == nil || in.size() > f.largest.size() {
			f.largest = in
		}
		f.shrink()
	}
	return arranged.visible()
}

// put records that this process has stored an item in a folder, or changed it.
func (f *folders) put(id string, child *Item) { f.record(id, change{put: child}) }

// drop records that an item is no longer in a folder.
func (f *folders) drop(id, childID string) { f.record(id, change{drop: childID}) }

func (f *folders) record(id string, made change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.assumed = slices.DeleteFunc(f.assumed, func(child *Item) bool {
		return child.ID == made.drop || made.put != nil && child.ID == made.put.ID
	})
	in := f.byID[id]
	if in == nil {
		return
	}
	if in.listings > 0 {
		in.journal = append(in.journal, made)
	}
	if in.children != nil {
		before := len(in.children.byName)
		in.children.apply(made)
		f.items += len(in.children.byName) - before
		f.shrink()
	}
}

// started records a folder that was just created and is empty.
func (f *folders) started(id string) {
	t := f.begin(id)
	f.mu.Lock()
	t.folder.made = f.now()
	f.mu.Unlock()
	f.end(t, []*Item{})
}

// newFor is how long the service may take to list a folder that it has created.
const newFor = 10 * time.Second

// isNew reports whether this process has created a folder so recently that the
// service may not list it yet.
func (f *folders) isNew(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	in, ok := f.byID[id]
	return ok && f.now().Sub(in.made) < newFor
}

// forget drops the known contents of a folder. The results of listings under way
// will not be stored.
func (f *folders) forget(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.assumed = slices.DeleteFunc(f.assumed, func(child *Item) bool { return child.Parent == id })
	if in, ok := f.byID[id]; ok {
		f.empty(in)
		in.listed = f.now()
		f.release(in)
	}
}

// forgetAll drops the contents of all folders.
func (f *folders) forgetAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.assumed = nil
	for _, in := range f.byID {
		f.empty(in)
		in.listed = f.now()
		f.release(in)
	}
}

// empty drops the contents of a folder. mu must be held.
func (f *folders) empty(in *folder) {
	if in.children == nil {
		return
	}
	f.items -= in.size()
	f.recent.Remove(in.element)
	in.children, in.invalid, in.element = nil, nil, nil
	if f.largest == in {
		f.largest = nil
		for at := f.recent.Front(); at != nil; at = at.Next() {
			if other := at.Value.(*folder); f.largest == nil || other.size() > f.largest.size() {
				f.largest = other
			}
		}
	}
}

// size returns by how much a folder with known contents counts towards the limit.
func (in *folder) size() int { return 1 + len(in.children.byName) }

// shrink drops the contents of the least recently used folders. The largest folder
// is kept whatever its size, because listing it again is the most expensive. mu
// must be held.
func (f *folders) shrink() {
	for f.items > f.limit {
		at := f.recent.Back()
		if at.Value.(*folder) == f.largest {
			at = at.Prev()
		}
		if at == nil || f.items-f.largest.size() <= f.limit {
			return
		}
		in := at.Value.(*folder)
		f.empty(in)
		f.release(in)
	}
}

// release removes the record of a folder that is no longer needed. mu must be
// held.
func (f *folders) release(in *folder) {
	if in.children == nil && in.listings == 0 && len(in.filling) == 0 && f.now().Sub(in.made) >= newFor {
		delete(f.byID, in.id)
	}
}

// fill waits until no other caller lists a folder or creates a folder in it. done
// must be called afterwards.
func (f *folders) fill(ctx context.Context, id string) (done func(), err error) {
	f.mu.Lock()
	turn := f.at(id).filling
	f.mu.Unlock()
	select {
	case turn <- struct{}{}:
		return func() {
			<-turn
			f.mu.Lock()
			defer f.mu.Unlock()
			if in := f.byID[id]; in != nil && in.filling == turn {
				f.release(in)
			}
		}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
