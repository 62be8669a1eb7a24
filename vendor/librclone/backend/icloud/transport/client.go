// Package transport sends requests to Apple's hosts: with rclone's settings, at
// the pace that the service accepts, and with retries. It knows no session.
package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"path"
	"sync"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/rclone/rclone/fs/fshttp"
	"github.com/rclone/rclone/lib/rest"
)

// Client sends requests to Apple's hosts, without a session. All clients of an
// Apple Account share a limiter.
type Client struct {
	HTTP     *rest.Client
	Parallel *rest.Client // for parts of contents, with a connection for each request
	Retries  Retries
	limiter  *limiter
}

// Config is the configuration of a client.
type Config struct {
	AppleID        string
	CallsPerSecond float64       // 0 for no limit
	CallsAtOnce    int           // at least 1
	Tries          int           // of a step that fails temporarily, at least 1
	LongestWait    time.Duration // for the service, if it asks to wait
	Silence        time.Duration // without a byte until a request is cancelled, 0 for no limit
}

// New returns a client with the limiter of the account.
func New(ctx context.Context, config Config) *Client {
	outages := new(Outages)
	silence := config.Silence
	if silence > 0 {
		silence = max(silence, minSilence)
	}
	return &Client{
		HTTP:     NewRESTClient(newHTTPClient(ctx, silence, outages)),
		Parallel: NewRESTClient(newParallelClient(ctx, silence, outages)),
		limiter:  limiterOf(config.AppleID, config.CallsPerSecond, config.CallsAtOnce),
		Retries:  Retries{Tries: max(1, config.Tries), Base: FirstPause, Longest: config.LongestWait, Outages: outages},
	}
}

// NewOver returns a client that sends its requests through a round tripper
// and has a limiter of its own, without a limit on the rate. It is for tests.
func NewOver(next http.RoundTripper, retries Retries, callsAtOnce int) *Client {
	return &Client{HTTP: NewRESTClient(&http.Client{Transport: next}), limiter: newLimiter(0, callsAtOnce), Retries: retries}
}

// MaxRedirects limits the number of redirects that a request follows.
const MaxRedirects = 5

// FirstPause is the pause before the second attempt of a step.
const FirstPause = 250 * time.Millisecond

// userAgent is the browser that rclone's client identifies as.
var userAgent = api.GetCommonHeaders(nil)["User-Agent"]

// newHTTPClient returns a client with rclone's proxy, certificate and timeout
// settings. It cancels requests on which no byte moves for longer than silence.
func newHTTPClient(ctx context.Context, silence time.Duration, outages *Outages) *http.Client {
	return customHTTPClient(ctx, silence, outages, nil)
}

// newParallelClient returns the same client with HTTP/1.1 only, so that
// concurrent requests use separate connections.
func newParallelClient(ctx context.Context, silence time.Duration, outages *Outages) *http.Client {
	return customHTTPClient(ctx, silence, outages, func(transport *http.Transport) {
		transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	})
}

func customHTTPClient(ctx context.Context, silence time.Duration, outages *Outages, customize func(*http.Transport)) *http.Client {
	client := fshttp.NewClientCustom(ctx, customize)
	if transport, ok := client.Transport.(*fshttp.Transport); ok {
		transport.SetRequestFilter(func(req *http.Request) {
			req.Header.Set("User-Agent", userAgent)
		})
	}
	if silence > 0 {
		client.Transport = &Attentive{Next: client.Transport, Silence: silence}
	}
	client.Transport = &Observer{Next: client.Transport, Outages: outages}
	return client
}

// NewRESTClient returns a client that converts each status other than success
// into an *apierr.Refusal.
func NewRESTClient(client *http.Client) *rest.Client {
	return rest.NewClient(client).SetErrorHandler(func(resp *http.Response) error {
		return apierr.NewRefusal(resp)
	})
}

// Call is one request.
type Call struct {
	Method string
	Path   string
	Params url.Values
	Body   any
	SignIn bool // its refusals do not slow the calls of the account down
}

// Do waits for the limiter and returns the response with its body open,
// or the refusal.
func (c *Client) Do(ctx context.Context, r Call, root string, headers map[string]string) (*http.Response, error) {
	opts := rest.Opts{
		Method:       r.Method,
		RootURL:      root,
		Path:         r.Path,
		Parameters:   r.Params,
		ExtraHeaders: headers,
		NoRedirect:   true,
	}
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = json.Marshal(r.Body); err != nil {
			return nil, apierr.New(apierr.KindUnsupported, "", "", "the request cannot be encoded").From(err)
		}
	} else if r.Method == http.MethodPost {
		var none int64
		opts.ContentLength = &none
	}
	mine, err := c.limiter.begin(ctx, c.Retries.Longest)
	if err != nil {
		return nil, err
	}
	resp, err := c.follow(ctx, &opts, body)
	if err != nil {
		defer c.limiter.end(mine)
	}
	var refused *apierr.Refusal
	switch {
	case err == nil:
		c.limiter.accepted()
		c.limiter.slots.Answered(path.Base(r.Path), time.Since(mine.begun))
		resp.Body = &slotBody{ReadCloser: resp.Body, limiter: c.limiter, turn: mine}
		return resp, nil
	case errors.As(err, &refused):
		if refused.Kind() == apierr.KindThrottled && !refused.Busy() && !r.SignIn {
			c.limiter.refused(mine, refused.RetryAfter)
		}
		return nil, refused
	default:
		return nil, apierr.Transport(ctx, hosts.Of(root), err)
	}
}

// follow sends a request to the address that the service redirects it to.
// rclone's client does so too, but follow keeps the method, where rclone's
// makes a GET of a POST after a 302, and stays within the domain of the
// request, because the request contains the secrets of that domain.
func (c *Client) follow(ctx context.Context, opts *rest.Opts, body []byte) (*http.Response, error) {
	for hop := 0; ; hop++ {
		if body != nil {
			opts.Body = bytes.NewReader(body)
		}
		resp, err := c.HTTP.Call(ctx, opts)
		var refused *apierr.Refusal
		if !errors.As(err, &refused) || hop == MaxRedirects || !refused.Redirects() || !hosts.SameDomain(opts.RootURL, refused.Location) {
			return resp, err
		}
		opts.RootURL, opts.Path, opts.Parameters = refused.Location, "", nil
	}
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
