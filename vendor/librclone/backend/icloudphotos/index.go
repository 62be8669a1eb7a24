package icloudphotos

import (
	"bytes"
	"compress/gzip"
	"encoding/gob"
	"errors"
	"io"
	"os"

	"plakar-icloud/librclone/backend/icloud/privatefile"
)

// indexVersion is the version of the format of the index file. It changes when a
// library gets a field that only a complete listing can fill, or if a field is
// renamed.
const indexVersion = 1

// The index file is a sequence of small values, because the encoder and the
// decoder hold one value in memory: an indexHead, and for each library an
// indexPart for each record, followed by an indexPart with the rest of the
// library.
type (
	indexHead struct{ Version, Libraries int }
	indexPart struct {
		Name     string // of the record
		Asset    *asset
		Master   *master
		Album    *album
		Relation *relation
		End      *library // without its records
	}
)

// readIndex returns the stored libraries by the names of their zones. If the file
// cannot be read, it returns none, so that all libraries are listed completely.
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
	data, err := gzip.NewReader(file)
	if err != nil {
		return known
	}
	decoder := gob.NewDecoder(data)
	var head indexHead
	if err := decoder.Decode(&head); err != nil || head.Version != indexVersion {
		return known
	}
	for range head.Libraries {
		l, err := readLibrary(decoder)
		if err != nil {
			return map[string]*library{}
		}
		known[l.Name] = l
	}
	if _, err := io.Copy(io.Discard, data); err != nil { // the checksum is at the end
		return map[string]*library{}
	}
	return known
}

func readLibrary(decoder *gob.Decoder) (*library, error) {
	l := newLibrary(zoneID{})
	for {
		var part indexPart
		if err := decoder.Decode(&part); err != nil {
			return nil, err
		}
		switch {
		case part.Asset != nil:
			l.Assets[part.Name] = part.Asset
		case part.Master != nil:
			l.Masters[part.Name] = part.Master
		case part.Album != nil:
			l.Albums[part.Name] = part.Album
		case part.Relation != nil:
			l.Relations[part.Name] = part.Relation
		case part.End != nil:
			end := part.End
			end.Assets, end.Masters, end.Albums, end.Relations = l.Assets, l.Masters, l.Albums, l.Relations
			if end.Missing == nil { // gob does not store an empty map
				end.Missing = map[string]int{}
			}
			return end, nil
		}
	}
}

func writeIndex(path string, libraries map[string]*library) error {
	if path == "" {
		return nil
	}
	var data bytes.Buffer
	packed, _ := gzip.NewWriterLevel(&data, gzip.BestSpeed) // fails for unknown levels only
	encoder := gob.NewEncoder(packed)
	err := encoder.Encode(indexHead{indexVersion, len(libraries)})
	for _, l := range libraries {
		err = errors.Join(err, writeLibrary(encoder, l))
	}
	if err != nil {
		return err
	}
	if err := packed.Close(); err != nil {
		return err
	}
	return privatefile.Replace(path, data.Bytes())
}

func writeLibrary(encoder *gob.Encoder, l *library) error {
	var err error
	write := func(part indexPart) {
		if err == nil {
			err = encoder.Encode(part)
		}
	}
	for name, a := range l.Assets {
		write(indexPart{Name: name, Asset: a})
	}
	for name, m := range l.Masters {
		write(indexPart{Name: name, Master: m})
	}
	for name, a := range l.Albums {
		write(indexPart{Name: name, Album: a})
	}
	for name, r := range l.Relations {
		write(indexPart{Name: name, Relation: r})
	}
	end := *l
	end.Assets, end.Masters, end.Albums, end.Relations = nil, nil, nil, nil
	write(indexPart{End: &end})
	return err
}

// knowsShared reports whether the index has a library of another account.
func (s *database) knowsShared() bool {
	for _, l := range readIndex(s.index) {
		if l.Area == sharedArea {
			return true
		}
	}
	return false
}
