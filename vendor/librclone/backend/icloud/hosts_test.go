package icloud

import (
	"net/http"
	"strings"
	"testing"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/session"
	"plakar-icloud/librclone/backend/icloud/transport"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/stretchr/testify/assert"
)

// The cookies of the sign-in host are not part of the session: they are never sent, and
// they alone do not make a session.
func TestCookiesOfTheSignInHost(t *testing.T) {
	for _, gives := range []bool{true, false} {
		c := newFakeCloud()
		c.alive = false
		c.spoil = func(_ int, kind string, response *fakeResponse) {
			switch {
			case kind == "signin":
				response.header.Add("Set-Cookie", "aasp=secret; Domain=idmsa.apple.com; Secure; HttpOnly")
			case kind == "accountLogin" && !gives:
				response.header.Del("Set-Cookie")
			}
		}
		b := newBetween(c, func(_ string, req *http.Request) *fakeResponse {
			assert.NotContains(t, req.Header.Get("Cookie"), "aasp", req.URL)
			return nil
		})
		_, err := driveBy(b, "secret").List(background, "")
		if gives {
			assert.NoError(t, err)
			continue
		}
		assert.Equal(t, apierr.KindDenied, apierr.KindOf(err))
		assert.ErrorContains(t, err, "gives no session")
		assert.Equal(t, 1, b.counts["retrieveItemDetailsInFolders"])
	}
}

// The session is sent only to hosts of Apple, whatever the session file or the response
// to a sign-in names as the address of a service.
func TestAddressesOfServices(t *testing.T) {
	for address, works := range map[string]bool{
		"https://p1-drivews.icloud.com:443": true, "https://p1-drivews.icloud.com.cn:443": true,
		"http://p1-drivews.icloud.com": false, "https://drive.example.org": false, "https://icloud.com.example.org": false,
	} {
		for _, renews := range []bool{false, true} {
			c := newFakeCloud()
			c.add("root", "file", []byte("content"))
			c.spoil = func(_ int, kind string, response *fakeResponse) {
				if kind == "accountLogin" {
					response.body = []byte(strings.Replace(string(response.body), "https://p1-drivews.icloud.com:443", address, 1))
				}
			}
			b := newBetween(c, func(_ string, req *http.Request) *fakeResponse {
				assert.True(t, works || !strings.HasPrefix(address, req.URL.Scheme+"://"+req.URL.Host), req.URL)
				return nil
			})
			f := processBy(b, "secret", simtest.NewSessionFile(), func(state *session.File) {
				if state.Endpoints[hosts.Drive] = address; renews {
					state.Cookies, state.Endpoints = nil, nil
				}
			})
			entries, err := f.List(background, "")
			if works {
				assert.NoError(t, err, address)
				assert.Len(t, entries, 1)
				continue
			}
			assert.Equal(t, apierr.KindUnsupported, apierr.KindOf(err), address)
			assert.ErrorContains(t, err, "only sent to Apple's own hosts", address)
		}
	}
}

// A redirected call keeps its method, its body and its cookies. It is not redirected
// to another domain.
func TestRedirectedCalls(t *testing.T) {
	for _, status := range []int{301, 302, 307, 308} {
		for to, follows := range map[string]bool{
			"https://p2-drivews.icloud.com/other/retrieveItemDetailsInFolders": true,
			"/retrieveItemDetailsInFolders?hop=1":                              true,
			"http://p2-drivews.icloud.com/retrieveItemDetailsInFolders":        false,
			"https://idmsa.apple.com/retrieveItemDetailsInFolders":             false,
			"https://p2-drivews.icloud.com.cn/retrieveItemDetailsInFolders":    false,
			"https://icloud.com.example.org/retrieveItemDetailsInFolders":      false,
		} {
			c := newFakeCloud()
			c.add("root", "file", []byte("content"))
			b := newBetween(c, func(kind string, req *http.Request) *fakeResponse {
				if req.URL.Host == "p1-drivews.icloud.com" && req.URL.Query().Get("hop") == "" {
					return refusing(status, "", "Location", to)()
				}
				assert.True(t, follows, req.URL)
				assert.Equal(t, http.MethodPost, req.Method)
				return nil
			})
			entries, err := driveBy(b, "").List(background, "")
			if follows {
				assert.NoError(t, err, to)
				assert.Len(t, entries, 1)
			} else {
				assert.Error(t, err, to)
			}
		}
	}

	b := newBetween(newFakeCloud(), func(_ string, req *http.Request) *fakeResponse {
		return refusing(307, "", "Location", req.URL.Path)()
	})
	_, err := driveBy(b, "").List(background, "")
	assert.Error(t, err)
	assert.LessOrEqual(t, b.counts["retrieveItemDetailsInFolders"], transport.MaxRedirects+1)
}

// An upload that a content host of Apple refuses is repeated with cookies. Other hosts
// get neither contents nor cookies.
func TestUploadsThatRequireCookies(t *testing.T) {
	for host, works := range map[string]bool{"p1-contentws.icloud-content.com": true, "content.example.org": false} {
		c := newFakeCloud()
		c.spoil = func(_ int, kind string, response *fakeResponse) {
			if kind == "web" {
				response.body = []byte(strings.Replace(string(response.body), "p1-contentws.icloud.com", host, 1))
			}
		}
		var sent []string
		b := newBetween(c, func(kind string, req *http.Request) *fakeResponse {
			if kind == "content-post" {
				sent = append(sent, req.Header.Get("Cookie"))
				if !strings.Contains(req.Header.Get("Cookie"), "WEB=alive") {
					return refusing(403, "")()
				}
			}
			return nil
		})
		_, err := tryPut(driveBy(b, ""), "file", "content")
		if works {
			assert.Empty(t, sent[0], host)
			assert.NoError(t, err, host)
			assert.Len(t, sent, 2)
			continue
		}
		assert.ErrorContains(t, err, "no address for the upload on a host of Apple's", host)
		assert.Empty(t, sent, host)
	}
}
