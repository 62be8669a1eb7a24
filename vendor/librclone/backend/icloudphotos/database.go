package icloudphotos

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"sync/atomic"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/drive"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/privatefile"
	"plakar-icloud/librclone/backend/icloud/service"
	"plakar-icloud/librclone/backend/icloud/transport"

	"github.com/rclone/rclone/backend/iclouddrive/api"
)

// database is the database of Photos, as a session of the account reaches it.
type database struct {
	service  *service.Service
	contents *drive.Reader
	index    string                 // the file that stores the state of the libraries; "" for none
	albums   map[string]sharedAlbum // by ID
	consent  *consent

	ended atomic.Pointer[apierr.Error] // the error after which no other call can succeed, or nil

	sharedUnknown bool // the libraries of other accounts could not be listed
	albumsUnknown bool // the shared albums could not be listed

	mu    sync.Mutex
	zones map[string]zoneID // the zones of the contents that were requested, by key
}

// zoneID identifies a zone of the database of Photos.
type zoneID struct {
	Area  string `json:"-"` // privateArea, sharedArea or sharedAlbumArea
	Name  string `json:"zoneName"`
	Owner string `json:"ownerRecordName,omitempty"`
	Type  string `json:"zoneType,omitempty"`
}

func (z zoneID) key() string { return z.Area + "/" + z.Name }

func newDatabase(service *service.Service, sessionFile string) *database {
	s := &database{service: service, zones: map[string]zoneID{}, albums: map[string]sharedAlbum{}, consent: newConsent()}
	s.index = indexFile(sessionFile)
	s.contents = drive.NewReader(service, s.addresses)
	return s
}

// indexFile returns the path of the index file of a session, or "" without one.
func indexFile(sessionFile string) string {
	if sessionFile == "" {
		return ""
	}
	return sessionFile + ".photos"
}

// lockIndex locks the index file, so that one process at a time updates it, and
// returns the path of the file, or "" if there is none.
func (s *database) lockIndex(ctx context.Context) (file string, unlock func(), err error) {
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

// finalError returns an error of the given kind after which the operation must
// not be repeated.
func finalError(kind, why, advice string) *apierr.Error {
	e := apierr.New(kind, "", "", why).Advise(advice)
	e.Final = true
	return e
}

// endRun marks an error after which no other call can succeed, and returns it.
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
	why := "the service responded with " + cmp.Or(apierr.PlainText(f.Code), "an error")
	if reason := apierr.PlainText(f.Reason); reason != "" {
		why += " (" + reason + ")"
	}
	kind := apierr.KindUnsupported
	switch f.Code {
	case "TRY_AGAIN_LATER", "RETRY_LATER", "ZONE_BUSY", "INTERNAL_ERROR":
		kind = apierr.KindNetwork
	case "NOT_FOUND", "ZONE_NOT_FOUND":
		kind = apierr.KindNotFound
	}
	e := apierr.New(kind, "", "", why).WithCode(f.Code)
	e.Reported = true
	return e
}

// maxTries is how often a call is sent if it fails temporarily.
const maxTries = 5

// callDatabase makes a call to the database of Photos and checks its response. A
// call changes nothing, so it is repeated after a temporary failure. A refused
// call is repeated only once. If the service refuses the account, or limits its
// requests, the run ends: users have seen that state last for days, and longer
// with each further call. No later call sends a request.
// https://github.com/icloud-photos-downloader/icloud_photos_downloader/issues/163
func callDatabase[T any](ctx context.Context, s *database, area, operation string, body any, check func(*T) error) (*T, error) {
	if err := s.endedRun(); err != nil {
		return nil, err
	}
	response, err := sendToDatabase(ctx, s, area, operation, body, check)
	if typed := (*apierr.Error)(nil); errors.As(err, &typed) && typed.EndsRun {
		s.ended.CompareAndSwap(nil, typed)
	}
	return response, err
}

// endedRun returns the error after which no other call can succeed, or nil.
func (s *database) endedRun() error {
	if err := s.ended.Load(); err != nil {
		return err
	}
	return nil
}

// sendToDatabase makes a call as callDatabase does, but does not check or store whether
// the run has ended.
func sendToDatabase[T any](ctx context.Context, s *database, area, operation string, body any, check func(*T) error) (*T, error) {
	r := service.Request{
		Host: hosts.Photos, Method: http.MethodPost, Path: databasePath + path.Join(area, operation),
		Params: url.Values{"remapEnums": {"true"}, "getCurrentSyncToken": {"true"}},
		Body:   body, ContentType: "text/plain", Repeatable: true, OwnCookies: true,
	}
	if err := s.findHost(ctx); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	granted := s.consent.count()
	response, err := call(ctx, s, r, explainRefusal, check)
	if err == nil || apierr.KindOf(err) != apierr.KindDenied {
		return response, err
	}
	if err := s.regain(ctx, granted, err); err != nil {
		return nil, err
	}
	response, err = call(ctx, s, r, explainRefusal, check)
	if errors.Is(err, service.ErrNoCookies) {
		err = notApproved()
	}
	return response, err // ACCESS_DENIED with new cookies is because of too many requests
}

// call sends a request, checks the response, and repeats the request after a
// temporary failure. explain returns the error to report for an error.
func call[T any](ctx context.Context, s *database, r service.Request, explain func(error) error, check func(*T) error) (*T, error) {
	for try := 1; ; try++ {
		response := new(T)
		err := s.service.Send(transport.WithTry(ctx, try), r, response)
		if err == nil && check != nil {
			err = check(response)
		}
		if err == nil {
			return response, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		err = explain(err)
		if !isRetried(err, try) {
			return nil, err
		}
		if err := s.service.Retries.Wait(ctx, try+1, err); err != nil {
			return nil, err
		}
	}
}

// findHost makes sure that the address of Photos is known. Session files of
// earlier versions do not contain it.
func (s *database) findHost(ctx context.Context) error {
	access, err := s.service.Session.Access(ctx)
	if err != nil || access.Endpoint(hosts.Photos) != "" {
		return err
	}
	account, err := s.account(ctx)
	if err != nil {
		return err
	}
	address := account.Webservices[hosts.Photos].URL
	if !hosts.MayGetCalls(address) {
		return endRun(finalError(apierr.KindUnsupported, "the account has no iCloud Photos", "turn on iCloud Photos on a device, or open Photos on icloud.com"))
	}
	s.service.Session.AddEndpoint(hosts.Photos, address)
	return nil
}

// isRetried reports whether a call is repeated after the given attempt, counted
// from 1, has failed.
func isRetried(err error, try int) bool {
	if apierr.IsFinal(err) || try >= maxTries {
		return false
	}
	switch apierr.KindOf(err) {
	case apierr.KindNetwork, apierr.KindThrottled, apierr.KindDamaged:
		return true
	case apierr.KindUnsupported:
		return try < service.TrustedTries // the service was seen to refuse a valid request once
	}
	return false
}

// explainRefusal returns err, or the error for a refusal that concerns the whole
// account.
func explainRefusal(err error) error {
	typed, ok := err.(*apierr.Error)
	if !ok {
		return err
	}
	wait := "wait for some hours, better for a day, before the next attempt: an earlier attempt makes it last longer"
	switch {
	case typed.Code() == "ACCESS_DENIED" || typed.Kind() == apierr.KindDenied:
		e := apierr.New(apierr.KindDenied, "", "", "Apple refuses access to the photo library").From(typed).Because(apierr.CauseThrottled).
			Advise("this is temporary after too many requests: " + wait + "; if it stays, open Photos on icloud.com with this account")
		e.Final, e.EndsRun = true, true
		return e
	case typed.Code() == "THROTTLED" || typed.Reported && typed.Kind() == apierr.KindThrottled && strings.Contains(typed.Why, " 429"):
		e := apierr.New(apierr.KindThrottled, "", "", "Apple limits the requests to the photo library").From(typed).Because(apierr.CauseThrottled).Advise(wait)
		e.Wait, e.Final, e.EndsRun = typed.Wait, true, true
		return e
	}
	return err
}

// content identifies the content of a file of a photo: a field of a record.
type content struct {
	Zone    *zoneID
	Record  string
	Field   string
	Version string // the checksum that the service reports
	Size    int64  // bytes
}

// item returns the content in the form of a file of iCloud Drive, which
// [drive.Reader] can read.
func (s *database) item(c content) *drive.Item {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zones[c.Zone.key()] = *c.Zone
	return &drive.Item{
		ID:   api.ConstructDriveID(c.Record+"/"+c.Field, c.Zone.key(), "PHOTO"),
		ETag: c.Version, Size: c.Size, Files: -1, Children: -1,
	}
}

// open returns a reader of the content from start to end, or to the end of the
// content if end is -1.
func (s *database) open(ctx context.Context, c content, on string, start, end int64) (io.ReadCloser, error) {
	return s.contents.Open(ctx, s.item(c), on, start, end)
}

// expect requests the addresses of contents that will be read soon. It does not
// wait for them.
func (s *database) expect(ctx context.Context, expected []content) {
	items := make([]*drive.Item, len(expected))
	for i, content := range expected {
		items[i] = s.item(content)
	}
	s.contents.Expect(ctx, items)
}

// addresses requests the addresses of contents of the same zone with one call.
// An address that the service does not return is nil.
func (s *database) addresses(ctx context.Context, items []*drive.Item) ([]*drive.Address, error) {
	s.mu.Lock()
	zone := s.zones[api.ZoneFromDriveID(items[0].ID)]
	s.mu.Unlock()
	if zone.Area == sharedAlbumArea {
		return s.sharedAddresses(ctx, zone, items)
	}
	type named struct {
		Name string `json:"recordName"`
	}
	records := make(map[string]*record, len(items))
	var requested []named
	var fields []string
	for _, it := range items {
		name, field := recordOf(it)
		if _, ok := records[name]; !ok {
			records[name] = nil
			requested = append(requested, named{name})
		}
		fields = append(fields, field)
	}
	response, err := callDatabase(ctx, s, zone.Area, "records/lookup", map[string]any{
		"records": requested, "zoneID": zone, "desiredKeys": fields,
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

// recordOf returns the record and the field of the content that [database.item]
// has made an item of.
func recordOf(it *drive.Item) (name, field string) {
	name, field = path.Split(api.GetDocIDFromDriveID(it.ID))
	return strings.TrimSuffix(name, "/"), field
}
