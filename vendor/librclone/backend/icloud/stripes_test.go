package icloud

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/rclone/rclone/fs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const largeSize = 11<<22 + 12345

// A large file is read in parts, despite faults of their requests.
func TestLargeFileInParts(t *testing.T) {
	content := numbered(largeSize)
	sim := startSimulator(t)
	sim.PutFile("large.bin", content)
	f := sim.open("")
	o, err := f.NewObject(background, "large.bin")
	require.NoError(t, err)
	sim.ResetCounts()
	got, err := read(o)
	require.NoError(t, err)
	assert.True(t, got == content)
	assert.Equal(t, 12, sim.Counts()["content-get"])
	assert.Equal(t, 1, sim.Counts()["by-id"])

	got, err = read(o, &fs.SeekOption{Offset: 5_000_001})
	require.NoError(t, err)
	assert.True(t, got == content[5_000_001:])

	for _, fault := range []simtest.JSON{
		{"action": "truncate", "bytes": 1_000_000, "clean": false},
		{"action": "truncate", "bytes": 1_000_000, "clean": true},
		{"action": "status", "status": 503},
		{"action": "status", "status": 403},
		{"action": "reset-stream"},
	} {
		action := fault["action"].(string)
		delete(fault, "action")
		sim.Fault("content-get", action, fault, simtest.JSON{"times": 3, "skip": 3})
		got, err = read(o)
		require.NoError(t, err, action)
		assert.True(t, got == content, action)
	}
}

// Parts of two versions of a file are never mixed.
func TestLargeFileChanges(t *testing.T) {
	sim := startSimulator(t)
	sim.PutFile("large.bin", numbered(largeSize))
	sim.DriveRules(simtest.JSON{"url_uses": 4}) // so that the later parts need another address
	f := sim.open("")
	o, err := f.NewObject(background, "large.bin")
	require.NoError(t, err)
	in, err := o.Open(background)
	require.NoError(t, err)
	sim.Mutate("large.bin", "write", simtest.JSON{"text": strings.ToLower(numbered(largeSize))[:largeSize-1] + "x"})
	_, err = io.ReadAll(in)
	assert.Equal(t, apierr.KindChanged, apierr.KindOf(err), "%v", err)
	require.NoError(t, in.Close())
}

// If a host does not return parts, the response to the first request is read to its end.
func TestLargeFileWithoutParts(t *testing.T) {
	content := numbered(largeSize)
	requests := 0
	c := &contentsBy{fakeCloud: newFakeCloud(), before: func(req *http.Request) {
		req.Header.Del("Range")
		requests++
	}}
	c.add("root", "file", []byte(content))
	f := driveBy(c, "")
	f.drive.Service.Parallel = f.drive.Service.HTTP
	got, err := read(must(f.NewObject(background, "file")))
	require.NoError(t, err)
	assert.True(t, got == content)
	assert.Equal(t, 1, requests)
}

// A large package with an unknown extension is read as a whole.
func TestLargePackageIsNotInParts(t *testing.T) {
	sim := startSimulator(t)
	sim.Control("POST", "package", simtest.JSON{
		"path": "doc.unknown", "entries": simtest.JSON{"index.xml": numbered(largeSize)}, "listed_size": largeSize,
	}, nil)
	o, err := sim.open("").NewObject(background, "doc.unknown")
	require.NoError(t, err)
	sim.ResetCounts()
	got, err := read(o)
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(got, "PK"))
	assert.Equal(t, 1, sim.Counts()["content-get"])
}

// Closing a content cancels the requests for its parts.
func TestLargeFileIsClosed(t *testing.T) {
	sim := startSimulator(t)
	sim.PutFile("large.bin", numbered(largeSize))
	f := sim.open("")
	o, err := f.NewObject(background, "large.bin")
	require.NoError(t, err)
	sim.Fault("content-get", "hold", simtest.JSON{"gate": "g", "at": "arrival"}, simtest.JSON{"times": nil, "skip": 1})
	in, err := o.Open(background)
	require.NoError(t, err)
	_, err = io.ReadFull(in, make([]byte, 4<<20))
	require.NoError(t, err)
	require.NoError(t, in.Close())
}
