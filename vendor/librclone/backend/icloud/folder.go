package icloud

import (
	"container/list"
	"context"
	"strings"
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
	longest int        // items kept; more only within one folder
	now     func() time.Time
}

// folder is what is known of one folder.
type folder struct {
	id       string
	children map[string]*item // by nameKey of the shown name; nil while not known
	listed   time.Time        // when the listing was asked for that children come from
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

// children gives what is known of a folder, nil for nothing; mu is held.
func (f *folders) children(id string) map[string]*item {
	if in := f.byID[id]; in != nil {
		return in.children
	}
	return nil
}

// find gives a child by its name. known is false when the folder's contents are
// not; listed is when they were asked for.
func (f *folders) find(id, name string) (child *item, listed time.Time, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	in := f.byID[id]
	if in == nil || in.children == nil {
		return nil, time.Time{}, false
	}
	f.recent.MoveToFront(in.element)
	return in.children[nameKey(name)], in.listed, true
}

// findCoarsely is find by a rule that takes more names for the same.
func (f *folders) findCoarsely(id, name string) *item {
	f.mu.Lock()
	defer f.mu.Unlock()
	wanted := coarseKey(name)
	for _, child := range f.children(id) {
		if coarseKey(child.name) == wanted {
			return child
		}
	}
	return nil
}

// findID gives a child by its id, if the contents are known.
func (f *folders) findID(id, childID string) *item {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, child := range f.children(id) {
		if child.id == childID {
			return child
		}
	}
	return nil
}

// known reports whether the contents of a folder are known.
func (f *folders) known(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.children(id) != nil
}

// leftovers gives the uploads in a folder that nobody will finish.
func (f *folders) leftovers(id string) []*item {
	f.mu.Lock()
	defer f.mu.Unlock()
	var found []*item
	children := f.children(id)
	for _, child := range children {
		if made, ok := parseLeftover(child.name); ok && hidden(children, child) && f.now().Sub(made.made) > leftoverAge {
			found = append(found, child)
		}
	}
	return found
}

// leftoversOf gives the unfinished replacements of a file in a folder.
func (f *folders) leftoversOf(id, name string) []*item {
	f.mu.Lock()
	defer f.mu.Unlock()
	var found []*item
	for _, child := range f.children(id) {
		if made, ok := parseLeftover(child.name); ok && made.replaces(name) {
			found = append(found, child)
		}
	}
	return found
}

// ticket is a listing under way.
type ticket struct {
	folder  *folder
	started time.Time
	changes int // of our own before it
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
	children := arrange(listed)
	for _, change := range made {
		apply(children, change)
	}
	if !t.started.Before(in.listed) {
		f.empty(in)
		in.children = children
		in.listed = t.started
		in.element = f.recent.PushFront(in)
		f.items += 1 + len(children)
		f.shrink()
	}
	return visible(children)
}

// arrange puts the children of a folder under the names that they are shown
// with. The order of a listing does not matter for the outcome.
func arrange(listed []*item) map[string]*item {
	children := make(map[string]*item, len(listed))
	var unfinished []*item
	for _, child := range listed {
		if isLeftover(child.name) {
			unfinished = append(unfinished, child)
			continue
		}
		placeChild(children, child)
	}
	for _, child := range unfinished {
		placeChild(children, child)
	}
	for _, child := range unfinished {
		standIn(children, child)
	}
	return children
}

// placeChild adds a child. Where the service has two items of one name, the one with
// the smaller id keeps it; the other's name gets a part of its id.
func placeChild(children map[string]*item, child *item) {
	key := nameKey(child.shown)
	other, taken := children[key]
	if !taken || other.id == child.id {
		children[key] = child
		return
	}
	if child.id < other.id {
		children[key] = child
		child = other
	}
	renamed := *child // which others may hold
	stem, extension := splitName(child.name)
	renamed.shown = stem + " (" + shortID(child.docID()) + ")"
	if extension != "" {
		renamed.shown += "." + extension
	}
	children[nameKey(renamed.shown)] = &renamed
}

func shortID(docID string) string {
	return strings.ToLower(docID[:min(8, len(docID))])
}

// standIn shows a complete replacement under the name of the file that it
// replaces when that file is gone: the process that made it was killed between
// the two steps that end a replacement. Of several the newest counts.
func standIn(children map[string]*item, child *item) {
	made, _ := parseLeftover(child.name)
	if made.hash != "" {
		return // the whole name is not known; the file is shown as it is
	}
	key := nameKey(made.name)
	if holder, taken := children[key]; taken {
		held, ok := parseLeftover(holder.name)
		if !ok || held.made.After(made.made) {
			return
		}
		older := *holder
		older.shown = older.name
		children[nameKey(older.shown)] = &older
	}
	delete(children, nameKey(child.shown))
	stand := *child
	stand.shown = made.name
	children[key] = &stand
}

// hidden reports whether a child is a leftover that listings leave out.
func hidden(children map[string]*item, child *item) bool {
	made, ok := parseLeftover(child.name)
	if !ok || child.shown != child.name {
		return false
	}
	if made.hash == "" {
		return true
	}
	for _, other := range children {
		if other != child && made.replaces(other.name) {
			return true
		}
	}
	return false
}

// visible gives what a listing shows, in no order.
func visible(children map[string]*item) []*item {
	shown := make([]*item, 0, len(children))
	for _, child := range children {
		if !hidden(children, child) {
			shown = append(shown, child)
		}
	}
	return shown
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
		before := len(in.children)
		apply(in.children, made)
		f.items += len(in.children) - before
		f.shrink()
	}
}

// apply changes known contents.
func apply(children map[string]*item, made change) {
	gone := made.drop
	if made.put != nil {
		gone = made.put.id
		if same := children[nameKey(made.put.shown)]; same != nil && same.id == gone {
			children[nameKey(made.put.shown)] = made.put
			return
		}
	}
	for key, child := range children {
		if child.id == gone {
			delete(children, key)
			break
		}
	}
	if made.put != nil {
		placeChild(children, made.put)
	}
}

// started records a folder that was just made: it is empty.
func (f *folders) started(id string) {
	t := f.begin(id)
	f.end(t, []*item{})
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
	f.items -= 1 + len(in.children)
	f.recent.Remove(in.element)
	in.children, in.element = nil, nil
}

// shrink forgets folders that were not used for long; mu is held. The last used
// one stays, whatever its size.
func (f *folders) shrink() {
	for f.items > f.longest && f.recent.Len() > 1 {
		in := f.recent.Back().Value.(*folder)
		f.empty(in)
		f.release(in)
	}
}

// release lets go of the record of a folder that nobody needs; mu is held.
func (f *folders) release(in *folder) {
	if in.children == nil && in.listings == 0 && len(in.filling) == 0 {
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
