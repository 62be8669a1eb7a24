package apierr

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// The reason of a refusal takes precedence over its status.
func TestKindByReason(t *testing.T) {
	for reason, kind := range map[string]string{
		"Missing X-APPLE-WEBAUTH-TOKEN cookie": KindNeedsLogin,
		"OVER_QUOTA":                           KindQuota,
		"something else":                       KindDenied,
	} {
		refused := Refusal{Status: http.StatusForbidden, Reason: reason}
		assert.Equal(t, kind, refused.Kind(), reason)
	}
}

// Known codes and texts are found in every member of a response.
func TestKindByTextInAnyMember(t *testing.T) {
	for body, want := range map[string]string{
		`{"serverErrorCode":"ZONE_BUSY","reason":"x"}`:     KindThrottled,
		`{"errorCode":"ZONE_BUSY"}`:                        KindThrottled,
		`{"error":{"code":"ZONE_BUSY"}}`:                   KindThrottled,
		`{"reason":"Op-Lock: another write is under way"}`: KindThrottled,
		`zone_busy`: KindThrottled,
		`{"serverErrorCode":"UNIQUE_FIELD_ERROR"}`:                            KindExists,
		`{"errorReason":"Uniqueness constraint violation. Rejecting update"}`: KindExists,
		`{"error_message":"ALREADY_EXISTS"}`:                                  KindExists,
		`{"reason":"does not exist"}`:                                         KindChanged,
		`{}`:                                                                  KindChanged,
		`{"requestUUID":"ab-cd","errorReason":"Conflict","errorCode":409,"x":null}`: KindChanged,
	} {
		resp := &http.Response{StatusCode: 409, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
		assert.Equal(t, want, NewRefusal(resp).Kind(), body)
	}
}

// Retry-After has seconds or a date; anything else counts as no header.
func TestRetryAfterHeader(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "5": 5 * time.Second, "0": 0, "-3": 0, "x": 0, "99999999999": 0,
		"Thu, 01 Jan 2026 00:01:00 GMT": time.Minute,
		"Thu, 01 Jan 2025 00:01:00 GMT": 0,
	} {
		assert.Equal(t, want, RetryAfter(http.Header{"Retry-After": {value}}, now), value)
	}
}

// A response refers to the other domain of iCloud by its body or by a redirect, unless
// it has one of Apple's error codes.
func TestDomainThatAResponseRefersTo(t *testing.T) {
	for _, test := range []struct{ host, location, body, want string }{
		{"setup.icloud.com", "", `{"domainToUse":"iCloud.com.cn"}`, "iCloud.com.cn"},
		{"setup.icloud.com.cn", "", `{"domainToUse":"iCloud.com"}`, "iCloud.com"},
		{"setup.icloud.com.cn", "", `{"domainToUse":"iCloud.com.cn"}`, ""},
		{"setup.icloud.com", "", `{"domainToUse":"example.org"}`, "example.org"},
		{"setup.icloud.com", "https://setup.icloud.com.cn/setup/ws/1/accountLogin", "", "icloud.com.cn"},
		{"setup.icloud.com", "https://example.org/", "", ""},
		{"idmsa.apple.com", "", `{"domainToUse":"iCloud.com.cn","serviceErrors":[{"code":"` + CodeWrongPassword + `"}]}`, ""},
		{"idmsa.apple.com", "https://idmsa.apple.com.cn/", `{"serviceErrors":[{"code":"` + CodeLocked + `"}]}`, ""},
	} {
		refused := &Refusal{Status: http.StatusFound, Host: test.host, Location: test.location, Body: []byte(test.body)}
		assert.Equal(t, test.want, refused.Elsewhere(), test)
	}
}
