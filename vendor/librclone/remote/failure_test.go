package remote

import (
	"errors"
	"fmt"
	"testing"

	"github.com/rclone/rclone/fs/fserrors"
	"github.com/stretchr/testify/require"
)

// A fatal error of a backend is one to the caller, however it is wrapped.
func TestFatalFailures(t *testing.T) {
	fatal := fmt.Errorf("list: %w", fserrors.FatalError(errors.New("the account is throttled")))
	require.True(t, failureOf(fatal).Fatal)
	require.False(t, failureOf(errors.New("one file")).Fatal)
}
