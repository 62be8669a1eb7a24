package icloud

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/rclone/rclone/fs/fserrors"
	"github.com/rclone/rclone/fs/object"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A content from a reader that cannot seek is sent once. If that fails, the error tells
// the caller to retry.
func TestUploadOfAStream(t *testing.T) {
	sim := startSimulator(t)
	f := sim.open("")
	stream := func() io.Reader { return io.MultiReader(strings.NewReader("con"), strings.NewReader("tent")) }
	sim.Fault("content-post", "status", simtest.Status(503))
	_, err := f.Put(background, stream(), infoOf("file.txt", "content"))
	assert.True(t, fserrors.IsRetryError(err), "%v", err)
	assert.Empty(t, sim.Paths())
	_, err = f.Put(background, stream(), infoOf("file.txt", "content"))
	require.NoError(t, err)
	assert.Equal(t, "content", sim.File("file.txt"))
	// A failure before the content is read is retried by the backend.
	sim.Fault("upload-web", "status", simtest.JSON{"times": 3}, simtest.Status(503))
	_, err = f.Put(background, stream(), infoOf("other.txt", "content"))
	assert.NoError(t, err)
}

// A content that is shorter or longer than announced, or cannot be read, is not stored.
func TestUploadOfAWrongSize(t *testing.T) {
	sim := startSimulator(t)
	f := sim.open("")
	for name, in := range map[string]io.Reader{
		"short":          strings.NewReader("conten"),
		"long":           strings.NewReader("content and more"),
		"broken":         io.MultiReader(strings.NewReader("con"), iotest.ErrReader(errors.New("disk on fire"))),
		"empty and more": strings.NewReader("x"),
	} {
		size := int64(7)
		if name == "empty and more" {
			size = 0
		}
		_, err := f.Put(background, in, object.NewStaticObjectInfo(name, modified, size, true, nil, nil))
		assert.Equal(t, apierr.KindDamaged, apierr.KindOf(err), "%s: %v", name, err)
	}
	assert.Empty(t, sim.Paths())
	_, err := f.Put(background, strings.NewReader("x"), object.NewStaticObjectInfo("x", modified, -1, true, nil, nil))
	assert.Equal(t, apierr.KindUnsupported, apierr.KindOf(err))
}

// guardedReader fails the test if it is read after taken was set.
type guardedReader struct {
	t testing.TB
	io.ReadSeeker
	mu    sync.Mutex
	taken bool
}

func newGuarded(t testing.TB, content string) *guardedReader {
	return &guardedReader{t: t, ReadSeeker: strings.NewReader(content)}
}

func (g *guardedReader) Read(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	assert.False(g.t, g.taken, "read after Put has returned")
	return g.ReadSeeker.Read(p)
}

// The content is not read after Put has returned.
func TestUploadDoesNotReadAfterItsReturn(t *testing.T) {
	sim := startSimulator(t)
	f := sim.open("")
	f.drive.Service.Retries.Tries = 2
	sim.Fault("content-post", "reset-before", simtest.JSON{"times": nil, "probability": 0.7})
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	simtest.InParallel(4, 24, func(i int) {
		in := &guardedReader{t: t, ReadSeeker: bytes.NewReader(large)}
		ctx, cancel := context.WithCancel(background)
		if i%3 == 0 {
			time.AfterFunc(time.Duration(i)*time.Millisecond, cancel)
		}
		_, _ = f.Put(ctx, in, object.NewStaticObjectInfo(fmt.Sprint("file", i), modified, int64(len(large)), true, nil, nil))
		cancel()
		in.mu.Lock()
		in.taken = true
		in.mu.Unlock()
	})
}

// A retry seeks to the initial position of the reader, which need not be 0.
func TestUploadBeginsWhereTheReaderIs(t *testing.T) {
	sim := startSimulator(t)
	f := sim.open("")
	in := strings.NewReader("headercontent")
	_, err := in.Seek(6, io.SeekStart)
	require.NoError(t, err)
	sim.Fault("content-post", "status", simtest.Status(500), simtest.JSON{"times": 2})
	_, err = f.Put(background, in, infoOf("file.txt", "content"))
	require.NoError(t, err)
	assert.Equal(t, "content", sim.File("file.txt"))
}

// An upload fails if the receipt is missing or has another size.
func TestUploadChecksTheReceipt(t *testing.T) {
	for _, response := range []string{
		`{}`, `null`, `{"singleFile":null}`, `{"singleFile":{"size":7}}`,
		`{"singleFile":{"size":6,"receipt":"r","fileChecksum":"c"}}`,
	} {
		sim := startSimulator(t)
		f := sim.open("")
		f.drive.Service.Retries.Tries = 2
		sim.Fault("content-post", "replace", simtest.JSON{"text": response, "times": nil, "effect": true})
		_, err := tryPut(f, "file.txt", "content")
		assert.Equal(t, apierr.KindDamaged, apierr.KindOf(err), "%s: %v", response, err)
		assert.Empty(t, sim.Paths())
	}
}

// If a host responds before it has read the content, the content is sent again.
func TestUploadWithAnEarlyResponse(t *testing.T) {
	c := newFakeCloud()
	for times, works := range map[int]bool{1: true, 2: true, 100: false} {
		left := times
		f := driveBy(roundTripper(func(req *http.Request) (*http.Response, error) {
			if fakeKind(req) != "content-post" || left == 0 {
				return c.RoundTrip(req)
			}
			left--
			_, _ = io.CopyN(io.Discard, req.Body, 3)
			_ = req.Body.Close()
			return &http.Response{
				StatusCode: 200, Header: http.Header{}, Request: req, ContentLength: -1,
				Body: io.NopCloser(strings.NewReader(page)),
			}, nil
		}), "")
		_, err := tryPut(f, fmt.Sprint("file", times), "content")
		if works {
			require.NoError(t, err)
			continue
		}
		assert.Equal(t, apierr.KindDamaged, apierr.KindOf(err), "%v", err)
		assert.NotContains(t, err.Error(), "cannot be read")
	}
	assert.Equal(t, []string{"file1", "file2"}, c.paths())
}
