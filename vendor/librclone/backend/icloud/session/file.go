package session

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

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/privatefile"
	"plakar-icloud/librclone/backend/icloud/transport"

	"github.com/google/uuid"
)

// FileVersion is the version of the format that this package writes. A file of
// a higher version is refused.
const FileVersion = 1

// Secret is a text that prints as asterisks. Only its JSON form, which session
// files need, contains the text.
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

// Format implements fmt.Formatter, so that no verb prints the text.
func (s Secret) Format(state fmt.State, _ rune) { _, _ = state.Write([]byte(s.String())) }

// Cookie is one cookie of a session.
type Cookie struct {
	Name  string `json:"name"`
	Value Secret `json:"value"`
}

// File is the state of a session that all processes with the same Apple Account
// share. It is stored as a JSON object in a file of mode 0600, which is replaced
// as a whole, in a folder of mode 0700. A process that changes it must hold a
// lock on the file beside it with the suffix ".lock" (flock on Unix, LockFileEx
// on Windows); see UpdateFile.
type File struct {
	Version  int    `json:"version"`
	AppleID  string `json:"apple_id"`
	ClientID string `json:"client_id,omitempty"`
	// Domain is the domain of the account's iCloud, which Apple names at a sign-in.
	Domain hosts.Domain `json:"domain,omitempty"`

	// TrustToken makes the second factor unnecessary at a sign-in, for about 30
	// days.
	TrustToken Secret `json:"trust_token,omitempty"`
	// SessionToken is the result of the last sign-in. As long as it is valid, it
	// and the trust token give new cookies without the password.
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

	// Refused identifies the credentials that are not used again, because Apple
	// has rejected them.
	Refused Refusals `json:"refused,omitzero"`
	// Proofs limits the sign-ins by password.
	Proofs ProofLog `json:"proofs,omitzero"`
}

// Refusals has the fingerprints of credentials that Apple has rejected, and the
// last failure of a renewal. A fingerprint is 3 bytes of a slow hash, which
// suffices to recognise a credential but not to find it by trying.
type Refusals struct {
	Salt       string    `json:"salt,omitempty"`
	Password   string    `json:"password,omitempty"`
	TrustToken string    `json:"trust_token,omitempty"`
	Session    string    `json:"session,omitempty"`   // a session that has ended and cannot be renewed for lack of credentials
	Token      string    `json:"token,omitempty"`     // the session token
	Cause      string    `json:"cause,omitempty"`     // why the last renewal failed, one of the Cause constants of apierr
	Reason     string    `json:"reason,omitempty"`    // why the last renewal failed, as a text
	NotBefore  time.Time `json:"not_before,omitzero"` // no renewal is tried before this time
	Tries      int       `json:"tries,omitempty"`     // consecutive renewals with a temporary failure
	GivenUp    bool      `json:"given_up,omitempty"`  // the last of them was refused too often to wait for the next one
}

// Refuse stores that Apple rejected the password or, if that is empty, the trust
// token, and why.
func (f *File) Refuse(password Secret, cause, why string) {
	f.refuseFor(cause, why)
	if password != "" {
		f.Refused.Password = f.fingerprint(password)
	} else {
		f.Refused.TrustToken = f.fingerprint(f.TrustToken)
	}
}

// RefuseSession stores that the session has ended and cannot be renewed, and
// why.
func (f *File) RefuseSession(cause, why string) {
	f.refuseFor(cause, why)
	f.Refused.Session = f.fingerprint(f.session())
}

// refuseSessionToken stores that the session token was rejected, and why.
func (f *File) refuseSessionToken(why string) {
	f.refuseFor(apierr.CauseSessionOver, why)
	f.Refused.Token = f.fingerprint(f.SessionToken)
}

// sessionTokenUsable reports whether there is a session token that Apple has not
// rejected.
func (f *File) sessionTokenUsable() bool {
	return f.SessionToken != "" && !f.refuses(f.Refused.Token, f.SessionToken)
}

// aboutCredentials reports whether a credential is rejected. The cause and the
// reason then refer to it.
func (r *Refusals) aboutCredentials() bool {
	return r.Password != "" || r.TrustToken != "" || r.Session != "" || r.Token != ""
}

// note stores why a renewal failed, unless a rejected credential is the cause
// already.
func (f *File) note(cause, why string) {
	if !f.Refused.aboutCredentials() {
		f.Refused.Cause, f.Refused.Reason = cause, why
	}
}

// forgetTrouble removes the record of earlier failures. It is called after a
// successful renewal.
func (f *File) forgetTrouble() {
	f.Refused.NotBefore, f.Refused.Tries, f.Refused.GivenUp = time.Time{}, 0, false
	if f.Proofs.Sent == 0 {
		f.note("", "")
	}
}

func (f *File) refuseFor(cause, why string) {
	if f.Refused.Salt == "" {
		f.Refused.Salt = uuid.NewString()
	}
	f.Refused.Cause, f.Refused.Reason = cause, why
}

// session returns a text that identifies the session.
func (f *File) session() Secret { return f.TrustToken + Secret(f.CookieHeader()) }

// refuses reports whether a credential has a fingerprint.
func (f *File) refuses(fingerprint string, credential Secret) bool {
	return fingerprint != "" && credential != "" && fingerprint == f.fingerprint(credential)
}

const fingerprintBytes = 3

// FingerprintRounds is a variable so that tests can compute thousands of
// fingerprints.
var FingerprintRounds = 100_000

func (f *File) fingerprint(credential Secret) string {
	hash, err := pbkdf2.Key(sha256.New, string(credential), []byte(f.Refused.Salt), FingerprintRounds, fingerprintBytes)
	if err != nil { // impossible with these parameters
		return ""
	}
	return hex.EncodeToString(hash)
}

// Clone returns a copy that shares no cookies and no addresses with f.
func (f *File) Clone() File {
	copied := *f
	copied.Cookies = slices.Clone(f.Cookies)
	copied.Endpoints = maps.Clone(f.Endpoints)
	return copied
}

// MoveTo sets the domain of the account. If it is another one, the cookies and
// endpoints of the old domain are dropped, because they are not valid in the new one
// and must not be sent there.
func (f *File) MoveTo(domain hosts.Domain) {
	if f.Domain != domain {
		f.Domain, f.Cookies, f.Endpoints = domain, nil, nil
	}
}

// fileError returns the error for a session file. Its reason contains the path,
// because callers show only the reason.
func fileError(path, what string) *apierr.Error {
	return apierr.Newf(apierr.KindBadConfig, "", "", "the session file %q %s", path, what).Because(apierr.CauseSessionFile)
}

// LoadFile reads a session file. For a missing file, the error is
// fs.ErrNotExist.
func LoadFile(path string) (*File, error) {
	data, err := privatefile.Read(path)
	if err != nil {
		return nil, fileError(path, "cannot be read").From(privatefile.WithoutPath(err))
	}
	file := new(File)
	if err := json.Unmarshal(data, file); err != nil {
		return nil, fileError(path, "is damaged").Advise("remove it and sign in again")
	}
	if file.Version > FileVersion {
		return nil, newerFormat(path, file.Version)
	}
	return file, nil
}

func newerFormat(path string, version int) error {
	return fileError(path, fmt.Sprintf("has format %d, and this version supports only %d", version, FileVersion)).
		Advise("use a newer version of plakar-icloud")
}

// SaveFile replaces a session file, and creates its folder if that is missing. A
// file of a newer format is kept. If other processes may use the file, the caller
// must hold its lock; see UpdateFile.
func SaveFile(path string, file *File) error {
	var present struct {
		Version int `json:"version"`
	}
	if data, err := privatefile.Read(path); err == nil && json.Unmarshal(data, &present) == nil && present.Version > FileVersion {
		return newerFormat(path, present.Version)
	}
	file.Version = FileVersion
	data, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return fileError(path, "cannot be written as JSON").From(err)
	}
	if err := privatefile.Replace(path, append(data, '\n')); err != nil {
		return fileError(path, "cannot be written").From(privatefile.WithoutPath(err)).
			Advise("give the account a folder that this user can write to")
	}
	return nil
}

// lockFile takes the lock of a session file.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	unlock, err = privatefile.Lock(ctx, path)
	switch {
	case ctx.Err() != nil && err != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fileError(path, "cannot be locked").From(err).
			Advise("let this user write to its folder and to the file whose name ends in .lock")
	}
	return unlock, nil
}

// UpdateFile changes a session file under its lock. It reads the file, calls
// change and, if that succeeds, writes the file. If there is no file, change
// gets an empty File.
func UpdateFile(ctx context.Context, path string, change func(*File) error) error {
	unlock, err := lockFile(ctx, path)
	if err != nil {
		return err
	}
	defer unlock()
	file, err := LoadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		file, err = new(File), nil
	}
	if err != nil {
		return err
	}
	if err := change(file); err != nil {
		return err
	}
	return SaveFile(path, file)
}

// ForgetFile removes a session file. Processes that use it end their session at
// the next renewal. The lock file is kept, because other processes may be waiting
// for it.
func ForgetFile(ctx context.Context, path string) error {
	if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if unlock, err := lockFile(ctx, path); err == nil {
		defer unlock()
	} else if ctx.Err() != nil {
		return ctx.Err() // any other failure is ignored: without a lock, the file is removed all the same
	}
	if err := privatefile.Remove(path); err != nil {
		return fileError(path, "cannot be removed").From(privatefile.WithoutPath(err)).
			Advise("remove it by hand, because it contains secrets")
	}
	return errors.Join(privatefile.Remove(FactsFile(path)), privatefile.Remove(transport.PauseFile(path)))
}

// FactsFile returns the path of the file, beside a session file, in which
// processes store facts about the drive for later processes. ForgetFile removes
// it, too.
func FactsFile(sessionFile string) string { return sessionFile + ".seen" }

// TrustDays is how long a trust token is valid, by Apple's present practice.
const TrustDays = 30

// Status describes a session without its secrets.
type Status struct {
	AppleID    string    `json:"apple_id"`
	Domain     string    `json:"domain"`      // of the account's iCloud
	HasTrust   bool      `json:"has_trust"`   // there is a trust token
	HasCookies bool      `json:"has_cookies"` // there is a session, valid or not
	TrustedAt  time.Time `json:"trusted_at,omitzero"`
	TrustUntil time.Time `json:"trust_until,omitzero"` // an estimate; zero if TrustedAt is unknown
	RenewedAt  time.Time `json:"renewed_at,omitzero"`
	SignIns    int       `json:"sign_ins"`
	Protected  bool      `json:"protected"` // Advanced Data Protection is on
	// ConsentUntil is when the access to protected data ends, if Apple reports
	// it.
	ConsentUntil time.Time `json:"consent_until,omitzero"`
	// PhotosApproved is true if the session has the cookie for the photo library
	// with Advanced Data Protection, valid or not.
	PhotosApproved bool `json:"photos_approved"`
	// NeedsLogin is true if a person has to sign in: there is no trust, it has
	// ended, or Apple has rejected it or the password.
	NeedsLogin bool   `json:"needs_login"`
	Cause      string `json:"cause,omitempty"`  // why, one of the Cause constants of apierr
	Reason     string `json:"reason,omitempty"` // why, as a text
}

// Describe returns the status of the session at the time now.
func (f *File) Describe(now time.Time) Status {
	status := Status{
		AppleID:      f.AppleID,
		Domain:       f.Domain.String(),
		HasTrust:     f.TrustToken != "",
		HasCookies:   len(f.Cookies) > 0,
		TrustedAt:    f.TrustedAt,
		RenewedAt:    f.RenewedAt,
		SignIns:      f.SignIns,
		Protected:    f.Protected,
		ConsentUntil: f.ConsentUntil,

		PhotosApproved: HasCookie(f.Cookies, PhotosPCSCookie),
	}
	if !f.TrustedAt.IsZero() {
		status.TrustUntil = f.TrustedAt.AddDate(0, 0, TrustDays)
	}
	switch {
	case f.TrustToken == "" && f.SessionToken == "" && len(f.Cookies) == 0:
		status.Cause, status.Reason = apierr.CauseNotSignedIn, "not signed in"
	case f.refuses(f.Refused.TrustToken, f.TrustToken), f.refuses(f.Refused.Session, f.session()), f.Refused.Password != "",
		f.Proofs.spent(now) && !f.sessionTokenUsable():
		status.Cause, status.Reason = f.Refused.Cause, f.Refused.Reason
	}
	status.NeedsLogin = status.Cause != ""
	if !status.NeedsLogin && f.Refused.Reason != "" {
		status.Cause, status.Reason = f.Refused.Cause, "the last renewal of the session failed: "+f.Refused.Reason
		if f.Refused.NotBefore.After(now) {
			status.Reason += "; the next one is not tried before " + f.Refused.NotBefore.UTC().Format(time.RFC3339)
		}
	}
	return status
}

// TrustLeft returns how long the trust is expected to last from now, and whether
// that is known.
func (s Status) TrustLeft(now time.Time) (time.Duration, bool) {
	if s.TrustUntil.IsZero() {
		return 0, false
	}
	return max(0, s.TrustUntil.Sub(now)), true
}
