package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/traffic"

	"github.com/rclone/rclone/fs"
)

// Observer logs every request at the debug level and reports its result to
// Outages.
type Observer struct {
	Next    http.RoundTripper
	Outages *Outages
}

// RoundTrip implements http.RoundTripper.
func (o *Observer) RoundTrip(req *http.Request) (*http.Response, error) {
	traffic.Requested()
	seen := &observation{outages: o.Outages, req: req, begun: time.Now()}
	resp, err := o.Next.RoundTrip(req)
	if err != nil {
		seen.end(0, err)
		return nil, err
	}
	seen.resp = resp
	resp.Body = &observedBody{ReadCloser: resp.Body, seen: seen}
	return resp, nil
}

// observation is one request.
type observation struct {
	outages  *Outages
	req      *http.Request
	resp     *http.Response // nil if none came
	begun    time.Time
	once     sync.Once
	progress sync.Once
}

// progressBytes is how many bytes of a response have to arrive before the host
// counts as working, even if the response has not ended.
const progressBytes = 64 << 10

// end logs and reports the result of the request, once: when the response has
// been read or closed, or has failed.
func (s *observation) end(received int64, err error) {
	s.once.Do(func() {
		host := s.req.URL.Hostname()
		outcome := "failed"
		if s.resp != nil {
			outcome = s.resp.Status
		}
		if err != nil {
			outcome += ": " + apierr.Transport(context.Background(), host, err).Error()
		}
		fs.Debugf(nil, "icloud: %s %s%s: %s; try %d, sent %d bytes, received %d bytes, %v",
			s.req.Method, host, loggedPath(s.req), outcome, tryOf(s.req.Context()), max(0, s.req.ContentLength), received,
			time.Since(s.begun).Round(time.Millisecond))
		switch {
		case s.req.Context().Err() != nil: // the caller has given up
		case errors.Is(err, errSlow): // a later attempt waits longer
		case err != nil:
			s.outages.failed(host, s.begun, false, 0)
		case isThrottling(s.resp.StatusCode):
			s.outages.failed(host, s.begun, true, apierr.RetryAfter(s.resp.Header, time.Now()))
		case s.resp.StatusCode >= 500:
			s.outages.failed(host, s.begun, false, 0)
		default:
			s.outages.succeeded(host)
		}
	})
}

// moved reports a success to Outages after progressBytes of a response.
func (s *observation) moved() {
	if s.resp.StatusCode < 400 {
		s.progress.Do(func() { s.outages.succeeded(s.req.URL.Hostname()) })
	}
}

func isThrottling(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
}

// observedBody is the body of a response. It counts the received bytes and
// calls observation.end.
type observedBody struct {
	io.ReadCloser
	seen     *observation
	received int64
}

// Read implements io.Reader.
func (b *observedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.received += int64(n)
	if b.received >= progressBytes {
		b.seen.moved()
	}
	switch {
	case err == io.EOF:
		b.seen.end(b.received, nil)
	case err != nil:
		b.seen.end(b.received, err)
	}
	return n, err
}

// Close implements io.Closer.
func (b *observedBody) Close() error {
	defer b.seen.end(b.received, nil)
	return b.ReadCloser.Close()
}

// maxLoggedPart is the maximum length of a part of a path that contains digits
// and is logged. Longer parts with digits are ids.
const maxLoggedPart = 20

// loggedPath returns the path of a request for the log, without its secrets: the
// query, ids and, on content hosts, the whole path, which contains a signature.
func loggedPath(req *http.Request) string {
	if !hosts.GetsCalls(req.URL.Hostname()) {
		return "/…"
	}
	parts := strings.Split(req.URL.Path, "/")
	for i, part := range parts {
		if len(part) > maxLoggedPart && strings.ContainsFunc(part, unicode.IsDigit) || strings.ContainsFunc(part, unicode.IsControl) {
			parts[i] = "…"
		}
	}
	return strings.Join(parts, "/")
}

// LongWait is the length from which a wait is logged as a warning.
const LongWait = 10 * time.Second

type tryKey struct{}

// WithTry stores the number of the attempt in a context.
func WithTry(ctx context.Context, try int) context.Context {
	return context.WithValue(ctx, tryKey{}, try)
}

func tryOf(ctx context.Context) int {
	if try, ok := ctx.Value(tryKey{}).(int); ok {
		return try
	}
	return 1
}

// loggedWaits stores, for each reason to wait, until when it is not logged again
// as a warning. Many calls wait for the same reason at once.
var loggedWaits = struct {
	sync.Mutex
	until map[string]time.Time
}{until: map[string]time.Time{}}

// wait sleeps for d and logs the reason, as a warning if the wait is long.
func wait(ctx context.Context, d time.Duration, why string) error {
	level := fs.LogLevelDebug
	if d > LongWait && isFirst(d, why) {
		level = fs.LogLevelWarning
	}
	if d > 0 {
		fs.LogLevelPrintf(level, nil, "%s", fmt.Sprintf("icloud: waiting %v: %s", d.Round(time.Millisecond), why))
		defer traffic.Waiting()()
	}
	return Sleep(ctx, d)
}

// isFirst reports whether no other call logs the same reason to wait at present,
// and stores that this call does.
func isFirst(d time.Duration, why string) bool {
	loggedWaits.Lock()
	defer loggedWaits.Unlock()
	now := time.Now()
	if now.Before(loggedWaits.until[why]) {
		return false
	}
	loggedWaits.until[why] = now.Add(d)
	return true
}
