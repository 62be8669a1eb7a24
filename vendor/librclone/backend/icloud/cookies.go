package icloud

import (
	"net/http"
	"strings"
	"time"

	"github.com/rclone/rclone/backend/iclouddrive/api"
)

// headersFor returns the headers for a content host. Cookies are sent to
// iCloud's own domain only; on other hosts, the address itself grants access.
// rclone's client sends them everywhere. So if an earlier address was refused
// without cookies (denied), Apple's domain for contents gets them too.
func (s *session) headersFor(address string, denied bool) map[string]string {
	headers := api.GetCommonHeaders(nil)
	host := strings.TrimSuffix(hostOf(address), ".cn")
	if strings.HasSuffix(host, ".icloud.com") || denied && strings.HasSuffix(host, ".icloud-content.com") {
		s.mu.Lock()
		defer s.mu.Unlock()
		headers["Cookie"] = cookieHeader(s.state.Cookies)
	}
	return headers
}

func cookieHeader(cookies []Cookie) string {
	var header strings.Builder
	for _, cookie := range cookies {
		if header.Len() > 0 {
			header.WriteString("; ")
		}
		header.WriteString(cookie.Name + "=" + string(cookie.Value))
	}
	return header.String()
}

// mergeCookies returns old with the cookies of a response. It does not modify
// old, which other requests may be using.
func mergeCookies(old []Cookie, answered []*http.Cookie) []Cookie {
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

func hasCookie(cookies []Cookie, name string) bool {
	for _, cookie := range cookies {
		if cookie.Name == name {
			return true
		}
	}
	return false
}
