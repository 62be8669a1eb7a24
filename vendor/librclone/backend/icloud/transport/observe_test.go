package transport

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A logged path has no query, no id and no signature of a content.
func TestLoggedPathHasNoSecrets(t *testing.T) {
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

// A response that was read ends the outage of its host, and its bytes are
// unchanged.
func TestObservedResponse(t *testing.T) {
	host := responding("[")
	outages := new(Outages)
	outages.failed("p1-docws.icloud.com", time.Now(), false, 0)
	req, err := http.NewRequest(http.MethodGet, "https://p1-docws.icloud.com/x", nil)
	require.NoError(t, err)
	resp, err := (&Observer{Next: host, Outages: outages}).RoundTrip(req)
	require.NoError(t, err)
	var read bytes.Buffer
	_, err = read.ReadFrom(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, "[", read.String())
	assert.Empty(t, outages.host)
}

// responding is a host that responds to every request with a text.
type responding string

func (h responding) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(h))), Request: req}, nil
}
