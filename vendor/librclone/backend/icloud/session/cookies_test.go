package session

import (
	"net/http"
	"testing"
	"time"

	"plakar-icloud/librclone/backend/icloud/hosts"

	"github.com/stretchr/testify/assert"
)

// A response deletes a cookie by an empty value or by an expiry in the past.
func TestResponsesDeleteCookies(t *testing.T) {
	later := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	for set, left := range map[string]string{
		"A=":                   "",
		"A=deleted; Max-Age=0": "",
		"A=deleted; Expires=Thu, 01 Jan 1970 00:00:00 GMT":         "",
		"A=new; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT": "A=new",
		"A=new; Expires=" + later:                                  "A=new",
		"A=new":                                                    "A=new",
		"B=deleted; Max-Age=0":                                     "A=old",
	} {
		resp := http.Response{Header: http.Header{"Set-Cookie": {set}}}
		assert.Equal(t, left, CookieHeader(MergeCookies([]Cookie{{"A", "old"}}, resp.Cookies())), set)
	}
}

// Cookies are sent only to the hosts of the account's own iCloud, and to those of its
// contents only after a refusal.
func TestCookiesAreSentToTheOwnICloudOnly(t *testing.T) {
	s := New("test", "", 0, nil)
	s.state.Cookies = []Cookie{{"a", "secret"}}
	type receives struct{ always, denied, china, chinaDenied bool }
	for address, sent := range map[string]receives{
		"https://p31-contentws.icloud.com:443/singleFileUpload": {true, true, false, false},
		"https://p31-contentws.icloud.com.cn:443/":              {false, false, true, true},
		"https://cvws.icloud-content.com/B/x":                   {false, true, false, false},
		"https://cvws.icloud-content.com.cn/B/x":                {false, false, false, true},
		"https://icloud.com.example.org/":                       {},
		"https://noticloud.com/":                                {},
	} {
		has := func(domain hosts.Domain, denied bool) bool {
			s.state.Domain = domain
			_, has := s.HeadersFor(address, denied)["Cookie"]
			return has
		}
		assert.Equal(t, sent, receives{has(hosts.World, false), has(hosts.World, true), has(hosts.China, false), has(hosts.China, true)}, address)
	}
	s.state.Domain = hosts.World
	header := http.Header{}
	for name, value := range s.HeadersFor("https://p31-contentws.icloud.com/", false) {
		header.Set(name, value)
	}
	assert.Equal(t, "a=secret", header.Get("Cookie"))
}

// Cookies for protected data are stored only in the session that they were
// requested for.
func TestPCSOfAnotherSession(t *testing.T) {
	now := time.Now().UTC()
	asked := &File{TrustToken: "trust", RenewedAt: now.Add(time.Minute), Cookies: []Cookie{{"WEB", "old"}, {PCSCookie, "fresh"}}}
	file := &File{TrustToken: "trust", RenewedAt: now, Cookies: []Cookie{{"WEB", "rotated"}, {"NEW", "1"}}}
	assert.True(t, file.TakePCS(asked, now))
	assert.Equal(t, []Cookie{{"WEB", "rotated"}, {"NEW", "1"}, {PCSCookie, "fresh"}}, file.Cookies)
	renewed := &File{TrustToken: "trust", RenewedAt: now.Add(time.Second), Cookies: []Cookie{{"WEB", "renewed"}}}
	assert.False(t, renewed.TakePCS(asked, now))
	assert.Equal(t, []Cookie{{"WEB", "renewed"}}, renewed.Cookies)
}
