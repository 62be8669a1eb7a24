package icloud

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/lib/rest"
)

// contentReader reads a content or a part of it, up to the requested end. After
// a broken connection, it resumes the download of a file and restarts that of a
// package. A content that is shorter or longer than expected, or a different
// one, is an error.
type contentReader struct {
	ctx      context.Context
	cancel   context.CancelFunc
	contents *contents
	client   *rest.Client
	it       *item
	on       string
	learned  func() // called when the file turns out to be a package

	first, last int64 // the part that was asked for; last is behind it, -1 for all
	from        *address
	denied      bool // by one address after the other
	body        io.ReadCloser
	pos         int64    // of the next byte
	end         int64    // behind the last byte; -1 while not known
	size        int64    // of the whole content; -1 while not known
	archive     *archive // of a package; nil for the content of a file
	handed      bool     // the caller has bytes of the content
	more        bool     // the answer holds more than was asked for
	partial     bool     // the answer is a part of the content
	told        bool     // the answer says how long it is
	doubts      int      // times that the size was not the listed one
	try         int      // of the present stretch; a byte that arrives begins a new one
	err         error
}

// read opens a content at a position. end is the offset after the last
// requested byte, or -1 for everything. A negative start counts from the end of
// a content of unknown size.
func (c *contents) read(ctx context.Context, it *item, on string, start, end int64, learned func()) (io.ReadCloser, error) {
	if c.readsStriped(it, start, end) {
		return c.readStriped(ctx, it, on, start, learned)
	}
	r := c.newReader(ctx, it, on, start, end, learned)
	if err := r.open(); err != nil {
		defer r.cancel()
		if refusedAsWrong(err) && c.isEmpty(ctx, it) {
			return io.NopCloser(bytes.NewReader(nil)), nil
		}
		return nil, about(err, "read", on)
	}
	return r, nil
}

func (c *contents) newReader(ctx context.Context, it *item, on string, start, end int64, learned func()) *contentReader {
	ctx, cancel := context.WithCancel(ctx)
	r := &contentReader{
		ctx: ctx, cancel: cancel, contents: c, client: c.service.http, it: it, on: on, learned: learned,
		first: start, last: end, pos: start, end: end, size: it.size, try: 1,
	}
	if c.isPackage(it) {
		r.becomesArchive()
	}
	return r
}

// extend makes the reader of a part continue to the end of the content, if the
// service returns the whole content instead of the part.
func (r *contentReader) extend() {
	r.last, r.end, r.more = -1, r.size, false
}

// becomesArchive is called when the content turns out to be the archive of a
// package. The size of an archive is not the listed one, and its bytes differ
// between downloads.
func (r *contentReader) becomesArchive() {
	r.size = -1
	if r.archive == nil {
		r.archive = new(archive)
	}
}

// isEmpty reports whether a file is known to be empty; the service has no
// address for an empty file. If the listing has no size, the document is looked
// up.
func (c *contents) isEmpty(ctx context.Context, it *item) bool {
	if it.size >= 0 || it.packaged || it.shared() || it.itemID == "" {
		return it.size == 0 && !it.packaged && !it.shared()
	}
	doc, err := lookUp(ctx, c.service, it.zone(), it.itemID)
	return err == nil && string(doc.ID) == it.docID() && doc.Size.or(0) == 0 && doc.Data.Size.or(0) == 0 &&
		(doc.Size != nil || doc.Data.Size != nil)
}

// refusedAsWrong reports whether the service responded with 400 to every
// attempt.
func refusedAsWrong(err error) bool {
	var typed *Error
	return errors.As(err, &typed) && typed.doubtful && typed.kind == KindUnsupported
}

// open requests the content from the present position until that succeeds.
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
			err = fail(KindDenied, "", "", spent.Error())
			if renewed > mostAddressesTried {
				return err
			}
		}
		if spent != nil && renewed == 1 {
			continue // an address expires after some time
		}
		if isFinal(err) || spent == nil && !hasKind(err, KindNetwork) && !hasKind(err, KindThrottled) && !hasKind(err, KindDamaged) {
			return err
		}
		if err := r.contents.service.retries.wait(r.ctx, r.try+1, err); err != nil {
			return err
		}
	}
}

// mostAddressesTried is how many consecutive addresses of a content may be
// refused before the reader gives up.
const mostAddressesTried = 3

// addressSpent is the refusal of an address that worked before or was just
// received.
type addressSpent struct{ refused *refusal }

func (e *addressSpent) Error() string {
	return "the address of the content is refused: " + e.refused.Error()
}

func (r *contentReader) openOnce() error {
	from, err := r.address(nil)
	if err != nil {
		return finally(err)
	}
	resp, err := r.get(from.url)
	var refused *refusal
	if errors.As(err, &refused) {
		switch {
		case refused.status == http.StatusRequestedRangeNotSatisfiable:
			return fail(KindChanged, "", "", "the content is shorter than listed")
		case refused.kind() == KindThrottled, refused.kind() == KindNetwork:
			return refused.err()
		}
		// For any reason of the refusal, a new address may help. If the session
		// is the reason, requesting an address renews it.
		if _, err := r.address(from); err != nil {
			return finally(err)
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
	if hasKind(err, KindDamaged) {
		if _, err := r.address(from); err != nil { // it may lead to another host
			return finally(err)
		}
	}
	if !hasKind(err, KindChanged) {
		return err
	}
	// Before the file is reported as changed, another address is requested, and
	// finally the service is asked whether it has the file in this version.
	first := r.body == nil
	r.doubts++
	switch {
	case r.doubts <= mostDoubts && !(first && r.it.mayBePackage() && r.doubts > mostDoubtsOfPackages):
		if _, err := r.address(from); err != nil {
			return finally(err)
		}
		return damaged("the content is not the listed one")
	case !r.contents.unchanged(r.ctx, r.it):
		return err
	case first && r.it.mayBePackage():
		r.becomesArchive()
		return r.openOnce()
	}
	return finally(damaged(err.(*Error).why))
}

// address returns the address to read from, after checking that it belongs to
// the content that the reader began with.
func (r *contentReader) address(spent *address) (*address, error) {
	from, err := r.contents.at(r.ctx, r.it, spent)
	if err != nil {
		return nil, err
	}
	if r.from != nil && r.from.mark != from.mark && !r.contents.unchanged(r.ctx, r.it) {
		return nil, fail(KindChanged, "", "", "the file was replaced while it was read").with("read it again")
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

// mostDoubts is how often the address is requested again before a size other
// than the listed one is accepted.
const mostDoubts = 4

// mostDoubtsOfPackages is the same for a possible package: the listed size may
// be that of the folder on a Mac.
const mostDoubtsOfPackages = 2

// mostRedirects limits the number of redirects to a content.
const mostRedirects = 5

// get sends the request for the bytes, following the service from host to host:
// it also uses the status 330 for that.
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
	for range mostRedirects {
		for name, value := range r.contents.service.session.headersFor(address, r.denied) {
			headers[name] = value
		}
		resp, err := r.request(address, headers)
		if err == nil {
			return resp, nil
		}
		var refused *refusal
		if !errors.As(err, &refused) {
			return nil, transportError(r.ctx, hostOf(address), err)
		}
		if refused.status < 300 || refused.status >= 400 || refused.location == "" {
			return nil, refused
		}
		if !takesContents(refused.location) {
			return nil, damaged("the service sends on to an address that is not secure or not Apple's")
		}
		address = refused.location
		delete(headers, "Cookie")
	}
	return nil, damaged("the service sends on in circles")
}

// request sends one request for the content when the gate admits it.
func (r *contentReader) request(address string, headers map[string]string) (*http.Response, error) {
	gate := r.contents.gate
	if err := gate.enter(r.ctx); err != nil {
		return nil, err
	}
	began := time.Now()
	resp, err := r.client.Call(withTry(r.ctx, r.try), &rest.Opts{
		Method: http.MethodGet, RootURL: address, ExtraHeaders: headers, NoRedirect: true,
	})
	var refused *refusal
	throttled := errors.As(err, &refused) && refused.kind() == KindThrottled
	gate.leave(began, err == nil, throttled)
	return resp, err
}

// Read implements io.Reader.
func (r *contentReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	for len(p) > 0 {
		n, err := r.readBody(p)
		if n > 0 || err != nil {
			r.handed, r.err = r.handed || n > 0, err
			return n, about(err, "read", r.on)
		}
	}
	return 0, nil
}

// readBody reads once and reconnects if the connection broke.
func (r *contentReader) readBody(p []byte) (int, error) {
	if r.end >= 0 && r.pos >= r.end {
		return 0, r.finish()
	}
	if r.end >= 0 {
		p = p[:min(int64(len(p)), r.end-r.pos)]
	}
	n, err := r.body.Read(p)
	r.pos += int64(n)
	if n > 0 {
		if r.archive != nil {
			r.archive.add(p[:n])
		}
		r.try = 1
		return n, nil // the error, if any, is returned again
	}
	if err == nil {
		return 0, nil
	}
	if r.ctx.Err() != nil {
		return 0, r.ctx.Err()
	}
	if err == io.EOF && r.end < 0 {
		return 0, r.complete() // only the end of the response shows the end
	}
	if err == io.EOF && !r.told {
		// It is as likely that the response was not the content as that the
		// connection broke.
		return 0, finally(failf(KindDamaged, "", "", "the content ends at byte %d of %d", r.pos, r.end))
	}
	_ = r.body.Close()
	broken := failf(KindNetwork, "", "", "the content breaks off at byte %d of %d", r.pos, r.end)
	broken.host = hostOf(r.from.url)
	if r.archive != nil {
		if r.handed {
			// Two downloads of a package differ, so the rest of another
			// download does not fit.
			return 0, finally(failf(KindDamaged, "", "", "the download of the package breaks off at byte %d of %d", r.pos, r.end).fromStart())
		}
		r.pos, r.end = r.first, r.last
		*r.archive = archive{}
	}
	if err := r.contents.service.retries.wait(r.ctx, r.try+1, broken); err != nil {
		return 0, err
	}
	r.try++
	return 0, r.open()
}

// complete checks the content that was received up to its end. It returns
// io.EOF if the content is correct.
func (r *contentReader) complete() error {
	if r.archive == nil || r.first != 0 || r.last >= 0 {
		return io.EOF
	}
	unpacked, err := r.archive.check()
	if err != nil {
		return err
	}
	// This is no error, because the two sizes were equal for one package and
	// differed by 72 bytes for another
	// (https://github.com/mandarons/icloud-docker/issues/327).
	if unpacked >= 0 && r.it.size >= 0 && unpacked != r.it.size {
		fs.Logf(nil, "icloud: the files in the package %q have %d bytes in total, and the listing says %d", r.on, unpacked, r.it.size)
	}
	return io.EOF
}

// finish checks that nothing follows the last byte.
func (r *contentReader) finish() error {
	if r.more {
		return io.EOF
	}
	var beyond [1]byte
	for range 16 {
		n, err := r.body.Read(beyond[:])
		if n > 0 {
			return fail(KindDamaged, "", "", "the content is longer than it should be")
		}
		if err != nil {
			break // the content is complete: it does not matter how the connection ends
		}
	}
	return r.complete()
}

// Close implements io.Closer.
func (r *contentReader) Close() error {
	r.cancel()
	if r.body == nil {
		return nil
	}
	return r.body.Close()
}
