package signin

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/session"
	"plakar-icloud/librclone/backend/icloud/transport"

	"github.com/rclone/rclone/backend/iclouddrive/api"
)

// The requests of a sign-in with a person present, for package account. They are
// the same as those that renew a session, but each is sent once, and Apple's
// refusals are returned unchanged, because a person can react to more of them.

// Refused is a response of Apple with a status other than success.
type Refused struct {
	Status      int
	RetryAfter  time.Duration // the wait that Apple asked for, or 0
	Body        []byte
	Elsewhere   string // the domain of the other iCloud that Apple names, or ""
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

// Prove proves to Apple, once and at a domain, that the password of an account is
// known. The session must have a client id. Prove stores the headers in it that the
// rest of the sign-in needs. It returns nil for a success, a Refused with the status
// 409 if Apple requires the second factor, and an error if no response arrived.
func Prove(ctx context.Context, at hosts.Domain, session *api.Session, appleID string, password session.Secret) (*Refused, error) {
	return asRefused(newSigner(ctx).prove(ctx, at, session, appleID, password, func() error { return nil }))
}

// AccountLogin begins a session with the result of a sign-in, and stores its cookies
// and the domain of the account in file. The account is nil if Apple refuses.
func AccountLogin(ctx context.Context, proof *api.Session, file *session.File) (*Account, *Refused, error) {
	file.Cookies = nil
	account := new(Account)
	if err := newSigner(ctx).login(ctx, proof, file, account); err != nil {
		refused, err := asRefused(err)
		return nil, refused, err
	}
	return account, nil, nil
}

// Validate checks a session and returns its account, with the services that the
// session may use. The account is nil if Apple refuses.
func Validate(ctx context.Context, file *session.File) (*Account, *Refused, error) {
	return request[Account](ctx, file, validatePath, nil)
}

// WebAccess is the settings of an account for access on the web. Apple omits the
// members that do not concern the account.
type WebAccess struct {
	Allowed   *bool `json:"isWebAccessAllowed"`
	Consented *bool `json:"isDeviceConsentedForPCS"` // to the access to protected data
	// ConsentEnds is when the consent ends, in milliseconds since 1970, or 0 if
	// Apple does not report it. Users have seen a consent end an hour after it
	// was given (icloudpd issue 514).
	ConsentEnds int64 `json:"deviceConsentForPCSExpiry"`
	// NoRecovery is true if Apple's recovery service is disabled, which it is
	// with Advanced Data Protection.
	NoRecovery *bool `json:"isICDRSDisabled"`
}

// apply stores the settings that concern Advanced Data Protection in a file.
func (a *WebAccess) apply(file *session.File) {
	if a.NoRecovery != nil {
		file.Protected = *a.NoRecovery
	}
	if a.ConsentEnds > 0 {
		file.ConsentUntil = time.UnixMilli(a.ConsentEnds).UTC()
	}
}

// Off reports whether access on the web is known to be off.
func (a *WebAccess) Off() bool { return a != nil && a.Allowed != nil && !*a.Allowed }

// FetchWebAccess requests the settings of web access, and stores those in file
// that concern Advanced Data Protection.
func FetchWebAccess(ctx context.Context, file *session.File) (*WebAccess, *Refused, error) {
	access, refused, err := request[WebAccess](ctx, file, WebAccessPath, nil)
	if access != nil {
		access.apply(file)
	}
	return access, refused, err
}

// RequestConsent makes the trusted devices of the account ask their owner to
// approve the access to protected data.
func RequestConsent(ctx context.Context, file *session.File) (*Refused, error) {
	_, refused, err := request[json.RawMessage](ctx, file, "/enableDeviceConsentForPCS", map[string]any{"appName": driveApp})
	return refused, err
}

// RequestPCS requests the cookies for protected data, once, and stores them in
// file. granted is false if no trusted device has sent them yet. access is
// returned even if Apple refuses.
func RequestPCS(ctx context.Context, file *session.File) (granted bool, access *WebAccess, refused *Refused, err error) {
	file.DropPCS()
	resp, refused, err := request[PCSResponse](ctx, file, PCSPath, PCSBody(driveApp, true))
	switch {
	case err != nil:
		return false, nil, nil, err
	case refused != nil:
		access = new(WebAccess)
		_ = json.Unmarshal(refused.Body, access) // if this fails, the settings are unknown
		return false, access, refused, nil
	}
	if resp.Granted() && file.HasPCS() {
		resp.apply(file)
		file.RenewedAt = time.Now().UTC()
		granted = true
	}
	return granted, &resp.WebAccess, nil, nil
}

// request sends one request to the setup host and decodes its response.
func request[T any](ctx context.Context, file *session.File, path string, body any) (*T, *Refused, error) {
	response := new(T)
	if err := newSigner(ctx).setup(ctx, file, path, body, response); err != nil {
		refused, err := asRefused(err)
		return nil, refused, err
	}
	return response, nil, nil
}
