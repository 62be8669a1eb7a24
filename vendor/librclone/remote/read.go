package remote

import (
	"context"
	"io"

	"github.com/rclone/rclone/fs"
)

// reader is the opened content of an object. It runs under the scope of the call
// that has opened it, so the end of the scope cancels a blocked read.
type reader struct {
	content io.ReadCloser
}

var readers = newHandles[reader]("reader")

type openObjectRequest struct {
	Object uint64 `json:"object"`
	Offset int64  `json:"offset"` // in bytes
	Length int64  `json:"length"` // in bytes; -1 for the rest of the content
	Resume bool   `json:"resume"` // fail if the file has changed since the part before the offset was read
	Latest bool   `json:"latest"` // open the present version if the file has changed since it was listed
}

type openObjectResult struct {
	Reader uint64 `json:"reader"`
	Size   int64  `json:"size"` // of the opened object, in bytes; -1 if it is unknown
}

// openObject opens the content of an object.
func openObject(ctx context.Context, in openObjectRequest) (*openObjectResult, error) {
	object, err := objects.get(in.Object)
	if err != nil {
		return nil, err
	}
	if in.Resume {
		if err := unchanged(ctx, object); err != nil {
			return nil, err
		}
	}
	var options []fs.OpenOption
	switch {
	case in.Length >= 0:
		options = append(options, &fs.RangeOption{Start: in.Offset, End: in.Offset + in.Length - 1})
	case in.Offset > 0:
		options = append(options, &fs.SeekOption{Offset: in.Offset})
	}
	content, err := object.Open(ctx, options...)
	if in.Latest && kindOf(err) == kindChanged {
		object, content, err = openLatest(ctx, object, err, options)
		if err == nil {
			objects.put(in.Object, object)
		}
	}
	if err != nil {
		return nil, err
	}
	return &openObjectResult{Reader: readers.add(reader{content}), Size: object.Size()}, nil
}

type lookRequest struct {
	Object uint64 `json:"object"`
}

type lookResult struct {
	Package bool `json:"package"`
}

// lookAt returns the facts about an object that may have become known since it was
// listed.
func lookAt(_ context.Context, in lookRequest) (*lookResult, error) {
	object, err := objects.get(in.Object)
	if err != nil {
		return nil, err
	}
	return &lookResult{Package: isPackage(object)}, nil
}

type expectObjectsRequest struct {
	Objects []uint64 `json:"objects"`
}

// expectObjects announces to backends which objects will be opened soon, so that they
// can prepare that. It does not wait for the network.
func expectObjects(ctx context.Context, in expectObjectsRequest) (*struct{}, error) {
	type expecting interface {
		Expect(ctx context.Context, objects []fs.Object)
	}
	expected := map[expecting][]fs.Object{}
	for _, id := range in.Objects {
		object, err := objects.get(id)
		if err != nil {
			continue // the object was released
		}
		stored := fs.UnWrapObject(object)
		if f, ok := stored.Fs().(expecting); ok {
			expected[f] = append(expected[f], stored)
		}
	}
	for f, objects := range expected {
		f.Expect(ctx, objects)
	}
	return &struct{}{}, nil
}

// latest looks up an object again. It returns nil if that is not possible.
func latest(ctx context.Context, object fs.Object) (fs.Object, error) {
	if own, ok := object.(interface {
		Latest(ctx context.Context) (fs.Object, error)
	}); ok {
		return own.Latest(ctx)
	}
	f, ok := object.Fs().(fs.Fs)
	if !ok {
		return nil, nil
	}
	return f.NewObject(ctx, object.Remote())
}

// openLatest looks up a file again and opens it. changed is the error with which
// opening the listed version failed.
func openLatest(ctx context.Context, listed fs.Object, changed error, options []fs.OpenOption) (fs.Object, io.ReadCloser, error) {
	now, err := latest(ctx, listed)
	if err != nil {
		return nil, nil, err
	}
	if now == nil {
		return nil, nil, changed
	}
	content, err := now.Open(ctx, options...)
	return now, content, err
}

// unchanged returns an error if a file has changed since it was listed.
func unchanged(ctx context.Context, object fs.Object) error {
	now, err := latest(ctx, object)
	if err != nil || now == nil {
		return err
	}
	if versionOf(ctx, now) != versionOf(ctx, object) {
		return failf(kindChanged, "it was changed while it was being read")
	}
	return nil
}

// Read fills buf with the next bytes of the content and returns their number.
// It is less than len(buf) only at the end of the content, and 0 after it.
func Read(id uint64, buf []byte) (n int, failure *Failure) {
	r, err := readers.get(id)
	if err != nil {
		return 0, failureOf(err)
	}
	for n < len(buf) && err == nil { // io.ReadFull would hide whether an io.ErrUnexpectedEOF is that of the content
		var more int
		more, err = r.content.Read(buf[n:])
		n += more
	}
	if err == io.EOF {
		err = nil
	}
	return n, failureOf(err)
}

// CloseReader closes the content and removes the reader. Closing an unknown
// reader does nothing.
func CloseReader(id uint64) {
	if r, ok := readers.take(id); ok {
		_ = r.content.Close() // the caller needs no more of it
	}
}

// ReleaseObject releases a held object. Releasing an unknown one does nothing.
func ReleaseObject(id uint64) {
	objects.take(id)
}
