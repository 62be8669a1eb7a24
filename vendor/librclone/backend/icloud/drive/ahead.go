package drive

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/service"

	"github.com/rclone/rclone/fs"
)

// The addresses of several contents can be requested with one call. Its form is
// taken from another client (https://github.com/nktknshn/idrive-cli,
// src/icloud-drive/drive-requests/download.ts), which requests five at once.
// The service's limit is unknown, so the number grows while the calls succeed.
const (
	initialAddressBatch = 5
	maxAddressBatch     = 50
	minAddressBatch     = 2

	// batchesAtOnce is the maximum number of these calls under way.
	batchesAtOnce = 4

	// batchRefusals is after how many refused calls, with none accepted, the
	// service is assumed not to support them.
	batchRefusals = 3
	// batchRefusedFor is how long this is assumed, in later processes, too.
	batchRefusedFor = 7 * 24 * time.Hour
)

// addressBatches determines how many addresses to request with one call. The service
// may have no address for empty files, so these files have their own calls, whose
// failures are not stored.
type addressBatches struct {
	facts *factsFile
	slots chan struct{}

	mu       sync.Mutex
	size     int
	accepted bool // the service has accepted a call
	refused  int  // calls
	over     bool // the service does not support these calls
}

func newAddressBatches(facts *factsFile, kept storedFacts) *addressBatches {
	refused := time.Unix(kept.BatchRefused, 0)
	return &addressBatches{facts: facts, slots: make(chan struct{}, batchesAtOnce), size: initialAddressBatch, over: time.Since(refused) < batchRefusedFor}
}

// next returns the size of the next call, or 0 if there are no more calls.
func (b *addressBatches) next() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return 0
	}
	return b.size
}

// worked records a call that returned all requested addresses.
func (b *addressBatches) worked() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.accepted, b.size = true, min(2*b.size, maxAddressBatch)
}

// failed records a call that returned no address.
func (b *addressBatches) failed(ctx context.Context, err error) {
	b.mu.Lock()
	b.size = max(minAddressBatch, b.size/2)
	switch apierr.KindOf(err) {
	case "", apierr.KindNetwork, apierr.KindThrottled, apierr.KindNeedsLogin:
		b.mu.Unlock()
		return // such a failure is not about these calls
	}
	b.refused++
	b.over = b.over || !b.accepted && b.refused >= batchRefusals
	over := b.over
	b.mu.Unlock()
	fs.Debugf(nil, "icloud: the service did not return several addresses with one call: %v", err)
	if over {
		b.facts.refuseBatches(ctx)
	}
}

// Expect requests the addresses of files that will be read soon. It does not wait
// for them.
func (d *Drive) Expect(ctx context.Context, items []*Item) { d.contents.expect(ctx, items) }

// expect requests the addresses of contents that will be read soon, many with
// one call, and does not wait for them. If the service does not return the
// address of a content, it is requested separately when the content is read.
func (c *contents) expect(ctx context.Context, items []*Item) {
	ctx = context.WithoutCancel(ctx) // other readers may wait for the addresses
	for group, claimed := range c.claim(items) {
		go c.requestInBatches(ctx, group.batches, claimed)
	}
}

// batchGroup is what the contents of one call have in common.
type batchGroup struct {
	batches *addressBatches
	zone    string
}

// claim returns the items whose addresses are neither known nor being requested, and
// marks the addresses as being requested.
func (c *contents) claim(items []*Item) map[batchGroup][]*Item {
	claimed := map[batchGroup][]*Item{}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, it := range items {
		group := batchGroup{c.batches, it.zone()}
		if it.Size == 0 && !it.packaged {
			group.batches = c.ofEmpty
		}
		key := it.contentKey()
		known, ok := c.addresses.Peek(key)
		switch {
		case c.requesting[key] != nil, ok && known.fresh(), it.inShare(), group.batches.next() == 0:
			continue
		}
		c.requesting[key] = make(chan struct{})
		claimed[group] = append(claimed[group], it)
	}
	return claimed
}

// requestInBatches requests the addresses of claimed items of one zone, with
// several calls at once.
func (c *contents) requestInBatches(ctx context.Context, batches *addressBatches, claimed []*Item) {
	for len(claimed) > 0 {
		batches.slots <- struct{}{}
		size := batches.next()
		batch := claimed[:min(max(size, 1), len(claimed))]
		claimed = claimed[len(batch):]
		go func() {
			found := make([]*address, len(batch))
			if size > 0 {
				found = c.requestTogether(ctx, batches, batch)
			}
			<-batches.slots
			c.mu.Lock()
			defer c.mu.Unlock()
			for i, it := range batch {
				c.received(it, found[i])
			}
		}()
	}
}

var errNoAddresses = apierr.Damaged("the response has no address for any of the contents")

// requestTogether requests addresses with one call and returns them in the order
// of the items. An address is nil if the service did not return it.
func (c *contents) requestTogether(ctx context.Context, batches *addressBatches, batch []*Item) []*address {
	if c.lookUp != nil {
		found, err := c.lookUp(ctx, batch)
		if err != nil {
			batches.failed(ctx, err)
			return make([]*address, len(batch))
		}
		batches.worked()
		return found
	}
	type wanted struct {
		ID string `json:"document_id"`
	}
	type tokens struct {
		ID text `json:"document_id"`
		addressResponse
	}
	found := make([]*address, len(batch))
	places := make(map[string]int, len(batch))
	body := make([]wanted, len(batch))
	for i, it := range batch {
		places[it.docID()] = i
		body[i] = wanted{it.docID()}
	}
	count := 0
	_, err := service.Fetch(ctx, c.service, service.Request{
		Host: hosts.Docs, Method: http.MethodPost,
		Path: "/ws/" + url.PathEscape(batch[0].zone()) + "/download/batch",
		Body: body, Repeatable: true, TrustRefusals: true, Quick: true,
	}, func(response *[]*tokens) error {
		for _, of := range *response {
			if of == nil {
				continue
			}
			place, ok := places[string(of.ID)]
			token, packaged := tokenOf(&of.addressResponse)
			if ok && token != nil && found[place] == nil {
				found[place] = newAddress(token, packaged)
				count++
			}
		}
		if count == 0 && batches != c.ofEmpty {
			return errNoAddresses
		}
		return nil
	})
	switch {
	case err != nil:
		batches.failed(ctx, err)
	case count == 0:
		batches.failed(ctx, errNoAddresses)
	case count == len(batch):
		batches.worked()
	}
	return found
}
