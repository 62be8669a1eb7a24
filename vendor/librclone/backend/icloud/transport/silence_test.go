package transport

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// After the response has arrived, reading more of the request's body does not
// start the timer.
func TestRequestBodyIsNotTimedAfterTheResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fired := false
		w := &watch{silence: time.Second, timer: time.AfterFunc(time.Second, func() { fired = true })}
		w.pause()
		w.responded()
		w.resume(0)
		time.Sleep(time.Hour) // on the clock of synctest
		assert.False(t, fired)
	})
}
