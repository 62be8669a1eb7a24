package account

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"plakar-icloud/librclone/backend/icloud"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/rclone/rclone/lib/rest"
)

const (
	authEndpoint  = "https://idmsa.apple.com/appleauth/auth"
	setupEndpoint = "https://setup.icloud.com/setup/ws/1"

	driveService = api.WsDrive
	docsService  = api.WsDocs

	// pcsCookie gives access to Drive's data when Advanced Data Protection is on.
	pcsCookie = "X-APPLE-WEBAUTH-PCS-Documents"
)

// signIn is a sign-in with a person present.
type signIn struct {
	appleID, clientID, file string
	client                  *api.Session
}

// prove shows Apple that the password is known, without sending it. It is tried
// once, whatever comes of it. Where Apple wants the second factor, wanted is
// what it says about that.
func (s *signIn) prove(ctx context.Context, password icloud.Secret) (wanted *reply, err error) {
	s.client = api.NewSession()
	s.client.ClientID = s.clientID
	answer, err := icloud.Prove(ctx, s.client, s.appleID, password)
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	if answer == nil {
		return nil, nil
	}
	r := &reply{status: answer.Status, retryAfter: answer.RetryAfter, body: answer.Body}
	if r.status == http.StatusConflict {
		return r, nil
	}
	return nil, refused(r)
}

// call sends one request and takes the headers that the next one needs.
func call(ctx context.Context, client *api.Session, opts rest.Opts) (*reply, error) {
	opts.IgnoreStatus = true
	opts.NoRedirect = true // which says where the account is, and is no way to it
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
	icloud.TakeHeaders(client, resp.Header) // rclone's client does with a JSON body only
	r := &reply{
		status:     resp.StatusCode,
		hasToken:   resp.Header.Get("X-Apple-Session-Token") != "",
		retryAfter: icloud.RetryAfter(resp.Header, time.Now()),
		body:       body,
	}
	if to, err := resp.Location(); err == nil {
		r.sendsTo = to.Hostname()
	}
	return r, nil
}

func (s *signIn) auth(ctx context.Context, method, path string, body any) (*reply, error) {
	opts := rest.Opts{Method: method, Path: path, RootURL: authEndpoint, ExtraHeaders: s.client.GetAuthHeaders(nil)}
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

// factor is what Apple offers as second factor.
type factor struct {
	phones    []phone
	noDevices bool
}

// secondFactor asks what there is. Where Apple does not say, a code can be
// entered all the same.
func (s *signIn) secondFactor(ctx context.Context, wanted *reply) (*factor, error) {
	said, err := factorIn(wanted)
	if err != nil {
		return nil, err
	}
	r, err := s.auth(ctx, http.MethodGet, "", nil)
	switch {
	case err != nil:
		return nil, err
	case r.good():
		return factorIn(r)
	case refused(r).cause == causeThrottled:
		return nil, refused(r)
	}
	return said, nil
}

func factorIn(r *reply) (*factor, error) {
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
	var said struct {
		numbers
		Nested      *numbers        `json:"phoneNumberVerification"` // as some accounts have it
		SecurityKey json.RawMessage `json:"fsaChallenge"`
		KeyNames    []string        `json:"keyNames"`
	}
	if json.Unmarshal(r.body, &said) != nil {
		return &factor{}, nil // a code can be entered all the same
	}
	if key := string(said.SecurityKey); key != "" && key != "null" && key != "{}" {
		text := "the account has security keys as its second factor"
		if len(said.KeyNames) > 0 {
			text += " (" + strings.Join(said.KeyNames, ", ") + ")"
		}
		return nil, &failure{kind: icloud.KindUnsupported, cause: causeSecurityKeys, text: text}
	}
	offered := said.numbers
	if said.Nested != nil && len(offered.Phones) == 0 && offered.Phone == nil {
		offered = *said.Nested
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

// send has a code sent. Since iOS 26.4 devices show none unless asked to.
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

// verify hands in a code, and makes this device a trusted one.
//
// Since 2026 Apple answers 409 to a right code too, with or without a token.
// What counts then is the answer's own word, and at last whether the trust or
// the session is granted.
func (s *signIn) verify(ctx context.Context, how delivery, code string) (*accountInfo, error) {
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
	var said struct {
		Code struct {
			Valid bool `json:"valid"`
		} `json:"securityCode"`
	}
	_ = json.Unmarshal(r.body, &said) // without one the status decides
	ambiguous := r.status == http.StatusConflict || r.status == http.StatusPreconditionFailed
	if !r.good() && !said.Code.Valid && !(ambiguous && r.hasToken) {
		return nil, refusedCode(r)
	}
	trust, err := s.auth(ctx, http.MethodGet, "/2sv/trust", nil)
	if err != nil {
		return nil, err
	}
	account, err := s.accountLogin(ctx)
	if err == nil && !account.wantsCode() || trust.good() {
		return account, err
	}
	if ambiguous && !said.Code.Valid {
		return nil, refusedCode(r)
	}
	failed := refused(trust)
	if failed.cause != causeThrottled && failed.cause != causeService {
		failed.cause = causeOther
	}
	failed.text = "the code is right, but Apple does not trust this device: " + failed.text
	return nil, failed
}

// refusedCode is for the host's answer to a code: 401 is no wrong password here.
func refusedCode(r *reply) error {
	failed := refused(r)
	if failed.cause == causePassword || failed.cause == causeOther {
		failed.cause = causeWrongCode
	}
	if failed.cause == causeLocked && r.serviceError().Code != codeLocked {
		failed.cause = causeTooManyCodes
	}
	return failed
}

// accountInfo is what the host of accounts tells about one.
type accountInfo struct {
	Webservices map[string]struct {
		URL         string `json:"url"`
		PCSRequired bool   `json:"pcsRequired"`
		Status      string `json:"status"`
	} `json:"webservices"`
	TermsUpdateNeeded bool   `json:"termsUpdateNeeded"`
	ChallengeRequired bool   `json:"hsaChallengeRequired"`
	DomainToUse       string `json:"domainToUse"`
	Info              *struct {
		FactorVersion int   `json:"hsaVersion"`
		WebAccess     *bool `json:"isWebAccessAllowed"`
	} `json:"dsInfo"`
}

// wantsCode: accounts without the present kind of second factor say that they
// are challenged, too, and work.
func (a *accountInfo) wantsCode() bool {
	return a.ChallengeRequired && (a.Info == nil || a.Info.FactorVersion == 2)
}

// usable says what keeps the account from being used.
func (a *accountInfo) usable() error {
	switch {
	case a.TermsUpdateNeeded:
		return &failure{kind: icloud.KindNeedsLogin, cause: causeTerms, text: "Apple's terms have changed and were not accepted yet"}
	case a.Webservices[driveService].URL == "" || a.Webservices[docsService].URL == "":
		return &failure{kind: icloud.KindUnsupported, cause: causeNoDrive, text: "the account has no iCloud Drive"}
	}
	return nil
}

func (s *signIn) accountLogin(ctx context.Context) (*accountInfo, error) {
	r, err := setup(ctx, s.client, "/accountLogin", map[string]any{
		"accountCountryCode": s.client.AccountCountry,
		"dsWebAuthToken":     s.client.SessionToken,
		"extended_login":     true,
		"trustToken":         s.client.TrustToken,
	})
	if err != nil {
		return nil, err
	}
	return infoIn(r)
}

func infoIn(r *reply) (*accountInfo, error) {
	info := new(accountInfo)
	unread := json.Unmarshal(r.body, info)
	if info.DomainToUse == "" && strings.HasSuffix(r.sendsTo, ".com.cn") {
		info.DomainToUse = r.sendsTo
	}
	switch {
	case info.DomainToUse != "" && len(info.Webservices) == 0:
		text := "the account is one of mainland China (" + info.DomainToUse + ")"
		return nil, &failure{kind: icloud.KindUnsupported, cause: causeChina, text: text}
	case r.status == http.StatusUnauthorized || r.status == http.StatusMisdirectedRequest:
		return nil, &failure{kind: icloud.KindNeedsLogin, cause: causeSessionOver, text: "iCloud does not accept the session"}
	case !r.good():
		failed := refused(r)
		if failed.cause == causeLocked || failed.cause == causePassword {
			failed.cause = causeOther
		}
		return nil, failed
	case unread != nil:
		return nil, &failure{kind: icloud.KindDamaged, cause: causeOther, text: "the answer of iCloud about the account cannot be read; try again"}
	}
	return info, nil
}

// setup sends a request to the host of accounts, which has no use for the
// headers of the sign-in.
func setup(ctx context.Context, client *api.Session, path string, body any) (*reply, error) {
	opts := rest.Opts{Method: http.MethodPost, Path: path, RootURL: setupEndpoint}
	opts.ExtraHeaders = client.GetHeaders(nil)
	if path == "/accountLogin" {
		opts.ExtraHeaders = api.GetCommonHeaders(nil)
	}
	if body == nil {
		opts.ContentLength = new(int64)
	} else {
		encoded, err := api.IntoReader(body)
		if err != nil {
			return nil, err
		}
		opts.Body = encoded
	}
	return call(ctx, client, opts)
}

// store writes the session into its file, where every process finds it.
func (s *signIn) store(ctx context.Context, info *accountInfo) error {
	return icloud.UpdateSessionFile(ctx, s.file, func(file *icloud.SessionFile) error {
		now := time.Now().UTC()
		*file = icloud.SessionFile{
			AppleID:      s.appleID,
			ClientID:     s.clientID,
			TrustToken:   icloud.Secret(s.client.TrustToken),
			SessionToken: icloud.Secret(s.client.SessionToken),
			Country:      s.client.AccountCountry,
			Cookies:      cookiesOf(s.client),
			PCSRequired:  info.Webservices[driveService].PCSRequired,
			TrustedAt:    now,
			SignedInAt:   now,
			RenewedAt:    now,
			SignIns:      1,
		}
		if info.usable() == nil {
			file.Endpoints = map[string]string{
				driveService: info.Webservices[driveService].URL,
				docsService:  info.Webservices[docsService].URL,
			}
		}
		return nil
	})
}

func cookiesOf(client *api.Session) []icloud.Cookie {
	cookies := make([]icloud.Cookie, 0, len(client.Cookies))
	for _, cookie := range client.Cookies {
		// Those of the sign-in host are not for iCloud.
		if cookie.Value != "" && !strings.HasSuffix(cookie.Domain, "apple.com") {
			cookies = append(cookies, icloud.Cookie{Name: cookie.Name, Value: icloud.Secret(cookie.Value)})
		}
	}
	return cookies
}

// ofFile is a client with the cookies of a session file.
func ofFile(path string) (*api.Session, *icloud.SessionFile, error) {
	file, err := icloud.LoadSessionFile(path)
	if err != nil {
		return nil, nil, err
	}
	client := api.NewSession()
	client.ClientID = file.ClientID
	for _, cookie := range file.Cookies {
		client.Cookies = append(client.Cookies, &http.Cookie{Name: cookie.Name, Value: string(cookie.Value)})
	}
	return client, file, nil
}

// requestPCS asks once for the cookies for protected data, and puts them into
// the session file. Apple has a trusted device send them.
func requestPCS(ctx context.Context, path string) (approved bool, err error) {
	client, _, err := ofFile(path)
	if err != nil {
		return false, err
	}
	r, err := setup(ctx, client, "/requestPCS", map[string]any{"appName": "iclouddrive", "derivedFromUserAction": true})
	if err != nil {
		return false, err
	}
	var said struct {
		Status    string `json:"status"`
		WebAccess *bool  `json:"isWebAccessAllowed"`
	}
	_ = json.Unmarshal(r.body, &said) // then it is no success
	off := said.WebAccess != nil && !*said.WebAccess
	if !r.good() && !off {
		failed := refused(r)
		if failed.cause == causeThrottled {
			return false, failed
		}
		failed.cause = causeADP
		access, err := webAccessOf(ctx, client)
		if off = err == nil && access.off(); !off {
			return false, failed
		}
	}
	if off {
		return false, &failure{kind: icloud.KindNeedsLogin, cause: causeWebAccess, text: "access to iCloud data on the web is off"}
	}
	has := slices.ContainsFunc(client.Cookies, func(c *http.Cookie) bool { return c.Name == pcsCookie })
	if said.Status != "success" || !has {
		return false, nil
	}
	return true, icloud.UpdateSessionFile(ctx, path, func(file *icloud.SessionFile) error {
		file.Cookies = cookiesOf(client)
		file.PCSRequired = true
		file.RenewedAt = time.Now().UTC()
		return nil
	})
}

// askDevices makes the trusted devices ask their owner to approve the access to
// protected data, where Apple says that nobody has yet. That it fails is not
// the end: the owner can allow it in the settings.
func askDevices(ctx context.Context, path string) {
	client, _, err := ofFile(path)
	if err != nil {
		return
	}
	if access, err := webAccessOf(ctx, client); err == nil && access.Consented != nil && !*access.Consented {
		_, _ = setup(ctx, client, "/enableDeviceConsentForPCS", map[string]any{"appName": "iclouddrive"})
	}
}
