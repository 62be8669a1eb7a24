package icloudphotos

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"howett.net/plist"
)

const (
	firstID  = "AAAAAAAA-0000-4000-8000-000000000000"
	secondID = "BBBBBBBB-0000-4000-8000-000000000000"
	thirdID  = "AAAAAAAA-0000-4000-8000-111111111111"
)

func libraryOf(filenames map[string]string) *library {
	l := &library{Assets: map[string]*asset{}, Masters: map[string]*master{}, Albums: map[string]*album{}}
	for id, filename := range filenames {
		l.Assets[id] = &asset{Master: "m" + id}
		l.Masters["m"+id] = &master{Filename: filename, Type: "public.heic", Files: []file{{Kind: original}}}
	}
	return l
}

func (l *library) stems() map[string]string {
	l.nameAssets("date")
	stems := map[string]string{}
	for id, a := range l.Assets {
		stems[id] = a.Stem
	}
	return stems
}

func TestAssetNamesAreUniqueAndStable(t *testing.T) {
	l := libraryOf(map[string]string{firstID: "IMG_1.HEIC", secondID: "img_1.jpg"})
	assert.Equal(t, map[string]string{firstID: "IMG_1", secondID: "img_1 (BBBBBBBB)"}, l.stems())
	delete(l.Assets, firstID)
	assert.Equal(t, map[string]string{secondID: "img_1 (BBBBBBBB)"}, l.stems())
	l.Assets[thirdID] = &asset{Master: "m" + firstID}
	assert.Equal(t, map[string]string{secondID: "img_1 (BBBBBBBB)", thirdID: "IMG_1"}, l.stems())
	// The month of the date is the folder. In another folder, the name is chosen again.
	l.Assets[secondID].Taken = 1_793_872_800_000
	assert.Equal(t, "img_1", l.stems()[secondID])
	assert.Equal(t, "2026/11", l.Assets[secondID].Folder)
}

func TestAmbiguousAssetNamesHaveAnID(t *testing.T) {
	l := libraryOf(map[string]string{firstID: "A (edited).HEIC", secondID: "../B\x00.HEIC", thirdID: ""})
	assert.Equal(t, map[string]string{firstID: "A (edited) (AAAAAAAA)", secondID: ".._B_", thirdID: thirdID}, l.stems())
	l = libraryOf(map[string]string{firstID: "C", secondID: "C", thirdID: "C"})
	l.Assets[secondID].Added = -1
	assert.Equal(t, map[string]string{firstID: "C (AAAAAAAA)", secondID: "C", thirdID: "C (" + thirdID + ")"}, l.stems())
}

// Albums in unknown folders are in the top folder of the albums, so their names must
// differ there. An album keeps its name if it is unique.
func TestAlbumNamesAreUniqueInTheirFolder(t *testing.T) {
	l := newLibrary(zoneID{Name: primaryZone})
	l.Albums["a"] = &album{Name: "Trip", Parent: "----Root-Folder----"}
	l.Albums["b"] = &album{Name: "trip", Parent: "unknown", Given: "trip"}
	l.Albums["c"] = &album{Name: "Trip", Given: "Trip"}
	l.Albums["folder"] = &album{Name: "Folder", Folder: true}
	l.Albums["d"] = &album{Name: "Trip", Parent: "folder"}
	l.nameAlbums()
	paths := map[string]string{}
	for id := range l.Albums {
		paths[id] = l.albumPath(id)
	}
	assert.Equal(t, map[string]string{
		"a": "Albums/Trip (a)", "b": "Albums/trip", "c": "Albums/Trip (c)", "d": "Albums/Folder/Trip", "folder": "Albums/Folder",
	}, paths)
}

func TestOptionVersionsSelectsFiles(t *testing.T) {
	m := &master{Filename: "A.MOV", Type: "com.apple.quicktime-movie", Files: []file{
		{Kind: original, Type: "com.apple.quicktime-movie"}, {Kind: alternative, Type: "com.apple.quicktime-movie"}, {Kind: liveVideo},
	}}
	a := &asset{Files: []file{{Kind: editedImage, Type: "public.jpeg"}, {Kind: editedVideo}, {Kind: adjustments}}}
	names := func(versions string) (names []string) {
		for _, file := range a.namedFiles(firstID, m, versions) {
			names = append(names, file.name)
		}
		return names
	}
	assert.Equal(t, []string{"A.MOV", "A (alternative).MOV", "A (live).MOV", "A (edited).MOV", "A.AAE"}, names("all"))
	assert.Equal(t, []string{"A.MOV", "A (alternative).MOV", "A (live).MOV"}, names("original"))
	assert.Equal(t, []string{"A (edited).MOV"}, names("edited"))
}

func TestKeywordsAndPlaceAreReadFromPropertyLists(t *testing.T) {
	list := func(content any) value {
		data, err := plist.Marshal(content, plist.BinaryFormat)
		require.NoError(t, err)
		encoded, err := json.Marshal(data) // as base64
		require.NoError(t, err)
		return value{Value: encoded, Type: "ENCRYPTED_BYTES"}
	}
	r := record{Fields: map[string]value{
		"keywordsEnc": list([]string{"sea", "été"}),
		"locationEnc": list(map[string]float64{"lat": 1.5, "lng": -2.5, "alt": 3}),
	}}
	assert.Equal(t, []string{"sea", "été"}, keywordsOf(&r))
	lat, lon, high, ok := placeOf(&r)
	assert.True(t, ok)
	assert.Equal(t, []float64{1.5, -2.5, 3}, []float64{lat, lon, high})
	r = record{Fields: map[string]value{"keywordsEnc": {Value: []byte(`"@@"`)}, "locationEnc": {Value: []byte(`7`)}}}
	assert.Empty(t, keywordsOf(&r))
	_, _, _, ok = placeOf(&r)
	assert.False(t, ok)
}

func TestDegreesHaveTheNotationOfXMP(t *testing.T) {
	assert.Equal(t, "48,8.229240N", degrees(48.137154, "N", "S"))
	assert.Equal(t, "0,0.000000N", degrees(0, "N", "S"))
	assert.Equal(t, "180,0.000000W", degrees(-179.999999999, "E", "W"))
}
