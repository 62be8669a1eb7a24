package session

import (
	"context"
	"errors"
	"strings"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
)

// A sign-in with the password sends a proof that Apple checks. Two wrong proofs
// have locked an account, and the response to a proof can be lost. So each proof
// is counted in the session file before it is sent.

// MaxProofs is the maximum number of proofs that are sent with one trust token
// until one of them has brought a session.
const MaxProofs = 2

// ProofLog counts the proofs that were sent since the last sign-in that brought a
// session.
type ProofLog struct {
	Sent     int       `json:"sent,omitempty"`
	SentAt   time.Time `json:"sent_at,omitzero"`   // when the last one was sent
	Open     bool      `json:"open,omitempty"`     // the outcome of the last one is not recorded yet
	Accepted bool      `json:"accepted,omitempty"` // Apple accepted the last one, and its session token has brought no session yet
}

// proofTime is how long after its proof a sign-in may still be under way.
const proofTime = 2 * time.Minute

// spent reports whether no further proof may be sent.
func (p *ProofLog) spent(now time.Time) bool {
	sent := p.Sent
	if p.Open && now.Sub(p.SentAt) < proofTime {
		sent--
	}
	return sent >= MaxProofs
}

const whyUnclear = "a sign-in was begun and its outcome is not known"

// announce returns the function that records a proof before it is sent. If the
// record cannot be written, the function fails and nothing may be sent.
func (s *Session) announce(state *File) func(*File) error {
	return func(attempt *File) error {
		log := ProofLog{Sent: state.Proofs.Sent + 1, SentAt: s.now().UTC(), Open: true}
		marked := state.Clone()
		marked.Proofs = log
		marked.Refused.Cause, marked.Refused.Reason = apierr.CauseUnclear, whyUnclear
		if err := SaveFile(s.path, &marked); err != nil {
			return unrecorded(s.name, s.path, err)
		}
		state.Proofs, attempt.Proofs = log, log
		state.Refused, attempt.Refused = marked.Refused, marked.Refused
		s.mu.Lock()
		defer s.mu.Unlock()
		s.proofs++
		s.inFile = true
		return nil
	}
}

// unrecorded returns the error for a sign-in whose outcome could not be stored.
func unrecorded(name, path string, err error) *apierr.Error {
	e := apierr.New(apierr.KindBadConfig, "sign in", name, "no sign-in is attempted, because its outcome cannot be recorded").Because(apierr.CauseStateFolder)
	e.Final = true
	if path == "" {
		return e.Advise("give the account a session file: set HOME, or state_dir= or session_file= in the configuration")
	}
	return e.From(err)
}

// UnclearPrefix is the start of the reason after a proof of unknown outcome.
const UnclearPrefix = "the outcome of the sign-in is not known: "

// whyUnclearTwice is the start of the reason after MaxProofs proofs of unknown
// outcome.
const whyUnclearTwice = "the outcome of the last sign-ins is not known, and another one could lock the account"

// unclearTwice returns the error after MaxProofs proofs of unknown outcome.
func unclearTwice(name, why string) *apierr.Error {
	switch {
	case why == "", why == whyUnclear:
		why = whyUnclearTwice
	case !strings.HasPrefix(why, whyUnclearTwice):
		why = whyUnclearTwice + " (the last one failed with: " + strings.TrimPrefix(why, UnclearPrefix) + ")"
	}
	return NeedsLogin(name, why).Because(apierr.CauseUnclear)
}

// begin signs in with the password or with the session token of the last
// accepted proof. unlocked is why the session file is not locked, or nil.
func (r *round) begin(ctx context.Context, state *File, unlocked error) (time.Duration, error) {
	s := r.session
	if err := s.mayTry(state); err != nil {
		return 0, err
	}
	password, err := r.credential(ctx, state)
	if err != nil {
		return 0, err
	}
	if s.path != "" && unlocked == nil {
		unlocked = SaveFile(s.path, state)
	}
	if s.path == "" || unlocked != nil {
		return 0, s.giveUp(unrecorded(s.name, s.path, unlocked), state)
	}
	err = s.signIn(ctx, state, password, RenewAll, s.announce(state))
	if err != nil {
		var unclear *apierr.Error
		if errors.As(err, &unclear) && unclear.Unclear {
			s.mu.Lock()
			s.lastUnclear = unclear
			s.mu.Unlock()
		}
		return r.failed(ctx, state, RenewAll, err)
	}
	r.done.signedIn, r.done.confirmed, r.done.approved = true, false, false
	s.mu.Lock()
	if state.Proofs.Sent == 0 {
		s.proofs, s.lastUnclear = 0, nil
	}
	s.signIns = append(s.signIns, s.now())
	s.mu.Unlock()
	s.store(state, true)
	return 0, nil
}

// maxSignIns is the maximum number of successful sign-ins of a process within an
// hour. A session lasts for days, so more sign-ins show that something is wrong.
const maxSignIns = 20

// mayTry returns nil if a sign-in may be attempted. It returns an error if there
// are no credentials, if Apple has rejected them, or if sessions end too often.
func (s *Session) mayTry(state *File) error {
	switch {
	case state.TrustToken == "" && state.SessionToken == "": // an account without a second factor has only a session token
		return s.endWithoutCredentials(apierr.CauseNotSignedIn, "not signed in, or the sign-in was not completed", state)
	case state.refuses(state.Refused.TrustToken, state.TrustToken):
		return s.end(SignInRefused(s.name, state.Refused.Cause, state.Refused.Reason), state)
	}
	now := s.now()
	s.mu.Lock()
	for len(s.signIns) > 0 && now.Sub(s.signIns[0]) > time.Hour {
		s.signIns = s.signIns[1:]
	}
	recent := s.signIns
	s.mu.Unlock()
	if len(recent) >= maxSignIns {
		e := apierr.Newf(apierr.KindThrottled, "sign in", s.name, "the session ended %d times within an hour", maxSignIns)
		e.Wait, e.Final = recent[0].Add(time.Hour).Sub(now), true
		return s.giveUp(e, state)
	}
	return nil
}

// credential returns the password for a sign-in, or "" to sign in with the
// session token. A process sends at most one proof, and never a proof of a
// password that Apple has rejected.
func (r *round) credential(ctx context.Context, state *File) (Secret, error) {
	s := r.session
	token := state.sessionTokenUsable()
	if state.Proofs.Sent > 0 && state.Refused.Password == "" && token { // the token may suffice, which saves the second proof
		return "", nil
	}
	mayProve, unclear := s.proofsLeft(state)
	switch {
	case mayProve:
	case state.Refused.Password != "":
		return "", s.end(SignInRefused(s.name, state.Refused.Cause, state.Refused.Reason), state)
	case token:
		return "", nil
	case state.Proofs.Sent >= MaxProofs:
		return "", s.end(unclearTwice(s.name, state.Refused.Reason), state)
	case unclear != nil:
		return "", s.giveUp(unclear, state)
	}
	password, err := r.configuredPassword(ctx, state)
	switch {
	case err != nil:
		return "", err
	case IsAppSpecific(password):
		why := NeedsLogin(s.name, "the stored password is an app-specific one, which iCloud Drive does not accept")
		return "", s.end(why.Because(apierr.CauseAppSpecific).Advise("sign in again with the password of the Apple Account"), state)
	case state.refuses(state.Refused.Password, password):
		return "", s.end(SignInRefused(s.name, state.Refused.Cause, state.Refused.Reason), state)
	case password == "" && !token:
		return "", s.endWithoutCredentials(apierr.CauseNoPassword, "the session has ended and no password is stored to renew it", state)
	}
	return password, nil
}

// proofsLeft reports whether this process may send a proof, and returns the
// failure of its last proof if the outcome of that is unknown.
func (s *Session) proofsLeft(state *File) (mayProve bool, unclear *apierr.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proofs == 0 && state.Proofs.Sent < MaxProofs, s.lastUnclear
}

// configuredPassword returns the configured password. A password command runs
// once in a round.
func (r *round) configuredPassword(ctx context.Context, state *File) (Secret, error) {
	s := r.session
	if r.password != nil {
		return *r.password, nil
	}
	s.mu.Lock()
	password, command := s.password, s.command
	s.mu.Unlock()
	if command != "" {
		var err error
		if password, err = PasswordOf(ctx, command); err != nil {
			var typed *apierr.Error
			if errors.As(err, &typed) {
				return "", s.giveUp(typed, state)
			}
			return "", err
		}
	}
	r.password = &password
	return password, nil
}

// tokenRefused records that Apple gives no session for the session token. If a
// proof may still be sent, the next pass tries the password.
func (r *round) tokenRefused(ctx context.Context, state *File, why *apierr.Error) (time.Duration, error) {
	s := r.session
	fresh := state.Proofs.Accepted
	state.Proofs.Accepted, state.Proofs.Open = false, false
	state.refuseSessionToken(why.Why)
	mayProve, unclear := s.proofsLeft(state)
	password, err := r.configuredPassword(ctx, state)
	if err != nil {
		return 0, err
	}
	switch {
	case mayProve && password != "":
		s.writeFile(state)
		return 0, &temporaryFailure{why}
	case state.Proofs.Sent >= MaxProofs, password == "":
		state.RefuseSession(apierr.CauseSessionOver, why.Why)
		return 0, s.end(NeedsLogin(s.name, why.Why), state)
	case unclear != nil && !fresh:
		return 0, s.giveUp(unclear, state)
	}
	// Another process may send one more proof.
	e := apierr.New(apierr.KindDenied, "", "", why.Why).Because(apierr.CauseSessionOver)
	return 0, s.giveUp(e, state)
}
