package icloud

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"
)

// SessionFileVersion is the version of the format that this package writes. A
// file of a higher version is refused.
const SessionFileVersion = 1

// Secret is a text that prints as stars. Only its JSON form, which session
// files are written in, holds it.
type Secret string

// String implements fmt.Stringer.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return s.String() }

// Cookie is one cookie of a session.
type Cookie struct {
	Name  string `json:"name"`
	Value Secret `json:"value"`
}

// SessionFile is what processes that use one Apple Account share: a JSON object
// in a file of mode 0600, in a folder of mode 0700, replaced as a whole.
// Whoever changes it holds a lock on the file beside it whose name has ".lock"
// added (flock on Unix, LockFileEx on Windows); see UpdateSessionFile.
type SessionFile struct {
	Version  int    `json:"version"`
	AppleID  string `json:"apple_id"`
	ClientID string `json:"client_id,omitempty"`

	// TrustToken spares the second factor at a sign-in, for about 30 days.
	TrustToken Secret `json:"trust_token,omitempty"`
	// SessionToken is the proof of the last sign-in. With the trust token it
	// gives new cookies without the password, while it lasts.
	SessionToken Secret   `json:"session_token,omitempty"`
	Country      string   `json:"account_country,omitempty"`
	Cookies      []Cookie `json:"cookies,omitempty"`

	// Endpoints are the addresses of the services, by the service's own names
	// ("drivews", "docws").
	Endpoints map[string]string `json:"endpoints,omitempty"`
	Protected bool              `json:"protected,omitempty"` // Advanced Data Protection is on
	// ConsentUntil is when the access to protected data ends that a device has
	// consented to, if Apple tells.
	ConsentUntil time.Time `json:"consent_until,omitzero"`
	// TermsPending is true while Apple waits for its terms to be accepted.
	TermsPending bool `json:"terms_pending,omitempty"`

	TrustedAt  time.Time `json:"trusted_at,omitzero"`   // when a code was last entered
	RenewedAt  time.Time `json:"renewed_at,omitzero"`   // when the cookies were last renewed
	SignedInAt time.Time `json:"signed_in_at,omitzero"` // when the last sign-in was
	SignIns    int       `json:"sign_ins,omitempty"`    // with this trust token

	// Refused is what Apple has turned down and what is therefore not tried again.
	Refused Refusals `json:"refused,omitzero"`
	// Proofs bounds the sign-ins by password.
	Proofs ProofLog `json:"proofs,omitzero"`
}

// Refusals are fingerprints of credentials that Apple has turned down. A
// fingerprint is a slow hash of which 3 bytes are kept: enough to know the
// credential again, too little to find it by trying.
type Refusals struct {
	Salt       string    `json:"salt,omitempty"`
	Password   string    `json:"password,omitempty"`
	TrustToken string    `json:"trust_token,omitempty"`
	Session    string    `json:"session,omitempty"`   // one that is over, and nothing is there to renew it with
	Token      string    `json:"token,omitempty"`     // the session token
	Cause      string    `json:"cause,omitempty"`     // why the last renewal failed, as of Error.Cause
	Reason     string    `json:"reason,omitempty"`    // the same in words
	NotBefore  time.Time `json:"not_before,omitzero"` // no renewal is tried before
	Tries      int       `json:"tries,omitempty"`     // renewals in a row that failed for a passing reason
}

// refuse keeps that the trust token, or with a password the password, was
// turned down, and why.
func (f *SessionFile) refuse(password Secret, cause, why string) {
	f.refuseFor(cause, why)
	if password != "" {
		f.Refused.Password = f.fingerprint(password)
	} else {
		f.Refused.TrustToken = f.fingerprint(f.TrustToken)
	}
}

// refuseSession keeps that nothing is there to renew the session with, and why.
func (f *SessionFile) refuseSession(cause, why string) {
	f.refuseFor(cause, why)
	f.Refused.Session = f.fingerprint(f.session())
}

// refuseSessionToken keeps that the session token was turned down, and why.
func (f *SessionFile) refuseSessionToken(why string) {
	f.refuseFor(CauseSessionOver, why)
	f.Refused.Token = f.fingerprint(f.SessionToken)
}

// sessionTokenUsable reports whether the session token may bring a session.
func (f *SessionFile) sessionTokenUsable() bool {
	return f.SessionToken != "" && !f.refuses(f.Refused.Token, f.SessionToken)
}

// aboutCredentials reports whether a credential is refused, which the cause and
// the reason are for then.
func (r *Refusals) aboutCredentials() bool {
	return r.Password != "" || r.TrustToken != "" || r.Session != "" || r.Token != ""
}

// note keeps why a renewal failed.
func (f *SessionFile) note(cause, why string) {
	if !f.Refused.aboutCredentials() {
		f.Refused.Cause, f.Refused.Reason = cause, why
	}
}

// forgetTrouble forgets why renewals failed, after one that did not.
func (f *SessionFile) forgetTrouble() {
	f.Refused.NotBefore, f.Refused.Tries = time.Time{}, 0
	if f.Proofs.Sent == 0 {
		f.note("", "")
	}
}

func (f *SessionFile) refuseFor(cause, why string) {
	if f.Refused.Salt == "" {
		f.Refused.Salt = uuid.NewString()
	}
	f.Refused.Cause, f.Refused.Reason = cause, why
}

// session gives what tells a session from another one.
func (f *SessionFile) session() Secret { return f.TrustToken + Secret(f.CookieHeader()) }

// refuses reports whether a fingerprint is that of a credential.
func (f *SessionFile) refuses(fingerprint string, credential Secret) bool {
	return fingerprint != "" && credential != "" && fingerprint == f.fingerprint(credential)
}

const fingerprintBytes = 3

// fingerprintRounds is a variable for tests that make thousands of fingerprints.
var fingerprintRounds = 100_000

func (f *SessionFile) fingerprint(credential Secret) string {
	hash, err := pbkdf2.Key(sha256.New, string(credential), []byte(f.Refused.Salt), fingerprintRounds, fingerprintBytes)
	if err != nil { // only for parameters that are not these
		return ""
	}
	return hex.EncodeToString(hash)
}

func (f *SessionFile) clone() SessionFile {
	copied := *f
	copied.Cookies = slices.Clone(f.Cookies)
	copied.Endpoints = maps.Clone(f.Endpoints)
	return copied
}

// sessionFileError is a failure with a session file. It names the file in its
// reason, as callers tell that alone.
func sessionFileError(path, what string) *Error {
	return failf(KindBadConfig, "", "", "the session file %q %s", path, what).because(CauseSessionFile)
}

// LoadSessionFile reads a session file. A missing file gives an error that is
// fs.ErrNotExist.
func LoadSessionFile(path string) (*SessionFile, error) {
	data, err := ReadPrivateFile(path)
	if err != nil {
		return nil, sessionFileError(path, "cannot be read").from(pathless(err))
	}
	file := new(SessionFile)
	if err := json.Unmarshal(data, file); err != nil {
		return nil, sessionFileError(path, "is not what it should be").with("remove it and sign in again")
	}
	if file.Version > SessionFileVersion {
		return nil, newerFormat(path, file.Version)
	}
	return file, nil
}

func newerFormat(path string, version int) error {
	return sessionFileError(path, fmt.Sprintf("has format %d and this version knows %d", version, SessionFileVersion)).
		with("use a newer version")
}

// SaveSessionFile replaces a session file, making its folder when there is none.
// A file of a newer format stays. Use UpdateSessionFile where other processes may
// use the file.
func SaveSessionFile(path string, file *SessionFile) error {
	var present struct {
		Version int `json:"version"`
	}
	if data, err := ReadPrivateFile(path); err == nil && json.Unmarshal(data, &present) == nil && present.Version > SessionFileVersion {
		return newerFormat(path, present.Version)
	}
	file.Version = SessionFileVersion
	data, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return sessionFileError(path, "cannot be written as JSON").from(err)
	}
	if err := ReplaceFile(path, append(data, '\n')); err != nil {
		return sessionFileError(path, "cannot be written").from(pathless(err)).
			with("give the account a folder that this user can write to")
	}
	return nil
}

// UpdateSessionFile changes a session file while no other process can: it takes
// the lock, reads the file (an empty one when there is none), calls change and,
// unless that fails, writes the file.
func UpdateSessionFile(ctx context.Context, path string, change func(*SessionFile) error) error {
	unlock, err := lockSessionFile(ctx, path)
	if err != nil {
		return err
	}
	defer unlock()
	file, err := LoadSessionFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		file, err = new(SessionFile), nil
	}
	if err != nil {
		return err
	}
	if err := change(file); err != nil {
		return err
	}
	return SaveSessionFile(path, file)
}

// ForgetSessionFile removes a session file, so that processes which use it end
// their session when they next renew it. The lock file stays: they may wait for
// it.
func ForgetSessionFile(ctx context.Context, path string) error {
	if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if unlock, err := lockSessionFile(ctx, path); err == nil {
		defer unlock()
	} else if ctx.Err() != nil {
		return ctx.Err() // where there are no locks, processes do without one too
	}
	if err := RemoveFile(path); err != nil {
		return sessionFileError(path, "cannot be removed").from(pathless(err)).
			with("remove it by hand: it holds secrets")
	}
	return RemoveFile(recollectionFile(path))
}

// TrustDays is how long a trust token is good for, by Apple's present practice.
const TrustDays = 30

// SessionStatus describes a session without its secrets.
type SessionStatus struct {
	AppleID    string    `json:"apple_id"`
	HasTrust   bool      `json:"has_trust"`   // a trust token is there
	HasCookies bool      `json:"has_cookies"` // a session is there, alive or not
	TrustedAt  time.Time `json:"trusted_at,omitzero"`
	TrustUntil time.Time `json:"trust_until,omitzero"` // expected; zero when TrustedAt is not known
	RenewedAt  time.Time `json:"renewed_at,omitzero"`
	SignIns    int       `json:"sign_ins"`
	Protected  bool      `json:"protected"` // Advanced Data Protection is on
	// ConsentUntil is when the access to protected data ends, if Apple tells.
	ConsentUntil time.Time `json:"consent_until,omitzero"`
	// NeedsLogin is true when a person has to sign in: there is no trust, it is
	// over, or Apple has turned it or the password down.
	NeedsLogin bool   `json:"needs_login"`
	Cause      string `json:"cause,omitempty"`  // why, as of Error.Cause
	Reason     string `json:"reason,omitempty"` // the same in words
}

// Describe gives the state of the session at a time.
func (f *SessionFile) Describe(now time.Time) SessionStatus {
	status := SessionStatus{
		AppleID:      f.AppleID,
		HasTrust:     f.TrustToken != "",
		HasCookies:   len(f.Cookies) > 0,
		TrustedAt:    f.TrustedAt,
		RenewedAt:    f.RenewedAt,
		SignIns:      f.SignIns,
		Protected:    f.Protected,
		ConsentUntil: f.ConsentUntil,
	}
	if !f.TrustedAt.IsZero() {
		status.TrustUntil = f.TrustedAt.AddDate(0, 0, TrustDays)
	}
	switch {
	case f.TrustToken == "" && f.SessionToken == "" && len(f.Cookies) == 0:
		status.Cause, status.Reason = CauseNotSignedIn, "nobody has signed in"
	case f.refuses(f.Refused.TrustToken, f.TrustToken), f.refuses(f.Refused.Session, f.session()), f.Refused.Password != "",
		f.Proofs.spent(now) && !f.sessionTokenUsable():
		status.Cause, status.Reason = f.Refused.Cause, f.Refused.Reason
	}
	status.NeedsLogin = status.Cause != ""
	if !status.NeedsLogin && f.Refused.Reason != "" {
		status.Cause, status.Reason = f.Refused.Cause, "the last renewal of the session failed: "+f.Refused.Reason
		if f.Refused.NotBefore.After(now) {
			status.Reason += "; none is tried before " + f.Refused.NotBefore.UTC().Format(time.RFC3339)
		}
	}
	return status
}

// TrustLeft is how long the trust is expected to last from now on, and whether
// that is known.
func (s SessionStatus) TrustLeft(now time.Time) (time.Duration, bool) {
	if s.TrustUntil.IsZero() {
		return 0, false
	}
	return max(0, s.TrustUntil.Sub(now)), true
}

// Format implements fmt.Formatter, so that no verb prints the text.
func (s Secret) Format(state fmt.State, _ rune) { _, _ = state.Write([]byte(s.String())) }
