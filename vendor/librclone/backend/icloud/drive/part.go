package drive

import (
	"bufio"
	"compress/gzip"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"plakar-icloud/librclone/backend/icloud/apierr"
)

// accept checks that a response is the requested part of the content, and prepares
// the reader for it. If it fails, it does not change the reader, because the next
// response may be a different one.
func (r *contentReader) accept(resp *http.Response) error {
	if err := unpack(resp); err != nil {
		return err
	}
	pos, end, more := r.pos, r.end, false
	length, total := resp.ContentLength, int64(-1)
	hasLength := length >= 0 || resp.StatusCode == http.StatusPartialContent
	switch resp.StatusCode {
	case http.StatusOK: // also for a request for a part, if a host does not support ranges
		if r.isPage(resp) {
			return apierr.Damaged("the host returned a page instead of the content")
		}
		total = length
		if pos < 0 && total < 0 {
			return apierr.Damaged("the end of a content was requested and its length is unknown")
		}
		if pos < 0 {
			pos = max(0, total+pos)
		}
		more = end >= 0 && end != r.size
	case http.StatusPartialContent:
		first, last, all, ok := parseContentRange(resp.Header.Get("Content-Range"))
		if pos < 0 && ok && all >= 0 {
			pos = max(0, all+pos)
		}
		if !ok || first != pos || length >= 0 && length != last-first {
			return apierr.Damaged("the host returned another part of the content than requested")
		}
		total = all
		if end < 0 || end > all && all >= 0 {
			end = all
		}
		if end >= 0 && last > end { // a shorter part is followed by another request
			return apierr.Damaged("the host returned another part of the content than requested")
		}
	default:
		return apierr.Damaged("the content host responded with the status " + strconv.Itoa(resp.StatusCode))
	}
	if total >= 0 && r.size >= 0 && total != r.size {
		return apierr.Newf(apierr.KindChanged, "", "", "the content has %d bytes, not %d as in the listing", total, r.size)
	}
	size := r.size
	if size < 0 {
		size = total
	}
	if end < 0 || size >= 0 && end > size {
		end = size
	}
	if resp.StatusCode == http.StatusOK && pos > 0 {
		if _, err := io.CopyN(io.Discard, resp.Body, pos); err != nil {
			return apierr.Transport(r.ctx, "the host of the content", err)
		}
	}
	if !hasLength && end >= 0 {
		if err := checkLength(resp, pos, end, more); err != nil {
			return err
		}
	}
	r.pos, r.end, r.size, r.more, r.hasLength = pos, end, size, more, hasLength
	r.partial = resp.StatusCode == http.StatusPartialContent
	return nil
}

// maxPageStart is how many bytes of a response of unknown length are read before
// any of it is treated as content.
const maxPageStart = 64 << 10

// checkLength refuses a response of unknown length that is shorter or longer than
// the rest of the content, as far as its first bytes show that. It may be the page
// of a host in between.
func checkLength(resp *http.Response, pos, end int64, more bool) error {
	left := end - pos
	wanted := left
	if !more {
		wanted++ // nothing may follow
	}
	start, err := peek(resp, int(min(wanted, maxPageStart)))
	switch {
	case err == io.EOF && int64(len(start)) < left:
		return apierr.Newf(apierr.KindDamaged, "", "", "the content ends at byte %d of %d", pos+int64(len(start)), end)
	case int64(len(start)) > left:
		return apierr.New(apierr.KindDamaged, "", "", "the content is longer than it should be")
	}
	return nil
}

// peek returns the start of a response without consuming it.
func peek(resp *http.Response, size int) ([]byte, error) {
	buffered := bufio.NewReaderSize(resp.Body, size)
	start, err := buffered.Peek(size)
	resp.Body = &readThrough{Reader: buffered, Closer: resp.Body}
	return start, err
}

// pagePattern matches the start of HTML pages and JSON messages. No archive begins
// like this.
var pagePattern = regexp.MustCompile(`^(?:\xef\xbb\xbf)?\s*(?:<[!?A-Za-z]|\{\s*["}])`)

// isPage reports whether a response is certainly the page or the message of a host
// and not the content. It only checks contents of unknown size, such as archives
// of packages. The formats of these archives are not all known, so an archive
// cannot be recognised instead.
func (r *contentReader) isPage(resp *http.Response) bool {
	length := resp.ContentLength
	archive := r.from.packaged || r.it.MayBePackage() && (r.it.Size < 0 || length >= 0 && length != r.it.Size)
	if !archive && r.it.Size >= 0 {
		return false
	}
	contentType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	_, extension := splitName(r.it.Name)
	named, _, _ := mime.ParseMediaType(mime.TypeByExtension("." + extension))
	if contentType != named && (contentType == "text/html" || contentType == "application/json") {
		return true
	}
	if !archive {
		return false
	}
	start, _ := peek(resp, 512)
	return pagePattern.Match(start)
}

// unpack removes a compression that was not requested from the body of a response.
func unpack(resp *http.Response) error {
	switch encoding := strings.ToLower(resp.Header.Get("Content-Encoding")); {
	case encoding == "", encoding == "identity":
	case encoding == "gzip" && resp.StatusCode == http.StatusOK:
		unpacked, err := gzip.NewReader(resp.Body)
		if err != nil {
			return apierr.Damaged("the compression of the content does not match its header")
		}
		resp.Body = &readThrough{Reader: unpacked, Closer: resp.Body}
		resp.ContentLength = -1
	default:
		return apierr.Damaged("the host returned the content in an encoding that was not requested")
	}
	return nil
}

// readThrough reads through another reader and closes the underlying one.
type readThrough struct {
	io.Reader
	io.Closer
}

// parseContentRange parses a header like "bytes 0-9/100". end is the offset after
// the last byte. total is -1 if it is not known.
func parseContentRange(value string) (start, end, total int64, ok bool) {
	unit, rest, _ := strings.Cut(value, " ")
	span, all, _ := strings.Cut(rest, "/")
	first, last, _ := strings.Cut(span, "-")
	start, err1 := strconv.ParseInt(first, 10, 64)
	end, err2 := strconv.ParseInt(last, 10, 64)
	if unit != "bytes" || err1 != nil || err2 != nil || start < 0 || end < start {
		return 0, 0, 0, false
	}
	if all == "*" {
		return start, end + 1, -1, true
	}
	total, err := strconv.ParseInt(all, 10, 64)
	if err != nil || total <= end {
		return 0, 0, 0, false
	}
	return start, end + 1, total, true
}
