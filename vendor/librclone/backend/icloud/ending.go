package icloud

import "time"

// Final failures of renewals: for a while, or until a person acts.

// giveUp records a failure that waiting cannot cure. It ends the run: all
// callers get it, until a later renewal is due.
func (s *session) giveUp(err *Error, state *SessionFile) error {
	e := *err
	if e.op == "" {
		e.op, e.on = "sign in", s.name
	}
	e.final, e.fatal = true, true
	if e.unclear && state.Proofs.Sent >= mostProofs && !state.sessionTokenUsable() {
		e = *unclearTwice(s.name, e.why)
	}
	if e.kind == KindNeedsLogin {
		return s.end(&e, state)
	}
	if e.cause == "" {
		e.cause = troubleCause(&e)
	}
	now := s.now()
	wait := max(e.retryAfter, min(longestPause, s.longest))
	if until := now.Add(wait); until.After(state.Refused.NotBefore) {
		state.Refused.NotBefore = until
	}
	state.note(e.cause, e.why)
	if e.cause != CauseStateFolder { // which says that nothing can be kept
		s.keep(state)
	}
	return s.fail(&e, wait)
}

// fail returns a failure to all callers for a while.
func (s *session) fail(e *Error, wait time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures++
	s.failure, s.retryAt = e, s.now().Add(wait)
	return e
}

// troubleCause returns the cause of a failure that does not concern the
// account.
func troubleCause(e *Error) string {
	switch {
	case e.kind == KindThrottled:
		return CauseThrottled
	case e.kind == KindNetwork && !e.answered:
		return CauseNoNetwork
	case e.kind == KindNetwork, e.kind == KindDamaged:
		return CauseServiceTrouble
	}
	return ""
}

// strand does the same as end, for a session that cannot be renewed for lack of
// credentials.
func (s *session) strand(cause, why string, state *SessionFile) error {
	state.refuseSession(cause, why)
	return s.end(needsLogin(s.name, why).because(cause), state)
}

// end records that only a person can help. Later calls fail at once, until the
// session file changes.
func (s *session) end(why *Error, state *SessionFile) error {
	state.Refused.Cause, state.Refused.Reason = why.cause, why.why
	s.keep(state)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stop(why)
}

// stop does the same as end, without a record in the session file. mu must be
// held.
func (s *session) stop(why *Error) error {
	why.final = true
	s.ended = why
	s.endedFile = stampOf(s.path)
	return why
}

// needsLogin returns the error for a failure that only a person can resolve.
func needsLogin(name, why string) *Error {
	e := fail(KindNeedsLogin, "sign in", name, why)
	e.advice = "sign in again (plakar-icloud login, or rclone config reconnect)"
	e.cause, e.final = CauseSessionOver, true
	return e
}
