package drive

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"plakar-icloud/librclone/backend/icloud/transport"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A content that is read in parts, fails or is closed early returns its memory and
// leaves no request under way.
func TestPartsReturnTheirMemory(t *testing.T) {
	const size = 5*stripe + 1
	data := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
	var broken atomic.Bool
	host := respond(func(req *http.Request) (*http.Response, error) {
		if strings.HasSuffix(req.URL.Path, "/by_id") {
			token := `{"data_token":{"url":"https://cvws.icloud-content.com/B/x","signature":"s"}}`
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(token)), Request: req}, nil
		}
		if broken.Load() && !strings.HasPrefix(req.Header.Get("Range"), "bytes=0-") {
			return nil, io.ErrUnexpectedEOF
		}
		recorded := &recorder{header: http.Header{}}
		http.ServeContent(recorded, req, "x.bin", time.Time{}, bytes.NewReader(data))
		return &http.Response{
			StatusCode: recorded.status, Header: recorded.header, Request: req,
			Body: io.NopCloser(&recorded.body), ContentLength: int64(recorded.body.Len()),
		}, nil
	})
	s := newService(t, host)
	s.Parallel = transport.NewRESTClient(&http.Client{Transport: host})
	d := New(s, Config{CacheItems: 1})
	it := &Item{ID: "FILE::com.apple.CloudDocs::x", ETag: "1", Name: "x.bin", Size: size}
	for name, readUntilEnd := range map[string]func(io.Reader){
		"read in full": func(in io.Reader) {
			got, err := io.ReadAll(in)
			require.NoError(t, err)
			assert.True(t, bytes.Equal(got, data))
		},
		"closed early": func(in io.Reader) {
			_, err := io.ReadFull(in, make([]byte, stripe+1))
			require.NoError(t, err)
		},
		"failed": func(in io.Reader) {
			broken.Store(true)
			defer broken.Store(false)
			_, _ = io.ReadAll(in)
		},
	} {
		in, err := d.Read(context.Background(), it, "x.bin", 0, -1, func(*Item) {})
		require.NoError(t, err, name)
		readUntilEnd(in)
		require.NoError(t, in.Close(), name)
		assert.Equal(t, maxBudgeted, d.contents.budget.left, name)
		assert.True(t, d.contents.gate.Idle(), name)
	}
}

// recorder is an http.ResponseWriter that stores the response.
type recorder struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }
