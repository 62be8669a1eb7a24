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
	Mark string // differs between versions of a content; may be ""
}

// Reader reads the contents of another service than Drive, in the same way as
// those of Drive.
type Reader struct{ contents *contents }

// NewReader returns a reader of contents. lookUp returns the addresses of contents
// in the order of the items, with nil for a content that has none. The ID and the
// ETag of an item identify its content.
func NewReader(s *service.Service, lookUp func(ctx context.Context, items []*Item) ([]*Address, error)) *Reader {
	c := newContents(s, &factsFile{}, func(context.Context, *Item) bool { return true })
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

// Open opens a content at the offset start. end is the offset after the last
// requested byte, or -1 for everything. on is the path of the content in messages.
func (r *Reader) Open(ctx context.Context, it *Item, on string, start, end int64) (io.ReadCloser, error) {
	return r.contents.read(ctx, it, on, start, end, func() {})
}

// Expect requests the addresses of contents that will be read soon. It does not
// wait for them.
func (r *Reader) Expect(ctx context.Context, items []*Item) { r.contents.expect(ctx, items) }
