package icloud

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rclone/rclone/backend/iclouddrive/api"
)

// pcsCookie gives access to Drive's data when Advanced Data Protection is on.
const pcsCookie = pcsPrefix + "Documents"

// pcsPrefix begins the names of all cookies for protected data.
const pcsPrefix = "X-APPLE-WEBAUTH-PCS-"

// pcsTries is how often cookies for protected data are requested. The first
// request makes a trusted device send them, which takes a moment.
const pcsTries = 6

// AccountAnswer is the part of the responses to accountLogin and validate that
// describes an account.
type AccountAnswer struct {
	Webservices map[string]struct {
		URL         string `json:"url"`
		PCSRequired bool   `json:"pcsRequired"`
		Status      string `json:"status"`
	} `json:"webservices"`
	ChallengeRequired bool   `json:"hsaChallengeRequired"`
	DataProtection    bool   `json:"iCDPEnabled"`
	TermsUpdateNeeded bool   `json:"termsUpdateNeeded"`
	Elsewhere         string `json:"domainToUse"` // the domain of another iCloud that the account is on
	Info              *struct {
		FactorVersion  int   `json:"hsaVersion"`
		WebAccess      *bool `json:"isWebAccessAllowed"`
		DataProtection bool  `json:"iCDPEnabled"`
	} `json:"dsInfo"`
}

// WantsCode reports whether a code is missing. Accounts with an old kind of
// second factor, or none, are reported as challenged too, although they work.
func (a *AccountAnswer) WantsCode() bool {
	return a.ChallengeRequired && (a.Info == nil || a.Info.FactorVersion == 2)
}

// Endpoints returns the addresses of Drive and, if the account has it, of
// Photos, in the form of a session file, or nil for an account without Drive.
func (a *AccountAnswer) Endpoints() map[string]string {
	drive, docs := a.Webservices[driveHost].URL, a.Webservices[docsHost].URL
	if drive == "" || docs == "" {
		return nil
	}
	endpoints := map[string]string{driveHost: drive, docsHost: docs}
	if photos := a.Webservices[api.WsPhotos].URL; photos != "" {
		endpoints[api.WsPhotos] = photos
	}
	return endpoints
}

// Protected reports whether Advanced Data Protection is on. The member
// pcsRequired does not show this: services require cookies for protected data
// for every account.
func (a *AccountAnswer) Protected() bool {
	return a.DataProtection || a.Info != nil && a.Info.DataProtection
}

// WantsPCS reports whether Drive requires cookies for protected data that a
// session lacks.
func (a *AccountAnswer) WantsPCS(cookies []Cookie) bool {
	return a.Protected() || a.Webservices[driveHost].PCSRequired && !hasCookie(cookies, pcsCookie)
}

// elsewhere returns the domain of the other iCloud that a response refers an
// account to, or "".
func (r *refusal) elsewhere() string {
	var said struct {
		Domain string `json:"domainToUse"`
	}
	_ = json.Unmarshal(r.body, &said) // then where it sends on to decides
	if host := hostOf(r.location); said.Domain == "" && strings.HasSuffix(host, ".com.cn") {
		return host
	}
	return said.Domain
}

func (s *signer) elsewhere(domain string) error {
	if domain == "" {
		return nil
	}
	e := fail(KindUnsupported, "sign in", s.name, "the account is one of mainland China, whose iCloud is a service of its own").because(CauseMainlandChina)
	e.final = true
	return e
}

const (
	loginPath    = "/accountLogin"
	validatePath = "/validate"
	pcsPath      = "/requestPCS"
)

func loginBody(proof *api.Session) any {
	return map[string]any{
		"accountCountryCode": proof.AccountCountry,
		"dsWebAuthToken":     proof.SessionToken,
		"extended_login":     true,
		"trustToken":         proof.TrustToken,
	}
}

func pcsBody(byPerson bool) any {
	return map[string]any{"appName": "iclouddrive", "derivedFromUserAction": byPerson}
}

// accountLogin begins a session with the result of a sign-in. A refusal with a
// reason is treated as doubtful at first, because the host also refuses valid
// requests in this way.
func (s *signer) accountLogin(ctx context.Context, proof *api.Session, state *SessionFile) error {
	var account AccountAnswer
	err := s.setup(ctx, state, loginPath, loginBody(proof), &account)
	var refused *refusal
	if errors.As(err, &refused) {
		if e := s.elsewhere(refused.elsewhere()); e != nil {
			return e
		}
		if refused.endsSession() {
			return notAccepted(refused.Error())
		}
		return refused.passing()
	}
	if err != nil {
		return err
	}
	if account.WantsCode() {
		return s.turnedDown(state, "", CauseTrustOver, "Apple no longer trusts this device and asks for a code")
	}
	if err := s.adopt(state, &account); err != nil {
		return err
	}
	if len(state.Cookies) == 0 {
		return notAccepted("it gives no session")
	}
	return nil
}

func notAccepted(why string) error {
	e := fail(KindNeedsLogin, "", "", "iCloud does not accept the sign-in ("+why+")").because(CauseSessionOver)
	e.doubtful = true
	return e
}

// endsSession reports whether the setup host refuses a session and not the
// request. A refusal without a reason may come from any host in between.
func (r *refusal) endsSession() bool {
	switch {
	case r.kind() == KindThrottled, r.status >= http.StatusInternalServerError:
		return false
	case r.status == http.StatusMisdirectedRequest, r.status == statusSessionOver:
		return true
	}
	return r.worded()
}

// validate requests the addresses of the services with the present cookies.
func (s *signer) validate(ctx context.Context, state *SessionFile) error {
	var account AccountAnswer
	err := s.setup(ctx, state, validatePath, nil, &account)
	var refused *refusal
	if errors.As(err, &refused) {
		if refused.endsSession() {
			return fail(KindNeedsLogin, "", "", refused.Error()) // not final: a sign-in follows
		}
		e := refused.passing()
		if refused.status < http.StatusInternalServerError && e.kind == KindNetwork {
			e.doubtful = true // a sign-in is the other way
		}
		return e
	}
	if err != nil {
		return err
	}
	if account.WantsCode() {
		return fail(KindNeedsLogin, "", "", "iCloud asks for a code")
	}
	if len(account.Webservices) == 0 {
		return fail(KindNeedsLogin, "", "", "iCloud names no services for this session")
	}
	state.RenewedAt = time.Now().UTC()
	return s.adopt(state, &account)
}

func (s *signer) adopt(state *SessionFile, account *AccountAnswer) error {
	endpoints := account.Endpoints()
	if endpoints == nil {
		if e := s.elsewhere(account.Elsewhere); e != nil {
			return e
		}
		if account.TermsUpdateNeeded {
			return termsPending(s.name)
		}
		e := fail(KindUnsupported, "sign in", s.name, "the account has no iCloud Drive").because(CauseNoDrive).
			with("open iCloud Drive once on icloud.com with this account")
		e.final = true
		return e
	}
	state.Endpoints = endpoints
	state.Protected = account.Protected()
	state.TermsPending = account.TermsUpdateNeeded
	return nil
}

func termsPending(name string) *Error {
	return needsLogin(name, "Apple's terms have changed").because(CauseTermsPending).with("accept them on icloud.com, then try again")
}

// requestPCS requests the cookies that Advanced Data Protection requires. A
// trusted device sends them without asking if a person has approved web access
// before. This function does not have a device ask.
func (s *signer) requestPCS(ctx context.Context, state *SessionFile) error {
	dropPCS(state)
	for try := 1; ; try++ {
		var answer pcsAnswer
		err := s.setup(ctx, state, pcsPath, pcsBody(try == 1), &answer)
		var refused *refusal
		switch {
		case errors.As(err, &refused) && (refused.endsSession() || refused.explained()):
			return fail(KindNeedsLogin, "", "", "the cookies for protected data are refused: "+refused.Error()).
				because(CauseADPNotApproved) // not final: a sign-in may help
		case refused != nil:
			return refused.passing()
		case err != nil:
			return err
		case answer.Status == "success" && hasCookie(state.Cookies, pcsCookie):
			answer.apply(state)
			state.RenewedAt = time.Now().UTC()
			return nil
		}
		wait, ok := s.service.retries.pause(try+1, 0)
		if !ok || try == pcsTries {
			return needsLogin(s.name, "Advanced Data Protection is on and web access to it is not approved").because(CauseADPNotApproved).
				with("approve it on a trusted device (" + webAccessSetting + "), then sign in again")
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// pcsAnswer is the setup host's response to a request for cookies for protected
// data.
type pcsAnswer struct {
	WebAccess
	Status string `json:"status"`
}

// dropPCS removes the cookie for protected data before a new one is requested,
// because the old one would be taken for the new one.
func dropPCS(state *SessionFile) {
	state.Cookies = slices.DeleteFunc(slices.Clone(state.Cookies), func(c Cookie) bool { return c.Name == pcsCookie })
}

// setup sends a request to the setup host. A refusal is returned as a *refusal.
func (s *signer) setup(ctx context.Context, state *SessionFile, path string, body, answer any) error {
	r := request{method: http.MethodPost, path: path, body: body}
	headers := map[string]string{}
	if path != loginPath {
		headers["Cookie"] = cookieHeader(state.Cookies)
	}
	resp, err := s.service.roundTrip(ctx, r, setupEndpoint, api.GetCommonHeaders(headers))
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	state.Cookies = mergeCookies(state.Cookies, resp.Cookies())
	return decode(ctx, resp, answer)
}
