package drive

import (
	"context"
	"net/http"
	"sync"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/service"

	"github.com/rclone/rclone/backend/iclouddrive/api"
)

// batcher combines changes of single items into calls about many items. The
// first change is sent at once. Changes that are requested while calls are under
// way wait for the next call. A move to the Trash was measured to take 20 s
// regardless of the connection, so a thousand items would take hours with one
// call for each.
//
// Source: https://github.com/Dandiccf/cirrove, docs/benchmarks,
// icloud-handoff-phase-split-2026-09-29.
type batcher struct {
	service *service.Service
	path    string // of the call
	eager   int    // how many calls of a zone may be under way before further ones need a full batch
	most    int    // the maximum number of items in a call

	mu    sync.Mutex
	zones map[string]*batches
}

// batches has the changes in one zone. A call concerns only one zone.
type batches struct {
	waiting []*batched
	running int             // calls under way
	active  map[string]bool // ids of the items in the calls under way
}

// batched is the change of one item.
type batched struct {
	ctx      context.Context
	docID    string
	entry    map[string]any
	done     chan struct{} // closed when response and err are set
	response *driveItem
	err      error
}

const (
	// maxBatched is the maximum number of items in a call. Other clients send
	// several items, too; the limit of the service is unknown.
	maxBatched = 50
	// maxBatches is the maximum number of concurrent calls in a zone.
	maxBatches = 4
)

func newBatcher(s *service.Service, path string, eager int) *batcher {
	return &batcher{service: s, path: path, eager: eager, most: maxBatched, zones: map[string]*batches{}}
}

// change sends a change of an item and returns the service's response about the
// item. A call that has begun continues when ctx ends.
func (b *batcher) change(ctx context.Context, it *Item, more map[string]any) (*driveItem, error) {
	one := &batched{ctx: ctx, docID: it.docID(), entry: entryOf(it, more), done: make(chan struct{})}
	zone := it.zone()
	b.mu.Lock()
	of := b.zones[zone]
	if of == nil {
		of = &batches{active: map[string]bool{}}
		b.zones[zone] = of
	}
	of.waiting = append(of.waiting, one)
	b.begin(zone, of)
	b.mu.Unlock()
	select {
	case <-one.done:
		return one.response, one.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// begin starts the calls that are due. mu must be held.
func (b *batcher) begin(zone string, of *batches) {
	for of.running < b.eager || of.running < maxBatches && len(of.waiting) >= b.most {
		part := of.take(b.most)
		if len(part) == 0 {
			return
		}
		of.running++
		go b.send(zone, of, part)
	}
}

// take removes the changes of the next call from waiting and returns them. A
// change of an item that is in a call under way keeps waiting. A change whose
// context has ended is dropped.
func (b *batches) take(most int) []*batched {
	var part, rest []*batched
	for _, one := range b.waiting {
		switch {
		case one.ctx.Err() != nil:
		case len(part) < most && !b.active[one.docID]:
			b.active[one.docID] = true
			part = append(part, one)
		default:
			rest = append(rest, one)
		}
	}
	b.waiting = rest
	return part
}

// send sends a call, passes the results to the callers of change and begins the
// next calls.
func (b *batcher) send(zone string, of *batches, part []*batched) {
	b.request(context.WithoutCancel(part[0].ctx), zone, part)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, one := range part {
		delete(of.active, one.docID)
		close(one.done)
	}
	of.running--
	b.begin(zone, of)
}

// request sends a call about several items and sets the result of each. If the
// call as a whole is refused, the cause may be one of the items or their number,
// so it is sent again in halves.
func (b *batcher) request(ctx context.Context, zone string, part []*batched) error {
	entries := make([]map[string]any, len(part))
	for i, one := range part {
		entries[i] = one.entry
	}
	response, err := service.Fetch[itemsResponse](ctx, b.service, service.Request{
		Host: hosts.Drive, Method: http.MethodPost, Path: b.path, Body: map[string]any{"items": entries}, Zone: zone,
	}, nil)
	switch {
	case err == nil && len(part) == 1:
		part[0].response, part[0].err = onlyAbout(response, part[0].docID)
	case err == nil:
		for _, one := range part {
			one.response, one.err = response.about(one.docID)
		}
	case len(part) > 1 && mayBeForOneOfThem(err):
		half := len(part) / 2
		first, second := b.request(ctx, zone, part[:half]), b.request(ctx, zone, part[half:])
		if first == nil && second == nil {
			b.mu.Lock()
			b.most = max(1, min(b.most, half)) // the number of items was the cause
			b.mu.Unlock()
		}
	default:
		for _, one := range part {
			one.err = err
		}
	}
	return err
}

// about returns the part of a response that concerns an item.
func (a *itemsResponse) about(docID string) (*driveItem, error) {
	var found []driveItem
	for _, item := range a.all() {
		if api.GetDocIDFromDriveID(string(item.DriveID)) == docID {
			found = append(found, item)
		}
	}
	return only(found)
}

// all returns the items of a response, which are in one of two members.
func (a *itemsResponse) all() []driveItem {
	if a.Items == nil {
		return a.Folders
	}
	return a.Items
}

// onlyAbout returns the item of a response about one item. The response need not
// contain the id of the item.
func onlyAbout(response *itemsResponse, docID string) (*driveItem, error) {
	one, err := only(response.all())
	if err == nil && one.DriveID != "" && api.GetDocIDFromDriveID(string(one.DriveID)) != docID {
		return nil, apierr.Damaged("the response is about another item")
	}
	return one, err
}
