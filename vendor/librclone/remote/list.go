package remote

import (
	"context"
	"errors"
	"path"

	"plakar-icloud/librclone/backend/icloud/drive"
	"plakar-icloud/librclone/exclude"

	"github.com/rclone/rclone/fs"
)

// objects has the files that listings and uploads have returned and that the caller
// still holds. Opening a held object needs no look-up of its path.
var objects = newHandles[fs.Object]("object")

// Entry is a file or a folder.
type Entry struct {
	Path       string `json:"path"` // relative to the root of the remote
	Folder     bool   `json:"folder,omitempty"`
	Size       int64  `json:"size,omitempty"` // in bytes; -1 if it is unknown
	Seconds    int64  `json:"seconds,omitempty"`
	Nanos      int64  `json:"nanos,omitempty"`
	Version    string `json:"version,omitempty"`    // changes whenever the item does
	Object     uint64 `json:"object,omitempty"`     // handle of a file; 0 for a folder or a link
	Target     string `json:"target,omitempty"`     // of a symbolic link
	Children   *int64 `json:"children,omitempty"`   // number of items in a folder; nil if it is unknown
	Listed     *int64 `json:"listed,omitempty"`     // size in listings, if that of the content is unknown
	Package    bool   `json:"package,omitempty"`    // a document that a Mac stores as a folder
	Unfinished bool   `json:"unfinished,omitempty"` // a replacement that has not got its name, because a process was killed
	Shared     bool   `json:"shared,omitempty"`     // another account owns it
	Generated  bool   `json:"generated,omitempty"`  // reading it needs no request
}

// versioned is an object that reports its version.
type versioned interface{ Version() string }

// packaged is an object that reports whether it is known to be a package.
type packaged interface{ IsPackage() bool }

// listedSize is an object that reports its size in listings.
type listedSize interface{ ListedSize() int64 }

// generated is an object whose content may be generated without a request.
type generated interface{ IsGenerated() bool }

// owned is an item that reports whether another account owns it.
type owned interface {
	Owner() (owner string, shared bool)
}

// incomplete is an error that reports how many items a listing lacks.
type incomplete interface{ Missing() int64 }

// invalid is an entry for an item that cannot be used.
type invalid interface{ Invalid() error }

// link is a symbolic link.
type link interface{ Target() string }

// counted is a folder that reports how many items are directly in it, or -1 if
// that is unknown.
type counted interface{ Children() int64 }

// folderLister is an Fs that lists several folders with one request. For each
// folder, it returns the entries, or an error, or both if there may be more entries.
type folderLister interface {
	ListFolders(ctx context.Context, dirs []string) ([]fs.DirEntries, []error)
}

// countingLister is a folderLister that also returns a doubt for each folder in
// which the service counts more items than it lists, by counters whose meaning is
// not certain.
type countingLister interface {
	ListCounted(ctx context.Context, dirs []string) (listed []fs.DirEntries, errs, doubts []error)
}

// noting is an Fs that has lines for the user about folders that were listed.
type noting interface {
	// Note returns the line about a folder, or "".
	Note(ctx context.Context, dir string) string
}

// entryOf returns the description of an item. It stores the object of a file under
// a handle.
func entryOf(ctx context.Context, item fs.DirEntry) Entry {
	modTime := item.ModTime(ctx)
	entry := Entry{
		Path:    outward(item.Remote()),
		Size:    item.Size(),
		Seconds: modTime.Unix(),
		Nanos:   int64(modTime.Nanosecond()),
	}
	if item, ok := item.(owned); ok {
		_, entry.Shared = item.Owner()
	}
	if symbolic, ok := item.(link); ok {
		entry.Target = symbolic.Target()
		return entry
	}
	object, isFile := item.(fs.Object)
	if !isFile {
		entry.Folder = true
		if folder, ok := item.(counted); ok && folder.Children() >= 0 {
			children := folder.Children()
			entry.Children = &children
		}
		return entry
	}
	entry.Package = isPackage(object)
	if own, ok := object.(interface{ IsLeftover() bool }); ok {
		entry.Unfinished = own.IsLeftover()
	}
	if own, ok := object.(listedSize); ok && entry.Size < 0 && own.ListedSize() >= 0 {
		size := own.ListedSize()
		entry.Listed = &size
	}
	if own, ok := object.(generated); ok {
		entry.Generated = own.IsGenerated()
	}
	entry.Version = versionOf(ctx, object)
	entry.Object = objects.add(object)
	return entry
}

// isPackage reports whether an object is known to be a package.
func isPackage(object fs.Object) bool {
	own, ok := object.(packaged)
	return ok && own.IsPackage()
}

// versionOf returns the version that an object reports. If it reports none, the
// version is made of what rclone has without a request: the size, the time, a
// cheap hash and the id.
func versionOf(ctx context.Context, object fs.Object) string {
	if v, ok := object.(versioned); ok {
		return v.Version()
	}
	version := fs.Fingerprint(ctx, object, true)
	if ider, ok := object.(fs.IDer); ok {
		version += "," + ider.ID()
	}
	return version
}

type listRequest struct {
	Remote uint64   `json:"remote"`
	Paths  []string `json:"paths"`
	Rules  uint64   `json:"rules"` // handle of a set of patterns that exclude items, or 0
	Known  bool     `json:"known"` // accept a listing that the backend has in memory
}

type listedFolder struct {
	Entries    []Entry        `json:"entries"`
	Invalid    []invalidEntry `json:"invalid,omitempty"`
	Incomplete *Failure       `json:"incomplete,omitempty"` // why there may be more entries
	Doubt      *Failure       `json:"doubt,omitempty"`      // why there may be more, by counters of uncertain meaning
	Note       string         `json:"note,omitempty"`       // a line for the user
	Missing    int64          `json:"missing,omitempty"`    // how many entries are missing, if that is known
	Excluded   int64          `json:"excluded,omitempty"`   // number of excluded items
	Failure    *Failure       `json:"failure,omitempty"`    // why the folder cannot be listed
}

// invalidEntry is an item that cannot be used.
type invalidEntry struct {
	Path    string   `json:"path"` // of the item or, if it has no usable name, of its folder
	Failure *Failure `json:"failure"`
}

type listResult struct {
	Folders []listedFolder `json:"folders"` // in the order of the requested paths
}

// list lists folders.
func list(ctx context.Context, in listRequest) (*listResult, error) {
	f, err := remotes.get(in.Remote)
	if err != nil {
		return nil, err
	}
	leaveOut := new(exclude.Rules)
	if in.Rules != 0 {
		if leaveOut, err = rules.get(in.Rules); err != nil {
			return nil, err
		}
	}
	if in.Known {
		ctx = drive.AcceptKnown(ctx)
	}
	paths := make([]string, len(in.Paths))
	for i, path := range in.Paths {
		paths[i] = inward(path)
	}
	listed, errs, doubts := listCounted(ctx, f, paths)
	out := &listResult{Folders: make([]listedFolder, len(in.Paths))}
	for i := range in.Paths {
		folder := &out.Folders[i]
		if errs[i] != nil && listed[i] == nil {
			folder.Failure = failureOf(errs[i])
			continue
		}
		folder.Incomplete, folder.Doubt = failureOf(errs[i]), failureOf(doubts[i])
		var lacking incomplete
		if errors.As(errors.Join(errs[i], doubts[i]), &lacking) {
			folder.Missing = lacking.Missing()
		}
		if noting, ok := f.(noting); ok {
			folder.Note = noting.Note(ctx, paths[i])
		}
		folder.Entries = make([]Entry, 0, len(listed[i]))
		for _, item := range listed[i] {
			if leaveOut.Excludes(outward(item.Remote()), isFolder(item)) {
				folder.Excluded++
				continue
			}
			if bad, ok := item.(invalid); ok {
				folder.Invalid = append(folder.Invalid, invalidEntry{Path: outward(item.Remote()), Failure: failureOf(bad.Invalid())})
				continue
			}
			folder.Entries = append(folder.Entries, entryOf(ctx, item))
		}
	}
	return out, nil
}

func isFolder(item fs.DirEntry) bool {
	_, ok := item.(fs.Directory)
	return ok
}

func listCounted(ctx context.Context, f fs.Fs, paths []string) (listed []fs.DirEntries, errs, doubts []error) {
	if counting, ok := f.(countingLister); ok {
		return counting.ListCounted(ctx, paths)
	}
	listed, errs = listFolders(ctx, f, paths)
	return listed, errs, make([]error, len(paths))
}

func listFolders(ctx context.Context, f fs.Fs, paths []string) ([]fs.DirEntries, []error) {
	if many, ok := f.(folderLister); ok {
		return many.ListFolders(ctx, paths)
	}
	listed, errs := make([]fs.DirEntries, len(paths)), make([]error, len(paths))
	for i, dir := range paths {
		listed[i], errs[i] = f.List(ctx, dir)
		if errs[i] != nil { // by rclone's rules, the entries are then not valid
			listed[i] = nil
		}
	}
	return listed, errs
}

type pathRequest struct {
	Remote uint64 `json:"remote"`
	Path   string `json:"path"`
}

// stat finds a file or a folder. If the parent of a folder cannot be listed, as at
// the top of a bucket with narrow permissions, stat lists the folder itself. The
// entry then has no modification time.
func stat(ctx context.Context, in pathRequest) (*Entry, error) {
	f, err := remotes.get(in.Remote)
	if err != nil {
		return nil, err
	}
	remote := inward(in.Path)
	if remote != "" {
		object, err := f.NewObject(ctx, remote)
		if err == nil {
			entry := entryOf(ctx, object)
			return &entry, nil
		}
		if !errors.Is(err, fs.ErrorObjectNotFound) && !errors.Is(err, fs.ErrorIsDir) && !errors.Is(err, fs.ErrorNotAFile) {
			return nil, err
		}
		parent := path.Dir(remote)
		if parent == "." {
			parent = ""
		}
		siblings, _ := listFolders(ctx, f, []string{parent})
		for _, item := range siblings[0] {
			if item.Remote() != remote {
				continue
			}
			if bad, ok := item.(invalid); ok {
				return nil, bad.Invalid()
			}
			entry := entryOf(ctx, item)
			return &entry, nil
		}
	}
	if _, errs := listFolders(ctx, f, []string{remote}); errs[0] != nil {
		return nil, errs[0]
	}
	return &Entry{Path: in.Path, Folder: true, Size: -1}, nil
}
