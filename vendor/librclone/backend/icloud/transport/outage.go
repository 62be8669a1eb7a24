package transport

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
)

// Outages records, for one Apple Account, which hosts have failed every request
// for a while. Until a call to such a host succeeds, each call is attempted only
// once. Otherwise each of a thousand files would wait as long as the first one.
type Outages struct {
	mu   sync.Mutex
	host map[string]*outage
}

// outage is a series of failures of a host without a success.
type outage struct {
	failures  int
	begun     time.Time // of the first request that failed
	last      time.Time // the last failure that was counted
	throttled bool      // the last failure was a refusal because of load
	until     time.Time // the end of the wait that the host asked for
}

// A host is out of service if it has failed for this long, with at least this
// many consecutive failures. A silent host fails seldom, because each request to
// it lasts as long as the option silence allows. A throttling host gets more
// time, because throttling ends after about a minute.
const (
	outageFailures    = 4
	outageAfter       = 30 * time.Second
	silentOutage      = 2
	silentOutageAfter = 100 * time.Second
	throttledAfter    = 2 * time.Minute
)

// failed records the failure of a request that was sent at begun. wait is the
// wait that the host asked for, or 0. A request that was sent before the last counted
// failure does not count, because all requests under way fail together if the process
// was suspended or the network has changed.
func (o *Outages) failed(host string, begun time.Time, throttled bool, wait time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.host == nil {
		o.host = map[string]*outage{}
	}
	known := o.host[host]
	if known == nil {
		known = &outage{begun: begun}
		o.host[host] = known
	}
	if !begun.Before(known.last) {
		known.failures++
		known.last = time.Now()
	}
	known.throttled = throttled
	if until := time.Now().Add(wait); until.After(known.until) {
		known.until = until
	}
}

// succeeded records a success, which ends the outage of a host.
func (o *Outages) succeeded(host string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.host, host)
}

// since returns how long a host has been out of service, or 0 if it is not.
func (o *Outages) since(host string) time.Duration {
	if o == nil {
		return 0
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	known := o.host[host]
	if known == nil {
		return 0
	}
	length := time.Since(known.begun)
	switch {
	case known.throttled && (length < throttledAfter || time.Now().Before(known.until)):
		return 0
	case known.failures >= outageFailures && length >= outageAfter,
		known.failures >= silentOutage && length >= silentOutageAfter:
		return length
	}
	return 0
}

// failing reports whether the last counted request to a host has failed.
func (o *Outages) failing(host string) bool {
	if o == nil {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.host[host] != nil
}

// duringOutage makes the failure of a call final, because its host has been out
// of service for length.
func duringOutage(err error, length time.Duration) error {
	var typed *apierr.Error
	if !errors.As(err, &typed) || typed.Final {
		return err
	}
	marked := *typed
	marked.Final = true
	marked.Advice = fmt.Sprintf("%s has failed every request for %v; run the command again when it works", typed.Host, length.Round(time.Second))
	return &marked
}
