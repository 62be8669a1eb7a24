package session

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rclone/rclone/backend/iclouddrive/api"
)

// HeadersFor returns the headers for a content host. Cookies are sent only to the
// domain of the account's iCloud, because elsewhere the address itself grants
// access. rclone's client sends them everywhere. So if denied is set, which means
// that an earlier address was refused without cookies, they are also sent to
// Apple's domain for contents.
func (s *Session) HeadersFor(address string, denied bool) map[string]string {
	access := s.Current()
	if access.domain.Owns(address) || denied && access.domain.OwnsContent(address) {
		return access.Headers()
	}
	return access.domain.Headers(api.GetCommonHeaders(nil))
}

// Headers returns the headers of a call with these credentials.
func (a *Access) Headers() map[string]string {
	return a.domain.Headers(api.GetCommonHeaders(map[string]string{"Cookie": CookieHeader(a.cookies)}))
}

// Owns reports whether the host of an address belongs to the account's iCloud.
func (a *Access) Owns(address string) bool { return a.domain.Owns(address) }

// CookieHeader returns cookies in the form of a request header.
func CookieHeader(cookies []Cookie) string {
	var header strings.Builder
	for _, cookie := range cookies {
		if header.Len() > 0 {
			header.WriteString("; ")
		}
		header.WriteString(cookie.Name + "=" + string(cookie.Value))
	}
	return header.String()
}

// MergeCookies returns the old cookies with the changes that a response makes.
// It does not modify old, which other requests may be using.
func MergeCookies(old []Cookie, received []*http.Cookie) []Cookie {
	merged := slices.Clone(old)
	for _, cookie := range received {
		at := slices.IndexFunc(merged, func(c Cookie) bool { return c.Name == cookie.Name })
		switch {
		case deletes(cookie) && at >= 0:
			merged = slices.Delete(merged, at, at+1)
		case deletes(cookie):
		case at >= 0:
			merged[at].Value = Secret(cookie.Value)
		default:
			merged = append(merged, Cookie{Name: cookie.Name, Value: Secret(cookie.Value)})
		}
	}
	return merged
}

// deletes reports whether a received cookie deletes the cookie of its name: by an
// empty value, or by an expiry that has passed (RFC 6265, in which Max-Age takes
// precedence).
func deletes(cookie *http.Cookie) bool {
	if cookie.Value == "" || cookie.MaxAge < 0 {
		return true
	}
	return cookie.MaxAge == 0 && !cookie.Expires.IsZero() && !cookie.Expires.After(time.Now())
}

// HasCookie reports whether cookies has a cookie with a name.
func HasCookie(cookies []Cookie, name string) bool {
	return slices.ContainsFunc(cookies, func(c Cookie) bool { return c.Name == name })
}

// PCSCookie is the name of the cookie that gives access to Drive's data when
// Advanced Data Protection is on.
const PCSCookie = pcsPrefix + "Documents"

// PhotosPCSCookie is the name of the cookie that gives access to the photo library
// when Advanced Data Protection is on.
const PhotosPCSCookie = pcsPrefix + "Photos"

// pcsPrefix is the prefix of the names of all cookies for protected data.
const pcsPrefix = "X-APPLE-WEBAUTH-PCS-"

// CookieHeader returns the cookies of the session in the form of a request
// header.
func (f *File) CookieHeader() string { return CookieHeader(f.Cookies) }

// TakePCS copies the cookies for protected data, and the consent to them, from
// another state of the same session. before is the time of the renewal that this
// other state was derived from. If f has been renewed since, TakePCS changes
// nothing and returns false.
func (f *File) TakePCS(from *File, before time.Time) bool {
	if f.TrustToken != from.TrustToken || !f.RenewedAt.Equal(before) {
		return false
	}
	for _, cookie := range from.Cookies {
		if strings.HasPrefix(cookie.Name, pcsPrefix) {
			f.Cookies = MergeCookies(f.Cookies, []*http.Cookie{{Name: cookie.Name, Value: string(cookie.Value)}})
		}
	}
	f.Protected, f.ConsentUntil, f.RenewedAt = from.Protected, from.ConsentUntil, from.RenewedAt
	return true
}

// DropPCS removes the cookie for protected data. It is called before a new one
// is requested, so that the old one is not taken for the new one.
func (f *File) DropPCS() {
	f.Cookies = slices.DeleteFunc(slices.Clone(f.Cookies), func(c Cookie) bool { return c.Name == PCSCookie })
}

// HasPCS reports whether the session has the cookie for Drive's protected data.
func (f *File) HasPCS() bool { return HasCookie(f.Cookies, PCSCookie) }
