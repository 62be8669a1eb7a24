package icloud

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/session"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/rclone/rclone/fs/log"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The error about sign-ins of unknown outcome is the same after each run.
func TestErrorAboutUnclearSignInsIsStable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud()
		c.alive = false
		b := newBetween(c, func(kind string, _ *http.Request) *fakeResponse {
			if kind == "complete" {
				return &fakeResponse{lost: true, carriedOut: true}
			}
			return nil
		})
		path := simtest.NewSessionFile()
		require.NoError(t, session.SaveFile(path, &session.File{
			AppleID: "user@example.com", TrustToken: "trust", Cookies: []session.Cookie{{Name: "WEB", Value: "over"}}, Proofs: session.ProofLog{Sent: session.MaxProofs - 1},
		}))
		run := func() *apierr.Error {
			_, err := patientProcess(b, "secret", path).List(background, "")
			var typed *apierr.Error
			require.ErrorAs(t, err, &typed)
			time.Sleep(time.Hour) // on the clock of synctest
			return typed
		}
		first := run()
		assert.Equal(t, apierr.CauseUnclear, first.Cause())
		assert.Equal(t, 1, strings.Count(first.Reason(), "not known"), first.Reason())
		for range 3 {
			assert.Equal(t, first.Reason(), run().Reason())
			assert.Equal(t, first.Why, loaded(t, path).Refused.Reason)
		}
	})
}

// A process that waits for the time in the session file logs the reason in one line.
func TestWaitOfARenewalIsLoggedOnce(t *testing.T) {
	var lines []string
	log.Handler.SetOutput(func(level slog.Level, text string) {
		if level >= slog.LevelWarn {
			lines = append(lines, text)
		}
	})
	defer log.Handler.ResetOutput()
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud()
		c.alive = false
		path := simtest.NewSessionFile()
		require.NoError(t, session.SaveFile(path, &session.File{
			AppleID: "user@example.com", TrustToken: "trust", Cookies: []session.Cookie{{Name: "WEB", Value: "over"}},
			Refused: session.Refusals{Reason: "iCloud does not accept the sign-in (status 503)", NotBefore: time.Now().Add(30 * time.Second)},
		}))
		_, err := patientProcess(newBetween(c, func(string, *http.Request) *fakeResponse { return nil }), "secret", path).List(background, "")
		assert.NoError(t, err)
	})
	require.Len(t, lines, 1)
	assert.Contains(t, lines[0], "is renewed again within 5m0s, because the last renewal failed: iCloud does not accept the sign-in (status 503)")
	assert.NotContains(t, lines[0], "asks to wait")
}
