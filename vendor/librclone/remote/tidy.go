package remote

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	"plakar-icloud/librclone/backend/icloud"
	"plakar-icloud/librclone/leftovers"

	"github.com/rclone/rclone/fs"
	"golang.org/x/sync/errgroup"
)

// lists has the lists of temporary names of the open remotes.
var lists listsOfRemotes

type listsOfRemotes struct {
	mu sync.Mutex
	by map[uint64]openedList
}

// openedList is the list of a remote.
type openedList struct {
	prefix string // of the paths of the lists of all processes
	own    *leftovers.List
}

func (l *listsOfRemotes) add(remote uint64, prefix string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by == nil {
		l.by = map[uint64]openedList{}
	}
	l.by[remote] = openedList{prefix, leftovers.New(prefix)}
}

func (l *listsOfRemotes) of(remote uint64) openedList {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.by[remote]
}

func (l *listsOfRemotes) close(remote uint64) {
	l.of(remote).own.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.by, remote)
}

// maxTidying is the maximum number of files that tidy looks up concurrently.
const maxTidying = 16

type tidyResult struct {
	Settled int        `json:"settled"`
	Waiting int        `json:"waiting"` // see leftovers.Waiting
	Failed  []*Failure `json:"failed"`
}

// tidy removes the files with temporary names that killed processes have left. A
// file whose name is free gets it, if its content is complete. Without lists of such
// processes, tidy does not use the network.
func tidy(ctx context.Context, in struct {
	Remote uint64 `json:"remote"`
}) (*tidyResult, error) {
	f, err := remotes.get(in.Remote)
	if err != nil {
		return nil, err
	}
	out := &tidyResult{Failed: []*Failure{}}
	prefix := lists.of(in.Remote).prefix
	if prefix == "" {
		return out, nil
	}
	for _, list := range leftovers.Take(prefix) {
		settled := make([]bool, len(list.Entries))
		recent := list.IsRecent()
		for i, result := range settle(ctx, f, list.Entries, recent) {
			settled[i] = result.IsSettled()
			switch result.Outcome {
			case leftovers.Done:
				out.Settled++
			case leftovers.Nothing:
				settled[i] = !recent // the last upload of the process may still arrive
			case leftovers.Waiting:
				out.Waiting++
			case leftovers.Failed:
				out.Failed = append(out.Failed, failureOf(result.Err))
			}
		}
		list.Close(settled)
	}
	return out, nil
}

// settle settles entries and returns the result for each. recent reports whether
// requests of the process may still be carried out.
func settle(ctx context.Context, f fs.Fs, entries []leftovers.Entry, recent bool) []leftovers.Result {
	results := make([]leftovers.Result, len(entries))
	var group errgroup.Group
	group.SetLimit(maxTidying)
	var items []json.RawMessage
	var numbers []int
	for i, entry := range entries {
		if entry.Item != nil {
			items, numbers = append(items, entry.Item), append(numbers, i)
			continue
		}
		group.Go(func() error {
			results[i] = settlePartial(ctx, f, entry, recent)
			return nil
		})
	}
	for i, result := range icloud.Settle(ctx, items, recent) {
		results[numbers[i]] = result
	}
	_ = group.Wait() // the errors are in results
	return results
}

// settlePartial settles the replaced file of an entry, and then removes the content
// that has a temporary name. If recent is set, the server may still move the replaced
// file aside. The entry then waits, so that this file gets its name back.
func settlePartial(ctx context.Context, f fs.Fs, entry leftovers.Entry, recent bool) leftovers.Result {
	outcome, err := settleAside(ctx, f, entry)
	if err != nil {
		return leftovers.Failure(err)
	}
	partial, err := lookUp(ctx, f, entry.Partial)
	if err == nil && partial != nil {
		if recent && entry.Aside != "" && outcome == leftovers.Nothing {
			return leftovers.Result{Outcome: leftovers.Waiting}
		}
		err = partial.Remove(ctx)
		if outcome == leftovers.Nothing {
			outcome = leftovers.Done
		}
	}
	if err != nil {
		return leftovers.Failure(err)
	}
	return leftovers.Result{Outcome: outcome}
}

// settleAside gives the replaced file of an entry its name back if the name is free.
// The file is removed only if the new content has had the name.
func settleAside(ctx context.Context, f fs.Fs, entry leftovers.Entry) (leftovers.Outcome, error) {
	if entry.Aside == "" {
		return leftovers.Nothing, nil
	}
	aside, err := lookUp(ctx, f, entry.Aside)
	if err != nil || aside == nil {
		return leftovers.Nothing, err
	}
	named, err := lookUp(ctx, f, entry.Path)
	switch {
	case err != nil:
		return leftovers.Failed, err
	case named == nil:
		_, err := f.Features().Move(ctx, aside, entry.Path)
		return leftovers.Done, err
	case entry.Named:
		return leftovers.Done, aside.Remove(ctx)
	}
	// The file may be the new content or that of another program.
	fs.LogPrintf(fs.LogLevelWarning, nil, "a killed process has left the earlier version of %q as %q; it is kept; remove it if you do not need it", entry.Path, entry.Aside)
	return leftovers.Kept, nil
}

// lookUp finds a file, or returns nil if there is none.
func lookUp(ctx context.Context, f fs.Fs, path string) (fs.Object, error) {
	found, err := f.NewObject(ctx, path)
	if errors.Is(err, fs.ErrorObjectNotFound) || errors.Is(err, fs.ErrorDirNotFound) {
		return nil, nil
	}
	return found, err
}

func init() {
	Method("remote/tidy", tidy)
}
