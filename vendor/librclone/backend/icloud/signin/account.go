package signin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/session"
	"plakar-icloud/librclone/backend/icloud/transport"

	"github.com/rclone/rclone/backend/iclouddrive/api"
)

// PCSTries is how often cookies for protected data are requested. A trusted
// device sends them some time after the first request.
const PCSTries = 6

// Account is the part of the responses to accountLogin and validate that
// describes an account.
type Account struct {
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
		// Number is the number of the account. Its type is not known to be the
		// same in all responses.
		Number json.RawMessage `json:"dsid"`
	} `json:"dsInfo"`
}

// WantsCode reports whether Apple requires a code of the second factor. Apple
// also sets hsaChallengeRequired for accounts with an old kind of second factor
// or none, which need no code.
func (a *Account) WantsCode() bool {
	return a.ChallengeRequired && (a.Info == nil || a.Info.FactorVersion == 2)
}

// Endpoints returns the addresses of Drive and, if the account has them, of Photos
// and shared albums, in the form of a session file. It returns nil for an account
// without Drive.
func (a *Account) Endpoints() map[string]string {
	drive, docs := a.Webservices[hosts.Drive].URL, a.Webservices[hosts.Docs].URL
	if drive == "" || docs == "" {
		return nil
	}
	endpoints := map[string]string{hosts.Drive: drive, hosts.Docs: docs}
	if photos := a.Webservices[hosts.Photos].URL; photos != "" {
		endpoints[hosts.Photos] = photos
	}
	if shared := a.SharedAlbums(); shared != "" {
		endpoints[hosts.SharedAlbums] = shared
	}
	return endpoints
}

// SharedAlbums returns the address of the shared albums of the account, or "" if
// it has none.
func (a *Account) SharedAlbums() string {
	address := a.Webservices[hosts.SharedAlbums].URL
	if address == "" || a.Info == nil || len(a.Info.Number) == 0 {
		return ""
	}
	return address + "/" + strings.Trim(string(a.Info.Number), `"`)
}

// Protected reports whether Advanced Data Protection is on. The member
// pcsRequired does not show this, because services require cookies for protected
// data for every account.
func (a *Account) Protected() bool {
	return a.DataProtection || a.Info != nil && a.Info.DataProtection
}

// WantsPCS reports whether a session needs new cookies for protected data:
// Advanced Data Protection is on, or Drive requires such cookies and the session
// has none.
func (a *Account) WantsPCS(cookies []session.Cookie) bool {
	return a.Protected() || a.Webservices[hosts.Drive].PCSRequired && !session.HasCookie(cookies, session.PCSCookie)
}

const (
	loginPath    = "/accountLogin"
	validatePath = hosts.ValidatePath
)

// The paths of requests for protected data at the setup host.
const (
	PCSPath       = "/requestPCS"            // see PCSBody
	WebAccessPath = "/requestWebAccessState" // the response is a WebAccess
)

func loginBody(proof *api.Session) any {
	return map[string]any{
		"accountCountryCode": proof.AccountCountry,
		"dsWebAuthToken":     proof.SessionToken,
		"extended_login":     true,
		"trustToken":         proof.TrustToken,
	}
}

// PCSBody returns the body of a request for the cookies for protected data of an app.
// The response is a PCSResponse. byPerson is set if a person has caused the request.
func PCSBody(app string, byPerson bool) any {
	return map[string]any{"appName": app, "derivedFromUserAction": byPerson}
}

// driveApp is the name of iCloud Drive in a PCSBody.
const driveApp = "iclouddrive"

// login sends the request that begins a session. If the response names the other
// domain of iCloud, the domain is stored in state and the request is sent there.
func (s *Signer) login(ctx context.Context, proof *api.Session, state *session.File, account *Account) error {
	for from := state.Domain; ; {
		err := s.setup(ctx, state, loginPath, loginBody(proof), account)
		named := account.ElsewhereThan(state.Domain)
		var refused *apierr.Refusal
		if errors.As(err, &refused) {
			named = refused.Elsewhere()
		}
		to, known := hosts.DomainOf(named)
		if !known || to == state.Domain || state.Domain != from {
			return err
		}
		state.MoveTo(to)
		*account = Account{}
	}
}

// ElsewhereThan returns the domain of the iCloud that the account is on, as Apple
// names it, if that is not the domain of the request and the response has no
// services. Otherwise, it returns "".
func (a *Account) ElsewhereThan(domain hosts.Domain) string {
	if to, known := hosts.DomainOf(a.Elsewhere); a.Endpoints() != nil || known && to == domain {
		return ""
	}
	return a.Elsewhere
}

// accountLogin begins a session with the result of a sign-in. A refusal with a
// reason is treated as doubtful at first, because the host also refuses valid
// requests in this way.
func (s *Signer) accountLogin(ctx context.Context, proof *api.Session, state *session.File) error {
	var account Account
	err := s.login(ctx, proof, state, &account)
	var refused *apierr.Refusal
	if errors.As(err, &refused) {
		if named := refused.Elsewhere(); named != "" {
			return s.unusable(named)
		}
		if refused.EndsSession() {
			return notAccepted(refused.Error())
		}
		return refused.Temporary()
	}
	if err != nil {
		return err
	}
	if account.WantsCode() {
		return s.turnedDown(state, "", apierr.CauseTrustOver, "Apple no longer trusts this device and asks for a code")
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
	e := apierr.New(apierr.KindNeedsLogin, "", "", "iCloud does not accept the sign-in ("+why+")").Because(apierr.CauseSessionOver)
	e.Doubtful = true
	return e
}

// validate checks the present cookies and requests the addresses of the services
// with them.
func (s *Signer) validate(ctx context.Context, state *session.File) error {
	var account Account
	err := s.setup(ctx, state, validatePath, nil, &account)
	var refused *apierr.Refusal
	if errors.As(err, &refused) {
		if refused.EndsSession() || refused.Elsewhere() != "" {
			return apierr.New(apierr.KindNeedsLogin, "", "", refused.Error()) // not final, because a sign-in follows
		}
		e := refused.Temporary()
		if refused.Status < http.StatusInternalServerError && e.Kind() == apierr.KindNetwork {
			e.Doubtful = true // if it stays, a sign-in follows
		}
		return e
	}
	if err != nil {
		return err
	}
	if account.WantsCode() {
		return apierr.New(apierr.KindNeedsLogin, "", "", "iCloud asks for a code")
	}
	if len(account.Webservices) == 0 {
		return apierr.New(apierr.KindNeedsLogin, "", "", "iCloud names no services for this session")
	}
	state.RenewedAt = time.Now().UTC()
	return s.adopt(state, &account)
}

// unusable returns the error for an account that Apple refers to a domain that is not
// iCloud's, or from each of the two domains to the other.
func (s *Signer) unusable(named string) error {
	e := apierr.New(apierr.KindUnsupported, "sign in", s.name, UnusableDomain(named)).Because(apierr.CauseUnknownDomain)
	e.Final = true
	return e
}

// UnusableDomain returns the reason for the error of an account that Apple refers to
// a domain that cannot be used.
func UnusableDomain(named string) string {
	return fmt.Sprintf("Apple refers the account to %q, where it cannot be used", named)
}

func (s *Signer) adopt(state *session.File, account *Account) error {
	endpoints := account.Endpoints()
	if endpoints == nil {
		if named := account.ElsewhereThan(state.Domain); named != "" {
			return s.unusable(named)
		}
		if account.TermsUpdateNeeded {
			return session.TermsPending(s.name)
		}
		e := apierr.New(apierr.KindUnsupported, "sign in", s.name, "the account has no iCloud Drive").Because(apierr.CauseNoDrive).
			Advise("open iCloud Drive once on icloud.com with this account")
		e.Final = true
		return e
	}
	state.Endpoints = endpoints
	state.Protected = account.Protected()
	state.TermsPending = account.TermsUpdateNeeded
	return nil
}

// requestPCS requests the cookies that Advanced Data Protection requires. A
// trusted device sends them if a person has approved web access before. Unlike
// RequestConsent, requestPCS does not make a device ask for the approval.
func (s *Signer) requestPCS(ctx context.Context, state *session.File) error {
	state.DropPCS()
	for try := 1; ; try++ {
		var response PCSResponse
		err := s.setup(ctx, state, PCSPath, PCSBody(driveApp, try == 1), &response)
		var refused *apierr.Refusal
		switch {
		case errors.As(err, &refused) && (refused.EndsSession() || refused.Explained()):
			return apierr.New(apierr.KindNeedsLogin, "", "", "the cookies for protected data are refused: "+refused.Error()).
				Because(apierr.CauseADPNotApproved) // not final: a sign-in may help
		case refused != nil:
			return refused.Temporary()
		case err != nil:
			return err
		case response.Granted() && state.HasPCS():
			response.apply(state)
			state.RenewedAt = time.Now().UTC()
			return nil
		}
		wait, ok := s.client.Retries.Pause(try+1, 0)
		if !ok || try == PCSTries {
			return session.NeedsLogin(s.name, "Advanced Data Protection is on and web access to it is not approved").Because(apierr.CauseADPNotApproved).
				Advise("approve it on a trusted device (" + session.WebAccessSetting + "), then sign in again")
		}
		if err := transport.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// PCSResponse is the response of the setup host to a request for cookies for
// protected data.
type PCSResponse struct {
	WebAccess
	Status string `json:"status"`
}

// Granted reports whether the response has the cookies.
func (r *PCSResponse) Granted() bool { return r.Status == "success" }

// setup sends a request to the setup host of a session's domain. For a status other
// than success, the error is an *apierr.Refusal.
func (s *Signer) setup(ctx context.Context, state *session.File, path string, body, response any) error {
	r := transport.Call{Method: http.MethodPost, Path: path, Body: body, SignIn: true}
	headers := map[string]string{}
	if path != loginPath {
		headers["Cookie"] = session.CookieHeader(state.Cookies)
	}
	resp, err := s.client.Do(ctx, r, state.Domain.At(hosts.SetupEndpoint), state.Domain.Headers(api.GetCommonHeaders(headers)))
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	state.Cookies = session.MergeCookies(state.Cookies, resp.Cookies())
	return transport.Decode(ctx, resp, response)
}
