package remote

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"plakar-icloud/librclone/leftovers"

	"github.com/rclone/rclone/fs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

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
		return moved, err
	}
	require.Panics(t, func() {
		ctx := leftovers.With(t.Context(), leftovers.New(prefix))
		_, _ = place(ctx, f, "folder/name", time.Unix(1, 0), content{bytes.NewReader([]byte("new")), 3})
	})
	f.Features().Move = move
	// This process still holds the lock of the list.
	lists, err := filepath.Glob(prefix + "-*")
	require.NoError(t, err)
	require.Len(t, lists, 1)
	text, err := os.ReadFile(lists[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(prefix+"-COPY.leftovers", text, 0o600))
	return prefix
}

// settleAll settles the lists of ended processes and returns the number of entries.
func settleAll(t *testing.T, f fs.Fs, prefix string) (entries int) {
	for _, list := range leftovers.Take(prefix) {
		for _, err := range settle(t.Context(), f, list.Entries) {
			assert.NoError(t, err)
			entries++
		}
		list.Close(true)
	}
	return entries
}

// At whatever step of a replacement a process is killed, the folder then has the old
// or the new file under its name, and no other file.
func TestTidyAfterAKilledReplacement(t *testing.T) {
	for name, at := range map[string]struct {
		number int
		after  bool
		want   string
	}{
		"uploaded": {1, false, "old"}, "refused": {1, true, "old"}, "aside": {2, true, "old"}, "named": {3, true, "new"},
	} {
		t.Run(name, func(t *testing.T) {
			f := stubborn(t)
			require.NoError(t, store(t, f, "old"))
			prefix := dieInReplacement(t, f, at.number, at.after)
			assert.Equal(t, 1, settleAll(t, f, prefix))
			assert.Equal(t, map[string]string{"folder/name": at.want}, contents(t, f))
			assert.Zero(t, settleAll(t, f, prefix))
		})
	}
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
