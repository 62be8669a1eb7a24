package transport

import (
	"context"
	"math"
	"sync"
	"time"
)

// Gate limits the number of requests for contents that wait for a response. The
// limit rises while responses arrive as fast as before. It falls when they slow
// down or the service refuses a request because of its load. The algorithm is
// Gradient2Limit of https://github.com/Netflix/concurrency-limits.
type Gate struct {
	mu      sync.Mutex
	limit   float64
	active  int
	waiting []chan struct{} // the longest first
	usual   float64         // time to the answer in seconds, averaged over many
	cut     time.Time       // when the limit was halved
}

const (
	firstAdmitted = 16
	mostAdmitted  = 64

	usualSamples  = 200 // that the usual time is the average of, about
	toleratedTime = 1.5 // times the usual time
	adaptation    = 2   // how far the answers to as many requests as are admitted move the limit
)

// NewGate returns a gate with the initial limit.
func NewGate() *Gate { return &Gate{limit: firstAdmitted} }

// Enter waits for admission. It must be followed by leave.
func (g *Gate) Enter(ctx context.Context) error {
	g.mu.Lock()
	if g.active < int(g.limit) {
		g.active++
		g.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	g.waiting = append(g.waiting, turn)
	g.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, other := range g.waiting {
		if other == turn {
			g.waiting = append(g.waiting[:i], g.waiting[i+1:]...)
			return ctx.Err()
		}
	}
	g.active-- // it was admitted at the same moment
	g.admit()
	return ctx.Err()
}

// Leave records the end of a request that began at a time. The request has
// ended with a response, with a refusal because of the load of the service, or
// with neither.
func (g *Gate) Leave(began time.Time, answered, throttled bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case throttled && began.After(g.cut): // one halving for all that were under way
		g.limit, g.cut = max(1, g.limit/2), time.Now()
	case answered && !throttled:
		g.learn(time.Since(began).Seconds())
	}
	g.active--
	g.admit()
}

// Idle reports whether no request is under way.
func (g *Gate) Idle() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.active == 0
}

// learn adapts the limit to the time that a response took.
func (g *Gate) learn(took float64) {
	if g.usual == 0 {
		g.usual = took
	}
	g.usual += (took - g.usual) / usualSamples
	if g.usual > 2*took { // it was slow temporarily
		g.usual *= 0.95
	}
	if 2*g.active < int(g.limit) {
		return // an unused limit gives no information
	}
	gradient := min(1, max(0.5, toleratedTime*g.usual/took))
	wanted := g.limit*gradient + math.Sqrt(g.limit)
	g.limit = min(mostAdmitted, max(1, g.limit+min(1, adaptation/g.limit)*(wanted-g.limit)))
}

func (g *Gate) admit() {
	for g.active < int(g.limit) && len(g.waiting) > 0 {
		close(g.waiting[0])
		g.waiting = g.waiting[1:]
		g.active++
	}
}
