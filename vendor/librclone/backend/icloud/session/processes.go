package session

import (
	"context"
	"errors"
	iofs "io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"

	"github.com/rclone/rclone/fs"
)

// The methods for the session file, through which the processes of an account
// share a session.

// writeFile makes the refusals and tokens of state the present ones and writes
// the session file, if there is one. If that fails, it logs a warning once, and
// the session continues.
func (s *Session) writeFile(state *File) {
	s.mu.Lock()
	s.state.Refused, s.state.Proofs = state.Refused, state.Proofs
	s.state.TrustToken, s.state.TrustedAt, s.state.SignIns = state.TrustToken, state.TrustedAt, state.SignIns
	s.state.SessionToken, s.state.Country = state.SessionToken, state.Country
	s.state.MoveTo(state.Domain)
	s.mu.Unlock()
	if s.path == "" {
		return
	}
	if err := SaveFile(s.path, state); err != nil {
		s.warn(err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFile = true
}

func (s *Session) warn(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.warnLocked(err)
}

// warnLocked is warn with mu held.
func (s *Session) warnLocked(err error) {
	if !s.warned {
		s.warned = true
		// rclone's "notice" ranks below a warning, and is not shown.
		fs.LogPrintf(fs.LogLevelWarning, nil, "icloud: the session of %q is not shared with other processes: %v", s.name, err)
	}
}

// lock takes the lock of the session file. If there is no file, it does nothing.
// unlock may be called even if err is not nil.
func (s *Session) lock(ctx context.Context) (unlock func(), err error) {
	if s.path == "" {
		return func() {}, nil
	}
	unlock, err = lockFile(ctx, s.path)
	if err != nil {
		if ctx.Err() == nil {
			s.warn(err)
		}
		return func() {}, err
	}
	return unlock, nil
}

// flushWait is how long Flush waits for the lock of the session file. Another
// process may hold it during a renewal, after which these cookies are out of
// date.
const flushWait = 2 * time.Second

// Flush stores the cookies that responses have replaced. It changes no other
// cookies in the session file, because other processes store theirs, and does
// nothing if the file contains another session by now.
func (s *Session) Flush(ctx context.Context) {
	s.mu.Lock()
	due := len(s.rotated) > 0 && s.ended == nil
	s.mu.Unlock()
	if !due {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, flushWait)
	defer cancel()
	leave, err := s.takeTurn(ctx)
	if err != nil {
		return
	}
	defer leave()
	unlock, err := s.lock(ctx)
	defer unlock()
	if err != nil {
		return
	}
	s.mu.Lock()
	rotated := slices.Collect(maps.Values(s.rotated))
	clear(s.rotated)
	state, inFile := s.state.Clone(), s.inFile
	s.mu.Unlock()
	s.save(&state)
	if !inFile {
		return
	}
	file, err := LoadFile(s.path)
	if err != nil || file.TrustToken != state.TrustToken || !file.RenewedAt.Equal(state.RenewedAt) {
		return
	}
	file.Cookies = MergeCookies(file.Cookies, rotated)
	if err := SaveFile(s.path, file); err != nil {
		s.warn(err)
	}
}

// revive adopts a login that was stored in the session file after the session
// ended, and reports whether there is one. mu must be held.
func (s *Session) revive() bool {
	if s.path == "" || stampOf(s.path) == s.endedFile {
		return false
	}
	s.endedFile = stampOf(s.path)
	file, err := LoadFile(s.path)
	if err != nil || !s.differs(file) && file.TrustToken == s.state.TrustToken {
		return false
	}
	s.take(file)
	s.inFile = true
	return true
}

// differs reports whether a session file contains the credentials of another
// renewal. Differences in cookies that responses have replaced are ignored.
func (s *Session) differs(file *File) bool {
	if file.RenewedAt.IsZero() && s.state.RenewedAt.IsZero() {
		return CookieHeader(file.Cookies) != CookieHeader(s.state.Cookies)
	}
	return !file.RenewedAt.Equal(s.state.RenewedAt)
}

// adoptFile adopts a renewal by another process, and reports whether there is
// one. It fails if the session was removed from its file, as by a logout. If it
// adopts nothing, it updates state from the file.
func (s *Session) adoptFile(state *File) (adopted bool, err error) {
	if s.path == "" {
		return false, nil
	}
	file, err := LoadFile(s.path)
	if errors.Is(err, iofs.ErrNotExist) {
		file, err = new(File), nil
	}
	if err != nil {
		s.warn(err)
		return false, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.inFile && file.TrustToken == "" && file.SessionToken == "" && len(file.Cookies) == 0:
		return false, s.stop(NeedsLogin(s.name, "the session was removed, as by a logout").Because(apierr.CauseNotSignedIn))
	case usable(file) && s.differs(file):
		s.take(file)
		s.inFile = true
		return true, nil
	}
	// The other members are adopted too: a login may have stored a trust token,
	// and another process may have been rejected.
	if file.TrustToken != "" || file.SessionToken != "" {
		state.TrustToken, state.SessionToken = file.TrustToken, file.SessionToken
		state.TrustedAt, state.SignIns = file.TrustedAt, file.SignIns
		state.Country = file.Country
		state.MoveTo(file.Domain)
	}
	if len(file.Cookies) > 0 && !s.differs(file) { // other processes store replaced cookies, too
		state.Cookies = MergeCookies(file.Cookies, slices.Collect(maps.Values(s.rotated)))
	}
	state.Refused, state.Proofs = file.Refused, file.Proofs
	return false, nil
}

// fileStamp identifies a version of a file.
type fileStamp struct {
	modified time.Time
	size     int64
}

func stampOf(path string) fileStamp {
	info, err := os.Stat(path)
	if err != nil {
		return fileStamp{}
	}
	return fileStamp{modified: info.ModTime(), size: info.Size()}
}
