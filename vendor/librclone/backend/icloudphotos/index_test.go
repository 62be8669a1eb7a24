package icloudphotos

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"plakar-icloud/librclone/backend/icloud/privatefile"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestIndexRoundTrip(t *testing.T) {
	l := newLibrary(zoneID{Area: privateArea, Name: primaryZone})
	l.Token, l.Indexed, l.HasAlbums, l.Unlisted, l.Refused = "token", true, true, []string{"a"}, []string{"i"}
	l.Missing["i"] = 2
	l.Assets["empty"] = &asset{}
	l.Assets["full"] = &asset{
		Master: "m", Taken: 1, Offset: -3600, Favorite: true, Adjusted: true, Folder: "2026/11", Stem: "IMG_1",
		Files: []file{{editedImage, 5, "sum", "public.jpeg"}}, Details: &details{Title: "t", Keywords: []string{"k"}, Placed: true, Lat: 1.5},
	}
	l.Masters["m"] = &master{Filename: "IMG_1.HEIC", Files: []file{{original, 0, "s", ""}}}
	l.Albums["a"] = &album{Name: "A", Parent: "p", Given: "A"}
	l.Relations["full-IN-a"] = &relation{"full", "a", 1024}
	l.partial, l.failed = errors.New("not stored"), errors.New("not stored")

	path := filepath.Join(t.TempDir(), "index")
	require.NoError(t, writeIndex(path, indexHead{}, map[string]*library{primaryZone: l, "SharedSync-1": newLibrary(zoneID{Name: "SharedSync-1"})}))
	known := readIndex(path)
	require.Len(t, known, 2)
	got := known["private/"+primaryZone]
	assert.Equal(t, l.Assets, got.Assets)
	assert.Equal(t, l.Masters, got.Masters)
	assert.Equal(t, l.Albums, got.Albums)
	assert.Equal(t, l.Relations, got.Relations)
	assert.Equal(t, l.Missing, got.Missing)
	assert.Equal(t, []any{l.Area, l.Name, l.Token, l.Indexed, l.HasAlbums, l.Unlisted, l.Refused},
		[]any{got.Area, got.Name, got.Token, got.Indexed, got.HasAlbums, got.Unlisted, got.Refused})
	assert.NoError(t, errors.Join(got.partial, got.failed))
	assert.NotNil(t, known["/SharedSync-1"].Missing)

	// A truncated file is treated as empty.
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, data[:len(data)-10], 0o600))
	assert.Empty(t, readIndex(path))
	assert.Empty(t, readIndex(filepath.Join(t.TempDir(), "none")))
}

// The loss of a shared library is reported for a week. Then the library is removed
// from the index.
func TestLossOfASharedLibrary(t *testing.T) {
	now := time.Date(2026, 11, 5, 10, 0, 0, 0, time.UTC)
	zone := func(area, name string) foundZone { return foundZone{zoneID: zoneID{Area: area, Name: name}} }
	for _, area := range []string{privateArea, sharedArea} {
		key := zone(area, "SharedSync-1").key()
		head := indexHead{Shared: map[string]time.Time{key: {}}}
		own := []foundZone{zone(privateArea, primaryZone), zone(sharedArea, "SharedSync-2")}
		note := func(found []foundZone, after time.Duration) []any {
			lost, gone := head.noteFound(found, false, now.Add(after))
			return []any{lost, len(gone)}
		}
		for _, hours := range []time.Duration{0, 24, 7*24 - 1} {
			assert.Equal(t, []any{1, 0}, note(own, hours*time.Hour), "%d", hours)
		}
		assert.Equal(t, []any{0, 1}, note(own, 7*24*time.Hour))
		assert.Equal(t, []any{0, 0}, note(append(own, zone(area, "SharedSync-1")), 0), "it is listed again")
		assert.Equal(t, []any{1, 0}, note(own, 8*24*time.Hour))
		other := map[string]string{privateArea: sharedArea, sharedArea: privateArea}[area]
		assert.Equal(t, []any{0, 1}, note(append(own, zone(other, "SharedSync-1")), 0), "it has moved to the other area")
	}
	head := indexHead{Shared: map[string]time.Time{zone(sharedArea, "SharedSync-1").key(): {}}}
	lost, gone := head.noteFound(nil, true, now)
	assert.Zero(t, lost+len(gone), "the area was not listed")
}

func TestForgetIndex(t *testing.T) {
	session := filepath.Join(t.TempDir(), "session.json")
	require.NoError(t, ForgetIndex(context.Background(), session))
	unlock, err := privatefile.Lock(context.Background(), indexFile(session))
	require.NoError(t, err)
	unlock()
	for _, end := range []string{"", ".123"} {
		require.NoError(t, os.WriteFile(indexFile(session)+end, []byte("x"), 0o600))
	}
	require.NoError(t, ForgetIndex(context.Background(), session))
	entries, err := os.ReadDir(filepath.Dir(session))
	require.NoError(t, err)
	require.Len(t, entries, 1, "the lock file")
}
