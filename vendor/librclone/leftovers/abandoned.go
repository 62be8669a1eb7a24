package leftovers

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
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
	// maxAge is the age from which a list is removed even if its items cannot be.
	maxAge = 30 * 24 * time.Hour
)

// Abandoned is the list of a process that has ended. Its lock is held until Close.
type Abandoned struct {
	Entries []Entry
	file    *os.File
	old     bool
}

// Take returns the lists of ended processes whose paths begin with a prefix. A list
// that cannot be used is left out with a warning.
func Take(prefix string) []*Abandoned {
	folder, start := filepath.Split(prefix)
	files, err := os.ReadDir(folder)
	if err != nil {
		return nil // no process has stored anything
	}
	var taken []*Abandoned
	for _, file := range files {
		name := file.Name()
		if !strings.HasPrefix(name, start+"-") || !strings.HasSuffix(name, suffix) || len(taken) == maxLists {
			continue
		}
		list, err := take(filepath.Join(folder, name))
		if err != nil {
			fs.LogPrintf(fs.LogLevelWarning, nil, "%q, the list of the unfinished uploads of a process that was killed, is ignored: %v",
				filepath.Join(folder, name), privatefile.WithoutPath(err))
		}
		if list != nil {
			taken = append(taken, list)
		}
	}
	return taken
}

// take returns the list with a path, or nil if its process has not ended.
func take(path string) (*Abandoned, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	list := &Abandoned{file: file}
	locked, err := list.read()
	if err != nil || !locked {
		_ = file.Close()
		return nil, err
	}
	return list, nil
}

// read takes the lock of the list and reads it. It returns false if the process that
// writes the list has not ended.
func (a *Abandoned) read() (bool, error) {
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
	if info.Size() > maxSize {
		return false, errors.New("it is too large to be one of ours")
	}
	text, err := io.ReadAll(io.LimitReader(a.file, maxSize))
	if err != nil {
		return false, err
	}
	var damaged bool
	a.Entries, damaged = parse(text)
	a.old = time.Since(info.ModTime()) > maxAge
	if damaged && len(a.Entries) == 0 {
		_ = os.Remove(a.file.Name())
		return false, errors.New("it is damaged, and was removed; files with temporary names may be left over")
	}
	return true, nil
}

// parse returns the entries whose items still had a temporary name at the end. A line
// is damaged if the process was killed while the line was written.
func parse(text []byte) (entries []Entry, damaged bool) {
	open := map[uint64]Entry{}
	for part := range bytes.Lines(text) {
		var read line
		switch part = bytes.TrimSpace(part); {
		case len(part) == 0:
		case json.Unmarshal(part, &read) != nil || read.Number == 0:
			damaged = true
		case read.Entry == nil:
			delete(open, read.Number)
		default:
			open[read.Number] = *read.Entry
		}
	}
	for _, number := range slices.Sorted(maps.Keys(open)) {
		entries = append(entries, open[number])
	}
	return entries, damaged
}

// Close releases the list. It removes the list if all items are settled, or if it is
// so old that later attempts would fail, too.
func (a *Abandoned) Close(settled bool) {
	if settled || a.old {
		_ = os.Remove(a.file.Name()) // the next process would only look the items up again
	}
	_ = a.file.Close()
}
