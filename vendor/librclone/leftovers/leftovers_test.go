package leftovers

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rclone/rclone/fs/log"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// die ends the lock of a list, as the death of its process does.
func (l *List) die(t *testing.T) {
	t.Helper()
	require.NoError(t, syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN))
}

// age sets the time of a list back.
func age(t *testing.T, path string, by time.Duration) {
	t.Helper()
	then := time.Now().Add(-by - time.Second)
	require.NoError(t, os.Chtimes(path, then, then))
}

// all returns the argument of Close that settles all entries of a list.
func all(list *Abandoned) []bool { return slices.Repeat([]bool{true}, len(list.Entries)) }

// none returns the argument of Close that settles no entry of a list.
func none(list *Abandoned) []bool { return make([]bool, len(list.Entries)) }

func paths(t *testing.T, prefix string) []string {
	t.Helper()
	var found []string
	for _, list := range Take(prefix) {
		for _, entry := range list.Entries {
			found = append(found, entry.Path+" "+entry.Partial+entry.Aside+string(entry.Item))
		}
		list.Close(all(list))
	}
	return found
}

func files(t *testing.T, prefix string) []string {
	t.Helper()
	found, err := filepath.Glob(prefix + "*")
	require.NoError(t, err)
	return found
}

// Only the entries of a process that has ended are taken, by one process, and only
// those that are not done.
func TestTake(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "kept", "account")
	list := New(prefix)
	a := list.Add(Entry{Path: "a", Partial: "1"})
	b := list.Add(Entry{Path: "b", Partial: "2"})
	list.Add(Entry{Path: "c", Item: json.RawMessage(`{"id":3}`)})
	a.Done()
	b.Change(Entry{Path: "b", Aside: "4"})
	assert.Empty(t, paths(t, prefix), "the process has not ended")
	list.die(t)
	taken := Take(prefix)
	require.Len(t, taken, 1)
	assert.Empty(t, paths(t, prefix), "another process has taken the list")
	taken[0].Close(none(taken[0]))
	assert.Empty(t, paths(t, prefix+"2"), "of another account")
	assert.Equal(t, []string{"b 4", `c {"id":3}`}, paths(t, prefix))
	assert.Empty(t, files(t, prefix))
}

// A list without entries is removed at the end of its process.
func TestClose(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "account")
	list := New(prefix)
	list.Close()
	mark := list.Add(Entry{Path: "a"})
	list.Close()
	require.Len(t, files(t, prefix), 1, "the item still has a temporary name")
	mark.Done()
	list.Close()
	assert.Empty(t, files(t, prefix))
	list.Add(Entry{Path: "b"})
	assert.Len(t, files(t, prefix), 1)
	New("").Add(Entry{Path: "nowhere"}).Done()
}

// A list is small after many uploads, and has the entries of those that were under
// way whenever its process ends.
func TestListsStaySmall(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "account")
	list := New(prefix)
	first := list.Add(Entry{Path: "first"})
	for n := range 3_000 {
		mark := list.Add(Entry{Path: fmt.Sprint(n), Partial: "name"})
		if n%100 == 0 {
			text, err := os.ReadFile(list.file.Name())
			require.NoError(t, err)
			entries, damaged := parse(text)
			assert.False(t, damaged)
			require.Len(t, entries, 2)
			assert.Equal(t, []string{"first", fmt.Sprint(n)}, []string{entries[0].Entry.Path, entries[1].Entry.Path})
		}
		mark.Done()
	}
	info, err := list.file.Stat()
	require.NoError(t, err)
	assert.LessOrEqual(t, info.Size(), int64(compactSize+1000))
	first.Done()
}

// The number of entries is limited.
func TestTooManyEntries(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "account")
	list := New(prefix)
	for range maxOpen + 10 {
		list.Add(Entry{Path: "a"})
	}
	list.die(t)
	assert.Len(t, paths(t, prefix), maxOpen)
}

// The good lines of a damaged list are used. A list without one is removed.
func TestDamagedLists(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "account")
	good := `{"n":1,"entry":{"path":"a","partial":"1"}}` + "\n"
	for text, entries := range map[string]int{
		"":                          0,
		good:                        1,
		good + `{"n":2,"ent`:        1,
		"\x00\x00\n" + good:         1,
		`{"entry":{"path":"a"}}`:    0,
		`[1]` + "\n" + `"x"` + "\n": 0,
	} {
		path := prefix + here().nameOf("X")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		assert.Len(t, paths(t, prefix), entries, "%q", text)
		assert.Empty(t, files(t, prefix), "%q", text)
	}
}

// The requests of a process that has just died may still be carried out.
func TestRecentLists(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "account")
	list := New(prefix)
	list.Add(Entry{Path: "a", Partial: "1"})
	list.die(t)
	for _, old := range []time.Duration{0, quietAge} {
		age(t, list.file.Name(), old)
		taken := Take(prefix)[0]
		assert.Equal(t, old < quietAge, taken.IsRecent())
		taken.Close(none(taken))
	}
}

// Entries that are not settled stay in the list, which keeps its age.
func TestPartlySettledLists(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "account")
	list := New(prefix)
	for _, name := range []string{"a", "b", "c"} {
		list.Add(Entry{Path: name})
	}
	list.die(t)
	before, err := os.Stat(list.file.Name())
	require.NoError(t, err)
	Take(prefix)[0].Close([]bool{true, false, true})
	after, err := os.Stat(list.file.Name())
	require.NoError(t, err)
	assert.Equal(t, before.ModTime(), after.ModTime())
	assert.Equal(t, []string{"b "}, paths(t, prefix))
	assert.Empty(t, files(t, prefix))
}

// The lock of a list says nothing about the processes of another machine.
func TestListsOfOtherMachines(t *testing.T) {
	const never = 100 * maxAge
	for name, c := range map[string]struct {
		machine
		used, removed time.Duration // the ages
	}{
		"container":     {machine{"other", here().boot}, 0, 0},
		"restarted":     {machine{here().name, "other"}, restartAge, restartAge},
		"other machine": {machine{"other", "other"}, never, maxAge},
	} {
		t.Run(name, func(t *testing.T) {
			prefix := filepath.Join(t.TempDir(), "account")
			path := prefix + c.nameOf("X")
			require.NoError(t, os.WriteFile(path, []byte(`{"n":1,"entry":{"path":"a","partial":"1"}}`), 0o600))
			for _, old := range []time.Duration{0, restartAge, maxAge} {
				age(t, path, old)
				found := paths(t, prefix)
				if old >= c.used {
					assert.Equal(t, []string{"a 1"}, found)
				} else {
					assert.Empty(t, found, old)
				}
				if old >= c.removed {
					assert.Empty(t, files(t, prefix), old)
					return
				}
				assert.Len(t, files(t, prefix), 1, old)
			}
		})
	}
}

// A message has the names in an old list that is removed.
func TestMessageOfOldLists(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "account")
	list := New(prefix)
	list.Add(Entry{Path: "folder/a", Partial: "folder/.1", Aside: "folder/.2"})
	list.die(t)
	age(t, list.file.Name(), maxAge)
	said := logged(t, func() { taken := Take(prefix)[0]; taken.Close(none(taken)) })
	for _, name := range []string{`"folder/a"`, `"folder/.1"`, `"folder/.2"`} {
		assert.Contains(t, said, name)
	}
}

// A list whose items cannot be settled is kept for a month.
func TestOldLists(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "account")
	list := New(prefix)
	list.Add(Entry{Path: "a"})
	path := list.file.Name()
	list.die(t)
	for _, days := range []int{29, 31} {
		age(t, path, time.Duration(days)*24*time.Hour)
		for _, taken := range Take(prefix) {
			taken.Close(none(taken))
		}
		assert.Len(t, files(t, prefix), map[bool]int{true: 1, false: 0}[days < 30])
	}
}

// logged returns what is logged while a function runs.
func logged(t *testing.T, run func()) string {
	t.Helper()
	var said strings.Builder
	log.Handler.SetOutput(func(_ slog.Level, text string) { said.WriteString(text) })
	t.Cleanup(log.Handler.ResetOutput)
	run()
	return said.String()
}

// A request for an item keeps the list young.
func TestTouch(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "a.")
	list := New(prefix)
	mark := list.Add(Entry{Path: "a", Partial: "b"})
	require.NotNil(t, mark)
	old := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(list.file.Name(), old, old))
	mark.Touch()
	info, err := os.Stat(list.file.Name())
	require.NoError(t, err)
	assert.Less(t, time.Since(info.ModTime()), time.Minute)
}
