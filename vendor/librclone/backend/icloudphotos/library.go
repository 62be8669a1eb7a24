package icloudphotos

import (
	"cmp"
	"maps"
	"reflect"
	"strings"
	"time"
	"unique"
)

// library is the state of a photo library or of a shared album. Its exported
// fields are stored in the index.
type library struct {
	Area, Name string               // of the zone
	Title      string               // of a shared album
	Given      string               // the name of the folder of a shared album; "" until it is chosen
	Token      string               // the sync token of this state; "" if the service has returned none or does not accept it
	Assets     map[string]*asset    // by record name
	Masters    map[string]*master   // by record name
	Albums     map[string]*album    // by record name
	Relations  map[string]*relation // by record name
	HasDeleted bool                 // assets in Recently Deleted were listed
	Listed     time.Time            // when the library was last listed completely
	Synced     time.Time            // when all changes of the masters were last known
	Unsure     bool                 // some masters may have changed since Synced
	Missing    map[string]int       // by index: the items that the service counts but does not list
	Doubt      string               // the reason why photos may be missing, or ""
	DoubtSince time.Time            // when Doubt was first found
	Indexed    bool                 // the service had indexed the library when it was listed
	Refused    []string             // the indexes that the service does not list
	HasAlbums  bool                 // the albums were listed
	Unlisted   []string             // the record names of albums whose photos have to be listed

	unsaved    bool     // the index has another state
	uncounted  []string // the indexes that the service does not count
	changed    bool     // the library has changed during a listing whose changes are unknown
	zone       zoneID
	failed     error            // the reason why the library could not be listed
	partial    error            // the reason why photos may be missing
	note       string           // in place of partial: a line for the user
	albumsErr  error            // the reason why the albums could not be listed
	membersErr map[string]error // by album: the reason why its photos could not be listed

	membersNote map[string]string // by album: a line for the user
}

// key returns the key of the library in the index.
func (l *library) key() string { return zoneID{Area: l.Area, Name: l.Name}.key() }

// asset is a photo or a video.
type asset struct {
	Master       string // the record name
	Taken, Added int64  // milliseconds since 1970
	Offset       int64  // seconds east of UTC where the photo was taken
	Modified     int64  // milliseconds since 1970; if the service does not report it, when the edit was first seen, or 0
	Favorite     bool
	Hidden       bool
	Deleted      bool   // in Recently Deleted
	Main         bool   // in the index of visible assets unless hidden or deleted
	Burst        string // the ID of the burst, or ""
	Live         bool   // it is a live photo, whose master has a video
	Adjusted     bool
	Files        []file   // the edited versions
	Details      *details // nil if there are none

	Folder string // the folder for which Stem was chosen
	Stem   string // the name of the files without the extension; "" until it is chosen
}

// details is the metadata that few assets have.
type details struct {
	Title, Text    string
	Keywords       []string
	Placed         bool    // the coordinates are known
	Lat, Lon, High float64 // High is the altitude in meters
}

// master is the record of the original files of an asset. Duplicates of an asset
// share it.
type master struct {
	Modified int64 // milliseconds since 1970; 0 if the service does not report it
	Filename string
	Type     string
	Files    []file
}

// file is a file of an asset, as its record describes it.
type file struct {
	Kind     fileKind
	Size     int64
	Checksum string
	Type     string // uniform type identifier
}

// album is an album, or a folder of albums.
type album struct {
	Name   string
	Parent string // the record name of the folder
	Folder bool
	Given  string // the name in the tree; "" until it is chosen

	Lacks      int   // how many more photos the service counts than it lists
	LacksSince int64 // when Lacks was first an error, in milliseconds since 1970; 0 if it is none
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
		Missing: map[string]int{}, zone: zone, membersErr: map[string]error{}, membersNote: map[string]string{}, unsaved: true,
	}
}

// apply updates the library with records of the service.
func (l *library) apply(records []record) {
	l.unsaved = l.unsaved || len(records) > 0
	for i := range records {
		r := &records[i]
		switch {
		case r.Name == "" || r.Code != "":
		case r.Deleted || r.flag("isExpunged"), r.Type == typeAsset && r.isSparse():
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

// remove removes a record. The service does not report the type of a deleted
// record.
func (l *library) remove(name string) {
	delete(l.Assets, name)
	delete(l.Masters, name)
	delete(l.Albums, name)
	delete(l.Relations, name)
}

func (l *library) applyAsset(r *record) {
	a := newAsset(r)
	if known := l.Assets[r.Name]; known != nil {
		a.Folder, a.Stem, a.Main = known.Folder, known.Stem, known.Main
		a.keepModified(known)
	}
	l.Assets[r.Name] = a
}

func (l *library) applyAlbum(r *record) {
	if r.flag("isDeleted") {
		l.remove(r.Name)
		return
	}
	if strings.HasPrefix(r.Name, rootFolders) {
		return
	}
	name := r.encodedText("albumNameEnc")
	a := &album{Name: name, Parent: r.text("parentId"), Folder: r.number("albumType") == albumOfAlbums}
	if known := l.Albums[r.Name]; known != nil {
		a.keep(known)
	}
	l.Albums[r.Name] = a
}

// keep takes from an earlier state what the service does not return.
func (a *album) keep(earlier *album) {
	a.Lacks, a.LacksSince = earlier.Lacks, earlier.LacksSince
	if earlier.Name == a.Name && earlier.Parent == a.Parent {
		a.Given = earlier.Given
	}
}

func (l *library) applyRelation(r *record) {
	if r.flag("isDeleted") {
		l.remove(r.Name)
		return
	}
	membership := &relation{Asset: r.text("itemId"), Album: r.text("containerId"), Position: r.number("position")}
	if membership.Asset == "" || membership.Album == "" {
		membership.Asset, membership.Album, _ = strings.Cut(r.Name, "-IN-")
	}
	l.Relations[r.Name] = membership
}

// burstShown are the bits of burstFlags that mark a photo of a burst as shown: 8
// if the user has chosen it, 16 if it is the key photo.
// https://github.com/RhetTbull/osxphotos/blob/main/osxphotos/_constants.py
const burstShown = 8 | 16

func newAsset(r *record) *asset {
	a := &asset{
		Master: r.master(), Taken: r.time("assetDate"), Added: r.time("addedDate"), Offset: r.number("timeZoneOffset"),
		Favorite: r.flag("isFavorite"), Hidden: r.flag("isHidden"), Deleted: r.flag("isDeleted"), Burst: r.text("burstId"),
		Modified: int64(r.Modified.Time), Details: detailsOf(r), Live: r.number("assetSubtypeV2") == livePhoto,
	}
	a.Main = a.Burst == "" || r.number("burstFlags")&burstShown != 0
	adjustment := r.text("adjustmentType")
	a.Adjusted = adjustment != "" && adjustment != slowMotion
	if a.Adjusted {
		a.Files = filesOf(r, editedImage, editedVideo, adjustments)
	}
	return a
}

// uploadAwaited is how long a device may take to upload all files of a photo: the video
// of a live photo after the photo was added, and the edited version after an edit. An
// adjustment that has no edited version, unlike the known one of slow-motion videos,
// is reported for as long. The service has no such limit: the time is a guess.
const uploadAwaited = 30 * 24 * time.Hour

// keepModified takes the time of the last change from an earlier state if the service
// does not report it.
func (a *asset) keepModified(earlier *asset) {
	if a.Modified == 0 && earlier.Adjusted {
		a.Modified = earlier.Modified
	}
}

// isSame reports whether the service returns the same for two states of an asset.
func (a *asset) isSame(earlier *asset) bool {
	named := *a
	named.Folder, named.Stem = earlier.Folder, earlier.Stem
	return reflect.DeepEqual(&named, earlier)
}

// noteEdits sets the time of edits for which the service does not report one.
func (l *library) noteEdits(now time.Time) {
	for _, a := range l.Assets {
		if a.Adjusted && a.Modified == 0 {
			a.Modified = now.UnixMilli()
		}
	}
}

// awaitsEdited reports whether the asset was edited and a device may still upload
// the edited version.
func (a *asset) awaitsEdited(now time.Time) bool {
	return a.Adjusted && now.Sub(time.UnixMilli(a.Modified)) < uploadAwaited
}

// shared returns a text that many assets have, with the memory of an equal one.
func shared(text string) string { return unique.Make(text).Value() }

func detailsOf(r *record) *details {
	d := details{Title: r.encodedText("captionEnc"), Text: r.encodedText("extendedDescEnc"), Keywords: keywordsOf(r)}
	d.Lat, d.Lon, d.High, d.Placed = placeOf(r)
	if d.Title == "" && d.Text == "" && len(d.Keywords) == 0 && !d.Placed {
		return nil
	}
	return &d
}

func newMaster(r *record) *master {
	return &master{
		Modified: int64(r.Modified.Time), Filename: r.encodedText("filenameEnc"), Type: shared(r.text("itemType")),
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

// isOverdue reports whether all masters have to be listed, because changes of some have
// been unknown for too long.
func (l *library) isOverdue(now time.Time) bool {
	age := now.Sub(l.Synced)
	return age < 0 || age >= uploadAwaited // with a wrong clock, Synced can be in the future
}

// keptMasters returns the masters that a new listing need not request, or nil if it has
// to request all. With a sync token, all changes were applied, so all masters are kept.
// Without it, a master is kept if it was last changed at least uploadAwaited before
// Synced, because a device may add a video until then. If the time of its change is
// unknown, that of the asset is used. A master that lacks its files is not kept.
func (l *library) keptMasters(now time.Time) map[string]*master {
	switch {
	case l.isOverdue(now):
		return nil
	case l.Token != "":
		return maps.Clone(l.Masters)
	}
	kept, recent := map[string]*master{}, map[string]bool{}
	for _, a := range l.Assets {
		m := l.Masters[a.Master]
		if m == nil || !m.has(original) || a.Live && !m.has(liveVideo) {
			continue
		}
		changed := cmp.Or(m.Modified, a.Modified, a.Added)
		if changed != 0 && l.Synced.Sub(time.UnixMilli(changed)) >= uploadAwaited {
			kept[a.Master] = m
		} else {
			recent[a.Master] = true
		}
	}
	// Duplicates share a master.
	maps.DeleteFunc(kept, func(name string, _ *master) bool { return recent[name] })
	// Looking up more than half takes as many requests as listing all.
	if 2*len(kept) < len(l.Masters) {
		return nil
	}
	return kept
}

// unknownMasters returns the names of the masters that assets refer to but that
// are not known.
func (l *library) unknownMasters() []string {
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

// prune removes masters without an asset and memberships without an album.
func (l *library) prune() {
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
