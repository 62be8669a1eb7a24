package icloud

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Documents that the service refuses as if the session were over fail alone:
// all else goes on, and they cost one sign-in together.
func TestDocumentsThatAreAlwaysRefused(t *testing.T) {
	for _, status := range []int{401, 421, 423, 450} {
		for _, busy := range []bool{false, true} {
			t.Run(fmt.Sprint(status, " ", busy), func(t *testing.T) {
				c := newFakeCloud()
				var refused []string
				for i := range 8 {
					refused = append(refused, c.add("root", fmt.Sprint("refused", i), []byte("content")).id)
				}
				c.add("root", "good", []byte("content"))
				b := newBetween(c, func(kind string, req *http.Request) *fakeAnswer {
					for _, id := range refused {
						if kind == "by_id" && strings.Contains(req.URL.RawQuery, id) {
							return refusing(status, "")()
						}
					}
					return nil
				})
				f := driveBy(b, "secret")
				stop, done := make(chan struct{}), make(chan struct{})
				go func() { // the work of others, which the session is good for
					defer close(done)
					for busy {
						select {
						case <-stop:
							return
						default:
							_ = f.drive.listOne(background, driveRoot)
						}
					}
				}()
				for i := range refused {
					o, err := f.NewObject(background, fmt.Sprint("refused", i))
					require.NoError(t, err)
					_, err = read(o)
					assert.Equal(t, KindDenied, KindOf(err), "%v", err)
				}
				close(stop)
				<-done
				assert.NoError(t, holdsContent(f, "good", "content"))
				assert.Equal(t, 1, b.counts["accountLogin"], "%v", b.counts)
				assert.LessOrEqual(t, b.counts["validate"], len(refused))
				assert.LessOrEqual(t, b.counts["by_id"], 4*len(refused)+1)
			})
		}
	}
}

// Processes that share a session and meet a document that is always refused do
// not sign in in turns.
func TestRefusedDocumentsOfManyProcesses(t *testing.T) {
	path, _ := signedInFile(t)
	c := newFakeCloud()
	c.add("root", "refused", []byte("content"))
	b := newBetween(c, func(kind string, _ *http.Request) *fakeAnswer {
		if kind == "by_id" {
			return refusing(421, "")()
		}
		return nil
	})
	var processes []*Fs
	for range 4 {
		f := driveBy(b, "secret")
		signer := &signer{service: f.drive.service, name: "remote"}
		f.drive.service.session = process(t, path, signer.renew)
		f.drive.service.session.state.Cookies = []Cookie{{"WEB", "alive"}}
		processes = append(processes, f)
	}
	inParallel(4, 40, func(i int) {
		f := processes[i%4]
		o, err := f.NewObject(background, "refused")
		if assert.NoError(t, err) {
			_, err = read(o)
			assert.Equal(t, KindDenied, KindOf(err), "%v", err)
		}
	})
	assert.Zero(t, b.counts["accountLogin"], "the session was just begun: %v", b.counts)
}

// A session that Apple says is good and that serves nothing is renewed by a
// sign-in, once, though the last one was just now.
func TestFreshSessionThatServesNothing(t *testing.T) {
	for _, helps := range []bool{true, false} {
		c := newFakeCloud()
		signedIn := false
		b := newBetween(c, func(kind string, _ *http.Request) *fakeAnswer {
			signedIn = signedIn || helps && kind == "accountLogin"
			if kind == "retrieveItemDetailsInFolders" && !signedIn {
				return refusing(421, "")()
			}
			return nil
		})
		f := driveBy(b, "secret")
		f.drive.service.session.state.SignedInAt = time.Now()
		_, err := f.List(background, "")
		assert.Equal(t, 1, b.counts["accountLogin"])
		if helps {
			assert.NoError(t, err)
			continue
		}
		var typed *Error
		require.ErrorAs(t, err, &typed)
		assert.Equal(t, CauseWebAccessOff, typed.Cause())
		assert.Equal(t, 2, b.counts["validate"], "of the old session and of the new one")
	}
}

// A sign-in that fails is not repeated by everybody who waited for it, nor by
// those who come after them, and each gets to know why it failed.
func TestFailedSignInIsNotRepeated(t *testing.T) {
	noDrive := `{"dsInfo":{"hsaVersion":2},"webservices":{}}`
	for _, test := range []struct {
		kind   string
		answer func() *fakeAnswer
		fails  string
	}{
		{"signin", refusing(500, "<html>"), KindNetwork},
		{"accountLogin", refusing(500, "<html>"), KindNetwork},
		{"accountLogin", refusing(502, ""), KindNetwork},
		{"accountLogin", refusing(200, "<html>"), KindDamaged},
		{"accountLogin", refusing(200, noDrive), KindUnsupported},
		{"init", refusing(200, "<html>"), KindDamaged},
	} {
		t.Run(fmt.Sprint(test.kind, " ", test.fails), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newFakeCloud()
				c.alive = false
				failing := true
				b := newBetween(c, func(kind string, _ *http.Request) *fakeAnswer {
					if failing && kind == test.kind {
						return test.answer()
					}
					return nil
				})
				f := driveBy(b, "secret")
				for range 2 {
					inParallel(30, 60, func(i int) {
						_, err := f.List(background, fmt.Sprint("folder", i))
						assert.Equal(t, test.fails, KindOf(err), "%v", err)
					})
				}
				assert.Equal(t, 1, b.counts["signin"], "%v", b.counts)

				time.Sleep(unnamedWait + time.Second) // of the test's own time
				_, _ = f.List(background, "")
				assert.Equal(t, 2, b.counts["signin"], "it is tried again later")
				time.Sleep(unnamedWait + time.Second)
				_, _ = f.List(background, "")
				assert.Equal(t, 2, b.counts["signin"], "and after that later still")

				failing = false
				time.Sleep(unnamedWait)
				_, err := f.List(background, "")
				assert.NoError(t, err)
				assert.Zero(t, f.drive.service.session.state.Refused)
			})
		})
	}
}

// Where the network fails, nothing has reached Apple that would have to be kept
// from it for a while.
func TestSignInAfterTheNetworkFailed(t *testing.T) {
	c := newFakeCloud()
	c.alive = false
	failing := true
	c.limit = 1000
	c.instead = func(_ int, kind string) *fakeAnswer {
		if failing && kind == "signin" {
			return &fakeAnswer{lost: true}
		}
		return nil
	}
	f := c.drive("secret")
	_, err := f.List(background, "")
	assert.Equal(t, KindNetwork, KindOf(err), "%v", err)
	failing = false
	_, err = f.List(background, "")
	assert.NoError(t, err)
}
