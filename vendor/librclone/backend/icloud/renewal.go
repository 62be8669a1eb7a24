package icloud

import (
	"context"
	"errors"
	iofs "io/fs"
	"net/http"
	"strconv"
	"time"
)

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

	if (from == signedIn || from == confirmed) && !works && usable(&state) {
		return s.refusedAtOnce(ctx, &state, from, status)
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

// refusedAtOnce is for a call that a new session was refused for. Apple is asked
// once whether the session is good, as the refusal may have been a passing one.
func (s *session) refusedAtOnce(ctx context.Context, state *SessionFile, from origin, status int) error {
	if from == signedIn {
		err := s.signIn(ctx, state, "", renewEndpoints)
		switch {
		case err == nil:
			s.store(state, confirmed)
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !hasKind(err, KindNeedsLogin):
			return s.failed(err, state, confirmed)
		}
	}
	if state.TermsPending {
		return s.end(termsPending(s.name), state)
	}
	return s.end(needsLogin(s.name, "iCloud refuses the session that it has just given (status "+strconv.Itoa(status)+")").
		because(CauseWebAccessOff).with("see on a device that Settings > your name > iCloud > Access iCloud Data on the Web is on, then sign in again"), state)
}

// perform renews at Apple and stores the outcome. Cheaper ways that fail for
// want of a session end in a sign-in.
func (s *session) perform(ctx context.Context, state *SessionFile, how renewal) error {
	from := map[renewal]origin{renewEndpoints: configured, renewPCS: approved, renewAll: signedIn}[how]
	var err error
	if how != renewAll {
		err = s.signIn(ctx, state, "", how)
		if hasKind(err, KindNeedsLogin) && !isFinal(err) {
			from = signedIn
		}
	}
	if from == signedIn {
		if err := s.mayTry(state); err != nil {
			return err
		}
		password, refused := s.passwordFor(ctx, state)
		if refused != nil {
			return refused
		}
		err = s.signIn(ctx, state, password, renewAll)
	}
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return s.failed(err, state, from)
	}
	s.store(state, from)
	return nil
}

// mayTry holds the rules that keep sign-ins rare: nothing that Apple has turned
// down is sent again, nothing is sent before the time that Apple named, and a
// session that keeps ending does not become a storm.
func (s *session) mayTry(state *SessionFile) error {
	now := s.now()
	if wait := state.Refused.NotBefore.Sub(now); wait > 0 {
		e := fail(KindThrottled, "sign in", s.name, "Apple turned the last sign-in away, so none is tried for a while").because(CauseThrottled)
		e.retryAfter, e.final = wait, true
		return e
	}
	switch {
	case state.TrustToken == "" && state.SessionToken == "": // without a second factor there is no trust token
		return s.end(needsLogin(s.name, "nobody has signed in, or the sign-in was not completed").because(CauseNotSignedIn), state)
	case state.refuses(state.Refused.TrustToken, state.TrustToken):
		return s.end(needsLogin(s.name, state.Refused.Reason).because(state.Refused.Cause), state)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.signIns) > 0 && now.Sub(s.signIns[0]) > time.Hour {
		s.signIns = s.signIns[1:]
	}
	if len(s.signIns) >= mostSignIns {
		e := failf(KindThrottled, "sign in", s.name, "the session ended %d times within an hour", mostSignIns).because(CauseThrottled)
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
func (s *session) failed(err error, state *SessionFile, tried origin) error {
	var typed *Error
	if !errors.As(err, &typed) {
		return err
	}
	named := *typed
	if named.op == "" {
		named.op, named.on = "sign in", s.name
	}
	named.final = true
	switch {
	case named.kind == KindNeedsLogin:
		return s.end(&named, state)
	case named.kind == KindThrottled && tried == signedIn:
		named.cause = CauseThrottled
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
const unnamedWait = time.Minute

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
	if file.TrustToken != "" || file.SessionToken != "" {
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

// needsLogin is the error that only a person can do something about.
func needsLogin(name, why string) *Error {
	e := fail(KindNeedsLogin, "sign in", name, why)
	e.advice = "sign in again (plakar-icloud login, or rclone config reconnect)"
	e.cause, e.final = CauseSessionOver, true
	return e
}
