package drive

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"plakar-icloud/librclone/backend/icloud/apierr"
)

// source is the content of an upload. It can be read again only if its reader can
// seek.
type source struct {
	reader io.Reader
	size   int64
	start  int64 // offset of the content in a reader that can seek
	seeks  bool
	used   bool // the reader may no longer be at the start of the content
	denied bool // an address to which the content was sent was refused

	packaged bool  // the content is the archive of a package, and is to be stored as one
	unpacked int64 // the total size of the files of the package
}

func newSource(in io.Reader, size int64) *source {
	s := &source{reader: in, size: size}
	if seeker, ok := in.(io.Seeker); ok {
		if at, err := seeker.Seek(0, io.SeekCurrent); err == nil {
			s.start, s.seeks = at, true
		}
	}
	return s
}

// again reports whether the content can be read from its start.
func (s *source) again() bool { return s.seeks || !s.used }

// body returns the content from its start, as the body of one request.
func (s *source) body() (*requestBody, error) {
	if s.used {
		if _, err := s.reader.(io.Seeker).Seek(s.start, io.SeekStart); err != nil {
			return nil, fmt.Errorf("cannot seek to the start of the content: %w", err)
		}
	}
	s.used = true
	return &requestBody{source: s.reader, left: s.size}, nil
}

// requestBody is the body of one request. The HTTP transport may still read a
// body after the request has failed. So end waits for a read under way, and
// afterwards the body does not access the content.
type requestBody struct {
	mu     sync.Mutex
	source io.Reader
	left   int64
	over   bool
	failed error // of the source
}

// Read implements io.Reader.
func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.over:
		return 0, io.ErrClosedPipe
	case b.failed != nil:
		return 0, b.failed
	case b.left == 0:
		return 0, io.EOF
	}
	n, err := b.source.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if err == io.EOF {
		err = nil
		if b.left > 0 {
			err = fmt.Errorf("the content is %d bytes shorter than announced", b.left)
		}
	}
	b.failed = err
	return n, err
}

// Close implements io.Closer.
func (b *requestBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	return nil
}

// end ends the access to the content and returns the error of the content, if
// any: a failure of its reader or, if complete is set because the request has
// succeeded, a content that was not read in full or is longer than its size.
func (b *requestBody) end(complete bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	switch {
	case b.failed != nil:
		return sourceFailed(b.failed)
	case !complete:
		return nil
	case b.left > 0:
		return apierr.Newf(apierr.KindDamaged, "", "", "the service responded before it had received the last %d bytes of the content", b.left)
	}
	var beyond [1]byte
	for range 16 { // a reader may return 0 and no error several times
		n, err := b.source.Read(beyond[:])
		if n > 0 {
			return sourceFailed(errors.New("the content is longer than announced"))
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return sourceFailed(err)
		}
	}
	return nil
}

// sourceFailed returns the error for a failure of the caller's reader. A retry of
// the request does not help.
func sourceFailed(err error) error {
	e := apierr.New(apierr.KindDamaged, "", "", "the content cannot be read").From(err)
	e.Final = true
	return e
}
