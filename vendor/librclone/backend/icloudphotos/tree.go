package icloudphotos

import (
	"cmp"
	"fmt"
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"

	"github.com/rclone/rclone/fs"
)

// The top folders other than those of the libraries.
const (
	albumsFolder    = "Albums"
	favoritesFolder = "Favorites"
	hiddenFolder    = "Hidden"
	deletedFolder   = "Recently Deleted"

	sharedAlbumsFolder = "Shared Albums"

	// sharedLibrary is the top folder of the first shared library.
	sharedLibrary = "Shared Library"
)

// manifestName is the name of the file that lists the photos of an album, for
// destinations without symbolic links.
const manifestName = "album.txt"

// tree is the tree of the folders of the libraries. The entries of a folder are
// generated when it is listed.
type tree struct {
	folders map[string]*folder // by path, without a leading slash
}

// folder is a folder of the tree.
type folder struct {
	folders []string      // the names of the folders in it
	assets  []member      // the assets whose files are in it
	links   []assetLink   // the symbolic links in it
	album   *albumMembers // the album whose manifest is in it, or nil
	failed  error         // the reason why its entries are unknown
	partial error         // the reason why entries may be missing
	note    string        // a line for the user, or ""
}

// size returns about how many entries the folder has. Most assets have one file and
// the sidecar.
func (f *folder) size() int64 {
	return int64(len(f.folders) + len(f.links) + 2*len(f.assets))
}

// member is an asset of a library.
type member struct {
	library *library
	id      string
}

func (m member) asset() *asset   { return m.library.Assets[m.id] }
func (m member) master() *master { return m.library.Masters[m.asset().Master] }

// assetLink is a symbolic link to a file of an asset.
type assetLink struct {
	member
	prefix string // of the name of the link, before the name of the file
}

// albumMembers is an album with its photos in order.
type albumMembers struct {
	name    string
	members []member
	unknown int // the number of photos that no library has
}

// topFolders returns the names of the top folders.
func (f *Fs) topFolders(found []foundZone) []string {
	names := []string{albumsFolder, favoritesFolder, hiddenFolder}
	for _, name := range libraryNames(found) {
		names = append(names, name)
	}
	if f.opt.Deleted == includeDeleted {
		names = append(names, deletedFolder)
	}
	if f.albumsErr != nil || f.albumLoss != nil || slices.ContainsFunc(found, func(zone foundZone) bool { return zone.Area == sharedAlbumArea }) {
		names = append(names, sharedAlbumsFolder)
	}
	if f.sharedErr != nil && !slices.Contains(names, sharedLibrary) {
		names = append(names, sharedLibrary)
	}
	slices.Sort(names)
	return names
}

func (f *Fs) newTree(found []foundZone, libraries []*library) *tree {
	t := &tree{folders: map[string]*folder{}}
	for _, name := range f.topFolders(found) {
		t.at(name)
	}
	if f.albumsErr != nil {
		t.at(sharedAlbumsFolder).failed = f.albumsErr
	}
	if f.albumLoss != nil {
		t.at(sharedAlbumsFolder).partial = f.albumLoss
	}
	if f.sharedErr != nil {
		t.at(sharedLibrary).partial = f.sharedErr
	}
	tops := libraryNames(found)
	for _, l := range libraries {
		top := tops[l.key()]
		if l.Area == sharedAlbumArea {
			top = path.Join(sharedAlbumsFolder, l.Given)
		}
		if l.failed != nil {
			t.at(top).failed = l.failed
			continue
		}
		place := t.at(top)
		place.note = l.note
		if l.partial != nil {
			place.partial = l.partial
		}
		within := "" // the folder of the library in the top folders that libraries share
		if l.Name != primaryZone {
			within = top
		}
		for id, a := range l.Assets {
			m := member{l, id}
			switch {
			case !a.Deleted:
				place := t.at(path.Join(top, a.Folder))
				place.assets = append(place.assets, m)
			case f.opt.Deleted == includeDeleted:
				place := t.at(path.Join(deletedFolder, within, a.Folder))
				place.assets = append(place.assets, m)
			}
			if a.Deleted || m.master() == nil {
				continue
			}
			month := strings.ReplaceAll(a.Folder, "/", "-")
			if month != "" {
				month += " "
			}
			if a.Favorite {
				place := t.at(path.Join(favoritesFolder, within))
				place.links = append(place.links, assetLink{m, month})
			}
			if a.Hidden {
				place := t.at(path.Join(hiddenFolder, within))
				place.links = append(place.links, assetLink{m, month})
			}
		}
		t.addAlbums(l)
	}
	for _, place := range t.folders {
		slices.Sort(place.folders)
		slices.SortFunc(place.assets, func(a, b member) int { return strings.Compare(a.id, b.id) })
	}
	return t
}

// at returns the folder at a path. It creates the folder and its parents if they
// do not exist.
func (t *tree) at(dir string) *folder {
	if known := t.folders[dir]; known != nil {
		return known
	}
	made := new(folder)
	t.folders[dir] = made
	if dir != "" {
		above := t.at(parent(dir))
		above.folders = append(above.folders, path.Base(dir))
	}
	return made
}

// parent returns the path of the folder that contains dir, "" for the top folder.
func parent(dir string) string {
	if above := path.Dir(dir); above != "." {
		return above
	}
	return ""
}

// addAlbums adds the albums of the primary library.
func (t *tree) addAlbums(l *library) {
	if l.Name != primaryZone {
		return
	}
	t.at(albumsFolder).partial = l.albumsErr
	members := map[string][]*relation{}
	for _, r := range l.Relations {
		members[r.Album] = append(members[r.Album], r)
	}
	for id, a := range l.Albums {
		place := t.at(l.albumPath(id))
		if a.Folder {
			continue
		}
		place.partial, place.note = l.membersErr[id], l.membersNote[id]
		album := &albumMembers{name: a.Name}
		slices.SortFunc(members[id], func(a, b *relation) int {
			return cmp.Or(cmp.Compare(a.Position, b.Position), strings.Compare(a.Asset, b.Asset))
		})
		for _, r := range members[id] {
			switch m := (member{l, r.Asset}); {
			case m.asset() == nil:
				album.unknown++
			case !m.asset().Deleted && m.master() != nil:
				album.members = append(album.members, m)
				place.links = append(place.links, assetLink{m, fmt.Sprintf("%04d ", len(album.members))})
			}
		}
		place.album = album
	}
}

// parentOf returns the record name of the folder of an album, or "" for the top. An
// unknown folder stands for the top. Of folders that contain each other, the first by
// record name is at the top.
func (l *library) parentOf(id string) string {
	parent := l.Albums[id].Parent
	if l.Albums[parent] == nil {
		return ""
	}
	first := id
	for at := range l.above(id) {
		if at == id {
			if first == id {
				return ""
			}
			break
		}
		first = min(first, at)
	}
	return parent
}

// above returns the record names of the folders above an album, at most as many as
// there are albums, because folders can contain each other.
func (l *library) above(id string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for range l.Albums {
			id = l.Albums[id].Parent
			if l.Albums[id] == nil || !yield(id) {
				return
			}
		}
	}
}

// albumPath returns the path of an album.
func (l *library) albumPath(id string) string {
	var parts []string
	for ; id != ""; id = l.parentOf(id) {
		parts = append(parts, l.Albums[id].Given)
	}
	slices.Reverse(parts)
	return path.Join(append([]string{albumsFolder}, parts...)...)
}

// entries returns the entries of a folder of the tree.
func (f *Fs) entries(dir string, at *folder, tops map[string]string) fs.DirEntries {
	entries := fs.DirEntries{}
	for _, name := range at.folders {
		within := path.Join(dir, name)
		entries = append(entries, &directory{fs.NewDir(f.remote(within), unknownTime), f.tree.folders[within].size()})
	}
	for _, m := range at.assets {
		if m.master() == nil {
			entries = append(entries, &invalid{entry{f, f.remote(path.Join(dir, clean(m.id))), m.asset().taken()},
				finalError(apierr.KindDamaged, "the service does not return the original of this photo", "check on icloud.com whether the photo opens")})
			continue
		}
		entries = append(entries, f.files(dir, m)...)
	}
	for _, link := range at.links {
		name := f.mainFile(link.member)
		if name == "" {
			continue
		}
		target := path.Join(tops[link.library.key()], link.asset().Folder, name)
		up := strings.Repeat("../", strings.Count(dir, "/")+1)
		entries = append(entries, &Link{entry{f, f.remote(path.Join(dir, link.prefix+name)), link.asset().taken()}, up + target})
	}
	if at.album != nil {
		entries = append(entries, f.text(path.Join(dir, manifestName), unknownTime, func() []byte { return f.manifest(at.album, tops) }))
	}
	return entries
}

// mainFile returns the name of the file of an asset that links refer to: the
// edited version, or else the original. It returns "" for an asset without files.
func (f *Fs) mainFile(m member) string {
	files := slices.DeleteFunc(m.asset().namedFiles(m.id, m.master(), f.opt.Versions), func(f namedFile) bool { return f.Size == noSize })
	for _, kind := range []fileKind{editedVideo, editedImage, original} {
		for _, file := range files {
			if file.Kind == kind && (kind != editedVideo || m.master().isVideo()) {
				return file.name
			}
		}
	}
	if len(files) == 0 {
		return ""
	}
	return files[0].name
}

// files returns the entries of the files of an asset.
func (f *Fs) files(dir string, m member) fs.DirEntries {
	var entries fs.DirEntries
	a, master := m.asset(), m.master()
	files := a.namedFiles(m.id, master, f.opt.Versions)
	unreadable := func(name, why string) *invalid {
		advice := "if a device is still uploading it, a later backup will save it"
		return &invalid{entry{f, f.remote(path.Join(dir, name)), a.taken()}, finalError(apierr.KindDamaged, why, advice)}
	}
	if len(files) == 0 {
		return fs.DirEntries{unreadable(a.Stem, "the service has no content for this photo")}
	}
	isEdited := slices.ContainsFunc(files, func(f namedFile) bool { return f.Kind == editedImage || f.Kind == editedVideo })
	if !isEdited && f.opt.Versions != "original" && a.awaitsEdited(time.Now()) {
		_, extension := master.split(m.id)
		entries = append(entries, unreadable(a.Stem+editedMark+extension, "the photo was edited, and the service does not have the edited version yet"))
	}
	if !master.has(original) && (f.opt.Versions != "edited" || !isEdited) {
		_, extension := master.split(m.id)
		entries = append(entries, unreadable(a.Stem+extension, "the service does not have the original of this photo"))
	}
	for _, file := range files {
		if file.Size == noSize {
			entries = append(entries, unreadable(file.name, "the service reports no valid size of this file"))
			continue
		}
		record := m.id
		if kinds[file.Kind].ofMaster {
			record = a.Master
		}
		remote := path.Join(dir, file.name)
		entries = append(entries, &Object{entry{f, f.remote(remote), a.taken()}, content{
			Zone: &m.library.zone, Record: record, Field: kinds[file.Kind].prefix + "Res",
			Version: file.Checksum, Size: file.Size,
		}})
	}
	return append(entries, f.text(path.Join(dir, files[0].name+sidecarExtension), a.taken(), func() []byte { return a.sidecar(m.id, master) }))
}

// manifest returns the manifest of an album: the paths of its photos.
func (f *Fs) manifest(album *albumMembers, tops map[string]string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", clean(album.name))
	for _, m := range album.members {
		if name := f.mainFile(m); name != "" {
			b.WriteString(path.Join(tops[m.library.key()], m.asset().Folder, name) + "\n")
		}
	}
	if album.unknown > 0 {
		fmt.Fprintf(&b, "# %d more are in no library of this account\n", album.unknown)
	}
	return []byte(b.String())
}
