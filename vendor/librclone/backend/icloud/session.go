package icloud

import (
	"context"
	"errors"
	iofs "io/fs"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/rclone/rclone/fs"
)

// session is the web session of one Apple Account in this process: the one
// place that holds credentials, renews them and shares them.
type session struct {
	name   string // of the remote, for texts
	path   string // of the session file; "" when there is none
	signIn signInFunc
	now    func() time.Time

	// turn is held by whoever renews; everybody else waits for the outcome.
	turn chan struct{}

	mu         sync.Mutex
	password   Secret      // "" when none is known
	command    string      // that prints it, "" for none
	given      string      // the credentials in the configuration that was read last
	state      SessionFile // what is shared, whether or not a file is used
	generation int         // counts the changes of the credentials
	origin     origin      // of the present generation
	works      bool        // a call was accepted with the present generation
	ended      *Error      // why no renewal is possible any more
	endedFile  fileStamp   // the session file as it was then
	signIns    []time.Time // of this process, the recent ones
	savers     map[string]func(*SessionFile)
	warned     bool // that the session file cannot be written
	rotated    bool // cookies were replaced since the last save
}

// origin tells where credentials come from, which decides what to do when they
// are refused at once.
type origin int

const (
	configured origin = iota // read at the start
	adopted                  // taken over from another process
	approved                 // with new cookies for protected data (PCS)
	signedIn                 // by a sign-in of our own
	confirmed                // by the same, and Apple has said since that they are good
)

// signInFunc renews credentials at Apple: it changes state. It is a function so
// that requests and rules stay in two places.
type signInFunc func(ctx context.Context, state *SessionFile, password Secret, how renewal) error

// renewal is what has to be renewed.
type renewal int

const (
	renewEndpoints renewal = iota // the cookies are there, the addresses are not
	renewPCS                      // the cookies for protected data
	renewAll                      // everything, by a sign-in
)

// access is what a call needs, as it was at one moment.
type access struct {
	generation int
	cookies    []Cookie
	endpoints  map[string]string
}

func newSession(name, path string, signIn signInFunc) *session {
	return &session{
		name:   name,
		path:   path,
		signIn: signIn,
		now:    time.Now,
		turn:   make(chan struct{}, 1),
		savers: map[string]func(*SessionFile){},
	}
}

// configure takes the credentials of a configuration: at the start, and when
// they are others than in the configuration that was read before, as after a
// new login. The session file counts more than the configuration.
func (s *session) configure(state SessionFile, password Secret, command string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.command = command
	first := s.given == ""
	given := cookieHeader(state.Cookies) + "\x00" + string(state.TrustToken) + "\x00" + string(password)
	if given == s.given {
		return nil
	}
	s.given = given
	if password != "" && password != s.password {
		s.password, s.ended = password, nil
	}
	if s.path != "" {
		file, err := LoadSessionFile(s.path)
		switch {
		case err == nil && !strings.EqualFold(file.AppleID, state.AppleID):
			return failf(KindBadConfig, "open", s.name, "the session file is of another Apple ID").
				with("give each account a session file of its own")
		case err == nil && (file.TrustToken != "" || len(file.Cookies) > 0):
			if first {
				s.state.ClientID = state.ClientID
				s.take(file, configured)
			}
			return nil
		case err != nil && !errors.Is(err, iofs.ErrNotExist):
			if state.TrustToken == "" && len(state.Cookies) == 0 {
				return err
			}
			s.complain(err)
		}
	}
	same := state.TrustToken == s.state.TrustToken && cookieHeader(state.Cookies) == cookieHeader(s.state.Cookies)
	if first || !same && (state.TrustToken != "" || len(state.Cookies) > 0) {
		s.take(&state, configured)
	}
	return nil
}

// saveTo names who keeps the session of a remote.
func (s *session) saveTo(remote string, save func(*SessionFile)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.savers[remote] = save
}

// root is the address of a service.
func (a *access) root(host string) (string, error) {
	if host == setupHost {
		return setupEndpoint, nil
	}
	address := a.endpoints[host]
	if !isSafe(address) {
		return "", fail(KindUnsupported, "", "", "the account has no iCloud Drive").because(CauseNoDrive).
			with("open iCloud Drive once on icloud.com with this account")
	}
	return address, nil
}

func (a *access) cookieHeader() string { return cookieHeader(a.cookies) }

func (s *session) present() *access {
	return &access{generation: s.generation, cookies: s.state.Cookies, endpoints: s.state.Endpoints}
}

// current gives the present credentials, whether or not calls can be made with
// them.
func (s *session) current() *access {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.present()
}

// usable reports whether calls can be made with the present credentials.
func usable(state *SessionFile) bool {
	return len(state.Cookies) > 0 && len(state.Endpoints) > 0
}

// access gives the credentials for a call, getting what is missing first.
func (s *session) access(ctx context.Context) (*access, error) {
	s.mu.Lock()
	if s.ended != nil && !s.revive() {
		defer s.mu.Unlock()
		return nil, s.ended
	}
	if usable(&s.state) {
		defer s.mu.Unlock()
		return s.present(), nil
	}
	generation := s.generation
	s.mu.Unlock()
	if err := s.renewFrom(ctx, generation, http.StatusUnauthorized); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.present(), nil
}

// store makes renewed credentials the present ones and saves them at once.
func (s *session) store(state *SessionFile, from origin) {
	s.mu.Lock()
	s.take(state, from)
	s.mu.Unlock()
	s.save(state)
	s.keep(state)
}

// save hands the credentials to the remotes that keep them in their own
// configuration.
func (s *session) save(state *SessionFile) {
	s.mu.Lock()
	savers := make([]func(*SessionFile), 0, len(s.savers))
	for _, save := range s.savers {
		savers = append(savers, save)
	}
	s.mu.Unlock()
	for _, save := range savers {
		save(state)
	}
}

// keep writes the session file, if there is one. That it cannot be written is
// worth one warning: the session goes on.
func (s *session) keep(state *SessionFile) {
	s.mu.Lock()
	s.state.Refused = state.Refused
	s.mu.Unlock()
	if s.path == "" {
		return
	}
	if err := SaveSessionFile(s.path, state); err != nil {
		s.warn(err)
	}
}

func (s *session) warn(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.complain(err)
}

// complain is warn with mu held.
func (s *session) complain(err error) {
	if !s.warned {
		s.warned = true
		// rclone's "notice" ranks below a warning, and is not shown.
		fs.LogPrintf(fs.LogLevelWarning, nil, "icloud: the session of %q is not shared with other processes: %v", s.name, err)
	}
}

// lock takes the lock of the session file; without one, or where it cannot be
// had, the process is alone.
func (s *session) lock(ctx context.Context) (unlock func()) {
	if s.path == "" {
		return func() {}
	}
	unlock, err := lockSessionFile(ctx, s.path)
	if err != nil {
		if ctx.Err() == nil {
			s.warn(err)
		}
		return func() {}
	}
	return unlock
}

// merge takes over the cookies that an answer sets. They replace those of the
// same name without being new credentials: nothing is renewed by them. Those of
// a session that has been renewed meanwhile would spoil the new one.
func (s *session) merge(used *access, cookies []*http.Cookie) {
	if len(cookies) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if used.generation != s.generation {
		return
	}
	before := cookieHeader(s.state.Cookies)
	s.state.Cookies = mergeCookies(s.state.Cookies, cookies)
	s.rotated = s.rotated || cookieHeader(s.state.Cookies) != before
}

// flush saves the cookies that answers have replaced, unless another process
// has renewed the session since.
func (s *session) flush(ctx context.Context) {
	s.mu.Lock()
	due := s.rotated && s.ended == nil
	s.mu.Unlock()
	if !due {
		return
	}
	unlock := s.lock(ctx)
	defer unlock()
	state := SessionFile{}
	if s.adoptFile(&state) {
		return
	}
	s.mu.Lock()
	s.rotated = false
	state = s.state.clone()
	s.mu.Unlock()
	s.save(&state)
	s.keep(&state)
}

// fileStamp tells one version of a file from another.
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
