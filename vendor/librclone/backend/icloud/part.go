package icloud

import (
	"compress/gzip"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// accept checks that an answer is the wanted part of the content.
func (r *contentReader) accept(resp *http.Response) error {
	if err := unpack(resp); err != nil {
		return err
	}
	length, total := resp.ContentLength, int64(-1)
	switch resp.StatusCode {
	case http.StatusOK: // to a request for a part, too, where a host knows no ranges
		total = length
		if r.pos < 0 && total < 0 {
			return damaged("the end of a content was asked for and its length is not told")
		}
		if r.pos < 0 {
			r.pos = max(0, total+r.pos)
		}
		r.more = r.end >= 0
	case http.StatusPartialContent:
		start, end, all, ok := parseContentRange(resp.Header.Get("Content-Range"))
		if r.pos < 0 && ok && all >= 0 {
			r.pos = max(0, all+r.pos)
		}
		if !ok || start != r.pos || length >= 0 && length != end-start {
			return damaged("another part of the content came than was asked for")
		}
		total = all
		if r.end < 0 || r.end > all && all >= 0 {
			r.end = all
		}
		if r.end >= 0 && end > r.end { // less than was asked for is followed by another request
			return damaged("another part of the content came than was asked for")
		}
	default:
		return damaged("the content host answered " + strconv.Itoa(resp.StatusCode))
	}
	if total >= 0 && r.size >= 0 && total != r.size {
		return failf(KindChanged, "", "", "the content has %d bytes and the listing says %d", total, r.size)
	}
	if r.size < 0 {
		r.size = total
	}
	if r.end < 0 || r.size >= 0 && r.end > r.size {
		r.end = r.size
	}
	if resp.StatusCode == http.StatusOK && r.pos > 0 {
		if _, err := io.CopyN(io.Discard, resp.Body, r.pos); err != nil {
			return transportError(r.ctx, "the host of the content", err)
		}
	}
	return nil
}

// unpack undoes a compression that was not asked for.
func unpack(resp *http.Response) error {
	switch encoding := strings.ToLower(resp.Header.Get("Content-Encoding")); {
	case encoding == "", encoding == "identity":
	case encoding == "gzip" && resp.StatusCode == http.StatusOK:
		unpacked, err := gzip.NewReader(resp.Body)
		if err != nil {
			return damaged("the content is not packed as it says")
		}
		resp.Body = &unpackedBody{Reader: unpacked, Closer: resp.Body}
		resp.ContentLength = -1
	default:
		return damaged("the content came in a form that nobody asked for")
	}
	return nil
}

// unpackedBody reads through a decompressor and closes what is below it.
type unpackedBody struct {
	io.Reader
	io.Closer
}

// parseContentRange reads "bytes 0-9/100"; end is behind the last byte, total
// -1 when it is not told.
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
