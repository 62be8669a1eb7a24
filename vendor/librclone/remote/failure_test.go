package remote

import (
	"errors"
	"fmt"
	"testing"

	"plakar-icloud/librclone/backend/icloud/session"

	"github.com/rclone/rclone/fs/fserrors"
	"github.com/stretchr/testify/require"
)

// The failure for a fatal error is fatal, even if the error is wrapped.
func TestFatalFailures(t *testing.T) {
	fatal := fmt.Errorf("list: %w", fserrors.FatalError(errors.New("the account is throttled")))
	require.True(t, failureOf(fatal).Fatal)
	require.False(t, failureOf(errors.New("one file")).Fatal)
}

// The text of a failure does not contain a password that a service has echoed.
func TestFailuresContainNoPassword(t *testing.T) {
	password, err := session.PasswordOf(t.Context(), "echo 'correct battery'")
	require.NoError(t, err)
	require.Equal(t, "correct battery", string(password))
	require.Equal(t, "400: … is wrong", failureOf(errors.New("400: correct battery is wrong")).Text)
}
