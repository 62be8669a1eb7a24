package transport

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The gate admits more while answers come fast, half after a refusal, and fewer
// when they slow down.
func TestGate(t *testing.T) {
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
				g.Answered("list", took)
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
	g.Answered("trash", 20*time.Second) // each kind of request has its own usual time
	assert.GreaterOrEqual(t, g.limit, rising)
	g.tighten(2)
	assert.Equal(t, 2, int(g.limit))
}
