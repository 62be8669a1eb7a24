package remote

import (
	"errors"
	"fmt"
	"testing"

	"plakar-icloud/librclone/backend/icloud/session"

	"github.com/rclone/rclone/fs/fserrors"
	"github.com/stretchr/testify/require"
)

// A fatal error of a backend is one to the caller, however it is wrapped.
func TestFatalFailures(t *testing.T) {
	fatal := fmt.Errorf("list: %w", fserrors.FatalError(errors.New("the account is throttled")))
	require.True(t, failureOf(fatal).Fatal)
	require.False(t, failureOf(errors.New("one file")).Fatal)
}

// A service may echo the password that it was sent.
func TestFailuresHoldNoPassword(t *testing.T) {
	password, err := session.PasswordOf(t.Context(), "echo 'correct battery'")
	require.NoError(t, err)
	require.Equal(t, "correct battery", string(password))
	require.Equal(t, "400: … is wrong", failureOf(errors.New("400: correct battery is wrong")).Text)
}
