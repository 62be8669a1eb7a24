package transport

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
)

// maxResponse is the maximum size of a response in bytes. A listing is one
// response and takes about 600 bytes for each item.
const maxResponse = 1 << 30

// StreamDecoder is a response that decodes itself from a stream.
type StreamDecoder interface {
	DecodeFrom(*json.Decoder) error
}

// Decode decodes the JSON of a response.
func Decode(ctx context.Context, resp *http.Response, response any) error {
	limited := &io.LimitedReader{R: resp.Body, N: maxResponse}
	decoder := json.NewDecoder(limited)
	var err error
	if own, ok := response.(StreamDecoder); ok {
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
	case limited.N <= 0:
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
