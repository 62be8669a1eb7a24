package traffic

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestWaitsAtTheSameTimeAreOne(t *testing.T) {
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
	assert.Equal(t, after, Now(), "time is counted that no call waited")
}
