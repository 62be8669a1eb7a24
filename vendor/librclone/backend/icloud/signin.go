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
	homeEndpoint  = "https://www.icloud.com"

	// AuthEndpoint is where a sign-in is proven.
	AuthEndpoint = "https://idmsa.apple.com/appleauth/auth"
)

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
	for try := 1; ; try++ {
		attempt := state.clone()
		var err error
		switch how {
		case renewEndpoints:
			err = s.validate(ctx, &attempt)
		case renewPCS:
			err = s.requestPCS(ctx, &attempt)
		default:
			attempt.Cookies, attempt.Endpoints = nil, nil
			err = s.signIn(ctx, &attempt, password)
		}
		if err == nil {
			*state = attempt
			return nil
		}
		state.Refused = attempt.Refused
		again := hasKind(err, KindNetwork) || how != renewAll && (hasKind(err, KindThrottled) || hasKind(err, KindDamaged))
		if ctx.Err() != nil || !again || isFinal(err) || how == renewAll && try == signInTries {
			return err
		}
		if err := s.service.retries.wait(ctx, try+1, err); err != nil {
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
	} else if err := s.prove(ctx, proof, state.AppleID, password); err != nil {
		return s.explain(state, password, err)
	}
	if err := s.accountLogin(ctx, proof, state); err != nil {
		return err
	}
	if len(state.Cookies) == 0 {
		return needsLogin(s.name, "iCloud accepted the sign-in and gave no session")
	}
	if state.PCSRequired && !hasCookie(state.Cookies, pcsCookie) {
		if err := s.requestPCS(ctx, state); err != nil {
			return err
		}
	}
	if state.TrustToken != Secret(proof.TrustToken) { // Apple has renewed the trust
		state.TrustToken, state.TrustedAt, state.SignIns = Secret(proof.TrustToken), time.Now().UTC(), 0
	}
	state.SessionToken = Secret(proof.SessionToken)
	state.Country = proof.AccountCountry
	state.SignedInAt = time.Now().UTC()
	state.RenewedAt = state.SignedInAt
	state.SignIns++
	state.Refused = Refusals{}
	return nil
}

// prove shows Apple that the password is known, without sending it. What Apple
// refuses is a *refusal.
func (s *signer) prove(ctx context.Context, proof *api.Session, appleID string, password Secret) error {
	account := strings.ToLower(appleID) // it is part of the proof, in this form
	frame := "auth-" + proof.FrameID
	_, err := s.auth(ctx, proof, request{
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
	_, err = s.auth(ctx, proof, request{
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
	body, err := s.auth(ctx, proof, request{
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
	trust := []string{}
	if proof.TrustToken != "" {
		trust = append(trust, proof.TrustToken)
	}
	_, err = s.auth(ctx, proof, request{
		method: http.MethodPost, path: proofPath, params: remember,
		body: map[string]any{
			"accountName": account,
			"m1":          base64.StdEncoding.EncodeToString(m1),
			"m2":          base64.StdEncoding.EncodeToString(m2),
			"c":           challenge.C,
			"rememberMe":  true,
			"trustTokens": trust,
		},
	})
	var refused *refusal
	if errors.As(err, &refused) && refused.status == http.StatusPreconditionFailed {
		// An account without a second factor.
		_, err = s.auth(ctx, proof, request{method: http.MethodPost, path: repairPath, body: map[string]any{}})
	}
	return err
}

// The requests that answer for the password.
const (
	proofPath  = "/signin/complete"
	repairPath = "/repair/complete"
)

func signInDamaged() error {
	e := fail(KindDamaged, "", "", "the challenge of Apple's sign-in is not what it should be")
	e.final = true
	return e
}

// auth sends one request of a sign-in and takes the headers that the next one
// needs, from a refusal too: the second factor follows on one. The cookies of
// this host are no part of an iCloud session, and rclone's client sends it none.
func (s *signer) auth(ctx context.Context, proof *api.Session, r request) ([]byte, error) {
	headers := proof.GetAuthHeaders(nil)
	if r.method == http.MethodGet { // the first request, which rclone sends with these alone
		headers = map[string]string{"Accept": "*/*"}
	}
	resp, err := s.service.roundTrip(ctx, r, AuthEndpoint, headers)
	var refused *refusal
	if errors.As(err, &refused) {
		refused.answersPassword = r.path == proofPath || r.path == repairPath
		TakeHeaders(proof, refused.header)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	TakeHeaders(proof, resp.Header)
	body, err := readSmall(ctx, resp)
	if err != nil {
		return nil, err
	}
	// The proof of a password can fail as a success whose real status is in this
	// header.
	if status, err := strconv.Atoi(resp.Header.Get("X-Apple-I-Rscd")); err == nil && status >= 400 && r.path == proofPath {
		return nil, &refusal{status: status, reason: reasonIn(body), body: body, answersPassword: true}
	}
	return body, nil
}

// TakeHeaders puts what an answer of the sign-in host carries in its headers
// into the session.
func TakeHeaders(session *api.Session, header http.Header) {
	for name, field := range map[string]*string{
		"scnt":                       &session.Scnt,
		"X-Apple-ID-Session-Id":      &session.SessionID,
		"X-Apple-Session-Token":      &session.SessionToken,
		"X-Apple-TwoSV-Trust-Token":  &session.TrustToken,
		"X-Apple-Auth-Attributes":    &session.AuthAttributes,
		"X-Apple-ID-Account-Country": &session.AccountCountry,
	} {
		if value := header.Get(name); value != "" {
			*field = value
		}
	}
}

// Codes of Apple's sign-in for what went wrong (seen in the threads that user
// reports link to).
const (
	CodeWrongPassword = "-20101"
	CodeLocked        = "-20209"
	CodeWrongCode     = "-21669"
	CodeTooManyCodes  = "-21674"
	CodeSessionOver   = "-20528" // the sign-in itself took too long
)

// ServiceError is how Apple's sign-in says what is wrong.
type ServiceError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// ServiceErrorIn gives the first error in an answer; it is empty without one,
// and then the status decides.
func ServiceErrorIn(body []byte) ServiceError {
	var said struct {
		Errors []ServiceError `json:"serviceErrors"`
		Other  []ServiceError `json:"service_errors"` // both are seen, mostly together
	}
	_ = json.Unmarshal(body, &said)
	if all := append(said.Errors, said.Other...); len(all) > 0 {
		return all[0]
	}
	return ServiceError{}
}

// explain says what a refused sign-in means, and keeps what must not be tried
// again: the password only where the answer is about it.
func (s *signer) explain(state *SessionFile, password Secret, err error) error {
	var refused *refusal
	if !errors.As(err, &refused) {
		return err
	}
	if !refused.answersPassword {
		password = ""
	}
	var said struct {
		SecurityKey json.RawMessage `json:"fsaChallenge"`
	}
	_ = json.Unmarshal(refused.body, &said) // then it asks for none
	code := ServiceErrorIn(refused.body).Code
	if e := s.elsewhere(refused.elsewhere()); e != nil {
		return e
	}
	switch {
	case refused.kind() == KindThrottled:
		e := refused.err().because(CauseThrottled).with("wait before signing in again; Apple limits sign-ins by address")
		e.final = true
		return e
	case refused.status >= 500:
		e := refused.err()
		e.final = true
		return e
	case refused.status == http.StatusConflict && len(said.SecurityKey) > 0:
		return s.turnedDown(state, "", CauseSecurityKeys, "Apple no longer trusts this device and asks for a security key")
	case refused.status == http.StatusConflict:
		return s.turnedDown(state, "", CauseTrustOver, "Apple no longer trusts this device and asks for a code")
	case code == CodeLocked, refused.status == http.StatusForbidden && code != CodeWrongPassword:
		return s.turnedDown(state, password, CauseLocked, "Apple refuses the sign-in, as it does for a locked account").
			with("unlock the account at iforgot.apple.com if it is locked, then sign in again")
	case code == CodeWrongPassword, refused.status == http.StatusUnauthorized:
		return s.turnedDown(state, password, CauseWrongPassword, "Apple turned the password down").
			with("sign in again with the password of the Apple Account; app-specific passwords do not work here")
	}
	e := refused.err()
	e.kind, e.sentinel, e.final = KindNeedsLogin, nil, true
	return e.because(CauseSessionOver).with("sign in again")
}

// turnedDown keeps what is not to be sent again: the password, or without one
// the trust token.
func (s *signer) turnedDown(state *SessionFile, password Secret, cause, why string) *Error {
	state.refuse(password, cause, why)
	return needsLogin(s.name, why).because(cause)
}
