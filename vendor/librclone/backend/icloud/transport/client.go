// Package transport sends requests to Apple's hosts with rclone's settings, at a
// pace that the service accepts, and with retries. Sessions are in package
// session.
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

// Client sends requests to Apple's hosts. All clients of an Apple Account share
// a limiter.
type Client struct {
	HTTP     *rest.Client
	Parallel *rest.Client // for parts of contents; uses a connection for each request
	Retries  Retries
	Limiter  *Limiter
}

// Config is the configuration of a client.
type Config struct {
	Limiter     *Limiter
	Tries       int           // attempts at a step that fails temporarily, at least 1
	LongestWait time.Duration // the longest wait that the service may ask for
	Silence     time.Duration // a request is cancelled after this time without a byte; 0 for no limit
}

// New returns a client with its own connections.
func New(ctx context.Context, config Config) *Client {
	outages := new(Outages)
	silence := config.Silence
	if silence > 0 {
		silence = max(silence, minSilence)
	}
	return &Client{
		HTTP:     NewRESTClient(newHTTPClient(ctx, silence, outages)),
		Parallel: NewRESTClient(newParallelClient(ctx, silence, outages)),
		Limiter:  config.Limiter,
		Retries:  Retries{Tries: max(1, config.Tries), Base: FirstPause, Longest: config.LongestWait, Outages: outages},
	}
}

// MaxRedirects is the maximum number of redirects that a request follows.
const MaxRedirects = 5

// FirstPause is the pause before the second attempt of a step.
const FirstPause = 250 * time.Millisecond

// userAgent is the header with which rclone's client identifies as a browser.
var userAgent = api.GetCommonHeaders(nil)["User-Agent"]

// newHTTPClient returns a client with rclone's proxy, certificate and timeout
// settings. It cancels a request if no byte is sent or received for longer than
// silence.
func newHTTPClient(ctx context.Context, silence time.Duration, outages *Outages) *http.Client {
	return customHTTPClient(ctx, silence, outages, nil)
}

// newParallelClient returns a client like that of newHTTPClient that uses only
// HTTP/1.1, so that concurrent requests use separate connections.
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
		client.Transport = &SilenceTransport{Next: client.Transport, Silence: silence, Outages: outages}
	}
	client.Transport = &Observer{Next: client.Transport, Outages: outages}
	return client
}

// NewRESTClient returns a client that returns an *apierr.Refusal for every
// status other than success.
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
	SignIn bool // the call is part of a sign-in, so a refusal of it does not slow other calls down
	Quick  bool // see WithQuickResponse
}

// Do sends a request as soon as the limiter admits it. It returns the response
// with its body open. For a status other than success, the error is an
// *apierr.Refusal.
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
	if r.Quick {
		ctx = WithQuickResponse(ctx)
	}
	admitted, err := c.Limiter.begin(ctx, c.Retries.Longest)
	if err != nil {
		return nil, err
	}
	resp, err := c.follow(ctx, &opts, body)
	if err != nil {
		defer c.Limiter.end(admitted)
	}
	var refused *apierr.Refusal
	switch {
	case err == nil:
		c.Limiter.accepted()
		c.Limiter.slots.Responded(path.Base(r.Path), time.Since(admitted.begun))
		resp.Body = &slotBody{ReadCloser: resp.Body, limiter: c.Limiter, turn: admitted}
		return resp, nil
	case errors.As(err, &refused):
		if refused.Kind() == apierr.KindThrottled && !refused.Busy() && !r.SignIn {
			c.Limiter.refused(admitted, refused.RetryAfter)
		}
		return nil, refused
	default:
		return nil, apierr.Transport(ctx, hosts.Of(root), err)
	}
}

// follow sends a request and follows redirects. Unlike rclone's client, which
// turns a POST into a GET after a 302, it keeps the method. It does not leave
// the domain of the request, because the request contains the secrets of that
// domain.
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

// slotBody is the body of a response. It keeps the slot of the call until it is
// closed.
type slotBody struct {
	io.ReadCloser
	limiter *Limiter
	turn    turn
	once    sync.Once
}

// Close implements io.Closer.
func (b *slotBody) Close() error {
	defer b.once.Do(func() { b.limiter.end(b.turn) })
	return b.ReadCloser.Close()
}
