package icloudphotos

import (
	"compress/gzip"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

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
	indexHead struct {
		Version, Libraries int
		HasShared          bool         // a library is one of another account
		SharedLost         time.Time    // when the service did not find the libraries of other accounts first; zero if it finds them
		Counted            time.Time    // when Collections were counted
		Collections        []Collection // what the libraries have
	}
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
	head, decoder, data, err := openIndex(path)
	if err != nil {
		return known
	}
	defer func() { _ = data.Close() }()
	for range head.Libraries {
		l, err := readLibrary(decoder)
		if err != nil {
			return map[string]*library{}
		}
		known[l.key()] = l
	}
	if _, err := io.Copy(io.Discard, data); err != nil { // the checksum is at the end
		return map[string]*library{}
	}
	return known
}

// indexData is the decompressed content of an index file.
type indexData struct {
	*gzip.Reader
	file *os.File
}

// Close closes the file.
func (d *indexData) Close() error { return d.file.Close() }

// openIndex opens an index file and reads its head.
func openIndex(path string) (head indexHead, decoder *gob.Decoder, data *indexData, err error) {
	if path == "" {
		return head, nil, nil, os.ErrNotExist
	}
	file, err := os.Open(path)
	if err != nil {
		return head, nil, nil, err
	}
	unpacked, err := gzip.NewReader(file)
	if err == nil {
		decoder = gob.NewDecoder(unpacked)
		err = decoder.Decode(&head)
	}
	if err == nil && head.Version != indexVersion {
		err = fmt.Errorf("an index of version %d", head.Version)
	}
	if err != nil {
		_ = file.Close()
		return indexHead{}, nil, nil, err
	}
	return head, decoder, &indexData{unpacked, file}, nil
}

// readHead returns the head of an index file, or an empty one if the file cannot
// be read.
func readHead(path string) indexHead {
	head, _, data, err := openIndex(path)
	if err != nil {
		return indexHead{}
	}
	_ = data.Close()
	return head
}

// reportsLoss reports whether a backup has to report that the service does not find
// the libraries of other accounts.
func (h indexHead) reportsLoss(now time.Time) bool {
	return h.HasShared && (h.SharedLost.IsZero() || now.Sub(h.SharedLost) < lossReported)
}

// noteLoss stores whether the service finds the libraries of other accounts, and
// reports whether they are given up.
func (h *indexHead) noteLoss(lost bool, now time.Time) (givenUp bool) {
	switch {
	case !lost:
		h.SharedLost = time.Time{}
	case h.SharedLost.IsZero():
		h.SharedLost = now
	}
	return lost && !h.reportsLoss(now)
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
			part.Asset.Folder = shared(part.Asset.Folder)
			shareTypes(part.Asset.Files)
			l.Assets[part.Name] = part.Asset
		case part.Master != nil:
			part.Master.Type = shared(part.Master.Type)
			shareTypes(part.Master.Files)
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

// writeIndex replaces an index file. The head is completed.
func writeIndex(path string, head indexHead, libraries map[string]*library) error {
	if path == "" {
		return nil
	}
	head.Version, head.Libraries, head.HasShared = indexVersion, len(libraries), false
	for _, l := range libraries {
		head.HasShared = head.HasShared || l.Area == sharedArea
	}
	return privatefile.ReplaceWith(path, func(w io.Writer) error {
		packed, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // fails for unknown levels only
		encoder := gob.NewEncoder(packed)
		err := encoder.Encode(head)
		for _, l := range libraries {
			err = errors.Join(err, writeLibrary(encoder, l))
		}
		if err != nil {
			return err
		}
		return packed.Close()
	})
}

func shareTypes(files []file) {
	for i := range files {
		files[i].Type = shared(files[i].Type)
	}
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
