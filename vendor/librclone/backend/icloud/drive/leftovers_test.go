package drive

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// A leftover is recognised by the time with which it was registered.
func TestDescribes(t *testing.T) {
	for seconds, is := range map[int64]map[int64]bool{
		0: {0: true, 1: false}, 1: {1: true, 0: false}, -1: {-1: true, 0: false}, -86_400: {-86_400: true, 0: false},
		1_700_000_000: {1_700_000_000: true, 1_700_000_001: false},
	} {
		for listed, want := range is {
			made := replacement{Size: 3, Modified: seconds}
			assert.Equal(t, want, made.describes(&Item{Size: 3, Modified: time.Unix(listed, 0)}), "%d %d", seconds, listed)
			assert.False(t, made.describes(&Item{Size: 4, Modified: time.Unix(listed, 0)}))
		}
	}
}
