package drive

import (
	"context"
	"maps"
	"sync"

	"plakar-icloud/librclone/backend/icloud/apierr"
)

// pending has the changes of a drive that run in the background.
type pending struct {
	mu      sync.Mutex
	running map[*pendingChange]struct{}
	byKey   map[string]*pendingChange // the last running change of each key
	failed  []*pendingChange          // not returned by waitAll yet
}

// pendingChange is a change that runs in the background.
type pendingChange struct {
	path   string
	key    string
	done   chan struct{} // closed when result and err are set
	result *Item
	err    error
}

// UnfinishedChange is a change in the background that failed or is still under way.
type UnfinishedChange struct {
	Path string // from the root of the drive
	Err  error
}

// maxDeferred limits the number of replacements in the background.
const maxDeferred = 1000

// start runs a change in the background. The change continues when ctx ends. A
// caller that must not overlap with another change of the key calls waitFor
// first. A failure is stored for waitAll.
func (p *pending) start(ctx context.Context, path, key string, run func(context.Context) (*Item, error)) *pendingChange {
	change := &pendingChange{path: path, key: key, done: make(chan struct{})}
	p.mu.Lock()
	if p.running == nil {
		p.running, p.byKey = map[*pendingChange]struct{}{}, map[string]*pendingChange{}
	}
	p.running[change] = struct{}{}
	p.byKey[key] = change
	p.mu.Unlock()
	go func() {
		change.result, change.err = run(context.WithoutCancel(ctx))
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.running, change)
		if p.byKey[key] == change {
			delete(p.byKey, key)
		}
		if change.err != nil {
			p.failed = append(p.failed, change)
		}
		close(change.done)
	}()
	return change
}

// wait waits for a change and returns its result. waitAll then omits the change. If
// ctx ends first, the change continues.
func (p *pending) wait(ctx context.Context, change *pendingChange) (*Item, error) {
	select {
	case <-change.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, failed := range p.failed {
		if failed == change {
			p.failed = append(p.failed[:i], p.failed[i+1:]...)
			break
		}
	}
	return change.result, change.err
}

// waitFor waits until no change of a key is under way.
func (p *pending) waitFor(ctx context.Context, key string) error {
	for {
		p.mu.Lock()
		change := p.byKey[key]
		p.mu.Unlock()
		if change == nil {
			return nil
		}
		select {
		case <-change.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// hasRoom reports whether another change may run in the background.
func (p *pending) hasRoom() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.running) < maxDeferred
}

// waitAll waits for the changes under way until ctx ends. It returns the changes
// that failed since the last call and those that are still under way.
func (p *pending) waitAll(ctx context.Context) []UnfinishedChange {
	p.mu.Lock()
	running := maps.Clone(p.running)
	p.mu.Unlock()
	for change := range running {
		select {
		case <-change.done:
		case <-ctx.Done():
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var unfinished []UnfinishedChange
	for _, change := range p.failed {
		unfinished = append(unfinished, UnfinishedChange{Path: change.path, Err: change.err})
	}
	p.failed = nil
	for change := range p.running {
		unfinished = append(unfinished, UnfinishedChange{Path: change.path, Err: errNotFinished})
	}
	return unfinished
}

// errNotFinished is the error for a replacement that the process no longer waits
// for. The new content is complete in the folder.
var errNotFinished = apierr.New(apierr.KindNetwork, "replace", "", "the service did not move the old version to the Trash in time").
	Advise("the new content is beside it under a hidden name; a later restore removes it if the old version still has the name, so restore the file again")
