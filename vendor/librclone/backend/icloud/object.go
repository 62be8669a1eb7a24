package icloud

import (
	"bytes"
	"context"
	"io"
	"path"
	"sync/atomic"
	"time"

	"plakar-icloud/librclone/backend/icloud/drive"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/hash"
)

// Object is a file of the drive.
type Object struct {
	fs     *Fs
	remote string
	state  atomic.Pointer[drive.Item]
}

func (f *Fs) newObject(remote string, it *drive.Item) *Object {
	o := &Object{fs: f, remote: remote}
	o.state.Store(it)
	return o
}

// String implements fs.DirEntry.
func (o *Object) String() string {
	if o == nil {
		return "<nil>"
	}
	return o.remote
}

// Fs implements fs.ObjectInfo.
func (o *Object) Fs() fs.Info { return o.fs }

// Remote implements fs.DirEntry.
func (o *Object) Remote() string { return o.remote }

// ModTime implements fs.DirEntry. The service stores whole seconds.
func (o *Object) ModTime(context.Context) time.Time { return o.state.Load().Modified }

// Size returns the size of the content in bytes, or -1 if it is unknown. It is
// unknown if the listing has no size, and for a file that is or may be a package,
// because the size of the archive is not the listed one.
func (o *Object) Size() int64 {
	it := o.state.Load()
	if o.fs.drive.IsPackage(it) || it.MayBePackage() {
		return -1
	}
	return it.Size
}

// ListedSize returns the size in listings, or -1 if they have none. For a package,
// it is the total size of the files.
func (o *Object) ListedSize() int64 { return o.state.Load().Size }

// ID implements fs.IDer. The id does not change when the file is renamed or moved
// within its zone.
func (o *Object) ID() string { return o.state.Load().ID }

// ParentID implements fs.ParentIDer.
func (o *Object) ParentID() string { return o.state.Load().Parent }

// Version returns the service's etag, which changes whenever the content or the
// metadata of the file changes.
func (o *Object) Version() string { return o.state.Load().ETag }

// IsPackage reports whether the file is known to be a package, which is a folder
// on a Mac and an archive here. For most packages, this is known only after they
// were opened once.
func (o *Object) IsPackage() bool { return o.fs.drive.IsPackage(o.state.Load()) }

// IsLeftover reports whether the file is a complete replacement that has not
// got its name, because a process was killed.
func (o *Object) IsLeftover() bool { return o.state.Load().IsLeftover() }

// Owner reports whether another account shares the file, and the name of that
// account, or its record name, if the service reports one.
func (o *Object) Owner() (owner string, shared bool) {
	it := o.state.Load()
	return it.Owner(), it.Shared()
}

// Hash implements fs.ObjectInfo. The service provides no hashes.
func (o *Object) Hash(context.Context, hash.Type) (string, error) { return "", hash.ErrUnsupported }

// Storable implements fs.ObjectInfo.
func (o *Object) Storable() bool { return true }

// SetModTime implements fs.Object. Only an upload can set the time.
func (o *Object) SetModTime(context.Context, time.Time) error { return fs.ErrorCantSetModTime }

// Open implements fs.Object. After a broken connection, the download of a file is
// resumed. A content that is not the listed one is an error.
func (o *Object) Open(ctx context.Context, options ...fs.OpenOption) (io.ReadCloser, error) {
	it := o.state.Load()
	size, whole := o.Size(), len(options) == 0
	options = append([]fs.OpenOption(nil), options...)
	fs.FixRangeOption(options, size)
	start, end := int64(0), int64(-1)
	for _, option := range options {
		switch option := option.(type) {
		case *fs.RangeOption:
			start, end = option.Start, option.End
			if start < 0 { // the last bytes of a content of unknown size
				start, end = -option.End, -1
			} else if end >= 0 {
				end++
			}
		case *fs.SeekOption:
			start, end = option.Offset, -1
		default:
			if option.Mandatory() {
				fs.Logf(o, "Unsupported mandatory option: %v", option)
			}
		}
	}
	if size >= 0 && end >= size {
		end = -1
	}
	if size >= 0 && start >= size && !whole || end >= 0 && end <= start {
		return io.NopCloser(bytes.NewReader(nil)), nil
	}
	return o.fs.drive.Read(ctx, it, o.path(), start, end, func(packaged *drive.Item) { o.state.CompareAndSwap(it, packaged) })
}

// Expect requests the addresses of files that will be opened soon. It does not
// wait for them.
func (f *Fs) Expect(ctx context.Context, objects []fs.Object) {
	var items []*drive.Item
	for _, object := range objects {
		if own, ok := object.(*Object); ok {
			items = append(items, own.state.Load())
		}
	}
	f.drive.Expect(ctx, items)
}

// path returns the path of the file in the drive.
func (o *Object) path() string { return path.Join(o.fs.root, o.remote) }

// Latest returns the file that now has the name of o in the folder in which o was
// listed. If that folder no longer exists, it looks up the path.
func (o *Object) Latest(ctx context.Context) (fs.Object, error) {
	it, gone, err := o.fs.drive.Latest(ctx, o.state.Load(), o.path())
	switch {
	case gone:
		return o.fs.NewObject(ctx, o.remote)
	case err != nil:
		return nil, err
	case it.Folder:
		return nil, fs.ErrorIsDir
	}
	return o.fs.newObject(o.remote, it), nil
}

// Remove implements fs.Object. It moves the file to the Trash and, under a context
// of Permanently, deletes it from there.
func (o *Object) Remove(ctx context.Context) error {
	return o.fs.drive.Remove(ctx, o.state.Load(), o.path())
}

// Update implements fs.Object; see Fs.Put.
func (o *Object) Update(ctx context.Context, in io.Reader, src fs.ObjectInfo, _ ...fs.OpenOption) error {
	it, err := o.fs.upload(ctx, in, o.remote, src)
	if err != nil {
		return err
	}
	o.state.Store(it)
	return nil
}

// Directory is a folder of the drive.
type Directory struct {
	*fs.Dir
	item *drive.Item
}

// Version returns the etag of the folder. Whether it changes with the contents
// depends on the service.
func (d *Directory) Version() string { return d.item.ETag }

// Children returns how many items the service counts directly in the folder, or -1
// if that is unknown. Items returns the number of files in the folder and below,
// and Size the quota that they use.
func (d *Directory) Children() int64 { return d.item.Children }

// IsLibrary reports whether the folder belongs to an app.
func (d *Directory) IsLibrary() bool { return d.item.Library }

// Owner reports whether another account shares the folder, and the name of that
// account, or its record name, if the service reports one.
func (d *Directory) Owner() (owner string, shared bool) { return d.item.Owner(), d.item.Shared() }

func newDirectory(remote string, it *drive.Item) *Directory {
	dir := fs.NewDir(remote, it.Modified).SetID(it.ID).SetParentID(it.Parent).SetSize(it.Size).SetItems(it.Files)
	return &Directory{Dir: dir, item: it}
}

// Check the interfaces.
var (
	_ fs.Object     = (*Object)(nil)
	_ fs.IDer       = (*Object)(nil)
	_ fs.ParentIDer = (*Object)(nil)
	_ fs.Directory  = (*Directory)(nil)
)
