// Package leftovers stores which items of a service have a temporary name, so that a
// later process can remove those that a killed process has left.
//
// Each process that stores files has a list, which is a file in the state folder of
// this program. The process holds the lock of its list until it ends, so a list
// whose lock is free belongs to a process that has ended. The name of the list contains
// the machine on which the process runs.
package leftovers

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"plakar-icloud/librclone/backend/icloud/privatefile"

	"github.com/rclone/rclone/fs"
)

// Entry describes an item that has a temporary name.
type Entry struct {
	Path string `json:"path"` // of the file that is stored
	// Partial is the temporary path of the content.
	Partial string `json:"partial,omitempty"`
	// Aside is the path of the replaced file before the content gets its name.
	Aside string `json:"aside,omitempty"`
	// Named is set when the content has got its name, so the replaced file is no
	// longer needed.
	Named bool `json:"named,omitempty"`
	// Item describes the item, if the backend itself uses temporary names.
	Item json.RawMessage `json:"item,omitempty"`
}

// line is a line of a list. A line without an entry means that the item no longer
// has a temporary name.
type line struct {
	Number uint64 `json:"n"`
	Entry  *Entry `json:"entry,omitempty"`
}

// List is the list of this process. The file is created for the first entry. If it
// cannot be written, a warning is logged once, and nothing is recorded.
type List struct {
	prefix string // of the paths of lists

	mu      sync.Mutex
	file    *os.File
	size    int64 // of the file
	last    uint64
	open    map[uint64][]byte // the lines of the items that have a temporary name
	held    int64             // the bytes of these lines
	failed  bool
	written chan struct{} // has a value if there are lines that are not synced
}

// Mark is an entry of the list of this process. All methods accept nil.
type Mark struct {
	list   *List
	number uint64
}

const (
	suffix = ".leftovers"
	// compactSize is the size in bytes from which a list is rewritten without the
	// lines that no longer matter.
	compactSize = 64 * 1024
	// maxOpen is the maximum number of entries. Further ones are not recorded.
	maxOpen = 10_000
)

// New returns a list whose path begins with a prefix, or nil if the prefix is empty.
// The prefix contains the account.
func New(prefix string) *List {
	if prefix == "" {
		return nil
	}
	return &List{prefix: prefix, open: map[uint64][]byte{}}
}

type contextKey struct{}

// With returns a context that passes a list to the backend.
func With(ctx context.Context, list *List) context.Context {
	return context.WithValue(ctx, contextKey{}, list)
}

// In returns the list of a context, or nil.
func In(ctx context.Context) *List {
	list, _ := ctx.Value(contextKey{}).(*List)
	return list
}

// Add records an item before it gets a temporary name. The entry survives the death
// of the process when Add returns. It is written to the disk a moment later.
func (l *List) Add(entry Entry) *Mark {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed || len(l.open) >= maxOpen {
		return nil
	}
	l.last++
	l.write(line{Number: l.last, Entry: &entry})
	return &Mark{list: l, number: l.last}
}

// Change replaces the entry.
func (m *Mark) Change(entry Entry) {
	if m == nil {
		return
	}
	m.list.mu.Lock()
	defer m.list.mu.Unlock()
	m.list.write(line{Number: m.number, Entry: &entry})
}

// Done records that the item no longer exists under a temporary name.
func (m *Mark) Done() {
	if m == nil {
		return
	}
	m.list.mu.Lock()
	defer m.list.mu.Unlock()
	m.list.write(line{Number: m.number})
}

// Touch keeps the list young before a request for the item. The process may have been
// suspended since the last line.
func (m *Mark) Touch() {
	if m == nil {
		return
	}
	m.list.mu.Lock()
	defer m.list.mu.Unlock()
	if m.list.file != nil {
		now := time.Now()
		_ = os.Chtimes(m.list.file.Name(), now, now)
	}
}

// Close removes the list if no item has a temporary name. Otherwise, the list stays
// for a later process. Entries may be added afterwards.
func (l *List) Close() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil || len(l.open) > 0 {
		return
	}
	_ = os.Remove(l.file.Name())
	_ = l.file.Close()
	close(l.written)
	l.file, l.size = nil, 0
}

// write appends a line. mu must be held.
func (l *List) write(added line) {
	if l.failed {
		return
	}
	err := l.create()
	if err == nil {
		err = l.append(added)
	}
	if err == nil {
		return
	}
	l.failed = true
	fs.LogPrintf(fs.LogLevelWarning, nil, "the names of uploads under way cannot be stored in %q: %v; if this process is killed, files with temporary names may be left over",
		filepath.Dir(l.prefix), privatefile.WithoutPath(err))
}

// append appends a line to the file, and rewrites the file if most of it no longer
// matters. mu must be held.
func (l *List) append(added line) error {
	text, err := json.Marshal(added)
	if err != nil {
		return err
	}
	text = append(text, '\n')
	l.held -= int64(len(l.open[added.Number]))
	delete(l.open, added.Number)
	if added.Entry != nil {
		l.open[added.Number] = text
		l.held += int64(len(text))
	}
	if _, err := l.file.WriteAt(text, l.size); err != nil {
		return err
	}
	l.size += int64(len(text))
	if l.size > compactSize && l.held <= l.size/2 {
		if err := l.compact(); err != nil {
			return err
		}
	}
	select {
	case l.written <- struct{}{}:
	default:
	}
	return nil
}

// compact rewrites the file with only the open entries. They are written before the
// rest is cut off, so the file has all of them at any moment. mu must be held.
func (l *List) compact() error {
	var kept []byte
	for _, number := range slices.Sorted(maps.Keys(l.open)) {
		kept = append(kept, l.open[number]...)
	}
	kept = append(kept, '\n') // ends the line that is cut
	if _, err := l.file.WriteAt(kept, 0); err != nil {
		return err
	}
	l.size = int64(len(kept))
	return l.file.Truncate(l.size)
}

// create creates the file if there is none. mu must be held.
func (l *List) create() error {
	if l.file != nil {
		return nil
	}
	folder := filepath.Dir(l.prefix)
	if err := privatefile.MakeFolder(folder); err != nil {
		return err
	}
	for range 3 {
		file, err := os.OpenFile(l.prefix+here().nameOf(rand.Text()), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		locked, err := lock(file)
		if err == nil && locked {
			err = privatefile.Inherit(file.Name(), folder)
		}
		if err != nil {
			_ = os.Remove(file.Name())
			_ = file.Close()
			return err
		}
		if locked {
			l.file, l.written = file, make(chan struct{}, 1)
			go syncLines(file, l.written)
			return nil
		}
		_ = file.Close() // another process has already taken it for an abandoned one
	}
	return errors.New("other processes remove the file")
}

// syncLines writes the lines of a list to the disk, without delaying their writer. It
// keeps the list young while its process runs.
func syncLines(file *os.File, written <-chan struct{}) {
	beat := time.NewTicker(quietAge / 4)
	defer beat.Stop()
	for {
		select {
		case _, open := <-written:
			if !open {
				return
			}
			_ = file.Sync() // only a crash of the machine makes a difference
		case now := <-beat.C:
			_ = os.Chtimes(file.Name(), now, now) // the lines may be older than the last request
		}
	}
}

// lock takes the lock of a list. It returns false if another process holds it or has
// removed the list.
func lock(file *os.File) (bool, error) {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	held, err := file.Stat()
	if err != nil {
		return false, err
	}
	named, err := os.Lstat(file.Name())
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(held, named), err
}
