package account

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
)

// The cause of a missing response is told apart, and the text has no URL.
func TestCausesOfMissingResponses(t *testing.T) {
	for _, test := range []struct {
		err   error
		cause string
	}{
		{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, causeCertificate},
		{&tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}}, causeClock},
		{&net.OpError{Op: "proxyconnect", Err: errors.New("refused")}, causeProxy},
		{errors.New("Proxy Authentication Required"), causeProxy},
		{&net.DNSError{Name: "setup.icloud.com"}, causeNetwork},
		{errors.New("connection reset"), causeNetwork},
	} {
		failed := unreachable(context.Background(), &url.Error{Op: "Get", URL: "https://setup.icloud.com/a?secret=1", Err: test.err})
		assert.Equal(t, test.cause, causeOf(failed), "%v", test.err)
		assert.NotContains(t, failed.Error(), "secret")
	}
}

// The page of a host in between does not count as a wrong password or a locked
// account.
func TestPagesAreNotRefusals(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404, 409, 412} {
		failed := refused(&response{status: status, body: []byte("<html>")})
		assert.Equal(t, causeService, failed.cause, status)
	}
}

// The cause of a refused code follows from Apple's error code or, without one, from
// the status.
func TestRefusalsOfACode(t *testing.T) {
	for _, test := range []struct {
		status int
		body   string
		cause  string
	}{
		{401, `{"serviceErrors":[{"code":"-21669"}]}`, causeWrongCode},
		{400, ``, causeWrongCode},
		{401, ``, causeWrongCode},
		{403, `{"serviceErrors":[{"code":"-21674"}]}`, causeTooManyCodes},
		{403, ``, causeTooManyCodes},
		{403, `{"serviceErrors":[{"code":"-20209"}]}`, causeLocked},
		{401, `{"serviceErrors":[{"code":"-20528"}]}`, causeNoChallenge},
		{503, ``, causeThrottled},
		{409, `{"securityCode":{"valid":false}}`, causeWrongCode},
	} {
		assert.Equal(t, test.cause, causeOf(refusedCode(&response{status: test.status, body: []byte(test.body)})), "%d %s", test.status, test.body)
	}
}
