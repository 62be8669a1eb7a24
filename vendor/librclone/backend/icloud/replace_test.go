package icloud

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// trash gives the contents of the files in the Trash, by their digests.
func (s *simulator) trash() map[string]treeItem {
	s.t.Helper()
	var items []treeItem
	s.control("GET", "trash", nil, &items)
	trash := map[string]treeItem{}
	for _, item := range items {
		trash[item.SHA256] = item
	}
	return trash
}

func digestOf(content string) string {
	digest := sha256.Sum256([]byte(content))
	return hex.EncodeToString(digest[:])
}

// during runs an upload that stops at a request of a kind, changes the drive as
// another device would, and lets the upload go on.
func (s *simulator) during(kind string, f *Fs, change func()) (fs.Object, error) {
	s.t.Helper()
	s.resetCounts()
	s.fault(kind, "hold", jsonObject{"gate": kind, "at": "arrival"})
	type outcome struct {
		o   fs.Object
		err error
	}
	done := make(chan outcome)
	go func() {
		o, err := tryPut(f, "folder/file.txt", "ours")
		done <- outcome{o, err}
	}()
	s.control("POST", "wait", jsonObject{"kind": kind, "n": 1, "timeout_ms": 20000}, nil)
	change()
	s.control("POST", "gates/release", jsonObject{"gate": kind}, nil)
	end := <-done
	return end.o, end.err
}

// What another device writes into a file while it is being replaced stays, and
// ours is withdrawn, whenever that happens.
func TestEditDuringAReplacementStays(t *testing.T) {
	edits := map[string]jsonObject{
		"longer":                    {"text": "of another device"},
		"of the same size":          {"text": "OLD"},
		"of the same size and time": {"text": "OLD", "modified_ms": 1700000000000},
	}
	for _, kind := range []string{"upload-web", "content-post", "update-documents", "trash"} {
		for what, edit := range edits {
			t.Run(kind+" "+what, func(t *testing.T) {
				t.Parallel()
				sim := startSimulator(t)
				sim.putFile("folder/file.txt", "old")
				f := sim.openOwn("")
				_, err := f.List(background, "folder")
				require.NoError(t, err)
				_, err = sim.during(kind, f, func() { sim.mutate("folder/file.txt", "write", edit) })
				assert.Equal(t, KindChanged, KindOf(err), "%v", err)
				assert.ErrorContains(t, err, "folder/file.txt")
				assert.Equal(t, edit["text"], sim.file("folder/file.txt"))
				assert.Equal(t, []string{"folder", "folder/file.txt"}, sim.paths())
				trash := sim.trash()
				assert.Len(t, trash, 1)
				assert.Contains(t, trash, digestOf("ours"))

				// The next run knows the edit, so it is replaced.
				later := sim.openOwn("")
				put(t, later, "folder/file.txt", "ours again")
				assert.Equal(t, "ours again", sim.file("folder/file.txt"))
			})
		}
	}
}

// A file that is no longer what it was, but for its content, is replaced or left
// alone as it is found.
func TestOtherChangesDuringAReplacement(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*simulator)
		paths  []string
		trash  []string
	}{
		"only its metadata changed": {
			func(sim *simulator) { sim.mutate("folder/file.txt", "etag", nil) },
			[]string{"folder", "folder/file.txt"}, []string{"old"},
		},
		"it was renamed": {
			func(sim *simulator) { sim.mutate("folder/file.txt", "rename", jsonObject{"to": "folder/theirs.txt"}) },
			[]string{"folder", "folder/file.txt", "folder/theirs.txt"}, nil,
		},
		"it was deleted": {
			func(sim *simulator) { sim.mutate("folder/file.txt", "erase", nil) },
			[]string{"folder", "folder/file.txt"}, nil,
		},
		"it was moved to the Trash": {
			func(sim *simulator) { sim.mutate("folder/file.txt", "trash", nil) },
			[]string{"folder", "folder/file.txt"}, []string{"old"},
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			sim := startSimulator(t)
			sim.putFile("folder/file.txt", "old")
			f := sim.openOwn("")
			o, err := sim.during("trash", f, func() { c.change(sim) })
			require.NoError(t, err)
			assert.Equal(t, c.paths, sim.paths())
			assert.Equal(t, "ours", sim.file("folder/file.txt"))
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

// What another device stores under the name after the folder was listed is left
// alone, whenever that happens and whatever the service does with taken names.
func TestNewcomersStay(t *testing.T) {
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
					sim.driveRules(jsonObject{"taken_name": taken})
					sim.putFile("folder/other.txt", "other")
					if old != "" {
						sim.putFile("folder/file.txt", old)
					}
					f := sim.openOwn("")
					_, err := sim.during(kind, f, func() { sim.putFile("folder/file.txt", "of another device") })
					assert.Equal(t, KindExists, KindOf(err), "%v", err)
					assert.Equal(t, "of another device", sim.file("folder/file.txt"))
					assert.Equal(t, []string{"folder", "folder/file.txt", "folder/other.txt"}, sim.paths())
					assert.NotContains(t, sim.trash(), digestOf("of another device"))
				})
			}
		}
	}
}

// A service that gives an upload another name although it was asked to refuse it
// leaves no copy behind.
func TestUploadThatGetsAnotherName(t *testing.T) {
	c := newFakeCloud()
	c.lenient = true
	c.add("root", "other.txt", []byte("other"))
	f := driveBy(c, "")
	_, err := f.List(background, "")
	require.NoError(t, err)
	c.add("root", "file.txt", []byte("of another device"))
	_, err = tryPut(f, "file.txt", "ours")
	assert.Equal(t, KindExists, KindOf(err), "%v", err)
	assert.Equal(t, []string{"file.txt", "other.txt"}, c.paths())
	assert.Equal(t, "of another device", string(c.at("file.txt").content))
}

// A replacement needs no listing after its first request, and one item is never
// looked for by listing its folder while the service tells about items.
func TestReplacementsListNothing(t *testing.T) {
	sim := startSimulator(t)
	sim.putFile("folder/file.txt", "old")
	f := sim.open("")
	_, err := f.List(background, "folder")
	require.NoError(t, err)
	for _, fault := range []jsonObject{nil, {"kind": "trash"}, {"kind": "rename"}, {"kind": "update-documents"}} {
		sim.resetCounts()
		if fault != nil {
			sim.fault(fault["kind"].(string), "reset-after")
		}
		put(t, f, "folder/file.txt", fmt.Sprint("new ", fault["kind"]))
		assert.Zero(t, sim.counts()["list"], "%v", fault)
	}
	assert.Equal(t, []string{"folder", "folder/file.txt"}, sim.paths())
}

// A service that does not tell about single items is asked for listings.
func TestReplacementsWithoutDetails(t *testing.T) {
	sim := startSimulator(t)
	sim.putFile("folder/file.txt", "old")
	f := sim.open("")
	sim.fault("list-details", "status", status(400), jsonObject{"times": nil})
	for _, kind := range []string{"trash", "rename", "update-documents"} {
		sim.fault(kind, "reset-after")
		put(t, f, "folder/file.txt", "new "+kind)
		assert.Equal(t, "new "+kind, sim.file("folder/file.txt"))
	}
	assert.Equal(t, 1, sim.counts()["list-details"])
	assert.Equal(t, []string{"folder", "folder/file.txt"}, sim.paths())
}

// Deferred replacements do not wait for the Trash, and one call moves many old
// versions there.
func TestDeferredReplacements(t *testing.T) {
	sim := startSimulator(t)
	const files = 40
	for i := range files {
		sim.putFile(fmt.Sprintf("folder/%02d", i), "old")
	}
	f := sim.open("")
	sim.fault("trash", "hold", jsonObject{"gate": "trash", "at": "arrival", "times": nil})
	ctx := DeferReplacement(background)
	inParallel(8, files, func(i int) {
		name := fmt.Sprintf("folder/%02d", i)
		_, err := f.Put(ctx, strings.NewReader("new"), infoOf(name, "new"))
		assert.NoError(t, err)
	})
	for i := range files {
		assert.Equal(t, "old", sim.file(fmt.Sprintf("folder/%02d", i)))
	}
	soon, cancel := context.WithCancel(background)
	cancel()
	assert.Len(t, Finish(soon), files, "what is not done is told")
	sim.control("POST", "gates/release", jsonObject{"gate": "trash"}, nil)
	assert.Empty(t, Finish(background))
	assert.Len(t, sim.paths(), 1+files)
	for i := range files {
		assert.Equal(t, "new", sim.file(fmt.Sprintf("folder/%02d", i)))
	}
	var trashed []treeItem
	sim.control("GET", "trash", nil, &trashed)
	assert.Len(t, trashed, files)
	assert.LessOrEqual(t, sim.counts()["trash"], 4)
}

// What fails after the upload has returned is told at the end, once.
func TestDeferredReplacementsThatFail(t *testing.T) {
	sim := startSimulator(t)
	sim.putFile("folder/a", "old")
	sim.putFile("folder/b", "old")
	f := sim.open("")
	sim.fault("trash", "hold", jsonObject{"gate": "trash", "at": "arrival"})
	ctx := DeferReplacement(background)
	for _, name := range []string{"folder/a", "folder/b"} {
		_, err := f.Put(ctx, strings.NewReader("new"), infoOf(name, "new"))
		require.NoError(t, err)
	}
	sim.mutate("folder/a", "write", jsonObject{"text": "of another device"})
	sim.control("POST", "gates/release", jsonObject{"gate": "trash"}, nil)
	unfinished := Finish(background)
	require.Len(t, unfinished, 1)
	assert.Equal(t, "folder/a", unfinished[0].Path)
	assert.Equal(t, KindChanged, KindOf(unfinished[0].Err))
	assert.Empty(t, Finish(background))
	assert.Equal(t, "of another device", sim.file("folder/a"))
	assert.Equal(t, "new", sim.file("folder/b"))
}

// Uploads of one file follow each other, and a deletion follows them.
func TestDeferredReplacementsOfOneFile(t *testing.T) {
	sim := startSimulator(t)
	sim.putFile("file", "0")
	f := sim.open("")
	ctx := DeferReplacement(background)
	for i := 1; i < 4; i++ {
		content := fmt.Sprint(i)
		_, err := f.Put(ctx, strings.NewReader(content), infoOf("file", content))
		require.NoError(t, err)
	}
	assert.Empty(t, Finish(background))
	assert.Equal(t, "3", sim.file("file"))
	assert.Equal(t, []string{"file"}, sim.paths())
	sim.fault("trash", "hold", jsonObject{"gate": "trash", "at": "arrival"})
	_, err := f.Put(ctx, strings.NewReader("4"), infoOf("file", "4"))
	require.NoError(t, err)
	left, leave := context.WithCancel(background)
	leave()
	_, err = f.NewObject(left, "file")
	assert.ErrorIs(t, err, context.Canceled, "the old file is not shown for the new one")
	sim.control("POST", "gates/release", jsonObject{"gate": "trash"}, nil)
	o, err := f.NewObject(background, "file")
	require.NoError(t, err)
	require.NoError(t, o.Remove(background))
	assert.Empty(t, sim.paths())
}

// A killed process leaves the old or the new content under every name, and the
// next one completes the rest.
func TestKilledReplacements(t *testing.T) {
	for _, kind := range []string{"trash", "rename"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			sim := startSimulator(t)
			const files = 6
			for i := range files {
				sim.putFile(fmt.Sprint("folder/", i), "old")
			}
			killed := sim.openOwn("")
			sim.fault(kind, "hold", jsonObject{"gate": "gate", "at": "arrival", "times": nil})
			ctx := DeferReplacement(background)
			for i := range files {
				_, err := killed.Put(ctx, strings.NewReader("new"), infoOf(fmt.Sprint("folder/", i), "new"))
				require.NoError(t, err)
			}
			sim.control("POST", "wait", jsonObject{"kind": kind, "n": 1, "timeout_ms": 20000}, nil)
			// The requests of a process that is gone are never carried out.
			sim.fault(kind, "reset-before", jsonObject{"times": nil})
			sim.fault("list-details", "reset-before", jsonObject{"times": nil})
			next := sim.openOwn("")
			entries, err := next.List(background, "folder")
			require.NoError(t, err)
			require.Len(t, entries, files)
			for _, entry := range entries {
				content, err := read(entry.(fs.Object))
				require.NoError(t, err)
				assert.Contains(t, []string{"old", "new"}, content)
			}
			sim.control("DELETE", "faults", nil, nil)
			for i := range files {
				put(t, next, fmt.Sprint("folder/", i), "newest")
			}
			sim.control("POST", "gates/release", jsonObject{"gate": "gate"}, nil)
			_ = killed.drive.pending.finish(background)
			assert.Len(t, sim.paths(), 1+files)
			for i := range files {
				assert.Equal(t, "newest", sim.file(fmt.Sprint("folder/", i)))
			}
		})
	}
}

// Deletions for good leave the Trash as it was, but for a version that somebody
// else has written.
func TestPermanentDeletions(t *testing.T) {
	sim := startSimulator(t)
	f := sim.open("")
	var objects []fs.Object
	for i := range 30 {
		objects = append(objects, put(t, f, fmt.Sprint("kloset/", i), fmt.Sprint("ours ", i)))
	}
	edited := put(t, f, "kloset/edited", "ours")
	sim.mutate("kloset/edited", "write", jsonObject{"text": "of another device"})
	sim.resetCounts()
	inParallel(len(objects), len(objects), func(i int) {
		assert.NoError(t, objects[i].Remove(Permanently(background)))
	})
	require.NoError(t, edited.Remove(Permanently(background)))
	assert.Empty(t, Finish(background))
	assert.Equal(t, []string{"kloset"}, sim.paths())
	trash := sim.trash()
	assert.Len(t, trash, 1)
	assert.Contains(t, trash, digestOf("of another device"))
	assert.Less(t, sim.counts()["trash"]+sim.counts()["delete"], 20)
}

// A failed deletion from the Trash leaves the file there, and is no failure.
func TestPermanentDeletionThatFails(t *testing.T) {
	sim := startSimulator(t)
	f := sim.open("")
	o := put(t, f, "file", "content")
	sim.fault("delete", "status", status(403), jsonObject{"times": nil})
	require.NoError(t, o.Remove(Permanently(background)))
	assert.Empty(t, Finish(background))
	assert.Empty(t, sim.paths())
	assert.Len(t, sim.trash(), 1)
}

// A service that takes one item a call is asked for one by one.
func TestBatchesThatAreRefused(t *testing.T) {
	c := newFakeCloud()
	c.most = 1
	looks := 0 // one for each change whose outcome is not known
	c.spoil = func(_ int, kind string, _ *fakeAnswer) {
		if kind == "retrieveItemDetails" {
			looks++
		}
	}
	var one sync.Mutex
	var f *Fs
	waiting := func() int {
		b := f.drive.removals
		b.mu.Lock()
		defer b.mu.Unlock()
		count := 0
		for _, of := range b.zones {
			count += len(of.waiting)
		}
		return count
	}
	const files = 8
	first := true
	f = driveBy(transport(func(req *http.Request) (*http.Response, error) {
		one.Lock()
		defer one.Unlock()
		for first && fakeKind(req) == "moveItemsToTrash" && waiting() < files-f.drive.removals.eager {
			runtime.Gosched()
		}
		first = first && fakeKind(req) != "moveItemsToTrash"
		return c.RoundTrip(req)
	}), "")
	var objects []fs.Object
	for i := range files {
		objects = append(objects, put(t, f, fmt.Sprint(i), "content"))
	}
	inParallel(len(objects), len(objects), func(i int) {
		assert.NoError(t, objects[i].Remove(background))
	})
	assert.Empty(t, c.paths())
	assert.Zero(t, looks)
}

// The requests that make a document a file always have its size; an empty file
// has no receipt.
func TestRegistrationHasTheSize(t *testing.T) {
	for content, wanted := range map[string]string{
		"":        `"data":{"reference_signature":"r","signature":"s","size":0,"wrapping_key":"k"}`,
		"content": `"data":{"receipt":"t","reference_signature":"r","signature":"s","size":7,"wrapping_key":"k"}`,
	} {
		doc := &document{docID: "D", modified: time.Unix(5, 9)}
		doc.file.Size, doc.file.Signature, doc.file.ReferenceSignature, doc.file.WrappingKey = int64(len(content)), "s", "r", "k"
		if content != "" {
			doc.file.Receipt = "t"
		}
		bytes, err := json.Marshal(registration(driveRoot, "name", doc))
		require.NoError(t, err)
		encoded := string(bytes)
		assert.Contains(t, encoded, wanted)
		assert.Contains(t, encoded, `"allow_conflict":false`)
		assert.Contains(t, encoded, `"mtime":5000`)
	}
}

// No registration has the time 0, which the service may take for no time.
func TestFilesOf1970KeepTheirTime(t *testing.T) {
	for modified, sent := range map[time.Time]int64{
		time.Unix(0, 0): 1, time.Unix(0, 999_999_999): 1, time.Unix(1, 0): 1000, time.Unix(-1, 0): -1000,
	} {
		request := registration(driveRoot, "name", &document{docID: "D", modified: modified})
		assert.Equal(t, sent, request.Mtime, modified)
		assert.Equal(t, sent, request.Btime, modified)
	}
}
