package icloud

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An upload takes the place of a file, whatever its extension, and never that of
// a package.
func TestUploadsAndPackages(t *testing.T) {
	for token, replaced := range map[string]bool{"data_token": true, "package_token": false} {
		c := newFakeCloud()
		old := c.add("root", "song.band", []byte("of a Mac"))
		c.spoil = func(_ int, kind string, answer *fakeAnswer) {
			if kind == "by_id" {
				answer.body = []byte(strings.Replace(string(answer.body), "data_token", token, 1))
			}
		}
		_, err := tryPut(driveBy(c, ""), "song.band", "an archive")
		if replaced {
			require.NoError(t, err)
			assert.Equal(t, "an archive", string(c.at("song.band").content))
			continue
		}
		assert.Equal(t, KindExists, KindOf(err), "%v", err)
		assert.ErrorContains(t, err, "package")
		assert.False(t, old.trashed)
		assert.Equal(t, []string{"song.band"}, c.paths())
	}
}
