package icloudphotos

import (
	"strings"
)

// library is what is known of a zone. Its exported fields are stored in the
// index.
type library struct {
	Area, Name string
	Title      string               // of a shared album
	Given      string               // the folder of a shared album, "" if none was given
	Token      string               // of the state that the library has; "" if it was not listed
	Assets     map[string]*asset    // by record name
	Masters    map[string]*master   // by record name
	Albums     map[string]*album    // by record name
	Relations  map[string]*relation // by record name
	HasDeleted bool                 // assets in Recently Deleted were listed
	Missing    map[string]int       // items of an index that were counted but not listed
	Indexed    bool                 // the service had indexed the library when it was listed
	Refused    []string             // indexes that the service does not list
	HasAlbums  bool                 // the albums were listed
	Unlisted   []string             // albums whose photos could not be listed

	zone     zoneID
	failed   error            // why there is nothing
	partial  error            // why there may be more
	noAlbum  error            // why there are no albums
	albumErr map[string]error // why an album may have more
}

// asset is a photo or a video.
type asset struct {
	Master       string
	Taken, Added int64 // milliseconds since 1970
	Offset       int64 // seconds east of UTC at the place
	Favorite     bool
	Hidden       bool
	Deleted      bool
	Main         bool // part of the index of visible assets, unless hidden or deleted
	Burst        string
	Adjusted     bool
	Files        []file   // edited versions
	Details      *details // nil if there are none

	Folder string // where the name was given
	Stem   string // the name of the files without the extension, "" if none was given
}

// details is the metadata that few assets have.
type details struct {
	Title, Text    string
	Keywords       []string
	Placed         bool
	Lat, Lon, High float64
}

// master is the originals of an asset. Duplicates of an asset share it.
type master struct {
	Filename string
	Type     string
	Files    []file
}

// file is a content of an asset.
type file struct {
	Kind     fileKind
	Size     int64
	Checksum string
	Type     string // uniform type identifier
}

type album struct {
	Name   string
	Parent string
	Folder bool
	Given  string // the name in the tree, "" if none was given
}

// relation is the membership of an asset in an album.
type relation struct {
	Asset, Album string
	Position     int64
}

func newLibrary(zone zoneID) *library {
	return &library{
		Area: zone.Area, Name: zone.Name,
		Assets: map[string]*asset{}, Masters: map[string]*master{},
		Albums: map[string]*album{}, Relations: map[string]*relation{},
		Missing: map[string]int{}, zone: zone, albumErr: map[string]error{},
	}
}

// apply adopts the state of records.
func (l *library) apply(records []record) {
	for i := range records {
		r := &records[i]
		switch {
		case r.Name == "" || r.Code != "":
		case r.Deleted || r.flag("isExpunged"):
			l.remove(r.Name)
		case r.Type == typeAsset:
			l.applyAsset(r)
		case r.Type == typeMaster:
			l.Masters[r.Name] = newMaster(r)
		case r.Type == typeAlbum:
			l.applyAlbum(r)
		case r.Type == typeRelation:
			l.applyRelation(r)
		}
	}
}

// remove forgets a record. The type of a deleted record is not reported.
func (l *library) remove(name string) {
	delete(l.Assets, name)
	delete(l.Masters, name)
	delete(l.Albums, name)
	delete(l.Relations, name)
}

func (l *library) applyAsset(r *record) {
	known := l.Assets[r.Name]
	now := newAsset(r)
	if known != nil {
		now.Folder, now.Stem, now.Main = known.Folder, known.Stem, known.Main
	}
	l.Assets[r.Name] = now
}

func (l *library) applyAlbum(r *record) {
	if r.flag("isDeleted") {
		l.remove(r.Name)
		return
	}
	name := r.words("albumNameEnc")
	if name == "" {
		return // the folder of all albums
	}
	now := &album{Name: name, Parent: r.text("parentId"), Folder: r.number("albumType") == albumOfAlbums}
	if known := l.Albums[r.Name]; known != nil && known.Name == now.Name && known.Parent == now.Parent {
		now.Given = known.Given
	}
	l.Albums[r.Name] = now
}

func (l *library) applyRelation(r *record) {
	now := &relation{Asset: r.text("itemId"), Album: r.text("containerId"), Position: r.number("position")}
	if now.Asset == "" || now.Album == "" {
		now.Asset, now.Album, _ = strings.Cut(r.Name, "-IN-")
	}
	l.Relations[r.Name] = now
}

// The bits of burstFlags that a shown photo of a burst has: chosen by the user,
// and the key photo.
// https://github.com/RhetTbull/osxphotos/blob/main/osxphotos/_constants.py
const burstShown = 8 | 16

func newAsset(r *record) *asset {
	a := &asset{
		Master: r.master(), Taken: r.number("assetDate"), Added: r.number("addedDate"), Offset: r.number("timeZoneOffset"),
		Favorite: r.flag("isFavorite"), Hidden: r.flag("isHidden"), Deleted: r.flag("isDeleted"), Burst: r.text("burstId"),
		Details: detailsOf(r),
	}
	a.Main = a.Burst == "" || r.number("burstFlags")&burstShown != 0
	adjustment := r.text("adjustmentType")
	a.Adjusted = adjustment != "" && adjustment != adjustedSlowly
	if a.Adjusted {
		a.Files = filesOf(r, editedImage, editedVideo, adjustments)
	}
	return a
}

func detailsOf(r *record) *details {
	d := details{Title: r.words("captionEnc"), Text: r.words("extendedDescEnc"), Keywords: keywordsOf(r)}
	d.Lat, d.Lon, d.High, d.Placed = placeOf(r)
	if d.Title == "" && d.Text == "" && len(d.Keywords) == 0 && !d.Placed {
		return nil
	}
	return &d
}

func newMaster(r *record) *master {
	return &master{
		Filename: r.words("filenameEnc"), Type: r.text("itemType"),
		Files: filesOf(r, original, alternative, liveVideo),
	}
}

func filesOf(r *record, wanted ...fileKind) []file {
	var files []file
	for _, kind := range wanted {
		if f, ok := r.file(kind); ok {
			files = append(files, f)
		}
	}
	return files
}

// withoutMaster returns the masters that assets refer to and that are unknown.
func (l *library) withoutMaster() []string {
	var names []string
	seen := map[string]bool{}
	for _, a := range l.Assets {
		if a.Master != "" && l.Masters[a.Master] == nil && !seen[a.Master] {
			seen[a.Master] = true
			names = append(names, a.Master)
		}
	}
	return names
}

// tidy forgets masters and memberships without an asset.
func (l *library) tidy() {
	used := make(map[string]bool, len(l.Masters))
	for _, a := range l.Assets {
		used[a.Master] = true
	}
	for name := range l.Masters {
		if !used[name] {
			delete(l.Masters, name)
		}
	}
	for name, r := range l.Relations {
		if l.Albums[r.Album] == nil {
			delete(l.Relations, name)
		}
	}
}
