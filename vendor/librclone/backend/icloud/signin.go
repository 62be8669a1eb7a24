package icloud

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/rclone/rclone/backend/iclouddrive/api"
)

// The hosts of an account, which are known beforehand.
const (
	setupEndpoint = "https://setup.icloud.com/setup/ws/1"
	authEndpoint  = "https://idmsa.apple.com/appleauth/auth"
	homeEndpoint  = "https://www.icloud.com"
)

// pcsCookie gives access to Drive's data when Advanced Data Protection is on.
const pcsCookie = "X-APPLE-WEBAUTH-PCS-Documents"

// pcsTries is how often cookies for protected data are asked for: the first
// request makes a trusted device send them, which takes a moment.
const pcsTries = 3

// signInTries is how often a sign-in is begun when the network fails. An answer
// of Apple is never asked for again.
const signInTries = 3

// signer renews the credentials of an account. rclone's api.Session provides
// the headers, so that Apple sees one client at the first sign-in, which goes
// through rclone's configuration questions, and here.
type signer struct {
	service *service // its client, pace and retries; it has no session yet
	name    string
}

func (s *signer) renew(ctx context.Context, state *SessionFile, password Secret, how renewal) error {
	switch how {
	case renewEndpoints:
		return s.validate(ctx, state)
	case renewPCS:
		return s.requestPCS(ctx, state)
	}
	for try := 1; ; try++ {
		attempt := state.clone()
		attempt.Cookies, attempt.Endpoints = nil, nil
		err := s.signIn(ctx, &attempt, password)
		if err == nil {
			*state = attempt
			return nil
		}
		state.Refused = attempt.Refused
		if ctx.Err() != nil || !hasKind(err, KindNetwork) || isFinal(err) || try == signInTries {
			return err
		}
		wait, ok := s.service.retries.pause(try+1, 0)
		if !ok {
			return err
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

func (s *signer) signIn(ctx context.Context, state *SessionFile, password Secret) error {
	proof := &api.Session{
		ClientID:   state.ClientID,
		TrustToken: string(state.TrustToken),
		FrameID:    strings.ToLower(uuid.NewString()),
	}
	if password == "" {
		proof.SessionToken, proof.AccountCountry = string(state.SessionToken), state.Country
	} else if err := s.prove(ctx, proof, state, password); err != nil {
		return err
	}
	if err := s.accountLogin(ctx, proof, state); err != nil {
		return err
	}
	if state.PCSRequired && !hasCookie(state.Cookies, pcsCookie) {
		if err := s.requestPCS(ctx, state); err != nil {
			return err
		}
	}
	state.TrustToken = Secret(proof.TrustToken)
	state.SessionToken = Secret(proof.SessionToken)
	state.Country = proof.AccountCountry
	state.RenewedAt = time.Now().UTC()
	state.SignIns++
	state.Refused = Refusals{}
	return nil
}

// prove shows Apple that the password is known, without sending it.
func (s *signer) prove(ctx context.Context, proof *api.Session, state *SessionFile, password Secret) error {
	account := strings.ToLower(state.AppleID) // it is part of the proof, in this form
	frame := "auth-" + proof.FrameID
	_, err := s.auth(ctx, proof, state, request{
		method: http.MethodGet,
		path:   "/authorize/signin",
		params: url.Values{
			"frame_id": {frame}, "iframeId": {frame}, "state": {frame},
			"client_id": {proof.ClientID}, "redirect_uri": {homeEndpoint},
			"response_type": {"code"}, "response_mode": {"web_message"},
			"language": {"en_US"}, "skVersion": {"7"}, "authVersion": {"latest"},
		},
	})
	if err != nil {
		return err
	}
	remember := url.Values{"isRememberMeEnabled": {"true"}}
	_, err = s.auth(ctx, proof, state, request{
		method: http.MethodPost, path: "/federate", params: remember,
		body: map[string]any{"accountName": account, "rememberMe": true},
	})
	if err != nil {
		return err
	}
	srp, err := newSRPProof()
	if err != nil {
		return fail(KindNetwork, "", "", "no random numbers").from(err)
	}
	body, err := s.auth(ctx, proof, state, request{
		method: http.MethodPost, path: "/signin/init",
		body: map[string]any{
			"a":           base64.StdEncoding.EncodeToString(padded(srp.public)),
			"accountName": account,
			"protocols":   []string{"s2k", "s2k_fo"},
		},
	})
	if err != nil {
		return err
	}
	var challenge struct {
		Rounds   int    `json:"iteration"`
		Salt     []byte `json:"salt"` // base64, which encoding/json reads
		Protocol string `json:"protocol"`
		B        []byte `json:"b"`
		C        string `json:"c"`
	}
	if json.Unmarshal(body, &challenge) != nil {
		return signInDamaged()
	}
	key, ok := deriveKey(password, challenge.Salt, challenge.Rounds, challenge.Protocol)
	if !ok {
		return signInDamaged()
	}
	m1, m2, ok := srp.answer(account, key, challenge.Salt, challenge.B)
	if !ok {
		return signInDamaged()
	}
	_, err = s.auth(ctx, proof, state, request{
		method: http.MethodPost, path: "/signin/complete", params: remember,
		body: map[string]any{
			"accountName": account,
			"m1":          base64.StdEncoding.EncodeToString(m1),
			"m2":          base64.StdEncoding.EncodeToString(m2),
			"c":           challenge.C,
			"rememberMe":  true,
			"trustTokens": []string{proof.TrustToken},
		},
	})
	var refused *refusal
	if !errors.As(err, &refused) {
		return err
	}
	if refused.status == http.StatusPreconditionFailed {
		_, err = s.auth(ctx, proof, state, request{method: http.MethodPost, path: "/repair/complete", body: map[string]any{}})
		return s.explain(state, password, err)
	}
	return s.explain(state, password, refused)
}

func signInDamaged() error {
	e := fail(KindDamaged, "", "", "the challenge of Apple's sign-in is not what it should be")
	e.final = true
	return e
}

// auth sends one request of a sign-in and takes the headers that the next one
// needs.
func (s *signer) auth(ctx context.Context, proof *api.Session, state *SessionFile, r request) ([]byte, error) {
	headers := proof.GetAuthHeaders(nil)
	resp, err := s.service.roundTrip(ctx, r, authEndpoint, headers)
	if err != nil {
		var refused *refusal
		if errors.As(err, &refused) && r.path != "/signin/complete" {
			return nil, s.explain(state, "", refused)
		}
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	state.Cookies = mergeCookies(state.Cookies, resp.Cookies())
	for name, field := range map[string]*string{
		"scnt":                       &proof.Scnt,
		"X-Apple-ID-Session-Id":      &proof.SessionID,
		"X-Apple-Session-Token":      &proof.SessionToken,
		"X-Apple-TwoSV-Trust-Token":  &proof.TrustToken,
		"X-Apple-Auth-Attributes":    &proof.AuthAttributes,
		"X-Apple-ID-Account-Country": &proof.AccountCountry,
	} {
		if value := resp.Header.Get(name); value != "" {
			*field = value
		}
	}
	body, err := readSmall(ctx, resp)
	if err != nil {
		return nil, err
	}
	// Some failures come as a success whose real status is in this header.
	if status, err := strconv.Atoi(resp.Header.Get("X-Apple-I-Rscd")); err == nil && status >= 400 {
		refused := &refusal{status: status, reason: reasonIn(body), body: body}
		if r.path == "/signin/complete" {
			return nil, refused
		}
		return nil, s.explain(state, "", refused)
	}
	return body, nil
}

// Codes of Apple's sign-in for what went wrong.
const (
	codeWrongPassword = "-20101"
	codeLocked        = "-20209"
)

// explain says what a refused sign-in means, and keeps what must not be tried
// again. password is the one that was proved, "" in the steps before.
func (s *signer) explain(state *SessionFile, password Secret, err error) error {
	var refused *refusal
	if !errors.As(err, &refused) {
		return err
	}
	var said struct {
		Errors []struct {
			Code string `json:"code"`
		} `json:"serviceErrors"`
		SecurityKey json.RawMessage `json:"fsaChallenge"`
	}
	_ = json.Unmarshal(refused.body, &said) // without one the status decides
	code := ""
	if len(said.Errors) > 0 {
		code = said.Errors[0].Code
	}
	if e := s.elsewhere(refused); e != nil {
		return e
	}
	switch {
	case refused.kind() == KindThrottled:
		e := refused.err().with("wait before signing in again; Apple limits sign-ins by address")
		e.final = true
		return e
	case refused.status >= 500:
		e := refused.err()
		e.final = true
		return e
	case refused.status == http.StatusConflict && len(said.SecurityKey) > 0:
		return s.turnedDown(state, "", "Apple no longer trusts this device and asks for a security key")
	case refused.status == http.StatusConflict:
		return s.turnedDown(state, "", "Apple no longer trusts this device and asks for a code")
	case code == codeLocked, refused.status == http.StatusForbidden && code != codeWrongPassword:
		return s.turnedDown(state, password, "Apple refuses the sign-in, as it does for a locked account").
			with("unlock the account at iforgot.apple.com if it is locked, then sign in again")
	case code == codeWrongPassword, refused.status == http.StatusUnauthorized:
		return s.turnedDown(state, password, "Apple turned the password down").
			with("sign in again with the password of the Apple Account; app-specific passwords do not work here")
	}
	e := refused.err()
	e.kind, e.sentinel, e.final = KindNeedsLogin, nil, true
	return e.with("sign in again")
}

// turnedDown keeps what is not to be sent again: the password, or without one
// the trust token.
func (s *signer) turnedDown(state *SessionFile, password Secret, why string) *Error {
	state.refuse(password, why)
	return needsLogin(s.name, why)
}

// accountAnswer is what accountLogin and validate tell about an account.
type accountAnswer struct {
	Webservices map[string]struct {
		URL         string `json:"url"`
		PCSRequired bool   `json:"pcsRequired"`
	} `json:"webservices"`
	ChallengeRequired bool `json:"hsaChallengeRequired"`
	TermsUpdateNeeded bool `json:"termsUpdateNeeded"`
}

// elsewhere recognises the answer that sends an account to another iCloud.
func (s *signer) elsewhere(refused *refusal) error {
	var said struct {
		Domain string `json:"domainToUse"`
	}
	if json.Unmarshal(refused.body, &said) != nil || said.Domain == "" {
		return nil
	}
	e := fail(KindUnsupported, "sign in", s.name, "the account is one of mainland China, whose iCloud is a service of its own")
	e.final = true
	return e
}

func (s *signer) accountLogin(ctx context.Context, proof *api.Session, state *SessionFile) error {
	var account accountAnswer
	err := s.setup(ctx, state, "/accountLogin", map[string]any{
		"accountCountryCode": proof.AccountCountry,
		"dsWebAuthToken":     proof.SessionToken,
		"extended_login":     true,
		"trustToken":         proof.TrustToken,
	}, &account)
	var refused *refusal
	if errors.As(err, &refused) {
		if e := s.elsewhere(refused); e != nil {
			return e
		}
		if refused.kind() == KindNeedsLogin || refused.kind() == KindUnsupported {
			return needsLogin(s.name, "iCloud does not accept the sign-in ("+refused.Error()+")")
		}
		return s.explain(state, "", refused)
	}
	if err != nil {
		return err
	}
	if account.ChallengeRequired {
		return s.turnedDown(state, "", "Apple no longer trusts this device and asks for a code")
	}
	return s.adopt(state, &account)
}

// validate asks for the addresses of the services, with the cookies that are there.
func (s *signer) validate(ctx context.Context, state *SessionFile) error {
	var account accountAnswer
	err := s.setup(ctx, state, "/validate", nil, &account)
	var refused *refusal
	if errors.As(err, &refused) {
		if refused.kind() == KindThrottled || refused.status >= 500 {
			return refused.err()
		}
		return fail(KindNeedsLogin, "", "", refused.Error()) // not final: a sign-in follows
	}
	if err != nil {
		return err
	}
	if account.ChallengeRequired {
		return fail(KindNeedsLogin, "", "", "iCloud asks for a code")
	}
	state.RenewedAt = time.Now().UTC()
	return s.adopt(state, &account)
}

func (s *signer) adopt(state *SessionFile, account *accountAnswer) error {
	drive, docs := account.Webservices[driveHost], account.Webservices[docsHost]
	if drive.URL == "" || docs.URL == "" {
		if account.TermsUpdateNeeded {
			return termsPending(s.name)
		}
		e := fail(KindUnsupported, "sign in", s.name, "the account has no iCloud Drive").
			with("open iCloud Drive once on icloud.com with this account")
		e.final = true
		return e
	}
	state.Endpoints = map[string]string{driveHost: drive.URL, docsHost: docs.URL}
	state.PCSRequired = drive.PCSRequired
	state.TermsPending = account.TermsUpdateNeeded
	return nil
}

func termsPending(name string) *Error {
	return needsLogin(name, "Apple's terms have changed").with("accept them on icloud.com, then try again")
}

// requestPCS asks for the cookies that Advanced Data Protection wants. The
// trusted device sends them by itself when web access was approved, which only
// a person can do; nobody is asked here.
func (s *signer) requestPCS(ctx context.Context, state *SessionFile) error {
	kept := state.Cookies[:0:0]
	for _, cookie := range state.Cookies {
		if cookie.Name != pcsCookie {
			kept = append(kept, cookie)
		}
	}
	state.Cookies = kept
	for try := 1; ; try++ {
		var answer struct {
			Status string `json:"status"`
		}
		err := s.setup(ctx, state, "/requestPCS", map[string]any{
			"appName":               "iclouddrive",
			"derivedFromUserAction": try == 1,
		}, &answer)
		var refused *refusal
		switch {
		case errors.As(err, &refused) && refused.kind() == KindThrottled:
			return refused.err()
		case errors.As(err, &refused):
			return fail(KindNeedsLogin, "", "", "the cookies for protected data are refused: "+refused.Error()) // not final: a sign-in may help
		case err != nil:
			return err
		case answer.Status == "success" && hasCookie(state.Cookies, pcsCookie):
			state.PCSRequired = true
			state.RenewedAt = time.Now().UTC()
			return nil
		}
		wait, ok := s.service.retries.pause(try+1, 0)
		if !ok || try == pcsTries {
			return needsLogin(s.name, "Advanced Data Protection is on and web access to it is not approved").
				with("approve it on a trusted device (Settings > your name > iCloud > Access iCloud Data on the Web), then sign in again")
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// setup sends a request to the host of accounts. A refusal is returned as such.
func (s *signer) setup(ctx context.Context, state *SessionFile, path string, body, answer any) error {
	r := request{method: http.MethodPost, path: path, body: body}
	headers := map[string]string{}
	if path != "/accountLogin" {
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

func hasCookie(cookies []Cookie, name string) bool {
	for _, cookie := range cookies {
		if cookie.Name == name {
			return true
		}
	}
	return false
}
