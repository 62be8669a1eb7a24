package drive

import (
	"testing"

	"plakar-icloud/librclone/backend/icloud/apierr"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Only a listing that certainly has fewer items or files than the counters of its
// folder is doubted.
func TestDoubtsAboutListings(t *testing.T) {
	file, band := &Item{Name: "a"}, &Item{Name: "a.band"}
	folder := func(files int64) *Item { return &Item{Folder: true, Files: files} }
	counters := func(children, files number) driveItem { return driveItem{Children: &children, Files: &files} }
	for name, test := range map[string]struct {
		counters driveItem
		items    []*Item
		invalid  int
		missing  int64 // 0 for no doubt
	}{
		"complete":                        {counters(2, 4), []*Item{file, folder(3)}, 0, 0},
		"without counters":                {driveItem{}, []*Item{file}, 0, 0},
		"more than counted":               {counters(1, 1), []*Item{file, file}, 0, 0},
		"lacks an item":                   {counters(2, 1), []*Item{file}, 0, 1},
		"lacks files":                     {counters(1, 5), []*Item{file}, 0, 4},
		"lacks files below":               {counters(2, 9), []*Item{file, folder(3)}, 0, 5},
		"has a folder of unknown content": {counters(2, 9), []*Item{file, folder(-1)}, 0, 0},
		"has a possible package":          {counters(2, 9), []*Item{file, band}, 0, 0},
		"lacks an item and has a package": {counters(3, 9), []*Item{file, band}, 0, 1},
		"has an invalid item":             {counters(2, 2), []*Item{file}, 1, 0},
	} {
		response := &FolderResponse{driveItem: test.counters, Items: test.items}
		for range test.invalid {
			response.invalid = append(response.invalid, newInvalidItem("x", "an item without an id"))
		}
		err := tallyOf(response).doubt(&test.counters)
		if test.missing == 0 {
			assert.NoError(t, err, name)
			continue
		}
		var typed *apierr.Error
		require.ErrorAs(t, err, &typed, name)
		assert.Equal(t, test.missing, typed.Missing(), name)
	}
}
