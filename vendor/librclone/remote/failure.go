package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"time"

	"plakar-icloud/librclone/redact"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/fserrors"
)

// Failure is the form in which an error is passed to the caller: members for the
// program, and a text for the user. The text never contains the query of a URL,
// because services put signatures there.
type Failure struct {
	Kind         string `json:"kind"`
	Cause        string `json:"cause,omitempty"` // more specific than the kind, if the backend reports one
	Text         string `json:"text"`
	Retry        bool   `json:"retry"`                // the same call may succeed later
	StartOver    bool   `json:"start_over,omitempty"` // content that was read before is damaged
	Fatal        bool   `json:"fatal"`                // no other call can succeed either; see fserrors.Fataler
	RetryAfterMS int64  `json:"retry_after_ms"`       // the wait that the service asked for, or 0
}

// The kinds of failure. The errors of our own backends have a method Kind that
// returns one of these. For the errors of rclone's backends, failureOf derives one.
const (
	kindNotFound    = "not-found"
	kindExists      = "exists"
	kindNotEmpty    = "not-empty"
	kindDenied      = "denied"
	kindNeedsLogin  = "needs-login"
	kindQuota       = "quota"
	kindThrottled   = "throttled"
	kindNetwork     = "network"
	kindDamaged     = "damaged"
	kindChanged     = "changed"
	kindBadConfig   = "bad-config"
	kindUnsupported = "unsupported"
	kindRefusedName = "refused-name"
	kindCancelled   = "cancelled"
	kindOther       = "other"
)

// kinded is an error that reports its kind, as those of our own backends do.
type kinded interface {
	error
	Kind() string
}

// failure is an error of this package.
type failure struct {
	kind string
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// Kind returns the kind of the failure.
func (f *failure) Kind() string { return f.kind }

func failf(kind, format string, args ...any) error {
	return &failure{kind, fmt.Errorf(format, args...)}
}

var sentinelKinds = []struct {
	err  error
	kind string
}{
	{context.Canceled, kindCancelled},
	{context.DeadlineExceeded, kindNetwork},
	{fs.ErrorObjectNotFound, kindNotFound},
	{fs.ErrorDirNotFound, kindNotFound},
	{fs.ErrorDirExists, kindExists},
	{fs.ErrorDirectoryNotEmpty, kindNotEmpty},
	{fs.ErrorPermissionDenied, kindDenied},
	{fs.ErrorNotImplemented, kindUnsupported},
	{fs.ErrorCantSetModTime, kindUnsupported},
	{fs.ErrorNotFoundInConfigFile, kindBadConfig},
	{os.ErrNotExist, kindNotFound},
	{os.ErrPermission, kindDenied},
	{os.ErrExist, kindExists},
	{syscall.ENOSPC, kindQuota},
	{syscall.EDQUOT, kindQuota},
	{io.ErrUnexpectedEOF, kindNetwork},
}

func kindOf(err error) string {
	var k kinded
	if errors.As(err, &k) {
		return k.Kind()
	}
	for _, s := range sentinelKinds {
		if errors.Is(err, s.err) {
			return s.kind
		}
	}
	var netErr net.Error
	if errors.As(err, &netErr) {
		return kindNetwork
	}
	return kindOther
}

// failureOf converts err. It returns nil if err is nil.
func failureOf(err error) *Failure {
	if err == nil {
		return nil
	}
	f := &Failure{Kind: kindOf(err), Text: redact.Text(textOf(err)), Retry: worthRetrying(err), Fatal: fserrors.IsFatalError(err)}
	if after := fserrors.RetryAfterErrorTime(err); !after.IsZero() {
		f.RetryAfterMS = max(0, time.Until(after).Milliseconds())
	}
	var caused interface{ Cause() string }
	if errors.As(err, &caused) {
		f.Cause = caused.Cause()
	}
	var damaged interface{ StartsOver() bool }
	f.StartOver = errors.As(err, &damaged) && damaged.StartsOver()
	var own interface{ RetryAfter() time.Duration }
	if errors.As(err, &own) && own.RetryAfter() > 0 {
		f.RetryAfterMS = own.RetryAfter().Milliseconds()
	}
	return f
}

// worthRetrying reports whether the same call may succeed later. It returns false
// if the backend reports that it has retried often enough.
func worthRetrying(err error) bool {
	var again *startAgain
	if errors.As(err, &again) {
		return true
	}
	if fserrors.IsNoLowLevelRetryError(err) {
		return false
	}
	switch kindOf(err) {
	case kindNetwork, kindThrottled:
		return true
	case kindOther, kindDamaged:
		return fserrors.IsRetryError(err) || fserrors.ShouldRetry(err)
	}
	return false
}

// reasoned is an error that reports its reason without the path, which the
// caller adds in its own form.
type reasoned interface{ Reason() string }

// textOf returns the text of an error, without the path if the error can omit it,
// and without the query of a URL.
func textOf(err error) string {
	var why reasoned
	if errors.As(err, &why) {
		return why.Reason()
	}
	var urlErr *url.Error
	if !errors.As(err, &urlErr) {
		return err.Error()
	}
	host := "the server"
	if u, parseErr := url.Parse(urlErr.URL); parseErr == nil && u.Host != "" {
		host = u.Host
	}
	if urlErr.Timeout() {
		return fmt.Sprintf("no response from %s in time", host)
	}
	method := urlErr.Op
	if method == "" {
		method = http.MethodGet
	}
	return fmt.Sprintf("%s %s: %v", method, host, urlErr.Err)
}
