package icloud

import (
	"context"
	"maps"
	"sync"
)

// pending holds the changes of an account that go on in the background.
type pending struct {
	mu      sync.Mutex
	running map[*pendingChange]struct{}
	failed  []Unfinished
}

// pendingChange is a change that goes on in the background.
type pendingChange struct {
	path string
	done chan struct{}
}

// start runs a change in the background, beyond the end of ctx. Its failure is
// kept for finish.
func (p *pending) start(ctx context.Context, path string, run func(context.Context) error) *pendingChange {
	change := &pendingChange{path: path, done: make(chan struct{})}
	p.mu.Lock()
	if p.running == nil {
		p.running = map[*pendingChange]struct{}{}
	}
	p.running[change] = struct{}{}
	p.mu.Unlock()
	go func() {
		err := run(context.WithoutCancel(ctx))
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.running, change)
		if err != nil {
			p.failed = append(p.failed, Unfinished{Path: path, Err: err})
		}
		close(change.done)
	}()
	return change
}

// finish waits for the changes that run now, until ctx ends, and returns those
// that failed or are not done. A failure is returned once.
func (p *pending) finish(ctx context.Context) []Unfinished {
	for change := range p.snapshot() {
		select {
		case <-change.done:
		case <-ctx.Done():
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	unfinished := p.failed
	p.failed = nil
	for change := range p.running {
		unfinished = append(unfinished, Unfinished{Path: change.path, Err: errNotFinished})
	}
	return unfinished
}

func (p *pending) snapshot() map[*pendingChange]struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.running)
}

// errNotFinished is for a replacement that the process does not wait for any
// longer. The new content is complete in the folder.
var errNotFinished = fail(KindNetwork, "replace", "", "the service had not moved the old version to the Trash in time").
	with("the new content is in the folder under a name with \"" + leftoverMark + "\" in it; store the file again to finish the replacement")
