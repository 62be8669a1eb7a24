package signin

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/session"
	"plakar-icloud/librclone/backend/icloud/transport"

	"github.com/rclone/rclone/backend/iclouddrive/api"
)

// The requests of a sign-in with a person present, for package account. They
// are the requests that renew a session in this package, but each is sent once,
// and Apple's refusals are returned unchanged, because a person can do more
// about them.

// Refused is a response of Apple with a status other than success.
type Refused struct {
	Status      int
	RetryAfter  time.Duration // that Apple asked to be left alone for, 0 if it named no time
	Body        []byte
	Elsewhere   string // the domain of another iCloud that the account is sent to
	SessionOver bool   // the session is refused, not the request
}

// asRefused extracts the refusal from the error of a request.
func asRefused(err error) (*Refused, error) {
	var refused *apierr.Refusal
	if !errors.As(err, &refused) {
		return nil, err
	}
	return &Refused{
		Status: refused.Status, RetryAfter: refused.RetryAfter, Body: refused.Body,
		Elsewhere: refused.Elsewhere(), SessionOver: refused.Kind() == apierr.KindNeedsLogin,
	}, nil
}

func newSigner(ctx context.Context) *Signer {
	return New(transport.New(ctx, transport.Config{Limiter: transport.NewLimiter(transport.DefaultRate, transport.DefaultSlots)}), "")
}

// Prove proves to Apple, once, that a person knows the password of an account.
// The session must have a client id; it receives the headers that the rest of
// the sign-in needs. The response is nil for a success. Its status is 409 if
// Apple requires the second factor. err says why no response arrived.
func Prove(ctx context.Context, session *api.Session, appleID string, password session.Secret) (*Refused, error) {
	return asRefused(newSigner(ctx).prove(ctx, session, appleID, password, func() error { return nil }))
}

// AccountLogin begins a session with the result of a sign-in and stores its
// cookies in the file. The account is nil if Apple refuses.
func AccountLogin(ctx context.Context, proof *api.Session, file *session.File) (*Account, *Refused, error) {
	file.Cookies = nil
	return request[Account](ctx, file, loginPath, loginBody(proof))
}

// Validate returns what a session may use.
func Validate(ctx context.Context, file *session.File) (*Account, *Refused, error) {
	return request[Account](ctx, file, validatePath, nil)
}

// WebAccess is what the account's owner allows on the web. Apple omits members
// that do not concern the account.
type WebAccess struct {
	Allowed   *bool `json:"isWebAccessAllowed"`
	Consented *bool `json:"isDeviceConsentedForPCS"` // to the access to protected data
	// ConsentEnds is when the consent ends, in milliseconds since 1970. Users
	// have seen an hour after it was given (icloudpd issue 514). It is unknown
	// if it is 0 or missing.
	ConsentEnds int64 `json:"deviceConsentForPCSExpiry"`
	// NoRecovery is true with Advanced Data Protection, which disables Apple's
	// recovery service.
	NoRecovery *bool `json:"isICDRSDisabled"`
}

// apply stores what the response says about Advanced Data Protection.
func (a *WebAccess) apply(file *session.File) {
	if a.NoRecovery != nil {
		file.Protected = *a.NoRecovery
	}
	if a.ConsentEnds > 0 {
		file.ConsentUntil = time.UnixMilli(a.ConsentEnds).UTC()
	}
}

// Off reports whether Apple says that access on the web is off.
func (a *WebAccess) Off() bool { return a != nil && a.Allowed != nil && !*a.Allowed }

// FetchWebAccess requests the settings of web access and stores in the file what
// concerns Advanced Data Protection.
func FetchWebAccess(ctx context.Context, file *session.File) (*WebAccess, *Refused, error) {
	access, refused, err := request[WebAccess](ctx, file, "/requestWebAccessState", nil)
	if access != nil {
		access.apply(file)
	}
	return access, refused, err
}

// RequestConsent makes the trusted devices of the account ask their owner to approve
// the access to protected data.
func RequestConsent(ctx context.Context, file *session.File) (*Refused, error) {
	_, refused, err := request[json.RawMessage](ctx, file, "/enableDeviceConsentForPCS", map[string]any{"appName": "iclouddrive"})
	return refused, err
}

// RequestPCS requests the cookies for protected data once. A trusted device
// sends them. granted is false if none has sent them yet; access is returned
// even if Apple refuses.
func RequestPCS(ctx context.Context, file *session.File) (granted bool, access *WebAccess, refused *Refused, err error) {
	file.DropPCS()
	said, refused, err := request[pcsResponse](ctx, file, pcsPath, pcsBody(true))
	switch {
	case err != nil:
		return false, nil, nil, err
	case refused != nil:
		access = new(WebAccess)
		_ = json.Unmarshal(refused.Body, access) // then it is not known
		return false, access, refused, nil
	}
	if said.Status == "success" && file.HasPCS() {
		said.apply(file)
		file.RenewedAt = time.Now().UTC()
		granted = true
	}
	return granted, &said.WebAccess, nil, nil
}

// request sends one request to the setup host.
func request[T any](ctx context.Context, file *session.File, path string, body any) (*T, *Refused, error) {
	answer := new(T)
	if err := newSigner(ctx).setup(ctx, file, path, body, answer); err != nil {
		refused, err := asRefused(err)
		return nil, refused, err
	}
	return answer, nil, nil
}
