package drive

import (
	"context"
	"io"
	"sync"

	"plakar-icloud/librclone/backend/icloud/apierr"
)

// A connection to the service transfers less than a fast link can carry. So
// large files are read in several parts concurrently, each over a separate
// connection. The parts are returned in order.
const (
	stripe         = 4 << 20    // bytes of a part; smaller parts take more requests, for a kloset too
	minStriped     = 4 * stripe // the minimum size of a content that is read in parts
	initialStripes = 3          // parts of a content in memory, under way or complete
	maxStripes     = 6          // the same, after parts have arrived
	maxBudgeted    = 9          // parts of all contents in memory, without one of each
)

// readsStriped reports whether a content is read in parts from a position to
// its end. Packages are not, because the service does not return parts of them.
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
	next    int64 // where the next part begins
	end     int64
	parts   []*part // under way or complete, in order
	current *part   // the first of them, complete
	read    int     // bytes of it that were returned
	most    int     // parts in memory
	free    [][]byte
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

// budget limits the memory of all parts, counted in parts.
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

func (b *budget) isWhole() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.left == maxBudgeted
}

// readStriped opens the content of a file in parts. The first part shows
// whether the service returns parts. If it does not, the reader of the first
// part reads everything.
func (c *contents) readStriped(ctx context.Context, it *Item, on string, start int64, learned func()) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &stripedReader{cancel: cancel, budget: c.budget, next: start, end: it.Size, most: initialStripes}
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

// singleReader is a content that was meant to be read in parts but is read as a
// whole.
type singleReader struct {
	*contentReader
	cancel context.CancelFunc
}

// Close implements io.Closer.
func (r *singleReader) Close() error {
	defer r.cancel()
	return r.contentReader.Close()
}

// launch reads the next part in the background, with its reader if that is
// already open.
func (s *stripedReader) launch(opened *contentReader) {
	start, end := s.next, min(s.next+stripe, s.end)
	s.next = end
	buffer := make([]byte, 0, stripe)
	if last := len(s.free) - 1; last >= 0 {
		buffer, s.free = s.free[last], s.free[:last]
	}
	one := &part{done: make(chan struct{}), budgeted: len(s.parts) > 0}
	s.parts = append(s.parts, one)
	s.running.Go(func() {
		defer close(one.done)
		reader, err := opened, error(nil)
		if reader == nil {
			reader, err = s.begin(s.from, start, end)
		}
		if err != nil {
			one.err = apierr.About(err, "read", reader.on)
			return
		}
		defer func() { _ = reader.Close() }()
		one.data = buffer[:end-start]
		if _, one.err = io.ReadFull(reader, one.data); one.err != nil {
			return
		}
		if _, err := reader.Read(make([]byte, 1)); err != io.EOF { // the end is checked
			one.err = err
		}
	})
}

// fill begins as many parts as the memory limit allows.
func (s *stripedReader) fill() {
	for s.next < s.end && len(s.parts) < s.most {
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
		<-s.parts[0].done // ends with the context as well
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

// drop releases the memory of the first part.
func (s *stripedReader) drop() {
	if s.parts[0].budgeted {
		s.budget.giveBack()
	}
	s.free = append(s.free, s.parts[0].data[:0])
	s.parts, s.current, s.read = s.parts[1:], nil, 0
	s.most = min(s.most+1, maxStripes)
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
