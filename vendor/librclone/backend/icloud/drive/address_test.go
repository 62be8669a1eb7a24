package drive

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// Both tokens of rclone's form of the answer are read.
func TestTokens(t *testing.T) {
	file, archive := &contentToken{URL: "https://a.icloud-content.com/"}, &contentToken{URL: "https://b.icloud-content.com/"}
	for _, test := range []struct {
		answer   addressAnswer
		want     *contentToken
		packaged bool
	}{
		{addressAnswer{Data: file}, file, false},
		{addressAnswer{Package: archive}, archive, true},
		{addressAnswer{Data: &contentToken{}, Package: archive}, archive, true},
		{addressAnswer{Data: file, Package: archive}, file, false},
		{addressAnswer{}, nil, false},
	} {
		token, packaged := tokenOf(&test.answer)
		assert.Equal(t, test.want, token)
		assert.Equal(t, test.packaged, packaged)
	}
}
