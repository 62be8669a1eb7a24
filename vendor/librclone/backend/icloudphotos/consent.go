package icloudphotos

import (
	"context"
	"net/http"
	"sync"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/service"
	"plakar-icloud/librclone/backend/icloud/session"
	"plakar-icloud/librclone/backend/icloud/signin"
	"plakar-icloud/librclone/backend/icloud/transport"
)

// consent is the access to the libraries with Advanced Data Protection. The
// service then refuses each call without a cookie, which it gives after a device
// has approved the access to the data of the account.
type consent struct {
	turn  chan struct{} // a mutex that is held during requests
	tried bool          // prepare was called

	mu      sync.Mutex
	granted int   // how often cookies were received
	refused error // why the cookies were refused, nil if they were not
}

func newConsent() *consent { return &consent{turn: make(chan struct{}, 1)} }

// take locks c during requests.
func (c *consent) take(ctx context.Context) (leave func(), err error) {
	select {
	case c.turn <- struct{}{}:
		return func() { <-c.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// count returns how often cookies were received.
func (c *consent) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.granted
}

// refusal returns why the cookies were refused, nil if they were not.
func (c *consent) refusal() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused
}

// prepare requests the cookies before the first call, if the session needs them
// and has none. A failure is not returned, because the call itself fails if the
// library is not accessible.
func (s *database) prepare(ctx context.Context) error {
	leave, err := s.consent.take(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if s.consent.tried {
		return nil
	}
	s.consent.tried = true
	access, err := s.service.Session.Access(ctx)
	if err == nil && access.LacksConsent(session.PhotosPCSCookie) {
		_ = s.requestCookies(ctx)
	}
	return ctx.Err()
}

// regain handles the refusal of a call that was sent when cookies had been
// received granted times. It returns nil if the call can be repeated with new
// cookies, or else the error to report.
func (s *database) regain(ctx context.Context, granted int, refusal error) error {
	leave, err := s.consent.take(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if s.consent.count() != granted {
		return nil
	}
	if err := s.consent.refusal(); err != nil {
		return err
	}
	r := service.Request{Host: hosts.Setup, Method: http.MethodPost, Path: signin.WebAccessPath, Repeatable: true, TrustRefusals: true}
	access, err := service.Fetch[signin.WebAccess](ctx, s.service, r, nil)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil: // the reason stays unknown
		return refusal
	case access.Off():
		return needsPerson(apierr.CauseWebAccessOff, "Apple refuses access to the photo library, because access to iCloud data on the web is off",
			"on an iPhone, switch on "+session.WebAccessSetting)
	case access.NoRecovery == nil || !*access.NoRecovery:
		return refusal
	}
	return s.requestCookies(ctx)
}

// requestCookies requests the cookies that Photos needs with Advanced Data
// Protection. A device sends them some time after the first request, if the access
// was approved before. The session adopts the cookies of the response. Only a
// refusal is remembered: after a failure, a later call may request them again.
func (s *database) requestCookies(ctx context.Context) error {
	if err := s.consent.refusal(); err != nil {
		return err
	}
	for try := 1; ; try++ {
		r := service.Request{
			Host: hosts.Setup, Method: http.MethodPost, Path: signin.PCSPath, Repeatable: true, TrustRefusals: true,
			Body: signin.PCSBody("photos", try == 1),
		}
		response, err := service.Fetch[signin.PCSResponse](ctx, s.service, r, nil)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil && response.Granted() {
			s.consent.mu.Lock()
			s.consent.granted++
			s.consent.mu.Unlock()
			s.service.Session.Flush(ctx) // later processes need the cookies too
			return nil
		}
		switch apierr.KindOf(err) {
		case apierr.KindNetwork, apierr.KindThrottled, apierr.KindDamaged: // not about the approval
			return err
		}
		wait, ok := s.service.Retries.Pause(try+1, 0)
		if err != nil || !ok || try == signin.PCSTries {
			refused := notApproved()
			s.consent.mu.Lock()
			s.consent.refused = refused
			s.consent.mu.Unlock()
			return refused
		}
		if err := transport.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// notApproved returns the error for an account with Advanced Data Protection to
// which no device has permitted access.
func notApproved() *apierr.Error {
	return needsPerson(apierr.CauseADPNotApproved,
		"Advanced Data Protection is on, and no device has approved the access to the photo library",
		"on an iPhone, switch on "+session.WebAccessSetting+", run plakar-icloud login, approve the request on the device, "+
			"and start the backup within an hour, after which Apple ends the access")
}

// needsPerson returns an error that ends the run until a person acts.
func needsPerson(cause, why, advice string) *apierr.Error {
	return endRun(finalError(apierr.KindNeedsLogin, why, advice).Because(cause))
}
