package icloudphotos

import (
	"bytes"
	"compress/gzip"
	"encoding/gob"
	"os"

	"plakar-icloud/librclone/backend/icloud/privatefile"
)

// indexVersion is the version of the form of the index file. It changes when
// libraries get fields that a complete listing has to fill.
const indexVersion = 1

type indexFile struct {
	Version   int
	Libraries map[string]*library
}

// readIndex returns the stored libraries by zone. A file that cannot be read
// counts as empty, which costs a complete listing.
func readIndex(path string) map[string]*library {
	known := map[string]*library{}
	if path == "" {
		return known
	}
	file, err := os.Open(path)
	if err != nil {
		return known
	}
	defer func() { _ = file.Close() }()
	packed, err := gzip.NewReader(file)
	if err != nil {
		return known
	}
	var stored indexFile
	if err := gob.NewDecoder(packed).Decode(&stored); err != nil || stored.Version != indexVersion {
		return known
	}
	for name, l := range stored.Libraries {
		whole := newLibrary(zoneID{Area: l.Area, Name: l.Name})
		whole.Token, whole.HasDeleted = l.Token, l.HasDeleted
		whole.Indexed, whole.Refused = l.Indexed, l.Refused
		whole.HasAlbums, whole.Unlisted = l.HasAlbums, l.Unlisted
		fill(whole.Assets, l.Assets)
		fill(whole.Masters, l.Masters)
		fill(whole.Albums, l.Albums)
		fill(whole.Relations, l.Relations)
		fill(whole.Missing, l.Missing)
		known[name] = whole
	}
	return known
}

// fill copies what was stored: an empty map is stored as none.
func fill[K comparable, V any](into, from map[K]V) {
	for key, one := range from {
		into[key] = one
	}
}

func writeIndex(path string, libraries map[string]*library) error {
	if path == "" {
		return nil
	}
	var data bytes.Buffer
	packed, _ := gzip.NewWriterLevel(&data, gzip.BestSpeed) // fails for unknown levels only
	if err := gob.NewEncoder(packed).Encode(indexFile{indexVersion, libraries}); err != nil {
		return err
	}
	if err := packed.Close(); err != nil {
		return err
	}
	return privatefile.Replace(path, data.Bytes())
}
