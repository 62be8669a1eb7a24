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

// Secret is a text that prints as asterisks. Only its JSON form, in which
// session files are written, contains it.
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

// SessionFile is the state that processes with the same Apple Account share: a
// JSON object in a file of mode 0600, in a folder of mode 0700, replaced as a
// whole. A process that changes it must hold a lock on the file beside it with
// the suffix ".lock" (flock on Unix, LockFileEx on Windows); see
// UpdateSessionFile.
type SessionFile struct {
	Version  int    `json:"version"`
	AppleID  string `json:"apple_id"`
	ClientID string `json:"client_id,omitempty"`

	// TrustToken makes the second factor unnecessary at a sign-in, for about 30
	// days.
	TrustToken Secret `json:"trust_token,omitempty"`
	// SessionToken is the proof of the last sign-in. Together with the trust
	// token, it gives new cookies without the password as long as it is valid.
	SessionToken Secret   `json:"session_token,omitempty"`
	Country      string   `json:"account_country,omitempty"`
	Cookies      []Cookie `json:"cookies,omitempty"`

	// Endpoints are the addresses of the services, by the service's own names
	// ("drivews", "docws").
	Endpoints map[string]string `json:"endpoints,omitempty"`
	Protected bool              `json:"protected,omitempty"` // Advanced Data Protection is on
	// ConsentUntil is when the access to protected data that was approved on a
	// device ends, if Apple reports it.
	ConsentUntil time.Time `json:"consent_until,omitzero"`
	// TermsPending is true while Apple waits for the acceptance of its terms.
	TermsPending bool `json:"terms_pending,omitempty"`

	TrustedAt  time.Time `json:"trusted_at,omitzero"`   // when a code was last entered
	RenewedAt  time.Time `json:"renewed_at,omitzero"`   // when the cookies were last renewed
	SignedInAt time.Time `json:"signed_in_at,omitzero"` // when the last sign-in was
	SignIns    int       `json:"sign_ins,omitempty"`    // with this trust token

	// Refused identifies the credentials that Apple has rejected and that are
	// therefore not used again.
	Refused Refusals `json:"refused,omitzero"`
	// Proofs limits the sign-ins by password.
	Proofs ProofLog `json:"proofs,omitzero"`
}

// Refusals are fingerprints of credentials that Apple has rejected. A
// fingerprint consists of 3 bytes of a slow hash: enough to recognise the
// credential, but too little to find it by trying.
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

// refuse stores that the trust token or, if password is set, the password was
// rejected, and why.
func (f *SessionFile) refuse(password Secret, cause, why string) {
	f.refuseFor(cause, why)
	if password != "" {
		f.Refused.Password = f.fingerprint(password)
	} else {
		f.Refused.TrustToken = f.fingerprint(f.TrustToken)
	}
}

// refuseSession stores that the session cannot be renewed for lack of
// credentials, and why.
func (f *SessionFile) refuseSession(cause, why string) {
	f.refuseFor(cause, why)
	f.Refused.Session = f.fingerprint(f.session())
}

// refuseSessionToken stores that the session token was rejected, and why.
func (f *SessionFile) refuseSessionToken(why string) {
	f.refuseFor(CauseSessionOver, why)
	f.Refused.Token = f.fingerprint(f.SessionToken)
}

// sessionTokenUsable reports whether the session token may give a session.
func (f *SessionFile) sessionTokenUsable() bool {
	return f.SessionToken != "" && !f.refuses(f.Refused.Token, f.SessionToken)
}

// aboutCredentials reports whether a credential is rejected, to which the cause
// and the reason then refer.
func (r *Refusals) aboutCredentials() bool {
	return r.Password != "" || r.TrustToken != "" || r.Session != "" || r.Token != ""
}

// note stores why a renewal failed.
func (f *SessionFile) note(cause, why string) {
	if !f.Refused.aboutCredentials() {
		f.Refused.Cause, f.Refused.Reason = cause, why
	}
}

// forgetTrouble removes the reason of earlier failures after a successful
// renewal.
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

// session returns a value that identifies the session.
func (f *SessionFile) session() Secret { return f.TrustToken + Secret(f.CookieHeader()) }

// refuses reports whether a fingerprint is that of a credential.
func (f *SessionFile) refuses(fingerprint string, credential Secret) bool {
	return fingerprint != "" && credential != "" && fingerprint == f.fingerprint(credential)
}

const fingerprintBytes = 3

// fingerprintRounds is a variable so that tests can compute thousands of
// fingerprints.
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

// sessionFileError returns the error for a session file. Its reason contains
// the path, because callers show only the reason.
func sessionFileError(path, what string) *Error {
	return failf(KindBadConfig, "", "", "the session file %q %s", path, what).because(CauseSessionFile)
}

// LoadSessionFile reads a session file. For a missing file, the error is
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

// SaveSessionFile replaces a session file and creates its folder if there is
// none. A file of a newer format is kept. Use UpdateSessionFile if other
// processes may use the file.
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

// UpdateSessionFile changes a session file under its lock: it reads the file
// (an empty one if there is none), calls change and, unless that fails, writes
// the file.
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

// ForgetSessionFile removes a session file, so that processes that use it end
// their session at the next renewal. The lock file is kept, because other
// processes may be waiting for it.
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

// TrustDays is how long a trust token is valid, by Apple's present practice.
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
	// NeedsLogin is true if a person has to sign in: there is no trust, it has
	// ended, or Apple has rejected it or the password.
	NeedsLogin bool   `json:"needs_login"`
	Cause      string `json:"cause,omitempty"`  // why, as of Error.Cause
	Reason     string `json:"reason,omitempty"` // the same in words
}

// Describe returns the state of the session at a time.
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

// TrustLeft returns how long the trust is expected to last from now on, and
// whether that is known.
func (s SessionStatus) TrustLeft(now time.Time) (time.Duration, bool) {
	if s.TrustUntil.IsZero() {
		return 0, false
	}
	return max(0, s.TrustUntil.Sub(now)), true
}

// Format implements fmt.Formatter, so that no verb prints the text.
func (s Secret) Format(state fmt.State, _ rune) { _, _ = state.Write([]byte(s.String())) }
