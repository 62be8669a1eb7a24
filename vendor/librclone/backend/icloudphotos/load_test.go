package icloudphotos

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// oneAsset is an http.RoundTripper of a service whose library has one asset. The live
// video of the asset was added after the token "old".
type oneAsset struct {
	refuses     bool           // the token "old"
	counts      map[string]int // by index, besides the asset
	noAssets    bool           // queries without masters return nothing
	noReference bool           // queries without masters return assets without a master
	asset       string         // the record of the asset; "" for one that was changed at 1 ms
}

const masterRecord = `{"recordName":"m","recordType":"CPLMaster","fields":{
		"resOriginalRes":{"value":{"size":1}},"resOriginalVidComplRes":{"value":{"size":2}}}}`

// assetRecordOf returns the record of the asset with the times of its last change and of
// its addition.
func assetRecordOf(modified, added int64) string {
	return fmt.Sprintf(`{"recordName":"a","recordType":"CPLAsset","modified":{"timestamp":%d},"fields":{
		"addedDate":{"value":%d},"assetDate":{"value":1},"masterRef":{"value":{"recordName":"m"}}}}`, modified, added)
}

// RoundTrip implements http.RoundTripper.
func (c *oneAsset) RoundTrip(req *http.Request) (*http.Response, error) {
	var body struct {
		Query struct {
			Kind string `json:"recordType"`
		} `json:"query"`
		Zones []struct {
			Token string `json:"syncToken"`
		} `json:"zones"`
		Batch []struct {
			Query struct {
				Filter struct {
					Value struct {
						Value []string `json:"value"`
					} `json:"fieldValue"`
				} `json:"filterBy"`
			} `json:"query"`
		} `json:"batch"`
	}
	sent, err := io.ReadAll(req.Body)
	if err == nil {
		err = json.Unmarshal(sent, &body)
	}
	if err != nil {
		return nil, err
	}
	asset := cmp.Or(c.asset, assetRecordOf(1, 1))
	records, response := "", ""
	switch operation := path.Base(req.URL.Path); {
	case operation == "zone" && body.Zones[0].Token == "old" && c.refuses:
		response = `{"zones":[{"serverErrorCode":"BAD_REQUEST"}]}`
	case operation == "zone" && body.Zones[0].Token == "page 1":
		response = `{"zones":[{"syncToken":"page 2","moreComing":true,"records":[` + asset + `]}]}`
	case operation == "zone" && body.Zones[0].Token == "page 2":
		response = `{"zones":[{"serverErrorCode":"BAD_REQUEST"}]}`
	case operation == "zone" && body.Zones[0].Token == "old":
		response = `{"zones":[{"syncToken":"new","records":[` + masterRecord + `]}]}`
	case strings.Contains(string(sent), `"removed"`):
		response = `{"serverErrorCode":"BAD_REQUEST"}`
	case operation == "zone":
		response = `{"zones":[{"syncToken":"` + body.Zones[0].Token + `","records":[]}]}`
	case operation == "batch":
		var counts []string
		for _, one := range body.Batch {
			name := one.Query.Filter.Value.Value[0]
			count := c.counts[name]
			if name == visibleAssets.alone {
				count++
			}
			counts = append(counts, fmt.Sprintf(`{"records":[{"fields":{"itemCount":{"value":%d}}}]}`, count))
		}
		response = `{"batch":[` + strings.Join(counts, ",") + `]}`
	case operation == "lookup":
		records = masterRecord
	case body.Query.Kind == "CheckIndexingState":
		records = `{"fields":{"state":{"value":"FINISHED"}}}`
	case body.Query.Kind == visibleAssets.alone && c.noReference:
		records = `{"recordName":"a","recordType":"CPLAsset"}`
	case body.Query.Kind == visibleAssets.alone && !c.noAssets:
		records = asset
	case body.Query.Kind == visibleAssets.withMasters:
		records = masterRecord + "," + asset
	}
	if response == "" {
		response = `{"records":[` + records + `],"syncToken":"page"}`
	}
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Request: req,
		Body: io.NopCloser(strings.NewReader(response)),
	}, nil
}

// knownLibrary returns the state of the library of oneAsset at a token, which may be
// "old".
func knownLibrary(token string) *library {
	l := newLibrary(zoneID{Area: privateArea, Name: primaryZone})
	l.Token, l.Indexed, l.HasAlbums, l.Listed = token, true, true, processStart.Add(-time.Hour)
	l.Assets["a"] = &asset{Master: "m", Main: true, Modified: 1, Added: 1, Taken: 1}
	l.Masters["m"] = &master{Files: []file{{Kind: original, Size: 1}}}
	return l
}

// A listing of assets without their masters does not miss the changes of the masters
// before the listing.
func TestFullListingHasTheChangesOfMasters(t *testing.T) {
	for name, test := range map[string]struct {
		token   string
		refuses bool
	}{"accepted token": {"old", false}, "refused token": {"old", true}, "no token": {"", false}} {
		for _, zoneToken := range []string{"zone", ""} {
			known := knownLibrary(test.token)
			c := &loader{service: databaseOf(t, &oneAsset{refuses: test.refuses}), layout: "date", deleted: true}
			l, err := c.library(context.Background(), foundZone{known.zone, zoneToken}, known)
			require.NoError(t, err, name)
			assert.True(t, l.HasDeleted, name)
			require.Len(t, l.Assets, 1, name)
			assert.Len(t, l.Masters["m"].Files, 2, name)
			assert.NotEmpty(t, l.Token, name)
		}
	}
}

// Without a token, a process does not repeat a listing that began after its own start.
func TestListingOfAnotherProcessIsUsed(t *testing.T) {
	for name, test := range map[string]struct {
		listed time.Time
		doubt  string
		used   bool
	}{
		"same run":     {time.Now(), "", true},
		"earlier run":  {processStart.Add(-time.Second), "", false},
		"wrong clock":  {time.Now().Add(time.Hour), "", false},
		"not complete": {time.Now(), "the library has changed", false},
	} {
		known := knownLibrary("")
		known.Listed, known.Doubt = test.listed, test.doubt
		known.Missing[visibleAssets.alone], known.Missing[hiddenAssets.alone] = 0, 0
		c := &loader{service: databaseOf(t, &oneAsset{}), layout: "date"}
		l, err := c.library(context.Background(), foundZone{known.zone, "zone"}, known)
		require.NoError(t, err, name)
		assert.Equal(t, test.used, l == known, name)
	}
}

// If only some of the changes could be applied, assets can be newer than their masters.
func TestPartOfTheChangesIsApplied(t *testing.T) {
	known := knownLibrary("page 1")
	known.Synced = time.Now()
	c := &loader{service: databaseOf(t, &oneAsset{}), layout: "date"}
	l, err := c.library(context.Background(), foundZone{known.zone, "zone"}, known)
	require.NoError(t, err)
	assert.Len(t, l.Masters["m"].Files, 2)
	assert.False(t, l.Unsure)
}

// If queries without masters return nothing, or too little, masters are listed, too.
func TestQueriesWithoutMastersMayBeUnsupported(t *testing.T) {
	for _, cloud := range []*oneAsset{{noAssets: true}, {noReference: true}} {
		known := knownLibrary("old")
		c := &loader{service: databaseOf(t, cloud), layout: "date", deleted: true}
		l, err := c.library(context.Background(), foundZone{known.zone, "zone"}, known)
		require.NoError(t, err)
		assert.NoError(t, l.partial)
		require.Len(t, l.Assets, 1)
		assert.Equal(t, "m", l.Assets["a"].Master)
		assert.False(t, l.Unsure)
	}
}

// Without a token, a master is kept if it had not changed for a month when its changes
// were last known, but not for ever.
func TestMastersAreKeptWithoutAToken(t *testing.T) {
	const day, unknown = 24 * time.Hour, time.Duration(0)
	type ago = time.Duration
	for name, test := range map[string]struct {
		synced, master, asset, added ago // when they were last changed
		differs                      bool
		kept, listed                 bool // the masters
	}{
		"old":                     {synced: time.Hour, master: 31 * day, kept: true},
		"recent":                  {synced: time.Hour, master: 29 * day, asset: 90 * day, added: 90 * day, listed: true},
		"old asset":               {synced: time.Hour, asset: 31 * day, kept: true},
		"recent asset":            {synced: time.Hour, asset: 29 * day, added: 90 * day, listed: true},
		"added long ago":          {synced: time.Hour, added: 31 * day, kept: true},
		"added recently":          {synced: time.Hour, added: 29 * day, listed: true},
		"no times":                {synced: time.Hour, listed: true},
		"another asset":           {synced: time.Hour, master: 31 * day, differs: true},
		"last known a month ago":  {synced: 30 * day, master: 90 * day, listed: true},
		"time of sync is unknown": {master: 90 * day, listed: true},
		"wrong clock":             {synced: -time.Hour, master: 90 * day, listed: true},
	} {
		before := func(ago ago) int64 {
			if ago == unknown {
				return 0
			}
			return time.Now().Add(-ago).UnixMilli()
		}
		known := knownLibrary("")
		if test.synced != unknown {
			known.Synced = time.Now().Add(-test.synced)
		}
		known.Masters["m"].Modified = before(test.master)
		a := known.Assets["a"]
		a.Modified, a.Added, a.Favorite = before(test.asset), before(test.added), test.differs
		cloud := &oneAsset{asset: assetRecordOf(a.Modified, a.Added)}
		c := &loader{service: databaseOf(t, cloud), layout: "date"}
		l, err := c.library(context.Background(), foundZone{known.zone, "zone"}, known)
		require.NoError(t, err, name)
		assert.Equal(t, test.kept, len(l.Masters["m"].Files) == 1, name)
		assert.Equal(t, test.listed, !l.Unsure, name)
		assert.Equal(t, test.listed, l.Synced.Equal(l.Listed), name)

		// A later sync token does not return the changes before it.
		l.Synced, l.Listed = l.Synced.Add(-31*day), known.Listed
		again, err := c.library(context.Background(), foundZone{known.zone, "zone"}, l)
		require.NoError(t, err, name)
		assert.Len(t, again.Masters["m"].Files, 2, name)
		assert.False(t, again.Unsure, name)
	}
}

// A library in which photos are missing is listed again after a day.
func TestLibraryWithMissingPhotosIsListedAgain(t *testing.T) {
	for age, again := range map[time.Duration]bool{time.Hour: false, 25 * time.Hour: true} {
		known := knownLibrary("new")
		known.Listed, known.Missing[hiddenAssets.alone] = time.Now().Add(-age), 1
		known.Missing[visibleAssets.alone] = 0
		c := &loader{service: databaseOf(t, &oneAsset{counts: map[string]int{hiddenAssets.alone: 1}}), layout: "date"}
		l, err := c.library(context.Background(), foundZone{known.zone, "zone"}, known)
		require.NoError(t, err)
		assert.Error(t, l.partial)
		assert.Equal(t, again, l != known, "listed %v ago", age)
	}
}

// An album that is listed by the second pass of a listing has no error. Removed albums
// are not listed.
func TestErrorOfAnAlbumIsCleared(t *testing.T) {
	known := knownLibrary("new")
	known.Albums["x"], known.Unlisted = &album{Name: "X"}, []string{"x", "removed"}
	known.membersErr["x"] = assert.AnError
	c := &loader{service: databaseOf(t, &oneAsset{})}
	require.NoError(t, c.listAlbums(context.Background(), &lister{service: c.service, library: known}))
	assert.Empty(t, known.membersErr)
	assert.Empty(t, known.Unlisted)
}

// The index is replaced if the libraries have changed. Temporary files of killed
// processes are removed.
func TestUnchangedIndexIsKept(t *testing.T) {
	s := databaseOf(t, &oneAsset{})
	s.index = filepath.Join(t.TempDir(), "index")
	c := &loader{service: s, layout: "date"}
	load := func(token string) os.FileInfo {
		_, err := c.load(context.Background(), []foundZone{{zoneID{Area: privateArea, Name: primaryZone}, token}})
		require.NoError(t, err)
		info, err := os.Stat(s.index)
		require.NoError(t, err)
		return info
	}
	require.NoError(t, os.WriteFile(s.index+".123", nil, 0o600))
	first := load("new")
	assert.NoFileExists(t, s.index+".123")
	assert.True(t, os.SameFile(first, load("new")), "nothing has changed")
	c.layout = flat
	flattened := load("new")
	assert.False(t, os.SameFile(first, flattened), "the layout has changed")
	head := readHead(s.index)
	known := readIndex(s.index)
	head.Counted = time.Now().Add(-2 * countedValid)
	require.NoError(t, writeIndex(s.index, head, known))
	stored, err := os.Stat(s.index)
	require.NoError(t, err)
	assert.False(t, os.SameFile(stored, load("new")), "the time of the numbers is old")
}

// A shared album that fails keeps its name, so that no other album gets it.
func TestFailedSharedAlbumKeepsItsName(t *testing.T) {
	s := databaseOf(t, &oneAsset{}) // it does not count the photos of shared albums
	s.index = filepath.Join(t.TempDir(), "index")
	known := newLibrary(zoneID{Area: sharedAlbumArea, Name: "b"})
	known.Title, known.Given, known.Token = "Party", "Party", "old"
	require.NoError(t, writeIndex(s.index, indexHead{}, map[string]*library{known.key(): known}))
	found := []foundZone{{zoneID{Area: privateArea, Name: primaryZone}, "new"}}
	for _, id := range []string{"a", "b"} {
		album := sharedAlbum{ID: id, Address: "https://p1-sharedstreams.icloud.com/1/sharedstreams"}
		album.Attributes.Name = "Party"
		s.albums[id] = album
		found = append(found, foundZone{zoneID{Area: sharedAlbumArea, Name: id}, "new"})
	}
	libraries, err := (&loader{service: s, layout: "date"}).load(context.Background(), found)
	require.NoError(t, err)
	assert.Error(t, libraries[1].failed)
	assert.Error(t, libraries[2].failed)
	assert.Equal(t, []string{"Party (a)", "Party"}, []string{libraries[1].Given, libraries[2].Given})
}
