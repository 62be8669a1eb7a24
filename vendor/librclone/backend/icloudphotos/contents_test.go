package icloudphotos

import (
	"encoding/base64"
	"maps"
	"slices"
	"testing"
	"time"

	"plakar-icloud/librclone/backend/icloud"

	"github.com/stretchr/testify/assert"
)

func TestSidecarHasKeywordsAndAltitude(t *testing.T) {
	for high, reference := range map[float64]string{-12.5: "1", 12.5: "0"} {
		a := &asset{Details: &details{Keywords: []string{"sea", "a & b"}, Placed: true, Lat: 1, Lon: 2, High: high}}
		document := string(a.sidecar(firstID, &master{}))
		assert.Contains(t, document, "<dc:subject><rdf:Bag><rdf:li>sea</rdf:li><rdf:li>a &amp; b</rdf:li></rdf:Bag></dc:subject>")
		assert.Contains(t, document, "<exif:GPSAltitude>12500/1000</exif:GPSAltitude>")
		assert.Contains(t, document, "<exif:GPSAltitudeRef>"+reference+"</exif:GPSAltitudeRef>")
	}
}

// The newer of two fields has the place.
func TestPlaceIsReadFromTheNewerField(t *testing.T) {
	place := func(lat string) value {
		list := `<plist version="1.0"><dict><key>lat</key><real>` + lat + `</real><key>lon</key><real>2</real></dict></plist>`
		return value{Value: []byte(`"` + base64.StdEncoding.EncodeToString([]byte(list)) + `"`)}
	}
	r := record{Fields: map[string]value{"locationV2Enc": place("1"), "locationEnc": place("5")}}
	lat, _, _, ok := placeOf(&r)
	assert.True(t, ok)
	assert.InDelta(t, 1, lat, 0)
}

// A name may look like base64.
func TestTextsAreDecodedByTheirType(t *testing.T) {
	r := record{Fields: map[string]value{
		"plain": {Value: []byte(`"TEST"`), Type: "STRING"}, "packed": {Value: []byte(`"VEVTVA=="`), Type: "ENCRYPTED_BYTES"},
		"broken": {Value: []byte(`"IMG_1.HEIC"`), Type: "ENCRYPTED_BYTES"},
	}}
	assert.Equal(t, []string{"TEST", "TEST", "IMG_1.HEIC"}, []string{r.encodedText("plain"), r.encodedText("packed"), r.encodedText("broken")})
}

func TestVideosAreKnownByTheTypeOfTheOriginal(t *testing.T) {
	for _, kind := range []string{"public.mpeg-4", "com.apple.quicktime-movie", "com.apple.m4v-video", "public.avi"} {
		assert.True(t, (&master{Type: kind}).isVideo(), kind)
		assert.True(t, (&master{Type: "public.data", Files: []file{{Kind: original, Type: kind}}}).isVideo(), kind)
		assert.False(t, (&master{Type: "public.heic", Files: []file{{Kind: liveVideo, Type: kind}}}).isVideo(), "a live photo")
	}
}

// The index of visible assets contains only the chosen photos of a burst.
func TestPhotosOfBursts(t *testing.T) {
	burst := func(flags string) *asset {
		return newAsset(&record{Fields: map[string]value{"burstId": {Value: []byte(`"b"`)}, "burstFlags": {Value: []byte(flags)}}})
	}
	assert.Equal(t, []bool{true, true, false}, []bool{burst("8").Main, burst("16").Main, burst("2").Main})
	assert.True(t, newAsset(&record{}).Main)
}

// A change of a known asset keeps its name, and its place in the index of visible
// assets. An album that is renamed or moved gets another name.
func TestChangesKeepNames(t *testing.T) {
	l := newLibrary(zoneID{Name: primaryZone})
	l.Assets["a"] = &asset{Folder: "2026/11", Stem: "IMG_1 (a)", Main: true}
	l.apply([]record{{Name: "a", Type: typeAsset, Fields: map[string]value{"burstId": {Value: []byte(`"b"`)}}}})
	assert.Equal(t, []any{"2026/11", "IMG_1 (a)", true}, []any{l.Assets["a"].Folder, l.Assets["a"].Stem, l.Assets["a"].Main})
	named := func(name, parent string) record {
		return record{Name: "x", Type: typeAlbum, Fields: map[string]value{
			"albumNameEnc": {Value: []byte(`"` + name + `"`), Type: "STRING"}, "parentId": {Value: []byte(`"` + parent + `"`)},
		}}
	}
	l.Albums["x"] = &album{Name: "Trip", Parent: "p", Given: "Trip (x)"}
	l.apply([]record{named("Trip", "p")})
	assert.Equal(t, "Trip (x)", l.Albums["x"].Given)
	for _, other := range []record{named("Journey", "p"), named("Trip", "q")} {
		l.Albums["x"] = &album{Name: "Trip", Parent: "p", Given: "Trip (x)"}
		l.apply([]record{other})
		assert.Empty(t, l.Albums["x"].Given)
	}
}

// The error of a library has each reason why photos may be missing.
func TestReasonsForPartialLibraries(t *testing.T) {
	for why, l := range map[string]*library{
		"counts 2 more photos":  {Missing: map[string]int{"a": 2, "b": -2}, Indexed: true},
		"does not list some":    {Refused: []string{"x"}, Indexed: true},
		"does not count all":    {uncounted: []string{"x"}, Indexed: true},
		"while it was listed":   {changed: true, Indexed: true},
		"not finished indexing": {},
		"":                      {Missing: map[string]int{"a": -1}, Indexed: true},
	} {
		l.checkComplete(time.Now())
		if why == "" {
			assert.NoError(t, l.partial)
		} else {
			assert.ErrorContains(t, l.partial, why)
		}
	}
}

// Deleted photos are in no other folder than that of the deleted photos of their
// library. A manifest counts the photos that no library has.
func TestTreeOfTwoLibraries(t *testing.T) {
	own, other := newLibrary(zoneID{Area: privateArea, Name: primaryZone}), newLibrary(zoneID{Area: sharedArea, Name: "SharedSync-1234"})
	for _, l := range []*library{own, other} {
		l.Masters["m"] = &master{Filename: "A.HEIC", Files: []file{{Kind: original, Size: 1}}}
		l.Assets["kept"] = &asset{Master: "m", Favorite: true, Folder: "2026/11", Stem: "A"}
		l.Assets["gone"] = &asset{Master: "m", Favorite: true, Hidden: true, Deleted: true, Folder: "2026/10", Stem: "A"}
	}
	own.Albums["x"] = &album{Name: "Trip", Given: "Trip"}
	for i, id := range []string{"unknown", "gone", "kept"} {
		own.Relations[id] = &relation{Asset: id, Album: "x", Position: int64(i)}
	}
	found := []foundZone{{zoneID: own.zone}, {zoneID: other.zone}}
	f := &Fs{opt: icloud.PhotosOptions{Versions: "all", Deleted: includeDeleted}}
	f.tree = f.newTree(found, []*library{own, other})
	tops := libraryNames(found)
	var paths []string
	for dir, at := range f.tree.folders {
		for _, entry := range f.entries(dir, at, tops) {
			if _, isFolder := entry.(*directory); !isFolder {
				paths = append(paths, entry.Remote())
			}
		}
	}
	slices.Sort(paths)
	assert.Equal(t, []string{
		"Albums/Trip/0001 A.HEIC", "Albums/Trip/album.txt", "Favorites/2026-11 A.HEIC", "Favorites/Shared Library/2026-11 A.HEIC",
		"Library/2026/11/A.HEIC", "Library/2026/11/A.HEIC.xmp",
		"Recently Deleted/2026/10/A.HEIC", "Recently Deleted/2026/10/A.HEIC.xmp",
		"Recently Deleted/Shared Library/2026/10/A.HEIC", "Recently Deleted/Shared Library/2026/10/A.HEIC.xmp",
		"Shared Library/2026/11/A.HEIC", "Shared Library/2026/11/A.HEIC.xmp",
	}, paths)
	text := string(f.manifest(f.tree.folders["Albums/Trip"].album, tops))
	assert.Equal(t, "# Trip\nLibrary/2026/11/A.HEIC\n# 1 more are in no library of this account\n", text)
	assert.Equal(t, int64(2), f.tree.folders["Library/2026/11"].size())
	assert.ElementsMatch(t, []string{"Library", "Shared Library"}, slices.Collect(maps.Values(tops)))
}
