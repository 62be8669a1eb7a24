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

// The texts are those of rclone's client for answers that were seen.
func TestAnswersInTheTextOfTheClient(t *testing.T) {
	for _, test := range []struct{ text, cause string }{
		{`authSRPComplete: sign in failed: 401 Unauthorized: {"serviceErrors":[{"code":"-20101","message":"Check it."}]}`, causePassword},
		{`authSRPComplete: sign in failed: incorrect username or password`, causeLocked},
		{`authSRPInit: HTTP error 503 (503 Service Unavailable) returned body: ""`, causeThrottled},
		{`authSRPInit: HTTP error 429 (429 Too Many Requests) returned body: "{\"x\":1}"`, causeThrottled},
		{`authFederate: HTTP error 500 (500 Internal Server Error) returned body: "<html>"`, causeService},
		{`authSRPInit: HTTP error 401 (401 Unauthorized) returned body: "{\"service_errors\":[{\"code\":\"-20209\"}]}"`, causeLocked},
	} {
		assert.Equal(t, test.cause, causeOf(ofClient(context.Background(), errors.New(test.text))), test.text)
	}
}

func TestWhyNobodyAnswers(t *testing.T) {
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
	} {
		assert.Equal(t, test.cause, causeOf(refusedCode(&reply{status: test.status, body: []byte(test.body)})), "%d %s", test.status, test.body)
	}
}
