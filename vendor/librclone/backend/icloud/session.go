package icloud

import (
	"context"
	"errors"
	iofs "io/fs"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"
)

// session is the web session of an Apple Account in this process. It alone
// holds, renews and shares the credentials.
type session struct {
	name   string // of the remote, for messages
	path   string // of the session file; "" when there is none
	signIn signInFunc
	now    func() time.Time

	base    time.Duration // the first pause after a temporary failure
	longest time.Duration // the longest wait in total for temporary failures

	// turn is held by the caller that renews; all others wait for the outcome.
	turn chan struct{}

	mu         sync.Mutex
	password   Secret      // "" when none is known
	command    string      // that prints it, "" for none
	given      string      // the credentials in the configuration that was read last
	state      SessionFile // the shared state, whether or not a file is used
	generation int         // counts the changes of the credentials
	own        bool        // the session was begun by this process
	works      bool        // a call was accepted with it
	worked     bool        // a call was accepted with any session, in this process
	ended      *Error      // why no renewal is possible any more
	endedFile  fileStamp   // the session file at that time
	failures   int         // counts the renewals that failed
	failure    *Error      // of the last renewal, nil after a success
	retryAt    time.Time   // no renewal before, after a failure
	trouble    time.Time   // when the present series of failures began
	troubled   time.Time   // its last failure
	signIns    []time.Time // of this process, the recent ones
	proofs     int         // of the password that this process has sent since its last sign-in
	fruitless  *Error      // why the last proof brought no session
	savers     map[string]func(*SessionFile)
	warned     bool                    // that the session file cannot be written
	filed      bool                    // the session was in its file, so it ends when the file is removed
	rotated    map[string]*http.Cookie // those that answers have replaced since the last save
}

// signInFunc renews credentials at Apple, once, and changes state accordingly.
// A failure that is not final is temporary. announce is called before a proof
// of the password is sent; if it fails, the proof is not sent. The type is a
// function in order to separate the requests from the rules.
type signInFunc func(ctx context.Context, state *SessionFile, password Secret, how renewal, announce func(*SessionFile) error) error

// renewal is what has to be renewed.
type renewal int

const (
	renewEndpoints renewal = iota // the cookies are there, the addresses are not
	renewPCS                      // the cookies for protected data
	renewAll                      // everything, by a sign-in
)

// access is the credentials for a call at one moment.
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

		base:    firstPause,
		longest: defaultLongestWait,

		turn:   make(chan struct{}, 1),
		savers: map[string]func(*SessionFile){},

		rotated: map[string]*http.Cookie{},
	}
}

// configure adopts the credentials of a configuration: at the start, and if
// they differ from those of the configuration that was read before, as after a
// new login. The session file takes precedence over the configuration.
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
				s.take(file)
				s.filed = true
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
		s.take(&state)
		s.filed = false
	}
	return nil
}

// saveTo registers the function that stores the session of a remote.
func (s *session) saveTo(remote string, save func(*SessionFile)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.savers[remote] = save
}

// root returns the address of a service.
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

// addEndpoint adds the address of a service to those of the session.
func (s *session) addEndpoint(host, address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	endpoints := maps.Clone(s.state.Endpoints) // calls under way have the present one
	endpoints[host] = address
	s.state.Endpoints = endpoints
}

func (a *access) cookieHeader() string { return cookieHeader(a.cookies) }

func (s *session) present() *access {
	return &access{generation: s.generation, cookies: s.state.Cookies, endpoints: s.state.Endpoints}
}

// current returns the present credentials, whether or not they are valid for
// calls.
func (s *session) current() *access {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.present()
}

// usable reports whether calls can be made with the present credentials.
func usable(state *SessionFile) bool {
	return len(state.Cookies) > 0 && len(state.Endpoints) > 0
}

// access returns the credentials for a call, after requesting those that are
// missing.
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
	if err := s.renew(ctx, generation, &attempts{status: http.StatusUnauthorized}); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.present(), nil
}

// store makes renewed credentials the present ones and saves them at once.
func (s *session) store(state *SessionFile, signedIn bool) {
	state.forgetTrouble()
	s.mu.Lock()
	works, own := s.works && !signedIn, s.own || signedIn
	s.take(state)
	s.works, s.own = works, own
	s.mu.Unlock()
	s.save(state)
	s.keep(state)
}

// save passes the credentials to the remotes that store them in their own
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

// merge adopts the cookies that a response sets. They replace those of the same
// name but do not count as new credentials. If the session was renewed in the
// meantime, the cookies are ignored, because they would damage the new session.
func (s *session) merge(used *access, cookies []*http.Cookie) {
	if len(cookies) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if used.generation != s.generation {
		return
	}
	for _, cookie := range cookies {
		merged := mergeCookies(s.state.Cookies, []*http.Cookie{cookie})
		if cookieHeader(merged) != cookieHeader(s.state.Cookies) {
			s.state.Cookies = merged
			s.rotated[cookie.Name] = cookie
		}
	}
}
