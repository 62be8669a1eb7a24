package icloudphotos

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

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

// The loss of the libraries of other accounts is reported for a week. Then they are
// given up.
func TestLossOfTheSharedArea(t *testing.T) {
	now := time.Date(2026, 11, 5, 10, 0, 0, 0, time.UTC)
	assert.False(t, indexHead{}.reportsLoss(now), "no library was lost")
	head := indexHead{HasShared: true}
	assert.False(t, head.noteLoss(true, now))
	for _, hours := range []int{0, 24, 7*24 - 1} {
		later := now.Add(time.Duration(hours) * time.Hour)
		assert.True(t, head.reportsLoss(later))
		assert.False(t, head.noteLoss(true, later))
	}
	later := now.Add(7 * 24 * time.Hour)
	assert.False(t, head.reportsLoss(later))
	assert.True(t, head.noteLoss(true, later))
	assert.False(t, head.noteLoss(false, later))
	assert.True(t, head.reportsLoss(later), "they were found again")
}
