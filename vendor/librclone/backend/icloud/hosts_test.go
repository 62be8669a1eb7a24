package icloud

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
)

// The cookies of the sign-in host stay out of the session: they are sent nowhere,
// and a session of them alone is none.
func TestCookiesOfTheSignInHost(t *testing.T) {
	for _, gives := range []bool{true, false} {
		c := newFakeCloud()
		c.alive = false
		c.spoil = func(_ int, kind string, answer *fakeAnswer) {
			switch {
			case kind == "signin":
				answer.header.Add("Set-Cookie", "aasp=secret; Domain=idmsa.apple.com; Secure; HttpOnly")
			case kind == "accountLogin" && !gives:
				answer.header.Del("Set-Cookie")
			}
		}
		b := newBetween(c, func(_ string, req *http.Request) *fakeAnswer {
			assert.NotContains(t, req.Header.Get("Cookie"), "aasp", req.URL)
			return nil
		})
		_, err := driveBy(b, "secret").List(background, "")
		if gives {
			assert.NoError(t, err)
			continue
		}
		assert.Equal(t, KindNeedsLogin, KindOf(err))
		assert.ErrorContains(t, err, "gave no session")
		assert.Equal(t, 1, b.counts["retrieveItemDetailsInFolders"])
	}
}
