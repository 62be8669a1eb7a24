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

// Session is the web session of an Apple Account in this process. It holds the
// credentials, renews them, and shares them with other processes.
type Session struct {
	name   string // of the remote, for messages
	path   string // of the session file; "" when there is none
	signIn SignInFunc
	now    func() time.Time

	Base    time.Duration // the first pause after a temporary failure
	Longest time.Duration // the longest wait in total for temporary failures

	// turn is held by the caller that renews the session, while all others wait
	// for the outcome.
	turn chan struct{}

	mu           sync.Mutex
	password     Secret        // "" if none is known
	command      string        // the command that prints the password, or ""
	configured   string        // identifies the credentials in the configuration that was read last
	state        File          // the shared state, whether or not a file is used
	generation   int           // counts the changes of the credentials
	signedInHere bool          // this process has signed in to get the session
	accepted     bool          // a call with the session was accepted
	everAccepted bool          // a call with any session was accepted in this process
	ended        *apierr.Error // why the session can no longer be renewed, or nil
	endedFile    fileStamp     // the session file at that time
	failures     int           // counts the failed renewals
	failure      *apierr.Error // the failure of the last renewal, nil after a success
	retryAt      time.Time     // no renewal is tried before this time after a failure
	failingSince time.Time     // when the present series of failures began
	lastFailed   time.Time     // the last failure of the series
	signIns      []time.Time   // the sign-ins of this process within the last hour
	proofs       int           // the proofs that this process has sent since its last sign-in
	lastUnclear  *apierr.Error // the failure of the last proof if its outcome is unknown, or nil
	savers       map[string]func(*File)
	warned       bool                    // the warning that the session is not shared was logged
	inFile       bool                    // the session was in its file, so it ends when the file is removed
	rotated      map[string]*http.Cookie // the cookies that responses have replaced since the last Flush, by name
}

// SignInFunc renews credentials at Apple, once, and changes state accordingly.
// A failure that is not final is temporary. announce is called before a proof is
// sent; if it fails, the proof is not sent. Package signin implements this
// function, and this package determines when it is called.
type SignInFunc func(ctx context.Context, state *File, password Secret, how Renewal, announce func(*File) error) error

// Renewal is the part of the credentials that has to be renewed.
type Renewal int

const (
	RenewEndpoints Renewal = iota // the addresses of the services, with the present cookies
	RenewPCS                      // the cookies for protected data
	RenewAll                      // everything, by a sign-in
)

// Access is the credentials for a call.
type Access struct {
	Generation int
	domain     hosts.Domain
	cookies    []Cookie
	endpoints  map[string]string
	protected  bool // Advanced Data Protection is on
}

// New returns a session without credentials. name is the name of the remote in
// messages, path that of the session file, or "" for none. Temporary failures are
// waited for for at most longest in total.
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

// Configure adopts the credentials of a configuration, unless they are those of
// the last call: they may be new, as after a login. The session file takes
// precedence over the configuration.
func (s *Session) Configure(state File, password Secret, command string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.command = command
	first := s.configured == ""
	configured := CookieHeader(state.Cookies) + "\x00" + string(state.TrustToken) + "\x00" + string(password)
	if configured == s.configured {
		return nil
	}
	s.configured = configured
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
				s.inFile = true
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
		s.inFile = false
	}
	return nil
}

// SaveTo registers a function that stores the session in the configuration of a
// remote. It is called after each renewal.
func (s *Session) SaveTo(remote string, save func(*File)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.savers[remote] = save
}

// Root returns the address of a service, whose name is host. It fails if the
// account does not have the service.
func (a *Access) Root(host string) (string, error) {
	if host == hosts.Setup {
		return a.domain.At(hosts.SetupEndpoint), nil
	}
	address := a.endpoints[host]
	if address == "" {
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
	endpoints := maps.Clone(s.state.Endpoints) // calls under way use the present map
	endpoints[host] = address
	s.state.Endpoints = endpoints
}

// LacksConsent reports whether Advanced Data Protection is on and the session does
// not have a cookie that then gives access to data.
func (a *Access) LacksConsent(cookie string) bool {
	return a.protected && !HasCookie(a.cookies, cookie)
}

func (s *Session) present() *Access {
	return &Access{
		Generation: s.generation, domain: s.state.Domain, cookies: s.state.Cookies, endpoints: s.state.Endpoints,
		protected: s.state.Protected,
	}
}

// Current returns the present credentials, whether or not they are valid for
// calls.
func (s *Session) Current() *Access {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.present()
}

// usable reports whether state has the credentials for calls.
func usable(state *File) bool {
	return len(state.Cookies) > 0 && len(state.Endpoints) > 0
}

// Access returns the credentials for a call. Missing credentials are requested
// first.
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

// store makes renewed credentials the present ones and saves them. signedIn is
// set if they are the result of a sign-in.
func (s *Session) store(state *File, signedIn bool) {
	state.forgetTrouble()
	s.mu.Lock()
	accepted, signedInHere := s.accepted && !signedIn, s.signedInHere || signedIn
	s.take(state)
	s.accepted, s.signedInHere = accepted, signedInHere
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
