package remote

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"plakar-icloud/librclone/leftovers"

	"github.com/rclone/rclone/fs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// atRemoval is the number of dieInReplacement for a death at the removal of the
// replaced file.
const atRemoval = 4

// immortal is a file whose removal kills the process.
type immortal struct{ fs.Object }

func (immortal) Remove(context.Context) error { panic("killed") }

// dieInReplacement replaces the file of store, and ends as a killed process does: at
// the rename with a number, before or after it. It returns the list of the process.
func dieInReplacement(t *testing.T, f fs.Fs, number int, after bool) (prefix string) {
	prefix = filepath.Join(t.TempDir(), "account")
	move, count := f.Features().Move, 0
	f.Features().Move = func(ctx context.Context, src fs.Object, remote string) (fs.Object, error) {
		if count++; count == number && !after {
			panic("killed")
		}
		moved, err := move(ctx, src, remote)
		if count == number {
			panic("killed")
		}
		if number == atRemoval && count == 2 {
			return immortal{moved}, err
		}
		return moved, err
	}
	require.Panics(t, func() {
		ctx := leftovers.With(t.Context(), leftovers.New(prefix))
		_, _ = place(ctx, f, "folder/name", time.Unix(1, 0), content{bytes.NewReader([]byte("new")), 3})
	})
	f.Features().Move = move
	// This process still holds the lock of the list.
	abandon(t, prefix)
	return prefix
}

// abandon makes a copy of the only list, like that of a process that died some time
// ago.
func abandon(t *testing.T, prefix string) {
	t.Helper()
	lists, err := filepath.Glob(prefix + "-*")
	require.NoError(t, err)
	require.Len(t, lists, 1)
	text, err := os.ReadFile(lists[0])
	require.NoError(t, err)
	path := lists[0][:strings.LastIndex(lists[0], "-")] + "-COPY.leftovers"
	require.NoError(t, os.WriteFile(path, text, 0o600))
	then := time.Now().Add(-3 * time.Minute)
	require.NoError(t, os.Chtimes(path, then, then))
}

// settleAll settles the lists of ended processes and returns the number of entries.
func settleAll(t *testing.T, f fs.Fs, prefix string) (entries int) {
	for _, list := range leftovers.Take(prefix) {
		settled := make([]bool, len(list.Entries))
		for i, result := range settle(t.Context(), f, list.Entries, list.IsRecent()) {
			assert.NoError(t, result.Err)
			settled[i] = result.IsSettled()
			entries++
		}
		list.Close(settled)
	}
	return entries
}

func onlyFile(text string) map[string]string { return map[string]string{"folder/name": text} }

// At whatever step of a replacement a process is killed, the folder then has the old
// or the new file under its name. The old file is kept if it may be needed.
func TestTidyAfterAKilledReplacement(t *testing.T) {
	for name, at := range map[string]struct {
		number int
		after  bool
		want   map[string]string
	}{
		"uploaded": {1, false, onlyFile("old")}, "refused": {1, true, onlyFile("old")}, "aside": {2, true, onlyFile("old")},
		// The list does not say whose file has the name.
		"named": {3, true, map[string]string{"folder/name": "new", "": "old"}}, "recorded": {atRemoval, false, onlyFile("new")},
	} {
		t.Run(name, func(t *testing.T) {
			f := stubborn(t)
			require.NoError(t, store(t, f, "old"))
			prefix := dieInReplacement(t, f, at.number, at.after)
			assert.Equal(t, 1, settleAll(t, f, prefix))
			assert.Equal(t, at.want, contents(t, f))
			assert.Zero(t, settleAll(t, f, prefix))
		})
	}
}

// A server may move the replaced file aside after the process has died. The file gets
// its name back.
func TestTidyBeforeALateMove(t *testing.T) {
	f := stubborn(t)
	require.NoError(t, store(t, f, "old"))
	list := leftovers.Take(dieInReplacement(t, f, 2, false))[0]
	assert.Equal(t, []leftovers.Result{{Outcome: leftovers.Waiting}}, settle(t.Context(), f, list.Entries, true))
	named, err := f.NewObject(t.Context(), list.Entries[0].Path)
	require.NoError(t, err)
	_, err = f.Features().Move(t.Context(), named, list.Entries[0].Aside)
	require.NoError(t, err)
	assert.Equal(t, []leftovers.Result{{Outcome: leftovers.Done}}, settle(t.Context(), f, list.Entries, true))
	assert.Equal(t, onlyFile("old"), contents(t, f))
}

// A file that another program has stored since is kept, and so is the replaced one.
func TestTidyKeepsTheFilesOfOthers(t *testing.T) {
	f := stubborn(t)
	require.NoError(t, store(t, f, "old"))
	prefix := dieInReplacement(t, f, 2, true)
	require.NoError(t, store(t, f, "of another program"))
	settleAll(t, f, prefix)
	assert.Equal(t, map[string]string{"folder/name": "of another program", "": "old"}, contents(t, f))
}

// A replaced file that was kept is kept for good, even if its entry is settled again.
func TestTidyKeepsAFileForGood(t *testing.T) {
	f := stubborn(t)
	require.NoError(t, store(t, f, "old"))
	prefix := dieInReplacement(t, f, 2, true)
	require.NoError(t, store(t, f, "of another program"))
	for range 2 {
		list := leftovers.Take(prefix)[0]
		for _, result := range settle(t.Context(), f, list.Entries, list.IsRecent()) {
			assert.Equal(t, leftovers.Result{Outcome: leftovers.Kept}, result)
		}
		list.Close(make([]bool, len(list.Entries))) // as after a death before the result was recorded
		assert.Equal(t, map[string]string{"folder/name": "of another program", "": "old"}, contents(t, f))
	}
	assert.Equal(t, 1, settleAll(t, f, prefix))
	assert.Zero(t, settleAll(t, f, prefix))
}

// If an upload fails after another program has taken the name, the replaced file is
// the only copy of its content.
func TestTidyAfterAFailedReplacement(t *testing.T) {
	f := stubborn(t)
	require.NoError(t, store(t, f, "old"))
	prefix := filepath.Join(t.TempDir(), "account")
	move, count := f.Features().Move, 0
	f.Features().Move = func(ctx context.Context, src fs.Object, remote string) (fs.Object, error) {
		moved, err := move(ctx, src, remote)
		if count++; count == 2 {
			_, err := put(ctx, f, "folder/name", time.Unix(1, 0), content{bytes.NewReader([]byte("theirs")), 6})
			require.NoError(t, err)
		}
		return moved, err
	}
	ctx := leftovers.With(t.Context(), leftovers.New(prefix))
	_, err := place(ctx, f, "folder/name", time.Unix(1, 0), content{bytes.NewReader([]byte("new")), 3})
	require.Error(t, err)
	f.Features().Move = move
	abandon(t, prefix)
	settleAll(t, f, prefix)
	assert.Equal(t, map[string]string{"folder/name": "theirs", "": "old"}, contents(t, f))
}

// An item of another account stays in the list.
func TestTidyLeavesTheItemsOfOtherAccounts(t *testing.T) {
	f := stubborn(t)
	results := settle(t.Context(), f, []leftovers.Entry{{Path: "a", Item: []byte(`{"account":"other"}`)}}, false)
	assert.Equal(t, []leftovers.Result{{Outcome: leftovers.NotOurs}}, results)
	assert.False(t, results[0].IsSettled())
}

// A replacement that ends leaves no entry, whether it succeeds or fails.
func TestEndedUploadsHaveNoEntries(t *testing.T) {
	for name, fails := range map[string][]int{"success": nil, "failure": {1, 2}} {
		t.Run(name, func(t *testing.T) {
			f := stubborn(t, fails...)
			prefix := filepath.Join(t.TempDir(), "account")
			list := leftovers.New(prefix)
			ctx := leftovers.With(t.Context(), list)
			_, err := place(ctx, f, "folder/name", time.Unix(1, 0), content{bytes.NewReader([]byte("new")), 3})
			require.Equal(t, fails == nil, err == nil, "%v", err)
			list.Close()
			lists, err := filepath.Glob(prefix + "*")
			require.NoError(t, err)
			assert.Empty(t, lists)
		})
	}
}
