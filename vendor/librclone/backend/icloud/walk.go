package icloud

import (
	"context"
	"path"
	"slices"
	"strings"
	"sync"

	"plakar-icloud/librclone/backend/icloud/drive"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/accounting"
)

// ListFolders lists several folders with as few calls as the service allows. For
// each folder, it returns the entries, or an error like List, or both if the
// service counts more items than it lists. An item that cannot be used is an
// *InvalidEntry. Under a context of AcceptKnown, cached listings are used.
func (f *Fs) ListFolders(ctx context.Context, dirs []string) ([]fs.DirEntries, []error) {
	listed, errs, _ := f.convert(dirs, f.drive.ListFolders(ctx, f.paths(dirs)))
	return listed, errs
}

// ListCounted is ListFolders that also returns a doubt for each folder in which the
// service counts more items than it lists, by counters whose meaning is not
// certain. The entries of such a folder are usable.
func (f *Fs) ListCounted(ctx context.Context, dirs []string) (listed []fs.DirEntries, errs, doubts []error) {
	return f.convert(dirs, f.drive.ListCounted(ctx, f.paths(dirs)))
}

// paths returns the names on the path to each folder.
func (f *Fs) paths(dirs []string) [][]string {
	paths := make([][]string, len(dirs))
	for i, dir := range dirs {
		paths[i] = f.names(dir)
	}
	return paths
}

// convert converts the listings of folders into the form for callers.
func (f *Fs) convert(dirs []string, folders []drive.Listing) (listed []fs.DirEntries, errs, doubts []error) {
	listed = make([]fs.DirEntries, len(dirs))
	errs, doubts = make([]error, len(dirs)), make([]error, len(dirs))
	for i, folder := range folders {
		errs[i], doubts[i] = folder.Err, folder.Doubt
		if folder.Items != nil {
			listed[i] = f.entries(dirs[i], folder)
		}
	}
	return listed, errs, doubts
}

// entries converts the listing of a folder into the form for callers, sorted by
// name.
func (f *Fs) entries(dir string, listed drive.Listing) fs.DirEntries {
	entries := make(fs.DirEntries, 0, len(listed.Items)+len(listed.Invalid))
	for _, it := range listed.Items {
		remote := path.Join(dir, drive.ShownName(it.Shown))
		if it.Folder {
			entries = append(entries, newDirectory(remote, it))
		} else {
			entries = append(entries, f.newObject(remote, it))
		}
	}
	for _, it := range listed.Invalid {
		remote := dir
		if it.Name != "" {
			remote = path.Join(dir, drive.ShownName(it.Name))
		}
		entries = append(entries, &InvalidEntry{remote: remote, err: it.Err})
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

// ListP implements fs.ListPer. It calls callback once, because the service lists a
// folder as a whole.
func (f *Fs) ListP(ctx context.Context, dir string, callback fs.ListRCallback) error {
	entries, err := f.List(ctx, dir)
	if err != nil {
		return err
	}
	return callback(entries)
}

// ListR implements fs.ListRer. Folders are listed as soon as they are known,
// several with one call.
func (f *Fs) ListR(ctx context.Context, dir string, callback fs.ListRCallback) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &treeWalk{fs: f, callback: callback, queue: []string{dir}}
	w.changed = sync.NewCond(&w.mu)
	var workers sync.WaitGroup
	for range drive.ListWorkers {
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
	busy    int      // workers that may find more folders
	err     error
	calling sync.Mutex // serialises the callbacks
}

// next waits for folders to list. It returns nil when the walk has ended.
func (w *treeWalk) next() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) == 0 && w.busy > 0 && w.err == nil {
		w.changed.Wait()
	}
	if len(w.queue) == 0 || w.err != nil {
		return nil
	}
	count := min(len(w.queue), w.fs.drive.ListingBatch())
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
