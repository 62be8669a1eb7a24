// Package signin has the requests of a sign-in to an Apple Account, with a person
// present and without, and those that renew a session.
package signin

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/session"
	"plakar-icloud/librclone/backend/icloud/srp"
	"plakar-icloud/librclone/backend/icloud/transport"

	"github.com/google/uuid"
	"github.com/rclone/rclone/backend/iclouddrive/api"
)

// Signer renews the credentials of an account. rclone's api.Session provides
// the headers, so that Apple sees the same client here and at the first
// sign-in, which uses rclone's configuration questions.
type Signer struct {
	client *transport.Client
	name   string // of the account, for messages
}

// New returns a signer that sends its requests through a client. name is the
// name of the account in messages.
func New(client *transport.Client, name string) *Signer { return &Signer{client: client, name: name} }

// Renew is a session.SignInFunc. If it fails, state keeps its cookies, which may still
// be valid. The result of the sign-in, the proofs sent and the credentials
// rejected are stored in state.
func (s *Signer) Renew(ctx context.Context, state *session.File, password session.Secret, how session.Renewal, announce func(*session.File) error) error {
	attempt := state.Clone()
	var err error
	switch how {
	case session.RenewEndpoints:
		err = s.validate(ctx, &attempt)
	case session.RenewPCS:
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

func (s *Signer) signIn(ctx context.Context, state *session.File, password session.Secret, announce func(*session.File) error) error {
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
			err = apierr.Damaged("Apple's sign-in gave no session token")
		}
		if err != nil {
			return s.explain(state, password, sent, err)
		}
		if state.TrustToken != session.Secret(proof.TrustToken) { // Apple has renewed the trust
			state.TrustToken, state.TrustedAt, state.SignIns = session.Secret(proof.TrustToken), time.Now().UTC(), 0
		}
		state.SessionToken, state.Country = session.Secret(proof.SessionToken), proof.AccountCountry
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
		state.Refused, state.Proofs = session.Refusals{}, session.ProofLog{}
	} else { // the session token says nothing about the password
		state.Refused.TrustToken, state.Refused.Session, state.Refused.Token = "", "", ""
	}
	return nil
}

// prove proves to Apple that the password is known, without sending it.
// announce is called before the proof is sent; if it fails, the proof is not
// sent. A refusal by Apple is a *refusal.
func (s *Signer) prove(ctx context.Context, proof *api.Session, appleID string, password session.Secret, announce func() error) error {
	account := strings.ToLower(appleID) // it is part of the proof, in this form
	frame := "auth-" + proof.FrameID
	_, err := s.auth(ctx, proof, transport.Call{
		Method: http.MethodGet,
		Path:   "/authorize/signin",
		Params: url.Values{
			"frame_id": {frame}, "iframeId": {frame}, "state": {frame},
			"client_id": {proof.ClientID}, "redirect_uri": {hosts.HomeEndpoint},
			"response_type": {"code"}, "response_mode": {"web_message"},
			"language": {"en_US"}, "skVersion": {"7"}, "authVersion": {"latest"},
		},
	})
	if err != nil {
		return err
	}
	remember := url.Values{"isRememberMeEnabled": {"true"}}
	_, err = s.auth(ctx, proof, transport.Call{
		Method: http.MethodPost, Path: "/federate", Params: remember,
		Body: map[string]any{"accountName": account, "rememberMe": true},
	})
	if err != nil {
		return err
	}
	knowledge, err := srp.NewProof()
	if err != nil {
		return apierr.New(apierr.KindNetwork, "", "", "no random numbers").From(err)
	}
	body, err := s.auth(ctx, proof, transport.Call{
		Method: http.MethodPost, Path: "/signin/init",
		Body: map[string]any{
			"a":           base64.StdEncoding.EncodeToString(srp.Pad(knowledge.Public)),
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
	key, ok := srp.DeriveKey(string(password), challenge.Salt, challenge.Rounds, challenge.Protocol)
	if !ok {
		return signInDamaged()
	}
	m1, m2, ok := knowledge.Answer(account, key, challenge.Salt, challenge.B)
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
	_, err = s.auth(ctx, proof, transport.Call{
		Method: http.MethodPost, Path: proofPath, Params: remember,
		Body: map[string]any{
			"accountName": account,
			"m1":          base64.StdEncoding.EncodeToString(m1),
			"m2":          base64.StdEncoding.EncodeToString(m2),
			"c":           challenge.C,
			"rememberMe":  true,
			"trustTokens": trust,
		},
	})
	var refused *apierr.Refusal
	if errors.As(err, &refused) && refused.Status == http.StatusPreconditionFailed && AuthType(refused.Body) != "" {
		// An account without a second factor.
		_, err = s.auth(ctx, proof, transport.Call{Method: http.MethodPost, Path: repairPath, Body: map[string]any{}})
	}
	return err
}

// The requests whose responses say whether the password is right.
const (
	proofPath  = "/signin/complete"
	repairPath = "/repair/complete"
)

func signInDamaged() error {
	return apierr.Damaged("the challenge of Apple's sign-in is invalid")
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
func (s *Signer) auth(ctx context.Context, proof *api.Session, r transport.Call) ([]byte, error) {
	headers := proof.GetAuthHeaders(nil)
	if r.Method == http.MethodGet { // the first request, which rclone sends with these alone
		headers = map[string]string{"Accept": "*/*"}
	}
	r.SignIn = true
	resp, err := s.client.Do(ctx, r, hosts.AuthEndpoint, headers)
	var refused *apierr.Refusal
	if errors.As(err, &refused) {
		TakeHeaders(proof, refused.Header)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	TakeHeaders(proof, resp.Header)
	body, err := transport.ReadSmall(ctx, resp)
	if err != nil {
		return nil, err
	}
	// A failed proof may have the status of a success. The real status is then
	// in this header.
	if status, err := strconv.Atoi(resp.Header.Get("X-Apple-I-Rscd")); err == nil && status >= 400 && r.Path == proofPath {
		if status == http.StatusUnauthorized && apierr.ServiceErrorIn(body).Code == "" {
			body = []byte(`{"serviceErrors":[{"code":"` + apierr.CodeWrongPassword + `"}]}`) // the header is Apple's word for it
		}
		return nil, apierr.RefusalOf(status, body)
	}
	return body, nil
}

// TakeHeaders stores the headers of a response of the sign-in host in the
// session.
func TakeHeaders(session *api.Session, header http.Header) {
	for name, field := range map[string]*string{
		"scnt":                       &session.Scnt,
		"X-Apple-ID-Session-ID":      &session.SessionID,
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

// explain converts the error of a failed proof and stores the credentials that
// must not be used again, the password only if the proof was sent. Apple
// refuses with its own error codes. Any other response says nothing about the
// account, and if it is the response to a proof, the outcome of the proof is
// unknown.
func (s *Signer) explain(state *session.File, password session.Secret, sent bool, err error) error {
	var refused *apierr.Refusal
	if !errors.As(err, &refused) {
		return unclearIf(sent, err)
	}
	if e := s.elsewhere(refused.Elsewhere()); e != nil {
		return e
	}
	if !sent {
		password = ""
	}
	var said struct {
		SecurityKey json.RawMessage `json:"fsaChallenge"`
	}
	_ = json.Unmarshal(refused.Body, &said) // then it asks for none
	code := apierr.ServiceErrorIn(refused.Body).Code
	switch {
	case code == apierr.CodeLocked:
		return s.turnedDown(state, password, apierr.CauseLocked, "Apple refuses the sign-in, as it does for a locked account").
			Advise("unlock the account at iforgot.apple.com if it is locked, then sign in again")
	case refused.Kind() == apierr.KindThrottled, refused.Kind() == apierr.KindNetwork, code == apierr.CodeSessionOver:
		return unclearIf(sent, refused.Temporary())
	case sent && (code == apierr.CodeWrongPassword || code == "" && refused.Status == http.StatusUnauthorized):
		// Without a code it may be the response of another host, but if it is
		// Apple's, a second proof could lock the account.
		return s.turnedDown(state, password, apierr.CauseWrongPassword, "Apple rejected the password").
			Advise("sign in again with the password of the Apple Account; app-specific passwords do not work here")
	case code != "":
		return s.turnedDown(state, password, apierr.CauseSessionOver, "Apple refuses the sign-in ("+refused.Error()+", code "+shownCode(code)+")")
	case sent && refused.Status == http.StatusConflict && len(said.SecurityKey) > 0:
		return s.turnedDown(state, "", apierr.CauseSecurityKeys, "Apple no longer trusts this device and asks for a security key")
	case sent && refused.Status == http.StatusConflict && AuthType(refused.Body) != "":
		return s.turnedDown(state, "", apierr.CauseTrustOver, "Apple no longer trusts this device and asks for a code")
	}
	return unclearIf(sent, refused.Temporary())
}

// unclearIf marks a failure after which the outcome of a proof is unknown.
func unclearIf(sent bool, err error) error {
	var typed *apierr.Error
	if !sent || !errors.As(err, &typed) {
		return err
	}
	e := *typed
	e.Unclear, e.Doubtful = true, false
	e.Why = session.UnclearPrefix + e.Why
	return &e
}

// shownCode returns an error code of Apple for a message, if it has the form of
// one.
func shownCode(code string) string {
	return cmp.Or(apierr.PlainText(code), "of another form")
}

// turnedDown stores which credential must not be sent again: the password or,
// without one, the trust token.
func (s *Signer) turnedDown(state *session.File, password session.Secret, cause, why string) *apierr.Error {
	state.Refuse(password, cause, why)
	return session.NeedsLogin(s.name, why).Because(cause)
}
