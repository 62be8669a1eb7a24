package icloud

import (
	"context"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/accounting"
)

// entries converts the listing of a folder into the form for callers, sorted by
// name.
func (f *Fs) entries(dir string, at place, listed listing) fs.DirEntries {
	entries := make(fs.DirEntries, 0, len(listed.items)+len(listed.invalid))
	for _, it := range listed.items {
		remote := path.Join(dir, outer(it.shown))
		if err := at.loops(it); err != nil {
			entries = append(entries, &InvalidEntry{remote: remote, err: err})
		} else if it.folder {
			entries = append(entries, newDirectory(remote, it))
		} else {
			entries = append(entries, f.newObject(remote, it))
		}
	}
	for _, it := range listed.invalid {
		remote := dir
		if it.name != "" {
			remote = path.Join(dir, outer(it.name))
		}
		entries = append(entries, &InvalidEntry{remote: remote, err: it.err})
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Remote(), b.Remote()) })
	return entries
}

// List implements fs.Fs.
func (f *Fs) List(ctx context.Context, dir string) (fs.DirEntries, error) {
	listed, errs := f.ListFolders(ctx, []string{dir})
	if errs[0] != nil {
		return listed[0], errs[0]
	}
	return listed[0], firstInvalid(listed[0])
}

// ListP lists a folder into a callback. The service returns a folder as a
// whole, and so does this method.
func (f *Fs) ListP(ctx context.Context, dir string, callback fs.ListRCallback) error {
	entries, err := f.List(ctx, dir)
	if err != nil {
		return err
	}
	return callback(entries)
}

// listFolders implements ListFolders and, if doubts is not nil, ListCounted.
func (f *Fs) listFolders(ctx context.Context, dirs []string, doubts []error) ([]fs.DirEntries, []error) {
	begun := f.drive.folders.now()
	if wishes(ctx, wishKnown) {
		begun = time.Time{}
	}
	listed := make([]fs.DirEntries, len(dirs))
	errs := make([]error, len(dirs))
	var places []place
	var targets []target
	var at []int
	for i, dir := range dirs {
		found, err := f.drive.walk(ctx, f.names(dir), false)
		if err != nil {
			errs[i] = err
			continue
		}
		if fresh, ok := f.drive.folders.listedSince(found.id, begun); ok {
			listed[i], errs[i] = f.entries(dirs[i], found, fresh), about(fresh.short, "list", found.path)
			continue
		}
		places, targets, at = append(places, found), append(targets, found.target()), append(at, i)
	}
	var contradicted bool // by one folder for long enough, so the cause is the service and not the folder
	for n, outcome := range f.drive.lister.list(ctx, targets) {
		i, found := at[n], places[n]
		if isGone(outcome.err) && f.drive.isThere(found.id) {
			outcome = f.drive.listOne(ctx, found)
		}
		if outcome.err == nil && !found.moved(outcome.self) {
			if doubts != nil {
				outcome = f.drive.examine(ctx, found, outcome)
				doubts[i] = about(outcome.doubt, "list", found.path)
			}
			listed[i], errs[i] = f.entries(dirs[i], found, outcome), about(outcome.short, "list", found.path)
			continue
		}
		errs[i] = outcome.err
		switch {
		case contradicted && isGone(outcome.err):
			errs[i] = errContradiction
		case outcome.err == nil || isGone(outcome.err):
			listed[i], errs[i] = f.listMoved(ctx, dirs[i])
			contradicted = listed[i] == nil && hasKind(errs[i], KindDamaged)
		}
		errs[i] = about(errs[i], "list", found.path)
	}
	return listed, errs
}

// moved reports whether a folder is no longer where the cache has it. Shared
// folders refer to their parents in ways that cannot be compared.
func (p place) moved(self *driveItem) bool {
	if p.item == nil || p.item.shared() || p.item.library || self == nil {
		return false
	}
	parent := p.parent
	if p.item.within != "" {
		parent = p.item.within
	}
	return self.ParentID != "" && self.parentDoc() != api.GetDocIDFromDriveID(parent) ||
		self.Name != "" && nameKey(self.fullName()) != nameKey(p.item.name)
}

// listMoved lists a folder whose path in the cache was wrong.
func (f *Fs) listMoved(ctx context.Context, dir string) (fs.DirEntries, error) {
	for try := 2; ; try++ { // the first attempt used the cache
		for id := range f.drive.ancestors(f.names(dir)) {
			f.drive.folders.forget(id)
		}
		found, err := f.drive.walk(ctx, f.names(dir), false)
		if err != nil {
			return nil, err
		}
		outcome := f.drive.listOne(ctx, found)
		if outcome.err == nil {
			return f.entries(dir, found, outcome), outcome.short
		}
		if !isGone(outcome.err) {
			return nil, outcome.err
		}
		if err := f.drive.stillListed(ctx, try, outcome.err); err != nil {
			return nil, err
		}
	}
}

// ancestors returns the ids of the folders on a path, according to the cache.
func (d *drive) ancestors(names []string) map[string]bool {
	ids := map[string]bool{rootID: true}
	id := rootID
	for _, name := range names {
		got, _ := d.folders.find(id, name)
		if got.like == nil {
			break
		}
		id = got.like.id
		ids[id] = true
	}
	return ids
}

// ListR lists a folder and everything below it. Folders are requested as soon
// as they are known, several with one call.
func (f *Fs) ListR(ctx context.Context, dir string, callback fs.ListRCallback) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := &treeWalk{fs: f, callback: callback, queue: []string{dir}}
	w.changed = sync.NewCond(&w.mu)
	var workers sync.WaitGroup
	for range listWorkers {
		workers.Go(func() { w.work(ctx) })
	}
	workers.Wait()
	return w.err
}

// treeWalk is a recursive listing in progress.
type treeWalk struct {
	fs       *Fs
	callback fs.ListRCallback

	mu      sync.Mutex
	changed *sync.Cond
	queue   []string // folders to list
	busy    int      // workers that may find more
	err     error
	calling sync.Mutex // serialises the callbacks
}

// next waits for folders to list. It returns none if the walk has ended.
func (w *treeWalk) next() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) == 0 && w.busy > 0 && w.err == nil {
		w.changed.Wait()
	}
	if len(w.queue) == 0 || w.err != nil {
		return nil
	}
	count := min(len(w.queue), int(max(1, w.fs.drive.lister.batch.Load())))
	dirs := slices.Clone(w.queue[:count])
	w.queue = w.queue[count:]
	w.busy++
	return dirs
}

func (w *treeWalk) work(ctx context.Context) {
	for {
		dirs := w.next()
		if dirs == nil {
			return
		}
		found, err := w.list(ctx, dirs)
		w.mu.Lock()
		w.busy--
		w.queue = append(w.queue, found...)
		if w.err == nil {
			w.err = err
		}
		w.changed.Broadcast()
		w.mu.Unlock()
	}
}

// list lists folders, passes their entries to the callback and returns the
// folders among them.
func (w *treeWalk) list(ctx context.Context, dirs []string) (found []string, err error) {
	listed, errs := w.fs.ListFolders(ctx, dirs)
	w.calling.Lock()
	defer w.calling.Unlock()
	for i, entries := range listed {
		if errs[i] == nil {
			errs[i] = firstInvalid(entries)
		}
		if errs[i] != nil {
			return nil, errs[i]
		}
		accounting.Stats(ctx).Listed(int64(len(entries)))
		if err := w.callback(entries); err != nil {
			return nil, err
		}
		for _, entry := range entries {
			if dir, ok := entry.(*Directory); ok {
				found = append(found, dir.Remote())
			}
		}
	}
	return found, nil
}
