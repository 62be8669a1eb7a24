package icloud

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config/configmap"
)

// PhotosOptions are the options of a remote of Photos.
type PhotosOptions struct {
	Layout   string // where an asset is: "date" or "flat"
	Versions string // "all", "original" or "edited"
	Deleted  string // "skip" or "include"
}

// newPhotosFs opens a remote of Photos. The package icloudphotos, which imports
// this one, sets it.
var newPhotosFs func(ctx context.Context, name, root string, opt PhotosOptions, service *PhotosService) (fs.Fs, error)

// RegisterPhotos sets the function that opens remotes with service=photos.
func RegisterPhotos(open func(ctx context.Context, name, root string, opt PhotosOptions, service *PhotosService) (fs.Fs, error)) {
	newPhotosFs = open
}

func openPhotos(ctx context.Context, name, root string, m configmap.Mapper) (fs.Fs, error) {
	opt, password, err := parseOptions(name, m)
	if err != nil {
		return nil, err
	}
	for _, choice := range []struct{ option, value, allowed string }{
		{"photos_layout", opt.PhotosLayout, "date, flat"},
		{"photos_versions", opt.PhotosVersions, "all, original, edited"},
		{"photos_deleted", opt.PhotosDeleted, "skip, include"},
	} {
		if !strings.Contains(", "+choice.allowed+",", ", "+choice.value+",") {
			return nil, failf(KindBadConfig, "open", name, "%s=%s cannot be used", choice.option, choice.value).
				with("the values are " + choice.allowed)
		}
	}
	d, err := openDrive(ctx, name, m, opt, password)
	if err != nil {
		return nil, err
	}
	return newPhotosFs(ctx, name, root, PhotosOptions{opt.PhotosLayout, opt.PhotosVersions, opt.PhotosDeleted}, newPhotosService(d, opt))
}

// PhotosService gives the package icloudphotos the session, the limits and the
// reading of contents of this package.
type PhotosService struct {
	service  *service
	contents *contents
	index    string // the file for what is known of the libraries; "" for none

	mu    sync.Mutex
	zones map[string]PhotosZone // of the contents that were opened, by their key
}

// PhotosZone is a zone of the database of Photos.
type PhotosZone struct {
	Area  string `json:"-"` // of the database: "private" or "shared"
	Name  string `json:"zoneName"`
	Owner string `json:"ownerRecordName,omitempty"`
	Type  string `json:"zoneType,omitempty"`
}

func (z PhotosZone) key() string { return z.Area + "/" + z.Name }

func newPhotosService(d *drive, opt *Options) *PhotosService {
	s := &PhotosService{service: d.service, zones: map[string]PhotosZone{}}
	if opt.SessionFile != "" {
		s.index = opt.SessionFile + ".photos"
	}
	s.contents = newContents(d.service, &recollection{}, func(context.Context, *item) bool { return true })
	s.contents.lookUp = s.addresses
	return s
}

// LockIndex waits for the turn of this process to bring the index up to date
// and returns its file, "" for none.
func (s *PhotosService) LockIndex(ctx context.Context) (file string, unlock func(), err error) {
	if s.index == "" {
		return "", func() {}, nil
	}
	unlock, err = lockSessionFile(ctx, s.index)
	return s.index, unlock, err
}

// PhotosError returns an error of the given kind. It is final: repeating the
// operation does not help.
func PhotosError(kind, why, advice string) *Error {
	e := fail(kind, "", "", why).with(advice)
	e.final = true
	return e
}

// EndsRun marks an error after which no other call can succeed.
func (e *Error) EndsRun() *Error {
	e.fatal = true
	return e
}

// Code returns the code of the service for a refusal, or "".
func (e *Error) Code() string { return e.code }

const photosPath = "/database/1/com.apple.photos.cloud/production/"

// PhotosFault is an error inside a response with status 200.
type PhotosFault struct {
	Code   string `json:"serverErrorCode"`
	Reason string `json:"reason"`
}

// Err returns the error, or nil if there is none.
func (f PhotosFault) Err() error {
	if f.Code == "" {
		return nil
	}
	why := "the service answered " + plainOr(f.Code, "an error")
	if reason := plainOr(f.Reason, ""); reason != "" {
		why += " (" + reason + ")"
	}
	e := fail(KindUnsupported, "", "", why)
	e.code, e.answered = f.Code, true
	switch f.Code {
	case "TRY_AGAIN_LATER", "RETRY_LATER", "INTERNAL_ERROR":
		e.kind = KindNetwork
	case "NOT_FOUND", "ZONE_NOT_FOUND":
		e.kind = KindNotFound
	}
	return e
}

func plainOr(text, other string) string {
	if plainText.MatchString(text) {
		return text
	}
	return other
}

// mostPhotosTries is how often a call is sent that fails for another reason
// than its own refusal.
const mostPhotosTries = 5

// PhotosCall makes a call to the database of Photos and checks its response. A
// call changes nothing, so it is repeated after a temporary failure. But a call
// that is refused is repeated once only, and a refusal of the account or because
// of too many calls ends the run: users have seen such refusals last for days,
// longer with each further call.
// https://github.com/icloud-photos-downloader/icloud_photos_downloader/issues/163
func PhotosCall[T any](ctx context.Context, s *PhotosService, area, operation string, body any, check func(*T) error) (*T, error) {
	r := request{
		host: api.WsPhotos, method: http.MethodPost, path: photosPath + path.Join(area, operation),
		params: url.Values{"remapEnums": {"true"}, "getCurrentSyncToken": {"true"}},
		body:   body, contentType: "text/plain", repeats: true,
	}
	if err := s.reach(ctx); err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		answer := new(T)
		err := s.service.send(withTry(ctx, try), r, answer)
		if err == nil {
			err = check(answer)
		}
		if err == nil {
			return answer, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		err = photosRefusal(err)
		if !worthAnotherCall(err, try) {
			return nil, err
		}
		if err := s.service.retries.wait(ctx, try+1, err); err != nil {
			return nil, err
		}
	}
}

// reach makes sure that the address of Photos is known. Session files of earlier
// versions do not contain it.
func (s *PhotosService) reach(ctx context.Context) error {
	access, err := s.service.session.access(ctx)
	if err != nil || access.endpoints[api.WsPhotos] != "" {
		return err
	}
	alive := request{host: setupHost, method: http.MethodPost, path: validatePath, repeats: true}
	account, err := fetch[AccountAnswer](ctx, s.service, alive, nil)
	if err != nil {
		return err
	}
	address := account.Webservices[api.WsPhotos].URL
	if !isSafe(address) {
		return PhotosError(KindUnsupported, "the account has no iCloud Photos", "turn on iCloud Photos on a device, or open Photos on icloud.com").EndsRun()
	}
	s.service.session.addEndpoint(api.WsPhotos, address)
	return nil
}

func worthAnotherCall(err error, try int) bool {
	if isFinal(err) || try >= mostPhotosTries {
		return false
	}
	switch KindOf(err) {
	case KindNetwork, KindThrottled, KindDamaged:
		return true
	case KindUnsupported:
		return try < believedTries // a valid request was seen to be refused once
	}
	return false
}

// photosRefusal explains a refusal that concerns the whole account.
func photosRefusal(err error) error {
	typed, ok := err.(*Error)
	if !ok {
		return err
	}
	asksToWait := "wait for some hours, better for a day, before the next attempt: each attempt before makes it last longer"
	switch {
	case typed.code == "ACCESS_DENIED" || typed.kind == KindDenied:
		e := fail(KindDenied, "", "", "Apple refuses access to the photo library").from(typed).because(CauseThrottled).
			with("this is temporary after too many requests: " + asksToWait + "; if it stays, open Photos on icloud.com with this account")
		e.final, e.fatal = true, true
		return e
	case typed.code == "THROTTLED" || typed.answered && typed.kind == KindThrottled && strings.Contains(typed.why, " 429"):
		e := fail(KindThrottled, "", "", "Apple limits the requests to the photo library").from(typed).because(CauseThrottled).with(asksToWait)
		e.retryAfter, e.final, e.fatal = typed.retryAfter, true, true
		return e
	}
	return err
}

// PhotosContent is a content that belongs to a record.
type PhotosContent struct {
	Zone    PhotosZone
	Record  string
	Field   string // of the record
	Version string // the checksum that the service reports
	Name    string
	Size    int64 // bytes
}

// item returns the content in the form of a file of the drive, whose contents
// are read in the same way.
func (s *PhotosService) item(c PhotosContent) *item {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zones[c.Zone.key()] = c.Zone
	return &item{
		id:   api.ConstructDriveID(c.Record+"/"+c.Field, c.Zone.key(), "PHOTO"),
		etag: c.Version, name: c.Name, shown: c.Name, size: c.Size, files: -1, children: -1,
	}
}

// Open reads a content from start to end, or to its end if end is -1.
func (s *PhotosService) Open(ctx context.Context, c PhotosContent, on string, start, end int64) (io.ReadCloser, error) {
	return s.contents.read(ctx, s.item(c), on, start, end, func() {})
}

// Expect requests the addresses of contents that will be read soon. It does not
// wait for them.
func (s *PhotosService) Expect(ctx context.Context, expected []PhotosContent) {
	items := make([]*item, len(expected))
	for i, content := range expected {
		items[i] = s.item(content)
	}
	s.contents.expect(ctx, items)
}

// addresses requests the addresses of contents of one zone with one call. An
// address that the service does not return is nil.
func (s *PhotosService) addresses(ctx context.Context, items []*item) ([]*address, error) {
	type wanted struct {
		Name string `json:"recordName"`
	}
	type resource struct {
		Value struct {
			Address  string `json:"downloadURL"`
			Checksum text   `json:"fileChecksum"`
		} `json:"value"`
	}
	type answered struct {
		PhotosFault
		Records []struct {
			Name   string              `json:"recordName"`
			Fields map[string]resource `json:"fields"`
		} `json:"records"`
	}
	s.mu.Lock()
	zone := s.zones[items[0].zone()]
	s.mu.Unlock()
	records := make(map[string]map[string]resource, len(items))
	var asked []wanted
	var fields []string
	for _, it := range items {
		record, field := path.Split(it.docID())
		record = strings.TrimSuffix(record, "/")
		if _, ok := records[record]; !ok {
			records[record] = nil
			asked = append(asked, wanted{record})
		}
		fields = append(fields, field)
	}
	answer, err := PhotosCall(ctx, s, zone.Area, "records/lookup", map[string]any{
		"records": asked, "zoneID": zone, "desiredKeys": fields,
	}, func(answer *answered) error {
		if err := answer.Err(); err != nil {
			return err
		}
		if len(answer.Records) == 0 {
			return damaged("no record for any of the contents")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, record := range answer.Records {
		records[record.Name] = record.Fields
	}
	found := make([]*address, len(items))
	for i, it := range items {
		record, field := path.Split(it.docID())
		value := records[strings.TrimSuffix(record, "/")][field].Value
		if takesContents(value.Address) {
			found[i] = &address{url: value.Address, mark: string(value.Checksum), since: time.Now()}
		}
	}
	return found, nil
}
