package icloudphotos

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"plakar-icloud/librclone/backend/icloud"
	"plakar-icloud/librclone/backend/icloud/hosts"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// one is the value of a field that is set.
func one() map[string]value { return map[string]value{"isDeleted": {Value: []byte("1")}} }

// The service marks a record as deleted in several ways.
func TestDeletedRecordsAreRemoved(t *testing.T) {
	library := func() *library {
		l := newLibrary(zoneID{Name: primaryZone})
		l.Assets["asset"], l.Masters["master"] = &asset{Master: "master"}, &master{}
		l.Albums["album"], l.Relations["asset-IN-album"] = &album{Name: "A"}, &relation{"asset", "album", 1}
		return l
	}
	for _, name := range []string{"asset", "master", "album", "asset-IN-album"} {
		l := library()
		l.apply([]record{{Name: name, Deleted: true}})
		names := slices.Concat(slices.Collect(maps.Keys(l.Assets)), slices.Collect(maps.Keys(l.Masters)),
			slices.Collect(maps.Keys(l.Albums)), slices.Collect(maps.Keys(l.Relations)))
		assert.Len(t, names, 3)
		assert.NotContains(t, names, name)
	}
	l := library()
	l.apply([]record{
		{Name: "album", Type: typeAlbum, Fields: one()}, {Name: "asset-IN-album", Type: typeRelation, Fields: one()},
		{Name: "asset", Type: typeAsset, Fields: map[string]value{"isExpunged": {Value: []byte("true")}}},
	})
	assert.Empty(t, l.Albums)
	assert.Empty(t, l.Relations)
	assert.Empty(t, l.Assets)
	l.prune()
	assert.Empty(t, l.Masters, "a master without an asset")

	// An asset in Recently Deleted is kept. So is everything after a failure of one record.
	l = library()
	l.apply([]record{{Name: "asset", Type: typeAsset, Fields: one()}, {Name: "album", Deleted: true, Code: "NOT_FOUND"}})
	assert.True(t, l.Assets["asset"].Deleted)
	assert.Len(t, l.Albums, 1)
}

// A relation without fields has the names of its asset and of its album in its own
// name. Relations of unknown albums are removed.
func TestRelationsOfAlbums(t *testing.T) {
	l := newLibrary(zoneID{Name: primaryZone})
	l.Albums["B"] = &album{}
	l.apply([]record{{Name: "A-IN-B", Type: typeRelation}, {Name: "A-IN-C", Type: typeRelation}})
	assert.Equal(t, &relation{Asset: "A", Album: "B"}, l.Relations["A-IN-B"])
	l.prune()
	assert.Len(t, l.Relations, 1)
}

func TestDeletedZonesAreNoLibraries(t *testing.T) {
	s, _ := scripted(t, map[string][]string{
		privateArea: {`200 {"zones":[{"zoneID":{"zoneName":"PrimarySync"}},{"zoneID":{"zoneName":"SharedSync-1"},"deleted":true}]}`},
		sharedArea:  {`200 {"zones":[]}`},
	})
	found, _, err := findZones(context.Background(), s)
	require.NoError(t, err)
	assert.Len(t, found, 1)
}

// The cookies of the session are sent only to hosts in the domain of the service.
func TestSharedAlbumsOnOtherHostsAreRefused(t *testing.T) {
	for address, refused := range map[string]bool{
		"https://p1-sharedstreams.icloud.com:443/1/sharedstreams/": false,
		"https://icloud.com.example.org/1/sharedstreams/":          true,
		"http://p1-sharedstreams.icloud.com/1/sharedstreams/":      true,
	} {
		s, _ := scripted(t, map[string][]string{
			"webgetalbumslist": {`200 {"albums":[{"albumguid":"a","albumctag":"t","albumlocation":"` + address + `"}]}`},
		})
		s.service.Session.AddEndpoint(hosts.SharedAlbums, "https://p1-sharedstreams.icloud.com/1")
		found, err := sharedAlbums(context.Background(), s)
		assert.Equal(t, refused, err != nil, "%s: %v", address, err)
		assert.Equal(t, refused, len(found) == 0, address)
	}
}

// Without a tag, it is unknown whether a shared album has changed.
func TestSharedAlbumWithoutATagIsListedAgain(t *testing.T) {
	for tag, listed := range map[string]int{"": 1, "tag": 0} {
		s, script := scripted(t, map[string][]string{"webgetassets": {`200 {"records":[]}`}, "webgetassetcount": {`200 {"albumassetcount":0}`}})
		zone := foundZone{zoneID{Area: sharedAlbumArea, Name: "a"}, tag}
		known := newLibrary(zone.zoneID)
		known.Token = tag
		s.albums["a"] = sharedAlbum{ID: "a", Address: "https://p1-sharedstreams.icloud.com/1/sharedstreams"}
		_, err := (&loader{service: s}).library(context.Background(), zone, known)
		require.NoError(t, err)
		assert.Equal(t, listed, script.requests["webgetassets"])
	}
}

// Without the size of the edited version, only the original can be saved.
func TestAnEditedVersionWithoutASizeReplacesNothing(t *testing.T) {
	m := &master{Filename: "A.HEIC", Files: []file{{Kind: original, Size: 5}}}
	a := &asset{Adjusted: true, Files: []file{{Kind: editedImage, Size: noSize, Type: "public.jpeg"}}}
	var names []string
	for _, file := range a.namedFiles(firstID, m, "edited") {
		names = append(names, file.name)
	}
	assert.Equal(t, []string{"A.HEIC", "A (edited).JPG"}, names)
	l := newLibrary(zoneID{Name: primaryZone})
	l.Assets[firstID], l.Masters[""] = a, m
	f := &Fs{opt: icloud.PhotosOptions{Versions: "all"}}
	assert.Equal(t, "A.HEIC", f.mainFile(member{l, firstID}))
	a.Files[0].Size = 7
	assert.Equal(t, "A (edited).JPG", f.mainFile(member{l, firstID}), "links refer to the edited version")
}

func TestFilesOfUnknownTypesHaveTwoNames(t *testing.T) {
	m := &master{Filename: "A.HEIC", Files: []file{{Kind: original}, {Kind: liveVideo, Type: "com.apple.quicktime-movie"}}}
	a := &asset{Files: []file{{Kind: editedImage}, {Kind: editedVideo, Type: "other"}}}
	names := map[string]bool{}
	for _, file := range a.namedFiles(firstID, m, "all") {
		names[file.name] = true
	}
	assert.Len(t, names, 4, "%v", names)
}

// The version of a file changes with its content, and with nothing else.
func TestVersionOfAFile(t *testing.T) {
	object := func(c content) string { return (&Object{content: c}).Version() }
	same := content{Record: "r", Field: "resOriginalRes", Version: "sum", Size: 1}
	moved := same
	moved.Record = "another"
	assert.Equal(t, object(same), object(moved))
	for _, other := range []content{
		{Record: "r", Field: "resOriginalRes", Version: "other", Size: 1},
		{Record: "r", Field: "resJPEGFullRes", Version: "sum", Size: 1},
		{Record: "r", Field: "resOriginalRes", Version: "sum", Size: 2},
	} {
		assert.NotEqual(t, object(same), object(other))
	}
	assert.NotEqual(t, object(content{Record: "a"}), object(content{Record: "b"}), "without a checksum")
}

// The files of duplicates are counted once, and deleted photos only by their number.
func TestSummaryCountsEachContentOnce(t *testing.T) {
	l := newLibrary(zoneID{Name: primaryZone})
	l.Masters["m"] = &master{Type: "public.heic", Files: []file{{Kind: original, Size: 10}}}
	l.Masters["gone"] = &master{Type: "public.heic", Files: []file{{Kind: original, Size: 1000}}}
	l.Assets["a"], l.Assets["copy"] = &asset{Master: "m"}, &asset{Master: "m"}
	l.Assets["gone"] = &asset{Master: "gone", Deleted: true}
	assert.Equal(t, Collection{Name: "Library", Counts: []Count{{"photos", 2}, {"recently deleted", 1}}, Bytes: 10}, l.summary("Library", 0))
}

// An edited version is awaited for a month after the last change of the asset.
func TestEditedVersionsAreAwaited(t *testing.T) {
	now := time.Date(2026, 11, 5, 10, 0, 0, 0, time.UTC)
	for days, awaited := range map[int]bool{0: true, 29: true, 31: false} {
		a := &asset{Adjusted: true, Modified: now.AddDate(0, 0, -days).UnixMilli()}
		assert.Equal(t, awaited, a.awaitsEdited(now), days)
	}
	assert.False(t, (&asset{}).awaitsEdited(now))

	// If the service does not report the time of the change, the time of the first
	// backup takes its place.
	l := newLibrary(zoneID{Name: primaryZone})
	records := []record{{Name: "a", Type: typeAsset, Fields: map[string]value{"adjustmentType": {Value: []byte(`"com.apple.photo"`)}}}}
	l.apply(records)
	l.noteEdits(now)
	assert.True(t, l.Assets["a"].awaitsEdited(now))
	later := now.AddDate(0, 0, 31)
	l.apply(records)
	l.noteEdits(later)
	assert.False(t, l.Assets["a"].awaitsEdited(later))
	listed := newLibrary(zoneID{Name: primaryZone})
	listed.apply(records)
	listed.keep(l)
	listed.noteEdits(later)
	assert.False(t, listed.Assets["a"].awaitsEdited(later))
}
