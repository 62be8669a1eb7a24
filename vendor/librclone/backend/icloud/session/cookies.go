package session

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"plakar-icloud/librclone/backend/icloud/hosts"

	"github.com/rclone/rclone/backend/iclouddrive/api"
)

// HeadersFor returns the headers for a content host. Cookies are sent to
// iCloud's own domain only; on other hosts, the address itself grants access.
// rclone's client sends them everywhere. So if an earlier address was refused
// without cookies (denied), Apple's domain for contents gets them too.
func (s *Session) HeadersFor(address string, denied bool) map[string]string {
	headers := api.GetCommonHeaders(nil)
	host := strings.TrimSuffix(hosts.Of(address), ".cn")
	if strings.HasSuffix(host, ".icloud.com") || denied && strings.HasSuffix(host, ".icloud-content.com") {
		s.mu.Lock()
		defer s.mu.Unlock()
		headers["Cookie"] = CookieHeader(s.state.Cookies)
	}
	return headers
}

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

// MergeCookies returns old with the cookies of a response. It does not modify
// old, which other requests may be using.
func MergeCookies(old []Cookie, answered []*http.Cookie) []Cookie {
	merged := append([]Cookie(nil), old...)
	for _, cookie := range answered {
		at := -1
		for i := range merged {
			if merged[i].Name == cookie.Name {
				at = i
			}
		}
		switch {
		case deletes(cookie) && at >= 0:
			merged = append(merged[:at], merged[at+1:]...)
		case deletes(cookie):
		case at >= 0:
			merged[at].Value = Secret(cookie.Value)
		default:
			merged = append(merged, Cookie{Name: cookie.Name, Value: Secret(cookie.Value)})
		}
	}
	return merged
}

// deletes reports whether a response deletes a cookie: by an empty value or by
// an expiry that has passed (RFC 6265, in which Max-Age takes precedence).
func deletes(cookie *http.Cookie) bool {
	if cookie.Value == "" || cookie.MaxAge < 0 {
		return true
	}
	return cookie.MaxAge == 0 && !cookie.Expires.IsZero() && !cookie.Expires.After(time.Now())
}

// HasCookie reports whether there is a cookie of a name.
func HasCookie(cookies []Cookie, name string) bool {
	for _, cookie := range cookies {
		if cookie.Name == name {
			return true
		}
	}
	return false
}

// PCSCookie gives access to Drive's data when Advanced Data Protection is on.
const PCSCookie = pcsPrefix + "Documents"

// pcsPrefix begins the names of all cookies for protected data.
const pcsPrefix = "X-APPLE-WEBAUTH-PCS-"

// CookieHeader returns the cookies of the session in the form of a request
// header.
func (f *File) CookieHeader() string { return CookieHeader(f.Cookies) }

// TakePCS copies the cookies for protected data, and what is known of the
// consent to them, from another state of the same session. It reports whether
// the session is still the same.
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

// DropPCS removes the cookie for protected data before a new one is requested,
// because the old one would be taken for the new one.
func (f *File) DropPCS() {
	f.Cookies = slices.DeleteFunc(slices.Clone(f.Cookies), func(c Cookie) bool { return c.Name == PCSCookie })
}

// HasPCS reports whether the session has the cookie for Drive's protected data.
func (f *File) HasPCS() bool { return HasCookie(f.Cookies, PCSCookie) }
