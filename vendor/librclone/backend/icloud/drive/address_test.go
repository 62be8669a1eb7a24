package drive

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// The token of a file takes precedence over that of a package. Tokens without an
// address are ignored.
func TestTokenOfAResponse(t *testing.T) {
	file, archive := &contentToken{URL: "https://a.icloud-content.com/"}, &contentToken{URL: "https://b.icloud-content.com/"}
	for _, test := range []struct {
		response addressResponse
		want     *contentToken
		packaged bool
	}{
		{addressResponse{Data: file}, file, false},
		{addressResponse{Package: archive}, archive, true},
		{addressResponse{Data: &contentToken{}, Package: archive}, archive, true},
		{addressResponse{Data: file, Package: archive}, file, false},
		{addressResponse{}, nil, false},
	} {
		token, packaged := tokenOf(&test.response)
		assert.Equal(t, test.want, token)
		assert.Equal(t, test.packaged, packaged)
	}
}
