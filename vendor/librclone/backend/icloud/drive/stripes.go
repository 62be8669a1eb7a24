package drive

import (
	"context"
	"io"
	"sync"

	"plakar-icloud/librclone/backend/icloud/apierr"
)

// A single connection to the service is slower than a fast link. So large files
// are read in several parts concurrently, each over its own connection. The parts
// are returned in order.
const (
	stripe         = 4 << 20    // size of a part in bytes; smaller parts need more requests, also to read a kloset
	minStriped     = 4 * stripe // minimum size of a content that is read in parts
	initialStripes = 3          // initial maximum number of parts of a content that are in memory, under way or complete
	maxStripes     = 6          // maximum of that number, which rises with each part that was returned
	maxBudgeted    = 9          // maximum number of parts of all contents in memory, without the first part of each
)

// readsStriped reports whether a content is read in parts from start to end. Only
// the rest of a content is, and not that of a package, because the service does not
// return parts of packages.
func (c *contents) readsStriped(it *Item, start, end int64) bool {
	return c.service.Parallel != nil && start >= 0 && end < 0 && it.Size-start >= minStriped &&
		!it.MayBePackage() && !c.isPackage(it) && !it.inShare()
}

// stripedReader reads the content of a file to its end.
type stripedReader struct {
	cancel context.CancelFunc
	budget *budget
	begin  func(from *address, start, end int64) (*contentReader, error)

	from    *address
	next    int64 // offset of the next part
	end     int64
	parts   []*part  // under way or complete, in order
	current *part    // the first of parts, if it is complete
	read    int      // number of bytes of current that were returned
	limit   int      // maximum number of parts in memory
	free    [][]byte // buffers that can be used again
	err     error
	running sync.WaitGroup
}

// part is one part of a content.
type part struct {
	data     []byte
	err      error
	done     chan struct{}
	budgeted bool
}

// budget limits the memory of the parts of all contents. Its unit is one part.
type budget struct {
	mu   sync.Mutex
	left int
}

func newBudget() *budget { return &budget{left: maxBudgeted} }

func (b *budget) take() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left == 0 {
		return false
	}
	b.left--
	return true
}

func (b *budget) giveBack() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left++
}

// readStriped opens the content of a file in parts. If the service returns the
// whole content for the first part, that response is read instead.
func (c *contents) readStriped(ctx context.Context, it *Item, on string, start int64, learned func()) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &stripedReader{cancel: cancel, budget: c.budget, next: start, end: it.Size, limit: initialStripes}
	s.begin = func(from *address, start, end int64) (*contentReader, error) {
		r := c.newReader(ctx, it, on, start, end, learned)
		r.client, r.from = c.service.Parallel, from
		return r, r.open()
	}
	first, err := s.begin(nil, start, start+stripe)
	if err != nil {
		defer cancel()
		return nil, apierr.About(err, "read", on)
	}
	if !first.partial {
		first.extend()
		return &singleReader{first, cancel}, nil
	}
	s.from = first.from
	s.launch(first)
	s.fill()
	return s, nil
}

// singleReader reads a content as a whole that was to be read in parts.
type singleReader struct {
	*contentReader
	cancel context.CancelFunc
}

// Close implements io.Closer.
func (r *singleReader) Close() error {
	defer r.cancel()
	return r.contentReader.Close()
}

// launch reads the next part in the background, with opened if that is not nil.
func (s *stripedReader) launch(opened *contentReader) {
	start, end := s.next, min(s.next+stripe, s.end)
	s.next = end
	buffer := make([]byte, 0, stripe)
	if last := len(s.free) - 1; last >= 0 {
		buffer, s.free = s.free[last], s.free[:last]
	}
	next := &part{done: make(chan struct{}), budgeted: len(s.parts) > 0}
	s.parts = append(s.parts, next)
	s.running.Go(func() {
		defer close(next.done)
		reader, err := opened, error(nil)
		if reader == nil {
			reader, err = s.begin(s.from, start, end)
		}
		if err != nil {
			next.err = apierr.About(err, "read", reader.on)
			return
		}
		defer func() { _ = reader.Close() }()
		next.data = buffer[:end-start]
		if _, next.err = io.ReadFull(reader, next.data); next.err != nil {
			return
		}
		if _, err := reader.Read(make([]byte, 1)); err != io.EOF { // this read checks the end
			next.err = err
		}
	})
}

// fill launches as many parts as the limits on memory allow.
func (s *stripedReader) fill() {
	for s.next < s.end && len(s.parts) < s.limit {
		if len(s.parts) > 0 && !s.budget.take() {
			return
		}
		s.launch(nil)
	}
}

// Read implements io.Reader.
func (s *stripedReader) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if s.current != nil && s.read == len(s.current.data) {
		s.drop()
		s.fill()
	}
	if s.current == nil {
		if len(s.parts) == 0 {
			s.err = io.EOF
			return 0, s.err
		}
		<-s.parts[0].done // is also closed when the context ends
		s.current = s.parts[0]
		if s.err = s.current.err; s.err != nil {
			s.cancel()
			return 0, s.err
		}
	}
	n := copy(p, s.current.data[s.read:])
	s.read += n
	return n, nil
}

// drop releases the memory of the first part and raises the limit.
func (s *stripedReader) drop() {
	if s.parts[0].budgeted {
		s.budget.giveBack()
	}
	s.free = append(s.free, s.parts[0].data[:0])
	s.parts, s.current, s.read = s.parts[1:], nil, 0
	s.limit = min(s.limit+1, maxStripes)
}

// Close implements io.Closer.
func (s *stripedReader) Close() error {
	s.cancel()
	s.running.Wait()
	for len(s.parts) > 0 {
		s.drop()
	}
	return nil
}
