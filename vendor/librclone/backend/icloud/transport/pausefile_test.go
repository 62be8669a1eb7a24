package transport

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A process waits for the time that the service has named to another one, also
// if the other one was told after this one has begun.
func TestProcessesShareThePause(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pause")
	synctest.Test(t, func(t *testing.T) {
		process := func() *Limiter {
			l := NewLimiter(0, 4)
			l.ShareIn(path)
			return l
		}
		pass := func(l *Limiter, longest time.Duration) (took time.Duration, err error) {
			begun := time.Now()
			mine, err := l.begin(context.Background(), longest)
			if err == nil {
				l.end(mine)
			}
			return time.Since(begun), err
		}
		first, second := process(), process()
		took, err := pass(second, time.Minute)
		require.NoError(t, err)
		assert.Zero(t, took)
		time.Sleep(2 * pauseFileAge)

		first.refused(turn{begun: time.Now()}, 30*time.Second)
		took, err = pass(second, time.Minute)
		require.NoError(t, err)
		assert.Equal(t, 30*time.Second, took)
		took, err = pass(process(), time.Minute)
		require.NoError(t, err)
		assert.Zero(t, took, "it is over")

		first.refused(turn{begun: time.Now()}, 2*time.Minute)
		_, err = pass(process(), time.Minute)
		assert.Equal(t, apierr.KindThrottled, apierr.KindOf(err))
		assert.True(t, apierr.IsFinal(err))

		first.shared.set(time.Now(), time.Now().Add(48*time.Hour))
		time.Sleep(2 * time.Minute)
		took, err = pass(process(), time.Minute)
		require.NoError(t, err)
		assert.Zero(t, took, "a time far ahead is not shared")
	})
}
