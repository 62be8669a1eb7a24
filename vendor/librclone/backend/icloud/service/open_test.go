package service

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// The remotes of an account share a limiter. The case of the Apple ID does not
// matter.
func TestRemotesOfAnAccountShareALimiter(t *testing.T) {
	accounts := NewAccounts()
	shared := accounts.limiter("Limited@example.com", 100, 4, "")
	assert.Same(t, shared, accounts.limiter("limited@EXAMPLE.com", 50, 4, ""))
	assert.NotSame(t, shared, accounts.limiter("other@example.com", 80, 4, ""))
}
