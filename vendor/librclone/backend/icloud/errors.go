package icloud

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/fserrors"
)

// The kinds of failure, as Error.Kind and KindOf return them, by what a caller
// can do about them.
const (
	KindNeedsLogin  = "needs-login"  // a person has to sign in or to approve something
	KindDenied      = "denied"       // the account may not do this
	KindNotFound    = "not-found"    // no such file or folder
	KindExists      = "exists"       // the name is taken by something else
	KindQuota       = "quota"        // the storage is full
	KindThrottled   = "throttled"    // the service asks to come back later
	KindNetwork     = "network"      // no answer, or the service itself is in trouble
	KindDamaged     = "damaged"      // an answer or a content that cannot be right
	KindChanged     = "changed"      // somebody else changed the item in the meantime
	KindBadConfig   = "bad-config"   // the configuration cannot work
	KindUnsupported = "unsupported"  // the service cannot do this
	KindRefusedName = "refused-name" // the service takes no such name

	KindRefusedPackage = "refused-package" // the service does not store the archive as a package
)

// Causes of failures that concern the account, as Error.Cause and
// SessionStatus.Cause return them. They are more specific than the kinds and
// serve to explain to a person what to do.
const (
	CauseNotSignedIn    = "not-signed-in"         // nobody has signed in
	CauseTrustOver      = "trust-over"            // Apple no longer trusts this device
	CauseWrongPassword  = "wrong-password"        // Apple turned the password down
	CauseAppSpecific    = "app-specific-password" // which iCloud Drive does not take
	CauseLocked         = "locked"                // Apple refuses sign-ins, as for a locked account
	CauseSecurityKeys   = "security-keys"         // Apple asks for a security key
	CauseMainlandChina  = "mainland-china"        // the account is on another iCloud
	CauseTermsPending   = "terms-pending"         // Apple waits for its terms to be accepted
	CauseADPNotApproved = "adp-not-approved"      // Advanced Data Protection waits for an approval
	CauseWebAccessOff   = "web-access-off"        // a fresh session is refused, as when web access is off
	CauseNoPassword     = "no-password"           // the session is over and no password is stored
	CauseThrottled      = "throttled"             // Apple asked to come back later
	CauseNoDrive        = "no-drive"              // the account has no iCloud Drive
	CauseUnclear        = "sign-in-unclear"       // proofs of the password were sent whose outcome is not known
	CauseServiceTrouble = "service-trouble"       // Apple's service itself is in trouble
	CauseNoNetwork      = "no-network"            // Apple's hosts are not reached
	CauseStateFolder    = "state-folder"          // the session file cannot be written
	CauseSessionFile    = "session-file"          // the session file cannot be used
	CauseSessionOver    = "session-over"          // any other reason to sign in again
)

// Error is the error of every operation of this backend, except where rclone
// compares with one of its own errors by identity (fs.ErrorObjectNotFound from
// NewObject, fs.ErrorDirNotFound from List, and similar ones).
//
// Its text is one line: what failed, on what, why, and what to do next. It
// never contains a URL, a cookie, a token or a password.
type Error struct {
	kind       string
	op         string
	on         string
	why        string
	advice     string
	retryAfter time.Duration
	cause      string // one of the causes, or ""
	code       string // of the service for a refusal, or ""
	sentinel   error  // rclone's own error for this case, if it has one
	inner      error  // what it comes from, if its text is safe to show
	busy       bool   // another write to the same zone was under way
	doubtful   bool   // a refusal that may be none a moment later
	answered   bool   // the service said so, by a status
	host       string // that the call has failed at, if it is known
	unclear    bool   // a proof of the password was sent, and whether it was right is not known
	final      bool   // repeating the call cannot help: what could be done was done
	fatal      bool   // no other call of the account can succeed either
	missing    int64  // how many items a listing lacks
	startOver  bool   // a content that cannot be continued may be read again from its start
}

// Error implements error.
func (e *Error) Error() string {
	text := e.op
	if e.on != "" {
		text += fmt.Sprintf(" %q", e.on)
	}
	if text != "" {
		text += ": "
	}
	return text + e.Reason()
}

// Reason returns the text without the operation and the path, for a caller that
// adds them in its own form.
func (e *Error) Reason() string {
	text := e.why
	if e.inner != nil {
		text += ": " + e.inner.Error()
	}
	if e.retryAfter > 0 {
		text += fmt.Sprintf(" (asks to wait %v)", e.retryAfter.Round(time.Second))
	}
	if e.advice != "" {
		text += ": " + e.advice
	}
	return text
}

// Kind returns one of the Kind constants.
func (e *Error) Kind() string { return e.kind }

// Cause returns one of the Cause constants, or "" if the kind says everything.
func (e *Error) Cause() string { return e.cause }

// RetryAfter returns the wait that the service asked for, or 0 if it named no
// time.
func (e *Error) RetryAfter() time.Duration { return e.retryAfter }

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
	if e.retryAfter > 0 {
		errs = append(errs, fserrors.NewErrorRetryAfter(e.retryAfter))
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

// NoLowLevelRetry implements fserrors.NoLowLevelRetrier. This backend has
// already retried whatever a retry can cure, unless the caller has a part of a
// content that must be read again from its start.
func (e *Error) NoLowLevelRetry() bool { return !e.startOver }

// Fatal implements fserrors.Fataler. It reports whether no other call of the
// account can succeed either, as without a session.
func (e *Error) Fatal() bool { return e.fatal || e.kind == KindNeedsLogin }

// KindOf returns the kind of any error of this backend, including rclone's own
// errors that some methods have to return unwrapped. It returns "" for any
// other error and for the end of a context.
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

// sentinels maps a kind to the error of rclone that an error of the kind also
// is, unless it has a more specific one.
var sentinels = map[string]error{
	KindNotFound:    fs.ErrorObjectNotFound,
	KindDenied:      fs.ErrorPermissionDenied,
	KindUnsupported: fs.ErrorNotImplemented,
}

func fail(kind, op, on, why string) *Error {
	return &Error{kind: kind, op: op, on: on, why: why, sentinel: sentinels[kind]}
}

func failf(kind, op, on, format string, args ...any) *Error {
	return fail(kind, op, on, fmt.Sprintf(format, args...))
}

func (e *Error) with(advice string) *Error {
	e.advice = advice
	return e
}

func (e *Error) from(inner error) *Error {
	e.inner = inner
	return e
}

func (e *Error) because(cause string) *Error {
	e.cause = cause
	return e
}

func (e *Error) is(sentinel error) *Error {
	e.sentinel = sentinel
	return e
}

// fromStart marks a failure after which a content has to be read again from its
// start.
func (e *Error) fromStart() *Error {
	e.startOver = true
	return e.with("read it again from the start")
}

// hasKind reports whether err is a failure of that kind.
func hasKind(err error, kind string) bool { return KindOf(err) == kind }

// isFinal reports whether no retry can cure a failure.
func isFinal(err error) bool {
	var typed *Error
	return errors.As(err, &typed) && typed.final
}

// isDoubtful reports whether a failure is a refusal that may be withdrawn a
// moment later.
func isDoubtful(err error) bool {
	var typed *Error
	return errors.As(err, &typed) && typed.doubtful && !typed.final
}

// isAnswered reports whether a failure is one that the service reported.
func isAnswered(err error) bool {
	var typed *Error
	return errors.As(err, &typed) && typed.answered
}

// finally marks a failure as retried often enough.
func finally(err error) error {
	var typed *Error
	if !errors.As(err, &typed) || typed.final {
		return err
	}
	marked := *typed
	marked.final = true
	return &marked
}

// about adds the operation and the file to an error that has neither. It
// returns any other error unchanged.
func about(err error, op, on string) error {
	var typed *Error
	if !errors.As(err, &typed) || typed.op != "" {
		return err
	}
	named := *typed
	named.op, named.on = op, on
	return &named
}

// transportError converts an error of net/http into a network failure. A
// *url.Error is unwrapped, because its text contains the whole address with the
// signature that grants access to the content.
func transportError(ctx context.Context, host string, err error) error {
	if ctxErr := ctx.Err(); ctxErr != nil {
		return ctx.Err()
	}
	var inURL *url.Error
	for errors.As(err, &inURL) {
		err = inURL.Err
	}
	why := "no answer from " + host
	advice := ""
	var dns *net.DNSError
	if errors.As(err, &dns) {
		why = "the name " + host + " cannot be resolved"
		advice = "check the network connection"
	}
	// No repetition makes a certificate trusted.
	var untrusted *tls.CertificateVerificationError
	isUntrusted := errors.As(err, &untrusted)
	if isUntrusted {
		why = "the certificate of " + host + " is not trusted"
		advice = "set SSL_CERT_FILE to the CA certificates that this network needs"
	}
	e := fail(KindNetwork, "", "", why).from(err).with(advice)
	e.host, e.final = host, isUntrusted
	return e
}
