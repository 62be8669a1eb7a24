// Package icloud is a backend of rclone for iCloud Drive that is made for
// unattended use, such as backups at night and stores that many processes use.
//
// It uses rclone's own client for iCloud (backend/iclouddrive/api) and accepts
// the same options, so it can open a remote that "rclone config" has set up. It
// differs from rclone's backend in these points:
//
//   - A session that has ended is renewed once for all processes that share it,
//     with the trust token and without a person; see package session.
//   - Several folders are listed with one request, and listings are cached.
//   - A file is replaced only by a complete file, and the old one is moved to the
//     Trash. A retry of an upload sends the content from its first byte.
//   - A content whose size differs from the listing, or that is replaced while it
//     is read, is an error.
//   - Errors report their kind; see package apierr.
//
// All remotes of an Apple Account in a process share a session, a limiter and a
// cache. The requests to Drive are in package drive, and the parts that all
// services of an account have in common in package service.
package icloud

import (
	"context"
	"errors"
	"io"
	"path"
	"strings"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/drive"
	"plakar-icloud/librclone/backend/icloud/service"
	"plakar-icloud/librclone/backend/icloud/session"

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
	drive    *drive.Drive
	features *fs.Features
}

func newFs(ctx context.Context, name, root string, m configmap.Mapper, opt *Options, d *drive.Drive) (fs.Fs, error) {
	at := func(root string) *Fs {
		f := &Fs{name: name, root: root, opt: opt, m: m, drive: d}
		f.features = (&fs.Features{
			CaseInsensitive:         false, // this is uncertain; see foldKey in package drive
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
	parent := at(drive.ParentOf(f.root))
	it, err := parent.find(ctx, path.Base(f.root))
	switch {
	case errors.Is(err, fs.ErrorObjectNotFound):
		return f, nil
	case err != nil:
		return nil, err
	case it.Folder:
		return f, nil
	}
	return parent, fs.ErrorIsFile
}

// Name implements fs.Info.
func (f *Fs) Name() string { return f.name }

// Root implements fs.Info.
func (f *Fs) Root() string { return f.root }

// String implements fs.Info.
func (f *Fs) String() string { return "iCloud Drive " + "/" + f.root }

// MergesNames returns true: the service treats names that differ only in their
// Unicode form as equal; see nameKey in package drive.
func (f *Fs) MergesNames() bool { return true }

// IsPackageName reports whether Mac programs store documents of this name as
// packages.
func (f *Fs) IsPackageName(name string) bool { return (&drive.Item{Name: name}).MayBePackage() }

// TrashesReplaced returns true: the old version of a replaced file is moved to
// the Trash.
func (f *Fs) TrashesReplaced() bool { return true }

// CreatesExclusively returns true: of several uploads with the same name under a
// context of ExpectNew, only one succeeds. The service keeps names unique
// ("Uniqueness constraint violation").
//
// Source: https://github.com/biomassa/obsidian-icloud-drive-sync, PLAN.md.
func (f *Fs) CreatesExclusively() bool { return true }

// Features implements fs.Info.
func (f *Fs) Features() *fs.Features { return f.features }

// Hashes implements fs.Info. The service provides no hashes.
func (f *Fs) Hashes() hash.Set { return hash.Set(hash.None) }

// Precision implements fs.Info. The service stores whole seconds.
func (f *Fs) Precision() time.Duration { return time.Second }

// names returns the names on the path from the root of the drive to a path in f.
func (f *Fs) names(remote string) []string {
	parts := drive.SplitPath(path.Join(f.root, remote))
	for i := range parts {
		parts[i] = drive.ServiceName(parts[i])
	}
	return parts
}

// find returns the item with a path in f.
func (f *Fs) find(ctx context.Context, remote string) (*drive.Item, error) {
	return f.drive.Find(ctx, f.names(remote), path.Join(f.root, remote))
}

// NewObject implements fs.Fs. It finds a file in a cached listing that is not
// older than the option listing_age. If that lacks the file, the folder is listed
// again.
func (f *Fs) NewObject(ctx context.Context, remote string) (fs.Object, error) {
	it, err := f.find(ctx, remote)
	if err != nil {
		return nil, err
	}
	if it.Folder {
		return nil, fs.ErrorIsDir
	}
	return f.newObject(remote, it), nil
}

// Put implements fs.Fs. The size of the content must be known. If in is also an
// io.Seeker, Put restarts a failed transfer. Otherwise it returns an error for
// which fserrors.IsRetryError is true, and the caller has to restart the transfer.
func (f *Fs) Put(ctx context.Context, in io.Reader, src fs.ObjectInfo, _ ...fs.OpenOption) (fs.Object, error) {
	it, err := f.upload(ctx, in, src.Remote(), src)
	if err != nil {
		return nil, err
	}
	return f.newObject(src.Remote(), it), nil
}

// upload stores a content.
func (f *Fs) upload(ctx context.Context, in io.Reader, remote string, src fs.ObjectInfo) (*drive.Item, error) {
	return f.drive.Upload(ctx, f.names(remote), path.Join(f.root, remote), in, src.Size(), src.ModTime(ctx))
}

// Mkdir implements fs.Fs.
func (f *Fs) Mkdir(ctx context.Context, dir string) error {
	return f.drive.MakeFolders(ctx, f.names(dir))
}

// Rmdir implements fs.Fs. It never deletes an item in the folder.
func (f *Fs) Rmdir(ctx context.Context, dir string) error {
	return f.drive.RemoveFolder(ctx, f.names(dir))
}

// Purge implements fs.Purger with one call.
func (f *Fs) Purge(ctx context.Context, dir string) error {
	names := f.names(dir)
	if len(names) == 0 {
		return fs.ErrorCantPurge
	}
	return f.drive.Purge(ctx, names)
}

// DirCacheFlush implements fs.DirCacheFlusher.
func (f *Fs) DirCacheFlush() { f.drive.ForgetListings() }

// Disconnect implements fs.Disconnecter. It removes the session from the
// configuration and from the session file.
func (f *Fs) Disconnect(ctx context.Context) error {
	f.m.Set(service.OptTrustToken, "")
	f.m.Set(service.OptCookies, "")
	if f.opt.SessionFile == "" {
		return nil
	}
	return session.UpdateFile(ctx, f.opt.SessionFile, func(file *session.File) error {
		*file = session.File{AppleID: file.AppleID, ClientID: file.ClientID}
		return nil
	})
}

// Shutdown implements fs.Shutdowner. It stores the cookies that the service has
// replaced and the facts for later processes, and waits for the changes in the
// background.
func (f *Fs) Shutdown(ctx context.Context) error {
	var failed []error
	for _, left := range f.drive.Shutdown(ctx) {
		failed = append(failed, apierr.About(left.Err, "replace", left.Path))
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
