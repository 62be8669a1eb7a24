package apierr

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
)

// Transport converts an error of net/http into a network failure. It removes a
// *url.Error, because its text contains the address with the signature that
// grants access to a content.
func Transport(ctx context.Context, host string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var inURL *url.Error
	for errors.As(err, &inURL) {
		err = inURL.Err
	}
	why := "no response from " + host
	advice := ""
	var dns *net.DNSError
	if errors.As(err, &dns) {
		why = "the name " + host + " cannot be resolved"
		advice = "check the network connection"
	}
	// A retry does not make a certificate trusted.
	var untrusted *tls.CertificateVerificationError
	isUntrusted := errors.As(err, &untrusted)
	if isUntrusted {
		why = "the certificate of " + host + " is not trusted"
		advice = "set SSL_CERT_FILE to the CA certificates that this network needs"
	}
	e := New(KindNetwork, "", "", why).From(err).Advise(advice)
	e.Host, e.Final = host, isUntrusted
	return e
}
