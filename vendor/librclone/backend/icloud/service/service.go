// Package service sends requests to the services of an Apple Account, such as
// Drive, with the session of the account, which it renews when that has ended.
package service

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/session"
	"plakar-icloud/librclone/backend/icloud/transport"
)

// Service sends the requests of one Apple Account, with its session and its
// limiter, and retries each request according to its kind.
type Service struct {
	*transport.Client
	Session *session.Session
	zones   zones
}

// New returns a service that sends its requests through a client, with the
// credentials of a session.
func New(client *transport.Client, session *session.Session) *Service {
	return &Service{Client: client, Session: session}
}

// Request is one request to a service.
type Request struct {
	Host   string // the name of the service, see package hosts
	Root   string // the address to use instead of that of Host, "" for none
	Method string
	Path   string
	Params url.Values
	Body   any // encoded as JSON, nil for none
	// ContentType is the type of the body, if it is not the usual one.
	ContentType string

	// Zone is the zone that the request writes to, or "" if it only reads.
	Zone string
	// Repeatable is set if sending the request twice does no harm. The request
	// is then repeated if its response is lost or cannot be decoded.
	Repeatable bool
	// TrustRefusals is set if a failure that the service reports, other than
	// throttling, is returned after TrustedTries attempts.
	TrustRefusals bool
	// TrustBadRequest is set if the request is not repeated after a 400.
	TrustBadRequest bool
	// Quick is set if the service responds at once. See
	// [transport.WithQuickResponse].
	Quick bool
	// OwnCookies is set if the service has its own cookies for protected data,
	// which a renewal of the session does not request. The error for missing ones
	// then has the kind [apierr.KindDenied], and errors.Is finds ErrNoCookies in it.
	OwnCookies bool
}

// ErrNoCookies is found in the error for missing cookies of a service that has its
// own, see [Request.OwnCookies].
var ErrNoCookies = errors.New("the cookies for protected data are missing")

// TrustedTries is how often a request with TrustRefusals is sent that the service
// refuses.
const TrustedTries = 2

// Fetch sends a request, decodes its response and checks it. Failures are retried
// if that is worthwhile. A response for which check fails is treated like one that
// cannot be decoded. check may be nil.
func Fetch[T any](ctx context.Context, s *Service, r Request, check func(*T) error) (*T, error) {
	for try := 1; ; try++ {
		response := new(T)
		err := s.Send(transport.WithTry(ctx, try), r, response)
		if err == nil && check != nil {
			err = check(response)
		}
		if err == nil {
			return response, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !r.worthRepeating(err) {
			return nil, apierr.AfterTries(err, try)
		}
		if r.TrustRefusals && apierr.IsReported(err) && !apierr.HasKind(err, apierr.KindThrottled) && try >= TrustedTries {
			return nil, apierr.AfterTries(err, try)
		}
		if err := s.Retries.Wait(ctx, try+1, err); err != nil {
			return nil, err
		}
	}
}

// worthRepeating reports whether to send a request again that failed with err. A
// request that was refused because of load has had no effect. After any other
// temporary failure, only repeatable requests are sent again.
func (r Request) worthRepeating(err error) bool {
	if apierr.IsFinal(err) {
		return false
	}
	switch apierr.KindOf(err) {
	case apierr.KindThrottled:
		return true
	case apierr.KindNetwork, apierr.KindDamaged:
		return r.Repeatable
	}
	if r.TrustBadRequest && apierr.HasKind(err, apierr.KindUnsupported) {
		return false
	}
	return r.Repeatable && apierr.IsDoubtful(err) && !r.TrustRefusals
}

// maxRenewals is the maximum number of renewals that one request waits for: one
// of the cookies for protected data, one sign-in, one check that the session is
// valid, and as many again by other requests and other processes.
const maxRenewals = 6

// Send sends a request and decodes its response. If the session is refused, Send
// renews it and sends the request again.
func (s *Service) Send(ctx context.Context, r Request, response any) error {
	done := new(session.Attempts)
	for renewals := 0; ; renewals++ {
		access, err := s.Session.Access(ctx)
		if err != nil {
			return err
		}
		root := r.Root
		if root == "" {
			if root, err = access.Root(r.Host); err != nil {
				return err
			}
		}
		if !hosts.MayGetCalls(root) {
			return foreignHost(root)
		}
		leave, err := s.zones.enter(ctx, r.Zone)
		if err != nil {
			return err
		}
		err = s.exchange(ctx, r, root, access, response)
		leave()
		var refused *apierr.Refusal
		if !errors.As(err, &refused) {
			if err == nil {
				s.Session.Proven(access)
			}
			return err
		}
		if r.OwnCookies && refused.Status == http.StatusLocked {
			return apierr.New(apierr.KindDenied, "", "", refused.Error()).Matching(ErrNoCookies)
		}
		if refused.Kind() != apierr.KindNeedsLogin {
			if refused.Busy() {
				s.zones.crowded(r.Zone)
			}
			if refused.Status < 500 && refused.Kind() != apierr.KindThrottled && refused.Kind() != apierr.KindDenied {
				s.Session.Proven(access)
			}
			return refused.Err()
		}
		if renewals == maxRenewals {
			return session.RefusedAlways(refused.Status)
		}
		done.Status = refused.Status
		if err := s.Session.Renew(ctx, access.Generation, done); err != nil {
			return err
		}
	}
}

// foreignHost returns the error for a request to an address of a service, from a
// response of Apple, that must not get the secrets of the account.
func foreignHost(address string) *apierr.Error {
	return apierr.Newf(apierr.KindUnsupported, "", "", "Apple's response names %q as the host of the service, but sessions are only sent to Apple's own hosts over HTTPS", hosts.Of(address)).
		Advise("check that no proxy changes the responses, then sign in again")
}

// exchange sends a request once and decodes its response. For a status other than
// success, the error is an *apierr.Refusal.
func (s *Service) exchange(ctx context.Context, r Request, root string, access *session.Access, response any) error {
	headers := access.Headers()
	if r.ContentType != "" {
		headers["Content-Type"] = r.ContentType
	}
	resp, err := s.Do(ctx, transport.Call{Method: r.Method, Path: r.Path, Params: r.Params, Body: r.Body, Quick: r.Quick}, root, headers)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	s.Session.Merge(access, resp.Cookies())
	return transport.Decode(ctx, resp, response)
}
