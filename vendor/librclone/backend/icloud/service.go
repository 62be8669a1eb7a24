package icloud

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/rclone/rclone/fs/fshttp"
	"github.com/rclone/rclone/lib/rest"
)

// service sends the requests of one Apple Account: with its session, at its
// pace, each repeated for what it is.
type service struct {
	http    *rest.Client
	session *session
	limiter *limiter
	retries retries
	zones   zones
}

// largestAnswer bounds what is read of an answer, in bytes. A listing takes
// about 600 bytes an item and comes in one piece.
const largestAnswer = 1 << 30

// largestRefusal bounds what is read of the body of a failed call, in bytes.
const largestRefusal = 64 << 10

// userAgent is the browser that rclone's client says to be.
var userAgent = api.GetCommonHeaders(nil)["User-Agent"]

// newHTTPClient has rclone's proxy, certificate and timeout settings.
func newHTTPClient(ctx context.Context) *http.Client {
	client := fshttp.NewClient(ctx)
	if transport, ok := client.Transport.(*fshttp.Transport); ok {
		transport.SetRequestFilter(func(req *http.Request) {
			req.Header.Set("User-Agent", userAgent)
		})
	}
	return client
}

func newRESTClient(client *http.Client) *rest.Client {
	return rest.NewClient(client).SetErrorHandler(func(resp *http.Response) error {
		return newRefusal(resp)
	})
}

// refusal is an answer with a status that is no success.
type refusal struct {
	status     int
	code       string // of the service for the reason
	reason     string // a short text of the service, safe to show
	retryAfter time.Duration
	location   string // where it sends on to
	body       []byte
}

func (r *refusal) Error() string {
	text := "the service answered " + strconv.Itoa(r.status)
	if r.reason != "" {
		text += " (" + r.reason + ")"
	}
	return text
}

func newRefusal(resp *http.Response) *refusal {
	defer func() { _ = resp.Body.Close() }()
	r := &refusal{status: resp.StatusCode, retryAfter: retryAfter(resp.Header, time.Now())}
	if to, err := resp.Location(); err == nil {
		r.location = to.String()
	}
	r.body, _ = io.ReadAll(io.LimitReader(resp.Body, largestRefusal)) // what cannot be read explains nothing
	r.reason = reasonIn(r.body)
	var said struct {
		Code string `json:"serverErrorCode"`
	}
	if json.Unmarshal(r.body, &said) == nil {
		r.code = said.Code
	}
	return r
}

// plainText is text that can hold neither an address nor a token.
var plainText = regexp.MustCompile(`^[A-Za-z0-9_.,:'()-]{1,28}(?: [A-Za-z0-9_.,:'()-]{1,28}){0,19}$`)

// reasonIn finds the words of the service for a failure.
func reasonIn(body []byte) string {
	var said struct {
		Reason       string `json:"reason"`
		ErrorReason  string `json:"errorReason"`
		ErrorMessage string `json:"error_message"`
		Error        any    `json:"error"`
	}
	if json.Unmarshal(body, &said) != nil {
		return ""
	}
	text, _ := said.Error.(string)
	for _, candidate := range []string{said.Reason, said.ErrorReason, said.ErrorMessage, text} {
		if candidate != "" && plainText.MatchString(candidate) {
			return candidate
		}
	}
	return ""
}

// retryAfter reads the header of that name: seconds or a date.
func retryAfter(header http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		return max(0, time.Duration(seconds)*time.Second)
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// Codes and texts of the service, as people have seen them.
const (
	codeZoneBusy  = "ZONE_BUSY"
	textZoneBusy  = "Op-Lock"
	codeNameTaken = "UNIQUE_FIELD_ERROR"
	textNameTaken = "Uniqueness constraint"
)

// busy reports whether the call was turned away because of another write to the
// same zone; nothing was done then.
func (r *refusal) busy() bool {
	return r.status == http.StatusConflict && (r.code == codeZoneBusy || strings.Contains(r.reason, textZoneBusy))
}

// kind is what the status means on the API hosts.
func (r *refusal) kind() string {
	switch {
	case r.busy():
		return KindThrottled
	case r.code == codeNameTaken, strings.Contains(r.reason, textNameTaken):
		return KindExists
	}
	switch r.status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return KindThrottled
	case http.StatusUnauthorized, http.StatusMisdirectedRequest, http.StatusLocked:
		return KindNeedsLogin
	case http.StatusForbidden:
		return KindDenied
	case http.StatusNotFound, http.StatusGone:
		return KindNotFound
	case http.StatusConflict, http.StatusPreconditionFailed:
		return KindChanged
	case http.StatusRequestEntityTooLarge, http.StatusInsufficientStorage:
		return KindQuota
	}
	if strings.Contains(strings.ToLower(r.reason), "quota") {
		return KindQuota
	}
	if r.status >= 500 || r.status == http.StatusRequestTimeout {
		return KindNetwork
	}
	return KindUnsupported
}

func (r *refusal) err() *Error {
	e := fail(r.kind(), "", "", "").is(sentinels[r.kind()])
	e.why = r.Error()
	e.retryAfter = r.retryAfter
	e.busy = r.busy()
	if e.kind == KindQuota {
		e.advice = "free some space in iCloud or extend the storage plan"
	}
	return e
}

// The hosts of the service, under their names in an account's list.
const (
	driveHost = api.WsDrive
	docsHost  = api.WsDocs
	setupHost = "setup"
)

// request is one call to the API.
type request struct {
	host    string // "" for the requests of a sign-in
	method  string
	path    string
	params  url.Values
	body    any
	zone    string // that it writes to, "" when it only reads
	repeats bool   // doing it twice does no harm, so an answer lost or unreadable is asked for again
	tries   int    // fewer than usual, when set
}

// fetch performs a request and checks its answer. An answer that check refuses
// is treated like one that cannot be read.
func fetch[T any](ctx context.Context, s *service, r request, check func(*T) error) (*T, error) {
	allowed := s.retries
	if r.tries > 0 {
		allowed.tries = min(allowed.tries, r.tries)
	}
	for try := 1; ; try++ {
		answer := new(T)
		err := s.send(ctx, r, answer)
		if err == nil && check != nil {
			err = check(answer)
		}
		if err == nil {
			return answer, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !r.worthRepeating(err) {
			return nil, err
		}
		wait, ok := allowed.forError(err).pause(try+1, retryAfterOf(err))
		if !ok {
			return nil, err
		}
		if err := sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
}

func retryAfterOf(err error) time.Duration {
	var typed *Error
	if errors.As(err, &typed) {
		return typed.retryAfter
	}
	return 0
}

// worthRepeating: a call that was turned away was not carried out; after any
// other failure that passes, only calls that may be repeated are.
func (r request) worthRepeating(err error) bool {
	if isFinal(err) {
		return false
	}
	switch KindOf(err) {
	case KindThrottled:
		return true
	case KindNetwork, KindDamaged:
		return r.repeats
	}
	return false
}

// outcomeUnknown reports whether a call that failed so may have been carried out.
func outcomeUnknown(err error) bool {
	if isFinal(err) {
		return false
	}
	switch KindOf(err) {
	case KindNetwork, KindDamaged:
		return true
	}
	return false
}

// mostRenewals is how many renewals one call waits for: what another process
// has renewed, new cookies for protected data, and a sign-in.
const mostRenewals = 3

// send performs a request once, and once more for each renewal of the session
// that it needs.
func (s *service) send(ctx context.Context, r request, answer any) error {
	for renewals := 0; ; renewals++ {
		access, err := s.session.access(ctx)
		if err != nil {
			return err
		}
		root, err := access.root(r.host)
		if err != nil {
			return err
		}
		leave, err := s.zones.enter(ctx, r.zone)
		if err != nil {
			return err
		}
		err = s.exchange(ctx, r, root, access.cookieHeader(), answer)
		leave()
		var refused *refusal
		if !errors.As(err, &refused) {
			if err == nil {
				s.session.proven(access)
			}
			return err
		}
		if refused.kind() != KindNeedsLogin {
			if refused.busy() {
				s.zones.crowded(r.zone)
			}
			s.session.proven(access)
			return refused.err()
		}
		if renewals == mostRenewals {
			return needsLogin(s.session.name, "iCloud refuses this call with every session ("+refused.Error()+")")
		}
		if err := s.session.renew(ctx, access, refused.status); err != nil {
			return err
		}
	}
}

// exchange sends a request and reads its answer. A status that is no success is
// returned as a *refusal.
func (s *service) exchange(ctx context.Context, r request, root, cookies string, answer any) error {
	headers := api.GetCommonHeaders(map[string]string{"Cookie": cookies})
	resp, err := s.roundTrip(ctx, r, root, headers)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	s.session.merge(resp.Cookies())
	return decode(ctx, resp, answer)
}

// roundTrip takes one turn at the limiter and returns the answer with its body
// open, or the refusal.
func (s *service) roundTrip(ctx context.Context, r request, root string, headers map[string]string) (*http.Response, error) {
	opts := rest.Opts{
		Method:       r.method,
		RootURL:      root,
		Path:         r.path,
		Parameters:   r.params,
		ExtraHeaders: headers,
		NoRedirect:   true,
	}
	if r.body != nil {
		body, err := json.Marshal(r.body)
		if err != nil {
			return nil, fail(KindUnsupported, "", "", "the request cannot be written").from(err)
		}
		opts.Body = bytes.NewReader(body)
	} else if r.method == http.MethodPost {
		var none int64
		opts.ContentLength = &none
	}
	if err := s.limiter.begin(ctx, s.retries.longest); err != nil {
		return nil, err
	}
	resp, err := s.http.Call(ctx, &opts)
	if err != nil {
		s.limiter.end()
	}
	var refused *refusal
	switch {
	case err == nil:
		s.limiter.accepted()
		resp.Body = &slotBody{ReadCloser: resp.Body, limiter: s.limiter}
		return resp, nil
	case errors.As(err, &refused):
		if refused.kind() == KindThrottled && !refused.busy() && r.host != "" { // sign-ins keep a time of their own
			s.limiter.refused(refused.retryAfter)
		}
		return nil, refused
	default:
		return nil, transportError(ctx, hostOf(root), err)
	}
}

// slotBody holds the place of a call until its answer has been read.
type slotBody struct {
	io.ReadCloser
	limiter *limiter
	once    sync.Once
}

// Close implements io.Closer.
func (b *slotBody) Close() error {
	defer b.once.Do(b.limiter.end)
	return b.ReadCloser.Close()
}

// decode reads the JSON of an answer.
func decode(ctx context.Context, resp *http.Response, answer any) error {
	limited := &io.LimitedReader{R: resp.Body, N: largestAnswer}
	err := json.NewDecoder(limited).Decode(answer)
	if err == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, largestRefusal)) // so that the connection can be used again
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var syntax *json.SyntaxError
	var wrongType *json.UnmarshalTypeError
	switch {
	case limited.N <= 0:
		return fail(KindDamaged, "", "", "an answer without an end")
	case errors.As(err, &syntax), errors.As(err, &wrongType), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fail(KindDamaged, "", "", "an answer of "+hostOf(resp.Request.URL.String())+" is not what it should be").
			with("if this goes on, something between here and iCloud changes answers, such as a proxy or a sign-in page of the network")
	default:
		return transportError(ctx, resp.Request.URL.Host, err)
	}
}

func hostOf(address string) string {
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		return u.Hostname()
	}
	return "the service"
}

// damaged is a check's complaint about an answer.
func damaged(why string) error { return fail(KindDamaged, "", "", why) }

// readSmall reads the body of an answer that is known to be short.
func readSmall(ctx context.Context, resp *http.Response) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, largestRefusal))
	if err != nil {
		return nil, transportError(ctx, hostOf(resp.Request.URL.String()), err)
	}
	return body, nil
}
