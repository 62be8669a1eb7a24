package remote

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/rclone/rclone/fs"
	"github.com/stretchr/testify/require"
)

// halfListed lists three folders: the first in full, the second with entries and an
// error, and the third with an error.
type halfListed struct{ fs.Fs }

func (h halfListed) ListFolders(ctx context.Context, _ []string) ([]fs.DirEntries, []error) {
	entries, err := h.List(ctx, "")
	if err != nil {
		return nil, nil
	}
	return []fs.DirEntries{entries, entries, nil}, []error{nil, failf(kindDamaged, "there may be more"), errors.New("no")}
}

// A folder that may have more entries has its entries and a failure.
func TestIncompleteListings(t *testing.T) {
	f, err := fs.NewFs(t.Context(), ":local:"+t.TempDir())
	require.NoError(t, err)
	require.NoError(t, store(t, f, "text"))
	id := remotes.add(halfListed{f})
	answer, err := list(t.Context(), listRequest{Remote: id, Paths: []string{"a", "b", "c"}})
	require.NoError(t, err)
	encoded, err := json.Marshal(answer)
	require.NoError(t, err)
	var folders struct {
		Folders []map[string]json.RawMessage `json:"folders"`
	}
	require.NoError(t, json.Unmarshal(encoded, &folders))
	whole, part, none := folders.Folders[0], folders.Folders[1], folders.Folders[2]
	require.NotContains(t, whole, "incomplete")
	require.NotContains(t, whole, "failure")
	require.Len(t, answer.Folders[1].Entries, 1)
	require.Equal(t, kindDamaged, answer.Folders[1].Incomplete.Kind)
	require.NotContains(t, part, "failure")
	require.NotContains(t, none, "incomplete")
	require.Equal(t, "no", answer.Folders[2].Failure.Text)
}
