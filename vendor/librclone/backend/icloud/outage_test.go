package icloud

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/transport"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// brokenHost is a host that responds in the same way to every request.
type brokenHost struct {
	status   int           // of the responses; 0 if the connection breaks
	slow     time.Duration // before the response
	cut      bool          // the response breaks off
	requests int
}

func (h *brokenHost) RoundTrip(req *http.Request) (*http.Response, error) {
	h.requests++
	time.Sleep(h.slow) // on the clock of synctest
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

// A call to a host that has failed every request for a while is attempted once. After a
// response, calls are retried again.
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
				outages := new(transport.Outages)
				f := driveBy(&transport.Observer{Next: &host, Outages: outages}, "")
				f.drive.Service.Retries = transport.Retries{Tries: defaultTries, Base: transport.FirstPause, Longest: defaultLongestWait, Outages: outages}
				begun := time.Now()
				for range 2 { // a single call may end just before the outage is detected
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
				assert.Greater(t, host.requests, 1, "a response ends the outage")
			})
		})
	}
}

// The files of a folder that the service refuses to create fail with the folder,
// and not after all attempts each.
func TestFilesOfAFolderThatCannotBeCreated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud()
		failing := true
		b := newBetween(c, func(kind string, _ *http.Request) *fakeResponse {
			if failing && kind == "createFolders" {
				return refusing(500, "")()
			}
			return nil
		})
		f := driveBy(b, "")
		f.drive.Service.Retries = transport.Retries{Tries: defaultTries, Base: transport.FirstPause, Longest: defaultLongestWait}
		begun := time.Now()
		simtest.InParallel(10, 10, func(i int) {
			_, err := tryPut(f, fmt.Sprint("folder/", i), "content")
			assert.Equal(t, apierr.KindNetwork, apierr.KindOf(err), "%v", err)
			assert.True(t, apierr.IsFinal(err), "%v", err)
		})
		assert.Less(t, time.Since(begun), time.Minute)
		assert.Equal(t, defaultTries, b.counts["createFolders"])

		failing = false
		time.Sleep(time.Minute) // of the test's own time
		_, err := tryPut(f, "folder/file", "content")
		assert.NoError(t, err)
	})
}
