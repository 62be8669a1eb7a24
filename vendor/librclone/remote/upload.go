package remote

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"sync"
	"time"

	"plakar-icloud/librclone/backend/icloud/drive"
	"plakar-icloud/librclone/leftovers"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/fserrors"
	"github.com/rclone/rclone/fs/hash"
	"github.com/rclone/rclone/fs/object"
)

// region is the content of one upload, which belongs to the caller. It can be read
// again from the start for a retry. HTTP clients may read the body of a request after
// the request has failed. So takeBack waits for a read under way, and afterwards the
// content cannot be read.
type region struct {
	mu      sync.Mutex
	content *io.SectionReader // nil after takeBack
	sought  bool              // Seek was called
}

// startAgain is the failure of an upload that the backend could not repeat, because a
// layer between it and the region, such as crypt, hides Seek.
type startAgain struct{ error }

func (e *startAgain) Unwrap() error { return e.error }

var errTaken = errors.New("the upload has ended")

// Read implements io.Reader.
func (r *region) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.content == nil {
		return 0, errTaken
	}
	return r.content.Read(p)
}

// Seek implements io.Seeker.
func (r *region) Seek(offset int64, whence int) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.content == nil {
		return 0, errTaken
	}
	r.sought = true
	return r.content.Seek(offset, whence)
}

// takeBack ends the access to the content.
func (r *region) takeBack() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.content = nil
}

// content is the content of an upload.
type content struct {
	io.ReaderAt
	size int64 // in bytes
}

type uploadRequest struct {
	Remote  uint64 `json:"remote"`
	Path    string `json:"path"`
	Seconds int64  `json:"seconds"` // modification time
	Nanos   int64  `json:"nanos"`
	Defer   bool   `json:"defer"` // a replacement may be completed after the upload has returned; see remote/finish
	// Identical is set if a file with the same size and time that takes the name of
	// a replacement in the meantime is accepted in its place. Unless it is empty, the
	// content must also have this XXH128 digest, in hexadecimal.
	Identical *string `json:"identical"`
	New       bool    `json:"new"`     // if the backend can, fail if the name is taken, without looking that up
	Package   bool    `json:"package"` // store the archive of a package as a package, or fail
	Scope     uint64  `json:"scope"`
	File      *struct {
		Descriptor uintptr `json:"descriptor"` // closed by the upload
		Size       int64   `json:"size"`       // in bytes
	} `json:"file"` // the content; nil if it is in memory
}

// Upload stores a content at a path, replaces an existing file, and returns the
// result as JSON, like that of a method. The content is in memory or in the file in
// the input. The memory is not used after Upload has returned. The file is not
// mapped, because its pages would count as memory of the process.
func Upload(input string, memory []byte) string {
	var in uploadRequest
	err := json.Unmarshal([]byte(input), &in)
	var entry *Entry
	if err == nil {
		entry, err = upload(in, memory)
	}
	out := map[string]any{"answer": entry}
	if err != nil {
		out = map[string]any{"failure": failureOf(err)}
	}
	encoded, err := json.Marshal(out)
	if err != nil {
		return `{"failure":{"kind":"other","text":"the result of an upload cannot be encoded"}}`
	}
	return string(encoded)
}

func upload(in uploadRequest, memory []byte) (*Entry, error) {
	sent := content{bytes.NewReader(memory), int64(len(memory))}
	if in.File != nil {
		file := os.NewFile(in.File.Descriptor, "spool")
		defer file.Close()
		sent = content{file, in.File.Size}
	}
	ctx, err := scoped(in.Scope)
	if err != nil {
		return nil, err
	}
	if in.Defer {
		ctx = drive.DeferReplacement(ctx)
	}
	if in.Identical != nil {
		ctx = drive.AcceptIdentical(ctx, *in.Identical)
	}
	if in.New {
		ctx = drive.ExpectNew(ctx)
	}
	if in.Package {
		ctx = drive.StorePackages(ctx)
	}
	f, err := remotes.get(in.Remote)
	if err != nil {
		return nil, err
	}
	ctx = leftovers.With(ctx, lists.of(in.Remote).own)
	stored, err := place(ctx, f, inward(in.Path), time.Unix(in.Seconds, in.Nanos), sent)
	if err != nil {
		return nil, err
	}
	entry := entryOf(ctx, stored)
	return &entry, nil
}

// place stores a content at a path, in full or not at all. If the backend shows
// incomplete files, the content is uploaded under another name.
func place(ctx context.Context, f fs.Fs, remote string, modTime time.Time, sent content) (fs.Object, error) {
	if !f.Features().PartialUploads || f.Features().Move == nil {
		return put(ctx, f, remote, modTime, sent)
	}
	left := &temporary{entry: leftovers.Entry{Path: remote, Partial: partialName(remote)}}
	left.mark = leftovers.In(ctx).Add(left.entry)
	partial, err := put(ctx, f, left.entry.Partial, modTime, sent)
	if err != nil {
		if partial != nil && discard(ctx, partial) {
			left.mark.Done()
		}
		return nil, err // without an object, a later process looks for the file
	}
	stored, err := moveOver(ctx, f, partial, remote, left)
	if err != nil {
		if discard(ctx, partial) && !left.isAside {
			left.mark.Done()
		}
		return nil, err
	}
	if !left.isAside {
		left.mark.Done()
	}
	return stored, nil
}

// temporary has the temporary names of an upload under way.
type temporary struct {
	entry   leftovers.Entry
	mark    *leftovers.Mark
	isAside bool // the replaced file has a temporary name, too
}

// setAside records the temporary name of the replaced file.
func (t *temporary) setAside(name string) {
	t.entry.Aside, t.isAside = name, true
	t.mark.Change(t.entry)
}

// setNamed records that the content has its name, so that a later process may remove
// the replaced file.
func (t *temporary) setNamed() {
	t.entry.Named = true
	t.mark.Change(t.entry)
}

// graceTime is how long the cleanup after a cancelled upload may take. plakar's own
// limit for the end of a process is longer.
const graceTime = 30 * time.Second

// graced returns a context that outlives ctx, for at most graceTime from now.
func graced(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), graceTime)
}

// discard removes the file of a failed or cancelled upload. It reports whether the
// file is removed; if not, a later process removes it.
func discard(ctx context.Context, partial fs.Object) bool {
	ctx, cancel := graced(ctx)
	defer cancel()
	return partial.Remove(ctx) == nil
}

// moveOver moves a file to a path at which there may be a file. Not every server
// replaces a file in a rename, so the existing file may have to be renamed first. It
// is deleted only after the new file has its name.
func moveOver(ctx context.Context, f fs.Fs, partial fs.Object, remote string, left *temporary) (fs.Object, error) {
	move := f.Features().Move
	stored, err := move(ctx, partial, remote)
	if err == nil {
		return stored, nil
	}
	old, oldErr := f.NewObject(ctx, remote)
	if oldErr != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, err
	}
	// From here on, no file has the name until the new or the old one is renamed.
	// So a cancellation no longer ends the steps.
	ctx, cancel := graced(ctx)
	defer cancel()
	asideName := partialName(remote)
	left.setAside(asideName)
	aside, asideErr := move(ctx, old, asideName)
	if asideErr != nil {
		if _, lookErr := f.NewObject(ctx, remote); lookErr == nil {
			left.isAside = false
			return nil, err
		}
		// The response may have been lost, although the file was moved.
		if aside, asideErr = f.NewObject(ctx, asideName); asideErr != nil {
			return nil, err
		}
	}
	stored, err = move(ctx, partial, remote)
	if err != nil {
		if _, backErr := move(ctx, aside, remote); backErr != nil {
			err = fmt.Errorf("%w; the old file is now %q (%v)", err, aside.Remote(), backErr)
		} else {
			left.isAside = false
		}
		return nil, err
	}
	left.setNamed()
	left.isAside = !discard(ctx, aside)
	return stored, nil
}

// put uploads a content and checks the size that the backend reports. An object that
// put returns together with an error may be the file that existed before.
func put(ctx context.Context, f fs.Fs, remote string, modTime time.Time, sent content) (fs.Object, error) {
	lent := &region{content: io.NewSectionReader(sent, 0, sent.size)}
	defer lent.takeBack()
	info := object.NewStaticObjectInfo(remote, modTime, sent.size, true, map[hash.Type]string{}, f)
	stored, err := f.Put(ctx, lent, info)
	if err == nil && stored.Size() >= 0 && stored.Size() != sent.size {
		err = fserrors.RetryError(failf(kindDamaged, "%d bytes were sent but %d arrived", sent.size, stored.Size()))
		discard(ctx, stored)
	}
	if err != nil && !lent.sought && fserrors.IsRetryError(err) {
		err = &startAgain{err}
	}
	return stored, err
}

// PartialSuffix is the suffix of files that are being uploaded to backends that show
// incomplete files.
const PartialSuffix = ".plakar-partial"

func partialName(remote string) string {
	return path.Join(path.Dir(remote), "."+rand.Text()+PartialSuffix)
}
