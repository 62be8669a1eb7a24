package icloud

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// folders is the directory cache of one account: what the folders of the drive
// hold, by their ids, as the service's listings and our own changes tell.
//
// What is here can be out of date: others change the drive too. Who relies on
// it to write is told by the service (a conflict, a name that it changed, an id
// that is gone) and forgets the folder; who relies on it to find something
// looks at the age.
type folders struct {
	mu      sync.Mutex
	byID    map[string]*folder
	recent  *list.List // of *folder with known contents, the last used first
	items   int        // in all folders with known contents, and these folders
	largest *folder    // of those with known contents; it is not counted against longest
	longest int        // items kept
	now     func() time.Time
}

// folder is what is known of one folder.
type folder struct {
	id       string
	children *children      // nil while not known
	listed   time.Time      // when the listing was asked for that children come from
	short    error          // why there may be more children than that listing had, or nil
	invalid  []*invalidItem // items of that listing that cannot be used
	made     time.Time      // when it was made, if we made it
	element  *list.Element

	// filling is held while the folder is being listed or a child folder made,
	// so that many who need the same do it once.
	filling chan struct{}
	// Changes of our own while listings are under way: a listing may have been
	// answered before or after them.
	listings int
	journal  []change
}

// change is one change of our own in a folder.
type change struct {
	put  *item  // what is there now, or nil
	drop string // the id that is gone, or ""
}

func newFolders(longest int) *folders {
	return &folders{byID: map[string]*folder{}, recent: list.New(), longest: longest, now: time.Now}
}

// at gives the record of a folder, making it; mu is held.
func (f *folders) at(id string) *folder {
	known, ok := f.byID[id]
	if !ok {
		known = &folder{id: id, filling: make(chan struct{}, 1)}
		f.byID[id] = known
	}
	return known
}

// contents gives what is known of a folder, nil for nothing; mu is held.
func (f *folders) contents(id string) *children {
	if in := f.byID[id]; in != nil {
		return in.children
	}
	return nil
}

// found is what a look-up by name gave.
type found struct {
	exact  *item     // the child of that name
	like   *item     // that, or one whose name differs by case
	listed time.Time // when the listing was asked for
	short  error     // why the folder may have it all the same, or nil
}

// lookedUp is the outcome of a look-up in a listing.
func lookedUp(exact, like *item, name string, short error, invalid []*invalidItem) found {
	if like == nil {
		if err := invalidNamed(invalid, name); err != nil {
			short = err
		}
	}
	return found{exact: exact, like: like, short: short}
}

// find looks for a child by its name. known is false when the folder's contents
// are not.
func (f *folders) find(id, name string) (got found, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	in := f.byID[id]
	if in == nil || in.children == nil {
		return found{}, false
	}
	f.recent.MoveToFront(in.element)
	exact, like := in.children.find(name)
	got = lookedUp(exact, like, name, in.short, in.invalid)
	got.listed = in.listed
	return got, true
}

// listedSince gives what a folder shows, if it was listed after a time.
func (f *folders) listedSince(id string, begun time.Time) (listing, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	in := f.byID[id]
	if in == nil || in.children == nil || !in.listed.After(begun) {
		return listing{}, false
	}
	return listing{items: in.children.visible(), invalid: in.invalid, short: in.short}, true
}

// findCoarsely gives a child by a rule that takes more names for the same.
func (f *folders) findCoarsely(id, name string) *item {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known := f.contents(id); known != nil {
		return known.findCoarsely(name)
	}
	return nil
}

// findID gives a child by its id, if the contents are known.
func (f *folders) findID(id, childID string) *item {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known := f.contents(id); known != nil {
		return known.withID(childID)
	}
	return nil
}

// leftovers gives the uploads in a folder that nobody will finish: old ones, and
// those of a file that was replaced since.
func (f *folders) leftovers(id, replaced string) []*item {
	return f.uploads(id, func(known *children, child *item, made leftover) bool {
		return known.hides(child) && (f.now().Sub(made.made) > leftoverAge || made.replaces(replaced))
	})
}

// leftoversOf gives the unfinished replacements of a file in a folder.
func (f *folders) leftoversOf(id, name string) []*item {
	return f.uploads(id, func(_ *children, _ *item, made leftover) bool { return made.replaces(name) })
}

// uploads gives the children of a folder whose names are of uploads under way,
// those that wanted accepts.
func (f *folders) uploads(id string, wanted func(*children, *item, leftover) bool) (found []*item) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.contents(id)
	if known == nil {
		return nil
	}
	for childID := range known.uploads {
		child := known.withID(childID)
		if made, ok := parseLeftover(child.name); ok && wanted(known, child, made) {
			found = append(found, child)
		}
	}
	return found
}

// ticket is a listing under way.
type ticket struct {
	folder  *folder
	started time.Time
	changes int   // of our own before it
	short   error // why it did not bring all that is in the folder, or nil
	invalid []*invalidItem
}

// begin is called before a listing is asked for.
func (f *folders) begin(id string) *ticket {
	f.mu.Lock()
	defer f.mu.Unlock()
	in := f.at(id)
	in.listings++
	return &ticket{folder: in, started: f.now(), changes: len(in.journal)}
}

// end is called with what was listed, or nil, and gives what the folder shows.
// The changes that we made in the meantime are made again on top of it. A
// listing that is older than what is known is not kept.
func (f *folders) end(t *ticket, listed []*item) []*item {
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

// put records that an item of ours is now in a folder, whatever it was before.
func (f *folders) put(id string, child *item) { f.record(id, change{put: child}) }

// drop records that an item is no longer in a folder.
func (f *folders) drop(id, childID string) { f.record(id, change{drop: childID}) }

func (f *folders) record(id string, made change) {
	f.mu.Lock()
	defer f.mu.Unlock()
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

// started records a folder that was just made: it is empty.
func (f *folders) started(id string) {
	t := f.begin(id)
	f.mu.Lock()
	t.folder.made = f.now()
	f.mu.Unlock()
	f.end(t, []*item{})
}

// newFor is how long the service may take to list a folder that it has made.
const newFor = 10 * time.Second

// isNew reports whether we have made a folder so recently that the service may
// not list it yet.
func (f *folders) isNew(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	in, ok := f.byID[id]
	return ok && f.now().Sub(in.made) < newFor
}

// forget drops what is known of a folder's contents, and what listings that
// are under way will tell of them.
func (f *folders) forget(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if in, ok := f.byID[id]; ok {
		f.empty(in)
		in.listed = f.now()
		f.release(in)
	}
}

// forgetAll drops everything.
func (f *folders) forgetAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, in := range f.byID {
		f.empty(in)
		in.listed = f.now()
		f.release(in)
	}
}

// empty makes the contents of a folder unknown; mu is held.
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

// size is what a folder with known contents counts.
func (in *folder) size() int { return 1 + len(in.children.byName) }

// shrink forgets folders that were not used for long; mu is held. The largest
// one stays, whatever its size: listing it again and again would cost most.
func (f *folders) shrink() {
	for f.items > f.longest {
		at := f.recent.Back()
		if at.Value.(*folder) == f.largest {
			at = at.Prev()
		}
		if at == nil || f.items-f.largest.size() <= f.longest {
			return
		}
		in := at.Value.(*folder)
		f.empty(in)
		f.release(in)
	}
}

// release lets go of the record of a folder that nobody needs; mu is held.
func (f *folders) release(in *folder) {
	if in.children == nil && in.listings == 0 && len(in.filling) == 0 && f.now().Sub(in.made) >= newFor {
		delete(f.byID, in.id)
	}
}

// fill waits for the turn to list a folder or to make one in it.
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
