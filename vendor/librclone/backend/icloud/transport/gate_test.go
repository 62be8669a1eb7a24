package transport

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The limit of a gate rises while responses are fast, is halved by a refusal,
// and falls when responses slow down.
func TestGateAdaptsToResponseTimes(t *testing.T) {
	g := NewGate()
	turn := func(took time.Duration, throttled bool) {
		for range int(g.limit) {
			require.NoError(t, g.Enter(context.Background()))
		}
		began := time.Now()
		for range g.active {
			if throttled {
				g.Throttled(began)
			} else {
				g.Responded("list", took)
			}
		}
		for g.active > 0 {
			g.Leave()
		}
	}
	for range 30 {
		turn(40*time.Millisecond, false)
	}
	assert.Equal(t, maxAdmitted, int(g.limit))
	for range 2 {
		turn(400*time.Millisecond, false)
	}
	slow := g.limit
	assert.Less(t, slow, float64(maxAdmitted)*0.8)
	g.cut = time.Time{}
	turn(0, true)
	assert.InDelta(t, slow/2, g.limit, 0.001)
	for range 30 {
		turn(400*time.Millisecond, false)
	}
	rising := g.limit
	g.Responded("trash", 20*time.Second) // each kind of request has its own usual time
	assert.GreaterOrEqual(t, g.limit, rising)
	g.tighten(2)
	assert.Equal(t, 2, int(g.limit))
}
