package drive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/transport"

	"github.com/rclone/rclone/lib/rest"
)

// contentReader reads a content or a part of it. After a broken connection, it
// resumes the download of a file and restarts that of a package. It fails if the
// content is shorter or longer than expected, or if it is replaced during the
// download.
type contentReader struct {
	ctx      context.Context
	cancel   context.CancelFunc
	contents *contents
	client   *rest.Client
	it       *Item
	on       string // the path in messages
	learned  func() // called when the file turns out to be a package

	first, last int64 // the requested part; last is the offset after it, or -1 for everything
	from        *address
	denied      bool // two consecutive addresses were refused
	body        io.ReadCloser
	pos         int64    // offset of the next byte
	end         int64    // offset after the last byte; -1 while it is unknown
	size        int64    // size of the whole content; -1 while it is unknown
	archive     *archive // of a package; nil for the content of a file
	handed      bool     // bytes of the content were returned to the caller
	more        bool     // the response continues after end
	partial     bool     // the response is a part of the content
	hasLength   bool     // the response has its length
	doubts      int      // how often the size was not the listed one
	try         int      // number of the attempt since the last received byte
	err         error
}

// Read opens the content of a file at the offset start. end is the offset after
// the last requested byte, or -1 for everything. A negative start counts from the
// end of a content of unknown size. on is the path of the file in messages. If
// the file turns out to be a package, learned is called with the item of it.
func (d *Drive) Read(ctx context.Context, it *Item, on string, start, end int64, learned func(packaged *Item)) (io.ReadCloser, error) {
	content, err := d.contents.read(ctx, it, on, start, end, func() {
		packaged := *it
		packaged.packaged = true
		learned(&packaged)
	})
	if apierr.HasKind(err, apierr.KindChanged) {
		d.folders.forget(it.Parent) // so that a look-up finds the present version
	}
	return content, err
}

// read implements Drive.Read and Reader.Open.
func (c *contents) read(ctx context.Context, it *Item, on string, start, end int64, learned func()) (io.ReadCloser, error) {
	if it.Size == 0 && !it.MayBePackage() && !c.isPackage(it) {
		return c.readEmpty(ctx, it, on, learned)
	}
	content, err := c.open(ctx, it, on, start, end, learned)
	if err != nil || start != 0 || end >= 0 {
		return content, err
	}
	return c.checked(ctx, it, on, content), nil
}

// readEmpty opens a file that is listed with 0 bytes. It may be a package, which only
// the response to a request for the address shows, or the listing may be wrong. A
// content that is not empty is then an error. Some clients get 400 for the address of
// an empty file (https://github.com/picklepete/pyicloud/pull/301), so this status
// confirms the listing. No other failure does.
func (c *contents) readEmpty(ctx context.Context, it *Item, on string, learned func()) (io.ReadCloser, error) {
	from, err := c.at(ctx, it, nil)
	switch {
	case refusedAsWrong(err):
		return io.NopCloser(bytes.NewReader(nil)), nil
	case err != nil:
		return nil, apierr.About(err, "read", on)
	}
	if sum, ok := checksumIn(from.mark); ok && !from.packaged && sum == checksum(newChecksum().Sum(nil)) {
		return io.NopCloser(bytes.NewReader(nil)), nil
	}
	return c.open(ctx, it, on, 0, -1, learned)
}

// open opens a content without a check of its checksum.
func (c *contents) open(ctx context.Context, it *Item, on string, start, end int64, learned func()) (io.ReadCloser, error) {
	if c.readsStriped(it, start, end) {
		return c.readStriped(ctx, it, on, start, learned)
	}
	r := c.newReader(ctx, it, on, start, end, learned)
	if err := r.open(); err != nil {
		defer r.cancel()
		if r.from == nil && refusedAsWrong(err) && c.isEmpty(ctx, it) {
			return io.NopCloser(bytes.NewReader(nil)), nil
		}
		return nil, apierr.About(err, "read", on)
	}
	return r, nil
}

func (c *contents) newReader(ctx context.Context, it *Item, on string, start, end int64, learned func()) *contentReader {
	ctx, cancel := context.WithCancel(ctx)
	r := &contentReader{
		ctx: ctx, cancel: cancel, contents: c, client: c.service.HTTP, it: it, on: on, learned: learned,
		first: start, last: end, pos: start, end: end, size: it.Size, try: 1,
	}
	if c.isPackage(it) {
		r.becomesArchive()
	}
	return r
}

// extend makes the reader of a part continue to the end of the content. It is
// called if the service returned the whole content instead of the part.
func (r *contentReader) extend() {
	r.last, r.end, r.more = -1, r.size, false
}

// becomesArchive prepares the reader for the archive of a package. The size of an
// archive is not the listed one, and its bytes differ between downloads.
func (r *contentReader) becomesArchive() {
	r.size = -1
	if r.archive == nil {
		r.archive = new(archive)
	}
}

// isEmpty reports whether a file is known to be empty. The service has no address
// for an empty file. If the listing has no size, the document is looked up.
func (c *contents) isEmpty(ctx context.Context, it *Item) bool {
	if it.Size >= 0 || it.packaged || it.Shared() || it.itemID == "" {
		return it.Size == 0 && !it.packaged && !it.Shared()
	}
	doc, err := lookUp(ctx, c.service, it.zone(), it.itemID)
	return err == nil && string(doc.ID) == it.docID() && doc.Size.Or(0) == 0 && doc.Data.Size.Or(0) == 0 &&
		(doc.Size != nil || doc.Data.Size != nil)
}

// refusedAsWrong reports whether a request failed because the service refused it
// with 400.
func refusedAsWrong(err error) bool {
	var typed *apierr.Error
	return errors.As(err, &typed) && typed.Doubtful && typed.Kind() == apierr.KindUnsupported
}

// open requests the content from the present position. It retries failures.
func (r *contentReader) open() error {
	for renewed := 0; ; r.try++ {
		err := r.openOnce()
		if err == nil || r.ctx.Err() != nil {
			return err
		}
		var spent *addressSpent
		if errors.As(err, &spent) {
			renewed++
			r.denied = renewed > 1
			err = apierr.New(apierr.KindDenied, "", "", spent.Error())
			if renewed > maxAddressesTried {
				return err
			}
		}
		if spent != nil && renewed == 1 {
			continue // the address may have expired
		}
		if apierr.IsFinal(err) || spent == nil && !apierr.HasKind(err, apierr.KindNetwork) && !apierr.HasKind(err, apierr.KindThrottled) && !apierr.HasKind(err, apierr.KindDamaged) {
			return err
		}
		if err := r.contents.service.Retries.Wait(r.ctx, r.try+1, err); err != nil {
			return err
		}
	}
}

// maxAddressesTried is how many consecutive addresses of a content may be
// refused before the reader gives up.
const maxAddressesTried = 3

// addressSpent is the error for an address that a content host refuses.
type addressSpent struct{ refused *apierr.Refusal }

func (e *addressSpent) Error() string {
	return "the address of the content is refused: " + e.refused.Error()
}

// openOnce requests the content once. If the host refuses the address, openOnce
// requests another address for the next attempt.
func (r *contentReader) openOnce() error {
	from, err := r.address(nil)
	if err != nil {
		return apierr.Finally(err)
	}
	resp, err := r.get(from.url)
	var refused *apierr.Refusal
	if errors.As(err, &refused) {
		switch {
		case refused.Status == http.StatusRequestedRangeNotSatisfiable:
			return apierr.New(apierr.KindChanged, "", "", "the content is shorter than listed")
		case refused.Kind() == apierr.KindThrottled, refused.Kind() == apierr.KindNetwork:
			return refused.Err()
		}
		// Another address may help whatever the reason of the refusal is. If the
		// session has ended, requesting an address renews it.
		if _, err := r.address(from); err != nil {
			return apierr.Finally(err)
		}
		return &addressSpent{refused}
	}
	if err != nil {
		return err
	}
	err = r.accept(resp)
	if err == nil {
		r.body = resp.Body
		return nil
	}
	_ = resp.Body.Close()
	if apierr.HasKind(err, apierr.KindDamaged) {
		if _, err := r.address(from); err != nil { // another address may lead to another host
			return apierr.Finally(err)
		}
	}
	if !apierr.HasKind(err, apierr.KindChanged) {
		return err
	}
	// The file is reported as changed only after other addresses were tried and
	// the service has confirmed it.
	first := r.body == nil
	r.doubts++
	switch {
	case r.doubts <= maxDoubts && !(first && r.it.MayBePackage() && r.doubts > maxDoubtsOfPackages):
		if _, err := r.address(from); err != nil {
			return apierr.Finally(err)
		}
		return apierr.Damaged("the size of the content is not the listed one")
	case !r.contents.unchanged(r.ctx, r.it):
		return err
	case first && r.it.MayBePackage():
		r.becomesArchive()
		return r.openOnce()
	}
	return apierr.Finally(apierr.Damaged(err.(*apierr.Error).Why))
}

// address returns an address to read from, other than spent. It fails if the
// content is no longer the one that the reader began with.
func (r *contentReader) address(spent *address) (*address, error) {
	from, err := r.contents.at(r.ctx, r.it, spent)
	if err != nil {
		return nil, err
	}
	if r.from != nil && r.from.mark != from.mark && !r.contents.unchanged(r.ctx, r.it) {
		return nil, apierr.New(apierr.KindChanged, "", "", "the file was replaced while it was read").Advise("read it again")
	}
	if from.packaged {
		r.becomesArchive()
		if !r.it.packaged && r.learned != nil {
			r.learned()
		}
	}
	r.from = from
	return from, nil
}

// maxDoubts is how often another address is requested if the size of a content is
// not the listed one.
const maxDoubts = 4

// maxDoubtsOfPackages is maxDoubts for a possible package, whose listed size may
// be that of the folder on a Mac.
const maxDoubtsOfPackages = 2

// get requests the bytes from an address and follows redirects. The service also
// redirects with the status 330.
func (r *contentReader) get(address string) (*http.Response, error) {
	headers := map[string]string{"Accept-Encoding": "identity"}
	switch {
	case r.archive != nil: // the service ignores ranges of packages
	case r.pos < 0:
		headers["Range"] = "bytes=" + strconv.FormatInt(r.pos, 10)
	case r.end >= 0 && r.end != r.size:
		headers["Range"] = fmt.Sprintf("bytes=%d-%d", r.pos, r.end-1)
	case r.pos > 0:
		headers["Range"] = fmt.Sprintf("bytes=%d-", r.pos)
	}
	for range transport.MaxRedirects {
		for name, value := range r.contents.service.Session.HeadersFor(address, r.denied) {
			headers[name] = value
		}
		resp, err := r.request(address, headers)
		if err == nil {
			return resp, nil
		}
		var refused *apierr.Refusal
		if !errors.As(err, &refused) {
			return nil, apierr.Transport(r.ctx, hosts.Of(address), err)
		}
		if refused.Status < 300 || refused.Status >= 400 || refused.Location == "" {
			return nil, refused
		}
		if !hosts.MayHaveContents(refused.Location) {
			return nil, apierr.Damaged("the service redirects to an address that is not secure or not Apple's")
		}
		address = refused.Location
		delete(headers, "Cookie")
	}
	return nil, apierr.Damaged("the service redirects in a loop")
}

// request sends one request for the content, as soon as the gate admits it.
func (r *contentReader) request(address string, headers map[string]string) (*http.Response, error) {
	gate := r.contents.gate
	if err := gate.Enter(r.ctx); err != nil {
		return nil, err
	}
	defer gate.Leave()
	began := time.Now()
	ctx := transport.WithTry(r.ctx, r.try)
	if r.archive == nil && !r.it.MayBePackage() { // the service makes the archive of a package first
		ctx = transport.WithQuickResponse(ctx)
	}
	resp, err := r.client.Call(ctx, &rest.Opts{
		Method: http.MethodGet, RootURL: address, ExtraHeaders: headers, NoRedirect: true,
	})
	var refused *apierr.Refusal
	switch {
	case err == nil:
		gate.Responded("content", time.Since(began))
	case errors.As(err, &refused) && refused.Kind() == apierr.KindThrottled:
		gate.Throttled(began)
	}
	return resp, err
}
