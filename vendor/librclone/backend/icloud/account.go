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

// pcsTries is how often cookies for protected data are asked for: the first
// request makes a trusted device send them, which takes a moment.
const pcsTries = 6

// AccountAnswer is what accountLogin and validate tell about an account.
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

// WantsCode reports whether a code is missing. Accounts without the present kind
// of second factor say that they are challenged, too, and work.
func (a *AccountAnswer) WantsCode() bool {
	return a.ChallengeRequired && (a.Info == nil || a.Info.FactorVersion == 2)
}

// Endpoints gives the addresses that Drive needs, as a session file has them, or
// nil for an account without it.
func (a *AccountAnswer) Endpoints() map[string]string {
	drive, docs := a.Webservices[driveHost].URL, a.Webservices[docsHost].URL
	if drive == "" || docs == "" {
		return nil
	}
	return map[string]string{driveHost: drive, docsHost: docs}
}

// Protected reports whether Advanced Data Protection is on. That a service wants
// cookies for protected data (pcsRequired) says nothing: they do for every account.
func (a *AccountAnswer) Protected() bool {
	return a.DataProtection || a.Info != nil && a.Info.DataProtection
}

// WantsPCS reports whether Drive wants cookies for protected data that a session
// lacks.
func (a *AccountAnswer) WantsPCS(cookies []Cookie) bool {
	return a.Protected() || a.Webservices[driveHost].PCSRequired && !hasCookie(cookies, pcsCookie)
}

// elsewhere gives the domain of the other iCloud that an answer sends an account
// to, or "".
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

// accountLogin begins a session with what a sign-in has proven. A refusal that
// the host puts into words is doubtful at first: it says so of fine requests.
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

// endsSession reports whether the host of accounts refuses a session, and no
// request. A refusal without words may come from anywhere on the way.
func (r *refusal) endsSession() bool {
	switch {
	case r.kind() == KindThrottled, r.status >= http.StatusInternalServerError:
		return false
	case r.status == http.StatusMisdirectedRequest, r.status == statusSessionOver:
		return true
	}
	return r.worded()
}

// validate asks for the addresses of the services, with the cookies that are there.
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

// requestPCS asks for the cookies that Advanced Data Protection wants. The
// trusted device sends them by itself when web access was approved, which only
// a person can do; nobody is asked here.
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

// pcsAnswer is what the host of accounts says to a request for cookies for
// protected data.
type pcsAnswer struct {
	WebAccess
	Status string `json:"status"`
}

// dropPCS takes the cookie for protected data away that a fresh one is asked for:
// it would pass for that.
func dropPCS(state *SessionFile) {
	state.Cookies = slices.DeleteFunc(slices.Clone(state.Cookies), func(c Cookie) bool { return c.Name == pcsCookie })
}

// setup sends a request to the host of accounts. A refusal is returned as such.
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
