package icloud

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/transport"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/rclone/rclone/fs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// numbered returns a content in which each part is different.
func numbered(size int) string {
	var text strings.Builder
	for i := 0; text.Len() < size; i++ {
		fmt.Fprintf(&text, "%06d ", i)
	}
	return text.String()[:size]
}

// A read returns the right bytes despite faults of its requests.
func TestDownloadSurvivesFaults(t *testing.T) {
	content := numbered(100_000)
	for _, kind := range []string{"by-id", "content-get"} {
		for _, fault := range append(stepFaults, []struct {
			action string
			more   simtest.JSON
		}{
			{"truncate", simtest.JSON{"bytes": 50_000, "clean": false}},
			{"truncate", simtest.JSON{"bytes": 50_000, "clean": true}},
			{"reset-stream", nil},
		}...) {
			t.Run(fmt.Sprint(kind, " ", fault.action, fault.more), func(t *testing.T) {
				t.Parallel()
				sim := startSimulator(t)
				sim.PutFile("file.txt", content)
				f := sim.openOwn("")
				o, err := f.NewObject(background, "file.txt")
				require.NoError(t, err)
				sim.Fault(kind, fault.action, fault.more, simtest.JSON{"times": 2})
				got, err := read(o)
				require.NoError(t, err)
				assert.True(t, got == content)
				part, err := read(o, &fs.RangeOption{Start: 40_000, End: 79_999})
				require.NoError(t, err)
				assert.True(t, part == content[40_000:80_000])
			})
		}
	}
}

// A download is resumed after each broken connection, as long as bytes arrive.
func TestDownloadIsResumed(t *testing.T) {
	content := numbered(8_000_000)
	sim := startSimulator(t, "--http1") // with HTTP/2 a reset can overtake the bytes
	sim.PutFile("file.txt", content)
	f := sim.open("")
	o, err := f.NewObject(background, "file.txt")
	require.NoError(t, err)
	sim.Fault("content-get", "truncate", simtest.JSON{"times": 10, "bytes": 600_000, "clean": false})
	got, err := read(o)
	require.NoError(t, err)
	assert.True(t, got == content)
	assert.Equal(t, 11, sim.Counts()["content-get"])
	assert.Equal(t, 1, sim.Counts()["by-id"])
}

// A download of which no byte arrives fails after a limited number of attempts.
func TestDownloadWithoutBytesFails(t *testing.T) {
	sim := startSimulator(t)
	sim.PutFile("file.txt", "content")
	f := sim.open("")
	o, err := f.NewObject(background, "file.txt")
	require.NoError(t, err)
	sim.Fault("content-get", "truncate", simtest.JSON{"times": nil, "bytes": 0, "clean": false})
	_, err = read(o)
	assert.Equal(t, apierr.KindNetwork, apierr.KindOf(err), "%v", err)
	assert.ErrorContains(t, err, "file.txt")
	assert.LessOrEqual(t, sim.Counts()["content-get"], 2*defaultTries)
}

// A content that is longer than listed is an error.
func TestDownloadOfTooMuch(t *testing.T) {
	sim := startSimulator(t)
	sim.PutFile("file.txt", "content")
	f := sim.open("")
	o, err := f.NewObject(background, "file.txt")
	require.NoError(t, err)
	sim.Fault("content-get", "overlong", simtest.JSON{"times": nil, "bytes": 5})
	_, err = read(o)
	assert.Error(t, err)
}

// endless returns contents without their length, and with more bytes after their end.
type endless struct{ *fakeCloud }

func (e endless) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := e.fakeCloud.RoundTrip(req)
	if err == nil && fakeKind(req) == "content-get" {
		resp.ContentLength = -1
		resp.Body = io.NopCloser(io.MultiReader(resp.Body, strings.NewReader(" and more")))
	}
	return resp, err
}

// A response of unknown length that is longer than the content is an error.
func TestDownloadWithoutALength(t *testing.T) {
	c := newFakeCloud()
	c.add("root", "file", []byte("content"))
	f := c.drive("")
	f.drive.Service.HTTP = transport.NewRESTClient(&http.Client{Transport: endless{c}})
	o, err := f.NewObject(background, "file")
	require.NoError(t, err)
	_, err = read(o)
	assert.Equal(t, apierr.KindDamaged, apierr.KindOf(err), "%v", err)
}

// An address that no longer works is replaced, even in the middle of a file.
func TestDownloadRenewsTheAddress(t *testing.T) {
	for _, spent := range []int{403, 404, 410} {
		t.Run(fmt.Sprint(spent), func(t *testing.T) {
			content := numbered(100_000)
			sim := startSimulator(t)
			sim.PutFile("file.txt", content)
			sim.DriveRules(simtest.JSON{"spent_url_status": spent, "url_lifetime_seconds": 100})
			f := sim.open("")
			o, err := f.NewObject(background, "file.txt")
			require.NoError(t, err)
			in, err := o.Open(background)
			require.NoError(t, err)
			first := make([]byte, 1000)
			_, err = io.ReadFull(in, first)
			require.NoError(t, err)
			require.NoError(t, in.Close())
			sim.Control("POST", "clock", simtest.JSON{"advance_seconds": 200}, nil)
			sim.ResetCounts()
			rest, err := read(o, &fs.SeekOption{Offset: 1000})
			require.NoError(t, err)
			assert.True(t, string(first)+rest == content)
			assert.Equal(t, 1, sim.Counts()["by-id"])
			assert.Equal(t, 2, sim.Counts()["content-get"])

			sim.Fault("content-get", "truncate", simtest.JSON{"bytes": 30_000, "clean": false})
			sim.Fault("content-get", "status", simtest.Status(spent), simtest.JSON{"skip": 1})
			whole, err := read(o)
			require.NoError(t, err)
			assert.True(t, whole == content)
		})
	}
}

// Replacing a file in the middle of a read makes the read fail, so that it never
// returns a mixture.
func TestDownloadNoticesAReplacement(t *testing.T) {
	content := numbered(100_000)
	c := newFakeCloud()
	stored := c.add("root", "file.txt", []byte(content))
	gets := 0
	c.spoil = func(_ int, kind string, response *fakeResponse) {
		if kind != "content-get" {
			return
		}
		switch gets++; gets {
		case 1:
			response.broken = true
		case 2: // another device has replaced the file
			c.change++
			stored.etag, stored.content = c.change, []byte(strings.ToUpper(strings.ReplaceAll(content, " ", "x")))
			response.status, response.body = 410, nil
		}
	}
	o, err := c.drive("").NewObject(background, "file.txt")
	require.NoError(t, err)
	got, err := read(o)
	assert.Equal(t, apierr.KindChanged, apierr.KindOf(err), "%v", err)
	assert.Equal(t, 2, gets)
	assert.True(t, strings.HasPrefix(content, got))
}

// Every range of a file is read correctly, whichever option requests it.
func TestDownloadRanges(t *testing.T) {
	content := numbered(5000)
	sim := startSimulator(t)
	sim.PutFile("file.txt", content)
	sim.PutFile("empty.txt", "")
	f := sim.open("")
	o, err := f.NewObject(background, "file.txt")
	require.NoError(t, err)
	random := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		start := random.Int64N(5000)
		end := start + random.Int64N(5000-start)
		got, err := read(o, &fs.RangeOption{Start: start, End: end})
		require.NoError(t, err)
		assert.Equal(t, content[start:end+1], got)
	}
	for _, test := range []struct {
		option fs.OpenOption
		want   string
	}{
		{&fs.SeekOption{Offset: 0}, content},
		{&fs.SeekOption{Offset: 4999}, content[4999:]},
		{&fs.SeekOption{Offset: 5000}, ""},
		{&fs.SeekOption{Offset: 9000}, ""},
		{&fs.RangeOption{Start: -1, End: 10}, content[4990:]},
		{&fs.RangeOption{Start: 0, End: 4999}, content},
		{&fs.RangeOption{Start: 10, End: 100_000}, content[10:]},
		{&fs.RangeOption{Start: 4999, End: 5000}, content[4999:]},
	} {
		got, err := read(o, test.option)
		require.NoError(t, err)
		assert.Equal(t, test.want, got, "%v", test.option)
	}
	empty, err := f.NewObject(background, "empty.txt")
	require.NoError(t, err)
	sim.ResetCounts()
	got, err := read(empty, &fs.RangeOption{Start: 0, End: 10})
	require.NoError(t, err)
	assert.Empty(t, got)
	assert.Zero(t, sim.Counts()["total"], "a part of an empty file needs no request")
}

// A temporary denial of an address, or by an address, does not fail a download.
func TestDownloadIsDeniedTemporarily(t *testing.T) {
	for _, kind := range []string{"by-id", "content-get"} {
		for _, code := range []int{403, 404, 410} {
			t.Run(fmt.Sprint(kind, code), func(t *testing.T) {
				t.Parallel()
				sim := startSimulator(t)
				sim.PutFile("file.txt", "content")
				f := sim.open("")
				o, err := f.NewObject(background, "file.txt")
				require.NoError(t, err)
				sim.Fault(kind, "status", simtest.Status(code), simtest.JSON{"times": 2})
				got, err := read(o)
				require.NoError(t, err)
				assert.Equal(t, "content", got)
				sim.ResetCounts()
				sim.Fault(kind, "status", simtest.Status(code), simtest.JSON{"times": nil})
				sim.Mutate("file.txt", "write", simtest.JSON{"text": "new one"})
				o, err = sim.open("").NewObject(background, "file.txt")
				require.NoError(t, err)
				_, err = read(o)
				assert.Error(t, err)
				assert.LessOrEqual(t, sim.Counts()[kind], 8)
			})
		}
	}
}

// Reading a file that was deleted or has grown fails with a matching error.
func TestDownloadOfAChangedFile(t *testing.T) {
	sim := startSimulator(t)
	sim.PutFile("file.txt", "content")
	sim.PutFile("other.txt", "content")
	f := sim.open("")
	gone, err := f.NewObject(background, "file.txt")
	require.NoError(t, err)
	grown, err := f.NewObject(background, "other.txt")
	require.NoError(t, err)
	sim.Mutate("file.txt", "erase", nil)
	sim.Mutate("other.txt", "write", simtest.JSON{"text": "longer content"})
	_, err = read(gone)
	assert.ErrorIs(t, err, fs.ErrorObjectNotFound)
	assert.Equal(t, apierr.KindNotFound, apierr.KindOf(err))
	_, err = read(grown)
	assert.Equal(t, apierr.KindChanged, apierr.KindOf(err), "%v", err)
	_, err = read(grown, &fs.RangeOption{Start: 1, End: 2})
	assert.Equal(t, apierr.KindChanged, apierr.KindOf(err), "%v", err)
	now, err := f.List(background, "")
	require.NoError(t, err)
	content, err := read(now[0].(fs.Object))
	require.NoError(t, err)
	assert.Equal(t, "longer content", content)
}

// A cancelled read returns context.Canceled at once.
func TestDownloadIsCancelled(t *testing.T) {
	sim := startSimulator(t)
	sim.PutFile("file.txt", "content")
	f := sim.open("")
	o, err := f.NewObject(background, "file.txt")
	require.NoError(t, err)
	sim.Fault("content-get", "hold", simtest.JSON{"gate": "g", "at": "arrival"})
	ctx, cancel := context.WithCancel(background)
	ended := make(chan error)
	go func() {
		in, err := o.Open(ctx)
		if err == nil {
			_, err = io.ReadAll(in)
		}
		ended <- err
	}()
	sim.Control("POST", "wait", simtest.JSON{"kind": "content-get", "n": 1, "timeout_ms": 5000}, nil)
	cancel()
	assert.ErrorIs(t, <-ended, context.Canceled)
}
