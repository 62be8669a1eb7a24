package leftovers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"plakar-icloud/librclone/backend/icloud/privatefile"

	"github.com/rclone/rclone/fs"
)

const (
	// maxSize is the maximum size in bytes of a list that is read.
	maxSize = 16 << 20
	// maxLists is the maximum number of lists that one process takes.
	maxLists = 100
)

// Abandoned is the list of a process that has ended. Its lock is held until Close.
type Abandoned struct {
	Entries  []Entry
	numbers  []uint64 // of the entries
	file     *os.File
	modified time.Time
}

// Take returns the lists of ended processes whose paths begin with a prefix. A list
// that cannot be used is left out with a warning. Lists of other machines are left
// out until they are so old that they are removed.
func Take(prefix string) []*Abandoned {
	folder, start := filepath.Split(prefix)
	files, err := os.ReadDir(folder)
	if err != nil {
		return nil // no process has stored anything
	}
	var taken []*Abandoned
	for _, file := range files {
		rest, ok := strings.CutPrefix(file.Name(), start)
		from, isList := machineOf(rest)
		info, err := file.Info()
		if !ok || !isList || err != nil || len(taken) == maxLists {
			continue
		}
		// The lock may not protect the list of another machine, so the list is not opened.
		if info.Mode().IsRegular() && from.boot != here().boot && time.Since(info.ModTime()) < from.age() {
			continue
		}
		list, err := take(filepath.Join(folder, file.Name()), from.age())
		switch {
		case err != nil:
			fs.LogPrintf(fs.LogLevelWarning, nil, "%q, the list of the unfinished uploads of a process that was killed, is ignored: %v",
				filepath.Join(folder, file.Name()), privatefile.WithoutPath(err))
		case list == nil:
		case from.isOther():
			list.Close(make([]bool, len(list.Entries)))
		default:
			taken = append(taken, list)
		}
	}
	return taken
}

// take returns the list with a path, or nil if its process has not ended or the list
// is younger than age.
func take(path string, age time.Duration) (*Abandoned, error) {
	// A lock on NFS needs a file that is open for writing.
	file, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	list := &Abandoned{file: file}
	usable, err := list.read(age)
	if err != nil || !usable {
		_ = file.Close()
		return nil, err
	}
	return list, nil
}

// read takes the lock of the list and reads it. It returns false if the process that
// writes the list has not ended, or if the list is younger than age.
func (a *Abandoned) read(age time.Duration) (bool, error) {
	info, err := a.file.Stat()
	switch {
	case err != nil:
		return false, err
	case !info.Mode().IsRegular():
		return false, errors.New("it is not a regular file")
	}
	if locked, err := lock(a.file); err != nil || !locked {
		return false, err
	}
	// The process may have written until it released the lock.
	if info, err = a.file.Stat(); err != nil {
		return false, err
	}
	a.modified = info.ModTime()
	if time.Since(a.modified) < age {
		return false, nil
	}
	if info.Size() > maxSize {
		return false, errors.New("it is too large to be one of ours")
	}
	text, err := io.ReadAll(io.LimitReader(a.file, maxSize))
	if err != nil {
		return false, err
	}
	open, damaged := parse(text)
	for _, read := range open {
		a.Entries, a.numbers = append(a.Entries, *read.Entry), append(a.numbers, read.Number)
	}
	if damaged && len(open) == 0 {
		_ = os.Remove(a.file.Name())
		return false, errors.New("it is damaged, and was removed; files with temporary names may be left over")
	}
	return true, nil
}

// parse returns the lines of the items that still had a temporary name at the end. A
// line is damaged if the process was killed while the line was written.
func parse(text []byte) (open []line, damaged bool) {
	byNumber := map[uint64]line{}
	for part := range bytes.Lines(text) {
		var read line
		switch part = bytes.TrimSpace(part); {
		case len(part) == 0:
		case json.Unmarshal(part, &read) != nil || read.Number == 0:
			damaged = true
		case read.Entry == nil:
			delete(byNumber, read.Number)
		default:
			byNumber[read.Number] = read
		}
	}
	for _, number := range slices.Sorted(maps.Keys(byNumber)) {
		open = append(open, byNumber[number])
	}
	return open, damaged
}

// IsRecent reports whether requests of the process may still be carried out, because
// it may have ended less than two minutes ago.
func (a *Abandoned) IsRecent() bool { return time.Since(a.modified) < quietAge }

// Close releases the list. settled reports for each entry whether no later process
// has to look at it. The list is removed if all entries are settled, or if it is so
// old that later attempts would fail, too.
func (a *Abandoned) Close(settled []bool) {
	defer func() { _ = a.file.Close() }()
	var done []byte
	var left []Entry
	for i, entry := range a.Entries {
		if !settled[i] {
			left = append(left, entry)
			continue
		}
		done = fmt.Appendf(done, "\n{\"n\":%d}\n", a.numbers[i]) // the last line may have been cut
	}
	switch {
	case len(left) == 0:
		_ = os.Remove(a.file.Name()) // the next process would only look the items up again
	case time.Since(a.modified) > maxAge:
		for _, entry := range left {
			fs.LogPrintf(fs.LogLevelWarning, nil, "a process that was killed over %d days ago may have left a version of %q as %s; no restore removes it any more; remove it if you do not need it",
				int(maxAge.Hours()/24), entry.Path, entry.temporaryNames())
		}
		_ = os.Remove(a.file.Name())
	case len(done) > 0:
		if _, err := a.file.Write(done); err == nil { // otherwise the items are looked up again
			_ = os.Chtimes(a.file.Name(), a.modified, a.modified)
		}
	}
}

// temporaryNames returns the temporary names of an entry for a message.
func (e *Entry) temporaryNames() string {
	if e.Aside == "" {
		return strconv.Quote(e.Partial)
	}
	return strconv.Quote(e.Partial) + " or " + strconv.Quote(e.Aside)
}
