package drive

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/stretchr/testify/require"
)

// If there are too many packages, the most recent ones are kept.
func TestMostRecentPackagesAreKept(t *testing.T) {
	facts := newFactsFile(filepath.Join(t.TempDir(), "session.json"))
	for i := range maxKeptPackages {
		facts.learnPackage(fmt.Sprint("id ", i))
	}
	facts.flush(context.Background())
	facts.learnPackage("the last")
	facts.flush(context.Background())
	kept := facts.load().Packages
	assert.Len(t, kept, maxKeptPackages)
	assert.Equal(t, "the last", kept[len(kept)-1])
	assert.Equal(t, "id 1", kept[0])
}

// The trail to a folder that is no longer new is not among the recent ones, but
// its ids are still used.
func TestTrailsExpire(t *testing.T) {
	facts := newFactsFile(filepath.Join(t.TempDir(), "session.json"))
	made := time.Now().Unix()
	facts.keepTrail(context.Background(), trail{Names: []string{"a", "b"}, IDs: []string{"1", "2"}, Made: made})
	_, recent, _ := facts.first([]string{"a", "b"})
	require.Len(t, recent, 1)
	facts.keepTrail(context.Background(), trail{Names: []string{"a", "b"}, IDs: []string{"1", "2"}, Made: made - int64(newTrail.Seconds())})
	facts.asked = false
	ids, recent, _ := facts.first([]string{"a", "b"})
	require.Len(t, ids, 2)
	require.Empty(t, recent)
}
