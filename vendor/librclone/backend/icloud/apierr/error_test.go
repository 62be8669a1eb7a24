package apierr

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// The text of an error has the operation, the path, the reason and the advice. A
// reason of the service is only used if it can contain no secret.
func TestErrorTexts(t *testing.T) {
	err := New(KindThrottled, "list", "a/b", "the service responded with 503").Advise("wait a while")
	err.Wait = 90 * time.Second
	assert.Equal(t, `list "a/b": the service responded with 503 (asks to wait 1m30s): wait a while`, err.Error())
	named := About(New(KindNetwork, "", "", "no response").From(errors.New("reset")), "read", "x")
	assert.Equal(t, `read "x": no response: reset`, named.Error())
	assert.Equal(t, named, About(named, "other", "y"), "the first operation is kept")
	for _, text := range []string{"Bad Request", "QUOTA_EXCEEDED: Quota exceeded", "Missing PCS cookies from the request"} {
		assert.Equal(t, text, reasonIn([]byte(`{"reason":"`+text+`"}`)))
	}
	for _, text := range []string{"https://x.example/?s=abcdef", "tokenXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX", "a=b; c=d", "<html>"} {
		assert.Empty(t, reasonIn([]byte(`{"reason":"`+text+`"}`)), text)
	}
}
