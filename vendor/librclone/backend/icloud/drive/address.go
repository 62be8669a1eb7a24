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
	"plakar-icloud/librclone/backend/icloud/transport"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// contents provides the addresses that contents are read from. An address is
// requested once for each version of a file and kept while it works, for at
// most addressAge.
type contents struct {
	service   *service.Service
	facts     *factsFile
	batches   *addressBatches
	ofEmpty   *addressBatches // for files that are listed with 0 bytes
	checksums *checksums
	gate      *transport.Gate
	budget    *budget
	lookUp    func(ctx context.Context, items []*Item) ([]*address, error) // requests addresses; nil for those of the drive
	unchanged func(ctx context.Context, it *Item) bool                     // reports whether an item is known to be unchanged

	mu         sync.Mutex
	addresses  *simplelru.LRU[string, *address] // by contentKey
	packages   *simplelru.LRU[string, struct{}] // ids of files that turned out to be packages
	requesting map[string]chan struct{}         // by contentKey; closed when the response has arrived
}

// address is an address at which a version of a content can be read for some
// time.
type address struct {
	url      string
	mark     string // differs between versions of a content; may be ""
	packaged bool
	since    time.Time
}

func newAddress(token *contentToken, packaged bool) *address {
	return &address{url: token.URL, mark: string(token.Signature), packaged: packaged, since: time.Now()}
}

// addressAge is how long an address is used. How long it works is unknown: users
// have seen addresses expire, and downloads that continued for an hour.
const addressAge = 30 * time.Minute

func (a *address) fresh() bool { return time.Since(a.since) < addressAge }

// contentKey identifies a version of a content.
func (i *Item) contentKey() string { return i.ID + "\x00" + i.ETag }

// maxAddresses limits the number of kept addresses. Each takes about 700
// bytes.
const maxAddresses = 4096

// maxPackages limits the number of kept ids of packages.
const maxPackages = 65536

func newContents(service *service.Service, facts *factsFile, unchanged func(context.Context, *Item) bool) *contents {
	addresses, _ := simplelru.NewLRU[string, *address](maxAddresses, nil) // fails for sizes below 1 only
	packages, _ := simplelru.NewLRU[string, struct{}](maxPackages, nil)
	kept := facts.load()
	for _, id := range kept.Packages {
		packages.Add(id, struct{}{})
	}
	return &contents{
		service: service, facts: facts, batches: newAddressBatches(facts, kept),
		ofEmpty:   newAddressBatches(new(factsFile), kept),
		checksums: newChecksums(facts, kept), unchanged: unchanged,
		gate: transport.NewGate(), budget: newBudget(),
		addresses: addresses, packages: packages, requesting: map[string]chan struct{}{},
	}
}

// isPackage reports whether a file is known to be a package.
func (c *contents) isPackage(it *Item) bool {
	if it.packaged {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.packages.Contains(it.ID)
}

// known returns the address of a content that was requested before, or nil.
func (c *contents) known(it *Item) *address {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, _ := c.addresses.Peek(it.contentKey())
	return known
}

// at returns an address of a content other than spent, which no longer works. If
// spent is nil, any address will do.
func (c *contents) at(ctx context.Context, it *Item, spent *address) (*address, error) {
	key := it.contentKey()
	for {
		c.mu.Lock()
		if known, ok := c.addresses.Get(key); ok && known != spent && known.fresh() {
			c.mu.Unlock()
			return known, nil
		}
		asked, others := c.requesting[key]
		if !others {
			asked = make(chan struct{})
			c.requesting[key] = asked
		}
		c.mu.Unlock()
		if others {
			select {
			case <-asked:
				continue // the address has arrived, or this caller has to request it
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		found, err := c.requestUntilAllowed(ctx, it, spent == nil && it.Size == 0)
		c.mu.Lock()
		c.received(it, found)
		c.mu.Unlock()
		return found, err
	}
}

// received stores the received address, or nil for none, and wakes the readers
// that wait for it. c.mu must be held.
func (c *contents) received(it *Item, found *address) {
	key := it.contentKey()
	c.addresses.Remove(key)
	if found != nil {
		c.addresses.Add(key, found)
		if found.packaged && !c.packages.Contains(it.ID) {
			c.packages.Add(it.ID, struct{}{})
			if !it.packaged {
				c.facts.learnPackage(it.ID)
			}
		}
	}
	close(c.requesting[key])
	delete(c.requesting, key)
}

// requestUntilAllowed requests the address of a content. It repeats the request a
// few times if that is denied, because a later backup was seen to get an address
// that an earlier one was denied.
func (c *contents) requestUntilAllowed(ctx context.Context, it *Item, trust400 bool) (*address, error) {
	for try := 1; ; try++ {
		found, err := c.requestAddress(ctx, it, trust400)
		if try == transport.DoubtfulTries || !apierr.HasKind(err, apierr.KindDenied) || apierr.IsFinal(err) {
			return found, err
		}
		if err := c.service.Retries.Wait(ctx, try+1, err); err != nil {
			return nil, err
		}
	}
}

// requestAddress requests the address of a content. With trust400, the request is not
// repeated after a 400, which is how the service may respond for an empty file.
func (c *contents) requestAddress(ctx context.Context, it *Item, trust400 bool) (*address, error) {
	if c.lookUp != nil {
		found, err := c.lookUp(ctx, []*Item{it})
		if err == nil && found[0] == nil {
			err = apierr.Finally(apierr.New(apierr.KindNotFound, "", "", "the service no longer has a content for it").Advise("the next backup lists it again"))
		}
		if err != nil {
			return nil, err
		}
		return found[0], nil
	}
	if it.inShare() && it.itemID != "" {
		return c.requestShared(ctx, it)
	}
	response, err := service.Fetch(ctx, c.service, service.Request{
		Host: hosts.Docs, Method: http.MethodGet,
		Path:       "/ws/" + url.PathEscape(it.zone()) + "/download/by_id",
		Params:     url.Values{"document_id": {it.docID()}},
		Repeatable: true, Quick: true, TrustBadRequest: trust400,
	}, func(response *addressResponse) error {
		if token, _ := tokenOf(response); token == nil {
			return apierr.Damaged("the response has no address for the content on a host of Apple's")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	token, packaged := tokenOf(response)
	return newAddress(token, packaged), nil
}

// addressResponse is the response to a request for the address of a content: of a
// file, or of the archive of a package.
type addressResponse struct {
	Data    *contentToken `json:"data_token"`
	Package *contentToken `json:"package_token"`
}

type contentToken struct {
	URL       string `json:"url"`
	Signature text   `json:"signature"`
}

// tokenOf returns the token of a response that has a usable address, and whether
// it is that of a package. It returns nil if there is none.
func tokenOf(response *addressResponse) (token *contentToken, packaged bool) {
	if token := response.Data; token != nil && hosts.MayHaveContents(token.URL) {
		return token, false
	}
	if token := response.Package; token != nil && hosts.MayHaveContents(token.URL) {
		return token, true
	}
	return nil, false
}
