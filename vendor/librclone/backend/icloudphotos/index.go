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

// indexVersion is the version of the form of the index file. It changes when
// libraries get fields that a complete listing has to fill.
const indexVersion = 1

// The file is a sequence of small values, because the encoder and the decoder
// hold one value in memory: the version and the number of libraries, and then
// for each library a part that ends it and before that parts with one record
// each.
type (
	indexHead struct{ Version, Libraries int }
	indexPart struct {
		Name     string // of the record
		Asset    *asset
		Master   *master
		Album    *album
		Relation *relation
		End      *library // without records
	}
)

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
	decoder := gob.NewDecoder(packed)
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
	if _, err := io.Copy(io.Discard, packed); err != nil { // the checksum is at the end
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
			if end.Missing == nil { // an empty map is stored as none
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
	for name, one := range l.Assets {
		write(indexPart{Name: name, Asset: one})
	}
	for name, one := range l.Masters {
		write(indexPart{Name: name, Master: one})
	}
	for name, one := range l.Albums {
		write(indexPart{Name: name, Album: one})
	}
	for name, one := range l.Relations {
		write(indexPart{Name: name, Relation: one})
	}
	end := *l
	end.Assets, end.Masters, end.Albums, end.Relations = nil, nil, nil, nil
	write(indexPart{End: &end})
	return err
}
