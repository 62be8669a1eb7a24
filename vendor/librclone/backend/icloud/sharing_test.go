package icloud

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// signedInFile writes the file of a session that works.
func signedInFile(t *testing.T) (path string, file *SessionFile) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "s.json")
	now := time.Now().UTC()
	file = &SessionFile{AppleID: "user@example.com", ClientID: "client", TrustToken: "trust", SessionToken: "proof",
		Cookies:   []Cookie{{"WEB", "1"}, {"OTHER", "1"}},
		Endpoints: map[string]string{driveHost: "https://p1-drivews.icloud.com", docsHost: "https://p1-docws.icloud.com"},
		RenewedAt: now, SignedInAt: now}
	require.NoError(t, SaveSessionFile(path, file))
	return path, file
}

// process is a session as a process of its own has it.
func process(t *testing.T, path string, signIn signInFunc) *session {
	t.Helper()
	s := newSession("remote", path, signIn)
	require.NoError(t, s.configure(SessionFile{AppleID: "user@example.com"}, "", ""))
	return s
}

func (s *session) answered(name, value string) {
	s.merge(s.current(), []*http.Cookie{{Name: name, Value: value}})
}

func loaded(t *testing.T, path string) *SessionFile {
	t.Helper()
	file, err := LoadSessionFile(path)
	require.NoError(t, err)
	return file
}

// The cookies that a process saves are all that it changes in the session file:
// a refusal that another one met stays, and the session of a new login.
func TestFlushLeavesWhatOthersWrote(t *testing.T) {
	path, _ := signedInFile(t)
	s := process(t, path, nil)
	s.answered("WEB", "2")
	require.NoError(t, UpdateSessionFile(background, path, func(file *SessionFile) error {
		file.refuse("password", CauseWrongPassword, "no")
		return nil
	}))
	s.flush(background)
	file := loaded(t, path)
	assert.Equal(t, CauseWrongPassword, file.Refused.Cause)
	assert.Equal(t, []Cookie{{"WEB", "2"}, {"OTHER", "1"}}, file.Cookies)

	s.answered("WEB", "3")
	login := SessionFile{AppleID: "user@example.com", TrustToken: "new trust", Cookies: []Cookie{{"WEB", "new"}}}
	require.NoError(t, UpdateSessionFile(background, path, func(file *SessionFile) error {
		*file = login
		return nil
	}))
	s.flush(background)
	file = loaded(t, path)
	assert.Equal(t, login.TrustToken, file.TrustToken)
	assert.Equal(t, login.Cookies, file.Cookies)
}

// Processes that end at once save the cookies of each of them.
func TestProcessesFlushAtOnce(t *testing.T) {
	path, _ := signedInFile(t)
	var processes []*session
	for i := range 12 {
		s := process(t, path, nil)
		s.answered(fmt.Sprint("ROTATED", i), "new")
		processes = append(processes, s)
	}
	inParallel(len(processes), len(processes), func(i int) {
		f := &Fs{drive: &drive{service: &service{session: processes[i]}, seen: newRecollection("")}}
		assert.NoError(t, f.Shutdown(background))
	})
	file := loaded(t, path)
	for i := range processes {
		assert.True(t, hasCookie(file.Cookies, fmt.Sprint("ROTATED", i)), i)
	}
	assert.Len(t, file.Cookies, 2+len(processes))
}

// A process does not wait at its end for another one that renews, and leaves the
// file to it.
func TestFlushIsQuick(t *testing.T) {
	path, before := signedInFile(t)
	synctest.Test(t, func(t *testing.T) {
		s := process(t, path, nil)
		s.answered("WEB", "2")
		unlock, err := lockSessionFile(background, path)
		require.NoError(t, err)
		begun := time.Now()
		s.flush(background)
		assert.Equal(t, flushWait, time.Since(begun))
		assert.Equal(t, before.Cookies, loaded(t, path).Cookies)
		unlock()
		s.flush(background)
		assert.NotEqual(t, before.Cookies, loaded(t, path).Cookies, "it is saved when there is another occasion")
	})
}

// A logout ends the sessions of running processes: none writes the file again,
// and a renewal is no sign-in.
func TestLogoutEndsRunningSessions(t *testing.T) {
	for name, logout := range map[string]func(path string) error{
		"removed": func(path string) error { return ForgetSessionFile(background, path) },
		"emptied": func(path string) error {
			return UpdateSessionFile(background, path, func(file *SessionFile) error {
				*file = SessionFile{AppleID: file.AppleID}
				return nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			path, file := signedInFile(t)
			s := process(t, path, func(context.Context, *SessionFile, Secret, renewal, func(*SessionFile) error) error {
				t.Error("Apple was asked")
				return nil
			})
			s.answered("WEB", "2")
			require.NoError(t, logout(path))
			s.flush(background)
			used := s.current()
			err := s.renew(background, used.generation, &attempts{status: 421})
			var typed *Error
			require.ErrorAs(t, err, &typed)
			assert.Equal(t, CauseNotSignedIn, typed.Cause())
			_, err = s.access(background)
			assert.ErrorIs(t, err, typed)
			if left, err := LoadSessionFile(path); err == nil {
				assert.Empty(t, left.TrustToken)
				assert.Empty(t, left.Cookies)
			}

			file.TrustToken, file.RenewedAt = "new trust", time.Now().UTC()
			require.NoError(t, SaveSessionFile(path, file))
			_, err = s.access(background)
			assert.NoError(t, err, "a new login is taken up")
		})
	}
}

// A logout leaves nothing that holds a secret, also of writers that were killed,
// and nothing else goes.
func TestLogoutRemovesLeftovers(t *testing.T) {
	path, _ := signedInFile(t)
	for _, end := range []string{".123", ".lock", ".bak", ".12a", "1", ".challenge"} {
		require.NoError(t, os.WriteFile(path+end, nil, 0o600))
	}
	require.NoError(t, ForgetSessionFile(background, path))
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	var left []string
	for _, entry := range entries {
		left = append(left, entry.Name())
	}
	assert.Equal(t, []string{"s.json.12a", "s.json.bak", "s.json.challenge", "s.json.lock", "s.json1"}, left)
	assert.NoError(t, ForgetSessionFile(background, path))
	assert.NoError(t, ForgetSessionFile(background, filepath.Join(filepath.Dir(path), "none", "s.json")))
}

// That Apple confirms a session that was refused goes to the file under its
// lock, with what another process has written meanwhile.
func TestConfirmedSessionIsWrittenUnderTheLock(t *testing.T) {
	path, _ := signedInFile(t)
	synctest.Test(t, func(t *testing.T) {
		s := process(t, path, func(_ context.Context, state *SessionFile, _ Secret, how renewal, _ func(*SessionFile) error) error {
			assert.Equal(t, renewEndpoints, how)
			state.RenewedAt = time.Now().UTC()
			return nil
		})
		s.state.SignedInAt = time.Now()
		unlock, err := lockSessionFile(background, path)
		require.NoError(t, err)
		done := make(chan error)
		go func() { done <- s.renew(background, s.current().generation, &attempts{status: 421}) }()
		time.Sleep(time.Second) // of the test's own time
		file := loaded(t, path)
		file.refuse("password", CauseWrongPassword, "no")
		require.NoError(t, SaveSessionFile(path, file))
		unlock()
		require.NoError(t, <-done)
		assert.Equal(t, CauseWrongPassword, loaded(t, path).Refused.Cause)
		assert.NotEqual(t, file.RenewedAt, loaded(t, path).RenewedAt)
	})
}
