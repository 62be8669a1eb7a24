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

// The hosts of an account that are known beforehand.
const (
	setupEndpoint = "https://setup.icloud.com/setup/ws/1"
	homeEndpoint  = "https://www.icloud.com"

	// AuthEndpoint is the address at which the password of a sign-in is proven.
	AuthEndpoint = "https://idmsa.apple.com/appleauth/auth"
)

// signer renews the credentials of an account. rclone's api.Session provides
// the headers, so that Apple sees the same client here and at the first
// sign-in, which uses rclone's configuration questions.
type signer struct {
	service *service // its client and limiter; it has no session yet
	name    string
}

// renew is a signInFunc. If it fails, state keeps its cookies, which may still
// be valid. The result of the sign-in, the proofs sent and the credentials
// rejected are stored in state.
func (s *signer) renew(ctx context.Context, state *SessionFile, password Secret, how renewal, announce func(*SessionFile) error) error {
	attempt := state.clone()
	var err error
	switch how {
	case renewEndpoints:
		err = s.validate(ctx, &attempt)
	case renewPCS:
		err = s.requestPCS(ctx, &attempt)
	default:
		attempt.Cookies, attempt.Endpoints = nil, nil
		err = s.signIn(ctx, &attempt, password, announce)
	}
	if err != nil {
		attempt.Cookies, attempt.Endpoints = state.Cookies, state.Endpoints
		attempt.RenewedAt, attempt.Protected = state.RenewedAt, state.Protected
	}
	*state = attempt
	return err
}

func (s *signer) signIn(ctx context.Context, state *SessionFile, password Secret, announce func(*SessionFile) error) error {
	proof := &api.Session{
		ClientID:   state.ClientID,
		TrustToken: string(state.TrustToken),
		FrameID:    strings.ToLower(uuid.NewString()),
	}
	if password == "" {
		proof.SessionToken, proof.AccountCountry = string(state.SessionToken), state.Country
	} else {
		sent := false
		err := s.prove(ctx, proof, state.AppleID, password, func() error {
			err := announce(state)
			sent = err == nil
			return err
		})
		if err == nil && proof.SessionToken == "" {
			err = damaged("Apple's sign-in gave no session token")
		}
		if err != nil {
			return s.explain(state, password, sent, err)
		}
		if state.TrustToken != Secret(proof.TrustToken) { // Apple has renewed the trust
			state.TrustToken, state.TrustedAt, state.SignIns = Secret(proof.TrustToken), time.Now().UTC(), 0
		}
		state.SessionToken, state.Country = Secret(proof.SessionToken), proof.AccountCountry
		state.Refused.Token = ""
		state.Proofs.Open, state.Proofs.Accepted = false, true
	}
	if err := s.accountLogin(ctx, proof, state); err != nil {
		return err
	}
	state.SignedInAt = time.Now().UTC()
	state.RenewedAt = state.SignedInAt
	state.SignIns++
	if state.Proofs.Accepted {
		state.Refused, state.Proofs = Refusals{}, ProofLog{}
	} else { // the session token says nothing about the password
		state.Refused.TrustToken, state.Refused.Session, state.Refused.Token = "", "", ""
	}
	return nil
}

// prove proves to Apple that the password is known, without sending it.
// announce is called before the proof is sent; if it fails, the proof is not
// sent. A refusal by Apple is a *refusal.
func (s *signer) prove(ctx context.Context, proof *api.Session, appleID string, password Secret, announce func() error) error {
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
	if err := announce(); err != nil {
		return err
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
	if errors.As(err, &refused) && refused.status == http.StatusPreconditionFailed && AuthType(refused.body) != "" {
		// An account without a second factor.
		_, err = s.auth(ctx, proof, request{method: http.MethodPost, path: repairPath, body: map[string]any{}})
	}
	return err
}

// The requests whose responses say whether the password is right.
const (
	proofPath  = "/signin/complete"
	repairPath = "/repair/complete"
)

func signInDamaged() error {
	return damaged("the challenge of Apple's sign-in is not what it should be")
}

// AuthType returns the kind of sign-in that an account uses, from Apple's
// response to a proof, or "" if the response is not Apple's.
func AuthType(body []byte) string {
	var said struct {
		Type  string          `json:"authType"`
		Other string          `json:"authenticationType"`
		Key   json.RawMessage `json:"fsaChallenge"`
	}
	_ = json.Unmarshal(body, &said)
	switch {
	case said.Type != "":
		return said.Type
	case said.Other != "":
		return said.Other
	case len(said.Key) > 0:
		return "hsa2"
	}
	return ""
}

// auth sends one request of a sign-in and stores the headers that the next one
// needs, even from a refusal, because the second factor follows one. The
// cookies of this host are not part of an iCloud session, and rclone's client
// does not send them.
func (s *signer) auth(ctx context.Context, proof *api.Session, r request) ([]byte, error) {
	headers := proof.GetAuthHeaders(nil)
	if r.method == http.MethodGet { // the first request, which rclone sends with these alone
		headers = map[string]string{"Accept": "*/*"}
	}
	resp, err := s.service.roundTrip(ctx, r, AuthEndpoint, headers)
	var refused *refusal
	if errors.As(err, &refused) {
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
	// A failed proof may have the status of a success. The real status is then
	// in this header.
	if status, err := strconv.Atoi(resp.Header.Get("X-Apple-I-Rscd")); err == nil && status >= 400 && r.path == proofPath {
		if status == http.StatusUnauthorized && ServiceErrorIn(body).Code == "" {
			body = []byte(`{"serviceErrors":[{"code":"` + CodeWrongPassword + `"}]}`) // the header is Apple's word for it
		}
		return nil, &refusal{status: status, reason: reasonIn(body), body: body}
	}
	return body, nil
}

// TakeHeaders stores the headers of a response of the sign-in host in the
// session.
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

// Error codes of Apple's sign-in (from the threads that user reports link to).
const (
	CodeWrongPassword = "-20101"
	CodeLocked        = "-20209"
	CodeWrongCode     = "-21669"
	CodeTooManyCodes  = "-21674"
	CodeSessionOver   = "-20528" // the sign-in itself took too long
)

// ServiceError is an error of Apple's sign-in.
type ServiceError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// ServiceErrorIn returns the first error in a response. It is empty if there is
// none; then the status decides.
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

// explain converts the error of a failed proof and stores the credentials that
// must not be used again, the password only if the proof was sent. Apple
// refuses with its own error codes. Any other response says nothing about the
// account, and if it is the response to a proof, the outcome of the proof is
// unknown.
func (s *signer) explain(state *SessionFile, password Secret, sent bool, err error) error {
	var refused *refusal
	if !errors.As(err, &refused) {
		return unclearIf(sent, err)
	}
	if e := s.elsewhere(refused.elsewhere()); e != nil {
		return e
	}
	if !sent {
		password = ""
	}
	var said struct {
		SecurityKey json.RawMessage `json:"fsaChallenge"`
	}
	_ = json.Unmarshal(refused.body, &said) // then it asks for none
	code := ServiceErrorIn(refused.body).Code
	switch {
	case code == CodeLocked:
		return s.turnedDown(state, password, CauseLocked, "Apple refuses the sign-in, as it does for a locked account").
			with("unlock the account at iforgot.apple.com if it is locked, then sign in again")
	case refused.kind() == KindThrottled, refused.kind() == KindNetwork, code == CodeSessionOver:
		return unclearIf(sent, refused.passing())
	case sent && code == CodeWrongPassword:
		return s.turnedDown(state, password, CauseWrongPassword, "Apple turned the password down").
			with("sign in again with the password of the Apple Account; app-specific passwords do not work here")
	case code != "":
		return s.turnedDown(state, password, CauseSessionOver, "Apple refuses the sign-in ("+refused.Error()+", code "+shownCode(code)+")")
	case sent && refused.status == http.StatusConflict && len(said.SecurityKey) > 0:
		return s.turnedDown(state, "", CauseSecurityKeys, "Apple no longer trusts this device and asks for a security key")
	case sent && refused.status == http.StatusConflict && AuthType(refused.body) != "":
		return s.turnedDown(state, "", CauseTrustOver, "Apple no longer trusts this device and asks for a code")
	}
	return unclearIf(sent, refused.passing())
}

// unclearIf marks a failure after which the outcome of a proof is unknown.
func unclearIf(sent bool, err error) error {
	var typed *Error
	if !sent || !errors.As(err, &typed) {
		return err
	}
	e := *typed
	e.unclear, e.doubtful = true, false
	e.why = unclearPrefix + e.why
	return &e
}

// shownCode returns an error code of Apple for a message, if it has the form of
// one.
func shownCode(code string) string {
	if plainText.MatchString(code) {
		return code
	}
	return "of another form"
}

// turnedDown stores which credential must not be sent again: the password or,
// without one, the trust token.
func (s *signer) turnedDown(state *SessionFile, password Secret, cause, why string) *Error {
	state.refuse(password, cause, why)
	return needsLogin(s.name, why).because(cause)
}
