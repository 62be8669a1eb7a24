package icloud

import (
	"context"
	"math"
	"sync"
	"time"
)

// gate bounds the requests for contents that wait for their answer. It admits more
// while the answers come as fast as before, and fewer when they slow down or the
// service refuses one for its load: the algorithm of Gradient2Limit in
// https://github.com/Netflix/concurrency-limits.
type gate struct {
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

func newGate() *gate { return &gate{limit: firstAdmitted} }

// enter waits for admission. leave has to follow.
func (g *gate) enter(ctx context.Context) error {
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

// leave records the end of a request that began at a time, by an answer, by a
// refusal for the load of the service, or by neither.
func (g *gate) leave(began time.Time, answered, throttled bool) {
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

// learn adapts the limit to the time that an answer took.
func (g *gate) learn(took float64) {
	if g.usual == 0 {
		g.usual = took
	}
	g.usual += (took - g.usual) / usualSamples
	if g.usual > 2*took { // it was slow for a while
		g.usual *= 0.95
	}
	if 2*g.active < int(g.limit) {
		return // what is not used shows nothing
	}
	gradient := min(1, max(0.5, toleratedTime*g.usual/took))
	wanted := g.limit*gradient + math.Sqrt(g.limit)
	g.limit = min(mostAdmitted, max(1, g.limit+min(1, adaptation/g.limit)*(wanted-g.limit)))
}

func (g *gate) admit() {
	for g.active < int(g.limit) && len(g.waiting) > 0 {
		close(g.waiting[0])
		g.waiting = g.waiting[1:]
		g.active++
	}
}
