package transport

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// What is still sent after the answer has come is not timed any more.
func TestSilenceAfterTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fired := false
		w := &watch{silence: time.Second, timer: time.AfterFunc(time.Second, func() { fired = true })}
		w.pause()
		w.responded()
		w.resume(0)
		time.Sleep(time.Hour) // of the test's own time
		assert.False(t, fired)
	})
}
