package icloud

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/drive"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/fserrors"
	"github.com/rclone/rclone/fs/object"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"
)

// stepFaults are the faults that a request can have.
var stepFaults = []struct {
	action string
	more   simtest.JSON
}{
	{"status", simtest.Status(503)},
	{"status", simtest.Status(429)},
	{"status", simtest.Status(500)},
	{"reset-before", nil},
	{"reset-after", nil},
	{"html-page", nil},
	{"truncate", simtest.JSON{"bytes": 10, "clean": false}},
}

// An upload succeeds if a step of it fails once or twice, or if the response to the step
// is lost or unreadable. The file exists once, complete and under its name, and the same
// process can replace it afterwards.
func TestUploadSurvivesFaults(t *testing.T) {
	steps := map[string][]string{
		"new":     {"list", "create-folders", "upload-web", "content-post", "update-documents"},
		"replace": {"upload-web", "content-post", "update-documents", "trash", "rename"},
	}
	for what, kinds := range steps {
		for _, kind := range kinds {
			for _, fault := range stepFaults {
				t.Run(fmt.Sprint(what, " ", kind, " ", fault.action, fault.more), func(t *testing.T) {
					t.Parallel()
					sim := startSimulator(t)
					f := sim.openOwn("")
					if what == "replace" {
						put(t, f, "folder/file.txt", "the old content")
					}
					sim.Fault(kind, fault.action, fault.more, simtest.JSON{"times": 2})
					o := put(t, f, "folder/file.txt", "the new content")
					assert.Equal(t, "the new content", sim.File("folder/file.txt"))
					assert.Equal(t, []string{"folder", "folder/file.txt"}, sim.Paths())
					content, err := read(o)
					require.NoError(t, err)
					assert.Equal(t, "the new content", content)
					o = put(t, f, "folder/file.txt", "the newest content")
					assert.Equal(t, "the newest content", sim.File("folder/file.txt"))
					assert.Equal(t, []string{"folder", "folder/file.txt"}, sim.Paths())
					listed, err := f.NewObject(background, "folder/file.txt")
					require.NoError(t, err)
					assert.Equal(t, o.(*Object).Version(), listed.(*Object).Version())
				})
			}
		}
	}
}

// A registration that was made although the service refused it has succeeded, even if
// the service then refuses to repeat it because the name or the space is taken.
func TestRegistrationThatWasRefusedAndMade(t *testing.T) {
	taken := fakeResponse{status: 409, body: []byte(`{"reason":"Uniqueness constraint violation. Rejecting update"}`)}
	full := fakeResponse{status: 507, body: []byte(`{"reason":"The quota is exceeded"}`)}
	for _, test := range []struct {
		status   int
		repeated fakeResponse
	}{{429, taken}, {503, taken}, {503, full}} {
		c := newFakeCloud()
		c.add("root", "old.txt", []byte("old"))
		sent := 0
		c.spoil = func(_ int, kind string, response *fakeResponse) {
			if kind != "documents" {
				return
			}
			switch sent++; sent {
			case 1:
				response.status = test.status
			case 2:
				response.status, response.body = test.repeated.status, test.repeated.body
			}
		}
		f := processBy(c, "", simtest.NewSessionFile())
		for _, name := range []string{"new.txt", "old.txt"} {
			sent = 0
			_, err := f.Put(background, strings.NewReader("content"), infoOf(name, "content"))
			require.NoError(t, err, "%d %s", test.status, name)
			assert.Equal(t, 2, sent)
			assert.Equal(t, "content", string(c.at(name).content))
		}
		assert.Equal(t, []string{"new.txt", "old.txt"}, c.paths())
	}
}

// If a replacement fails at any step, or the process is killed, the folder shows the old
// or the new content under the name.
func TestReplaceNeverLosesTheFile(t *testing.T) {
	for _, kind := range []string{"upload-web", "content-post", "update-documents", "trash", "rename"} {
		for _, action := range []string{"reset-before", "reset-after"} {
			t.Run(kind+" "+action, func(t *testing.T) {
				t.Parallel()
				sim := startSimulator(t)
				f := sim.openOwn("")
				put(t, f, "file.txt", "the old content")
				sim.Fault(kind, action, simtest.JSON{"times": nil})
				for _, look := range []string{"list", "list-details"} { // look-ups fail, too
					sim.Fault(look, "reset-before", simtest.JSON{"times": nil})
				}
				ctx, kill := context.WithTimeout(background, time.Minute)
				defer kill()
				_, err := f.Put(ctx, strings.NewReader("the new content"), infoOf("file.txt", "the new content"))
				require.Error(t, err)
				sim.Control("DELETE", "faults", nil, nil)

				later := sim.openOwn("")
				entries, err := later.List(background, "")
				require.NoError(t, err)
				require.Equal(t, []string{"file.txt"}, names(entries), "in the drive: %q", sim.Paths())
				content, err := read(entries[0].(fs.Object))
				require.NoError(t, err)
				assert.Contains(t, []string{"the old content", "the new content"}, content)

				put(t, later, "file.txt", "the newest content")
				assert.Equal(t, "the newest content", sim.File("file.txt"))
				entries, err = later.List(background, "")
				require.NoError(t, err)
				assert.Equal(t, []string{"file.txt"}, names(entries))
			})
		}
	}
}

// A leftover of a killed process is hidden. It is removed by the next upload of the same
// file. Those of other files are kept, however old: a process that a machine has suspended
// is about to move the old file to the Trash.
func TestLeftoversAreTidied(t *testing.T) {
	sim := startSimulator(t)
	f := sim.open("")
	now := time.Now()
	long := strings.Repeat("n", 250) + ".txt"
	young, old := drive.ReplacementName("file.txt", now.Add(-time.Minute), 1), drive.ReplacementName("file.txt", now.Add(-48*time.Hour), 2)
	oldLong := drive.ReplacementName(long, now.Add(-48*time.Hour), 3)
	orphan := drive.ReplacementName("gone.txt", now.Add(-48*time.Hour), 4)
	orphanLong := drive.ReplacementName(strings.Repeat("x", 250), now.Add(-48*time.Hour), 5)
	for _, name := range []string{"file.txt", long, young, old, oldLong, orphan, orphanLong} {
		sim.PutFile("folder/"+name, "content of "+name)
	}
	entries, err := f.List(background, "folder")
	require.NoError(t, err)
	assert.Equal(t, []string{"folder/file.txt", "folder/gone.txt", "folder/" + long, "folder/" + orphanLong}, names(entries))
	gone, err := f.NewObject(background, "folder/gone.txt")
	require.NoError(t, err)
	content, err := read(gone)
	require.NoError(t, err)
	assert.Equal(t, "content of "+orphan, content)

	put(t, f, "folder/other.txt", "other")
	kept := []string{"folder", "folder/file.txt", "folder/other.txt", "folder/" + long, "folder/" + oldLong, "folder/" + orphan, "folder/" + orphanLong}
	assert.Equal(t, sortedOf(append(kept, "folder/"+young, "folder/"+old)...), sim.Paths())

	put(t, f, "folder/file.txt", "again")
	assert.Equal(t, sortedOf(kept...), sim.Paths())

	put(t, f, "folder/"+long, "again")
	assert.NotContains(t, sim.Paths(), "folder/"+oldLong)

	put(t, f, "folder/gone.txt", "back")
	assert.Equal(t, "back", sim.File("folder/gone.txt"))
	assert.NotContains(t, sim.Paths(), "folder/"+orphan)

	file, err := f.NewObject(background, "folder/file.txt")
	require.NoError(t, err)
	require.NoError(t, file.Remove(background))
	entries, err = f.List(background, "folder")
	require.NoError(t, err)
	assert.NotContains(t, names(entries), "folder/file.txt", "a deleted file does not reappear")
}

func sortedOf(names ...string) []string {
	set := map[string]bool{}
	for _, name := range names {
		set[name] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// An upload replaces a file whose name the service treats as equal, if that file was there
// before.
func TestUploadNoticesATakenName(t *testing.T) {
	for _, taken := range []string{"bounce", "refuse"} {
		t.Run(taken, func(t *testing.T) {
			sim := startSimulator(t)
			sim.DriveRules(simtest.JSON{"taken_name": taken, "name_matching": "ignoring-case"})
			sim.PutFile("folder/File.txt", "old")
			f := sim.open("")
			put(t, f, "folder/other.txt", "other")
			o := put(t, f, "folder/file.txt", "ours")
			assert.Equal(t, "ours", sim.File("folder/file.txt"))
			assert.Equal(t, []string{"folder", "folder/file.txt", "folder/other.txt"}, sim.Paths())
			content, err := read(o)
			require.NoError(t, err)
			assert.Equal(t, "ours", content)
		})
	}
}

// A folder that another device has created under the name is used, and no second folder
// is left.
func TestMkdirNoticesATakenName(t *testing.T) {
	for _, existing := range []string{"unknown", "already-exists", "bounce"} {
		t.Run(existing, func(t *testing.T) {
			sim := startSimulator(t)
			sim.DriveRules(simtest.JSON{"existing_folder": existing})
			f := sim.open("")
			put(t, f, "other.txt", "other")
			sim.PutFile("folder/theirs.txt", "theirs")
			put(t, f, "folder/ours.txt", "ours")
			assert.Equal(t, []string{"folder", "folder/ours.txt", "folder/theirs.txt", "other.txt"}, sim.Paths())
		})
	}
}

// Concurrent uploads into missing folders create each folder once.
func TestUploadMakesFoldersOnce(t *testing.T) {
	sim := startSimulator(t)
	sim.DriveRules(simtest.JSON{"existing_folder": "bounce"})
	sim.Rules(simtest.JSON{"transport": simtest.JSON{"latency_ms": 5}})
	f := sim.open("")
	simtest.InParallel(16, 32, func(i int) {
		_, err := tryPut(f, fmt.Sprintf("a/b/%d/file%d", i%2, i), "content")
		assert.NoError(t, err)
	})
	assert.Len(t, sim.Paths(), 4+32)
	assert.Equal(t, 4, sim.Counts()["create-folders"])
}

// An upload into a folder that another device has deleted or moved creates the folder
// again, or finds it.
func TestUploadIntoAFolderThatIsGone(t *testing.T) {
	sim := startSimulator(t)
	f := sim.open("")
	put(t, f, "a/b/one.txt", "1")
	sim.Mutate("a/b", "trash", nil)
	put(t, f, "a/b/two.txt", "2")
	assert.Equal(t, []string{"a", "a/b", "a/b/two.txt"}, sim.Paths())
	sim.Mutate("a", "rename", simtest.JSON{"to": "c"})
	put(t, f, "a/b/three.txt", "3")
	assert.Contains(t, []string{"a/b/three.txt c/b/two.txt", "c/b/three.txt c/b/two.txt"}, strings.Join(filesIn(sim), " "))
}

func filesIn(sim *simulator) []string {
	var files []string
	for _, path := range sim.Paths() {
		if !sim.Tree()[path].Folder {
			files = append(files, path)
		}
	}
	return files
}

// An upload over the quota fails with KindQuota after one request.
func TestUploadOverQuota(t *testing.T) {
	sim := startSimulator(t)
	sim.DriveRules(simtest.JSON{"quota": 10})
	f := sim.open("")
	_, err := tryPut(f, "file.txt", "more than ten bytes")
	assert.Equal(t, apierr.KindQuota, apierr.KindOf(err), "%v", err)
	assert.ErrorContains(t, err, "file.txt")
	assert.Equal(t, 1, sim.Counts()["upload-web"])
	assert.False(t, fserrors.IsRetryError(err))
}

// The time of an upload is stored in whole seconds, and listings have the same time.
func TestUploadKeepsTheTime(t *testing.T) {
	sim := startSimulator(t)
	f := sim.open("")
	for i, at := range []time.Time{
		time.Date(2001, 2, 3, 4, 5, 6, 999_999_999, time.UTC),
		time.Date(1969, 12, 31, 23, 59, 58, 500_000_000, time.UTC),
	} {
		name := fmt.Sprint("file", i)
		o, err := f.Put(background, strings.NewReader("x"), object.NewStaticObjectInfo(name, at, 1, true, nil, nil))
		require.NoError(t, err)
		f.DirCacheFlush()
		listed, err := f.NewObject(background, name)
		require.NoError(t, err)
		assert.Equal(t, at.Unix(), o.ModTime(background).Unix())
		assert.True(t, o.ModTime(background).Equal(listed.ModTime(background)), "%v %v", o.ModTime(background), listed.ModTime(background))
	}
}

// Names are shown in NFC, whatever form the service returns. The two Unicode forms are one
// file, and so are all cases if the service ignores case.
func TestEqualNamesAreOneFile(t *testing.T) {
	sim := startSimulator(t)
	sim.DriveRules(simtest.JSON{"name_matching": "ignoring-case"})
	f := sim.open("")
	composed := "Été à Zürich.txt"
	put(t, f, norm.NFD.String("dossier é/"+composed), "1")
	put(t, f, "dossier é/"+composed, "2")
	put(t, f, "DOSSIER É/"+strings.ToUpper(composed), "3")
	assert.Equal(t, 2, len(sim.Paths()), "%q", sim.Paths())
	entries, err := f.List(background, "dossier é")
	require.NoError(t, err)
	assert.Equal(t, []string{"dossier é/" + strings.ToUpper(composed)}, names(entries))
	o, err := f.NewObject(background, norm.NFD.String("Dossier é/été à zürich.txt"))
	require.NoError(t, err)
	content, err := read(o)
	require.NoError(t, err)
	assert.Equal(t, "3", content)
}

// openOwn opens a remote for a test that runs in parallel with others.
func (s *simulator) openOwn(root string) *Fs {
	s.T.Helper()
	configuration := s.configured()
	configuration["session_file"] = s.T.TempDir() + "/session.json" // so that the tests do not share an account
	f, err := s.openShared(root, configuration)
	require.NoError(s.T, err)
	return f
}
