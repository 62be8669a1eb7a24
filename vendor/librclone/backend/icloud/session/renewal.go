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
	s.worked = true
	if a.Generation == s.generation {
		s.works = true
	}
}

// Attempts records what was done about the session because a call was refused.
type Attempts struct {
	Status    int  // of the refusal
	approved  bool // the cookies for protected data were requested
	confirmed bool // Apple has confirmed that the session is valid
	signedIn  bool
}

// takeTurn waits until no other caller in this process renews or saves the
// session.
func (s *Session) takeTurn(ctx context.Context) (leave func(), err error) {
	select {
	case s.turn <- struct{}{}:
		return func() { <-s.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Renew replaces credentials that are missing or with which a call was refused.
// Of all callers with the same credentials, only one renews them. It retries
// temporary failures for at most s.longest in total. The file lock is free
// during the waits, so that a person can sign in. After a longer failure, or a
// final one, all callers get the same error.
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
		over, err := s.settled(generation, failures)
		s.mu.Unlock()
		if over {
			return err
		}
		wait, err := r.pass(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var again *passing
		if !errors.As(err, &again) {
			return err
		}
		r.logWait(again, wait)
		if err := transport.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// settled reports whether the session was renewed, or a renewal failed, while a
// caller waited for its turn. mu must be held.
func (s *Session) settled(generation, failures int) (bool, error) {
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

// freshFor is how long after a sign-in a refused call causes no further one. A
// session lasts for days, so it is more likely that the call itself is refused.
// Otherwise, a document that the service always refuses in this way would cost
// a sign-in each time it is read.
const freshFor = time.Hour

// round is one renewal. It consists of passes, each of which does the next
// step.
type round struct {
	session *Session
	done    *Attempts

	doubts     int     // consecutive refusals that may be temporary
	over       bool    // only a sign-in helps
	confirming bool    // the request checks whether a refused session is valid
	password   *Secret // set once it is known, because its command runs once in a round
	warned     bool    // a long wait was logged
}

// passing is a temporary failure, after which another pass is worthwhile.
type passing struct{ why *apierr.Error }

// Error implements error.
func (p *passing) Error() string { return p.why.Error() }

// pass takes the lock of the session file and does one step. If the error is a
// *passing, wait is the time until the next pass.
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

// next chooses what to renew. Cookies for protected data and the addresses of
// the services need no sign-in.
func (r *round) next(state *File) (Renewal, error) {
	s, done := r.session, r.done
	s.mu.Lock()
	works, worked, own := s.works, s.worked, s.own
	s.mu.Unlock()
	r.confirming = false
	switch {
	case r.over:
	case len(state.Cookies) > 0 && len(state.Endpoints) == 0:
		return RenewEndpoints, nil
	case done.Status == http.StatusLocked && !done.approved:
		return RenewPCS, nil
	case usable(state) && s.now().Sub(state.SignedInAt) < freshFor:
		// The refusal may be temporary, so Apple is asked once whether the
		// session is valid. If it is and the call is refused again, only that
		// call fails, unless no call was ever accepted.
		switch {
		case !done.confirmed:
			r.confirming = true
			return RenewEndpoints, nil
		case worked:
			return 0, RefusedAlways(done.Status)
		case own && !works:
			return 0, r.useless(state)
		}
	}
	if done.signedIn {
		return 0, RefusedAlways(done.Status)
	}
	return RenewAll, nil
}

// useless ends a session with which calls have been refused since its sign-in.
func (r *round) useless(state *File) error {
	s := r.session
	if state.TermsPending {
		return s.end(TermsPending(s.name), state)
	}
	return s.end(NeedsLogin(s.name, "iCloud refuses the session that it has just given (status "+strconv.Itoa(r.done.Status)+")").
		Because(apierr.CauseWebAccessOff).Advise("see on a device that "+WebAccessSetting+" is on, then sign in again"), state)
}

// WebAccessSetting is the setting of an iPhone without which Apple refuses
// sessions on the web.
const WebAccessSetting = "Settings > your name > iCloud > Access iCloud Data on the Web"

// RefusedAlways returns the error for a call that is refused with every session
// as if the session had ended.
func RefusedAlways(status int) *apierr.Error {
	e := apierr.Newf(apierr.KindDenied, "", "", "iCloud refuses this with every session (status %d)", status).
		Advise("if it refuses all else too, see on a device that " + WebAccessSetting + " is on")
	e.Final = true
	return e
}

// failed decides what the failure of a step means for the round.
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
	own, works := s.own, s.works
	s.mu.Unlock()
	switch {
	case r.confirming && own && !works:
		return 0, r.useless(state)
	case how == RenewPCS && r.done.signedIn:
		return 0, s.giveUp(typed, state)
	}
	r.done.approved = r.done.approved || how == RenewPCS
	r.over = true
	return 0, &passing{typed}
}

// mostUnexplained is the maximum number of consecutive renewals, of all
// processes, that end with an unexplained refusal. With the pauses between them,
// they take about 15 s. Unlike an outage, a refusal seldom ends by itself.
const mostUnexplained = 7

// postpone makes all callers wait before the next pass; other processes read
// the time from the session file. If the wait would be too long, the failure is
// final.
func (r *round) postpone(state *File, err *apierr.Error) (time.Duration, error) {
	s := r.session
	tries := 1
	if s.now().Sub(state.Refused.NotBefore) < 2*transport.MaxPause {
		tries += state.Refused.Tries
	}
	wait := transport.Retries{Base: s.Base, Longest: s.Longest}.Delay(tries+1, err.Wait)
	if err.Unexplained && tries >= mostUnexplained {
		state.Refused.Tries = tries // so that the next process tries once
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
	state.Refused.Tries, state.Refused.NotBefore = tries, s.now().Add(wait)
	state.note(troubleCause(err), err.Why)
	s.writeFile(state)
	return wait, &passing{err}
}

// waitFor waits for a time that this or another process has set before.
func (r *round) waitFor(state *File, wait time.Duration) (time.Duration, error) {
	s := r.session
	e := apierr.New(apierr.KindThrottled, "sign in", s.name, cmp.Or(state.Refused.Reason, "no reason is recorded")).Because(apierr.CauseThrottled)
	e.Wait = wait
	if s.mayWait(wait) {
		return wait, &passing{e}
	}
	e.Why = "the last renewal of the session failed: " + e.Why
	e.Advice = "run the command again after that time, or sign in now (plakar-icloud login)"
	e.Final, e.EndsRun = true, true
	return 0, s.fail(e, wait)
}

// mayWait reports whether a wait ends within the longest wait, counted from the
// first failure of the present series.
func (s *Session) mayWait(wait time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if s.trouble.IsZero() || now.Sub(s.troubled) > s.Longest {
		s.trouble = now
	}
	s.troubled = now
	return s.Longest > 0 && now.Add(wait).Sub(s.trouble) <= s.Longest
}

// logWait logs why a renewal waits. The first long wait of a round is logged as a
// warning.
func (r *round) logWait(why *passing, wait time.Duration) {
	if wait == 0 {
		return
	}
	failure := *why.why
	failure.Wait = 0 // the message contains the wait
	name := r.session.name
	if wait < transport.LongWait || r.warned {
		fs.Debugf(nil, "icloud: the session of %q is renewed again in %v, because the last renewal failed: %s", name, wait.Round(time.Millisecond), failure.Reason())
		return
	}
	r.warned = true
	fs.LogPrintf(fs.LogLevelWarning, nil, "icloud: the session of %q is renewed again within %v, because the last renewal failed: %s", name, r.session.Longest, failure.Reason())
}

// take uses the content of a file as the present credentials. mu must be held.
func (s *Session) take(file *File) {
	clientID := s.state.ClientID
	s.state = file.Clone()
	if s.state.ClientID == "" {
		s.state.ClientID = clientID
	}
	s.generation++
	s.works, s.own, s.ended, s.failure = false, false, nil, nil
	s.trouble = time.Time{}
	clear(s.rotated)
}
