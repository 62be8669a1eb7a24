package icloudphotos

import (
	"compress/gzip"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/privatefile"
)

// indexVersion is the version of the format of the index file. It changes when a
// library gets a field that only a complete listing can fill, or if a field is
// renamed.
const indexVersion = 3

// The index file is a sequence of small values, because the encoder and the
// decoder hold one value in memory: an indexHead, and for each library an
// indexPart for each record, followed by an indexPart with the rest of the
// library.
type (
	indexHead struct {
		Version, Libraries int
		Shared             map[string]time.Time // by key of a shared library: when the service first did not list it; zero if it does
		Counted            time.Time            // when Collections were counted
		Collections        []Collection         // what the libraries have
		Albums             map[string]seenAlbum // by ID of a shared album
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

// forgetWait is how long ForgetIndex waits for a process that updates the index.
const forgetWait = 10 * time.Second

// ForgetIndex removes the index of a session, which contains titles and places of
// photos. The lock file is kept, because other processes may be waiting for it.
func ForgetIndex(ctx context.Context, sessionFile string) error {
	path := indexFile(sessionFile)
	var lockErr error
	if _, err := os.Stat(path + ".lock"); err == nil { // without it, no process has made an index
		waiting, stop := context.WithTimeout(ctx, forgetWait)
		defer stop()
		var unlock func()
		if unlock, lockErr = privatefile.Lock(waiting, path); lockErr == nil {
			defer unlock()
		}
	}
	err := privatefile.Remove(path)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return apierr.Newf(apierr.KindBadConfig, "", "", "the index of the photo library, %q, cannot be removed", path).
			From(privatefile.WithoutPath(err)).Because(apierr.CauseStateFolder).Advise("remove it by hand, because it contains the titles and places of photos")
	case errors.Is(lockErr, context.DeadlineExceeded):
		return apierr.Newf(apierr.KindBadConfig, "", "", "a running backup may store the index of the photo library, %q, again", path).
			Because(apierr.CauseStateFolder).Advise("remove it by hand when the backup has ended")
	}
	return nil // after any other failure of the lock, the file is removed all the same
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
	head.Version, head.Libraries = indexVersion, len(libraries)
	lost, lostAlbums := head.Shared, head.Albums
	head.Shared, head.Albums = map[string]time.Time{}, map[string]seenAlbum{}
	for _, l := range libraries {
		switch {
		case l.Area == sharedAlbumArea:
			head.Albums[l.Name] = seenAlbum{Folder: l.Given, Gone: lostAlbums[l.Name].Gone}
		case l.Name != primaryZone:
			head.Shared[l.key()] = lost[l.key()]
		}
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
