package icloud

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"plakar-icloud/librclone/backend/icloud/transport"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// slowContents delays the responses of content hosts.
type slowContents struct {
	next  http.RoundTripper
	delay time.Duration
}

// RoundTrip implements http.RoundTripper.
func (s slowContents) RoundTrip(req *http.Request) (*http.Response, error) {
	if fakeKind(req) == "content-get" {
		if err := transport.Sleep(req.Context(), s.delay); err != nil {
			return nil, err
		}
	}
	return s.next.RoundTrip(req)
}

// A content host that needs longer than a quick response for every request is slow,
// and not out of service, whatever the number of concurrent reads.
func TestSlowContentHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outages := new(transport.Outages)
		cloud := newBetween(cloudForWorkday(), func(string, *http.Request) *fakeResponse { return nil }) // one request at a time
		host := slowContents{cloud, 40 * time.Second}
		silence := &transport.SilenceTransport{Next: host, Silence: defaultSilence, Outages: outages}
		f := driveBy(&transport.Observer{Next: silence, Outages: outages}, "")
		f.drive.Service.Retries = transport.Retries{Tries: defaultTries, Base: transport.FirstPause, Longest: defaultLongestWait, Outages: outages}
		o, err := f.NewObject(background, "folder/other.txt")
		require.NoError(t, err)
		simtest.InParallel(4, 4, func(int) {
			got, err := read(o)
			assert.NoError(t, err)
			assert.Equal(t, "other", got)
		})
	})
}
