// Package session holds the web session of an Apple Account: its cookies and
// tokens, the file through which the processes of a machine share them, and the
// rules of their renewal. The requests of a sign-in are in package signin.
package session

import (
	"context"
	"errors"
	iofs "io/fs"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/transport"
)

// Session is the web session of an Apple Account in this process. It alone
// holds, renews and shares the credentials.
type Session struct {
	name   string // of the remote, for messages
	path   string // of the session file; "" when there is none
	signIn SignInFunc
	now    func() time.Time

	Base    time.Duration // the first pause after a temporary failure
	Longest time.Duration // the longest wait in total for temporary failures

	// turn is held by the caller that renews; all others wait for the outcome.
	turn chan struct{}

	mu          sync.Mutex
	password    Secret        // "" when none is known
	command     string        // that prints it, "" for none
	given       string        // the credentials in the configuration that was read last
	state       File          // the shared state, whether or not a file is used
	generation  int           // counts the changes of the credentials
	own         bool          // the session was begun by this process
	works       bool          // a call was accepted with it
	worked      bool          // a call was accepted with any session, in this process
	ended       *apierr.Error // why no renewal is possible any more
	endedFile   fileStamp     // the session file at that time
	failures    int           // counts the renewals that failed
	failure     *apierr.Error // of the last renewal, nil after a success
	retryAt     time.Time     // no renewal before, after a failure
	trouble     time.Time     // when the present series of failures began
	troubled    time.Time     // its last failure
	signIns     []time.Time   // of this process, the recent ones
	proofs      int           // of the password that this process has sent since its last sign-in
	lastUnclear *apierr.Error // why the last proof brought no session
	savers      map[string]func(*File)
	warned      bool                    // that the session file cannot be written
	filed       bool                    // the session was in its file, so it ends when the file is removed
	rotated     map[string]*http.Cookie // those that answers have replaced since the last save
}

// SignInFunc renews credentials at Apple, once, and changes state accordingly.
// A failure that is not final is temporary. announce is called before a proof
// of the password is sent; if it fails, the proof is not sent. The type is a
// function in order to separate the requests from the rules.
type SignInFunc func(ctx context.Context, state *File, password Secret, how Renewal, announce func(*File) error) error

// Renewal is what has to be renewed.
type Renewal int

const (
	RenewEndpoints Renewal = iota // the cookies are there, the addresses are not
	RenewPCS                      // the cookies for protected data
	RenewAll                      // everything, by a sign-in
)

// Access is the credentials for a call at one moment.
type Access struct {
	Generation int
	cookies    []Cookie
	endpoints  map[string]string
}

// New returns a session without credentials. It waits for temporary
// failures for at most longest in total.
func New(name, path string, longest time.Duration, signIn SignInFunc) *Session {
	return &Session{
		name:   name,
		path:   path,
		signIn: signIn,
		now:    time.Now,

		Base:    transport.FirstPause,
		Longest: longest,

		turn:   make(chan struct{}, 1),
		savers: map[string]func(*File){},

		rotated: map[string]*http.Cookie{},
	}
}

// Configure adopts the credentials of a configuration: at the start, and if
// they differ from those of the configuration that was read before, as after a
// new login. The session file takes precedence over the configuration.
func (s *Session) Configure(state File, password Secret, command string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.command = command
	first := s.given == ""
	given := CookieHeader(state.Cookies) + "\x00" + string(state.TrustToken) + "\x00" + string(password)
	if given == s.given {
		return nil
	}
	s.given = given
	if password != "" && password != s.password {
		s.password, s.ended = password, nil
	}
	if s.path != "" {
		file, err := LoadFile(s.path)
		switch {
		case err == nil && !strings.EqualFold(file.AppleID, state.AppleID):
			return apierr.Newf(apierr.KindBadConfig, "open", s.name, "the session file belongs to another Apple ID").
				Advise("give each account a session file of its own")
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
			s.warnLocked(err)
		}
	}
	same := state.TrustToken == s.state.TrustToken && CookieHeader(state.Cookies) == CookieHeader(s.state.Cookies)
	if first || !same && (state.TrustToken != "" || len(state.Cookies) > 0) {
		s.take(&state)
		s.filed = false
	}
	return nil
}

// SaveTo registers the function that stores the session of a remote.
func (s *Session) SaveTo(remote string, save func(*File)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.savers[remote] = save
}

// Root returns the address of a service.
func (a *Access) Root(host string) (string, error) {
	if host == hosts.Setup {
		return hosts.SetupEndpoint, nil
	}
	address := a.endpoints[host]
	if !hosts.IsSafe(address) {
		return "", apierr.New(apierr.KindUnsupported, "", "", "the account has no iCloud Drive").Because(apierr.CauseNoDrive).
			Advise("open iCloud Drive once on icloud.com with this account")
	}
	return address, nil
}

// Endpoint returns the address of a service, or "" if it is unknown.
func (a *Access) Endpoint(host string) string { return a.endpoints[host] }

// AddEndpoint adds the address of a service to those of the session.
func (s *Session) AddEndpoint(host, address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	endpoints := maps.Clone(s.state.Endpoints) // calls under way have the present one
	endpoints[host] = address
	s.state.Endpoints = endpoints
}

// CookieHeader returns the cookies in the form of a request header.
func (a *Access) CookieHeader() string { return CookieHeader(a.cookies) }

func (s *Session) present() *Access {
	return &Access{Generation: s.generation, cookies: s.state.Cookies, endpoints: s.state.Endpoints}
}

// Current returns the present credentials, whether or not they are valid for
// calls.
func (s *Session) Current() *Access {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.present()
}

// usable reports whether calls can be made with the present credentials.
func usable(state *File) bool {
	return len(state.Cookies) > 0 && len(state.Endpoints) > 0
}

// Access returns the credentials for a call, after requesting those that are
// missing.
func (s *Session) Access(ctx context.Context) (*Access, error) {
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
	if err := s.Renew(ctx, generation, &Attempts{Status: http.StatusUnauthorized}); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.present(), nil
}

// store makes renewed credentials the present ones and saves them at once.
func (s *Session) store(state *File, signedIn bool) {
	state.forgetTrouble()
	s.mu.Lock()
	works, own := s.works && !signedIn, s.own || signedIn
	s.take(state)
	s.works, s.own = works, own
	s.mu.Unlock()
	s.save(state)
	s.writeFile(state)
}

// save passes the credentials to the remotes that store them in their own
// configuration.
func (s *Session) save(state *File) {
	s.mu.Lock()
	savers := make([]func(*File), 0, len(s.savers))
	for _, save := range s.savers {
		savers = append(savers, save)
	}
	s.mu.Unlock()
	for _, save := range savers {
		save(state)
	}
}

// Merge adopts the cookies that a response sets. They replace those of the same
// name but do not count as new credentials. If the session was renewed in the
// meantime, the cookies are ignored, because they would damage the new session.
func (s *Session) Merge(used *Access, cookies []*http.Cookie) {
	if len(cookies) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if used.Generation != s.generation {
		return
	}
	for _, cookie := range cookies {
		merged := MergeCookies(s.state.Cookies, []*http.Cookie{cookie})
		if CookieHeader(merged) != CookieHeader(s.state.Cookies) {
			s.state.Cookies = merged
			s.rotated[cookie.Name] = cookie
		}
	}
}
