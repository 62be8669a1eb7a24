package drive

import (
	"context"
	"io"
	"time"

	"plakar-icloud/librclone/backend/icloud/service"
)

// Address is an address at which a content can be read for some time.
type Address struct {
	URL  string
	Mark string // of the content, to tell one version from another; may be ""
}

// Reader reads contents that another service than Drive stores, in the way in
// which contents of the drive are read.
type Reader struct{ contents *contents }

// NewReader returns a reader of the contents of an account. lookUp returns the
// addresses of contents, nil for a content without one. ID and ETag of an item
// identify its content.
func NewReader(s *service.Service, lookUp func(ctx context.Context, items []*Item) ([]*Address, error)) *Reader {
	c := newContents(s, &recollection{}, func(context.Context, *Item) bool { return true })
	c.lookUp = func(ctx context.Context, items []*Item) ([]*address, error) {
		found := make([]*address, len(items))
		looked, err := lookUp(ctx, items)
		if err != nil {
			return nil, err
		}
		for i, one := range looked {
			if one != nil {
				found[i] = &address{url: one.URL, mark: one.Mark, since: time.Now()}
			}
		}
		return found, nil
	}
	return &Reader{c}
}

// Open reads a content from start to end, or to its end if end is -1. on is the
// path of the content in messages.
func (r *Reader) Open(ctx context.Context, it *Item, on string, start, end int64) (io.ReadCloser, error) {
	return r.contents.read(ctx, it, on, start, end, func() {})
}

// Expect requests the addresses of contents that will be read soon. It does not
// wait for them.
func (r *Reader) Expect(ctx context.Context, items []*Item) { r.contents.expect(ctx, items) }
