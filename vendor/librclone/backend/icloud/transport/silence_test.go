package transport

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// After the response has arrived, reading more of the request's body does not
// start the timer.
func TestRequestBodyIsNotTimedAfterTheResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fired := false
		w := &watch{silence: time.Second, timer: time.AfterFunc(time.Second, func() { fired = true })}
		w.pause()
		w.responded()
		w.resume(0)
		time.Sleep(time.Hour) // on the clock of synctest
		assert.False(t, fired)
	})
}

// silentHost receives requests and never responds.
type silentHost struct{}

// RoundTrip implements http.RoundTripper.
func (silentHost) RoundTrip(req *http.Request) (*http.Response, error) {
	_, _ = io.Copy(io.Discard, req.Body)
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// Only the first attempts at a quick request wait less, also if the request has a
// body, and only while the host is not failing.
func TestTimeUntilTheResponse(t *testing.T) {
	for _, test := range []struct {
		quick   bool
		try     int
		failing bool
		want    time.Duration
	}{
		{false, 1, false, time.Minute},
		{true, 1, false, quickResponse},
		{true, quickTries, false, quickResponse},
		{true, quickTries + 1, false, time.Minute},
		{true, 1, true, time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			outages := new(Outages)
			if test.failing {
				outages.failed("p1-docws.icloud.com", time.Now(), false, 0)
			}
			ctx := WithTry(context.Background(), test.try)
			if test.quick {
				ctx = WithQuickResponse(ctx)
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://p1-docws.icloud.com/", strings.NewReader("body"))
			require.NoError(t, err)
			begun := time.Now()
			_, err = (&SilenceTransport{Next: silentHost{}, Silence: time.Minute, Outages: outages}).RoundTrip(req)
			assert.ErrorIs(t, err, ErrSilent)
			assert.Equal(t, test.want, time.Since(begun))
		})
	}
}

// trickle is a body of which a byte arrives now and then.
type trickle struct {
	ctx   context.Context
	pause time.Duration
}

// Read implements io.Reader.
func (b trickle) Read(p []byte) (int, error) {
	select {
	case <-time.After(b.pause): // on the clock of synctest
		p[0] = 'x'
		return 1, nil
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
}

// tricklingHost responds with a trickle with such pauses.
type tricklingHost time.Duration

// RoundTrip implements http.RoundTripper.
func (h tricklingHost) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{Body: io.NopCloser(trickle{req.Context(), time.Duration(h)})}, nil
}

// A response that arrives byte by byte is cancelled, at the latest after the time that
// the option silence allows.
func TestResponseThatTrickles(t *testing.T) {
	for _, pause := range []time.Duration{20 * time.Millisecond, time.Second, 59 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			req, err := http.NewRequest(http.MethodGet, "https://p1-docws.icloud.com/", nil)
			require.NoError(t, err)
			resp, err := (&SilenceTransport{Next: tricklingHost(pause), Silence: time.Minute}).RoundTrip(req)
			require.NoError(t, err)
			begun := time.Now()
			_, err = io.Copy(io.Discard, resp.Body)
			assert.ErrorIs(t, err, ErrSilent)
			assert.Equal(t, time.Minute, time.Since(begun))
		})
	}
}
