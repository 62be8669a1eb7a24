package icloud

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/drive"
	"plakar-icloud/librclone/backend/icloud/transport"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/rclone/rclone/fs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// specialNames has names that some services do not accept. The value is true if the
// simulator refuses the name when all guessed rules apply.
var specialNames = map[string]bool{
	"plain.txt": false, "no extension": false, ".hidden": false, "..two": false, "a.b.c": false,
	"ends with a dot.": true, "ends with two dots..": true, " leading space": true, "trailing space ": true,
	"tab\tinside": true, "\rleading CR": true, "trailing LF\n": true, "\x01control\x1f": true, "delete\x7f": true,
	"Icon\r": true, "Notes ": true, " lead.txt": true, "etc.": true, "alone＼.txt": false, "a／b": false, "␍ and ‛␍": false,
	"back\\slash": true, "colon:question?star*": false, "quotes\"'`": false, "less<more>": false, "pipe|": false,
	"percent%41": false, "hash#": false, "semicolon;": false, "{curly}[square]": false, "at@": false, "&amp;": false,
	"emoji 👨‍👩‍👧‍👦": false, "日本語": false, "العربية": false, "ñ ü ş": false, "ﬁ ligature": false,
	"CONFIG": false, "Dropbox": false, "~tilde": false, "$dollar": false, "a␠b": false,
}

// guessedRules are the rules by which the service may refuse names.
var guessedRules = []string{"backslash", "control", "too-long", "trailing-dot", "leading-space", "trailing-space"}

func (s *simulator) refuseNames(refused bool) {
	rules := simtest.JSON{}
	for _, rule := range guessedRules {
		rules[rule] = refused
	}
	s.DriveRules(simtest.JSON{"refuse_names": rules})
}

// An accepted name is stored, listed and found with exactly its characters.
func TestNamesAreUnchanged(t *testing.T) {
	sim := startSimulator(t)
	sim.refuseNames(false)
	f := sim.open("")
	want := map[string]bool{}
	for name := range specialNames {
		remote := drive.ShownName(name)
		put(t, f, "folder/"+remote+"/"+remote, name)
		want["folder/"+remote] = true
		assert.Equal(t, name, sim.File("folder/"+name+"/"+name))
	}
	f.DirCacheFlush()
	entries, err := f.List(background, "folder")
	require.NoError(t, err)
	assert.Equal(t, slices.Sorted(maps.Keys(want)), names(entries))
	for name := range specialNames {
		o, err := f.NewObject(background, "folder/"+drive.ShownName(name)+"/"+drive.ShownName(name))
		require.NoError(t, err, "%q", name)
		content, err := read(o)
		require.NoError(t, err)
		assert.Equal(t, name, content)
	}
}

// A refused name is an error; no other name is tried.
func TestNamesThatTheServiceRefuses(t *testing.T) {
	sim := startSimulator(t)
	sim.refuseNames(true)
	f := sim.open("")
	stored := 0
	for name, refused := range specialNames {
		remote := "folder/" + drive.ShownName(name)
		_, err := tryPut(f, remote, name)
		if !refused {
			require.NoError(t, err, "%q", name)
			stored++
			continue
		}
		assert.Equal(t, apierr.KindRefusedName, apierr.KindOf(err), "%q", name)
		assert.Equal(t, apierr.KindRefusedName, apierr.KindOf(f.Mkdir(background, remote)), "%q", name)
	}
	assert.Len(t, filesIn(sim), stored)
}

// An upload under ExpectNew replaces neither a file with its name nor a file whose name
// the service treats as equal.
func TestExpectNewReplacesNoEqualName(t *testing.T) {
	for matching, folds := range map[string]bool{"ignoring-case": true, "case-sensitive": false} {
		sim := startSimulator(t)
		sim.DriveRules(simtest.JSON{"name_matching": matching})
		f := sim.open("")
		put(t, f, "folder/Report.txt", "first")
		only := func(remote string) error {
			_, err := f.Put(drive.ExpectNew(background), strings.NewReader("second"), infoOf(remote, "second"))
			return err
		}
		assert.Equal(t, apierr.KindExists, apierr.KindOf(only("folder/Report.txt")))
		if err := only("folder/report.txt"); folds {
			assert.Equal(t, apierr.KindExists, apierr.KindOf(err))
		} else {
			require.NoError(t, err)
			assert.Equal(t, "second", sim.File("folder/report.txt"))
		}
		require.NoError(t, only("folder/other.txt"))
		assert.Equal(t, "first", sim.File("folder/Report.txt"))
		assert.Zero(t, sim.Counts()["trash"])
	}
}

// The error for a refused item blames the name only if the name is unusual.
func TestReasonOfARefusedName(t *testing.T) {
	sim := startSimulator(t)
	sim.DriveRules(simtest.JSON{"refuse_names": simtest.JSON{"colon": true}})
	f := sim.open("")
	long := strings.Repeat("x", 256)
	for _, name := range []string{"a:b", long, strings.Repeat("é", 128)} {
		_, err := tryPut(f, name, "content")
		assert.Equal(t, apierr.KindRefusedName, apierr.KindOf(err), "%v", err)
		assert.Equal(t, apierr.KindRefusedName, apierr.KindOf(f.Mkdir(background, name)))
	}
	put(t, f, strings.Repeat("é", 127), "the longest")
	put(t, f, "file", "content")
	o, err := f.NewObject(background, "file")
	require.NoError(t, err)
	_, err = f.Move(background, o, long)
	assert.Equal(t, apierr.KindRefusedName, apierr.KindOf(err))
	assert.Equal(t, "content", sim.File("file"))
	put(t, f, strings.Repeat("é", 127), "is replaced, too")
	assert.Equal(t, "is replaced, too", sim.File(strings.Repeat("é", 127)))

	sim.Fault("upload-web", "status", simtest.Status(400), simtest.JSON{"times": nil})
	_, err = tryPut(f, strings.Repeat("0123456789abcdef", 4), "content")
	assert.Equal(t, apierr.KindUnsupported, apierr.KindOf(err), "%v", err)
	assert.NotContains(t, err.Error(), "name")
}

// Names longer than the guessed limit work if the service accepts them.
func TestLongNames(t *testing.T) {
	sim := startSimulator(t)
	sim.refuseNames(false)
	f := sim.open("")
	long := strings.Repeat("n", 300) + ".txt"
	put(t, f, long, "1")
	put(t, f, long, "2")
	assert.Equal(t, []string{long}, sim.Paths())
	assert.Equal(t, "2", sim.File(long))
}

// Two files whose names differ in case are kept apart if the service distinguishes them.
// Otherwise the second one replaces the first.
func TestNamesThatDifferByCase(t *testing.T) {
	for rule, files := range map[string][]string{
		"case-sensitive": {"Dir/Case.md", "Dir/case.md"},
		"ignoring-case":  {"Dir/case.md"},
	} {
		t.Run(rule, func(t *testing.T) {
			sim := startSimulator(t)
			sim.DriveRules(simtest.JSON{"name_matching": rule})
			f := sim.open("")
			put(t, f, "Dir/Case.md", "upper")
			put(t, f, "Dir/case.md", "lower")
			assert.Equal(t, files, filesIn(sim))
			_, err := tryPut(f, "dir", "a file beside the folder Dir")
			if rule == "case-sensitive" {
				require.NoError(t, err)
				assert.Equal(t, append(files, "dir"), filesIn(sim))
				require.NoError(t, must(f.NewObject(background, "dir")).Remove(background))
			} else {
				assert.ErrorIs(t, err, fs.ErrorIsDir)
			}
			entries, err := f.List(background, "Dir")
			require.NoError(t, err)
			require.Len(t, entries, len(files))
			for _, entry := range entries {
				content, err := read(entry.(fs.Object))
				require.NoError(t, err)
				want := "lower"
				if strings.HasSuffix(entry.Remote(), "Case.md") {
					want = "upper"
				}
				assert.Equal(t, want, content)
			}
			o, err := f.NewObject(background, "DIR/CASE.MD")
			if rule == "case-sensitive" {
				assert.Equal(t, fs.ErrorObjectNotFound, err)
				put(t, f, "DIR/CASE.MD", "third")
				assert.Equal(t, []string{"DIR/CASE.MD", "Dir/Case.md", "Dir/case.md"}, filesIn(sim))
			} else {
				require.NoError(t, err)
				require.NoError(t, o.Update(background, strings.NewReader("third"), infoOf("", "third")))
				assert.Equal(t, []string{"Dir/CASE.MD"}, filesIn(sim))
			}
		})
	}
}

// Two folders whose names differ in case are kept apart if the service distinguishes
// them. Otherwise they are one folder, which is detected only once.
func TestFoldersThatDifferByCase(t *testing.T) {
	for rule, want := range map[string][]string{
		"case-sensitive": {"DOCS/b", "Docs/a", "docs/a", "docs/b"},
		"ignoring-case":  {"Docs/a", "Docs/b"},
	} {
		for _, existing := range []string{"unknown", "already-exists", "bounce"} {
			t.Run(rule+" "+existing, func(t *testing.T) {
				sim := startSimulator(t)
				sim.DriveRules(simtest.JSON{"name_matching": rule, "existing_folder": existing})
				f := sim.open("")
				for _, path := range []string{"Docs/a", "docs/a", "docs/b", "DOCS/b"} {
					put(t, f, path, path)
					assert.NoError(t, holdsContent(f, path, path))
				}
				assert.Equal(t, want, filesIn(sim))
				made := map[string]int{"case-sensitive": 3, "ignoring-case": 2}[rule]
				if rule == "ignoring-case" && existing == "unknown" {
					made += transport.DoubtfulTries - 1 // UNKNOWN may be temporary
				}
				assert.Equal(t, made, sim.Counts()["create-folders"])
			})
		}
	}
}

// If the service treats two names as equal by an unknown rule, the existing item is
// found by coarseKey.
func TestNamesThatTheServiceTreatsAsEqual(t *testing.T) {
	sim := startSimulator(t)
	sim.DriveRules(simtest.JSON{"name_matching": "ignoring-case"})
	f := sim.open("")
	put(t, f, "straße", "1")
	put(t, f, "STRASSE", "2")
	assert.Equal(t, []string{"STRASSE"}, sim.Paths())
	assert.Equal(t, "2", sim.File("STRASSE"))
	require.NoError(t, f.Mkdir(background, "Füße"))
	put(t, f, "FÜSSE/file", "in the same folder")
	assert.Len(t, filesIn(sim), 2)
}

// A refusal that may be temporary, or have another reason, does not show that two names
// that differ in case are equal.
func TestTemporaryRefusalOfANameThatDiffersInCase(t *testing.T) {
	for status, stored := range map[int]bool{400: false, 409: true, 412: false} {
		c := newFakeCloud()
		c.add("root", "Case.md", []byte("precious"))
		left := 3
		c.instead = func(_ int, kind string) *fakeResponse {
			if kind == "documents" && left > 0 {
				left--
				return refusing(status, "{}")()
			}
			return nil
		}
		f := c.drive("")
		_, err := tryPut(f, "case.md", "other")
		want := []string{"Case.md"}
		if stored {
			require.NoError(t, err, status)
			want = append(want, "case.md")
		}
		assert.Equal(t, stored, err == nil, "%d: %v", status, err)
		assert.Equal(t, want, c.paths(), status)
		assert.Equal(t, "precious", string(c.at("Case.md").content))
		_, err = f.NewObject(background, "CASE.MD")
		assert.Equal(t, fs.ErrorObjectNotFound, err, "the case still matters")
	}
}

// A temporary refusal does not merge two folders whose names differ in case.
func TestTemporaryRefusalOfAFolderThatDiffersInCase(t *testing.T) {
	for name, refusal := range map[string]func() *fakeResponse{
		"unknown":        refusing(200, `{"folders":[{"status":"UNKNOWN","clientId":"x"}]}`),
		"busy":           refusing(200, `{"folders":[{"status":"ZONE_BUSY","clientId":"x"}]}`),
		"does not exist": refusing(200, `{"folders":[{"status":"DOES_NOT_EXIST","clientId":"x"}]}`),
		"conflict":       refusing(409, "{}"),
		"bad request":    refusing(400, "{}"),
	} {
		c := newFakeCloud()
		c.add(c.add("root", "Foo", nil).id, "x.txt", []byte("precious"))
		left := 2
		c.instead = func(_ int, kind string) *fakeResponse {
			if kind == "createFolders" && left > 0 {
				left--
				return refusal()
			}
			return nil
		}
		f := c.drive("")
		_, err := tryPut(f, "foo/x.txt", "other")
		require.NoError(t, err, name)
		assert.Equal(t, []string{"Foo", "Foo/x.txt", "foo", "foo/x.txt"}, c.paths(), name)
		_, err = f.NewObject(background, "FOO/x.txt")
		assert.Equal(t, fs.ErrorObjectNotFound, err, "the case still matters: %s", name)
	}
}

// A lasting refusal that does not concern the name is an error.
func TestLastingRefusalOfAFolderThatDiffersInCase(t *testing.T) {
	for _, refusal := range []func() *fakeResponse{
		refusing(200, `{"folders":[{"status":"ZONE_BUSY","clientId":"x"}]}`), refusing(409, "{}"),
	} {
		c := newFakeCloud()
		c.add(c.add("root", "Foo", nil).id, "x.txt", []byte("precious"))
		c.instead = func(_ int, kind string) *fakeResponse {
			if kind == "createFolders" {
				return refusal()
			}
			return nil
		}
		f := c.drive("")
		assert.Error(t, f.Mkdir(background, "foo"))
		_, err := f.NewObject(background, "foo/x.txt")
		assert.Equal(t, fs.ErrorObjectNotFound, err, "the case still matters")
	}
}

// As long as the service was not seen to treat upper and lower case as equal, paths must
// have the exact case. A listed file is found again even if its folder was renamed.
func TestPathsThatDifferByCase(t *testing.T) {
	c := newFakeCloud()
	docs := c.add("root", "Docs", nil)
	file := c.add(docs.id, "Case.md", []byte("precious"))
	c.add("root", "Empty", nil)
	f := c.drive("")
	for _, path := range []string{"Docs/case.md", "docs/Case.md", "DOCS/CASE.MD"} {
		_, err := f.NewObject(background, path)
		assert.Equal(t, fs.ErrorObjectNotFound, err, path)
	}
	assert.Equal(t, fs.ErrorDirNotFound, f.Rmdir(background, "empty"))
	assert.Equal(t, fs.ErrorDirNotFound, f.Purge(background, "docs"))
	assert.Equal(t, fs.ErrorDirNotFound, f.DirMove(background, f, "docs", "elsewhere"))

	_, err := f.List(background, "docs")
	assert.Equal(t, fs.ErrorDirNotFound, err, "a file stored there would be in another folder")
	entries, err := f.List(background, "Docs")
	require.NoError(t, err)
	require.Equal(t, []string{"Docs/Case.md"}, names(entries))
	listed := entries[0].(*Object)
	content, err := read(listed)
	require.NoError(t, err)
	assert.Equal(t, "precious", content)
	c.change++
	file.etag, file.content = c.change, []byte("changed since")
	f.DirCacheFlush()
	now, err := listed.Latest(background)
	require.NoError(t, err)
	content, err = read(now)
	require.NoError(t, err)
	assert.Equal(t, "changed since", content)
	assert.Equal(t, "Docs/Case.md", now.Remote())

	file.name = "case.md"
	f.DirCacheFlush()
	_, err = listed.Latest(background)
	assert.Equal(t, fs.ErrorObjectNotFound, err, "another file")
	require.NoError(t, f.DirMove(background, f, "Docs", "docs"))
	assert.Equal(t, []string{"Empty", "docs", "docs/case.md"}, c.paths())
}

// If the service reports a name as taken that exists only in another case, the two are
// treated as equal from then on.
func TestTakenNameShowsThatCaseDoesNotMatter(t *testing.T) {
	c := newFakeCloud()
	c.add("root", "Case.md", []byte("old"))
	f := c.drive("")
	_, err := f.NewObject(background, "CASE.md")
	require.Equal(t, fs.ErrorObjectNotFound, err)
	refused := false
	c.instead = func(_ int, kind string) *fakeResponse {
		if kind == "documents" && !refused {
			refused = true
			return refusing(409, `{"reason":"Uniqueness constraint violation"}`)()
		}
		return nil
	}
	put(t, f, "case.md", "new")
	assert.Equal(t, []string{"case.md"}, c.paths())
	o, err := f.NewObject(background, "CASE.md")
	require.NoError(t, err)
	content, err := read(o)
	require.NoError(t, err)
	assert.Equal(t, "new", content)
}
