package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// ErrSilent is the reason for cancelling a request on which no byte is sent or
// received. rclone's own time limit (--timeout) applies to the connection, which
// other requests keep active over HTTP/2.
var ErrSilent = errors.New("nothing arrived for too long")

// minSilence is the minimum value of the option silence. The first listing after
// a change takes the service about 30 seconds.
// https://github.com/Dandiccf/cirrove/blob/main/docs/benchmarks
const minSilence = 45 * time.Second

// trickleBytes is how much of a response has to arrive within the time that the
// option silence allows, unless the response ends. Otherwise a response of which a
// byte arrives now and then would last for hours. Ten responses that share a line of
// 1 kB a second have more.
const trickleBytes = 4 << 10

// receiptRate is the assumed rate, in bytes a second, at which a content host
// stores an upload after it has received it and before it responds.
const receiptRate = 10 << 20

// SilenceTransport cancels a request with ErrSilent if no byte is sent or
// received for Silence, or if less than trickleBytes of a response arrive in that
// time. The time that the caller takes to provide or to read the next part of a
// content does not count.
type SilenceTransport struct {
	Next    http.RoundTripper
	Silence time.Duration
	Outages *Outages // nil for none; requests to a host that is failing are not quick
}

// A lost response must not hold up a backup for the time that the option silence
// allows, so the first attempts at a quick request wait less. Later attempts wait
// longer, because a loaded service may be slow.
const (
	quickTries    = 2
	quickResponse = 15 * time.Second
)

// errSlow is the reason for cancelling an attempt at a quick request before its
// response. errors.Is finds ErrSilent in it. It does not count towards an outage,
// because a later attempt waits longer.
var errSlow = fmt.Errorf("%w", ErrSilent)

type quickKey struct{}

// WithQuickResponse marks the requests of a context as quick: the service was
// measured to begin their responses within a second or two, and repeating them
// changes nothing.
func WithQuickResponse(ctx context.Context) context.Context {
	return context.WithValue(ctx, quickKey{}, true)
}

// RoundTrip implements http.RoundTripper.
func (t *SilenceTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	first, silent := t.Silence, ErrSilent
	if ctx.Value(quickKey{}) != nil && tryOf(ctx) <= quickTries && !t.Outages.failing(req.URL.Hostname()) {
		first, silent = min(first, quickResponse), errSlow
	}
	watch := &watch{first: first, silence: t.Silence}
	watch.timer = time.AfterFunc(first, func() {
		if watch.waits() {
			cancel(silent)
		} else {
			cancel(ErrSilent)
		}
	})
	req = req.WithContext(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = &sentBody{ReadCloser: req.Body, watch: watch}
	}
	resp, err := t.Next.RoundTrip(req)
	watch.responded()
	if err != nil {
		err = watch.reason(ctx, err)
		cancel(nil)
		return nil, err
	}
	resp.Body = &receivedBody{ReadCloser: resp.Body, watch: watch, ctx: ctx, cancel: cancel, left: t.Silence, missing: trickleBytes}
	return resp, nil
}

// watch is the timer that cancels a silent request.
type watch struct {
	first   time.Duration // until the response
	silence time.Duration // afterwards

	mu          sync.Mutex
	timer       *time.Timer
	hasResponse bool // from then on, receivedBody alone uses the timer
}

// pause stops the timer while a request waits for the caller.
func (w *watch) pause() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.hasResponse {
		w.timer.Stop()
	}
}

// resume restarts the timer with the time until the response and more.
func (w *watch) resume(more time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.hasResponse {
		w.timer.Reset(w.first + more)
	}
}

// waits reports whether the response has not arrived yet.
func (w *watch) waits() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.hasResponse
}

func (w *watch) responded() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hasResponse = true
	w.timer.Stop()
}

// reason returns the ErrSilent with which the watch has cancelled the request, or
// else err.
func (w *watch) reason(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != io.EOF && errors.Is(cause, ErrSilent) {
		return cause
	}
	return err
}

// sentBody is the body of a request. The timer is stopped while the body is read
// from the caller.
type sentBody struct {
	io.ReadCloser
	watch *watch
	sent  int64
}

// Read implements io.Reader.
func (b *sentBody) Read(p []byte) (int, error) {
	b.watch.pause()
	n, err := b.ReadCloser.Read(p)
	b.sent += int64(n)
	b.watch.resume(time.Duration(b.sent/receiptRate) * time.Second)
	return n, err
}

// receivedBody is the body of a response. The timer runs only while the body is
// read.
type receivedBody struct {
	io.ReadCloser
	watch  *watch
	ctx    context.Context
	cancel context.CancelCauseFunc

	left    time.Duration // until missing bytes must have arrived
	missing int
}

// Read implements io.Reader.
func (b *receivedBody) Read(p []byte) (int, error) {
	begun := time.Now()
	b.watch.timer.Reset(b.left)
	n, err := b.ReadCloser.Read(p)
	b.watch.timer.Stop()
	b.left -= time.Since(begun)
	b.missing -= n
	if b.missing <= 0 {
		b.left, b.missing = b.watch.silence, trickleBytes
	}
	if err != nil {
		err = b.watch.reason(b.ctx, err)
	}
	return n, err
}

// Close implements io.Closer.
func (b *receivedBody) Close() error {
	b.watch.timer.Stop()
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}
