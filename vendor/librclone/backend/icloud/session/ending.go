package session

import (
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/transport"
)

// The failures that end a renewal, for a while or until a person acts.

// doubtfulProofPause is the pause after a proof of the password that was refused
// without a reason. Apple may have counted it as a wrong password, and two wrong
// passwords have locked an account.
const doubtfulProofPause = time.Hour

// giveUp records a failure that no further wait can resolve, and returns it. The
// failure ends the run: all callers get it until the next renewal may be tried.
func (s *Session) giveUp(err *apierr.Error, state *File) error {
	e := *err
	if e.Op == "" {
		e.Op, e.On = "sign in", s.name
	}
	e.Final, e.EndsRun = true, true
	if e.Unclear && state.Proofs.Sent >= MaxProofs && !state.sessionTokenUsable() {
		e = *unclearTwice(s.name, e.Why)
	}
	if e.Kind() == apierr.KindNeedsLogin {
		return s.end(&e, state)
	}
	if e.Cause() == "" {
		_ = e.Because(troubleCause(&e))
	}
	now := s.now()
	wait := max(e.Wait, min(transport.MaxPause, s.Longest))
	if e.Unclear && e.Unexplained {
		wait = max(wait, doubtfulProofPause)
	}
	if until := now.Add(wait); until.After(state.Refused.NotBefore) {
		state.Refused.NotBefore = until
	}
	state.note(e.Cause(), e.Why)
	if e.Cause() != apierr.CauseStateFolder { // then the file cannot be written
		s.writeFile(state)
	}
	return s.fail(&e, wait)
}

// fail makes all callers get a failure for wait, and returns it.
func (s *Session) fail(e *apierr.Error, wait time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures++
	s.failure, s.retryAt = e, s.now().Add(wait)
	return e
}

// troubleCause returns the cause of a failure that does not concern the
// account.
func troubleCause(e *apierr.Error) string {
	switch {
	case e.Kind() == apierr.KindThrottled:
		return apierr.CauseThrottled
	case e.Kind() == apierr.KindNetwork && !e.Reported:
		return apierr.CauseNoNetwork
	case e.Kind() == apierr.KindNetwork, e.Kind() == apierr.KindDamaged:
		return apierr.CauseServiceTrouble
	}
	return ""
}

// endWithoutCredentials is end for a session that cannot be renewed because
// credentials are missing.
func (s *Session) endWithoutCredentials(cause, why string, state *File) error {
	state.RefuseSession(cause, why)
	return s.end(NeedsLogin(s.name, why).Because(cause), state)
}

// end ends the session, because only a person can resolve the failure why, and
// returns why. Later calls fail at once until the session file changes.
func (s *Session) end(why *apierr.Error, state *File) error {
	state.Refused.Cause, state.Refused.Reason = why.Cause(), why.Why
	s.writeFile(state)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stop(why)
}

// stop is end without a record in the session file. mu must be held.
func (s *Session) stop(why *apierr.Error) error {
	why.Final = true
	s.ended = why
	s.endedFile = stampOf(s.path)
	return why
}

// NeedsLogin returns the error for a failure that only a person can resolve.
func NeedsLogin(name, why string) *apierr.Error {
	e := apierr.New(apierr.KindNeedsLogin, "sign in", name, why).Because(apierr.CauseSessionOver).
		Advise("sign in again (plakar-icloud login, or rclone config reconnect)")
	e.Final = true
	return e
}

// adviceFor has the advice for the causes of a refused sign-in for which it is not enough
// to sign in again.
var adviceFor = map[string]string{
	apierr.CauseLocked:        "unlock the account at iforgot.apple.com if it is locked, then sign in again",
	apierr.CauseWrongPassword: "sign in again with the password of the Apple Account; app-specific passwords do not work here",
}

// SignInRefused returns the error for a sign-in that Apple refuses for a cause.
func SignInRefused(name, cause, why string) *apierr.Error {
	e := NeedsLogin(name, why).Because(cause)
	if advice := adviceFor[cause]; advice != "" {
		e.Advice = advice
	}
	return e
}

// TermsPending returns the error for an account whose owner has to accept new
// terms.
func TermsPending(name string) *apierr.Error {
	return NeedsLogin(name, "Apple's terms have changed").Because(apierr.CauseTermsPending).Advise("accept them on icloud.com, then try again")
}
