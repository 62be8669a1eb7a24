package icloud

import (
	"context"
	"errors"
	iofs "io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rclone/rclone/backend/iclouddrive/api"
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
func (s *session) configure(state SessionFile, password Secret) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := s.given == ""
	given := cookieHeader(state.Cookies) + "\x00" + string(state.TrustToken) + "\x00" + string(password)
	if given == s.given {
		return nil
	}
	s.given = given
	if password != "" {
		s.password = password
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

func (s *session) secret() Secret {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.password
}

// root is the address of a service.
func (a *access) root(host string) (string, error) {
	if host == setupHost {
		return setupEndpoint, nil
	}
	address := a.endpoints[host]
	if !strings.HasPrefix(address, "https://") {
		return "", fail(KindUnsupported, "", "", "the account has no iCloud Drive").
			with("open iCloud Drive once on icloud.com with this account")
	}
	return address, nil
}

func (a *access) cookieHeader() string { return cookieHeader(a.cookies) }

// headersFor gives the headers for a content host. The cookies go to iCloud's
// own domains only: elsewhere the address itself grants access.
func (s *session) headersFor(address string) map[string]string {
	headers := api.GetCommonHeaders(nil)
	host := hostOf(address)
	if strings.HasSuffix(host, ".icloud.com") || strings.HasSuffix(host, ".icloud.com.cn") {
		s.mu.Lock()
		defer s.mu.Unlock()
		headers["Cookie"] = cookieHeader(s.state.Cookies)
	}
	return headers
}

func cookieHeader(cookies []Cookie) string {
	var header strings.Builder
	for _, cookie := range cookies {
		if header.Len() > 0 {
			header.WriteString("; ")
		}
		header.WriteString(cookie.Name + "=" + string(cookie.Value))
	}
	return header.String()
}

func (s *session) present() *access {
	return &access{generation: s.generation, cookies: s.state.Cookies, endpoints: s.state.Endpoints}
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

// proven is told that a call was accepted with these credentials.
func (s *session) proven(a *access) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.generation == s.generation {
		s.works = true
	}
}

// renew replaces credentials that were refused with a status. Of all callers
// that come with the same credentials, one renews.
func (s *session) renew(ctx context.Context, refused *access, status int) error {
	return s.renewFrom(ctx, refused.generation, status)
}

func (s *session) renewFrom(ctx context.Context, generation, status int) error {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	if s.generation != generation {
		s.mu.Unlock()
		return nil
	}
	if s.ended != nil {
		defer s.mu.Unlock()
		return s.ended
	}
	state := s.state.clone()
	works, from := s.works, s.origin
	s.mu.Unlock()

	if from == signedIn && !works && usable(&state) {
		if state.TermsPending {
			return s.end(termsPending(s.name), &state)
		}
		return s.end(needsLogin(s.name, "iCloud refuses the session that it has just given (status "+strconv.Itoa(status)+")").
			with("see on a device that Settings > your name > iCloud > Access iCloud Data on the Web is on, then sign in again"), &state)
	}
	unlock := s.lock(ctx)
	defer unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if s.adoptFile(&state) {
		return nil
	}
	how := renewAll
	switch {
	case len(state.Cookies) > 0 && len(state.Endpoints) == 0:
		how = renewEndpoints
	case status == http.StatusLocked && (from != approved || works):
		how = renewPCS
	}
	return s.perform(ctx, &state, how)
}

// perform renews at Apple and stores the outcome. Cheaper ways that fail for
// want of a session end in a sign-in.
func (s *session) perform(ctx context.Context, state *SessionFile, how renewal) error {
	from := approved
	password := s.secret()
	var err error
	if how != renewAll {
		attempt := state.clone()
		err = s.signIn(ctx, &attempt, password, how)
		if err == nil {
			*state = attempt
		}
		if how == renewEndpoints {
			from = configured
		}
	}
	if how == renewAll || hasKind(err, KindNeedsLogin) && !isFinal(err) {
		if err := s.mayTry(state, password); err != nil {
			return err
		}
		from = signedIn
		err = s.signIn(ctx, state, password, renewAll)
	}
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return s.failed(err, state)
	}
	s.store(state, from)
	return nil
}

// mayTry holds the rules that keep sign-ins rare: nothing that Apple has turned
// down is sent again, nothing is sent before the time that Apple named, and a
// session that keeps ending does not become a storm.
func (s *session) mayTry(state *SessionFile, password Secret) error {
	now := s.now()
	if wait := state.Refused.NotBefore.Sub(now); wait > 0 {
		e := fail(KindThrottled, "sign in", s.name, "Apple asked for no sign-in for a while")
		e.retryAfter, e.final = wait, true
		return e
	}
	switch {
	case state.TrustToken == "":
		return s.end(needsLogin(s.name, "nobody has signed in, or the sign-in was not completed"), state)
	case state.refuses(state.Refused.TrustToken, state.TrustToken), state.refuses(state.Refused.Password, password):
		return s.end(needsLogin(s.name, state.Refused.Reason), state)
	case password == "" && state.SessionToken == "":
		return s.end(needsLogin(s.name, "the session is over and no password is stored to begin another"), state)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.signIns) > 0 && now.Sub(s.signIns[0]) > time.Hour {
		s.signIns = s.signIns[1:]
	}
	if len(s.signIns) >= mostSignIns {
		e := failf(KindThrottled, "sign in", s.name, "the session ended %d times within an hour", mostSignIns)
		e.retryAfter, e.final = s.signIns[0].Add(time.Hour).Sub(now), true
		return e
	}
	s.signIns = append(s.signIns, now)
	return nil
}

// mostSignIns is how many sign-ins one process begins within an hour. A
// session lasts for days, so more of them mean that something is wrong.
const mostSignIns = 20

// failed keeps what a failed renewal teaches.
func (s *session) failed(err error, state *SessionFile) error {
	var typed *Error
	if !errors.As(err, &typed) {
		return err
	}
	named := *typed
	if named.op == "" {
		named.op, named.on = "sign in", s.name
	}
	named.final = true
	switch named.kind {
	case KindNeedsLogin:
		return s.end(&named, state)
	case KindThrottled:
		wait := named.retryAfter
		if wait == 0 {
			wait = unnamedWait
		}
		state.Refused.NotBefore = s.now().Add(wait)
		s.keep(state)
	}
	return &named
}

// unnamedWait is for how long no sign-in is tried after one was throttled
// without a Retry-After.
const unnamedWait = 5 * time.Minute

// end records that only a person can help. Later calls fail at once, until the
// session file changes.
func (s *session) end(why *Error, state *SessionFile) error {
	why.final = true
	s.keep(state)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = why
	s.endedFile = stampOf(s.path)
	return why
}

// revive takes over what a login has put into the session file since the
// session ended. It is called with mu held.
func (s *session) revive() bool {
	if s.path == "" || stampOf(s.path) == s.endedFile {
		return false
	}
	s.endedFile = stampOf(s.path)
	file, err := LoadSessionFile(s.path)
	if err != nil || !s.differs(file) && file.TrustToken == s.state.TrustToken {
		return false
	}
	s.take(file, adopted)
	return true
}

// differs reports whether a session file holds credentials that were renewed
// apart from ours. Cookies that answers replace do not count.
func (s *session) differs(file *SessionFile) bool {
	if file.RenewedAt.IsZero() && s.state.RenewedAt.IsZero() {
		return cookieHeader(file.Cookies) != cookieHeader(s.state.Cookies)
	}
	return !file.RenewedAt.Equal(s.state.RenewedAt)
}

// adoptFile takes over what another process has renewed since.
func (s *session) adoptFile(state *SessionFile) bool {
	if s.path == "" {
		return false
	}
	file, err := LoadSessionFile(s.path)
	if err != nil {
		if !errors.Is(err, iofs.ErrNotExist) {
			s.warn(err)
		}
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if usable(file) && s.differs(file) {
		s.take(file, adopted)
		return true
	}
	// The other members count too: a login may have brought a trust token, a
	// process may have been turned down.
	if file.TrustToken != "" {
		state.TrustToken, state.SessionToken = file.TrustToken, file.SessionToken
		state.TrustedAt, state.SignIns = file.TrustedAt, file.SignIns
	}
	state.Refused = file.Refused
	return false
}

// take makes the contents of a file the present credentials; mu is held.
func (s *session) take(file *SessionFile, from origin) {
	clientID := s.state.ClientID
	s.state = file.clone()
	if s.state.ClientID == "" {
		s.state.ClientID = clientID
	}
	s.generation++
	s.origin, s.works, s.ended, s.rotated = from, false, nil, false
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
		fs.Logf(nil, "icloud: the session of %q is not shared with other processes: %v", s.name, err)
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
// same name without being new credentials: nothing is renewed by them.
func (s *session) merge(cookies []*http.Cookie) {
	if len(cookies) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
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

// mergeCookies gives old with the cookies of an answer in it, without changing
// old: others may be sending it. An empty value deletes a cookie.
func mergeCookies(old []Cookie, answered []*http.Cookie) []Cookie {
	merged := append([]Cookie(nil), old...)
	for _, cookie := range answered {
		at := -1
		for i := range merged {
			if merged[i].Name == cookie.Name {
				at = i
			}
		}
		switch {
		case cookie.Value == "" && at >= 0:
			merged = append(merged[:at], merged[at+1:]...)
		case cookie.Value == "":
		case at >= 0:
			merged[at].Value = Secret(cookie.Value)
		default:
			merged = append(merged, Cookie{Name: cookie.Name, Value: Secret(cookie.Value)})
		}
	}
	return merged
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

// needsLogin is the error that only a person can do something about.
func needsLogin(name, why string) *Error {
	e := fail(KindNeedsLogin, "sign in", name, why)
	e.advice = "sign in again (plakar-icloud login, or rclone config reconnect)"
	e.final = true
	return e
}
