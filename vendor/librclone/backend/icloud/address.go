package icloud

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// contents gives out the addresses that contents are read from. An address is
// asked for once for each version of a file and kept while it works, for
// addressAge at most.
type contents struct {
	service   *service
	seen      *recollection
	batches   *addressBatches
	gate      *gate
	budget    *budget
	unchanged func(ctx context.Context, it *item) bool // as its folder has it now

	mu        sync.Mutex
	addresses *simplelru.LRU[string, *address] // by id and etag
	packages  *simplelru.LRU[string, struct{}] // ids of files that turned out to be packages
	asking    map[string]chan struct{}         // closed when the answer is there
}

// address is where one version of a content can be read for a while.
type address struct {
	url      string
	mark     string // of the content, to tell one version from another; may be ""
	packaged bool
	since    time.Time
}

func newAddress(token *contentToken, packaged bool) *address {
	return &address{url: token.URL, mark: string(token.Signature), packaged: packaged, since: time.Now()}
}

// addressAge is how long an address is used. How long it works is not known:
// people have seen addresses expire, and downloads go on for an hour.
const addressAge = 30 * time.Minute

func (a *address) fresh() bool { return time.Since(a.since) < addressAge }

// contentKey tells one version of a content from all others.
func (i *item) contentKey() string { return i.id + "\x00" + i.etag }

// mostAddresses bounds the addresses that are kept; each is about 700 bytes.
const mostAddresses = 4096

// mostPackages bounds the ids of packages that are kept.
const mostPackages = 65536

func newContents(service *service, seen *recollection, unchanged func(context.Context, *item) bool) *contents {
	addresses, _ := simplelru.NewLRU[string, *address](mostAddresses, nil) // fails for sizes below 1 only
	packages, _ := simplelru.NewLRU[string, struct{}](mostPackages, nil)
	kept := seen.load()
	for _, id := range kept.Packages {
		packages.Add(id, struct{}{})
	}
	return &contents{
		service: service, seen: seen, batches: newAddressBatches(seen, kept), unchanged: unchanged,
		gate: newGate(), budget: newBudget(),
		addresses: addresses, packages: packages, asking: map[string]chan struct{}{},
	}
}

// isPackage reports whether a file is known to be a package.
func (c *contents) isPackage(it *item) bool {
	if it.packaged {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.packages.Contains(it.id)
}

// at gives the address of a content, other than the one that no longer works.
func (c *contents) at(ctx context.Context, it *item, spent *address) (*address, error) {
	key := it.contentKey()
	for {
		c.mu.Lock()
		if known, ok := c.addresses.Get(key); ok && known != spent && known.fresh() {
			c.mu.Unlock()
			return known, nil
		}
		asked, others := c.asking[key]
		if !others {
			asked = make(chan struct{})
			c.asking[key] = asked
		}
		c.mu.Unlock()
		if others {
			select {
			case <-asked:
				continue // what it brought is there, or it is this one's turn
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		found, err := c.askAgain(ctx, it)
		c.mu.Lock()
		c.answered(it, found)
		c.mu.Unlock()
		return found, err
	}
}

// answered keeps the address that was asked for, nil if there is none, and wakes
// the readers that wait for it. c.mu is locked.
func (c *contents) answered(it *item, found *address) {
	key := it.contentKey()
	c.addresses.Remove(key)
	if found != nil {
		c.addresses.Add(key, found)
		if found.packaged && !c.packages.Contains(it.id) {
			c.packages.Add(it.id, struct{}{})
			if !it.packaged && !it.mayBePackage() {
				c.seen.learnPackage(it.id)
			}
		}
	}
	close(c.asking[key])
	delete(c.asking, key)
}

// askAgain asks for the address of a content, and again a few times if that is
// denied: the next backup was seen to get what one was denied.
func (c *contents) askAgain(ctx context.Context, it *item) (*address, error) {
	for try := 1; ; try++ {
		found, err := c.ask(ctx, it)
		if try == doubtfulTries || !hasKind(err, KindDenied) || isFinal(err) {
			return found, err
		}
		if err := c.service.retries.wait(ctx, try+1, err); err != nil {
			return nil, err
		}
	}
}

func (c *contents) ask(ctx context.Context, it *item) (*address, error) {
	if it.inShare() && it.itemID != "" {
		return c.askShared(ctx, it)
	}
	answer, err := fetch(ctx, c.service, request{
		host: docsHost, method: http.MethodGet,
		path:    "/ws/" + url.PathEscape(it.zone()) + "/download/by_id",
		params:  url.Values{"document_id": {it.docID()}},
		repeats: true,
	}, func(answer *addressAnswer) error {
		if token, _ := tokenOf(answer); token == nil {
			return damaged("no address on a host of Apple's for the content")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	token, packaged := tokenOf(answer)
	return newAddress(token, packaged), nil
}

// addressAnswer is where a content can be read, as a file or as the archive of a
// package.
type addressAnswer struct {
	Data    *contentToken `json:"data_token"`
	Package *contentToken `json:"package_token"`
}

type contentToken struct {
	URL       string `json:"url"`
	Signature text   `json:"signature"`
}

// tokenOf gives the usable token of an answer: the one for a file or the one
// for a package.
func tokenOf(answer *addressAnswer) (token *contentToken, packaged bool) {
	if token := answer.Data; token != nil && takesContents(token.URL) {
		return token, false
	}
	if token := answer.Package; token != nil && takesContents(token.URL) {
		return token, true
	}
	return nil, false
}
