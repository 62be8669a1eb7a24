package icloudphotos

import (
	"context"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/rclone/rclone/fs"
)

// Collection is a library, or a shared album, with the numbers of its items.
type Collection struct {
	Name   string  `json:"name"`   // of its folder
	Counts []Count `json:"counts"` // those above 0, in the order in which to show them
	Bytes  int64   `json:"bytes"`  // of the files of its items, each once, without those recently deleted
}

// Count is the number of items of a kind.
type Count struct {
	Kind   string `json:"kind"`
	Number int    `json:"number"`
}

// screenshots is the name in counts of the index of screenshots.
// https://github.com/icloud-photos-downloader/icloud_photos_downloader/blob/master/src/pyicloud_ipd/services/photos.py
const screenshots = "CPLAssetInSmartAlbumByAssetDate:Screenshot"

// Summary returns the libraries and the shared albums, without those that cannot
// be listed. Their screenshots are not counted after an error that ends the run.
func (f *Fs) Summary(ctx context.Context) ([]Collection, error) {
	_, found, err := f.loaded(ctx)
	if err != nil {
		return nil, err
	}
	ended := false
	return summariesWith(found, f.libraries, func(l *library) int {
		if ended {
			return 0
		}
		number, err := f.screenshots(ctx, l)
		ended = err != nil && (endsRun(err) || ctx.Err() != nil)
		return number
	}), nil
}

// summaries returns what the index stores about the libraries: the numbers of
// their items without the screenshots, which are counted with a request.
func summaries(found []foundZone, libraries []*library) []Collection {
	return summariesWith(found, libraries, func(*library) int { return 0 })
}

// summariesWith returns the libraries that could be listed, sorted by name.
// screenshots returns the number of screenshots in a library.
func summariesWith(found []foundZone, libraries []*library, screenshots func(*library) int) []Collection {
	tops := libraryNames(found)
	collections := []Collection{}
	for _, l := range libraries {
		if l.failed != nil {
			continue
		}
		name := tops[l.key()]
		if l.Area == sharedAlbumArea {
			name = path.Join(sharedAlbumsFolder, l.Given)
		}
		collections = append(collections, l.summary(name, screenshots(l)))
	}
	slices.SortFunc(collections, func(a, b Collection) int { return strings.Compare(a.Name, b.Name) })
	return collections
}

// LastSummary is what the last backup or scan of the libraries has counted, without
// screenshots.
type LastSummary struct {
	Counted     time.Time    `json:"counted"`
	Collections []Collection `json:"collections"`
}

// ReadLastSummary returns what the last backup or scan with a session has counted, or
// nil if there was none.
func ReadLastSummary(sessionFile string) *LastSummary {
	head := readHead(indexFile(sessionFile))
	if head.Counted.IsZero() {
		return nil
	}
	collections := append([]Collection{}, head.Collections...)
	for i := range collections { // gob does not store empty lists, and in JSON nil is null
		collections[i].Counts = append([]Count{}, collections[i].Counts...)
	}
	return &LastSummary{head.Counted.UTC(), collections}
}

// screenshots returns the number of screenshots in a library according to the
// service, or 0 if it does not count them.
func (f *Fs) screenshots(ctx context.Context, l *library) (int, error) {
	if l.Area == sharedAlbumArea {
		return 0, nil
	}
	counted, err := counts(ctx, f.service, l.zone, []string{screenshots})
	if err != nil {
		fs.Debugf(nil, "icloud photos: the number of screenshots is unknown: %v", err)
	}
	return counted[screenshots], err
}

// sizeOf returns the known sizes of files together.
func sizeOf(files []file) int64 {
	var size int64
	for _, f := range files {
		size += max(0, f.Size)
	}
	return size
}

func (l *library) summary(name string, screenshots int) Collection {
	var photos, videos, live, raw, edited, favorites, hidden, deleted, albums int
	var bytes int64
	bursts := map[string]bool{}
	masters := map[string]bool{} // those whose files were counted: duplicates share one
	for _, a := range l.Assets {
		m := l.Masters[a.Master]
		if m == nil {
			m = new(master)
		}
		has := func(kind fileKind) bool {
			is := func(f file) bool { return f.Kind == kind }
			return slices.ContainsFunc(m.Files, is) || slices.ContainsFunc(a.Files, is)
		}
		add := func(number *int, is bool) {
			if is {
				*number++
			}
		}
		add(&deleted, a.Deleted)
		if a.Deleted {
			continue
		}
		add(&videos, m.isVideo())
		add(&photos, !m.isVideo())
		add(&live, has(liveVideo))
		add(&raw, has(alternative) || strings.Contains(m.Type, "raw-image"))
		add(&edited, a.Adjusted)
		add(&favorites, a.Favorite)
		add(&hidden, a.Hidden)
		if a.Burst != "" {
			bursts[a.Burst] = true
		}
		bytes += sizeOf(a.Files)
		if !masters[a.Master] {
			masters[a.Master] = true
			bytes += sizeOf(m.Files)
		}
	}
	for _, a := range l.Albums {
		if !a.Folder {
			albums++
		}
	}
	counts := []Count{
		{"photos", photos}, {"videos", videos}, {"live photos", live}, {"RAW photos", raw}, {"bursts", len(bursts)}, {"edited", edited},
		{"screenshots", screenshots}, {"favorites", favorites}, {"hidden", hidden}, {"recently deleted", deleted}, {"albums", albums},
	}
	counts = slices.DeleteFunc(counts, func(c Count) bool { return c.Number <= 0 })
	return Collection{Name: name, Counts: counts, Bytes: bytes}
}
