package account

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/session"
	"plakar-icloud/librclone/backend/icloud/signin"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/rclone/rclone/lib/rest"
)

// signIn is a sign-in with a person present.
type signIn struct {
	appleID, clientID, file string
	domain                  hosts.Domain // at which the sign-in is made
	client                  *api.Session
	cookies                 []session.Cookie // set by accountLogin
}

// prove proves to Apple, once, that the password is known, without sending the
// password. If Apple requires the second factor, wanted is its response. If Apple
// names the other domain, it becomes that of the sign-in, and prove fails.
func (s *signIn) prove(ctx context.Context, password session.Secret) (wanted *response, err error) {
	s.client = api.NewSession()
	s.client.ClientID = s.clientID
	refusal, err := signin.Prove(ctx, s.domain, s.client, s.appleID, password)
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	if refusal == nil {
		return nil, nil
	}
	if refusal.Elsewhere != "" {
		failed := referred(refusal.Elsewhere)
		if to, known := hosts.DomainOf(refusal.Elsewhere); known {
			s.domain = to
		}
		return nil, failed
	}
	r := responseOf(refusal)
	if r.status == http.StatusConflict && signin.AuthType(r.body) != "" {
		return r, nil
	}
	return nil, refused(r)
}

// call sends a request and stores the headers of the response, which the next
// request needs.
func call(ctx context.Context, client *api.Session, opts rest.Opts) (*response, error) {
	opts.IgnoreStatus = true
	opts.NoRedirect = true
	var body json.RawMessage
	resp, err := client.Request(ctx, opts, nil, &body)
	if resp == nil {
		return nil, unreachable(ctx, err)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var syntax *json.SyntaxError
	if err != nil && !errors.Is(err, io.EOF) && !errors.As(err, &syntax) {
		return nil, unreachable(ctx, err)
	}
	signin.TakeHeaders(client, resp.Header) // rclone's client stores them only if the body is JSON
	return &response{
		status:     resp.StatusCode,
		hasToken:   resp.Header.Get("X-Apple-Session-Token") != "",
		retryAfter: apierr.RetryAfter(resp.Header, time.Now()),
		body:       body,
	}, nil
}

// auth sends a request to the sign-in host.
func (s *signIn) auth(ctx context.Context, method, path string, body any) (*response, error) {
	opts := rest.Opts{Method: method, Path: path, RootURL: s.domain.At(hosts.AuthEndpoint), ExtraHeaders: s.domain.Headers(s.client.GetAuthHeaders(nil))}
	if body == nil {
		opts.ContentLength = new(int64)
	} else {
		encoded, err := api.IntoReader(body)
		if err != nil {
			return nil, err
		}
		opts.Body = encoded
	}
	return call(ctx, s.client, opts)
}

// factor is the second factor that Apple offers.
type factor struct {
	phones    []phone
	noDevices bool
}

// secondFactor requests the available second factors. wanted is the response that
// has required one. If Apple does not describe any, the result is empty, and a code
// can be entered nevertheless.
func (s *signIn) secondFactor(ctx context.Context, wanted *response) (*factor, error) {
	offered, err := factorIn(wanted)
	if err != nil {
		return nil, err
	}
	if offered == nil {
		offered = new(factor)
	}
	r, err := s.auth(ctx, http.MethodGet, "", nil)
	switch {
	case err != nil:
		return nil, err
	case r.good():
		if now, err := factorIn(r); now != nil || err != nil {
			return now, err
		}
	case refused(r).cause == causeThrottled:
		return nil, refused(r)
	}
	return offered, nil
}

// factorIn returns the second factor that a response describes, or nil if it
// describes none.
func factorIn(r *response) (*factor, error) {
	type number struct {
		ID       int    `json:"id"`
		WithDial string `json:"numberWithDialCode"`
		Hidden   string `json:"obfuscatedNumber"`
	}
	type numbers struct {
		Phones    []number `json:"trustedPhoneNumbers"`
		Phone     *number  `json:"trustedPhoneNumber"`
		NoDevices bool     `json:"noTrustedDevices"`
	}
	var parsed struct {
		numbers
		Nested      *numbers        `json:"phoneNumberVerification"` // for some accounts
		SecurityKey json.RawMessage `json:"fsaChallenge"`
		KeyNames    []string        `json:"keyNames"`
	}
	if json.Unmarshal(r.body, &parsed) != nil {
		return nil, nil
	}
	if key := string(parsed.SecurityKey); key != "" && key != "null" && key != "{}" {
		text := "the account has security keys as its second factor"
		if len(parsed.KeyNames) > 0 {
			text += " (" + strings.Join(parsed.KeyNames, ", ") + ")"
		}
		return nil, &failure{kind: apierr.KindUnsupported, cause: causeSecurityKeys, text: text}
	}
	offered := parsed.numbers
	if parsed.Nested != nil && len(offered.Phones) == 0 && offered.Phone == nil {
		offered = *parsed.Nested
	}
	if len(offered.Phones) == 0 && offered.Phone != nil {
		offered.Phones = []number{*offered.Phone}
	}
	f := &factor{noDevices: offered.NoDevices}
	for _, known := range offered.Phones {
		shown := known.WithDial
		if shown == "" {
			shown = known.Hidden
		}
		f.phones = append(f.phones, phone{ID: known.ID, Number: shown})
	}
	return f, nil
}

// send has a code sent. Since iOS 26.4, devices only show a code on request.
func (s *signIn) send(ctx context.Context, how delivery) error {
	path, body := "/verify/trusteddevice/securitycode", any(nil)
	if how.Way != wayDevices {
		path = "/verify/phone"
		body = map[string]any{"phoneNumber": map[string]any{"id": how.PhoneID}, "mode": how.Way}
	}
	r, err := s.auth(ctx, http.MethodPut, path, body)
	if err != nil {
		return err
	}
	if !r.good() {
		return refused(r)
	}
	return nil
}

// verify submits a code, makes this device a trusted one and begins the session.
//
// Since 2026, Apple may respond with 409 to a correct code, with or without a
// token. The body of the response, or else whether Apple grants the trust or the
// session, then shows whether the code was correct.
func (s *signIn) verify(ctx context.Context, how delivery, code string) (*signin.Account, error) {
	path := "/verify/trusteddevice/securitycode"
	body := map[string]any{"securityCode": map[string]string{"code": code}}
	if how.Way != wayDevices {
		path = "/verify/phone/securitycode"
		body["phoneNumber"], body["mode"] = map[string]any{"id": how.PhoneID}, how.Way
	}
	r, err := s.auth(ctx, http.MethodPost, path, body)
	if err != nil {
		return nil, err
	}
	var parsed struct {
		Code struct {
			Valid bool `json:"valid"`
		} `json:"securityCode"`
	}
	_ = json.Unmarshal(r.body, &parsed) // if this fails, only the status counts
	ambiguous := r.status == http.StatusConflict || r.status == http.StatusPreconditionFailed
	if !r.good() && !parsed.Code.Valid && !(ambiguous && r.hasToken) {
		return nil, refusedCode(r)
	}
	trust, err := s.auth(ctx, http.MethodGet, "/2sv/trust", nil)
	if err != nil {
		return nil, err
	}
	account, err := s.accountLogin(ctx)
	if err == nil && !account.WantsCode() || trust.good() {
		return account, err
	}
	if ambiguous && !parsed.Code.Valid {
		return nil, refusedCode(r)
	}
	failed := refused(trust)
	if failed.cause != causeThrottled && failed.cause != causeService {
		failed.cause = causeOther
	}
	failed.text = "the code is correct, but Apple does not trust this device: " + failed.text
	return nil, failed
}

// refusedCode returns the failure for the refusal of a code. If the response has no
// error code of Apple, its status determines the cause.
func refusedCode(r *response) error {
	failed := refused(r)
	stated := apierr.ServiceErrorIn(r.body).Code != ""
	switch {
	case !stated && r.status == http.StatusForbidden:
		failed.kind, failed.cause = apierr.KindNeedsLogin, causeTooManyCodes
	case !stated && r.status < http.StatusInternalServerError && failed.cause != causeThrottled,
		failed.cause == causePassword, failed.cause == causeOther:
		failed.kind, failed.cause = apierr.KindNeedsLogin, causeWrongCode
	}
	return failed
}

// unusable returns why the account of a sign-in at domain cannot be used, or nil.
func unusable(account *signin.Account, domain hosts.Domain) error {
	switch named := account.ElsewhereThan(domain); {
	case named != "":
		return referred(named)
	case account.TermsUpdateNeeded:
		return &failure{kind: apierr.KindNeedsLogin, cause: causeTerms, text: "Apple's terms have changed and were not accepted yet"}
	case account.Endpoints() == nil:
		return &failure{kind: apierr.KindUnsupported, cause: causeNoDrive, text: "the account has no iCloud Drive"}
	}
	return nil
}

// store writes the session to its file.
func (s *signIn) store(ctx context.Context, info *signin.Account) error {
	return session.UpdateFile(ctx, s.file, func(file *session.File) error {
		now := time.Now().UTC()
		*file = session.File{
			AppleID:      s.appleID,
			ClientID:     s.clientID,
			Domain:       s.domain,
			TrustToken:   session.Secret(s.client.TrustToken),
			SessionToken: session.Secret(s.client.SessionToken),
			Country:      s.client.AccountCountry,
			Cookies:      s.cookies,
			Protected:    info.Protected(),
			TrustedAt:    now,
			SignedInAt:   now,
			RenewedAt:    now,
			SignIns:      1,
		}
		if unusable(info, s.domain) == nil {
			file.Endpoints = info.Endpoints()
		}
		return nil
	})
}

// requestPCS requests the cookies for protected data, once, and stores them in the
// session file. It fails if another process has renewed the session meanwhile.
// approved is false if no trusted device has sent the cookies yet.
func requestPCS(ctx context.Context, path string) (approved bool, err error) {
	requested, err := session.LoadFile(path)
	if err != nil {
		return false, err
	}
	before := requested.RenewedAt
	granted, access, refusal, err := signin.RequestPCS(ctx, requested)
	if err != nil {
		return false, unreachable(ctx, err)
	}
	if refusal != nil && !access.Off() {
		failed := refused(responseOf(refusal))
		if failed.cause == causeThrottled {
			return false, failed
		}
		failed.cause = causeADP
		if access, _, _ = signin.FetchWebAccess(ctx, requested); !access.Off() {
			return false, failed
		}
	}
	if access.Off() {
		return false, &failure{kind: apierr.KindNeedsLogin, cause: causeWebAccess, text: "access to iCloud data on the web is off"}
	}
	if !granted {
		return false, nil
	}
	return true, session.UpdateFile(ctx, path, func(file *session.File) error {
		if !file.TakePCS(requested, before) {
			return &failure{kind: apierr.KindChanged, cause: causeOther, text: "another process has renewed the session in the meantime; try again"}
		}
		return nil
	})
}

// askDevices makes the trusted devices ask their owner to approve the access to
// protected data, if Apple reports that it is not approved yet. A failure is
// ignored, because the owner can also approve the access in the settings.
func askDevices(ctx context.Context, path string) {
	session, err := session.LoadFile(path)
	if err != nil {
		return
	}
	access, _, _ := signin.FetchWebAccess(ctx, session)
	if access != nil && access.Consented != nil && !*access.Consented {
		_, _ = signin.RequestConsent(ctx, session)
	}
}
