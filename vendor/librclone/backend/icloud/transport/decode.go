package transport

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
)

// The maximum sizes of a response in bytes. A listing is one response and takes
// about 600 bytes for each item. It is decoded item by item. Any other response is
// in memory as a whole, and has at most some hundred entries.
const (
	maxListing  = 1 << 30
	maxResponse = 64 << 20
)

// StreamDecoder is a response that decodes itself from a stream.
type StreamDecoder interface {
	DecodeFrom(*json.Decoder) error
}

// Decode decodes the JSON of a response.
func Decode(ctx context.Context, resp *http.Response, response any) error {
	limited := &io.LimitedReader{R: resp.Body, N: maxResponse}
	own, streams := response.(StreamDecoder)
	if streams {
		limited.N = maxListing
	}
	decoder := json.NewDecoder(&blankLimiter{in: limited})
	var err error
	if streams {
		err = own.DecodeFrom(decoder)
	} else {
		err = decoder.Decode(response)
	}
	if err == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxSmallResponse)) // so that the connection can be used again
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var syntax *json.SyntaxError
	var wrongType *json.UnmarshalTypeError
	switch {
	case limited.N <= 0, errors.Is(err, errBlank):
		return apierr.New(apierr.KindDamaged, "", "", "the response is too long")
	case errors.As(err, &syntax), errors.As(err, &wrongType), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		host := hosts.Of(resp.Request.URL.String())
		e := apierr.New(apierr.KindDamaged, "", "", "the response of "+host+" cannot be decoded").
			Advise("if this persists, check for a proxy or a sign-in page of the network that changes responses")
		e.Host = host
		return e
	default:
		return apierr.Transport(ctx, hosts.Of(resp.Request.URL.String()), err)
	}
}

// maxBlank is the maximum number of consecutive white-space characters in a response.
// No name has as many.
const maxBlank = 64 << 10

// errBlank is the error for more than maxBlank white-space characters.
var errBlank = errors.New("too much white space")

// blankLimiter fails after maxBlank consecutive white-space characters. The time that
// json.Decoder takes for them grows with the square of their number.
type blankLimiter struct {
	in    io.Reader
	blank int
}

// Read implements io.Reader.
func (b *blankLimiter) Read(p []byte) (int, error) {
	n, err := b.in.Read(p)
	rest := bytes.TrimRight(p[:n], " \t\r\n")
	if len(rest) > 0 {
		b.blank = 0
	}
	if b.blank += n - len(rest); b.blank > maxBlank {
		return 0, errBlank
	}
	return n, err
}

// maxSmallResponse is the maximum size in bytes of a response that is known to
// be short.
const maxSmallResponse = 64 << 10

// ReadSmall reads the body of a response that is known to be short.
func ReadSmall(ctx context.Context, resp *http.Response) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxSmallResponse))
	if err != nil {
		return nil, apierr.Transport(ctx, hosts.Of(resp.Request.URL.String()), err)
	}
	return body, nil
}
