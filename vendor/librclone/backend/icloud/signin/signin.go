// Package signin has the requests that sign in to an Apple Account, with or
// without a person present, and those that renew a session.
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

// Signer renews the credentials of an account. The headers of its requests come
// from rclone's api.Session, so that they are those of the same client as at the
// first sign-in.
type Signer struct {
	client *transport.Client
	name   string // of the account, in messages
}

// New returns a signer that sends its requests through a client. name is the
// name of the account in messages.
func New(client *transport.Client, name string) *Signer { return &Signer{client: client, name: name} }

// Renew is a session.SignInFunc. If it fails, state keeps its cookies, which may
// still be valid, unless Apple has named the other domain. The proofs that were sent
// and the credentials that were rejected are stored in state.
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
		domain := attempt.Domain
		attempt.Domain, attempt.Cookies, attempt.Endpoints = state.Domain, state.Cookies, state.Endpoints
		attempt.MoveTo(domain)
		attempt.RenewedAt, attempt.Protected = state.RenewedAt, state.Protected
	}
	*state = attempt
	return err
}

func (s *Signer) signIn(ctx context.Context, state *session.File, password session.Secret, announce func(*session.File) error) error {
	proof, err := s.tokens(ctx, state, password, announce)
	if err != nil {
		return err
	}
	before := state.Clone()
	err = s.accountLogin(ctx, proof, state)
	if domain := state.Domain; domain != before.Domain && password != "" && apierr.HasKind(err, apierr.KindNeedsLogin) {
		// The tokens of one domain are not valid in the other, so the password is
		// proven there. Apple has just accepted it, so this proof is not a guess.
		*state = before
		state.MoveTo(domain)
		if state.Proofs.Sent >= session.MaxProofs {
			return err
		}
		if proof, err = s.tokens(ctx, state, password, announce); err == nil {
			err = s.accountLogin(ctx, proof, state)
		}
	}
	if err != nil {
		return err
	}
	state.SignedInAt = time.Now().UTC()
	state.RenewedAt = state.SignedInAt
	state.SignIns++
	if state.Proofs.Accepted {
		state.Refused, state.Proofs = session.Refusals{}, session.ProofLog{}
	} else { // the session token does not prove the password
		state.Refused.TrustToken, state.Refused.Session, state.Refused.Token = "", "", ""
	}
	return nil
}

// tokens returns the tokens that begin a session: those that Apple gives for the
// password or, without one, those of state. It stores new ones in state.
func (s *Signer) tokens(ctx context.Context, state *session.File, password session.Secret, announce func(*session.File) error) (*api.Session, error) {
	proof := &api.Session{
		ClientID:   state.ClientID,
		TrustToken: string(state.TrustToken),
		FrameID:    strings.ToLower(uuid.NewString()),
	}
	if password == "" {
		proof.SessionToken, proof.AccountCountry = string(state.SessionToken), state.Country
		return proof, nil
	}
	sent := false
	err := s.prove(ctx, state.Domain, proof, state.AppleID, password, func() error {
		err := announce(state)
		sent = err == nil
		return err
	})
	if err == nil && proof.SessionToken == "" {
		err = apierr.Damaged("Apple's sign-in gave no session token")
	}
	if err != nil {
		return nil, s.explain(state, password, sent, err)
	}
	if state.TrustToken != session.Secret(proof.TrustToken) { // Apple has renewed the trust
		state.TrustToken, state.TrustedAt, state.SignIns = session.Secret(proof.TrustToken), time.Now().UTC(), 0
	}
	state.SessionToken, state.Country = session.Secret(proof.SessionToken), proof.AccountCountry
	state.Refused.Token = ""
	state.Proofs.Open, state.Proofs.Accepted = false, true
	return proof, nil
}

// prove proves to Apple, at a domain, that the password is known, without sending it.
// announce is called before the proof is sent; if it fails, the proof is not
// sent. For a refusal by Apple, the error is an *apierr.Refusal.
func (s *Signer) prove(ctx context.Context, at hosts.Domain, proof *api.Session, appleID string, password session.Secret, announce func() error) error {
	account := strings.ToLower(appleID) // the proof contains it in this form
	client := srp.NewClient()
	challenge, err := s.challenge(ctx, at, proof, account, client.Public())
	if err != nil {
		return err
	}
	key, ok := srp.DeriveKey(string(password), challenge.Salt, challenge.Rounds, challenge.Protocol)
	if !ok {
		return invalidChallenge()
	}
	m1, m2, ok := client.Prove(account, key, challenge.Salt, challenge.B)
	if !ok {
		return invalidChallenge()
	}
	if err := announce(); err != nil {
		return err
	}
	trust := []string{}
	if proof.TrustToken != "" {
		trust = append(trust, proof.TrustToken)
	}
	_, err = s.auth(ctx, at, proof, transport.Call{
		Method: http.MethodPost, Path: proofPath, Params: rememberMe,
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
		// The account has no second factor.
		_, err = s.auth(ctx, at, proof, transport.Call{Method: http.MethodPost, Path: repairPath, Body: map[string]any{}})
	}
	return err
}

// challenge is Apple's challenge to prove that a password is known.
type challenge struct {
	Rounds   int    `json:"iteration"`
	Salt     []byte `json:"salt"` // encoding/json decodes the base64
	Protocol string `json:"protocol"`
	B        []byte `json:"b"`
	C        string `json:"c"`
}

// challenge requests the challenge for an account at a domain. public is the public
// value of the client.
func (s *Signer) challenge(ctx context.Context, at hosts.Domain, proof *api.Session, account string, public []byte) (*challenge, error) {
	frame := "auth-" + proof.FrameID
	_, err := s.auth(ctx, at, proof, transport.Call{
		Method: http.MethodGet,
		Path:   "/authorize/signin",
		Params: url.Values{
			"frame_id": {frame}, "iframeId": {frame}, "state": {frame},
			"client_id": {proof.ClientID}, "redirect_uri": {at.At(hosts.HomeEndpoint)},
			"response_type": {"code"}, "response_mode": {"web_message"},
			"language": {"en_US"}, "skVersion": {"7"}, "authVersion": {"latest"},
		},
	})
	if err != nil {
		return nil, err
	}
	_, err = s.auth(ctx, at, proof, transport.Call{
		Method: http.MethodPost, Path: "/federate", Params: rememberMe,
		Body: map[string]any{"accountName": account, "rememberMe": true},
	})
	if err != nil {
		return nil, err
	}
	body, err := s.auth(ctx, at, proof, transport.Call{
		Method: http.MethodPost, Path: "/signin/init",
		Body: map[string]any{
			"a":           base64.StdEncoding.EncodeToString(public),
			"accountName": account,
			"protocols":   []string{"s2k", "s2k_fo"},
		},
	})
	if err != nil {
		return nil, err
	}
	var response challenge
	if json.Unmarshal(body, &response) != nil {
		return nil, invalidChallenge()
	}
	return &response, nil
}

// rememberMe contains the parameters of a request for a lasting session. It is read-only.
var rememberMe = url.Values{"isRememberMeEnabled": {"true"}}

// The requests whose responses show whether the password is right.
const (
	proofPath  = "/signin/complete"
	repairPath = "/repair/complete"
)

func invalidChallenge() error {
	return apierr.Damaged("the challenge of Apple's sign-in is invalid")
}

// AuthType returns the kind of sign-in of an account from Apple's response to a
// proof. It returns "" if the response has none, such as a response that is not Apple's.
func AuthType(body []byte) string {
	var resp struct {
		Type  string          `json:"authType"`
		Other string          `json:"authenticationType"`
		Key   json.RawMessage `json:"fsaChallenge"`
	}
	_ = json.Unmarshal(body, &resp)
	switch {
	case resp.Type != "":
		return resp.Type
	case resp.Other != "":
		return resp.Other
	case len(resp.Key) > 0:
		return "hsa2"
	}
	return ""
}

// auth sends one request of a sign-in and stores the headers of the response,
// which the next request needs. It stores those of a refusal, too, because the
// request for the second factor has the status of one. The cookies of this host are ignored:
// they are not part of an iCloud session, and rclone's client does not send them.
func (s *Signer) auth(ctx context.Context, at hosts.Domain, proof *api.Session, r transport.Call) ([]byte, error) {
	headers := at.Headers(proof.GetAuthHeaders(nil))
	if r.Method == http.MethodGet { // the first request, which rclone sends with these alone
		headers = map[string]string{"Accept": "*/*"}
	}
	r.SignIn = true
	resp, err := s.client.Do(ctx, r, at.At(hosts.AuthEndpoint), headers)
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
	// The response to a failed proof may have the status of a success. Then this
	// header has the real status.
	if status, err := strconv.Atoi(resp.Header.Get("X-Apple-I-Rscd")); err == nil && status >= 400 && r.Path == proofPath {
		if status == http.StatusUnauthorized && apierr.ServiceErrorIn(body).Code == "" {
			body = []byte(`{"serviceErrors":[{"code":"` + apierr.CodeWrongPassword + `"}]}`) // the header alone means this
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

// explain converts the error of a failed proof, and stores in state the
// credentials that must not be used again. The password is only stored if the
// proof was sent. A refusal with one of Apple's error codes is definite. Any other
// response is not about the account, and if it follows a proof, the outcome
// of the proof is unknown.
func (s *Signer) explain(state *session.File, password session.Secret, sent bool, err error) error {
	var refused *apierr.Refusal
	if !errors.As(err, &refused) {
		return unclearIf(sent, err)
	}
	if named := refused.Elsewhere(); named != "" {
		to, known := hosts.DomainOf(named)
		if !known || to == state.Domain {
			return s.unusable(named)
		}
		state.MoveTo(to) // for the next attempt
		return unclearIf(sent, refused.Temporary())
	}
	if !sent {
		password = ""
	}
	var resp struct {
		SecurityKey json.RawMessage `json:"fsaChallenge"`
	}
	_ = json.Unmarshal(refused.Body, &resp) // if this fails, Apple does not ask for a key
	code := apierr.ServiceErrorIn(refused.Body).Code
	switch {
	case code == apierr.CodeLocked:
		return s.turnedDown(state, password, apierr.CauseLocked, "Apple refuses the sign-in, as it does for a locked account")
	case refused.Kind() == apierr.KindThrottled, refused.Kind() == apierr.KindNetwork, code == apierr.CodeSessionOver:
		return unclearIf(sent, refused.Temporary())
	case sent && (code == apierr.CodeWrongPassword || code == "" && refused.Status == http.StatusUnauthorized):
		// Without a code it may be the response of another host, but if it is
		// Apple's, a second proof could lock the account.
		return s.turnedDown(state, password, apierr.CauseWrongPassword, "Apple rejected the password")
	case code != "":
		return s.turnedDown(state, password, apierr.CauseSessionOver, "Apple refuses the sign-in ("+refused.Error()+", code "+shownCode(code)+")")
	case sent && refused.Status == http.StatusConflict && len(resp.SecurityKey) > 0:
		return s.turnedDown(state, "", apierr.CauseSecurityKeys, "Apple no longer trusts this device and asks for a security key")
	case sent && refused.Status == http.StatusConflict && AuthType(refused.Body) != "":
		return s.turnedDown(state, "", apierr.CauseTrustOver, "Apple no longer trusts this device and asks for a code")
	}
	return unclearIf(sent, refused.Temporary())
}

// unclearIf marks err as the failure of a proof of unknown outcome, if a proof
// was sent.
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

// shownCode returns an error code of Apple for a message. A code of an unexpected
// form is not shown.
func shownCode(code string) string {
	return cmp.Or(apierr.PlainText(code), "of another form")
}

// turnedDown stores that Apple rejected the password or, if that is empty, the
// trust token, and returns the error.
func (s *Signer) turnedDown(state *session.File, password session.Secret, cause, why string) *apierr.Error {
	state.Refuse(password, cause, why)
	return session.SignInRefused(s.name, cause, why)
}
