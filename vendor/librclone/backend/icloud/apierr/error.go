// Package apierr has the error type of the iCloud backends, its kinds and
// causes, and the refusals of Apple's hosts from which most errors are made.
package apierr

import (
	"errors"
	"fmt"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/fserrors"
)

// The kinds of failure that Error.Kind and KindOf return. A caller can react to
// each kind in a different way.
const (
	KindNeedsLogin  = "needs-login"  // a person has to sign in or to approve something
	KindDenied      = "denied"       // the account may not do this
	KindNotFound    = "not-found"    // no such file or folder
	KindExists      = "exists"       // another item has the name
	KindQuota       = "quota"        // the storage is full
	KindThrottled   = "throttled"    // the service refuses requests because of its load
	KindNetwork     = "network"      // no response, or a failure of the service itself
	KindDamaged     = "damaged"      // a response or a content that is not valid
	KindChanged     = "changed"      // another device has changed the item in the meantime
	KindBadConfig   = "bad-config"   // the configuration is not valid
	KindUnsupported = "unsupported"  // the service cannot do this
	KindRefusedName = "refused-name" // the service does not accept the name

	KindRefusedPackage = "refused-package" // the service does not store the archive as a package
)

// Causes of failures that concern the account, as Error.Cause returns them. They
// are more specific than the kinds, so that a person can be told what to do.
const (
	CauseNotSignedIn    = "not-signed-in"         // not signed in yet
	CauseTrustOver      = "trust-over"            // Apple no longer trusts this device
	CauseWrongPassword  = "wrong-password"        // Apple rejected the password
	CauseAppSpecific    = "app-specific-password" // iCloud Drive does not accept such a password
	CauseLocked         = "locked"                // Apple refuses sign-ins, as for a locked account
	CauseSecurityKeys   = "security-keys"         // Apple asks for a security key
	CauseOtherDomain    = "other-domain"          // a person has to sign in at the other domain of iCloud
	CauseUnknownDomain  = "unknown-domain"        // Apple names a domain that cannot be used
	CauseTermsPending   = "terms-pending"         // new terms have to be accepted
	CauseADPNotApproved = "adp-not-approved"      // access with Advanced Data Protection is not approved
	CauseWebAccessOff   = "web-access-off"        // a fresh session is refused, as when web access is off
	CauseNoPassword     = "no-password"           // the session has ended and no password is stored
	CauseThrottled      = "throttled"             // Apple refuses requests because of its load
	CauseNoDrive        = "no-drive"              // the account has no iCloud Drive
	CauseUnclear        = "sign-in-unclear"       // the outcome of the last proofs of the password is unknown
	CauseServiceTrouble = "service-trouble"       // Apple's service fails
	CauseNoNetwork      = "no-network"            // Apple's hosts cannot be reached
	CauseStateFolder    = "state-folder"          // the session file cannot be written
	CauseSessionFile    = "session-file"          // the session file cannot be used
	CauseSessionOver    = "session-over"          // another reason to sign in again
)

// Error is the error of every operation of the iCloud backends. The exceptions
// are those errors of its own that rclone compares by identity, such as
// fs.ErrorObjectNotFound from NewObject and fs.ErrorDirNotFound from List.
//
// Its text is one line: what failed, on what, why, and what to do next. It
// never contains a URL, a cookie, a token or a password.
type Error struct {
	Op     string // the operation, or "" if the caller adds it
	On     string // the path or the name that the operation concerns
	Why    string // the reason
	Advice string // what to do next, or ""
	Host   string // the host at which the call failed, or ""

	// Wait is how long the service asked to wait, or 0.
	Wait time.Duration
	// Busy is set if another write to the same zone was under way.
	Busy bool
	// Doubtful is set for a refusal that may be temporary although its status
	// is that of an invalid call.
	Doubtful bool
	// Reported is set if the service responded, and reported the failure by a
	// status.
	Reported bool
	// Repeated is set if the request was sent before, so the failure may be due to an
	// earlier attempt that was carried out although the service refused it.
	Repeated bool
	// Unexplained is set for a refusal, by a status below 500, without a reason of
	// Apple's. Any host in between can send it.
	Unexplained bool
	// Unclear is set if a proof of the password was sent and its outcome is
	// unknown.
	Unclear bool
	// Final is set if repeating the call cannot help, or was done often enough.
	Final bool
	// EndsRun is set if no other call of the account can succeed either.
	EndsRun bool

	kind      string
	cause     string // one of the Cause constants, or ""
	code      string // the service's code for a refusal, or ""
	sentinel  error  // rclone's own error for the case, or nil
	inner     error  // the underlying error, if its text is safe to show
	startOver bool   // the content cannot be continued, but may be read again from its start
	missing   int64  // how many items a listing lacks
}

// Error implements error.
func (e *Error) Error() string {
	text := e.Op
	if e.On != "" {
		text += fmt.Sprintf(" %q", e.On)
	}
	if text != "" {
		text += ": "
	}
	return text + e.Reason()
}

// Reason returns the text without the operation and the path, for a caller that
// adds them in its own form.
func (e *Error) Reason() string {
	text := e.Why
	if e.inner != nil {
		text += ": " + e.inner.Error()
	}
	if e.Wait > 0 {
		text += fmt.Sprintf(" (asks to wait %v)", e.Wait.Round(time.Second))
	}
	if e.Advice != "" {
		text += ": " + e.Advice
	}
	return text
}

// Kind returns one of the Kind constants.
func (e *Error) Kind() string { return e.kind }

// Cause returns one of the Cause constants, or "" if there is only a kind.
func (e *Error) Cause() string { return e.cause }

// RetryAfter returns the wait that the service asked for, or 0 if it named no
// time.
func (e *Error) RetryAfter() time.Duration { return e.Wait }

// Unwrap returns rclone's own error for the case, so that errors.Is works, and
// the underlying error.
func (e *Error) Unwrap() []error {
	var errs []error
	if e.sentinel != nil {
		errs = append(errs, e.sentinel)
	}
	if e.inner != nil {
		errs = append(errs, e.inner)
	}
	if e.Wait > 0 {
		errs = append(errs, fserrors.NewErrorRetryAfter(e.Wait))
	}
	return errs
}

// Retry implements fserrors.Retrier. It reports whether the whole operation may
// succeed when it is started again from its first byte.
func (e *Error) Retry() bool {
	switch e.kind {
	case KindNetwork, KindThrottled, KindDamaged, KindChanged:
		return true
	}
	return false
}

// NoRetry implements fserrors.NoRetrier.
func (e *Error) NoRetry() bool { return !e.Retry() }

// NoLowLevelRetry implements fserrors.NoLowLevelRetrier. The backend itself has
// already retried the operation, unless the caller has to read a content again
// from its start.
func (e *Error) NoLowLevelRetry() bool { return !e.startOver }

// Fatal implements fserrors.Fataler. It reports whether no other call of the
// account can succeed either.
func (e *Error) Fatal() bool { return e.EndsRun || e.kind == KindNeedsLogin }

// Code returns the service's code for a refusal, or "".
func (e *Error) Code() string { return e.code }

// WithCode sets the service's code for a refusal, and returns e.
func (e *Error) WithCode(code string) *Error {
	e.code = code
	return e
}

// Missing returns how many items a listing lacks, or 0 for any other error.
func (e *Error) Missing() int64 { return e.missing }

// Lacking sets how many items a listing lacks, and returns e.
func (e *Error) Lacking(missing int64) *Error {
	e.missing = missing
	return e
}

// KindOf returns the kind of an error of the iCloud backends, including rclone's
// own errors, which some methods have to return. It returns "" for any other
// error, such as that of a cancelled context.
func KindOf(err error) string {
	var typed *Error
	if errors.As(err, &typed) {
		return typed.kind
	}
	switch {
	case errors.Is(err, fs.ErrorObjectNotFound), errors.Is(err, fs.ErrorDirNotFound):
		return KindNotFound
	case errors.Is(err, fs.ErrorDirExists), errors.Is(err, fs.ErrorDirectoryNotEmpty),
		errors.Is(err, fs.ErrorIsDir), errors.Is(err, fs.ErrorIsFile):
		return KindExists
	case errors.Is(err, fs.ErrorPermissionDenied):
		return KindDenied
	}
	return ""
}

// sentinels maps a kind to the error of rclone that errors.Is finds in errors of
// the kind, unless they have a more specific one.
var sentinels = map[string]error{
	KindNotFound:    fs.ErrorObjectNotFound,
	KindDenied:      fs.ErrorPermissionDenied,
	KindUnsupported: fs.ErrorNotImplemented,
}

// New returns an error of a kind. op and on may be empty; see About.
func New(kind, op, on, why string) *Error {
	return &Error{kind: kind, Op: op, On: on, Why: why, sentinel: sentinels[kind]}
}

// Newf is New with a formatted reason.
func Newf(kind, op, on, format string, args ...any) *Error {
	return New(kind, op, on, fmt.Sprintf(format, args...))
}

// Damaged returns the error for a response that is not valid.
func Damaged(why string) error { return New(KindDamaged, "", "", why) }

// Advise sets what to do next, and returns e.
func (e *Error) Advise(advice string) *Error {
	e.Advice = advice
	return e
}

// From sets the underlying error, whose text must be safe to show, and returns
// e.
func (e *Error) From(inner error) *Error {
	e.inner = inner
	return e
}

// Because sets the cause, and returns e.
func (e *Error) Because(cause string) *Error {
	e.cause = cause
	return e
}

// Matching sets the error of rclone that errors.Is finds in e, and returns e.
func (e *Error) Matching(sentinel error) *Error {
	e.sentinel = sentinel
	return e
}

// FromStart marks a failure after which a content has to be read again from its
// start, and returns e.
func (e *Error) FromStart() *Error {
	e.startOver = true
	return e.Advise("read it again from the start")
}

// StartsOver reports whether the content has to be read again from its start.
func (e *Error) StartsOver() bool { return e.startOver }

// HasKind reports whether err is of a kind.
func HasKind(err error, kind string) bool { return KindOf(err) == kind }

// IsFinal reports whether a retry after err cannot help.
func IsFinal(err error) bool {
	var typed *Error
	return errors.As(err, &typed) && typed.Final
}

// IsDoubtful reports whether err is a refusal that may be temporary although its
// status is that of an invalid call.
func IsDoubtful(err error) bool {
	var typed *Error
	return errors.As(err, &typed) && typed.Doubtful && !typed.Final
}

// IsReported reports whether err is a failure that the service itself reported.
func IsReported(err error) bool {
	var typed *Error
	return errors.As(err, &typed) && typed.Reported
}

// OutcomeUnknown reports whether a change that failed with err may have been made
// nevertheless, or may succeed when it is repeated.
func OutcomeUnknown(err error) bool {
	if IsFinal(err) {
		return false
	}
	switch KindOf(err) {
	case KindNetwork, KindDamaged:
		return true
	}
	return IsDoubtful(err)
}

// Finally returns err marked as final.
func Finally(err error) error {
	var typed *Error
	if !errors.As(err, &typed) || typed.Final {
		return err
	}
	marked := *typed
	marked.Final = true
	return &marked
}

// AfterTries returns err marked as repeated if its request was sent several times.
func AfterTries(err error, tries int) error {
	var typed *Error
	if tries < 2 || !errors.As(err, &typed) {
		return err
	}
	marked := *typed
	marked.Repeated = true
	return &marked
}

// IsRepeated reports whether err is the failure of a request that was sent before.
func IsRepeated(err error) bool {
	var typed *Error
	return errors.As(err, &typed) && typed.Repeated
}

// About returns err with an operation and the path or name that it concerns. An
// error that has an operation is returned unchanged.
func About(err error, op, on string) error {
	var typed *Error
	if !errors.As(err, &typed) || typed.Op != "" {
		return err
	}
	named := *typed
	named.Op, named.On = op, on
	return &named
}

// RetryAfterOf returns the wait that the service asked for, or 0.
func RetryAfterOf(err error) time.Duration {
	var typed *Error
	if errors.As(err, &typed) {
		return typed.Wait
	}
	return 0
}

// HostOf returns the host at which a call failed, or "".
func HostOf(err error) string {
	var typed *Error
	if errors.As(err, &typed) {
		return typed.Host
	}
	return ""
}

// ReasonOf returns why a call failed, for the log.
func ReasonOf(err error) string {
	var typed *Error
	if errors.As(err, &typed) {
		return typed.Reason()
	}
	return "the call failed"
}
