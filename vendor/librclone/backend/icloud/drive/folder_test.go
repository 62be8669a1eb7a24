package drive

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"
)

func listed(names ...string) []*Item {
	items := []*Item{}
	for i, name := range names {
		items = append(items, &Item{ID: fmt.Sprintf("FILE::zone::%08d-%d", i, i), Name: name, Shown: name})
	}
	return items
}

// Two items with the same name are both listed, under names that do not depend on
// the order of the listing.
func TestItemsWithTheSameName(t *testing.T) {
	want := []string{"Notes", "Notes (00000001)", "notes", "file.txt", "file (00000004).txt", "other"}
	items := listed("Notes", "Notes", "notes", "file.txt", norm.NFD.String("file.txt"), "other")
	for range 20 {
		slices.Reverse(items)
		items = append(items[1:], items[0])
		fresh := make([]*Item, len(items))
		for i, it := range items {
			copied := *it
			copied.Shown = copied.Name
			fresh[i] = &copied
		}
		var shown []string
		for _, it := range arrange(fresh).visible() {
			shown = append(shown, it.Shown)
		}
		assert.ElementsMatch(t, want, shown)
	}
}

// Items with the same name whose ids begin alike are all listed, under names that
// do not depend on the order of the listing.
func TestItemsWithTheSameNameAndSimilarIDs(t *testing.T) {
	ids := []string{
		"FILE::zone::document-1", "FILE::zone::document-2", "FILE::zone::document-3", "FILE::zone::DOCUMENT-3",
		"FILE::another::document-3", "FILE::zone::x",
	}
	var want []string
	for turn := range 2 * len(ids) {
		if turn == len(ids) {
			slices.Reverse(ids)
		}
		ids = append(ids[1:], ids[0])
		items := listed("a (document).txt")
		for _, id := range ids {
			items = append(items, &Item{ID: id, Name: "a.txt", Shown: "a.txt"})
		}
		var shown []string
		for _, it := range arrange(items).visible() {
			shown = append(shown, it.Shown+" "+it.ID)
		}
		slices.Sort(shown)
		if want == nil {
			want = shown
			t.Log(want)
		}
		assert.Equal(t, want, shown)
		assert.Len(t, shown, len(ids)+1)
	}
}

// The cache keeps to its limit and drops the least recently used folders, but
// never the largest one.
func TestLeastRecentlyUsedFoldersAreDropped(t *testing.T) {
	f := newFolders(100)
	fill := func(id string, count int) {
		names := make([]string, count)
		for i := range names {
			names[i] = fmt.Sprint("file", i)
		}
		f.end(f.begin(id), listed(names...))
	}
	for i := range 20 {
		fill(fmt.Sprint("folder", i), 10)
	}
	assert.Equal(t, 10*11, f.items, "one of them is the largest")
	assert.False(t, (f.contents("folder10") != nil))
	assert.True(t, (f.contents("folder11") != nil))
	_, known := f.find("folder11", "file1")
	require.True(t, known)
	fill("one more", 10)
	assert.True(t, (f.contents("folder11") != nil), "the folder was just used")
	assert.False(t, (f.contents("folder12") != nil))
	fill("large", 10_000)
	assert.Equal(t, 10_001+9*11, f.items)
	for i := range 20 {
		fill(fmt.Sprint("small", i), 10)
	}
	assert.True(t, (f.contents("large") != nil), "the largest stays")
	assert.Equal(t, 10_001+9*11, f.items)
	f.put("large", &Item{ID: "FILE::zone::new", Name: "new", Shown: "new"})
	assert.Equal(t, 10_002+9*11, f.items)
	f.drop("large", "FILE::zone::new")
	f.forget("large")
	assert.Equal(t, 9*11, f.items)
	for i := range 200 {
		fill(fmt.Sprint("empty", i), 0)
	}
	assert.InDelta(t, 100, f.items, 11, "an empty folder counts, too")
	f.find("unheard of", "x")
	f.drop("unheard of", "x")
	f.forgetAll()
	assert.Zero(t, f.items)
	assert.Zero(t, f.recent.Len())
	assert.Empty(t, f.byID)
}

// A listing is not stored if another one was requested after it.
func TestOlderListingIsNotStored(t *testing.T) {
	f := newFolders(100)
	moment := time.Now()
	f.now = func() time.Time { moment = moment.Add(time.Second); return moment }
	early, late := f.begin("folder"), f.begin("folder")
	f.end(late, listed("new"))
	shown := f.end(early, listed("old"))
	assert.Equal(t, "old", shown[0].Shown, "the caller gets the listing that it requested")
	got, _ := f.find("folder", "new")
	assert.NotNil(t, got.exact)
	during := f.begin("folder")
	f.forget("folder")
	f.end(during, listed("old"))
	assert.False(t, (f.contents("folder") != nil))
}

// The name of a replacement is recognised, fits into the length limit, and tells
// which file it replaces and when it was made.
func TestNamesOfLeftovers(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for _, name := range []string{"file.txt", "a.icloud-new-x", strings.Repeat("é", 127), strings.Repeat("x", 255), "with space "} {
		made := ReplacementName(name, now, 0xabc)
		assert.LessOrEqual(t, len(made), maxNameLength)
		assert.True(t, isLeftover(made), made)
		parsed, ok := parseLeftover(made)
		require.True(t, ok)
		assert.True(t, parsed.replaces(name), made)
		assert.False(t, parsed.replaces(name[1:]))
		assert.Equal(t, now, parsed.made)
		assert.NoError(t, checkName("", "", name))
		assert.Equal(t, apierr.KindRefusedName, apierr.KindOf(checkName("", "", made)))
	}
	for _, name := range []string{"file.icloud-new-", "file.icloud-new-zz-00000000", ".icloud-new-65535680-00000001"} {
		assert.False(t, isLeftover(name), name)
	}
}
