package remote

import (
	"testing"

	"github.com/rclone/rclone/fs/config/obscure"
	"github.com/stretchr/testify/require"
)

// Plain passwords are not taken for obscured ones, even if they are valid base64.
func TestPlainPasswordsAreNotObscured(t *testing.T) {
	for _, plain := range []string{
		"secret", "correct horse battery staple",
		"abcdefghijklmnopqrstuvwxyz", "correcthorsebatterystaple-1", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", // base64, all of them
	} {
		require.False(t, isObscured(plain), plain)
		require.True(t, isObscured(obscure.MustObscure(plain)), plain)
	}
	require.True(t, isObscured(obscure.MustObscure("Passwört")))
}
