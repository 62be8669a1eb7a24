package leftovers

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// die ends the lock of a list, as the death of its process does.
func (l *List) die() { _ = syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN) }

func paths(t *testing.T, prefix string) []string {
	t.Helper()
	var found []string
	for _, list := range Take(prefix) {
		for _, entry := range list.Entries {
			found = append(found, entry.Path+" "+entry.Partial+entry.Aside+string(entry.Item))
		}
		list.Close(true)
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
	list.die()
	taken := Take(prefix)
	require.Len(t, taken, 1)
	assert.Empty(t, paths(t, prefix), "another process has taken the list")
	taken[0].Close(false)
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
			assert.Equal(t, []string{"first", fmt.Sprint(n)}, []string{entries[0].Path, entries[1].Path})
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
	list.die()
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
		require.NoError(t, os.WriteFile(prefix+"-X"+suffix, []byte(text), 0o600))
		assert.Len(t, paths(t, prefix), entries, "%q", text)
		assert.Empty(t, files(t, prefix), "%q", text)
	}
}

// A list whose items cannot be settled is kept for a month.
func TestOldLists(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "account")
	list := New(prefix)
	list.Add(Entry{Path: "a"})
	path := list.file.Name()
	list.die()
	for _, days := range []int{29, 31} {
		old := time.Now().AddDate(0, 0, -days)
		require.NoError(t, os.Chtimes(path, old, old))
		for _, taken := range Take(prefix) {
			taken.Close(false)
		}
		assert.Len(t, files(t, prefix), map[bool]int{true: 1, false: 0}[days < 30])
	}
}
