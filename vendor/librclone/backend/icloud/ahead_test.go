package icloud

import (
	"fmt"
	"path/filepath"
	"testing"

	"plakar-icloud/librclone/backend/icloud/service"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// expectAll lists the files of a drive, calls Expect for all of them and reads them.
func (s *simulator) expectAll(t *testing.T, f *Fs) {
	t.Helper()
	entries, err := f.List(background, "")
	require.NoError(t, err)
	var objects []fs.Object
	for _, entry := range entries {
		objects = append(objects, entry.(fs.Object))
	}
	f.Expect(background, objects)
	for _, object := range objects {
		got, err := read(object)
		require.NoError(t, err)
		assert.Equal(t, s.File(object.Remote()), got)
	}
}

func (s *simulator) putMany(count int) {
	for n := range count {
		name := fmt.Sprintf("%03d.txt", n)
		s.PutFile(name, "content of "+name)
	}
}

// The addresses of expected contents are requested with few calls.
func TestExpectedContents(t *testing.T) {
	sim := startSimulator(t)
	sim.putMany(100)
	f := sim.open("")
	sim.ResetCounts()
	sim.expectAll(t, f)
	counts := sim.Counts()
	assert.Equal(t, 0, counts["by-id"])
	assert.Equal(t, 100, counts["content-get"])
	assert.LessOrEqual(t, counts["download-batch"], 10) // the first four calls, which are concurrent, request 5 addresses each
}

// The addresses of empty files are requested with few calls, too. If the service has
// none, the addresses of the other files still are.
func TestExpectedEmptyFiles(t *testing.T) {
	for _, haveAddresses := range []bool{true, false} {
		sim := startSimulator(t)
		sim.putMany(40)
		for n := range 60 {
			sim.PutFile(fmt.Sprintf("empty %02d.txt", n), "")
		}
		sim.DriveRules(simtest.JSON{"empty_content": haveAddresses})
		f := sim.open("")
		sim.ResetCounts()
		sim.expectAll(t, f)
		counts := sim.Counts()
		assert.LessOrEqual(t, counts["download-batch"], 20)
		assert.Equal(t, 40, counts["content-get"])
		if haveAddresses {
			assert.Equal(t, 0, counts["by-id"])
		} else {
			assert.Equal(t, 60, counts["by-id"])
		}
	}
}

// Every content is read, whether or not the service supports calls for several
// addresses.
func TestExpectedContentsByRule(t *testing.T) {
	for name, test := range map[string]struct {
		rules   simtest.JSON
		batches [2]int // of the first process, and of the next one
		alone   int
	}{
		"not known":     {simtest.JSON{"download_batch_refused": 404}, [2]int{refusedBatches, 0}, 40},
		"not allowed":   {simtest.JSON{"download_batch_refused": 400}, [2]int{refusedBatches * service.TrustedTries, 0}, 40},
		"few at once":   {simtest.JSON{"download_batch_max": 7}, [2]int{-1, -1}, -1},
		"without token": {simtest.JSON{"download_batch_tokenless": 4}, [2]int{-1, -1}, 40 / 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim := startSimulator(t)
			sim.putMany(40)
			sim.DriveRules(test.rules)
			options := sim.configured(configmap.Simple{"session_file": filepath.Join(t.TempDir(), "session.json")})
			for process := range 2 {
				f, err := sim.openConfigured("", options)
				require.NoError(t, err)
				sim.ResetCounts()
				sim.expectAll(t, f)
				counts := sim.Counts()
				assert.Equal(t, 40, counts["content-get"])
				if test.batches[process] >= 0 {
					assert.LessOrEqual(t, counts["download-batch"], test.batches[process])
				}
				if test.alone >= 0 {
					assert.Equal(t, test.alone, counts["by-id"])
				}
			}
		})
	}
}

// A document that is gone does not affect the other documents of a call.
func TestExpectedContentIsGone(t *testing.T) {
	for _, gap := range []string{"without-token", "omitted", "not-found"} {
		t.Run(gap, func(t *testing.T) {
			t.Parallel()
			sim := startSimulator(t)
			sim.putMany(20)
			sim.DriveRules(simtest.JSON{"download_batch_gap": gap})
			f := sim.open("")
			entries, err := f.List(background, "")
			require.NoError(t, err)
			sim.Mutate("002.txt", "erase", nil)
			var objects []fs.Object
			for _, entry := range entries {
				objects = append(objects, entry.(fs.Object))
			}
			f.Expect(background, objects)
			for _, object := range objects {
				got, err := read(object)
				if object.Remote() == "002.txt" {
					assert.ErrorIs(t, err, fs.ErrorObjectNotFound)
					continue
				}
				require.NoError(t, err)
				assert.Equal(t, "content of "+object.Remote(), got)
			}
		})
	}
}

// refusedBatches is the maximum number of refused calls for several addresses: two,
// and the four that are under way when the third refusal arrives.
const refusedBatches = 6
