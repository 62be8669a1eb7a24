package icloudphotos

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/drive"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/service"
	"plakar-icloud/librclone/backend/icloud/signin"
)

// sharedAlbumArea is the area of zones that represent shared albums. The photos
// of a shared album are copies, which a separate service stores outside the
// database.
const sharedAlbumArea = "shared album"

// sharedAlbum is a shared album in the list of the service.
type sharedAlbum struct {
	ID         string `json:"albumguid"`
	Tag        string `json:"albumctag"`     // changes with the photos of the album
	Address    string `json:"albumlocation"` // of the requests about the album
	Attributes struct {
		Name string `json:"name"`
	} `json:"attributes"`
}

// sharedAlbums returns the shared albums of the account as zones, none for an
// account without the service.
func sharedAlbums(ctx context.Context, s *database) ([]foundZone, error) {
	root, err := s.sharedAlbumRoot(ctx)
	if err != nil || root == "" {
		return nil, err
	}
	type result struct {
		Albums []sharedAlbum `json:"albums"`
	}
	response, err := callSharedAlbums(ctx, s, root+"/sharedstreams", "webgetalbumslist", struct{}{}, func(r *result) error {
		return present(r.Albums != nil)
	})
	if err != nil {
		return nil, err
	}
	var found []foundZone
	for _, album := range response.Albums {
		// Only a host in the same domain may receive the cookies.
		if album.ID == "" || !hosts.SameDomain(root, album.Address) {
			return nil, apierr.Damaged("a shared album without an address on a host of Apple")
		}
		s.albums[album.ID] = album
		zone := foundZone{zoneID{Area: sharedAlbumArea, Name: album.ID}, album.Tag}
		if !slices.ContainsFunc(found, zone.isSame) {
			found = append(found, zone)
		}
	}
	return found, nil
}

// sharedAlbumRoot returns the address of the service of shared albums, or "" if
// the account has none. Session files of earlier versions do not contain it.
func (s *database) sharedAlbumRoot(ctx context.Context) (string, error) {
	access, err := s.service.Session.Access(ctx)
	if err != nil {
		return "", err
	}
	root := access.Endpoint(hosts.SharedAlbums)
	if root == "" {
		account, err := s.account(ctx)
		if err != nil {
			return "", err
		}
		if root = account.SharedAlbums(); root != "" {
			s.service.Session.AddEndpoint(hosts.SharedAlbums, root)
		}
	}
	return root, nil
}

// account returns the description of the account.
func (s *database) account(ctx context.Context) (*signin.Account, error) {
	r := service.Request{Host: hosts.Setup, Method: http.MethodPost, Path: hosts.ValidatePath, Repeatable: true}
	return service.Fetch[signin.Account](ctx, s.service, r, nil)
}

func callSharedAlbums[T any](ctx context.Context, s *database, root, operation string, body any, check func(*T) error) (*T, error) {
	r := service.Request{
		Host: hosts.SharedAlbums, Root: strings.TrimSuffix(root, "/"), Method: http.MethodPost, Path: "/" + operation,
		Body: body, ContentType: "text/plain", Repeatable: true,
	}
	return call(ctx, s, r, func(err error) error { return err }, check)
}

// sharedPage returns the records of the photos of a shared album from a
// position. It is unknown whether the limit is a number of photos or the position
// of the last photo, so the limit is large enough for both.
// https://github.com/timlaing/pyicloud/blob/main/pyicloud/services/photos_legacy.py
func sharedPage(ctx context.Context, s *database, album sharedAlbum, position int) (*page, error) {
	return callSharedAlbums(ctx, s, album.Address, "webgetassets", map[string]string{
		"albumguid": album.ID, "albumctag": album.Tag,
		"offset": strconv.Itoa(position), "limit": strconv.Itoa(position + pageRecords),
	}, func(p *page) error { return present(p.Records != nil) })
}

// sharedCount returns the number of photos in a shared album according to the
// service.
func sharedCount(ctx context.Context, s *database, album sharedAlbum) (int, error) {
	type result struct {
		Count *int `json:"albumassetcount"`
	}
	body := map[string]string{"albumguid": album.ID}
	response, err := callSharedAlbums(ctx, s, album.Address, "webgetassetcount", body, func(r *result) error {
		if r.Count == nil {
			return apierr.Damaged("no number of photos")
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return *response.Count, nil
}

// sharedAlbum returns the present state of a shared album: the known state, or a
// new listing if the tag of the album has changed or photos are missing.
func (c *loader) sharedAlbum(ctx context.Context, zone foundZone, known *library) (*library, error) {
	now := time.Now()
	if known != nil && zone.token != "" && known.Token == zone.token && (missing(known.Missing) == 0 || known.isAccepted(now)) {
		known.zone = zone.zoneID
		known.checkComplete(now)
		return known, nil
	}
	l := newLibrary(zone.zoneID)
	l.Token, l.Indexed = zone.token, true
	if known != nil {
		l.Given, l.Doubt, l.DoubtSince = known.Given, known.Doubt, known.DoubtSince
	}
	album := c.service.albums[zone.Name]
	err := eachSharedPage(ctx, c.service, album, func(records []record) bool {
		l.apply(records)
		return true
	})
	if err != nil {
		return nil, err
	}
	for _, a := range l.Assets {
		a.Main = true
	}
	if known != nil {
		l.keep(known)
	}
	counted, err := sharedCount(ctx, c.service, album)
	if err != nil {
		return nil, err
	}
	l.Missing = map[string]int{"": counted - len(l.Assets)}
	l.checkComplete(now)
	return l, nil
}

// eachSharedPage calls use for each page of a shared album until use returns
// false. A page without new photos is the last one.
func eachSharedPage(ctx context.Context, s *database, album sharedAlbum, use func([]record) bool) error {
	seen := map[string]bool{}
	for {
		response, err := sharedPage(ctx, s, album, len(seen))
		if err != nil {
			return err
		}
		before := len(seen)
		for i := range response.Records {
			if r := &response.Records[i]; r.Type == typeAsset {
				seen[r.Name] = true
			}
		}
		if len(seen) == before || !use(response.Records) {
			return nil
		}
	}
}

// sharedAddresses returns the addresses of contents of a shared album. Only the
// pages of the album contain them, so the album is listed until all are found.
func (s *database) sharedAddresses(ctx context.Context, zone zoneID, items []*drive.Item) ([]*drive.Address, error) {
	found := make([]*drive.Address, len(items))
	err := eachSharedPage(ctx, s, s.albums[zone.Name], func(records []record) bool {
		for i, it := range items {
			name, field := recordOf(it)
			for j := range records {
				if records[j].Name == name {
					found[i] = records[j].address(field)
				}
			}
		}
		return slices.Contains(found, nil)
	})
	return found, err
}

// nameSharedAlbums chooses the folder name of each shared album that has none:
// the name of the album, with the ID if another shared album has the name.
func nameSharedAlbums(albums map[string]sharedAlbum, libraries []*library) {
	taken := map[string]bool{}
	var unnamed []*library
	for _, l := range libraries {
		switch {
		case l.Area != sharedAlbumArea:
		case l.Given == "" || l.Title != albums[l.Name].Attributes.Name:
			unnamed = append(unnamed, l)
		default:
			taken[strings.ToLower(l.Given)] = true
		}
	}
	slices.SortFunc(unnamed, func(a, b *library) int { return strings.Compare(a.Name, b.Name) })
	for _, l := range unnamed {
		l.unsaved = true
		l.Title = albums[l.Name].Attributes.Name
		l.Given = folderName(l.Title, l.Name, func(name string) bool { return taken[strings.ToLower(name)] })
		taken[strings.ToLower(l.Given)] = true
	}
}
