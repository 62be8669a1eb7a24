package icloudphotos

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/drive"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/privatefile"
	"plakar-icloud/librclone/backend/icloud/service"
	"plakar-icloud/librclone/backend/icloud/transport"

	"github.com/rclone/rclone/backend/iclouddrive/api"
)

// database gives access to the database of Photos, with the session and the
// limits of the account.
type database struct {
	service  *service.Service
	contents *drive.Reader
	index    string                 // the file for what is known of the libraries; "" for none
	albums   map[string]sharedAlbum // by their ids

	mu    sync.Mutex
	zones map[string]zoneID // of the contents that were opened, by their key
}

// zoneID is a zone of the database of Photos.
type zoneID struct {
	Area  string `json:"-"` // of the database: "private" or "shared"
	Name  string `json:"zoneName"`
	Owner string `json:"ownerRecordName,omitempty"`
	Type  string `json:"zoneType,omitempty"`
}

func (z zoneID) key() string { return z.Area + "/" + z.Name }

func newDatabase(service *service.Service, sessionFile string) *database {
	s := &database{service: service, zones: map[string]zoneID{}, albums: map[string]sharedAlbum{}}
	if sessionFile != "" {
		s.index = sessionFile + ".photos"
	}
	s.contents = drive.NewReader(service, s.addresses)
	return s
}

// LockIndex waits for the turn of this process to bring the index up to date
// and returns its file, "" for none.
func (s *database) LockIndex(ctx context.Context) (file string, unlock func(), err error) {
	if s.index == "" {
		return "", func() {}, nil
	}
	unlock, err = privatefile.Lock(ctx, s.index)
	if err != nil && ctx.Err() == nil {
		err = apierr.Newf(apierr.KindBadConfig, "", "", "the index of the photo library, %q, cannot be locked", s.index).From(err).
			Because(apierr.CauseStateFolder).Advise("let this user write to its folder")
	}
	return s.index, unlock, err
}

// finalError returns an error of the given kind. It is final: repeating the
// operation does not help.
func finalError(kind, why, advice string) *apierr.Error {
	e := apierr.New(kind, "", "", why).Advise(advice)
	e.Final = true
	return e
}

// endRun marks an error after which no other call can succeed.
func endRun(e *apierr.Error) *apierr.Error {
	e.EndsRun = true
	return e
}

const databasePath = "/database/1/com.apple.photos.cloud/production/"

// fault is an error inside a response with status 200.
type fault struct {
	Code   string `json:"serverErrorCode"`
	Reason string `json:"reason"`
}

// Err returns the error, or nil if there is none.
func (f fault) Err() error {
	if f.Code == "" {
		return nil
	}
	why := "the service answered " + cmp.Or(apierr.PlainText(f.Code), "an error")
	if reason := apierr.PlainText(f.Reason); reason != "" {
		why += " (" + reason + ")"
	}
	kind := apierr.KindUnsupported
	switch f.Code {
	case "TRY_AGAIN_LATER", "RETRY_LATER", "INTERNAL_ERROR":
		kind = apierr.KindNetwork
	case "NOT_FOUND", "ZONE_NOT_FOUND":
		kind = apierr.KindNotFound
	}
	e := apierr.New(kind, "", "", why).WithCode(f.Code)
	e.Answered = true
	return e
}

// maxTries is how often a call is sent that fails for another reason
// than its own refusal.
const maxTries = 5

// callDatabase makes a call to the database of Photos and checks its response. A
// call changes nothing, so it is repeated after a temporary failure. But a call
// that is refused is repeated once only, and a refusal of the account or because
// of too many calls ends the run: users have seen such refusals last for days,
// longer with each further call.
// https://github.com/icloud-photos-downloader/icloud_photos_downloader/issues/163
func callDatabase[T any](ctx context.Context, s *database, area, operation string, body any, check func(*T) error) (*T, error) {
	r := service.Request{
		Host: hosts.Photos, Method: http.MethodPost, Path: databasePath + path.Join(area, operation),
		Params: url.Values{"remapEnums": {"true"}, "getCurrentSyncToken": {"true"}},
		Body:   body, ContentType: "text/plain", Repeatable: true,
	}
	if err := s.reach(ctx); err != nil {
		return nil, err
	}
	return call(ctx, s, r, explainRefusal, check)
}

// call sends a request and checks its response, and repeats it after a temporary
// failure. explain is called with each error.
func call[T any](ctx context.Context, s *database, r service.Request, explain func(error) error, check func(*T) error) (*T, error) {
	for try := 1; ; try++ {
		answer := new(T)
		err := s.service.Send(transport.WithTry(ctx, try), r, answer)
		if err == nil && check != nil {
			err = check(answer)
		}
		if err == nil {
			return answer, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		err = explain(err)
		if !worthAnotherCall(err, try) {
			return nil, err
		}
		if err := s.service.Retries.Wait(ctx, try+1, err); err != nil {
			return nil, err
		}
	}
}

// reach makes sure that the address of Photos is known. Session files of earlier
// versions do not contain it.
func (s *database) reach(ctx context.Context) error {
	access, err := s.service.Session.Access(ctx)
	if err != nil || access.Endpoint(hosts.Photos) != "" {
		return err
	}
	account, err := s.account(ctx)
	if err != nil {
		return err
	}
	address := account.Webservices[hosts.Photos].URL
	if !hosts.IsSafe(address) {
		return endRun(finalError(apierr.KindUnsupported, "the account has no iCloud Photos", "turn on iCloud Photos on a device, or open Photos on icloud.com"))
	}
	s.service.Session.AddEndpoint(hosts.Photos, address)
	return nil
}

func worthAnotherCall(err error, try int) bool {
	if apierr.IsFinal(err) || try >= maxTries {
		return false
	}
	switch apierr.KindOf(err) {
	case apierr.KindNetwork, apierr.KindThrottled, apierr.KindDamaged:
		return true
	case apierr.KindUnsupported:
		return try < service.TrustedTries // a valid request was seen to be refused once
	}
	return false
}

// explainRefusal explains a refusal that concerns the whole account.
func explainRefusal(err error) error {
	typed, ok := err.(*apierr.Error)
	if !ok {
		return err
	}
	asksToWait := "wait for some hours, better for a day, before the next attempt: each attempt before makes it last longer"
	switch {
	case typed.Code() == "ACCESS_DENIED" || typed.Kind() == apierr.KindDenied:
		e := apierr.New(apierr.KindDenied, "", "", "Apple refuses access to the photo library").From(typed).Because(apierr.CauseThrottled).
			Advise("this is temporary after too many requests: " + asksToWait + "; if it stays, open Photos on icloud.com with this account")
		e.Final, e.EndsRun = true, true
		return e
	case typed.Code() == "THROTTLED" || typed.Answered && typed.Kind() == apierr.KindThrottled && strings.Contains(typed.Why, " 429"):
		e := apierr.New(apierr.KindThrottled, "", "", "Apple limits the requests to the photo library").From(typed).Because(apierr.CauseThrottled).Advise(asksToWait)
		e.Wait, e.Final, e.EndsRun = typed.Wait, true, true
		return e
	}
	return err
}

// content is a content that belongs to a record.
type content struct {
	Zone    *zoneID
	Record  string
	Field   string // of the record
	Version string // the checksum that the service reports
	Size    int64  // bytes
}

// item returns the content in the form of a file of the drive, whose contents
// are read in the same way.
func (s *database) item(c content) *drive.Item {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zones[c.Zone.key()] = *c.Zone
	return &drive.Item{
		ID:   api.ConstructDriveID(c.Record+"/"+c.Field, c.Zone.key(), "PHOTO"),
		ETag: c.Version, Size: c.Size, Files: -1, Children: -1,
	}
}

// Open reads a content from start to end, or to its end if end is -1.
func (s *database) Open(ctx context.Context, c content, on string, start, end int64) (io.ReadCloser, error) {
	return s.contents.Open(ctx, s.item(c), on, start, end)
}

// Expect requests the addresses of contents that will be read soon. It does not
// wait for them.
func (s *database) Expect(ctx context.Context, expected []content) {
	items := make([]*drive.Item, len(expected))
	for i, content := range expected {
		items[i] = s.item(content)
	}
	s.contents.Expect(ctx, items)
}

// addresses requests the addresses of contents of one zone with one call. An
// address that the service does not return is nil.
func (s *database) addresses(ctx context.Context, items []*drive.Item) ([]*drive.Address, error) {
	s.mu.Lock()
	zone := s.zones[api.ZoneFromDriveID(items[0].ID)]
	s.mu.Unlock()
	if zone.Area == sharedAlbumArea {
		return s.sharedAddresses(ctx, zone, items)
	}
	type wanted struct {
		Name string `json:"recordName"`
	}
	records := make(map[string]*record, len(items))
	var asked []wanted
	var fields []string
	for _, it := range items {
		name, field := recordOf(it)
		if _, ok := records[name]; !ok {
			records[name] = nil
			asked = append(asked, wanted{name})
		}
		fields = append(fields, field)
	}
	response, err := callDatabase(ctx, s, zone.Area, "records/lookup", map[string]any{
		"records": asked, "zoneID": zone, "desiredKeys": fields,
	}, func(p *page) error {
		if err := p.Err(); err != nil {
			return err
		}
		if len(p.Records) == 0 {
			return apierr.Damaged("no record for any of the contents")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range response.Records {
		records[response.Records[i].Name] = &response.Records[i]
	}
	found := make([]*drive.Address, len(items))
	for i, it := range items {
		if name, field := recordOf(it); records[name] != nil {
			found[i] = records[name].address(field)
		}
	}
	return found, nil
}

// recordOf returns the record and the field of a content in the form of an item.
func recordOf(it *drive.Item) (name, field string) {
	name, field = path.Split(api.GetDocIDFromDriveID(it.ID))
	return strings.TrimSuffix(name, "/"), field
}
