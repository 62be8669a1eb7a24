package transport

import (
	"context"
	"math"
	"sync"
	"time"
)

// Gate limits the number of requests that wait for a response. The limit rises
// while responses arrive as fast as before. It falls when they slow
// down or the service refuses a request because of its load. The algorithm is
// Gradient2Limit of https://github.com/Netflix/concurrency-limits.
type Gate struct {
	mu      sync.Mutex
	limit   float64
	most    float64 // the maximum of limit
	active  int
	waiting []chan struct{}    // in the order of their arrival
	usual   map[string]float64 // average time to the response in seconds, by the kind of request
	cut     time.Time          // when the limit was last halved
}

const (
	initialAdmitted = 16
	maxAdmitted     = 64

	usualSamples  = 200 // approximate number of responses that the usual time is averaged over
	toleratedTime = 1.5 // as a multiple of the usual time; the limit falls when responses take longer
	adaptation    = 2   // how fast the limit changes; 1 applies a change within as many responses as the limit
)

// NewGate returns a gate for requests for contents.
func NewGate() *Gate { return newGate(maxAdmitted) }

// newGate returns a gate whose limit never exceeds most.
func newGate(most int) *Gate {
	return &Gate{limit: float64(min(initialAdmitted, most)), most: float64(most), usual: map[string]float64{}}
}

// Enter waits for admission. It must be followed by Leave.
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
	g.active-- // this request was admitted as ctx ended
	g.admit()
	return ctx.Err()
}

// Leave ends the admission of a request.
func (g *Gate) Leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.active--
	g.admit()
}

// Idle reports whether no request is under way.
func (g *Gate) Idle() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.active == 0
}

// Responded records how long the response to a request of a kind took. It must
// be called before Leave.
func (g *Gate) Responded(kind string, took time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.adapt(kind, max(took, time.Microsecond).Seconds()) // adapt divides by it, and a coarse clock may give 0
	g.admit()
}

// Throttled records that the service, because of its load, refused a request
// that was sent at began. The limit is halved once for all requests that were
// under way.
func (g *Gate) Throttled(began time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if began.After(g.cut) {
		g.limit, g.cut = max(1, g.limit/2), time.Now()
	}
}

// tighten lowers the maximum of the limit.
func (g *Gate) tighten(most int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.most = min(g.most, float64(max(1, most)))
	g.limit = min(g.limit, g.most)
}

// adapt adapts the limit to the seconds that a response took. mu must be held.
func (g *Gate) adapt(kind string, took float64) {
	usual, known := g.usual[kind]
	if !known {
		usual = took
	}
	usual += (took - usual) / usualSamples
	if usual > 2*took { // a slow period has ended
		usual *= 0.95
	}
	g.usual[kind] = usual
	if 2*g.active < int(g.limit) {
		return // while few requests are under way, their times do not depend on the limit
	}
	gradient := min(1, max(0.5, toleratedTime*usual/took))
	wanted := g.limit*gradient + math.Sqrt(g.limit)
	g.limit = min(g.most, max(1, g.limit+min(1, adaptation/g.limit)*(wanted-g.limit)))
}

// admit admits waiting requests up to the limit. mu must be held.
func (g *Gate) admit() {
	for g.active < int(g.limit) && len(g.waiting) > 0 {
		close(g.waiting[0])
		g.waiting = g.waiting[1:]
		g.active++
	}
}
