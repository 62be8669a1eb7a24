package transport

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"plakar-icloud/librclone/backend/icloud/apierr"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tokens is a response that is decoded from a stream.
type tokens int

// DecodeFrom implements StreamDecoder.
func (t *tokens) DecodeFrom(in *json.Decoder) error {
	for {
		_, err := in.Token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		*t++
	}
}

// endless is a body that repeats a text forever.
type endless struct{ text []byte }

// Read implements io.Reader.
func (e endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		n += copy(p[n:], e.text)
	}
	return n, nil
}

func decode(t *testing.T, body io.Reader, response any) error {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, "https://p1-drivews.icloud.com/", nil)
	require.NoError(t, err)
	return Decode(context.Background(), &http.Response{Body: io.NopCloser(body), Request: req}, response)
}

// A response that does not end is an error after a limited time, and takes a limited
// amount of memory.
func TestEndlessResponse(t *testing.T) {
	for _, text := range []string{" ", "\n", "a", `"a`} {
		for _, response := range []any{new(tokens), new(map[string]any)} {
			err := decode(t, io.MultiReader(strings.NewReader("["), endless{bytes.Repeat([]byte(text), 4096)}), response)
			assert.Equal(t, apierr.KindDamaged, apierr.KindOf(err), "%q %T: %v", text, response, err)
		}
	}
}

// White space between tokens is accepted.
func TestIndentedResponse(t *testing.T) {
	blank := strings.Repeat(" ", maxBlank)
	var read tokens
	require.NoError(t, decode(t, strings.NewReader("["+blank+"1,"+blank+"2]"+blank), &read))
	assert.Equal(t, tokens(4), read)
	var numbers []int
	require.NoError(t, decode(t, strings.NewReader("["+blank+"1,"+blank+"2]"), &numbers))
	assert.Equal(t, []int{1, 2}, numbers)
}
