package icloud

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/rclone/rclone/fs/fshttp"
	"github.com/rclone/rclone/lib/rest"
)

// service sends the requests of one Apple Account, with its session and its
// limiter, and retries each request according to its kind.
type service struct {
	http     *rest.Client
	parallel *rest.Client // for parts of contents, each over a connection of its own
	session  *session
	limiter  *limiter
	retries  retries
	zones    zones
}

// largestAnswer is how many bytes of a response are read. A listing takes about
// 600 bytes for each item and is one response.
const largestAnswer = 1 << 30

// userAgent is the browser that rclone's client identifies as.
var userAgent = api.GetCommonHeaders(nil)["User-Agent"]

// newHTTPClient returns a client with rclone's proxy, certificate and timeout
// settings. It cancels requests on which no byte moves for longer than silence.
func newHTTPClient(ctx context.Context, silence time.Duration, outages *outages) *http.Client {
	return customHTTPClient(ctx, silence, outages, nil)
}

// newParallelClient returns the same client with HTTP/1.1 only, so that
// concurrent requests use separate connections.
func newParallelClient(ctx context.Context, silence time.Duration, outages *outages) *http.Client {
	return customHTTPClient(ctx, silence, outages, func(transport *http.Transport) {
		transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	})
}

func customHTTPClient(ctx context.Context, silence time.Duration, outages *outages, customize func(*http.Transport)) *http.Client {
	client := fshttp.NewClientCustom(ctx, customize)
	if transport, ok := client.Transport.(*fshttp.Transport); ok {
		transport.SetRequestFilter(func(req *http.Request) {
			req.Header.Set("User-Agent", userAgent)
		})
	}
	if silence > 0 {
		client.Transport = &attentive{next: client.Transport, silence: silence}
	}
	client.Transport = &observer{next: client.Transport, outages: outages}
	return client
}

func newRESTClient(client *http.Client) *rest.Client {
	return rest.NewClient(client).SetErrorHandler(func(resp *http.Response) error {
		return newRefusal(resp)
	})
}

// The hosts of the service, by their names in the list of an account.
const (
	driveHost = api.WsDrive
	docsHost  = api.WsDocs
	setupHost = "setup"
)

// request is one call to the API.
type request struct {
	host        string // "" for the requests of a sign-in
	method      string
	path        string
	params      url.Values
	body        any
	contentType string // of the body, if it is not the usual one
	zone        string // that it writes to, "" when it only reads
	repeats     bool   // doing it twice does no harm, so an answer lost or unreadable is asked for again

	believed bool // what the service says is wrong is taken at its word, soon
}

// believedTries is how often a call is sent that is assumed to be wrong if the
// service fails at it.
const believedTries = 2

// fetch performs a request and checks its response. A response that check
// refuses is treated like one that cannot be decoded.
func fetch[T any](ctx context.Context, s *service, r request, check func(*T) error) (*T, error) {
	for try := 1; ; try++ {
		answer := new(T)
		err := s.send(withTry(ctx, try), r, answer)
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
		if r.believed && isAnswered(err) && !hasKind(err, KindThrottled) && try >= believedTries {
			return nil, err
		}
		if err := s.retries.wait(ctx, try+1, err); err != nil {
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

// worthRepeating reports whether a call is worth repeating. A refused call was
// not carried out. After any other temporary failure, only calls that may be
// repeated are.
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
	return r.repeats && isDoubtful(err) && !r.believed
}

// outcomeUnknown reports whether a call that failed in this way may have been
// carried out, or may be when it is repeated.
func outcomeUnknown(err error) bool {
	if isFinal(err) {
		return false
	}
	switch KindOf(err) {
	case KindNetwork, KindDamaged:
		return true
	}
	return isDoubtful(err)
}

// mostRenewals is the maximum number of renewals that one call waits for: new
// cookies for protected data, a sign-in, Apple's confirmation that the session
// is valid, and as many again by other calls and other processes.
const mostRenewals = 6

// send performs a request, and repeats it after each renewal of the session
// that it needs.
func (s *service) send(ctx context.Context, r request, answer any) error {
	done := new(attempts)
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
		err = s.exchange(ctx, r, root, access, answer)
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
			if refused.status < 500 && refused.kind() != KindThrottled && refused.kind() != KindDenied {
				s.session.proven(access)
			}
			return refused.err()
		}
		if renewals == mostRenewals {
			return refusedAlways(refused.status)
		}
		done.status = refused.status
		if err := s.session.renew(ctx, access.generation, done); err != nil {
			return err
		}
	}
}

// exchange sends a request and reads its response. A status other than success
// is returned as a *refusal.
func (s *service) exchange(ctx context.Context, r request, root string, access *access, answer any) error {
	headers := api.GetCommonHeaders(map[string]string{"Cookie": access.cookieHeader()})
	if r.contentType != "" {
		headers["Content-Type"] = r.contentType
	}
	resp, err := s.roundTrip(ctx, r, root, headers)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	s.session.merge(access, resp.Cookies())
	return decode(ctx, resp, answer)
}

// roundTrip waits for the limiter and returns the response with its body open,
// or the refusal.
func (s *service) roundTrip(ctx context.Context, r request, root string, headers map[string]string) (*http.Response, error) {
	opts := rest.Opts{
		Method:       r.method,
		RootURL:      root,
		Path:         r.path,
		Parameters:   r.params,
		ExtraHeaders: headers,
		NoRedirect:   true,
	}
	var body []byte
	if r.body != nil {
		var err error
		if body, err = json.Marshal(r.body); err != nil {
			return nil, fail(KindUnsupported, "", "", "the request cannot be written").from(err)
		}
	} else if r.method == http.MethodPost {
		var none int64
		opts.ContentLength = &none
	}
	mine, err := s.limiter.begin(ctx, s.retries.longest)
	if err != nil {
		return nil, err
	}
	resp, err := s.follow(ctx, &opts, body)
	if err != nil {
		defer s.limiter.end(mine)
	}
	var refused *refusal
	switch {
	case err == nil:
		s.limiter.accepted()
		resp.Body = &slotBody{ReadCloser: resp.Body, limiter: s.limiter, turn: mine}
		return resp, nil
	case errors.As(err, &refused):
		if refused.kind() == KindThrottled && !refused.busy() && r.host != "" { // sign-ins keep a time of their own
			s.limiter.refused(mine, refused.retryAfter)
		}
		return nil, refused
	default:
		return nil, transportError(ctx, hostOf(root), err)
	}
}

// follow sends a request to the address that the service redirects it to.
// rclone's client does so too, but follow keeps the method, where rclone's
// makes a GET of a POST after a 302, and stays within the domain of the
// request, because the request contains the secrets of that domain.
func (s *service) follow(ctx context.Context, opts *rest.Opts, body []byte) (*http.Response, error) {
	for hop := 0; ; hop++ {
		if body != nil {
			opts.Body = bytes.NewReader(body)
		}
		resp, err := s.http.Call(ctx, opts)
		var refused *refusal
		if !errors.As(err, &refused) || hop == mostRedirects || !refused.sendsOn() || !sameDomain(opts.RootURL, refused.location) {
			return resp, err
		}
		opts.RootURL, opts.Path, opts.Parameters = refused.location, "", nil
	}
}

// sameDomain reports whether two addresses are in the same domain of Apple and
// the second is protected against eavesdropping.
func sameDomain(from, to string) bool {
	for _, domain := range []string{".icloud.com", ".apple.com"} {
		if strings.HasSuffix(hostOf(from), domain) {
			return strings.HasSuffix(hostOf(to), domain) && strings.HasPrefix(to, "https://")
		}
	}
	return false
}

// slotBody holds the slot of a call until its response has been read.
type slotBody struct {
	io.ReadCloser
	limiter *limiter
	turn    turn
	once    sync.Once
}

// Close implements io.Closer.
func (b *slotBody) Close() error {
	defer b.once.Do(func() { b.limiter.end(b.turn) })
	return b.ReadCloser.Close()
}

// decode decodes the JSON of a response.
func decode(ctx context.Context, resp *http.Response, answer any) error {
	limited := &io.LimitedReader{R: resp.Body, N: largestAnswer}
	decoder := json.NewDecoder(limited)
	var err error
	if own, ok := answer.(streamed); ok {
		err = own.readFrom(decoder)
	} else {
		err = decoder.Decode(answer)
	}
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
		host := hostOf(resp.Request.URL.String())
		e := fail(KindDamaged, "", "", "an answer of "+host+" is not what it should be").
			with("if this goes on, something between here and iCloud changes answers, such as a proxy or a sign-in page of the network")
		e.host = host
		return e
	default:
		return transportError(ctx, hostOf(resp.Request.URL.String()), err)
	}
}

func hostOf(address string) string {
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		return u.Hostname()
	}
	return "the service"
}

// isSafe reports whether requests to an address are protected against
// eavesdropping.
func isSafe(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname())
}

func isLoopback(host string) bool { return host == "localhost" || net.ParseIP(host).IsLoopback() }

// appleDomains are the domains of the hosts that contents are read from and sent
// to. The accounts of mainland China have the same ones with ".cn" added.
var appleDomains = []string{".icloud-content.com", ".icloud.com", ".apple.com"}

// takesContents reports whether contents may be read from an address or sent to
// it: it is safe, and on a host of Apple's or of this machine.
func takesContents(address string) bool {
	host := strings.ToLower(hostOf(address))
	ofApple := func(domain string) bool { return strings.HasSuffix(strings.TrimSuffix(host, ".cn"), domain) }
	return isSafe(address) && (isLoopback(host) || slices.ContainsFunc(appleDomains, ofApple))
}

// damaged returns the error for a response that fails a check.
func damaged(why string) error { return fail(KindDamaged, "", "", why) }

// readSmall reads the body of a response that is known to be short.
func readSmall(ctx context.Context, resp *http.Response) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, largestRefusal))
	if err != nil {
		return nil, transportError(ctx, hostOf(resp.Request.URL.String()), err)
	}
	return body, nil
}
