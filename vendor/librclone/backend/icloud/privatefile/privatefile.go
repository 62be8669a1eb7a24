// Package privatefile reads, replaces, removes and locks files with secrets, which
// only their owner may read.
package privatefile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

// maxSize is the maximum size of a file in bytes. A session takes about 10 KB.
const maxSize = 1 << 20

// Read returns the content of a file that Replace has written. It refuses
// anything but a regular file of limited size, without blocking.
func Read(path string) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a regular file")
	case info.Size() > maxSize:
		return nil, errors.New("it is too large to be one of ours")
	case foreign(info, filepath.Dir(path)):
		return nil, errors.New("it belongs to another user")
	}
	data, err := io.ReadAll(io.LimitReader(file, maxSize+1))
	if err == nil && len(data) > maxSize {
		err = errors.New("it is too large to be one of ours")
	}
	return data, err
}

// ownerOf returns the user and the group that own a file.
func ownerOf(info os.FileInfo) (user, group int, known bool) {
	stat, known := info.Sys().(*syscall.Stat_t)
	if !known {
		return 0, 0, false
	}
	return int(stat.Uid), int(stat.Gid), true
}

// foreign reports whether the owner of a file is neither this user, nor root,
// nor the owner of its folder.
func foreign(info os.FileInfo, folder string) bool {
	user, _, known := ownerOf(info)
	if !known || user == 0 || user == os.Geteuid() {
		return false
	}
	at, err := os.Stat(folder)
	if err != nil {
		return true
	}
	owner, _, known := ownerOf(at)
	return known && owner != user
}

// Inherit changes the owner of a file that root has created to the owner of the
// folder.
func Inherit(path, folder string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(folder)
	if err != nil {
		return err
	}
	user, group, known := ownerOf(info)
	if !known || user == 0 {
		return nil
	}
	return os.Lchown(path, user, group)
}

// MakeFolder creates a folder of mode 0700 and its missing parents.
func MakeFolder(path string) error {
	if _, err := os.Stat(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	above := filepath.Dir(path)
	if above != path {
		if err := MakeFolder(above); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return Inherit(path, above)
}

// lockPoll is the interval between attempts to take a lock that another process
// holds. The lock is held during a renewal, which takes five requests.
const lockPoll = 20 * time.Millisecond

// Lock locks the file beside path with the suffix ".lock". It creates the file
// and its folder if they are missing, and waits until ctx ends if another process
// holds the lock.
func Lock(ctx context.Context, path string) (unlock func(), err error) {
	if err := MakeFolder(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("its folder cannot be created: %w", WithoutPath(err))
	}
	lock := flock.New(path+".lock", flock.SetPermissions(0o600))
	if _, err := lock.TryLockContext(ctx, lockPoll); err != nil {
		return nil, WithoutPath(err)
	}
	if err := Inherit(path+".lock", filepath.Dir(path)); err != nil {
		_ = lock.Close()
		return nil, WithoutPath(err)
	}
	return func() { _ = lock.Close() }, nil
}

// Replace creates or replaces a file of mode 0600. Readers see either the old or
// the new content. A missing folder is created with mode 0700. A file that root
// writes gets the owner of its folder, so that the user can still read it.
func Replace(path string, data []byte) error {
	return ReplaceWith(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// ReplaceWith does the same as Replace with the content that write writes.
func ReplaceWith(path string, write func(io.Writer) error) error {
	folder := filepath.Dir(path)
	if err := MakeFolder(folder); err != nil {
		return err
	}
	next, err := os.CreateTemp(folder, filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	err = write(next)
	if err == nil {
		err = next.Sync()
	}
	if err == nil {
		err = Inherit(next.Name(), folder)
	}
	if closeErr := next.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(next.Name(), path)
	}
	if err != nil {
		_ = os.Remove(next.Name())
	}
	return err
}

// Remove removes a file that Replace writes, if it exists, and the temporary files
// that killed writers have left beside it.
func Remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return RemoveTemporary(path)
}

// RemoveTemporary removes the temporary files that killed writers of a file have left
// beside it. The caller must make sure that no other process writes the file.
func RemoveTemporary(path string) error {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, entry := range entries {
		number, isOurs := strings.CutPrefix(entry.Name(), filepath.Base(path)+".")
		if !isOurs || number == "" || strings.Trim(number, "0123456789") != "" {
			continue
		}
		if err := os.Remove(filepath.Join(filepath.Dir(path), entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// WithoutPath returns the underlying error of a file error, without the path. It
// is for messages that have the path already.
func WithoutPath(err error) error {
	var inPath *fs.PathError
	if errors.As(err, &inPath) {
		return inPath.Err
	}
	var inLink *os.LinkError
	if errors.As(err, &inLink) {
		return inLink.Err
	}
	return err
}
