package icloud

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// proven is told that a call was accepted with these credentials.
func (s *session) proven(a *access) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.worked = true
	if a.generation == s.generation {
		s.works = true
	}
}

// attempts is what was done about the session because one call was refused.
type attempts struct {
	status    int  // of the refusal
	approved  bool // the cookies for protected data were renewed
	confirmed bool // Apple has said that the session is good
	signedIn  bool
}

// takeTurn waits until nobody else of this process renews or saves the session.
func (s *session) takeTurn(ctx context.Context) (leave func(), err error) {
	select {
	case s.turn <- struct{}{}:
		return func() { <-s.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// renew replaces credentials that a call was refused for, or that are missing.
// Of all callers that come with the same credentials, one renews.
func (s *session) renew(ctx context.Context, generation int, done *attempts) error {
	s.mu.Lock()
	failures := s.failures
	s.mu.Unlock()
	leave, err := s.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer leave()
	s.mu.Lock()
	if over, err := s.settled(generation, failures); over {
		s.mu.Unlock()
		return err
	}
	state := s.state.clone()
	s.mu.Unlock()

	unlock := s.lock(ctx)
	defer unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if adopted, err := s.adoptFile(&state); adopted || err != nil {
		return err
	}
	switch {
	case len(state.Cookies) > 0 && len(state.Endpoints) == 0:
		return s.perform(ctx, &state, renewEndpoints, done)
	case done.status == http.StatusLocked && !done.approved:
		done.approved = true
		return s.perform(ctx, &state, renewPCS, done)
	case usable(&state) && s.now().Sub(state.SignedInAt) < freshFor:
		return s.doubt(ctx, &state, done)
	}
	return s.perform(ctx, &state, renewAll, done)
}

// settled reports whether somebody has renewed, or has tried in vain, while a
// caller waited for its turn; mu is held.
func (s *session) settled(generation, failures int) (bool, error) {
	switch {
	case s.generation != generation:
		return true, nil
	case s.ended != nil:
		return true, s.ended
	case s.failures != failures:
		return true, s.failure
	}
	return false, nil
}

// freshFor is for how long after a sign-in a refused call is no reason for
// another one: a session lasts for days, so that the call itself is more likely
// to be what is refused. One document that the service always refuses so would
// otherwise cost a sign-in each time that it is read.
const freshFor = time.Hour

// doubt is for a call that a fresh session was refused for. Apple is asked once
// whether the session is good, as the refusal may have been a passing one. If it
// is, and the call is refused again, the call alone fails where others have been
// accepted; where none ever was, the session is of no use.
func (s *session) doubt(ctx context.Context, state *SessionFile, done *attempts) error {
	s.mu.Lock()
	works, worked, own := s.works, s.worked, s.own
	s.mu.Unlock()
	if done.confirmed {
		if worked {
			return refusedAlways(done.status)
		}
		if !own {
			return s.perform(ctx, state, renewAll, done)
		}
	} else {
		err := s.signIn(ctx, state, "", renewEndpoints)
		switch {
		case err == nil:
			done.confirmed = true
			s.store(state, false)
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !hasKind(err, KindNeedsLogin):
			return s.failed(err, state, false)
		case works || !own: // so it has ended since
			return s.perform(ctx, state, renewAll, done)
		}
	}
	if state.TermsPending {
		return s.end(termsPending(s.name), state)
	}
	return s.end(needsLogin(s.name, "iCloud refuses the session that it has just given (status "+strconv.Itoa(done.status)+")").
		because(CauseWebAccessOff).with("see on a device that "+webAccessSetting+" is on, then sign in again"), state)
}

const webAccessSetting = "Settings > your name > iCloud > Access iCloud Data on the Web"

// refusedAlways is for a call that is refused as if the session were over, with
// every session.
func refusedAlways(status int) *Error {
	e := failf(KindDenied, "", "", "iCloud refuses this with every session (status %d)", status).
		with("if it refuses all else too, see on a device that " + webAccessSetting + " is on")
	e.final = true
	return e
}

// perform renews at Apple and stores the outcome. Cheaper ways that fail for
// want of a session end in a sign-in, of which one call causes one at most.
func (s *session) perform(ctx context.Context, state *SessionFile, how renewal, done *attempts) error {
	var err error
	if how != renewAll {
		err = s.signIn(ctx, state, "", how)
		if hasKind(err, KindNeedsLogin) && !isFinal(err) {
			how = renewAll
		}
	}
	if how == renewAll {
		if done.signedIn {
			return refusedAlways(done.status)
		}
		done.signedIn, done.confirmed = true, false
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
		return s.failed(err, state, how == renewAll)
	}
	s.store(state, how == renewAll)
	return nil
}

// mayTry holds the rules that keep sign-ins rare: nothing that Apple has turned
// down is sent again, nothing is sent before the time that Apple named, and a
// session that keeps ending does not become a storm.
func (s *session) mayTry(state *SessionFile) error {
	now := s.now()
	if wait := state.Refused.NotBefore.Sub(now); wait > 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.failure != nil && s.failure.kind != KindThrottled {
			return s.failure
		}
		e := fail(KindThrottled, "sign in", s.name, "the last sign-in failed or was turned away, so none is tried for a while").because(CauseThrottled)
		e.retryAfter, e.final = wait, true
		return e
	}
	switch {
	case state.TrustToken == "" && state.SessionToken == "": // without a second factor there is no trust token
		return s.strand(CauseNotSignedIn, "nobody has signed in, or the sign-in was not completed", state)
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

// failed keeps what a failed renewal teaches. Whoever waited for it gets the same
// failure, and after a sign-in that Apple answered nobody tries another one for
// a while: the session of an account has many callers.
func (s *session) failed(err error, state *SessionFile, signIn bool) error {
	var typed *Error
	if !errors.As(err, &typed) {
		return err
	}
	named := *typed
	if named.op == "" {
		named.op, named.on = "sign in", s.name
	}
	named.final = true
	if named.kind == KindNeedsLogin {
		return s.end(&named, state)
	}
	if signIn && (named.kind != KindNetwork || named.answered) {
		wait := named.retryAfter
		if wait == 0 {
			wait = unnamedWait << min(state.Refused.Failures, mostDoublings)
		}
		if named.kind == KindThrottled {
			named.cause = CauseThrottled
		}
		state.Refused.Failures++
		state.Refused.NotBefore = s.now().Add(wait)
		s.keep(state)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures++
	s.failure = &named
	return &named
}

// unnamedWait is for how long no sign-in is tried after one that failed without
// a Retry-After. It doubles with each further one, up to a quarter of an hour.
const (
	unnamedWait   = time.Minute
	mostDoublings = 4
)

// strand is end where nothing is there to renew the session with.
func (s *session) strand(cause, why string, state *SessionFile) error {
	state.refuseSession(cause, why)
	return s.end(needsLogin(s.name, why).because(cause), state)
}

// end records that only a person can help. Later calls fail at once, until the
// session file changes.
func (s *session) end(why *Error, state *SessionFile) error {
	s.keep(state)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stop(why)
}

// stop is end without a word in the session file; mu is held.
func (s *session) stop(why *Error) error {
	why.final = true
	s.ended = why
	s.endedFile = stampOf(s.path)
	return why
}

// take makes the contents of a file the present credentials; mu is held.
func (s *session) take(file *SessionFile) {
	clientID := s.state.ClientID
	s.state = file.clone()
	if s.state.ClientID == "" {
		s.state.ClientID = clientID
	}
	s.generation++
	s.works, s.own, s.ended, s.failure = false, false, nil, nil
	clear(s.rotated)
}

// needsLogin is the error that only a person can do something about.
func needsLogin(name, why string) *Error {
	e := fail(KindNeedsLogin, "sign in", name, why)
	e.advice = "sign in again (plakar-icloud login, or rclone config reconnect)"
	e.cause, e.final = CauseSessionOver, true
	return e
}
