package icloud

import (
	"io"
	"net/http"
	"strings"
	"sync"
)

// between passes requests to a cloud, one at a time, and counts them by their kind.
// answer returns the response to a request that is not to reach the cloud, or nil.
type between struct {
	cloud  *fakeCloud
	answer func(kind string, req *http.Request) *fakeAnswer

	mu     sync.Mutex
	counts map[string]int
}

func newBetween(c *fakeCloud, answer func(kind string, req *http.Request) *fakeAnswer) *between {
	c.limit = 100_000
	return &between{cloud: c, answer: answer, counts: map[string]int{}}
}

// RoundTrip implements http.RoundTripper.
func (b *between) RoundTrip(req *http.Request) (*http.Response, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kind := fakeKind(req)
	b.counts[kind]++
	if answer := b.answer(kind, req); answer != nil {
		if answer.hung {
			b.mu.Unlock()
			<-req.Context().Done()
			b.mu.Lock()
			return nil, req.Context().Err()
		}
		if answer.carriedOut {
			_, _ = b.cloud.RoundTrip(req)
		}
		if answer.lost {
			return nil, io.ErrUnexpectedEOF
		}
		if req.Body != nil && !answer.carriedOut {
			_, _ = io.Copy(io.Discard, req.Body)
			_ = req.Body.Close()
		}
		return &http.Response{
			Status: http.StatusText(answer.status), StatusCode: answer.status, Header: answer.header, Request: req,
			Body: io.NopCloser(strings.NewReader(string(answer.body))), ContentLength: -1, ProtoMajor: 1, ProtoMinor: 1,
		}, nil
	}
	return b.cloud.RoundTrip(req)
}
