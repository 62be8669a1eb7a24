package remote

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The conversions between rclone's form of a path and that of the caller are
// inverse.
func TestConversionsOfNames(t *testing.T) {
	for ofRclone, ofCaller := range map[string]string{
		"plain/name.txt": "plain/name.txt",
		"line␊break":     "line\nbreak",
		"␡/␀.txt":        "\x7f/␀.txt",
		"a／b":            "a／b",
		"．．":             "．．",
	} {
		require.Equal(t, ofCaller, outward(ofRclone))
		require.Equal(t, ofRclone, inward(ofCaller))
	}
}
