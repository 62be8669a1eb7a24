package account

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/signin"
)

// The causes of failures, on which the advice to the user depends. Errors of the
// backend have the same causes.
const (
	causeNotSignedIn  = apierr.CauseNotSignedIn
	causeNoChallenge  = "no-challenge"
	causeSessionOver  = apierr.CauseSessionOver
	causeTrustOver    = apierr.CauseTrustOver
	causePassword     = apierr.CauseWrongPassword
	causeAppSpecific  = apierr.CauseAppSpecific
	causeLocked       = apierr.CauseLocked
	causeADP          = apierr.CauseADPNotApproved
	causeWebAccess    = apierr.CauseWebAccessOff
	causeTerms        = apierr.CauseTermsPending
	causeSecurityKeys = apierr.CauseSecurityKeys
	causeOtherDomain  = apierr.CauseOtherDomain
	causeUnknown      = apierr.CauseUnknownDomain
	causeThrottled    = apierr.CauseThrottled
	causeService      = "service-trouble"
	causeNetwork      = "no-network"
	causeProxy        = "proxy"
	causeCertificate  = "certificate"
	causeWrongCode    = "wrong-code"
	causeTooManyCodes = "too-many-codes"
	causeClock        = "clock"
	causeStateFolder  = "state-folder"
	causeNoDrive      = apierr.CauseNoDrive
	causeOther        = "other"
)

// failure is an error of this package.
type failure struct {
	kind, cause, text string
	retryAfter        time.Duration
}

func (f *failure) Error() string { return f.text }

// Kind returns one of the Kind constants of package apierr.
func (f *failure) Kind() string { return f.kind }

// Cause returns one of the causes.
func (f *failure) Cause() string { return f.cause }

// RetryAfter returns the wait that Apple asked for, or 0.
func (f *failure) RetryAfter() time.Duration { return f.retryAfter }

// causeOf returns the cause of an error, or causeOther if it has none.
func causeOf(err error) string {
	var typed interface{ Cause() string }
	if errors.As(err, &typed) && typed.Cause() != "" {
		return typed.Cause()
	}
	return causeOther
}

// response is a response of Apple.
type response struct {
	status     int
	hasToken   bool // it has a session token
	retryAfter time.Duration
	body       []byte
}

// good reports whether the status is that of a success.
func (r *response) good() bool { return r.status >= 200 && r.status < 300 }

// refused returns the failure for a refusal by the sign-in host.
func refused(r *response) *failure {
	reported := apierr.ServiceErrorIn(r.body)
	status := fmt.Sprintf("Apple responded with the status %d", r.status)
	if reported.Message != "" {
		status += ": " + reported.Message
	}
	login := func(cause, text string) *failure {
		return &failure{kind: apierr.KindNeedsLogin, cause: cause, text: text}
	}
	switch {
	case r.status == http.StatusTooManyRequests || r.status == http.StatusServiceUnavailable:
		if r.retryAfter > 0 {
			status += fmt.Sprintf(", and asks to wait %v", r.retryAfter.Round(time.Second))
		}
		return &failure{apierr.KindThrottled, causeThrottled, status, r.retryAfter}
	case r.status >= 500:
		return &failure{kind: apierr.KindNetwork, cause: causeService, text: status}
	case reported.Code == apierr.CodeWrongPassword:
		return login(causePassword, status)
	case reported.Code == apierr.CodeWrongCode:
		return login(causeWrongCode, status)
	case reported.Code == apierr.CodeTooManyCodes:
		return login(causeTooManyCodes, status)
	case reported.Code == apierr.CodeSessionOver:
		return login(causeNoChallenge, status)
	case reported.Code == apierr.CodeLocked:
		return login(causeLocked, status)
	case reported.Code == "":
		text := status + " but without a reason; check for a proxy, a firewall or a sign-in page of the network"
		return &failure{kind: apierr.KindNetwork, cause: causeService, text: text}
	}
	return login(causeOther, status)
}

// refusedSession returns the failure for a refusal by the setup host. That host
// does not check passwords, so the refusal is never about one.
func refusedSession(r *signin.Refused) *failure {
	switch {
	case r.Elsewhere != "":
		return referred(r.Elsewhere)
	case r.SessionOver:
		return &failure{kind: apierr.KindNeedsLogin, cause: causeSessionOver, text: "iCloud does not accept the session"}
	}
	failed := refused(responseOf(r))
	if r.Status < http.StatusInternalServerError && failed.cause != causeThrottled {
		return &failure{kind: apierr.KindNeedsLogin, cause: causeOther, text: fmt.Sprintf("iCloud responded with the status %d", r.Status)}
	}
	return failed
}

// referred returns the failure for a response that refers the account to another
// domain.
func referred(named string) *failure {
	if domain, known := hosts.DomainOf(named); known {
		text := "the account belongs to " + domain.String() + ", which needs a sign-in of its own"
		return &failure{kind: apierr.KindNeedsLogin, cause: causeOtherDomain, text: text}
	}
	return &failure{kind: apierr.KindUnsupported, cause: causeUnknown, text: signin.UnusableDomain(named)}
}

func responseOf(r *signin.Refused) *response {
	return &response{status: r.Status, retryAfter: r.RetryAfter, body: r.Body}
}

// unreachable returns the failure for a request to which no response arrived. Its
// text contains no URL.
func unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	host := "Apple"
	why := err.Error()
	var inURL *url.Error
	for errors.As(err, &inURL) {
		if u, parseErr := url.Parse(inURL.URL); parseErr == nil && u.Host != "" {
			host = u.Host
		}
		err, why = inURL.Err, inURL.Err.Error()
	}
	var ours *apierr.Error
	if errors.As(err, &ours) {
		if ours.Kind() != apierr.KindNetwork {
			return err
		}
		why = ours.Reason()
	}
	network := func(cause, text string) *failure {
		return &failure{kind: apierr.KindNetwork, cause: cause, text: text}
	}
	var (
		verification *tls.CertificateVerificationError
		unknown      x509.UnknownAuthorityError
		invalid      x509.CertificateInvalidError
		name         x509.HostnameError
		operation    *net.OpError
		dns          *net.DNSError
	)
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		// Apple renews its certificates in time, so the clock must be wrong.
		return network(causeClock, "the certificate of "+host+" is not valid at the time of this machine")
	case errors.As(err, &verification), errors.As(err, &unknown), errors.As(err, &invalid), errors.As(err, &name):
		return network(causeCertificate, "the certificate of "+host+" is not accepted: "+why)
	case errors.As(err, &operation) && operation.Op == "proxyconnect", strings.Contains(why, "proxyconnect"):
		return network(causeProxy, "the proxy for "+host+" does not work: "+why)
	case errors.As(err, &dns) && ours == nil:
		return network(causeNetwork, "the name "+host+" cannot be resolved")
	}
	// If a proxy refuses a request, the error is its status line (net/http,
	// dialConn).
	for status := http.StatusBadRequest; status <= http.StatusNetworkAuthenticationRequired; status++ {
		if text := http.StatusText(status); text != "" && (why == text || strings.HasSuffix(why, ": "+text)) {
			return network(causeProxy, "the proxy for "+host+" refuses the request: "+text)
		}
	}
	if ours != nil {
		return network(causeNetwork, why)
	}
	return network(causeNetwork, "no response from "+host+": "+why)
}
