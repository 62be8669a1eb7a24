package account

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"plakar-icloud/librclone/backend/icloud"
)

// Causes: what is wrong, in the words that the caller acts on. Those of the
// backend's errors are the same.
const (
	causeNotSignedIn  = "not-signed-in"
	causeNoChallenge  = "no-challenge"
	causeSessionOver  = "session-over"
	causeTrustOver    = "trust-over"
	causePassword     = "wrong-password"
	causeLocked       = "locked"
	causeADP          = "adp-not-approved"
	causeWebAccess    = "web-access-off"
	causeTerms        = "terms-pending"
	causeSecurityKeys = "security-keys"
	causeChina        = "mainland-china"
	causeThrottled    = "throttled"
	causeService      = "service-trouble"
	causeNetwork      = "no-network"
	causeProxy        = "proxy"
	causeCertificate  = "certificate"
	causeWrongCode    = "wrong-code"
	causeTooManyCodes = "too-many-codes"
	causeClock        = "clock"
	causeStateFolder  = "state-folder"
	causeNoDrive      = "no-drive"
	causeOther        = "other"
)

// failure is an error of this package.
type failure struct {
	kind, cause, text string
}

func (f *failure) Error() string { return f.text }

// Kind is one of package icloud's kinds.
func (f *failure) Kind() string { return f.kind }

// Cause is one of the causes.
func (f *failure) Cause() string { return f.cause }

func causeOf(err error) string {
	var typed interface{ Cause() string }
	if errors.As(err, &typed) && typed.Cause() != "" {
		return typed.Cause()
	}
	return causeOther
}

// reply is what Apple answered.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// serviceError is how Apple's sign-in says what is wrong.
type serviceError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (r *reply) serviceError() serviceError {
	var said struct {
		Errors []serviceError `json:"serviceErrors"`
		Other  []serviceError `json:"service_errors"`
	}
	_ = json.Unmarshal(r.body, &said) // without one the status decides
	if all := append(said.Errors, said.Other...); len(all) > 0 {
		return all[0]
	}
	return serviceError{}
}

func (r *reply) good() bool { return r.status >= 200 && r.status < 300 }

// Codes of Apple's sign-in (seen in the threads that user reports link to).
const (
	codeWrongPassword = "-20101"
	codeLocked        = "-20209"
	codeWrongCode     = "-21669"
	codeTooManyCodes  = "-21674"
	codeSessionOver   = "-20528"
)

// refused says what a refusal of the sign-in host means.
func refused(r *reply) *failure {
	said := r.serviceError()
	status := fmt.Sprintf("Apple answered %d", r.status)
	if said.Message != "" {
		status += ": " + said.Message
	}
	login := func(cause, text string) *failure { return &failure{icloud.KindNeedsLogin, cause, text} }
	switch {
	case r.status == http.StatusTooManyRequests || r.status == http.StatusServiceUnavailable:
		if after := r.header.Get("Retry-After"); after != "" {
			status += ", and asks to wait " + after + " seconds"
		}
		return &failure{icloud.KindThrottled, causeThrottled, status}
	case r.status >= 500:
		return &failure{icloud.KindNetwork, causeService, status}
	case said.Code == codeWrongPassword:
		return login(causePassword, status)
	case said.Code == codeWrongCode:
		return login(causeWrongCode, status)
	case said.Code == codeTooManyCodes:
		return login(causeTooManyCodes, status)
	case said.Code == codeSessionOver:
		return login(causeNoChallenge, status)
	case said.Code == codeLocked, r.status == http.StatusForbidden:
		return login(causeLocked, status)
	case r.status == http.StatusUnauthorized:
		return login(causePassword, status)
	}
	return login(causeOther, status)
}

// ofClient finds the answer in the error of rclone's client, which gives it as
// text: "HTTP error 503 (...) returned body: ..." and "sign in failed: 401
// Unauthorized: ..."; for 403 it says "incorrect username or password", which
// Apple says with 401. The texts are those of the pinned version (backend/
// iclouddrive/api/session.go, lib/rest/rest.go).
func ofClient(ctx context.Context, err error) error {
	text := err.Error()
	if strings.HasSuffix(text, "incorrect username or password") {
		return refused(&reply{status: http.StatusForbidden})
	}
	found := answerInText.FindStringSubmatch(text)
	if found == nil {
		return unreachable(ctx, err)
	}
	r := &reply{header: http.Header{}, body: []byte(strings.ReplaceAll(found[2], `\"`, `"`))}
	_, _ = fmt.Sscan(found[1], &r.status) // digits
	return refused(r)
}

var answerInText = regexp.MustCompile(`(?s)(?:HTTP error|sign in failed:) (\d{3})\D[^{]*(\{.*\})?`)

// unreachable says why no answer came. The text has no URL in it.
func unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	host := "Apple"
	var inURL *url.Error
	for errors.As(err, &inURL) {
		if u, parseErr := url.Parse(inURL.URL); parseErr == nil && u.Host != "" {
			host = u.Host
		}
		err = inURL.Err
	}
	made := func(cause, text string) *failure { return &failure{icloud.KindNetwork, cause, text} }
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
		// Apple's certificates are renewed in time.
		return made(causeClock, "the certificate of "+host+" is not valid at the time of this machine")
	case errors.As(err, &verification), errors.As(err, &unknown), errors.As(err, &invalid), errors.As(err, &name):
		return made(causeCertificate, "the certificate of "+host+" is not accepted: "+err.Error())
	case errors.As(err, &operation) && operation.Op == "proxyconnect", strings.Contains(err.Error(), "proxyconnect"):
		return made(causeProxy, "the proxy on the way to "+host+" does not work: "+err.Error())
	case errors.As(err, &dns):
		return made(causeNetwork, "the name "+host+" cannot be resolved")
	}
	// A proxy that refuses gives its status line as the error (net/http, dialConn).
	for status := http.StatusBadRequest; status <= http.StatusNetworkAuthenticationRequired; status++ {
		if text := http.StatusText(status); text != "" && err.Error() == text {
			return made(causeProxy, "the proxy on the way to "+host+" refuses: "+text)
		}
	}
	return made(causeNetwork, "no answer from "+host+": "+err.Error())
}
