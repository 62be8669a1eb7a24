package session

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// signedInFile writes the file of a valid session.
func signedInFile(t *testing.T) (path string, file *File) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "s.json")
	now := time.Now().UTC()
	file = &File{AppleID: "user@example.com", ClientID: "client", TrustToken: "trust", SessionToken: "proof",
		Cookies:   []Cookie{{"WEB", "1"}, {"OTHER", "1"}},
		Endpoints: map[string]string{hosts.Drive: "https://p1-drivews.icloud.com", hosts.Docs: "https://p1-docws.icloud.com"},
		RenewedAt: now, SignedInAt: now}
	require.NoError(t, SaveFile(path, file))
	return path, file
}

// process returns a session like that of another process.
func process(t *testing.T, path string, signIn SignInFunc) *Session {
	t.Helper()
	s := New("remote", path, 5*time.Minute, signIn)
	require.NoError(t, s.Configure(File{AppleID: "user@example.com"}, "", ""))
	return s
}

// receive handles a response that sets a cookie.
func (s *Session) receive(name, value string) {
	s.Merge(s.Current(), []*http.Cookie{{Name: name, Value: value}})
}

func present(t *testing.T, path string) *File {
	t.Helper()
	file, err := LoadFile(path)
	require.NoError(t, err)
	return file
}

// Flush changes only the replaced cookies in the session file. A refusal that
// another process has stored is kept, and so is the session of a new login.
func TestFlushKeepsChangesOfOtherProcesses(t *testing.T) {
	path, _ := signedInFile(t)
	s := process(t, path, nil)
	s.receive("WEB", "2")
	require.NoError(t, UpdateFile(context.Background(), path, func(file *File) error {
		file.Refuse("password", apierr.CauseWrongPassword, "no")
		return nil
	}))
	s.Flush(context.Background())
	file := present(t, path)
	assert.Equal(t, apierr.CauseWrongPassword, file.Refused.Cause)
	assert.Equal(t, []Cookie{{"WEB", "2"}, {"OTHER", "1"}}, file.Cookies)

	s.receive("WEB", "3")
	login := File{AppleID: "user@example.com", TrustToken: "new trust", Cookies: []Cookie{{"WEB", "new"}}}
	require.NoError(t, UpdateFile(context.Background(), path, func(file *File) error {
		*file = login
		return nil
	}))
	s.Flush(context.Background())
	file = present(t, path)
	assert.Equal(t, login.TrustToken, file.TrustToken)
	assert.Equal(t, login.Cookies, file.Cookies)
}

// If several processes end at the same time, the cookies of all of them are
// stored.
func TestProcessesFlushConcurrently(t *testing.T) {
	path, _ := signedInFile(t)
	var processes []*Session
	for i := range 12 {
		s := process(t, path, nil)
		s.receive(fmt.Sprint("ROTATED", i), "new")
		processes = append(processes, s)
	}
	simtest.InParallel(len(processes), len(processes), func(i int) {
		processes[i].Flush(context.Background())
	})
	file := present(t, path)
	for i := range processes {
		assert.True(t, HasCookie(file.Cookies, fmt.Sprint("ROTATED", i)), i)
	}
	assert.Len(t, file.Cookies, 2+len(processes))
}

// Flush gives up after flushWait if another process holds the lock.
func TestFlushDoesNotWaitForARenewal(t *testing.T) {
	path, before := signedInFile(t)
	synctest.Test(t, func(t *testing.T) {
		s := process(t, path, nil)
		s.receive("WEB", "2")
		unlock, err := lockFile(context.Background(), path)
		require.NoError(t, err)
		begun := time.Now()
		s.Flush(context.Background())
		assert.Equal(t, flushWait, time.Since(begun))
		assert.Equal(t, before.Cookies, present(t, path).Cookies)
		unlock()
		s.Flush(context.Background())
		assert.NotEqual(t, before.Cookies, present(t, path).Cookies, "the next Flush stores the cookie")
	})
}

// A logout ends the sessions of running processes: they neither write the file
// again nor sign in again.
func TestLogoutEndsRunningSessions(t *testing.T) {
	for name, logout := range map[string]func(path string) error{
		"removed": func(path string) error { return ForgetFile(context.Background(), path) },
		"emptied": func(path string) error {
			return UpdateFile(context.Background(), path, func(file *File) error {
				*file = File{AppleID: file.AppleID}
				return nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			path, file := signedInFile(t)
			s := process(t, path, func(context.Context, *File, Secret, Renewal, func(*File) error) error {
				t.Error("Apple was asked")
				return nil
			})
			s.receive("WEB", "2")
			require.NoError(t, logout(path))
			s.Flush(context.Background())
			used := s.Current()
			err := s.Renew(context.Background(), used.Generation, &Attempts{Status: 421})
			var typed *apierr.Error
			require.ErrorAs(t, err, &typed)
			assert.Equal(t, apierr.CauseNotSignedIn, typed.Cause())
			_, err = s.Access(context.Background())
			assert.ErrorIs(t, err, typed)
			if left, err := LoadFile(path); err == nil {
				assert.Empty(t, left.TrustToken)
				assert.Empty(t, left.Cookies)
			}

			file.TrustToken, file.RenewedAt = "new trust", time.Now().UTC()
			require.NoError(t, SaveFile(path, file))
			_, err = s.Access(context.Background())
			assert.NoError(t, err, "a new login is adopted")
		})
	}
}

// A logout removes the session file and the temporary files that killed writers
// have left, and no other files.
func TestLogoutRemovesTemporaryFiles(t *testing.T) {
	path, _ := signedInFile(t)
	for _, end := range []string{".123", ".lock", ".bak", ".12a", "1", ".challenge"} {
		require.NoError(t, os.WriteFile(path+end, nil, 0o600))
	}
	require.NoError(t, ForgetFile(context.Background(), path))
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	var left []string
	for _, entry := range entries {
		left = append(left, entry.Name())
	}
	assert.Equal(t, []string{"s.json.12a", "s.json.bak", "s.json.challenge", "s.json.lock", "s.json1"}, left)
	assert.NoError(t, ForgetFile(context.Background(), path))
	assert.NoError(t, ForgetFile(context.Background(), filepath.Join(filepath.Dir(path), "none", "s.json")))
}

// A session that Apple confirms after a refusal is written under the lock of its
// file, and keeps what another process has written meanwhile.
func TestConfirmedSessionIsWrittenUnderTheLock(t *testing.T) {
	path, _ := signedInFile(t)
	synctest.Test(t, func(t *testing.T) {
		s := process(t, path, func(_ context.Context, state *File, _ Secret, how Renewal, _ func(*File) error) error {
			assert.Equal(t, RenewEndpoints, how)
			state.RenewedAt = time.Now().UTC()
			return nil
		})
		s.state.SignedInAt = time.Now()
		unlock, err := lockFile(context.Background(), path)
		require.NoError(t, err)
		done := make(chan error)
		go func() { done <- s.Renew(context.Background(), s.Current().Generation, &Attempts{Status: 421}) }()
		time.Sleep(time.Second) // on the clock of synctest
		file := present(t, path)
		file.Refuse("password", apierr.CauseWrongPassword, "no")
		require.NoError(t, SaveFile(path, file))
		unlock()
		require.NoError(t, <-done)
		assert.Equal(t, apierr.CauseWrongPassword, present(t, path).Refused.Cause)
		assert.NotEqual(t, file.RenewedAt, present(t, path).RenewedAt)
	})
}
