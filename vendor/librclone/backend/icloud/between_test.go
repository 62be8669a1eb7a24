package icloud

import (
	"io"
	"net/http"
	"strings"
	"sync"
)

// between passes requests to a cloud, one at a time, and counts them by their kind.
// response returns the response to a request that is not to reach the cloud, or nil.
type between struct {
	cloud    *fakeCloud
	response func(kind string, req *http.Request) *fakeResponse

	mu     sync.Mutex
	counts map[string]int
}

func newBetween(c *fakeCloud, response func(kind string, req *http.Request) *fakeResponse) *between {
	c.limit = 100_000
	return &between{cloud: c, response: response, counts: map[string]int{}}
}

// RoundTrip implements http.RoundTripper.
func (b *between) RoundTrip(req *http.Request) (*http.Response, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kind := fakeKind(req)
	b.counts[kind]++
	if response := b.response(kind, req); response != nil {
		if response.hung {
			b.mu.Unlock()
			<-req.Context().Done()
			b.mu.Lock()
			return nil, req.Context().Err()
		}
		if response.carriedOut {
			_, _ = b.cloud.RoundTrip(req)
		}
		if response.lost {
			return nil, io.ErrUnexpectedEOF
		}
		if req.Body != nil && !response.carriedOut {
			_, _ = io.Copy(io.Discard, req.Body)
			_ = req.Body.Close()
		}
		return &http.Response{
			Status: http.StatusText(response.status), StatusCode: response.status, Header: response.header, Request: req,
			Body: io.NopCloser(strings.NewReader(string(response.body))), ContentLength: -1, ProtoMajor: 1, ProtoMinor: 1,
		}, nil
	}
	return b.cloud.RoundTrip(req)
}
