package icloud

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/session"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Documents that the service always refuses as if the session had ended fail alone. All
// of them together cause only one sign-in.
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
				b := newBetween(c, func(kind string, req *http.Request) *fakeResponse {
					for _, id := range refused {
						if kind == "by_id" && strings.Contains(req.URL.RawQuery, id) {
							return refusing(status, "")()
						}
					}
					return nil
				})
				f := driveBy(b, "secret")
				stop, done := make(chan struct{}), make(chan struct{})
				go func() { // other calls, which succeed with the session
					defer close(done)
					for busy {
						select {
						case <-stop:
							return
						default:
							_, _ = f.List(background, "")
						}
					}
				}()
				for i := range refused {
					o, err := f.NewObject(background, fmt.Sprint("refused", i))
					require.NoError(t, err)
					_, err = read(o)
					assert.Equal(t, apierr.KindDenied, apierr.KindOf(err), "%v", err)
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

// A document that is always refused does not make the processes that share a session
// sign in one after the other.
func TestRefusedDocumentsOfManyProcesses(t *testing.T) {
	path, now := simtest.NewSessionFile(), time.Now().UTC()
	require.NoError(t, session.SaveFile(path, &session.File{AppleID: "user@example.com", ClientID: "client", TrustToken: "trust", SessionToken: "proof",
		Cookies:   []session.Cookie{{Name: "WEB", Value: "alive"}},
		Endpoints: map[string]string{hosts.Drive: "https://p1-drivews.icloud.com", hosts.Docs: "https://p1-docws.icloud.com"},
		RenewedAt: now, SignedInAt: now}))
	c := newFakeCloud()
	c.add("root", "refused", []byte("content"))
	b := newBetween(c, func(kind string, _ *http.Request) *fakeResponse {
		if kind == "by_id" {
			return refusing(421, "")()
		}
		return nil
	})
	var processes []*Fs
	for range 4 {
		processes = append(processes, processBy(b, "secret", path))
	}
	simtest.InParallel(4, 40, func(i int) {
		f := processes[i%4]
		o, err := f.NewObject(background, "refused")
		if assert.NoError(t, err) {
			_, err = read(o)
			assert.Equal(t, apierr.KindDenied, apierr.KindOf(err), "%v", err)
		}
	})
	assert.Zero(t, b.counts["accountLogin"], "the session was just begun: %v", b.counts)
}

// A new session that Apple confirms but with which every call is refused is renewed by a
// sign-in, once.
func TestNewSessionThatIsUseless(t *testing.T) {
	for _, helps := range []bool{true, false} {
		c := newFakeCloud()
		signedIn := false
		b := newBetween(c, func(kind string, _ *http.Request) *fakeResponse {
			signedIn = signedIn || helps && kind == "accountLogin"
			if kind == "retrieveItemDetailsInFolders" && !signedIn {
				return refusing(421, "")()
			}
			return nil
		})
		f := processBy(b, "secret", simtest.NewSessionFile(), func(state *session.File) { state.SignedInAt = time.Now() })
		_, err := f.List(background, "")
		assert.Equal(t, 1, b.counts["accountLogin"])
		if helps {
			assert.NoError(t, err)
			continue
		}
		var typed *apierr.Error
		require.ErrorAs(t, err, &typed)
		assert.Equal(t, apierr.CauseWebAccessOff, typed.Cause())
		assert.Equal(t, 2, b.counts["validate"], "of the old session and of the new one")
	}
}
