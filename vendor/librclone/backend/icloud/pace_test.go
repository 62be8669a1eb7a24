package icloud

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The number of calls under way never exceeds the configured limit. A call is under way
// until its response was read. Transfers of contents do not count.
func TestCallsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{cloud: newFakeCloud()}
		c.cloud.limit = 1000
		c.cloud.add("root", "folder", nil)
		f := c.cloud.drive("")
		f.drive.Service.Client = clientOver(c, f.drive.Service.Retries, 3)
		simtest.InParallel(16, 64, func(i int) {
			_, err := tryPut(f, fmt.Sprintf("folder/%d", i), "content")
			assert.NoError(t, err)
		})
		assert.Equal(t, 3, c.most["api"])
		assert.Greater(t, c.most["content"], 3)
	})
}

// crowd counts the concurrent requests.
type crowd struct {
	mu        sync.Mutex
	cloud     *fakeCloud
	now, most map[string]int
}

func (c *crowd) change(kind string, by int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now == nil {
		c.now, c.most = map[string]int{}, map[string]int{}
	}
	c.now[kind] += by
	c.most[kind] = max(c.most[kind], c.now[kind])
}

func (c *crowd) RoundTrip(req *http.Request) (*http.Response, error) {
	kind := "api"
	if strings.HasPrefix(fakeKind(req), "content-") {
		kind = "content"
	}
	c.change(kind, 1)
	time.Sleep(time.Millisecond) // on the clock of synctest, so that requests overlap
	if kind == "content" {
		time.Sleep(time.Second)
	}
	c.mu.Lock()
	resp, err := c.cloud.RoundTrip(req)
	c.mu.Unlock()
	if err != nil {
		c.change(kind, -1)
		return nil, err
	}
	resp.Body = &crowdBody{resp.Body, func() { c.change(kind, -1) }}
	return resp, nil
}

type crowdBody struct {
	io.ReadCloser
	closed func()
}

func (b *crowdBody) Close() error { b.closed(); return b.ReadCloser.Close() }

// If the service refuses a write while another one is under way, writes are serialised
// after a few refusals.
func TestWritesToABusyZone(t *testing.T) {
	sim := startSimulator(t)
	sim.DriveRules(simtest.JSON{"zone_lock": true})
	sim.Rules(simtest.JSON{"transport": simtest.JSON{"latency_ms": 5}})
	f := sim.open("")
	simtest.InParallel(16, 64, func(i int) {
		_, err := tryPut(f, fmt.Sprintf("folder%d/file%d", i%4, i), "content")
		assert.NoError(t, err)
	})
	assert.Len(t, filesIn(sim), 64)
	counts := sim.Counts()
	t.Log(counts)
	assert.Less(t, counts["update-documents"], 64+32, "writes are serialised after the first refusals")

	// Another process writes, too.
	other := sim.openOwn("")
	simtest.InParallel(4, 40, func(i int) {
		_, err := tryPut([]*Fs{f, other}[i%2], fmt.Sprintf("both/file%d", i), "content")
		assert.NoError(t, err)
	})
	assert.Len(t, filesIn(sim), 104)
}

// If the service asks for a longer wait than the option longest_wait allows, operations
// fail at once with the wait.
func TestLongRetryAfter(t *testing.T) {
	sim := startSimulator(t)
	f := sim.open("")
	sim.Fault("list", "status", simtest.Status(503), simtest.JSON{"headers": simtest.JSON{"retry-after": "3600"}, "times": nil})
	for range 3 {
		_, err := f.List(background, "")
		var typed *apierr.Error
		require.ErrorAs(t, err, &typed)
		assert.Equal(t, apierr.KindThrottled, typed.Kind())
		assert.InDelta(t, 3600, typed.RetryAfter().Seconds(), 5)
	}
	assert.Equal(t, 1, sim.Counts()["list"], "no request is sent during the wait")
}

// All uploads and reads succeed if about one request in twenty fails.
func TestRandomFailures(t *testing.T) {
	sim := startSimulator(t)
	f := sim.open("")
	f.drive.Service.Retries.Base = 50 * time.Microsecond
	for _, action := range []struct {
		name string
		more simtest.JSON
	}{
		{"status", simtest.Status(503)}, {"status", simtest.Status(429)}, {"status", simtest.Status(500)},
		{"reset-before", nil}, {"reset-after", nil}, {"truncate", simtest.JSON{"bytes": 20, "clean": false}},
	} {
		sim.Fault("", action.name, action.more, simtest.JSON{"times": nil, "probability": 0.01})
	}
	// Concurrent uploads of one name may fail, so the files are replaced in a second
	// round.
	for round, files := range []int{150, 50} {
		simtest.InParallel(8, files, func(i int) {
			remote := fmt.Sprintf("folder%d/file%d", i%5, i)
			content := strings.Repeat(fmt.Sprint(round, i, " "), 50)
			o, err := tryPut(f, remote, content)
			if !assert.NoError(t, err) {
				return
			}
			read, err := read(o)
			assert.NoError(t, err)
			assert.Equal(t, content, read)
		})
	}
	sim.Control("DELETE", "faults", nil, nil)
	for _, path := range sim.Paths() {
		assert.NotContains(t, path, ".icloud-new-")
	}
	assert.Len(t, filesIn(sim), 150)
}

// No error of an operation contains an address, a cookie, a token or a password.
func TestErrorsContainNoSecrets(t *testing.T) {
	sim := startSimulator(t)
	sim.PutFile("file.txt", "content")
	for _, action := range []string{"reset-before", "status", "html-page", "replace"} {
		for _, kind := range []string{"list", "by-id", "content-get", "upload-web", "content-post", "update-documents", "account-login", "signin-complete"} {
			sim.Control("DELETE", "faults", nil, nil)
			// A session of its own, because a refused renewal is not repeated for a while.
			configuration := sim.configured(configmap.Simple{"tries": "1", "longest_wait": "100ms"})
			secrets := []string{"correct horse", configuration["trust_token"], "https://", "icloud-content.com/", "tk=", "s=", "X-APPLE"}
			for pair := range strings.SplitSeq(configuration["cookies"], "; ") {
				if _, value, _ := strings.Cut(pair, "="); len(value) > 4 {
					secrets = append(secrets, value)
				}
			}
			f, err := sim.openConfigured("", configuration)
			require.NoError(t, err)
			o, err := f.NewObject(background, "file.txt")
			require.NoError(t, err)
			if strings.Contains(kind, "in") {
				sim.Control("POST", "session/end", simtest.Status(421), nil)
			}
			sim.Fault(kind, action, simtest.JSON{"times": nil, "status": 418, "text": `{"reason":"https://x?s=1"}`, "effect": true})
			_, putErr := tryPut(f, "new.txt", "content")
			_, readErr := read(o)
			_, listErr := f.List(background, "")
			for _, err := range []error{putErr, readErr, listErr} {
				if err == nil {
					continue
				}
				assert.NotEmpty(t, apierr.KindOf(err), "%v", err)
				for _, secret := range secrets {
					assert.NotContains(t, err.Error(), secret)
					assert.NotContains(t, fmt.Sprintf("%+v", err), secret)
				}
			}
		}
	}
}
