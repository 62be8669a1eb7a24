package icloud

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/service"

	"github.com/rclone/rclone/backend/iclouddrive"
	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config/obscure"
	"github.com/rclone/rclone/fs/fserrors"
	"github.com/rclone/rclone/fs/fshttp"
	"github.com/rclone/rclone/lib/encoder"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The tests in this file check the values and the behaviour of rclone on which this
// backend relies and which the compiler does not check. A failure after an update of
// rclone shows what the update has changed.

// browser is the User-Agent of rclone, which this backend sends, too.
const browser = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.3.1 Safari/605.1.15"

// Package service sends these headers with the cookies of the session.
func TestRcloneHeadersOfServices(t *testing.T) {
	assert.Equal(t, map[string]string{
		"Content-Type": "application/json",
		"Origin":       "https://www.icloud.com",
		"Referer":      "https://www.icloud.com/",
		"User-Agent":   browser,
		"Cookie":       "a=b",
	}, api.GetCommonHeaders(map[string]string{"Cookie": "a=b"}))
}

// Packages signin and account send these headers in a sign-in.
func TestRcloneHeadersOfSignIns(t *testing.T) {
	wanted := map[string]string{
		"Accept":                           "application/json",
		"Content-Type":                     "application/json",
		"User-Agent":                       browser,
		"Origin":                           "https://idmsa.apple.com",
		"Referer":                          "https://idmsa.apple.com/",
		"X-Apple-Widget-Key":               "client",
		"X-Apple-OAuth-Client-Id":          "client",
		"X-Apple-OAuth-Client-Type":        "firstPartyAuth",
		"X-Apple-OAuth-Redirect-URI":       "https://www.icloud.com",
		"X-Apple-OAuth-Require-Grant-Code": "true",
		"X-Apple-OAuth-Response-Mode":      "web_message",
		"X-Apple-OAuth-Response-Type":      "code",
		"X-Apple-OAuth-State":              "auth-frame",
		"X-Apple-Frame-Id":                 "auth-frame",
		"X-Requested-With":                 "XMLHttpRequest",
		"X-Apple-Mandate-Security-Upgrade": "0",
		"X-Apple-I-Require-UE":             "true",
		"X-Apple-I-FD-Client-Info":         `{"U":"` + browser + `","L":"en-US","Z":"GMT-05:00","V":"1.1","F":""}`,
	}
	session := &api.Session{ClientID: "client", FrameID: "frame"}
	assert.Equal(t, wanted, session.GetAuthHeaders(nil))
	session.AuthAttributes, session.Scnt, session.SessionID = "attributes", "scnt", "session"
	wanted["X-Apple-Auth-Attributes"], wanted["scnt"], wanted["X-Apple-ID-Session-Id"] = "attributes", "scnt", "session"
	assert.Equal(t, wanted, session.GetAuthHeaders(nil))
}

// Session files contain these names of services, and the ids of items have these parts.
func TestRcloneNamesOfServicesAndItems(t *testing.T) {
	assert.Equal(t, []string{"drivews", "docws", "ckdatabasews"}, []string{hosts.Drive, hosts.Docs, hosts.Photos})
	assert.Equal(t, "FILE::zone::id", api.ConstructDriveID("id", "zone", "FILE"))
	for id, parts := range map[string][4]string{
		"FILE::zone::id": {"FILE", "zone", "id", "zone"},
		"id":             {"", "", "id", "com.apple.CloudDocs"},
	} {
		kind, zone, docID := api.DeconstructDriveID(id)
		assert.Equal(t, parts, [4]string{kind, zone, docID, api.ZoneFromDriveID(id)}, id)
		assert.Equal(t, parts[2], api.GetDocIDFromDriveID(id))
	}
	assert.Equal(t, "text/plain", api.GetContentTypeForFile("a.unknown"))
	assert.Equal(t, "image/png", api.GetContentTypeForFile("a.png"))
}

// These JSON forms and cookies are encoded by rclone's types.
func TestRcloneForms(t *testing.T) {
	for want, form := range map[string]any{
		`{"is_executable":false,"is_hidden":false,"is_writable":true}`: api.FileFlags{IsWritable: true},
		`{"url":"u","document_id":"d"}`:                                api.UploadResponse{URL: "u", DocumentID: "d"},
	} {
		data, err := json.Marshal(form)
		require.NoError(t, err)
		assert.JSONEq(t, want, string(data))
	}
	cookies := iclouddrive.ReadCookies(`a=1; b="2"`)
	require.Len(t, cookies, 2)
	assert.Equal(t, []string{"a", "1", "b", "2"}, []string{cookies[0].Name, cookies[0].Value, cookies[1].Name, cookies[1].Value})
}

// This backend opens configurations of rclone's backend, so it has the same options.
func TestRcloneOptions(t *testing.T) {
	rclones, err := fs.Find("iclouddrive")
	require.NoError(t, err)
	own, err := fs.Find("icloud")
	require.NoError(t, err)
	ours := map[string]fs.Option{}
	for _, option := range own.Options {
		ours[option.Name] = option
	}
	defaults := map[string]any{}
	for _, option := range rclones.Options {
		defaults[option.Name] = option.Default
		require.Contains(t, ours, option.Name)
		assert.Equal(t, option.IsPassword, ours[option.Name].IsPassword, option.Name)
		assert.Equal(t, option.Sensitive, ours[option.Name].Sensitive, option.Name)
	}
	encoding := encoder.Display | encoder.EncodeBackSlash | encoder.EncodeSlash | encoder.EncodeInvalidUtf8
	assert.Equal(t, map[string]string{
		"service": "drive", "apple_id": "", "password": "", "trust_token": "", "cookies": "",
		"client_id": service.DefaultClientID, "encoding": encoding.String(), "description": "",
	}, shown(defaults))
}

func shown(defaults map[string]any) map[string]string {
	texts := map[string]string{"description": ""} // which rclone adds to every backend
	for name, value := range defaults {
		texts[name] = ""
		if value != nil {
			texts[name] = fmt.Sprint(value)
		}
	}
	return texts
}

// Configurations contain passwords in this form.
func TestRcloneObscuredPasswords(t *testing.T) {
	revealed, err := obscure.Reveal("2Y72Y3E8WLfjWweZoVSzkw852ITc7nmwlZiqk2A")
	require.NoError(t, err)
	assert.Equal(t, "correct horse", revealed)
}

// rclone recognises the errors of this backend by their interfaces.
func TestRcloneRecognisesOurErrors(t *testing.T) {
	temporary := apierr.New(apierr.KindNetwork, "", "", "no response")
	assert.True(t, fserrors.IsRetryError(temporary))
	assert.False(t, fserrors.IsNoRetryError(temporary))
	assert.True(t, fserrors.IsNoLowLevelRetryError(temporary), "the backend has retried it")
	assert.False(t, fserrors.IsNoLowLevelRetryError(apierr.New(apierr.KindDamaged, "", "", "cut").FromStart()))
	assert.True(t, fserrors.IsNoRetryError(apierr.New(apierr.KindQuota, "", "", "full")))
	assert.True(t, fserrors.IsFatalError(apierr.New(apierr.KindNeedsLogin, "", "", "over")))
	assert.False(t, fserrors.IsFatalError(temporary))
	temporary.Wait = time.Hour
	assert.WithinDuration(t, time.Now().Add(time.Hour), fserrors.RetryAfterErrorTime(temporary), time.Minute)
	assert.True(t, errors.Is(apierr.New(apierr.KindNotFound, "", "", "gone"), fs.ErrorObjectNotFound))
}

// The request filter of rclone's transport sets the User-Agent.
func TestRcloneTransport(t *testing.T) {
	_, ok := fshttp.NewClientCustom(background, nil).Transport.(*fshttp.Transport)
	assert.True(t, ok)
}
