// Package icloud is a backend of rclone for iCloud Drive for unattended use: in
// backups that run at night, and in stores that many processes use.
//
// It uses rclone's own client for iCloud (backend/iclouddrive/api) and accepts
// the same options, so it opens what "rclone config" has set up. The
// differences:
//
//   - A session that ends is renewed once for all processes that share it, with
//     the trust token and without asking a person; see SessionFile.
//   - Several folders are listed with one request, and the listings are cached.
//   - A file is replaced only by a complete one; the old file then goes to the
//     Trash. A content is always sent from its first byte.
//   - A content that is shorter, longer or another one than listed is an error.
//   - Errors report their kind; see Error.
//
// All remotes of an Apple Account in a process share a session, a limiter and a
// cache.
package icloud

import (
	"context"
	"errors"
	"io"
	"path"
	"strings"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/rclone/rclone/fs/hash"
)

// Fs is a folder of an iCloud Drive.
type Fs struct {
	name     string
	root     string // without slashes at its ends
	opt      *Options
	m        configmap.Mapper
	drive    *drive
	features *fs.Features
}

func newFs(ctx context.Context, name, root string, m configmap.Mapper, opt *Options, d *drive) (fs.Fs, error) {
	at := func(root string) *Fs {
		f := &Fs{name: name, root: root, opt: opt, m: m, drive: d}
		f.features = (&fs.Features{
			CaseInsensitive:         false, // as far as is known: see foldKey
			CanHaveEmptyDirectories: true,
		}).Fill(ctx, f)
		if !opt.ServerSideCopy {
			f.features.Copy = nil
		}
		return f
	}
	f := at(strings.Trim(root, "/"))
	if f.root == "" {
		return f, nil
	}
	parent := at(parentOf(f.root))
	it, err := parent.lookup(ctx, path.Base(f.root))
	switch {
	case errors.Is(err, fs.ErrorObjectNotFound):
		return f, nil
	case err != nil:
		return nil, err
	case it.folder:
		return f, nil
	}
	return parent, fs.ErrorIsFile
}

func parentOf(remote string) string {
	dir := path.Dir(remote)
	if dir == "." || dir == "/" {
		return ""
	}
	return dir
}

// Name implements fs.Info.
func (f *Fs) Name() string { return f.name }

// Root implements fs.Info.
func (f *Fs) Root() string { return f.root }

// String implements fs.Info.
func (f *Fs) String() string { return "iCloud Drive " + "/" + f.root }

// MergesNames returns true: the service treats names that differ only in their
// Unicode form as equal; see nameKey.
func (f *Fs) MergesNames() bool { return true }

// CreatesExclusively returns true: of several uploads of one name under a
// context of ExpectNew, one succeeds. The service keeps names unique ("Uniqueness
// constraint violation").
//
// Source: https://github.com/biomassa/obsidian-icloud-drive-sync, PLAN.md.
func (f *Fs) CreatesExclusively() bool { return true }

// Features implements fs.Info.
func (f *Fs) Features() *fs.Features { return f.features }

// Hashes implements fs.Info: the service gives none.
func (f *Fs) Hashes() hash.Set { return hash.Set(hash.None) }

// Precision implements fs.Info: the service keeps whole seconds.
func (f *Fs) Precision() time.Duration { return time.Second }

// names returns the names on the path from the drive's root to a path in f.
func (f *Fs) names(remote string) []string {
	parts := splitPath(path.Join(f.root, remote))
	for i := range parts {
		parts[i] = inner(parts[i])
	}
	return parts
}

// lookup finds the item with exactly this path in f. It returns
// fs.ErrorObjectNotFound if there is none.
func (f *Fs) lookup(ctx context.Context, remote string) (*item, error) {
	names := f.names(remote)
	if len(names) == 0 {
		return nil, fs.ErrorIsDir
	}
	d := f.drive
	name := names[len(names)-1]
	begun := d.folders.now()
	for try := 1; ; try++ {
		parent, err := d.walk(ctx, names[:len(names)-1], false)
		if errors.Is(err, fs.ErrorDirNotFound) {
			return nil, fs.ErrorObjectNotFound
		}
		if err != nil {
			return nil, err
		}
		if err := d.pending.waitFor(ctx, nameIn(parent, name)); err != nil {
			return nil, err
		}
		it, err := d.identify(ctx, parent, name, begun)
		if isGone(err) && err != fs.ErrorObjectNotFound {
			if err := d.stillListed(ctx, try, about(err, "list", parent.path)); err != nil {
				return nil, err
			}
			d.folders.forget(parent.parent) // it led to a folder that is gone
			continue
		}
		return it, about(err, "find", path.Join(f.root, remote))
	}
}

// NewObject implements fs.Fs. A listing of the folder that is not older than the
// option listing_age is believed; for a file that it does not show, the folder
// is listed again.
func (f *Fs) NewObject(ctx context.Context, remote string) (fs.Object, error) {
	it, err := f.lookup(ctx, remote)
	if err != nil {
		return nil, err
	}
	if it.folder {
		return nil, fs.ErrorIsDir
	}
	return f.newObject(remote, it), nil
}

// Put implements fs.Fs. The size of the content must be known. If in is also an
// io.Seeker, a failed transfer is restarted. Otherwise the caller has to
// restart it, and gets an error that is worth a retry.
func (f *Fs) Put(ctx context.Context, in io.Reader, src fs.ObjectInfo, _ ...fs.OpenOption) (fs.Object, error) {
	it, err := f.upload(ctx, in, src.Remote(), src)
	if err != nil {
		return nil, err
	}
	return f.newObject(src.Remote(), it), nil
}

// upload stores a content.
func (f *Fs) upload(ctx context.Context, in io.Reader, remote string, src fs.ObjectInfo) (*item, error) {
	on := path.Join(f.root, remote)
	if src.Size() < 0 {
		return nil, fail(KindUnsupported, "upload", on, "iCloud Drive takes no content of unknown size").with("store it in a file first")
	}
	names := f.names(remote)
	if len(names) == 0 {
		return nil, fail(KindUnsupported, "upload", on, "a file needs a name")
	}
	d, content := f.drive, newSource(in, src.Size())
	folders, name := names[:len(names)-1], names[len(names)-1]
	if wishes(ctx, wishPackage) {
		content.readPackage(name)
	}
	before := &known{packaged: content.packaged}
	for attempt := 1; ; attempt++ {
		parent, err := d.walk(ctx, folders, true)
		if err != nil {
			return nil, about(err, "upload", on)
		}
		it, err := d.put(ctx, parent, name, before, func(ctx context.Context) (*document, error) {
			return d.send(ctx, parent, name, content, src.ModTime(ctx))
		})
		switch {
		case err == nil:
			if !content.packaged {
				tellOfArchive(name, on, content)
			}
			return it, nil
		case ctx.Err() != nil || !content.again():
			return nil, about(err, "upload", on)
		// Another device has moved or deleted the folder.
		case attempt == 1 && (isGone(err) || hasKind(err, KindChanged)) && !isFinal(err):
			d.folders.forget(parent.id)
			d.folders.forget(parent.parent)
		default:
			return nil, about(err, "upload", on)
		}
	}
}

// Mkdir implements fs.Fs.
func (f *Fs) Mkdir(ctx context.Context, dir string) error {
	_, err := f.drive.walk(ctx, f.names(dir), true)
	return err
}

// Rmdir implements fs.Fs. The folder is listed first, and goes to the Trash
// only if it did not change since: nothing that is in it is ever deleted.
func (f *Fs) Rmdir(ctx context.Context, dir string) error {
	unknown := false // whether an attempt has removed it
	for attempt := 1; ; attempt++ {
		in, at, err := f.folderToDelete(ctx, dir)
		if unknown && err == fs.ErrorDirNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		if err := at.writable("remove folder"); err != nil {
			return err
		}
		listed := f.drive.listOne(ctx, at)
		switch {
		case isGone(listed.err) && unknown:
			return nil
		case isGone(listed.err):
			if err := f.drive.stillListed(ctx, attempt, listed.err); err != nil {
				return err
			}
			f.drive.folders.forget(in.id)
			continue
		case listed.err != nil:
			return listed.err
		case len(listed.items) > 0 || len(listed.invalid) > 0 || listed.short != nil || listed.self.Children.or(0) > 0:
			return fs.ErrorDirectoryNotEmpty
		}
		empty := *at.item
		if listed.self.ETag != "" {
			empty.etag = string(listed.self.ETag)
		}
		_, err = f.drive.trashUnchanged(ctx, &empty)
		if err == nil {
			f.drive.folders.drop(in.id, empty.id)
			f.drive.folders.forget(empty.id)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var status *itemStatus
		passing := errors.As(err, &status) && !status.settled()
		if !passing && !isGone(err) && !hasKind(err, KindChanged) && !outcomeUnknown(err) {
			return itemError("remove folder", at.path, err)
		}
		if isGone(err) {
			err = errContradiction
		}
		if waitErr := f.drive.service.retries.wait(ctx, attempt+1, err); waitErr != nil {
			return itemError("remove folder", at.path, waitErr)
		}
		unknown = true
		f.drive.folders.forget(in.id) // the next look finds out whether it is gone
	}
}

// folderToDelete finds a folder and its parent. The drive's own root cannot be
// deleted.
func (f *Fs) folderToDelete(ctx context.Context, dir string) (in, at place, err error) {
	names := f.names(dir)
	if len(names) == 0 {
		return place{}, place{}, fail(KindDenied, "delete", "/", "the root of the drive stays")
	}
	at, err = f.drive.walk(ctx, names, false)
	if err != nil {
		return place{}, place{}, err
	}
	return place{id: at.parent, path: parentOf(at.path)}, at, nil
}

// Purge deletes a folder and its contents with one call.
func (f *Fs) Purge(ctx context.Context, dir string) error {
	if len(f.names(dir)) == 0 {
		return fs.ErrorCantPurge
	}
	in, at, err := f.folderToDelete(ctx, dir)
	if err != nil {
		return err
	}
	return f.drive.trash(ctx, in, at.item)
}

// DirCacheFlush drops the cached contents of all folders.
func (f *Fs) DirCacheFlush() { f.drive.folders.forgetAll() }

// Disconnect removes the session from the configuration and the session file.
func (f *Fs) Disconnect(ctx context.Context) error {
	f.m.Set(optTrustToken, "")
	f.m.Set(optCookies, "")
	if f.opt.SessionFile == "" {
		return nil
	}
	return UpdateSessionFile(ctx, f.opt.SessionFile, func(file *SessionFile) error {
		*file = SessionFile{AppleID: file.AppleID, ClientID: file.ClientID}
		return nil
	})
}

// Shutdown waits for the changes in the background. It saves the session as the
// service has changed it, and the facts that later processes need not determine
// again.
func (f *Fs) Shutdown(ctx context.Context) error {
	f.drive.service.session.flush(ctx)
	f.drive.seen.flush(ctx)
	var failed []error
	for _, left := range f.drive.pending.finish(ctx) {
		failed = append(failed, about(left.Err, "replace", left.Path))
	}
	return errors.Join(failed...)
}

// Check the interfaces.
var (
	_ fs.Fs              = (*Fs)(nil)
	_ fs.Purger          = (*Fs)(nil)
	_ fs.Copier          = (*Fs)(nil)
	_ fs.Mover           = (*Fs)(nil)
	_ fs.DirMover        = (*Fs)(nil)
	_ fs.ListRer         = (*Fs)(nil)
	_ fs.ListPer         = (*Fs)(nil)
	_ fs.Abouter         = (*Fs)(nil)
	_ fs.DirCacheFlusher = (*Fs)(nil)
	_ fs.Disconnecter    = (*Fs)(nil)
	_ fs.Shutdowner      = (*Fs)(nil)
)
