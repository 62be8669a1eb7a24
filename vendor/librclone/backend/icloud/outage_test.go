package icloud

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// brokenHost fails at everything, or answers.
type brokenHost struct {
	status   int           // of its answers; 0 for none
	slow     time.Duration // before it fails
	cut      bool          // the answer ends in the middle
	requests int
}

func (h *brokenHost) RoundTrip(req *http.Request) (*http.Response, error) {
	h.requests++
	time.Sleep(h.slow) // of the test's own time
	if h.status == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	var body io.Reader = strings.NewReader("[")
	if h.cut {
		body = io.MultiReader(body, cutBody{})
	}
	return &http.Response{StatusCode: h.status, Header: http.Header{}, Body: io.NopCloser(body), Request: req}, nil
}

type cutBody struct{}

func (cutBody) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// A host that has failed at everything for a while gets one try of each call, and
// all of them again once it has answered.
func TestOutage(t *testing.T) {
	for name, test := range map[string]struct {
		host    brokenHost
		longest time.Duration // until the outage is known
	}{
		"no connection": {brokenHost{}, 90 * time.Second},
		"500":           {brokenHost{status: 500}, 90 * time.Second},
		"silence":       {brokenHost{slow: time.Minute}, 5 * time.Minute},
		"throttling":    {brokenHost{status: 503}, 5 * time.Minute},
		"cut answers":   {brokenHost{status: 200, cut: true}, 90 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := test.host
				outages := new(outages)
				f := driveBy(&observer{next: &host, outages: outages}, "")
				f.drive.service.retries = retries{tries: defaultTries, base: firstPause, longest: defaultLongestWait, outages: outages}
				begun := time.Now()
				for range 2 { // one call alone may end just before it is clear
					_, err := f.List(background, "")
					require.Error(t, err)
				}
				assert.Less(t, time.Since(begun), test.longest)
				for range 20 {
					host.requests = 0
					_, err := f.List(background, "")
					require.Error(t, err)
					assert.Equal(t, 1, host.requests)
				}
				host = brokenHost{status: 404}
				_, _ = f.List(background, "")
				host = test.host
				_, err := f.List(background, "")
				require.Error(t, err)
				assert.Greater(t, host.requests, 1, "an answer ends the outage")
			})
		})
	}
}

// A log line has no query, no id and no address of a content.
func TestLoggedPath(t *testing.T) {
	for address, want := range map[string]string{
		"https://p1-docws.icloud.com/ws/com.apple.CloudDocs/download/by_id?document_id=x&token=y": "/ws/com.apple.CloudDocs/download/by_id",
		"https://p1-drivews.icloud.com/retrieveItemDetailsInFolders?clientId=1":                   "/retrieveItemDetailsInFolders",
		"https://p1-docws.icloud.com/v1/item/ABCDEFGH0123456789ABCDEF":                            "/v1/item/…",
		"https://cvws.icloud-content.com/B/signature/file.txt?o=secret":                           "/…",
	} {
		parsed, err := url.Parse(address)
		require.NoError(t, err)
		assert.Equal(t, want, loggedPath(&http.Request{URL: parsed}))
	}
}

// The bytes of an answer are counted and pass unchanged.
func TestObservedAnswer(t *testing.T) {
	host := &brokenHost{status: 200}
	outages := new(outages)
	outages.failed("p1-docws.icloud.com", time.Now(), false, 0)
	req, err := http.NewRequest(http.MethodGet, "https://p1-docws.icloud.com/x", nil)
	require.NoError(t, err)
	resp, err := (&observer{next: host, outages: outages}).RoundTrip(req)
	require.NoError(t, err)
	var read bytes.Buffer
	_, err = read.ReadFrom(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, "[", read.String())
	assert.Empty(t, outages.host)
}
