package icloudphotos

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"plakar-icloud/librclone/backend/icloud/apierr"

	"github.com/rclone/rclone/fs"
)

// The top folders beside those of the libraries.
const (
	albumsFolder    = "Albums"
	favoritesFolder = "Favorites"
	hiddenFolder    = "Hidden"
	deletedFolder   = "Recently Deleted"

	sharedAlbumsFolder = "Shared Albums"
)

// manifest is the file in the folder of an album that lists its photos, for
// places that have no symbolic links.
const manifest = "album.txt"

// tree is the folders of the libraries. Their entries are made when they are
// listed.
type tree struct {
	folders map[string]*folder // by path, without a leading slash
}

type folder struct {
	folders []string  // names
	assets  []member  // whose files are in it
	links   []linked  // to assets
	album   *gathered // whose manifest is in it
	failed  error     // why it has no entries
	partial error     // why it may have more
}

// member is an asset of a library.
type member struct {
	library *library
	id      string
}

func (m member) asset() *asset   { return m.library.Assets[m.id] }
func (m member) master() *master { return m.library.Masters[m.asset().Master] }

// linked is a symbolic link to an asset: the text before the name of the file
// that it leads to.
type linked struct {
	member
	before string
}

// gathered is an album with its photos in order.
type gathered struct {
	name    string
	members []member
	unknown int // photos that are in no library
}

// topFolders returns the names at the top.
func (f *Fs) topFolders(found []foundZone) []string {
	names := []string{albumsFolder, favoritesFolder, hiddenFolder}
	for _, name := range libraryNames(found) {
		names = append(names, name)
	}
	if f.opt.Deleted == includeDeleted {
		names = append(names, deletedFolder)
	}
	if f.noShared != nil || slices.ContainsFunc(found, func(zone foundZone) bool { return zone.Area == sharedAlbumArea }) {
		names = append(names, sharedAlbumsFolder)
	}
	slices.Sort(names)
	return names
}

func (f *Fs) newTree(found []foundZone, libraries []*library) *tree {
	t := &tree{folders: map[string]*folder{}}
	for _, name := range f.topFolders(found) {
		t.at(name)
	}
	if f.noShared != nil {
		t.at(sharedAlbumsFolder).failed = f.noShared
	}
	tops := libraryNames(found)
	for _, l := range libraries {
		top := tops[l.Name]
		if l.Area == sharedAlbumArea {
			top = path.Join(sharedAlbumsFolder, l.Given)
		}
		if l.failed != nil {
			t.at(top).failed = l.failed
			continue
		}
		t.at(top).partial = l.partial
		within := "" // the folder of the library in the folders that all libraries share
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
				place.links = append(place.links, linked{m, month})
			}
			if a.Hidden {
				place := t.at(path.Join(hiddenFolder, within))
				place.links = append(place.links, linked{m, month})
			}
		}
		t.addAlbums(l)
	}
	for _, one := range t.folders {
		slices.Sort(one.folders)
		slices.SortFunc(one.assets, func(a, b member) int { return strings.Compare(a.id, b.id) })
	}
	return t
}

// at returns a folder, after making it and those above it.
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

func parent(dir string) string {
	if above := path.Dir(dir); above != "." {
		return above
	}
	return ""
}

func (t *tree) addAlbums(l *library) {
	if l.Name != primaryZone {
		return
	}
	t.at(albumsFolder).partial = l.noAlbum
	members := map[string][]*relation{}
	for _, r := range l.Relations {
		members[r.Album] = append(members[r.Album], r)
	}
	for id, a := range l.Albums {
		place := t.at(l.albumPath(id))
		if a.Folder {
			continue
		}
		place.partial = l.albumErr[id]
		of := &gathered{name: a.Name}
		slices.SortFunc(members[id], func(a, b *relation) int {
			return cmp.Or(cmp.Compare(a.Position, b.Position), strings.Compare(a.Asset, b.Asset))
		})
		for _, r := range members[id] {
			switch m := (member{l, r.Asset}); {
			case m.asset() == nil:
				of.unknown++
			case !m.asset().Deleted && m.master() != nil:
				of.members = append(of.members, m)
				place.links = append(place.links, linked{m, fmt.Sprintf("%04d ", len(of.members))})
			}
		}
		place.album = of
	}
}

// albumPath returns the path of an album. An album whose folder is unknown is at
// the top, as one is that is in itself.
func (l *library) albumPath(id string) string {
	var parts []string
	seen := map[string]bool{}
	for at := l.Albums[id]; at != nil && !seen[id]; at = l.Albums[id] {
		seen[id] = true
		parts = append(parts, at.Given)
		id = at.Parent
	}
	slices.Reverse(parts)
	return path.Join(append([]string{albumsFolder}, parts...)...)
}

// entries returns the entries of a folder of the tree.
func (f *Fs) entries(dir string, at *folder, tops map[string]string) fs.DirEntries {
	entries := fs.DirEntries{}
	for _, name := range at.folders {
		entries = append(entries, fs.NewDir(f.remote(path.Join(dir, name)), unknownTime))
	}
	for _, m := range at.assets {
		if m.master() == nil {
			entries = append(entries, &invalid{entry{f, f.remote(path.Join(dir, clean(m.id))), m.asset().taken()},
				finalError(apierr.KindDamaged, "the service does not return the original of this photo", "look at it on icloud.com")})
			continue
		}
		entries = append(entries, f.files(dir, m)...)
	}
	for _, link := range at.links {
		name := f.shown(link.member)
		if name == "" {
			continue
		}
		target := path.Join(tops[link.library.Name], link.asset().Folder, name)
		up := strings.Repeat("../", strings.Count(dir, "/")+1)
		entries = append(entries, &Link{entry{f, f.remote(path.Join(dir, link.before+name)), link.asset().taken()}, up + target})
	}
	if at.album != nil {
		entries = append(entries, f.text(path.Join(dir, manifest), unknownTime, func() []byte { return f.manifest(at.album, tops) }))
	}
	return entries
}

// shown returns the name of the file that stands for an asset: the edited
// version, else the original.
func (f *Fs) shown(m member) string {
	files := m.asset().contents(m.id, m.master(), f.opt.Versions)
	for _, wanted := range []fileKind{editedVideo, editedImage, original} {
		for _, one := range files {
			if one.Kind == wanted && (wanted != editedVideo || m.master().isVideo()) {
				return one.name
			}
		}
	}
	if len(files) == 0 {
		return ""
	}
	return files[0].name
}

func (f *Fs) files(dir string, m member) fs.DirEntries {
	var entries fs.DirEntries
	a, of := m.asset(), m.master()
	files := a.contents(m.id, of, f.opt.Versions)
	if len(files) == 0 {
		return fs.DirEntries{&invalid{entry{f, f.remote(path.Join(dir, a.Stem)), a.taken()},
			finalError(apierr.KindDamaged, "the service has no content for this photo", "it may still be on its way from a device; the next backup saves it then")}}
	}
	for _, one := range files {
		record := m.id
		if kinds[one.Kind].ofMaster {
			record = a.Master
		}
		remote := path.Join(dir, one.name)
		entries = append(entries, &Object{entry{f, f.remote(remote), a.taken()}, content{
			Zone: &m.library.zone, Record: record, Field: kinds[one.Kind].prefix + "Res",
			Version: one.Checksum, Size: one.Size,
		}})
	}
	return append(entries, f.text(path.Join(dir, files[0].name+".xmp"), a.taken(), func() []byte { return a.sidecar(m.id, of) }))
}

// manifest lists the photos of an album by their paths.
func (f *Fs) manifest(of *gathered, tops map[string]string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", clean(of.name))
	for _, m := range of.members {
		if name := f.shown(m); name != "" {
			b.WriteString(path.Join(tops[m.library.Name], m.asset().Folder, name) + "\n")
		}
	}
	if of.unknown > 0 {
		fmt.Fprintf(&b, "# %d more are in no library of this account\n", of.unknown)
	}
	return []byte(b.String())
}
