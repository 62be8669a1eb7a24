package drive

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/service"
	"plakar-icloud/librclone/backend/icloud/session"
	"plakar-icloud/librclone/backend/icloud/transport"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// If the service accepts only one item in a call, all changes are made one by
// one.
func TestRefusedBatchesAreSplit(t *testing.T) {
	const items = 8
	var one sync.Mutex
	trashed := map[string]bool{}
	var b *batcher
	waiting := func() int {
		b.mu.Lock()
		defer b.mu.Unlock()
		count := 0
		for _, of := range b.zones {
			count += len(of.waiting)
		}
		return count
	}
	first := true
	host := respond(func(req *http.Request) (*http.Response, error) {
		one.Lock()
		defer one.Unlock()
		for first && waiting() < items-b.eager {
			runtime.Gosched()
		}
		first = false
		var body struct {
			Items []struct{ Drivewsid string }
		}
		require.NoError(t, json.NewDecoder(req.Body).Decode(&body))
		status, response := http.StatusBadRequest, "{}"
		if len(body.Items) == 1 {
			status, response = http.StatusOK, `{"items":[{"drivewsid":"`+body.Items[0].Drivewsid+`","status":"OK","parentId":"TRASH_ROOT","etag":"2"}]}`
			trashed[body.Items[0].Drivewsid] = true
		}
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(response)), Request: req}, nil
	})
	b = newBatcher(newService(t, host), "/moveItemsToTrash", 2)
	simtest.InParallel(items, items, func(i int) {
		response, err := b.change(context.Background(), &Item{ID: fmt.Sprintf("FILE::zone::%d", i), ETag: "1"}, nil)
		assert.NoError(t, err)
		assert.True(t, response.inTrash())
	})
	assert.Len(t, trashed, items)
}

// newService returns a service with a valid session that sends its requests
// through a round tripper.
func newService(t *testing.T, next http.RoundTripper) *service.Service {
	client := &transport.Client{
		HTTP:    transport.NewRESTClient(&http.Client{Transport: next}),
		Limiter: transport.NewLimiter(0, 8),
		Retries: transport.Retries{Tries: 4, Longest: time.Millisecond},
	}
	web := session.New("remote", "", 0, nil)
	require.NoError(t, web.Configure(session.File{
		AppleID: "user@example.com", TrustToken: "trust", Cookies: []session.Cookie{{Name: "WEB", Value: "alive"}},
		Endpoints: map[string]string{hosts.Drive: "https://p1-drivews.icloud.com", hosts.Docs: "https://p1-docws.icloud.com"},
	}, "", ""))
	return service.New(client, web)
}

// respond is a function as an http.RoundTripper.
type respond func(*http.Request) (*http.Response, error)

func (r respond) RoundTrip(req *http.Request) (*http.Response, error) { return r(req) }
