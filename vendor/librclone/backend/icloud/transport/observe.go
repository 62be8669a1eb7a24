package transport

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/traffic"

	"github.com/rclone/rclone/fs"
)

// Observer logs every request at the debug level, and reports its result to the
// outages of the account.
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

// progressBytes is how many bytes of a response show that the host works before
// the response has ended.
const progressBytes = 64 << 10

// end is called when the response was read or closed or has failed.
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

// moved records that a large part of a response has arrived.
func (s *observation) moved() {
	if s.resp.StatusCode < 400 {
		s.progress.Do(func() { s.outages.succeeded(s.req.URL.Hostname()) })
	}
}

func isThrottling(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
}

// observedBody reports the end of a response.
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

// maxLoggedPart is the longest part of a path that is logged, unless it is a
// word. Longer parts are ids.
const maxLoggedPart = 20

// loggedPath returns the path of a request without parts that may be secret:
// the query, ids and, on content hosts, the whole path, which is a signature.
func loggedPath(req *http.Request) string {
	if !strings.HasSuffix(req.URL.Hostname(), ".icloud.com") && !strings.HasSuffix(req.URL.Hostname(), ".apple.com") {
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

// LongWait is the shortest wait whose reason is logged as a warning.
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

// loggedWaits stores until when a reason to wait is not logged again, because many
// calls wait for the same thing at once.
var loggedWaits = struct {
	sync.Mutex
	until map[string]time.Time
}{until: map[string]time.Time{}}

// wait sleeps and logs the reason, as a warning if the wait is long.
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

// isFirst reports whether no other call has logged this wait.
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
