package icloudphotos

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"plakar-icloud/librclone/backend/icloud/drive"
	"plakar-icloud/librclone/backend/icloud/hosts"

	"golang.org/x/text/unicode/norm"
)

// The types of records, and values of their fields.
const (
	typeAsset    = "CPLAsset"
	typeMaster   = "CPLMaster"
	typeAlbum    = "CPLAlbum"
	typeRelation = "CPLContainerRelation"

	// slowMotion is the adjustment of a slow-motion video. The service has no
	// edited version of such a video.
	slowMotion = "com.apple.video.slomo"

	// livePhoto is the subtype of live photos.
	// https://github.com/rclone/rclone/blob/master/backend/iclouddrive/api/photos.go
	livePhoto = 2

	// rootFolders is the beginning of the names of the records that contain all
	// albums, such as "----Root-Folder----".
	rootFolders = "----"

	albumOfAlbums = 3 // the type of an album that is a folder of albums
)

// record is a record of the database. The value of a field is decoded when it is
// needed, so that an unexpected value affects only that field.
type record struct {
	Name    string           `json:"recordName"`
	Type    string           `json:"recordType"`
	Deleted bool             `json:"deleted"`
	Code    string           `json:"serverErrorCode"`
	Fields  map[string]value `json:"fields"`

	// https://developer.apple.com/library/archive/documentation/DataManagement/Conceptual/CloudKitWebServicesReference/Types.html
	Modified struct {
		Time float64 `json:"timestamp"` // milliseconds since 1970
	} `json:"modified"`
}

type value struct {
	Value json.RawMessage `json:"value"`
	Type  string          `json:"type"`
}

// desiredKeys are the fields that are requested.
var desiredKeys = []string{
	"masterRef", "assetDate", "addedDate", "timeZoneOffset", "isFavorite", "isHidden", "isDeleted", "isExpunged",
	"isSparsePrivateRecord", "assetSubtypeV2",
	"burstId", "burstFlags", "adjustmentType", "captionEnc", "extendedDescEnc", "keywordsEnc",
	"locationEnc", "locationV2Enc", "locationLatitude", "locationLongitude",
	"resJPEGFullRes", "resJPEGFullFileType", "resVidFullRes", "resVidFullFileType", "resSidecarRes", "resSidecarFileType",
	"filenameEnc", "itemType", "resOriginalRes", "resOriginalFileType", "resOriginalAltRes", "resOriginalAltFileType",
	"resOriginalVidComplRes", "resOriginalVidComplFileType",
	"albumNameEnc", "albumType", "parentId", "containerId", "itemId", "position",
}

// unmarshalKnown decodes JSON, but leaves out values of other types than expected. So an odd
// value in a record does not affect the other records of a response.
func unmarshalKnown(data []byte, into any) error {
	err := json.Unmarshal(data, into)
	var odd *json.UnmarshalTypeError
	if errors.As(err, &odd) {
		return nil
	}
	return err
}

func (r *record) decode(field string, into any) bool {
	raw := r.Fields[field].Value
	return len(raw) > 0 && json.Unmarshal(raw, into) == nil
}

// number returns the integer in a field, or 0 if there is none. In some responses
// the service sends times as floating-point numbers.
func (r *record) number(field string) int64 {
	var number float64
	if !r.decode(field, &number) {
		return 0
	}
	return int64(number)
}

// The first and the last time that a backup can store: the years 1 and 9999, with a
// day for time zones.
var (
	firstTime = time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC).UnixMilli()
	lastTime  = time.Date(9999, 12, 30, 0, 0, 0, 0, time.UTC).UnixMilli()
)

// time returns the time in a field in milliseconds since 1970, or 0 if there is
// none that a backup can store.
func (r *record) time(field string) int64 {
	var number float64
	if !r.decode(field, &number) || number < float64(firstTime) || number > float64(lastTime) {
		return 0
	}
	return int64(number)
}

// flag reports whether a field is set. The service uses both 1 and true.
func (r *record) flag(field string) bool {
	var set bool
	return r.decode(field, &set) && set || r.number(field) != 0
}

func (r *record) text(field string) string {
	var text string
	r.decode(field, &text)
	return text
}

// bytes returns the content of a field whose name ends in Enc. Despite that name,
// the response has it in base64 or as plain text.
func (r *record) bytes(field string) []byte {
	text := r.text(field)
	if r.Fields[field].Type == "STRING" {
		return []byte(text)
	}
	decoded, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return []byte(text)
	}
	return decoded
}

// encodedText returns the text in a field whose name ends in Enc.
func (r *record) encodedText(field string) string {
	return norm.NFC.String(strings.ToValidUTF8(string(r.bytes(field)), "\uFFFD"))
}

// master returns the name of the master that the record of an asset refers to.
func (r *record) master() string {
	var reference struct {
		Name string `json:"recordName"`
	}
	r.decode("masterRef", &reference)
	return reference.Name
}

// isSparse reports whether the record of an asset stands for a photo of a shared library.
// Such records have no master. That they have no content, and that no index counts them,
// is a guess.
// https://github.com/rhoopr/kei/issues/765
func (r *record) isSparse() bool { return r.master() == "" && r.flag("isSparsePrivateRecord") }

// noSize is the size of a file that the service describes without a valid size.
const noSize = -1

// file returns the file of the given kind that the record describes.
func (r *record) file(kind fileKind) (file, bool) {
	prefix := kinds[kind].prefix
	raw := r.Fields[prefix+"Res"].Value
	if len(raw) == 0 || string(raw) == "null" {
		return file{}, false
	}
	var resource struct {
		Size     *int64 `json:"size"`
		Checksum string `json:"fileChecksum"`
	}
	size := int64(noSize)
	if json.Unmarshal(raw, &resource) == nil && resource.Size != nil && *resource.Size > 0 {
		size = *resource.Size
	}
	return file{Kind: kind, Size: size, Checksum: resource.Checksum, Type: shared(r.text(prefix + "FileType"))}, true
}

// address returns the address of the content that a field describes, or nil if
// the field has none on a host that may have contents.
func (r *record) address(field string) *drive.Address {
	var resource struct {
		Address  string          `json:"downloadURL"`
		Checksum json.RawMessage `json:"fileChecksum"`
	}
	if !r.decode(field, &resource) || !hosts.MayHaveContents(resource.Address) {
		return nil
	}
	return &drive.Address{URL: resource.Address, Mark: string(resource.Checksum)}
}
