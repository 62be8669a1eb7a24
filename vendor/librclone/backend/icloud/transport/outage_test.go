package transport

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// Requests that were under way together count as one failure, so a process that was
// suspended sends them again.
func TestRequestsThatFailTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outages, begun := new(Outages), time.Now()
		time.Sleep(silentOutageAfter) // on the clock of synctest
		for range 8 {
			outages.failed("host", begun, false, 0)
		}
		assert.Zero(t, outages.since("host"))
		outages.failed("host", time.Now(), false, 0)
		assert.Equal(t, silentOutageAfter, outages.since("host"))
	})
}
