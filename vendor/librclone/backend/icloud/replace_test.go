package icloud

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/drive"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/rclone/rclone/fs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// trash returns the files in the Trash by the digests of their contents.
func (s *simulator) trash() map[string]simtest.TreeItem {
	s.T.Helper()
	var items []simtest.TreeItem
	s.Control("GET", "trash", nil, &items)
	trash := map[string]simtest.TreeItem{}
	for _, item := range items {
		trash[item.SHA256] = item
	}
	return trash
}

func digestOf(content string) string {
	digest := sha256.Sum256([]byte(content))
	return hex.EncodeToString(digest[:])
}

// during runs an upload, holds its request of a kind, changes the drive like another
// device, and lets the upload continue.
func (s *simulator) during(kind string, f *Fs, change func()) (fs.Object, error) {
	s.T.Helper()
	s.ResetCounts()
	s.Fault(kind, "hold", simtest.JSON{"gate": kind, "at": "arrival"})
	type outcome struct {
		o   fs.Object
		err error
	}
	done := make(chan outcome)
	go func() {
		o, err := tryPut(f, "folder/file.txt", "ours")
		done <- outcome{o, err}
	}()
	s.Control("POST", "wait", simtest.JSON{"kind": kind, "n": 1, "timeout_ms": 20000}, nil)
	change()
	s.Control("POST", "gates/release", simtest.JSON{"gate": kind}, nil)
	end := <-done
	return end.o, end.err
}

// If another device changes a file at any step of its replacement, its version is kept
// and the new one withdrawn.
func TestEditDuringAReplacementIsKept(t *testing.T) {
	edits := map[string]simtest.JSON{
		"longer":                    {"text": "of another device"},
		"of the same size":          {"text": "OLD"},
		"of the same size and time": {"text": "OLD", "modified_ms": 1700000000000},
	}
	for _, kind := range []string{"upload-web", "content-post", "update-documents", "trash"} {
		for what, edit := range edits {
			t.Run(kind+" "+what, func(t *testing.T) {
				t.Parallel()
				sim := startSimulator(t)
				sim.PutFile("folder/file.txt", "old")
				f := sim.openOwn("")
				_, err := f.List(background, "folder")
				require.NoError(t, err)
				_, err = sim.during(kind, f, func() { sim.Mutate("folder/file.txt", "write", edit) })
				assert.Equal(t, apierr.KindChanged, apierr.KindOf(err), "%v", err)
				assert.ErrorContains(t, err, "folder/file.txt")
				assert.Equal(t, edit["text"], sim.File("folder/file.txt"))
				assert.Equal(t, []string{"folder", "folder/file.txt"}, sim.Paths())
				trash := sim.trash()
				assert.Len(t, trash, 1)
				assert.Contains(t, trash, digestOf("ours"))

				// The next run knows the edit, so it is replaced.
				later := sim.openOwn("")
				put(t, later, "folder/file.txt", "ours again")
				assert.Equal(t, "ours again", sim.File("folder/file.txt"))
			})
		}
	}
}

// Another device changes a file during its replacement, but not its content. The file is
// replaced if it still has the name, and else not changed.
func TestOtherChangesDuringAReplacement(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*simulator)
		paths  []string
		trash  []string
	}{
		"only its metadata changed": {
			func(sim *simulator) { sim.Mutate("folder/file.txt", "etag", nil) },
			[]string{"folder", "folder/file.txt"}, []string{"old"},
		},
		"it was renamed": {
			func(sim *simulator) { sim.Mutate("folder/file.txt", "rename", simtest.JSON{"to": "folder/theirs.txt"}) },
			[]string{"folder", "folder/file.txt", "folder/theirs.txt"}, nil,
		},
		"it was deleted": {
			func(sim *simulator) { sim.Mutate("folder/file.txt", "erase", nil) },
			[]string{"folder", "folder/file.txt"}, nil,
		},
		"it was moved to the Trash": {
			func(sim *simulator) { sim.Mutate("folder/file.txt", "trash", nil) },
			[]string{"folder", "folder/file.txt"}, []string{"old"},
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			sim := startSimulator(t)
			sim.PutFile("folder/file.txt", "old")
			f := sim.openOwn("")
			o, err := sim.during("trash", f, func() { c.change(sim) })
			require.NoError(t, err)
			assert.Equal(t, c.paths, sim.Paths())
			assert.Equal(t, "ours", sim.File("folder/file.txt"))
			content, err := read(o)
			require.NoError(t, err)
			assert.Equal(t, "ours", content)
			trash := sim.trash()
			assert.Len(t, trash, len(c.trash))
			for _, content := range c.trash {
				assert.Contains(t, trash, digestOf(content))
			}
		})
	}
}

// A file that another device stores under the name during an upload is kept, at any step
// and whatever the service does with taken names.
func TestNewcomersAreKept(t *testing.T) {
	for _, taken := range []string{"bounce", "refuse"} {
		for _, old := range []string{"", "old"} {
			kinds := []string{"upload-web", "update-documents"}
			if old != "" {
				kinds = []string{"rename"}
			}
			for _, kind := range kinds {
				t.Run(fmt.Sprint(taken, " ", kind), func(t *testing.T) {
					t.Parallel()
					sim := startSimulator(t)
					sim.DriveRules(simtest.JSON{"taken_name": taken})
					sim.PutFile("folder/other.txt", "other")
					if old != "" {
						sim.PutFile("folder/file.txt", old)
					}
					f := sim.openOwn("")
					_, err := sim.during(kind, f, func() { sim.PutFile("folder/file.txt", "of another device") })
					assert.Equal(t, apierr.KindExists, apierr.KindOf(err), "%v", err)
					assert.Equal(t, "of another device", sim.File("folder/file.txt"))
					assert.Equal(t, []string{"folder", "folder/file.txt", "folder/other.txt"}, sim.Paths())
					assert.NotContains(t, sim.trash(), digestOf("of another device"))
				})
			}
		}
	}
}

// If the service gives an upload another name instead of refusing it, no copy is left.
func TestUploadThatGetsAnotherName(t *testing.T) {
	c := newFakeCloud()
	c.lenient = true
	c.add("root", "other.txt", []byte("other"))
	f := driveBy(c, "")
	_, err := f.List(background, "")
	require.NoError(t, err)
	c.add("root", "file.txt", []byte("of another device"))
	_, err = tryPut(f, "file.txt", "ours")
	assert.Equal(t, apierr.KindExists, apierr.KindOf(err), "%v", err)
	assert.Equal(t, []string{"file.txt", "other.txt"}, c.paths())
	assert.Equal(t, "of another device", string(c.at("file.txt").content))
}

// A replacement in a cached folder needs no listing, even if responses are lost, because
// the service returns single items.
func TestReplacementsListNothing(t *testing.T) {
	sim := startSimulator(t)
	sim.PutFile("folder/file.txt", "old")
	f := sim.open("")
	_, err := f.List(background, "folder")
	require.NoError(t, err)
	for _, fault := range []simtest.JSON{nil, {"kind": "trash"}, {"kind": "rename"}, {"kind": "update-documents"}} {
		sim.ResetCounts()
		if fault != nil {
			sim.Fault(fault["kind"].(string), "reset-after")
		}
		put(t, f, "folder/file.txt", fmt.Sprint("new ", fault["kind"]))
		assert.Zero(t, sim.Counts()["list"], "%v", fault)
	}
	assert.Equal(t, []string{"folder", "folder/file.txt"}, sim.Paths())
}

// If the service does not return single items, the folder is listed instead.
func TestReplacementsWithoutDetails(t *testing.T) {
	sim := startSimulator(t)
	sim.PutFile("folder/file.txt", "old")
	f := sim.open("")
	sim.Fault("list-details", "status", simtest.Status(400), simtest.JSON{"times": nil})
	for _, kind := range []string{"trash", "rename", "update-documents"} {
		sim.Fault(kind, "reset-after")
		put(t, f, "folder/file.txt", "new "+kind)
		assert.Equal(t, "new "+kind, sim.File("folder/file.txt"))
	}
	assert.Equal(t, 1, sim.Counts()["list-details"])
	assert.Equal(t, []string{"folder", "folder/file.txt"}, sim.Paths())
}

// Deferred replacements do not wait for the Trash, and few calls move the old versions
// there.
func TestDeferredReplacements(t *testing.T) {
	sim := startSimulator(t)
	const files = 40
	for i := range files {
		sim.PutFile(fmt.Sprintf("folder/%02d", i), "old")
	}
	f := sim.open("")
	sim.Fault("trash", "hold", simtest.JSON{"gate": "trash", "at": "arrival", "times": nil})
	ctx := drive.DeferReplacement(background)
	simtest.InParallel(8, files, func(i int) {
		name := fmt.Sprintf("folder/%02d", i)
		_, err := f.Put(ctx, strings.NewReader("new"), infoOf(name, "new"))
		assert.NoError(t, err)
	})
	for i := range files {
		assert.Equal(t, "old", sim.File(fmt.Sprintf("folder/%02d", i)))
	}
	soon, cancel := context.WithCancel(background)
	cancel()
	assert.Len(t, WaitForChanges(soon), files, "the changes under way are returned")
	sim.Control("POST", "gates/release", simtest.JSON{"gate": "trash"}, nil)
	assert.Empty(t, WaitForChanges(background))
	assert.Len(t, sim.Paths(), 1+files)
	for i := range files {
		assert.Equal(t, "new", sim.File(fmt.Sprintf("folder/%02d", i)))
	}
	var trashed []simtest.TreeItem
	sim.Control("GET", "trash", nil, &trashed)
	assert.Len(t, trashed, files)
	assert.LessOrEqual(t, sim.Counts()["trash"], 4)
}

// WaitForChanges returns a deferred replacement that has failed, once.
func TestDeferredReplacementsThatFail(t *testing.T) {
	sim := startSimulator(t)
	sim.PutFile("folder/a", "old")
	sim.PutFile("folder/b", "old")
	f := sim.open("")
	sim.Fault("trash", "hold", simtest.JSON{"gate": "trash", "at": "arrival"})
	ctx := drive.DeferReplacement(background)
	for _, name := range []string{"folder/a", "folder/b"} {
		_, err := f.Put(ctx, strings.NewReader("new"), infoOf(name, "new"))
		require.NoError(t, err)
	}
	sim.Mutate("folder/a", "write", simtest.JSON{"text": "of another device"})
	sim.Control("POST", "gates/release", simtest.JSON{"gate": "trash"}, nil)
	unfinished := WaitForChanges(background)
	require.Len(t, unfinished, 1)
	assert.Equal(t, "folder/a", unfinished[0].Path)
	assert.Equal(t, apierr.KindChanged, apierr.KindOf(unfinished[0].Err))
	assert.Empty(t, WaitForChanges(background))
	assert.Equal(t, "of another device", sim.File("folder/a"))
	assert.Equal(t, "new", sim.File("folder/b"))
}

// Deferred replacements of one file are made one after the other, and a deletion waits
// for them.
func TestDeferredReplacementsOfOneFile(t *testing.T) {
	sim := startSimulator(t)
	sim.PutFile("file", "0")
	f := sim.open("")
	ctx := drive.DeferReplacement(background)
	for i := 1; i < 4; i++ {
		content := fmt.Sprint(i)
		_, err := f.Put(ctx, strings.NewReader(content), infoOf("file", content))
		require.NoError(t, err)
	}
	assert.Empty(t, WaitForChanges(background))
	assert.Equal(t, "3", sim.File("file"))
	assert.Equal(t, []string{"file"}, sim.Paths())
	sim.Fault("trash", "hold", simtest.JSON{"gate": "trash", "at": "arrival"})
	_, err := f.Put(ctx, strings.NewReader("4"), infoOf("file", "4"))
	require.NoError(t, err)
	left, leave := context.WithCancel(background)
	leave()
	_, err = f.NewObject(left, "file")
	assert.ErrorIs(t, err, context.Canceled, "the look-up waits for the new file")
	sim.Control("POST", "gates/release", simtest.JSON{"gate": "trash"}, nil)
	o, err := f.NewObject(background, "file")
	require.NoError(t, err)
	require.NoError(t, o.Remove(background))
	assert.Empty(t, sim.Paths())
}

// After a process was killed, every name has the old or the new content, and the next
// process completes the replacements.
func TestKilledReplacements(t *testing.T) {
	for _, kind := range []string{"trash", "rename"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			sim := startSimulator(t)
			const files = 6
			for i := range files {
				sim.PutFile(fmt.Sprint("folder/", i), "old")
			}
			killed := sim.openOwn("")
			sim.Fault(kind, "hold", simtest.JSON{"gate": "gate", "at": "arrival", "times": nil})
			ctx := drive.DeferReplacement(background)
			for i := range files {
				_, err := killed.Put(ctx, strings.NewReader("new"), infoOf(fmt.Sprint("folder/", i), "new"))
				require.NoError(t, err)
			}
			sim.Control("POST", "wait", simtest.JSON{"kind": kind, "n": 1, "timeout_ms": 20000}, nil)
			// The requests of a killed process are never processed.
			sim.Fault(kind, "reset-before", simtest.JSON{"times": nil})
			sim.Fault("list-details", "reset-before", simtest.JSON{"times": nil})
			next := sim.openOwn("")
			entries, err := next.List(background, "folder")
			require.NoError(t, err)
			require.Len(t, entries, files)
			for _, entry := range entries {
				content, err := read(entry.(fs.Object))
				require.NoError(t, err)
				assert.Contains(t, []string{"old", "new"}, content)
			}
			sim.Control("DELETE", "faults", nil, nil)
			for i := range files {
				put(t, next, fmt.Sprint("folder/", i), "newest")
			}
			sim.Control("POST", "gates/release", simtest.JSON{"gate": "gate"}, nil)
			_ = killed.drive.WaitForChanges(background)
			assert.Len(t, sim.Paths(), 1+files)
			for i := range files {
				assert.Equal(t, "newest", sim.File(fmt.Sprint("folder/", i)))
			}
		})
	}
}

// Permanent deletions leave no file in the Trash, except a version that another device
// has written.
func TestPermanentDeletions(t *testing.T) {
	sim := startSimulator(t)
	f := sim.open("")
	var objects []fs.Object
	for i := range 30 {
		objects = append(objects, put(t, f, fmt.Sprint("kloset/", i), fmt.Sprint("ours ", i)))
	}
	edited := put(t, f, "kloset/edited", "ours")
	sim.Mutate("kloset/edited", "write", simtest.JSON{"text": "of another device"})
	sim.ResetCounts()
	simtest.InParallel(len(objects), len(objects), func(i int) {
		assert.NoError(t, objects[i].Remove(drive.Permanently(background)))
	})
	require.NoError(t, edited.Remove(drive.Permanently(background)))
	assert.Empty(t, WaitForChanges(background))
	assert.Equal(t, []string{"kloset"}, sim.Paths())
	trash := sim.trash()
	assert.Len(t, trash, 1)
	assert.Contains(t, trash, digestOf("of another device"))
	assert.Less(t, sim.Counts()["trash"]+sim.Counts()["delete"], 20)
}

// If the deletion from the Trash fails, the file stays there, and no error is returned.
func TestPermanentDeletionThatFails(t *testing.T) {
	sim := startSimulator(t)
	f := sim.open("")
	o := put(t, f, "file", "content")
	sim.Fault("delete", "status", simtest.Status(403), simtest.JSON{"times": nil})
	require.NoError(t, o.Remove(drive.Permanently(background)))
	assert.Empty(t, WaitForChanges(background))
	assert.Empty(t, sim.Paths())
	assert.Len(t, sim.trash(), 1)
}
