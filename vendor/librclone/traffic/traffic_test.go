package traffic

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// Overlapping waits count as one, and only the time of waits counts.
func TestOverlappingWaitsAreOne(t *testing.T) {
	before := Now()
	first := Waiting()
	second := Waiting()
	first()
	assert.Equal(t, before.Waits+1, Now().Waits)
	second()
	third := Waiting()
	assert.Equal(t, before.Waits+2, Now().Waits)
	third()
	after := Now()
	assert.Greater(t, after.Waited, before.Waited)
	assert.Equal(t, after, Now(), "no call waits any more")
}
