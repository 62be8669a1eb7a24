// Package icloudphotos is a backend of rclone that shows the photo libraries of
// an Apple Account as folders, for backups. Nothing can be written.
//
//	/Library/2026/11/IMG_0001.HEIC           each photo once, by the month in which it was taken
//	/Library/2026/11/IMG_0001.HEIC.xmp       its metadata
//	/Library/2026/11/IMG_0001.MOV            the video of a live photo
//	/Albums/Travel/Rome/0001 IMG_0001.HEIC   a symbolic link to it
//	/Shared Albums/Wedding/IMG_0002.JPG      a copy in an album that people share
//
// The state of the libraries is stored in an index file, with the names of the
// photos. So a photo keeps its name, and the next process requests only the
// changes.
package icloudphotos

import (
	"context"
	"io"
	"path"
	"strings"
	"time"

	"plakar-icloud/librclone/backend/icloud"
	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/service"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/hash"
)

// includeDeleted is the value of the option photos_deleted that includes Recently
// Deleted.
const includeDeleted = "include"

// flat is the value of the option photos_layout that puts all photos of a library
// in one folder.
const flat = "flat"

// unknownTime is the modification time of folders and manifests, for which the
// service has none.
var unknownTime = time.Unix(0, 0)

// Fs is the file system below a folder of the photo libraries of an account.
type Fs struct {
	name     string
	root     string
	opt      icloud.PhotosOptions
	service  *database
	features *fs.Features

	mu        chan struct{} // a mutex for the fields below; it is held during requests
	found     []foundZone
	albumsErr error // the reason why the shared albums could not be found
	albumLoss error // tells that shared albums are not listed any more
	sharedErr error // the reason why the libraries of other accounts could not be found
	tree      *tree
	libraries []*library // of the tree
	failed    error      // the reason why the libraries could not be loaded
}

func init() { icloud.RegisterPhotos(newFs) }

func newFs(ctx context.Context, name, root string, opt icloud.PhotosOptions, service *service.Service) (fs.Fs, error) {
	f := &Fs{name: name, root: strings.Trim(root, "/"), opt: opt, service: newDatabase(service, opt.SessionFile), mu: make(chan struct{}, 1)}
	f.features = (&fs.Features{CanHaveEmptyDirectories: true}).Fill(ctx, f)
	return f, nil
}

// Name implements fs.Info.
func (f *Fs) Name() string { return f.name }

// Root implements fs.Info.
func (f *Fs) Root() string { return f.root }

// String implements fs.Info.
func (f *Fs) String() string { return "iCloud Photos /" + f.root }

// Precision implements fs.Info.
func (f *Fs) Precision() time.Duration { return time.Millisecond }

// Hashes implements fs.Info. The algorithm of the checksums of the service is
// unknown.
func (f *Fs) Hashes() hash.Set { return hash.Set(hash.None) }

// Features implements fs.Info.
func (f *Fs) Features() *fs.Features { return f.features }

// remote returns a path of the libraries relative to the root of f.
func (f *Fs) remote(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, f.root), "/")
}

// zones returns the libraries and the shared albums of the account. The caller
// has locked f.
func (f *Fs) zones(ctx context.Context) ([]foundZone, error) {
	if f.found == nil && f.failed == nil {
		found, sharedErr, err := findZones(ctx, f.service)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		f.found, f.sharedErr, f.failed = found, sharedErr, err
		if err == nil {
			f.found, f.albumsErr, f.failed = f.withSharedAlbums(ctx, found)
		}
	}
	return f.found, f.failed
}

// withSharedAlbums adds the shared albums of the account to zones. It returns
// albumsErr if only the shared albums could not be found.
func (f *Fs) withSharedAlbums(ctx context.Context, found []foundZone) (all []foundZone, albumsErr, failed error) {
	albums, err := sharedAlbums(ctx, f.service)
	if err != nil && endsRun(err) {
		return nil, nil, err
	}
	f.service.albumsUnknown = err != nil
	if err == nil {
		head := readHead(f.service.index)
		lost, _ := head.noteAlbums(albums, time.Now())
		f.albumLoss = lossOfAlbums(lost)
	}
	return append(found, albums...), err, nil
}

// loaded returns the tree of the libraries. It loads them once.
func (f *Fs) loaded(ctx context.Context) (*tree, []foundZone, error) {
	unlock, err := f.lock(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	found, err := f.zones(ctx)
	if err != nil || f.tree != nil {
		return f.tree, found, err
	}
	loader := &loader{service: f.service, layout: f.opt.Layout, deleted: f.opt.Deleted == includeDeleted}
	libraries, err := loader.load(ctx, found)
	if ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	if err != nil {
		f.failed = err
		return nil, nil, err
	}
	f.tree, f.libraries = f.newTree(found, libraries), libraries
	return f.tree, found, nil
}

// lock locks f.mu.
func (f *Fs) lock(ctx context.Context) (unlock func(), err error) {
	select {
	case f.mu <- struct{}{}:
		return func() { <-f.mu }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// top returns the entries of the top folder. It does not load the libraries. Once they are
// loaded, no folder needs a request any more. Then a caller lists this folder to find out
// whether the service responds, so a record is looked up.
func (f *Fs) top(ctx context.Context) (fs.DirEntries, error) {
	unlock, err := f.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	found, err := f.zones(ctx)
	if err == nil {
		err = f.lookUpAny(ctx)
	}
	if err != nil {
		return nil, err
	}
	var entries fs.DirEntries
	for _, name := range f.topFolders(found) {
		entries = append(entries, fs.NewDir(name, unknownTime))
	}
	return entries, nil
}

// lookUpAny looks up a record of the loaded libraries, if there is one. Addresses of
// contents are requested in the same way.
func (f *Fs) lookUpAny(ctx context.Context) error {
	for _, l := range f.libraries {
		if l.Area == sharedAlbumArea || l.failed != nil {
			continue
		}
		for id := range l.Assets {
			_, err := lookUp(ctx, f.service, l.zone, []string{id})
			return err
		}
	}
	return nil
}

// List implements fs.Fs.
func (f *Fs) List(ctx context.Context, dir string) (fs.DirEntries, error) {
	listed, errs := f.ListFolders(ctx, []string{dir})
	return listed[0], errs[0]
}

// ListFolders lists folders. For a folder that may contain more entries, it
// returns both the known entries and an error.
func (f *Fs) ListFolders(ctx context.Context, dirs []string) ([]fs.DirEntries, []error) {
	listed, errs := make([]fs.DirEntries, len(dirs)), make([]error, len(dirs))
	for i, dir := range dirs {
		listed[i], errs[i] = f.list(ctx, path.Join(f.root, dir))
	}
	return listed, errs
}

func (f *Fs) list(ctx context.Context, dir string) (fs.DirEntries, error) {
	// The folders are in memory, so without this error the caller would not notice that
	// contents cannot be read any more.
	if err := f.service.endedRun(); err != nil {
		return nil, err
	}
	if dir == "" {
		return f.top(ctx)
	}
	tree, found, err := f.loaded(ctx)
	if err != nil {
		return nil, err
	}
	at := tree.folders[dir]
	switch {
	case at == nil:
		return nil, fs.ErrorDirNotFound
	case at.failed != nil:
		return nil, at.failed
	}
	return f.entries(dir, at, libraryNames(found)), at.partial
}

// Note returns a line for the user about a folder that was listed, or "".
func (f *Fs) Note(ctx context.Context, dir string) string {
	unlock, err := f.lock(ctx)
	if err != nil {
		return ""
	}
	defer unlock()
	if f.tree == nil || f.tree.folders[path.Join(f.root, dir)] == nil {
		return ""
	}
	return f.tree.folders[path.Join(f.root, dir)].note
}

// NewObject implements fs.Fs.
func (f *Fs) NewObject(ctx context.Context, remote string) (fs.Object, error) {
	listed, err := f.list(ctx, parent(path.Join(f.root, remote)))
	if err != nil && listed == nil {
		if err == fs.ErrorDirNotFound {
			err = fs.ErrorObjectNotFound
		}
		return nil, err
	}
	for _, entry := range listed {
		if object, ok := entry.(fs.Object); ok && object.Remote() == remote {
			return object, nil
		}
	}
	return nil, fs.ErrorObjectNotFound
}

// Expect prepares the reading of files that will be opened soon. It does not
// wait for the service.
func (f *Fs) Expect(ctx context.Context, objects []fs.Object) {
	var contents []content
	for _, object := range objects {
		if o, ok := object.(*Object); ok {
			contents = append(contents, o.content)
		}
	}
	f.service.expect(ctx, contents)
}

// readOnly returns the error of each operation that would change something.
func readOnly() error {
	return finalError(apierr.KindUnsupported, "iCloud Photos can only be read",
		"restore to a folder, and import it in Photos on a device")
}

// Put implements fs.Fs.
func (f *Fs) Put(context.Context, io.Reader, fs.ObjectInfo, ...fs.OpenOption) (fs.Object, error) {
	return nil, readOnly()
}

// Mkdir implements fs.Fs.
func (f *Fs) Mkdir(context.Context, string) error { return readOnly() }

// Rmdir implements fs.Fs.
func (f *Fs) Rmdir(context.Context, string) error { return readOnly() }

var _ fs.Fs = (*Fs)(nil)
