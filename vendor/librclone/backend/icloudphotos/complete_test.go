package icloudphotos

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A small difference that has stayed the same for a week is a note. Other differences
// are errors.
func TestOldDifferencesAreNotes(t *testing.T) {
	start := time.Date(2026, 11, 5, 10, 0, 0, 0, time.UTC)
	l := newLibrary(zoneID{Name: primaryZone})
	l.Indexed = true
	check := func(missing int, after time.Duration) (isError bool) {
		l.Missing = map[string]int{"a": missing}
		l.checkComplete(start.Add(after))
		assert.Equal(t, l.partial == nil && missing > 0, l.note != "")
		return l.partial != nil
	}
	day := 24 * time.Hour
	assert.True(t, check(2, 0))
	assert.True(t, check(2, 6*day))
	assert.False(t, check(2, 7*day))
	assert.Contains(t, l.note, "counts 2 more photos and videos than it lists; this has not changed since 2026-11-05")
	assert.True(t, check(3, 8*day), "another difference")
	assert.False(t, check(3, 15*day))
	assert.False(t, check(0, 16*day))
	assert.True(t, check(3, 17*day), "a difference that was gone")

	check(11, 18*day)
	assert.True(t, check(11, 30*day), "many of few photos")
	for range 1100 {
		l.Assets[time.Duration(len(l.Assets)).String()] = &asset{}
	}
	assert.False(t, check(11, 30*day), "few of many photos")

	for range 20_000 {
		l.Assets[time.Duration(len(l.Assets)).String()] = &asset{}
	}
	check(101, 31*day)
	assert.True(t, check(101, 40*day), "over 100 photos")

	check(2, 41*day)
	for _, other := range []func(bool){
		func(is bool) { l.changed = is },
		func(is bool) { l.Indexed = !is },
		func(is bool) { l.Refused = make([]string, map[bool]int{true: 1}[is]) },
		func(is bool) { l.uncounted = make([]string, map[bool]int{true: 1}[is]) },
	} {
		other(true)
		assert.True(t, check(2, 50*day), "another reason")
		other(false)
		assert.False(t, check(2, 50*day))
	}

	l.Missing, l.Indexed = map[string]int{}, false
	l.checkComplete(start)
	l.checkComplete(start.Add(30 * day))
	assert.Error(t, l.partial, "an index that is not finished")
}

func TestOldDifferencesOfAlbumsAreNotes(t *testing.T) {
	start := time.Date(2026, 11, 5, 10, 0, 0, 0, time.UTC)
	l := newLibrary(zoneID{Name: primaryZone})
	l.Albums["a"] = &album{Name: "A"}
	check := func(lacks int, after time.Duration) (isError bool) {
		clear(l.membersErr)
		clear(l.membersNote)
		l.checkMembers("a", lacks, 1, start.Add(after))
		return l.membersErr["a"] != nil
	}
	week := acceptedAfter
	assert.False(t, check(1, 0), "it may be hidden")
	assert.True(t, check(2, 0))
	l.applyAlbum(&record{Name: "a", Type: typeAlbum}) // another name
	assert.False(t, check(2, week))
	assert.Contains(t, l.membersNote["a"], "counts 2 more photos in the album than it lists; this has not changed since 2026-11-05")
	assert.True(t, check(3, week))
	assert.False(t, check(0, week))
	assert.Empty(t, l.membersNote)
	assert.True(t, check(3, 2*week))
}

// Folders that contain each other have a path, and their albums are below it.
func TestFoldersThatContainEachOther(t *testing.T) {
	l := newLibrary(zoneID{Name: primaryZone})
	l.Albums = map[string]*album{
		"a": {Name: "A", Parent: "b", Folder: true}, "b": {Name: "B", Parent: "c", Folder: true}, "c": {Name: "C", Parent: "a", Folder: true},
		"in a": {Name: "X", Parent: "a"}, "in b": {Name: "X", Parent: "b"},
		"self": {Name: "A", Parent: "self", Folder: true}, "in self": {Name: "X", Parent: "self"},
	}
	l.nameAlbums()
	paths := map[string]string{}
	for id := range l.Albums {
		paths[l.albumPath(id)] = id
	}
	assert.Equal(t, map[string]string{
		"Albums/A": "a", "Albums/A/C": "c", "Albums/A/C/B": "b", "Albums/A/X": "in a", "Albums/A/C/B/X": "in b",
		"Albums/A (self)": "self", "Albums/A (self)/X": "in self",
	}, paths)
}

// The loss of a shared album is reported for a week.
func TestLostSharedAlbums(t *testing.T) {
	now := time.Date(2026, 11, 5, 10, 0, 0, 0, time.UTC)
	listed := func(ids ...string) (found []foundZone) {
		for _, id := range ids {
			found = append(found, foundZone{zoneID: zoneID{Area: sharedAlbumArea, Name: id}})
		}
		return found
	}
	head := indexHead{Albums: map[string]seenAlbum{"a": {Folder: "A"}, "b": {Folder: "B"}}}
	note := func(after time.Duration, ids ...string) (int, []string) {
		lost, gone := head.noteAlbums(listed(ids...), now.Add(after))
		return len(gone), lost
	}
	expect := func(after time.Duration, ids []string, gone int, lost ...string) {
		t.Helper()
		gotGone, gotLost := note(after, ids...)
		assert.Equal(t, gone, gotGone)
		assert.Equal(t, lost, gotLost)
	}
	expect(0, []string{"a", "b"}, 0)
	expect(0, []string{"b"}, 0, "A")
	day := 24 * time.Hour
	expect(6*day, nil, 0, "A", "B")
	expect(7*day, []string{"a"}, 0, "B")
	expect(13*day, []string{"a"}, 1)
	require.NoError(t, lossOfAlbums(nil))
	assert.ErrorContains(t, lossOfAlbums([]string{"A\x1b"}), `shared album "A\x1b", which an earlier run has read`)
	assert.ErrorContains(t, lossOfAlbums([]string{"A", "B"}), `lists 2 shared albums that an earlier run has read, such as "A"`)
}
