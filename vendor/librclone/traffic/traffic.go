// Package traffic counts the requests of this process and the time that it waits
// before it repeats a request. A process serves one connector, so the counts are
// those of one run.
package traffic

import (
	"sync"
	"time"
)

// Totals are the counts since the process started.
type Totals struct {
	Requests int64         // sent requests, including repetitions
	Waits    int64         // periods in which at least one call waited
	Waited   time.Duration // the total length of these periods
}

var counter struct {
	sync.Mutex
	totals  Totals
	waiting int       // calls that wait
	since   time.Time // when the first of them began
}

// Requested counts a request.
func Requested() {
	counter.Lock()
	defer counter.Unlock()
	counter.totals.Requests++
}

// Waiting counts a wait that begins now and ends when the returned function is
// called. Waits at the same time are counted as one.
func Waiting() (ended func()) {
	counter.Lock()
	defer counter.Unlock()
	if counter.waiting == 0 {
		counter.totals.Waits++
		counter.since = time.Now()
	}
	counter.waiting++
	return func() {
		counter.Lock()
		defer counter.Unlock()
		if counter.waiting--; counter.waiting == 0 {
			counter.totals.Waited += time.Since(counter.since)
		}
	}
}

// Now returns the counts.
func Now() Totals {
	counter.Lock()
	defer counter.Unlock()
	totals := counter.totals
	if counter.waiting > 0 {
		totals.Waited += time.Since(counter.since)
	}
	return totals
}
