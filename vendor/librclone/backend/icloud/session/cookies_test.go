package session

import (
	"net/http"
	"testing"
	"time"

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

// Cookies are sent only to iCloud's own hosts.
func TestCookiesAreSentToICloudOnly(t *testing.T) {
	s := New("test", "", 0, nil)
	s.state.Cookies = []Cookie{{"a", "secret"}}
	for address, sent := range map[string]bool{
		"https://p31-contentws.icloud.com:443/singleFileUpload": true,
		"https://cvws.icloud-content.com/B/x":                   false,
		"https://icloud.com.example.org/":                       false,
		"https://noticloud.com/":                                false,
	} {
		_, has := s.HeadersFor(address, false)["Cookie"]
		assert.Equal(t, sent, has, address)
	}
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
