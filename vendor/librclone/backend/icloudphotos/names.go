package icloudphotos

import (
	"cmp"
	"hash/maphash"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"
)

// fileKind is the role of a file of an asset. The index stores its value.
type fileKind uint8

const (
	original fileKind = iota
	alternative
	liveVideo
	editedImage
	editedVideo
	adjustments
)

// kinds describes the kinds of files.
var kinds = [...]struct {
	prefix    string // of the names of the fields that describe the file
	ofMaster  bool   // the fields are those of the master, not of the asset
	mark      string // between the stem and the extension of the file name
	extension string // of the file name; "" for the extension of the file's type
}{
	original:    {"resOriginal", true, "", ""},
	alternative: {"resOriginalAlt", true, "", ""},
	liveVideo:   {"resOriginalVidCompl", true, "", ".MOV"},
	editedImage: {"resJPEGFull", false, editedMark, ""},
	editedVideo: {"resVidFull", false, editedMark, ""},
	adjustments: {"resSidecar", false, "", ".AAE"},
}

// sidecarExtension is the extension of the files with the metadata.
const sidecarExtension = ".xmp"

// The marks in the names of files that would have the same name as another file
// of the asset without them.
const (
	editedMark      = " (edited)"
	alternativeMark = " (alternative)"
	liveMark        = " (live)"
)

// extensions are the file name extensions by uniform type identifier.
var extensions = map[string]string{
	"public.jpeg": ".JPG", "public.png": ".PNG", "public.heic": ".HEIC", "public.heif": ".HEIF", "public.tiff": ".TIFF",
	"public.mpeg-4": ".MP4", "com.apple.quicktime-movie": ".MOV", "com.compuserve.gif": ".GIF",
	"com.apple.m4v-video": ".M4V", "public.avi": ".AVI", "public.avif": ".AVIF", "org.webmproject.webp": ".WEBP",
	"com.adobe.raw-image": ".DNG", "com.canon.cr2-raw-image": ".CR2", "com.canon.cr3-raw-image": ".CR3",
	"com.canon.crw-raw-image": ".CRW", "com.nikon.raw-image": ".NEF", "com.nikon.nrw-raw-image": ".NRW",
	"com.sony.arw-raw-image": ".ARW", "com.fuji.raw-image": ".RAF", "com.panasonic.rw2-raw-image": ".RW2",
	"com.olympus.raw-image": ".ORF", "com.olympus.or-raw-image": ".ORF", "com.pentax.raw-image": ".PEF",
}

// extensionOf returns the extension for a uniform type identifier, or fallback if
// the identifier is unknown.
func extensionOf(identifier, fallback string) string {
	if extension, ok := extensions[identifier]; ok {
		return extension
	}
	return fallback
}

// isVideo reports whether the original is a video.
func (m *master) isVideo() bool {
	identifier := m.Type
	for _, f := range m.Files {
		if f.Kind == original && f.Type != "" {
			identifier = f.Type
		}
	}
	return strings.Contains(identifier, "movie") || strings.Contains(identifier, "video") ||
		identifier == "public.mpeg-4" || identifier == "public.avi"
}

// split returns the stem and the extension of the name of the original. If the
// original has no name, the stem is id.
func (m *master) split(id string) (stem, extension string) {
	filename := clean(m.Filename)
	extension = path.Ext(filename)
	if len(extension) > maxExtension {
		extension = ""
	}
	stem = strings.TrimSuffix(filename, extension)
	if stem == "" {
		stem = clean(id)
	}
	if extension == "" || extension == "." {
		extension = extensionOf(m.Type, "")
	}
	return shortened(stem), extension
}

// The maximum lengths of the parts of a name in bytes. Together with marks, IDs and
// the prefixes of links, they are at most the 255 bytes of a name in most file
// systems.
const (
	maxStem      = 160
	maxExtension = 16
)

// shortened returns a stem, or the beginning of one that is too long.
func shortened(stem string) string {
	if len(stem) <= maxStem {
		return stem
	}
	return strings.TrimSpace(strings.ToValidUTF8(stem[:maxStem], ""))
}

// has reports whether the service has a file of the given kind.
func (m *master) has(kind fileKind) bool {
	return slices.ContainsFunc(m.Files, func(f file) bool { return f.Kind == kind })
}

// clean returns name as a valid path element.
func clean(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r == '/' || r == 0:
			return '_'
		case r < ' ' || r == 0x7f:
			return -1
		}
		return r
	}, norm.NFC.String(name))
	if name == "." || name == ".." {
		return "_"
	}
	return strings.TrimSpace(name)
}

// namedFile is a file of an asset with its name in the tree.
type namedFile struct {
	file
	name string
}

// namedFiles returns the files of an asset that the option photos_versions
// selects: "all", the "original" ones, or the "edited" ones in place of the
// originals.
func (a *asset) namedFiles(id string, m *master, versions string) []namedFile {
	stem, extension := m.split(id)
	if a.Stem != "" {
		stem = a.Stem
	}
	var edited []file
	for _, f := range a.Files {
		if f.Kind != editedImage || !m.isVideo() { // the edited image of a video is a poster
			edited = append(edited, f)
		}
	}
	has := func(kind fileKind) bool {
		return slices.ContainsFunc(edited, func(f file) bool { return f.Kind == kind && f.Size != noSize })
	}
	var files []namedFile
	taken := map[string]bool{}
	for _, f := range append(slices.Clone(m.Files), edited...) {
		isOriginal := kinds[f.Kind].ofMaster
		replaced := f.Kind == liveVideo && has(editedVideo) || f.Kind != liveVideo && (has(editedImage) || m.isVideo() && has(editedVideo))
		if versions == "original" && !isOriginal || versions == "edited" && (f.Kind == adjustments || isOriginal && replaced) {
			continue
		}
		ending := kinds[f.Kind].extension
		switch {
		case f.Kind == original:
			ending = extension
		case ending == "" || f.Kind == liveVideo:
			ending = extensionOf(f.Type, cmp.Or(ending, extension))
		}
		name := stem + kinds[f.Kind].mark + ending
		if f.Kind == alternative && strings.EqualFold(ending, extension) {
			name = stem + alternativeMark + ending
		}
		if f.Kind == liveVideo && strings.EqualFold(ending, extension) {
			name = stem + liveMark + ending
		}
		if taken[strings.ToLower(name)] { // two files of unknown types
			name = stem + kinds[f.Kind].mark + " (" + kinds[f.Kind].prefix + ")" + ending
		}
		taken[strings.ToLower(name)] = true
		files = append(files, namedFile{f, name})
	}
	return files
}

// folder returns the folder of an asset in its library: the month in which the
// photo was taken, in the time zone of the place.
func (a *asset) folder(layout string) string {
	if layout == flat {
		return ""
	}
	return shared(a.taken().Format("2006/01"))
}

// taken returns when the photo was taken, in the time zone of the place.
func (a *asset) taken() time.Time {
	zone := time.UTC
	if a.Offset != 0 && a.Offset > -86400 && a.Offset < 86400 {
		zone = time.FixedZone("", int(a.Offset))
	}
	return time.UnixMilli(a.Taken).In(zone)
}

// ambiguous reports whether another asset could have a file with the same name: the
// stem ends in a mark, or the file has the extension of a sidecar.
func ambiguous(stem, extension string) bool {
	if strings.EqualFold(extension, sidecarExtension) {
		return true
	}
	for _, mark := range []string{editedMark, alternativeMark, liveMark} {
		if strings.HasSuffix(strings.ToLower(stem), mark) {
			return true
		}
	}
	return false
}

// nameAssets chooses the stem of each asset that has none for its folder. The
// stem is that of the original, with the ID of the asset if another asset in the
// folder has the same stem. An asset keeps its stem even if the other asset is
// deleted. New assets are named in the order in which they were added to the
// library, so that most names stay the same if the index is lost.
func (l *library) nameAssets(layout string) {
	// A digest of the name takes less memory. Of two equal digests, one gets the ID.
	taken := make(map[uint64]bool, len(l.Assets))
	seed := maphash.MakeSeed()
	key := func(folder, stem string) uint64 { return maphash.String(seed, folder+"\x00"+strings.ToLower(stem)) }
	var unnamed []string
	for id, a := range l.Assets {
		if folder := a.folder(layout); a.Stem == "" || a.Folder != folder {
			a.Folder, a.Stem = folder, ""
			unnamed = append(unnamed, id)
			continue
		}
		taken[key(a.Folder, a.Stem)] = true
	}
	l.unsaved = l.unsaved || len(unnamed) > 0
	slices.SortFunc(unnamed, func(x, y string) int {
		return cmp.Or(cmp.Compare(l.Assets[x].Added, l.Assets[y].Added), strings.Compare(x, y))
	})
	for _, id := range unnamed {
		a := l.Assets[id]
		m := l.Masters[a.Master]
		if m == nil {
			continue
		}
		stem, extension := m.split(id)
		if ambiguous(stem, extension) || taken[key(a.Folder, stem)] {
			stem = withID(stem, id, func(longer string) bool { return taken[key(a.Folder, longer)] })
		}
		a.Stem = stem
		taken[key(a.Folder, stem)] = true
	}
}

// nameAlbums chooses the folder name of each album that has none: the name of the
// album, with the ID if another album in the same folder has the name.
func (l *library) nameAlbums() {
	taken := map[string]bool{}
	key := func(id, name string) string { return l.parentOf(id) + "\x00" + strings.ToLower(name) }
	var unnamed []string
	for _, id := range slices.Sorted(maps.Keys(l.Albums)) {
		a := l.Albums[id]
		if a.Given == "" || taken[key(id, a.Given)] {
			unnamed = append(unnamed, id)
			continue
		}
		taken[key(id, a.Given)] = true
	}
	l.unsaved = l.unsaved || len(unnamed) > 0
	for _, id := range unnamed {
		a := l.Albums[id]
		a.Given = folderName(a.Name, id, func(name string) bool { return taken[key(id, name)] })
		taken[key(id, a.Given)] = true
	}
}

// folderName returns the name of the folder of an album: the name of the album,
// with the ID if the name is taken.
func folderName(name, id string, taken func(string) bool) string {
	name = cmp.Or(shortened(clean(name)), "_")
	if taken(name) {
		return withID(name, id, taken)
	}
	return name
}

// withID returns name with the beginning of the ID, or with the whole ID if the
// former is taken.
func withID(name, id string, taken func(string) bool) string {
	id = clean(id)
	short := name + " (" + id[:min(len(id), 8)] + ")"
	if !taken(short) {
		return short
	}
	return name + " (" + id + ")"
}

// libraryNames returns the names of the top folders of libraries by the keys of
// their zones. The names do not depend on the order of the zones. Shared albums have
// no top folder of their own.
func libraryNames(found []foundZone) map[string]string {
	names := map[string]string{}
	isTaken := func(name string) bool { return slices.Contains(slices.Collect(maps.Values(names)), name) }
	byKey := func(a, b foundZone) int { return strings.Compare(a.key(), b.key()) }
	for _, zone := range slices.SortedFunc(slices.Values(found), byKey) {
		switch name := sharedLibrary; {
		case zone.Area == sharedAlbumArea:
		case zone.Name == primaryZone:
			names[zone.key()] = "Library"
		case isTaken(name):
			names[zone.key()] = withID(name, strings.TrimPrefix(zone.Name, sharedPrefix+"-"), isTaken)
		default:
			names[zone.key()] = name
		}
	}
	return names
}
