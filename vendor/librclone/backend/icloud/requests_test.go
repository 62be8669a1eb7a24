package icloud

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"plakar-icloud/librclone/internal/simtest"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Uploading 600 files into 30 new folders takes at most 3.1 requests for each file.
func TestRequestsOfNewFiles(t *testing.T) {
	sim := startSimulator(t)
	f := sim.open("")
	sim.ResetCounts()
	simtest.InParallel(8, 600, func(i int) {
		_, err := tryPut(f, fmt.Sprintf("backup/folder-%02d/file-%03d", i%30, i), fmt.Sprint("content ", i))
		assert.NoError(t, err)
	})
	counts := sim.Counts()
	t.Log(counts)
	assert.LessOrEqual(t, float64(counts["total"])/600, 3.1)
	assert.Equal(t, 1, counts["list"], "of the root, once")
	assert.Equal(t, 31, counts["create-folders"])
	tree := sim.Tree()
	for i := range 600 {
		assert.Contains(t, tree, fmt.Sprintf("backup/folder-%02d/file-%03d", i%30, i))
	}
}

// A new file in a cached folder takes three requests, even if the folder has 10,000
// files.
func TestRequestsOfOneNewFile(t *testing.T) {
	sim := startSimulator(t)
	sim.Control("POST", "seed", simtest.JSON{"prefix": "store", "files": 10_000, "folders": 0, "size": 10, "seed": 1, "modified_ms": 0}, nil)
	f := sim.open("")
	put(t, f, "store/first", "1")
	sim.ResetCounts()
	put(t, f, "store/second", "2")
	put(t, f, "store/empty", "")
	counts := sim.Counts()
	assert.Equal(t, 6, counts["total"], "%v", counts)
	_, err := f.NewObject(context.Background(), "store/second")
	require.NoError(t, err)
	assert.Equal(t, counts, sim.Counts(), "the uploaded file is in the cache")
}

// A replacement takes five requests.
func TestRequestsOfReplace(t *testing.T) {
	sim := startSimulator(t)
	f := sim.open("")
	put(t, f, "a/file.txt", "old")
	sim.ResetCounts()
	put(t, f, "a/file.txt", "new")
	counts := sim.Counts()
	assert.Equal(t, 5, counts["total"], "%v", counts)
	o, err := f.NewObject(context.Background(), "a/file.txt")
	require.NoError(t, err)
	require.NoError(t, o.Update(context.Background(), strings.NewReader("newer"), infoOf("ignored", "newer")))
	assert.Equal(t, 10, sim.Counts()["total"])
	assert.Equal(t, "newer", sim.File("a/file.txt"))
}

// Reading 50 ranges of a file concurrently takes one request for its address.
func TestRequestsOfRanges(t *testing.T) {
	sim := startSimulator(t)
	content := strings.Repeat("0123456789", 500)
	sim.PutFile("store/pack", content)
	f := sim.open("")
	o, err := f.NewObject(context.Background(), "store/pack")
	require.NoError(t, err)
	sim.ResetCounts()
	simtest.InParallel(8, 50, func(i int) {
		start := int64(i * 97)
		part, err := read(o, &fs.RangeOption{Start: start, End: start + 49})
		assert.NoError(t, err)
		assert.Equal(t, content[start:start+50], part)
	})
	counts := sim.Counts()
	assert.Equal(t, 1, counts["by-id"])
	assert.Equal(t, 50, counts["content-get"])
	assert.Equal(t, 51, counts["total"], "%v", counts)
}

// Listing 1,000 folders takes at most 100 requests if the service lists several with one
// request, and otherwise about one for each folder.
func TestRequestsOfListing(t *testing.T) {
	for _, test := range []struct {
		name  string
		rules simtest.JSON
		most  int
	}{
		{"batches", simtest.JSON{}, 100},
		{"batches of 12", simtest.JSON{"max_batch": 12}, 170},
		{"refused", simtest.JSON{"max_batch": 1, "over_batch": "refuse"}, 1070},
		{"returned in part", simtest.JSON{"max_batch": 1, "over_batch": "first-only"}, 1070},
	} {
		t.Run(test.name, func(t *testing.T) {
			sim := startSimulator(t)
			sim.Control("POST", "seed", simtest.JSON{"prefix": "tree", "files": 2000, "folders": 1000, "size": 1, "seed": 1, "modified_ms": 0}, nil)
			sim.DriveRules(test.rules)
			f := sim.open("tree")
			sim.ResetCounts()
			seen := map[string]bool{}
			err := f.ListR(context.Background(), "", func(entries fs.DirEntries) error {
				for _, entry := range entries {
					assert.False(t, seen[entry.Remote()], "%s twice", entry.Remote())
					seen[entry.Remote()] = true
				}
				return nil
			})
			require.NoError(t, err)
			assert.Len(t, seen, len(sim.Tree())-1)
			counts := sim.Counts()
			t.Log(counts)
			assert.LessOrEqual(t, counts["total"], test.most)

			var dirs []string
			for remote := range seen {
				if strings.Contains(remote, "folder-") && !strings.Contains(remote, ".bin") {
					dirs = append(dirs, remote)
				}
			}
			require.Len(t, dirs, 1000)
			sim.ResetCounts()
			listed, errs := f.ListFolders(context.Background(), dirs)
			for i := range dirs {
				require.NoError(t, errs[i])
				assert.Len(t, listed[i], 2)
			}
			assert.LessOrEqual(t, sim.Counts()["total"], test.most)
		})
	}
}

// The first process validates its session once. A later process with the same session
// file needs no extra request.
func TestRequestsOfStart(t *testing.T) {
	sim := startSimulator(t)
	path := t.TempDir() + "/session.json"
	configuration := sim.configured(configmap.Simple{"session_file": path})
	f, err := sim.openConfigured("", configuration)
	require.NoError(t, err)
	assert.Equal(t, 0, sim.Counts()["total"], "opening uses no network")
	_, err = f.List(context.Background(), "")
	require.NoError(t, err)
	assert.Equal(t, map[string]int{"total": 2, "validate": 1, "list": 1}, sim.Counts())

	sim.ResetCounts()
	f, err = sim.openConfigured("", configuration)
	require.NoError(t, err)
	_, err = f.List(context.Background(), "")
	require.NoError(t, err)
	assert.Equal(t, map[string]int{"total": 1, "list": 1}, sim.Counts())
}
