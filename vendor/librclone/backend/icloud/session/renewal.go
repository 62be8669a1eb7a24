package session

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/transport"

	"github.com/rclone/rclone/fs"
)

// Proven records that a call with these credentials was accepted.
func (s *Session) Proven(a *Access) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.everAccepted = true
	if a.Generation == s.generation {
		s.accepted = true
	}
}

// Attempts records which renewals were made because a call was refused.
type Attempts struct {
	Status    int  // of the refusal
	approved  bool // the cookies for protected data were requested
	confirmed bool // Apple has confirmed that the session is valid
	signedIn  bool
}

// takeTurn waits until no other caller in this process renews or stores the
// session. leave ends the turn.
func (s *Session) takeTurn(ctx context.Context) (leave func(), err error) {
	select {
	case s.turn <- struct{}{}:
		return func() { <-s.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Renew replaces credentials that are missing or with which a call was refused.
// generation is that of these credentials. Only one caller renews them, and all
// others wait for the outcome. Temporary failures are retried for at most
// s.Longest in total. The lock of the session file is not held during the waits,
// so that a person can sign in. After a longer or final failure, all callers get
// the same error.
func (s *Session) Renew(ctx context.Context, generation int, done *Attempts) error {
	s.mu.Lock()
	failures := s.failures
	s.mu.Unlock()
	leave, err := s.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer leave()
	r := &round{session: s, done: done}
	for {
		s.mu.Lock()
		over, err := s.needsNoRenewal(generation, failures)
		s.mu.Unlock()
		if over {
			return err
		}
		wait, err := r.pass(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var again *temporaryFailure
		if !errors.As(err, &again) {
			return err
		}
		r.logWait(again, wait)
		if err := transport.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// needsNoRenewal reports whether no renewal is needed, or none is possible now: another
// caller has renewed the session or failed to do so. mu must be held.
func (s *Session) needsNoRenewal(generation, failures int) (bool, error) {
	switch {
	case s.generation != generation:
		return true, nil
	case s.ended != nil:
		return true, s.ended
	case s.failures != failures, s.failure != nil && s.now().Before(s.retryAt):
		return true, s.failure
	}
	return false, nil
}

// freshFor is how long after a sign-in a refused call does not cause another
// sign-in. A session lasts for days, so it is more likely that the call itself is
// refused. A document that the service always refuses in this way would otherwise
// cause a sign-in each time it is read.
const freshFor = time.Hour

// round is one renewal. It consists of passes, each of which does the next
// step.
type round struct {
	session *Session
	done    *Attempts

	doubts     int     // consecutive refusals that may be temporary
	over       bool    // only a sign-in can renew the session
	confirming bool    // the present step checks whether a refused session is valid
	password   *Secret // nil until it is known; its command runs once in a round
	warned     bool    // a long wait was logged as a warning
}

// temporaryFailure is a failure after which another pass is tried.
type temporaryFailure struct{ why *apierr.Error }

// Error implements error.
func (f *temporaryFailure) Error() string { return f.why.Error() }

// pass takes the lock of the session file and makes the next step of the round.
// If the error is a *temporaryFailure, wait is the time until the next pass.
func (r *round) pass(ctx context.Context) (wait time.Duration, err error) {
	s := r.session
	s.mu.Lock()
	state := s.state.Clone()
	s.mu.Unlock()
	unlock, unlocked := s.lock(ctx)
	defer unlock()
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if adopted, err := s.adoptFile(&state); adopted || err != nil {
		return 0, err
	}
	if wait := state.Refused.NotBefore.Sub(s.now()); wait > 0 {
		return r.waitFor(&state, wait)
	}
	how, err := r.next(&state)
	if err != nil {
		return 0, err
	}
	if how == RenewAll {
		return r.begin(ctx, &state, unlocked)
	}
	err = s.signIn(ctx, &state, "", how, nil)
	if err != nil {
		return r.failed(ctx, &state, how, err)
	}
	r.done.approved = r.done.approved || how == RenewPCS
	r.done.confirmed = r.done.confirmed || r.confirming
	s.store(&state, false)
	return 0, nil
}

// next returns what to renew. Cookies for protected data and the addresses of the
// services need no sign-in.
func (r *round) next(state *File) (Renewal, error) {
	s, done := r.session, r.done
	s.mu.Lock()
	accepted, everAccepted, signedInHere := s.accepted, s.everAccepted, s.signedInHere
	s.mu.Unlock()
	r.confirming = false
	switch {
	case r.over:
	case len(state.Cookies) > 0 && len(state.Endpoints) == 0:
		return RenewEndpoints, nil
	case done.Status == http.StatusLocked && !done.approved:
		return RenewPCS, nil
	case usable(state) && s.now().Sub(state.SignedInAt) < freshFor:
		// The refusal may be temporary, so one request checks whether the session
		// is valid. If it is, and the call is refused again, only that call fails,
		// unless no call was ever accepted.
		switch {
		case !done.confirmed:
			r.confirming = true
			return RenewEndpoints, nil
		case everAccepted:
			return 0, RefusedAlways(done.Status)
		case signedInHere && !accepted:
			return 0, r.useless(state)
		}
	}
	if done.signedIn {
		return 0, RefusedAlways(done.Status)
	}
	return RenewAll, nil
}

// useless ends a session with which every call since its sign-in was refused.
func (r *round) useless(state *File) error {
	s := r.session
	if state.TermsPending {
		return s.end(TermsPending(s.name), state)
	}
	return s.end(NeedsLogin(s.name, "iCloud refuses the session that it has just given (status "+strconv.Itoa(r.done.Status)+")").
		Because(apierr.CauseWebAccessOff).Advise("check on a device that "+WebAccessSetting+" is on, then sign in again"), state)
}

// WebAccessSetting is the setting of an iPhone without which Apple refuses
// sessions on the web.
const WebAccessSetting = "Settings > your name > iCloud > Access iCloud Data on the Web"

// RefusedAlways returns the error for a call that is refused with every session
// as if the session had ended.
func RefusedAlways(status int) *apierr.Error {
	e := apierr.Newf(apierr.KindDenied, "", "", "iCloud refuses this with every session (status %d)", status).
		Advise("if it also refuses everything else, check on a device that " + WebAccessSetting + " is on")
	e.Final = true
	return e
}

// failed handles the failure of a step. The result is that of pass.
func (r *round) failed(ctx context.Context, state *File, how Renewal, err error) (time.Duration, error) {
	s := r.session
	var typed *apierr.Error
	if ctx.Err() != nil || !errors.As(err, &typed) {
		return 0, err
	}
	state.Proofs.Open = false
	if typed.Doubtful && !typed.Final {
		if r.doubts++; r.doubts < transport.DoubtfulTries {
			return r.postpone(state, typed)
		}
	}
	r.doubts = 0
	switch {
	case typed.Final:
		return 0, s.giveUp(typed, state)
	case typed.Doubtful, typed.Kind() == apierr.KindNeedsLogin:
	case typed.Unclear && !state.sessionTokenUsable():
		return 0, s.giveUp(typed, state)
	default:
		return r.postpone(state, typed)
	}
	// The refusal is accepted as final.
	if how == RenewAll {
		return r.tokenRefused(ctx, state, typed)
	}
	s.mu.Lock()
	signedInHere, accepted := s.signedInHere, s.accepted
	s.mu.Unlock()
	switch {
	case r.confirming && signedInHere && !accepted:
		return 0, r.useless(state)
	case how == RenewPCS && r.done.signedIn:
		return 0, s.giveUp(typed, state)
	}
	r.done.approved = r.done.approved || how == RenewPCS
	r.over = true
	return 0, &temporaryFailure{typed}
}

// maxUnexplained is the maximum number of consecutive renewals, of all
// processes, that end with an unexplained refusal. With the pauses between them,
// they take about 15 s. Unlike an outage, a refusal seldom ends by itself.
const maxUnexplained = 7

// postpone sets the time of the next pass, which other processes read from the
// session file. If the wait would be too long, the failure is final.
func (r *round) postpone(state *File, err *apierr.Error) (time.Duration, error) {
	s := r.session
	tries := 1
	if s.now().Sub(state.Refused.NotBefore) < 2*transport.MaxPause {
		tries += state.Refused.Tries
	}
	wait := transport.Retries{Base: s.Base, Longest: s.Longest}.Delay(tries+1, err.Wait)
	if err.Unexplained && tries >= maxUnexplained {
		state.Refused.Tries, state.Refused.GivenUp = tries, true
		return 0, s.giveUp(err, state)
	}
	if !s.mayWait(wait) {
		if err.Wait <= s.Longest && s.Longest > 0 {
			lasting := *err
			lasting.Why += ", for longer than " + s.Longest.String()
			err = &lasting
		}
		return 0, s.giveUp(err, state)
	}
	state.Refused.Tries, state.Refused.NotBefore, state.Refused.GivenUp = tries, s.now().Add(wait), false
	state.note(troubleCause(err), err.Why)
	s.writeFile(state)
	return wait, &temporaryFailure{err}
}

// waitFor returns the result of a pass that another pass, in this or in another
// process, has postponed.
func (r *round) waitFor(state *File, wait time.Duration) (time.Duration, error) {
	s := r.session
	e := apierr.New(apierr.KindThrottled, "sign in", s.name, cmp.Or(state.Refused.Reason, "no reason is recorded")).Because(apierr.CauseThrottled)
	e.Wait = wait
	switch {
	case state.Refused.GivenUp:
		e = apierr.New(apierr.KindNetwork, "sign in", s.name, e.Why).Because(state.Refused.Cause)
		e.Wait = wait
	case s.mayWait(wait):
		return wait, &temporaryFailure{e}
	}
	e.Why = "the last renewal of the session failed: " + e.Why
	e.Advice = "run the command again after that time, or sign in now (plakar-icloud login)"
	e.Final, e.EndsRun = true, true
	return 0, s.fail(e, wait)
}

// mayWait reports whether a wait ends within s.Longest of the first failure of
// the present series.
func (s *Session) mayWait(wait time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if s.failingSince.IsZero() || now.Sub(s.lastFailed) > s.Longest {
		s.failingSince = now
	}
	s.lastFailed = now
	return s.Longest > 0 && now.Add(wait).Sub(s.failingSince) <= s.Longest
}

// logWait logs why a renewal waits. The first long wait of a round is logged as a
// warning.
func (r *round) logWait(why *temporaryFailure, wait time.Duration) {
	if wait == 0 {
		return
	}
	failure := *why.why
	failure.Wait = 0 // the message has the wait
	name := r.session.name
	if wait < transport.LongWait || r.warned {
		fs.Debugf(nil, "icloud: the session of %q is renewed again in %v, because the last renewal failed: %s", name, wait.Round(time.Millisecond), failure.Reason())
		return
	}
	r.warned = true
	fs.LogPrintf(fs.LogLevelWarning, nil, "icloud: the session of %q is renewed again within %v, because the last renewal failed: %s", name, r.session.Longest, failure.Reason())
}

// take makes the credentials of a file the present ones. mu must be held.
func (s *Session) take(file *File) {
	clientID := s.state.ClientID
	s.state = file.Clone()
	if s.state.ClientID == "" {
		s.state.ClientID = clientID
	}
	s.generation++
	s.accepted, s.signedInHere, s.ended, s.failure = false, false, nil, nil
	s.failingSince = time.Time{}
	clear(s.rotated)
}
