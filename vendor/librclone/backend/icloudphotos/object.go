package icloudphotos

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strconv"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/hash"
)

// entry implements the methods that all entries of a folder have in common.
type entry struct {
	fs       *Fs
	path     string // relative to the root of fs
	modified time.Time
}

// Fs implements fs.DirEntry.
func (e *entry) Fs() fs.Info { return e.fs }

// String implements fs.DirEntry.
func (e *entry) String() string { return e.path }

// Remote implements fs.DirEntry.
func (e *entry) Remote() string { return e.path }

// ModTime implements fs.DirEntry with the time at which the photo was taken.
func (e *entry) ModTime(context.Context) time.Time { return e.modified }

// Hash implements fs.ObjectInfo.
func (e *entry) Hash(context.Context, hash.Type) (string, error) { return "", hash.ErrUnsupported }

// Storable implements fs.ObjectInfo.
func (e *entry) Storable() bool { return true }

// SetModTime implements fs.Object.
func (e *entry) SetModTime(context.Context, time.Time) error { return readOnly() }

// Update implements fs.Object.
func (e *entry) Update(context.Context, io.Reader, fs.ObjectInfo, ...fs.OpenOption) error {
	return readOnly()
}

// Remove implements fs.Object.
func (e *entry) Remove(context.Context) error { return readOnly() }

// directory is a folder of the tree.
type directory struct {
	*fs.Dir
	children int64
}

// Children returns about how many items are in the folder. It limits how many items
// are listed before they are needed.
func (d *directory) Children() int64 { return d.children }

// Link is a symbolic link to a file of a library.
type Link struct {
	entry
	target string
}

// Target returns the path that the link refers to, relative to its folder.
func (l *Link) Target() string { return l.target }

// Size implements fs.DirEntry.
func (l *Link) Size() int64 { return int64(len(l.target)) }

// invalid is the entry of a photo that cannot be read.
type invalid struct {
	entry
	why error
}

// Invalid returns the reason why the photo cannot be read.
func (i *invalid) Invalid() error { return i.why }

// Size implements fs.DirEntry.
func (i *invalid) Size() int64 { return -1 }

// Object is a file of a photo.
type Object struct {
	entry
	content content
}

// Size implements fs.DirEntry.
func (o *Object) Size() int64 { return o.content.Size }

// Version returns a value that changes if, and only if, the content changes.
func (o *Object) Version() string {
	version := o.content.Version
	if version == "" {
		version = o.content.Record
	}
	return o.content.Field + " " + version + " " + strconv.FormatInt(o.content.Size, 10)
}

// Open implements fs.Object.
func (o *Object) Open(ctx context.Context, options ...fs.OpenOption) (io.ReadCloser, error) {
	start, end := span(options, o.content.Size)
	if start >= o.content.Size || end >= 0 && end <= start {
		return io.NopCloser(bytes.NewReader(nil)), nil
	}
	return o.fs.service.open(ctx, o.content, o.path, start, end)
}

// Text is a generated text file: the metadata of a photo, or the manifest of an
// album.
type Text struct {
	entry
	size    int64
	sum     [8]byte
	content func() []byte // generates the content again, so that it takes no memory
}

// text returns the text file at a path of the libraries.
func (f *Fs) text(path string, modified time.Time, content func() []byte) *Text {
	data := content()
	sum := sha256.Sum256(data)
	return &Text{entry{f, f.remote(path), modified}, int64(len(data)), [8]byte(sum[:8]), content}
}

// IsGenerated reports that reading the file needs no request.
func (t *Text) IsGenerated() bool { return true }

// Size implements fs.DirEntry.
func (t *Text) Size() int64 { return t.size }

// Version returns a value that changes with the content.
func (t *Text) Version() string { return hex.EncodeToString(t.sum[:]) }

// Open implements fs.Object.
func (t *Text) Open(_ context.Context, options ...fs.OpenOption) (io.ReadCloser, error) {
	start, end := span(options, t.size)
	if end < 0 {
		end = t.size
	}
	return io.NopCloser(io.NewSectionReader(bytes.NewReader(t.content()), start, max(0, end-start))), nil
}

// span returns the range that options request of a content of the given size. end
// is -1 for the end of the content.
func span(options []fs.OpenOption, size int64) (start, end int64) {
	options = append([]fs.OpenOption(nil), options...)
	fs.FixRangeOption(options, size)
	end = -1
	for _, option := range options {
		switch option := option.(type) {
		case *fs.RangeOption:
			if start = option.Start; option.End >= 0 {
				end = option.End + 1
			}
		case *fs.SeekOption:
			start, end = option.Offset, -1
		}
	}
	if end >= size {
		end = -1
	}
	return max(0, start), end
}

var (
	_ fs.Object   = (*Object)(nil)
	_ fs.Object   = (*Text)(nil)
	_ fs.DirEntry = (*Link)(nil)
)
