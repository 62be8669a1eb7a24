package icloud

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/rclone/rclone/backend/iclouddrive/api"
)

// The requests of a sign-in with a person present, for package account: the same
// ones that renew a session here, but each sent once and with Apple's refusals as
// they are, since a person can do more about them.

// Refused is an answer of Apple that is no success.
type Refused struct {
	Status      int
	RetryAfter  time.Duration // that Apple asked to be left alone for, 0 if it named no time
	Body        []byte
	Elsewhere   string // the domain of another iCloud that the account is sent to
	SessionOver bool   // the session is refused, not the request
}

// asRefused takes the refusal out of what a request failed with.
func asRefused(err error) (*Refused, error) {
	var refused *refusal
	if !errors.As(err, &refused) {
		return nil, err
	}
	return &Refused{
		Status: refused.status, RetryAfter: refused.retryAfter, Body: refused.body,
		Elsewhere: refused.elsewhere(), SessionOver: refused.kind() == KindNeedsLogin,
	}, nil
}

func newSigner(ctx context.Context, appleID string) *signer {
	return &signer{service: newService(ctx, &Options{AppleID: appleID, CallsPerSecond: defaultRate, CallsAtOnce: defaultSlots})}
}

// Prove shows Apple, once, that a person knows the password of an account. The
// session needs a client id; it takes the headers that the rest of the sign-in
// stands on. The answer is nil for a success; its status is 409 where Apple
// wants the second factor. err says why no answer came.
func Prove(ctx context.Context, session *api.Session, appleID string, password Secret) (*Refused, error) {
	return asRefused(newSigner(ctx, appleID).prove(ctx, session, appleID, password, func() error { return nil }))
}

// AccountLogin begins a session with what a sign-in has proven: its cookies go
// to the file. The account is nil where Apple refuses.
func AccountLogin(ctx context.Context, proof *api.Session, file *SessionFile) (*AccountAnswer, *Refused, error) {
	file.Cookies = nil
	return ask[AccountAnswer](ctx, file, loginPath, loginBody(proof))
}

// Validate asks what a session may use.
func Validate(ctx context.Context, file *SessionFile) (*AccountAnswer, *Refused, error) {
	return ask[AccountAnswer](ctx, file, validatePath, nil)
}

// WebAccess is what the account's owner allows on the web. Apple leaves out what
// does not concern the account. (ICDRS, whose state it tells too, is the recovery
// service that Advanced Data Protection switches off.)
type WebAccess struct {
	Allowed   *bool `json:"isWebAccessAllowed"`
	Consented *bool `json:"isDeviceConsentedForPCS"` // to the access to protected data
}

// Off reports whether Apple says that access on the web is off.
func (a *WebAccess) Off() bool { return a != nil && a.Allowed != nil && !*a.Allowed }

// AskWebAccess asks for that.
func AskWebAccess(ctx context.Context, file *SessionFile) (*WebAccess, *Refused, error) {
	return ask[WebAccess](ctx, file, "/requestWebAccessState", nil)
}

// AskDevices makes the trusted devices of the account ask their owner to approve
// the access to protected data.
func AskDevices(ctx context.Context, file *SessionFile) (*Refused, error) {
	_, refused, err := ask[json.RawMessage](ctx, file, "/enableDeviceConsentForPCS", map[string]any{"appName": "iclouddrive"})
	return refused, err
}

// RequestPCS asks once for the cookies for protected data, which a trusted
// device sends. granted is false where none has yet; access is known also where
// Apple refuses.
func RequestPCS(ctx context.Context, file *SessionFile) (granted bool, access *WebAccess, refused *Refused, err error) {
	type answer struct {
		WebAccess
		Status string `json:"status"`
	}
	dropPCS(file)
	said, refused, err := ask[answer](ctx, file, pcsPath, pcsBody(true))
	switch {
	case err != nil:
		return false, nil, nil, err
	case refused != nil:
		access = new(WebAccess)
		_ = json.Unmarshal(refused.Body, access) // then it is not known
		return false, access, refused, nil
	}
	if said.Status == "success" && hasCookie(file.Cookies, pcsCookie) {
		file.PCSRequired = true
		file.RenewedAt = time.Now().UTC()
		granted = true
	}
	return granted, &said.WebAccess, nil, nil
}

// ask sends one request to the host of accounts.
func ask[T any](ctx context.Context, file *SessionFile, path string, body any) (*T, *Refused, error) {
	answer := new(T)
	if err := newSigner(ctx, file.AppleID).setup(ctx, file, path, body, answer); err != nil {
		refused, err := asRefused(err)
		return nil, refused, err
	}
	return answer, nil, nil
}

// CookieHeader gives the cookies of the session as a request has them.
func (f *SessionFile) CookieHeader() string { return cookieHeader(f.Cookies) }
