package main

import (
	"crypto/x509"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestFallbackRoots checks that CA certificates are linked in: they can be set
// only once in a program.
func TestFallbackRoots(t *testing.T) {
	assert.Panics(t, func() { x509.SetFallbackRoots(x509.NewCertPool()) })
}
