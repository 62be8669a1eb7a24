package remote

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "github.com/rclone/rclone/backend/local"
	"github.com/rclone/rclone/fs"
	"github.com/stretchr/testify/require"
)

// stubborn returns a local folder whose renames fail if the new name is taken, and
// also if their number is in fails.
func stubborn(t *testing.T, fails ...int) fs.Fs {
	f, err := fs.NewFs(t.Context(), ":local:"+t.TempDir())
	require.NoError(t, err)
	rename, count := f.Features().Move, 0
	f.Features().Move = func(ctx context.Context, src fs.Object, remote string) (fs.Object, error) {
		count++
		for _, fail := range fails {
			if fail == count {
				return nil, errors.New("the connection broke")
			}
		}
		if _, err := f.NewObject(ctx, remote); err == nil {
			return nil, errors.New("a file is there")
		}
		return rename(ctx, src, remote)
	}
	return f
}

func store(t *testing.T, f fs.Fs, text string) error {
	_, err := place(t.Context(), f, "folder/name", time.Unix(1, 0), content{bytes.NewReader([]byte(text)), int64(len(text))})
	return err
}

// contents returns the files in the folder by their names, with "" for a temporary
// name.
func contents(t *testing.T, f fs.Fs) map[string]string {
	entries, err := f.List(t.Context(), "folder")
	require.NoError(t, err)
	found := map[string]string{}
	for _, entry := range entries {
		reader, err := entry.(fs.Object).Open(t.Context())
		require.NoError(t, err)
		text, err := io.ReadAll(reader)
		require.NoError(t, err)
		require.NoError(t, reader.Close())
		name := entry.Remote()
		if strings.HasSuffix(name, PartialSuffix) {
			name = ""
		}
		found[name] = string(text)
	}
	return found
}

// A file is replaced even if the server does not replace files in a rename.
func TestReplaceWithoutReplacingRenames(t *testing.T) {
	f := stubborn(t)
	require.NoError(t, store(t, f, "old"))
	require.NoError(t, store(t, f, "new"))
	require.Equal(t, map[string]string{"folder/name": "new"}, contents(t, f))
}

// A failed replacement keeps the old file under its name.
func TestFailedReplaceKeepsTheOldFile(t *testing.T) {
	for name, fails := range map[string][]int{"rename": {2}, "aside": {2, 3}, "rename again": {4}} {
		t.Run(name, func(t *testing.T) {
			f := stubborn(t, fails...)
			require.NoError(t, store(t, f, "old"))
			err := store(t, f, "new")
			if name == "rename" { // the second way works
				require.NoError(t, err)
				require.Equal(t, map[string]string{"folder/name": "new"}, contents(t, f))
				return
			}
			require.Error(t, err)
			require.Equal(t, map[string]string{"folder/name": "old"}, contents(t, f))
		})
	}
}

// If the old file cannot be renamed back, the error has its present name.
func TestFailedReplaceReportsTheOldFile(t *testing.T) {
	f := stubborn(t, 4, 5)
	require.NoError(t, store(t, f, "old"))
	require.ErrorContains(t, store(t, f, "new"), `the old file is now "folder/.`)
	require.Equal(t, map[string]string{"": "old"}, contents(t, f))
}

// After a cancelled replacement, the folder has the old or the new file under its
// name, and no other file.
func TestCancelledReplace(t *testing.T) {
	for _, step := range []int{1, 2, 3, 4} {
		t.Run(strconv.Itoa(step), func(t *testing.T) {
			f := stubborn(t)
			require.NoError(t, store(t, f, "old"))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			move, count := f.Features().Move, 0
			f.Features().Move = func(ctx context.Context, src fs.Object, remote string) (fs.Object, error) {
				if count++; count == step {
					cancel()
				}
				if err := ctx.Err(); err != nil {
					return nil, err
				}
				if step == 4 && count == 3 {
					return nil, errors.New("the connection broke")
				}
				return move(ctx, src, remote)
			}
			text := []byte("new")
			_, err := place(ctx, f, "folder/name", time.Unix(1, 0), content{bytes.NewReader(text), int64(len(text))})
			wanted := "new"
			if err != nil {
				wanted = "old"
			}
			require.Equal(t, map[string]string{"folder/name": wanted}, contents(t, f))
		})
	}
}
