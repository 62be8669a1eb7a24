package icloudphotos

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tokenless is a service that does not accept sync tokens, except for "fresh".
type tokenless struct {
	total     int            // the number of ranks of the index of visible assets
	omitted   map[int]bool   // the ranks without an asset
	noMaster  map[int]bool   // the ranks of assets that do not refer to a master
	alone     string         // the response to queries without masters; "" for the assets
	bursts    string         // the records of the index of bursts with masters
	counts    map[string]int // by index; the default is the number of visible assets
	members   string         // the records of the members of the album
	onRefusal func()         // called when a token is refused
	queries   map[string]int // the number of queries by index
}

var rankOf = regexp.MustCompile(`"value":(\d+)}`)

func (s *tokenless) respond(operation, kind, body string, _ int64) string {
	switch operation {
	case "zone":
		if strings.Contains(body, `"fresh"`) {
			return `{"zones":[{"syncToken":"fresh","records":[]}]}`
		}
		if s.onRefusal != nil {
			s.onRefusal()
		}
		return `{"zones":[{"serverErrorCode":"BAD_REQUEST"}]}`
	case "batch":
		return s.count(body)
	case "lookup":
		return `{"records":[]}`
	}
	if s.queries == nil {
		s.queries = map[string]int{}
	}
	s.queries[kind]++
	rank := 0
	if found := rankOf.FindStringSubmatch(body); found != nil {
		rank, _ = strconv.Atoi(found[1])
	}
	listed := ""
	switch {
	case kind == "CheckIndexingState":
		listed = `{"fields":{"state":{"value":"FINISHED"}}}`
	case kind == indexOfAlbums:
		listed = `{"recordName":"album","recordType":"CPLAlbum","fields":{"albumNameEnc":{"value":"VHJpcA=="}}}`
	case kind == indexOfMembers && rank == 0:
		listed = s.members
	case kind == burstAssets.withMasters && rank == 0:
		listed = s.bursts
	case kind == visibleAssets.alone && s.alone != "":
		return s.alone
	case kind == visibleAssets.alone:
		listed = s.page(rank, pageRecords, false)
	case kind == visibleAssets.withMasters:
		listed = s.page(rank, pageRecords/2, true)
	}
	return `{"records":[` + listed + `],"syncToken":"fresh"}`
}

// count returns the response to a request for counts.
func (s *tokenless) count(body string) string {
	var sent struct {
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
	_ = json.Unmarshal([]byte(body), &sent) // the request is ours
	var counts []string
	for _, one := range sent.Batch {
		name := one.Query.Filter.Value.Value[0]
		count, ok := s.counts[name]
		if !ok && name == visibleAssets.alone {
			count = s.total - len(s.omitted)
		}
		counts = append(counts, fmt.Sprintf(`{"records":[{"fields":{"itemCount":{"value":%d}}}]}`, count))
	}
	return `{"batch":[` + strings.Join(counts, ",") + `]}`
}

func (s *tokenless) page(first, size int, withMasters bool) string {
	var listed []string
	for rank := first; rank < min(s.total, first+size); rank++ {
		if s.omitted[rank] {
			continue
		}
		master := fmt.Sprintf(`"masterRef":{"value":{"recordName":"m%d"}}`, rank)
		if s.noMaster[rank] {
			master = ""
		}
		listed = append(listed, fmt.Sprintf(`{"recordName":"a%d","recordType":"CPLAsset","fields":{%s}}`, rank, master))
		if withMasters {
			listed = append(listed, masterOf(fmt.Sprintf("m%d", rank)))
		}
	}
	return strings.Join(listed, ",")
}

// masterOf returns a master that was changed long ago.
func masterOf(name string) string {
	return fmt.Sprintf(`{"recordName":%q,"recordType":"CPLMaster","modified":{"timestamp":1},"fields":{"resOriginalRes":{"value":{"size":1}}}}`, name)
}

// backups returns the state of the library after each of several backups.
func (s *tokenless) backups(t *testing.T, number int) []*library {
	t.Helper()
	c := &loader{service: databaseOf(t, &responder{respond: s.respond}), layout: "date"}
	states := make([]*library, number)
	var known *library
	for i := range states {
		l, err := c.library(context.Background(), foundZone{primary().zone, "zone"}, known)
		require.NoError(t, err)
		states[i], known = l, l
		known.Listed = processStart.Add(-time.Hour)
	}
	return states
}

// Photos of bursts are in no index whose count is compared. They are listed with their
// masters, as in the first listing.
func TestBurstsAreListedWithMasters(t *testing.T) {
	s := &tokenless{
		total: 1, counts: map[string]int{burstAssets.alone: 1},
		bursts: masterOf("mb") + `,{"recordName":"b","recordType":"CPLAsset","fields":{"burstId":{"value":"B"},"masterRef":{"value":{"recordName":"mb"}}}}`,
	}
	for _, l := range s.backups(t, 2) {
		assert.Len(t, l.Assets, 2)
	}
	assert.Positive(t, s.queries[visibleAssets.alone])
	assert.Zero(t, s.queries[burstAssets.alone])
}

// Ranks without an asset look like moves of assets, but two equal listings are complete.
func TestGapsInRanksAreNoMoves(t *testing.T) {
	s := &tokenless{total: 1000, omitted: map[int]bool{50: true, 51: true}}
	for _, l := range s.backups(t, 3) {
		assert.Len(t, l.Assets, 998)
		assert.NoError(t, l.partial)
	}
}

// Whatever the response to a query without masters is, the library is listed with them.
func TestQueriesWithoutMastersFail(t *testing.T) {
	for _, response := range []string{`{}`, `{"serverErrorCode":"INTERNAL_ERROR"}`, `{"serverErrorCode":"NOT_FOUND"}`, `{"serverErrorCode":"BAD_REQUEST"}`} {
		s := &tokenless{total: 3, alone: response}
		for _, l := range s.backups(t, 2) {
			assert.Len(t, l.Assets, 3, response)
			assert.NoError(t, l.partial, response)
			assert.Empty(t, l.Refused, response)
		}
	}
}

// The second pass of a listing lists the albums again, because no change tells what has
// happened to them since the first pass.
func TestSecondPassListsAlbums(t *testing.T) {
	s := &tokenless{total: 1, members: `{"recordName":"a0-IN-album","recordType":"CPLContainerRelation"}`}
	s.counts = map[string]int{visibleAssets.alone: 2}
	s.onRefusal = func() { s.members, s.counts = "", nil }
	l := s.backups(t, 1)[0]
	assert.NoError(t, l.partial)
	assert.Len(t, l.Albums, 1)
	assert.Empty(t, l.Relations)
}

// A single asset that does not refer to a master does not cost a second pass each time.
func TestBrokenAssetCostsNoSecondPass(t *testing.T) {
	s := &tokenless{total: 1000, noMaster: map[int]bool{7: true}}
	s.backups(t, 2)
	assert.Equal(t, 6, s.queries[visibleAssets.alone]) // the last page is full
	first := s.queries[visibleAssets.withMasters]
	s.queries = nil
	s.backups(t, 1)
	assert.Equal(t, first, s.queries[visibleAssets.withMasters])
}

// Masters that were kept are not proven by a pass that does not list them.
func TestSecondPassForgetsKeptMasters(t *testing.T) {
	known := knownLibrary("")
	known.Synced, known.Missing = time.Now(), map[string]int{}
	for _, name := range []string{"a", "b"} {
		known.Assets[name] = &asset{Master: "m" + name, Modified: 1}
		known.Masters["m"+name] = &master{Modified: 1, Files: []file{{Kind: original, Size: 1}}}
	}
	l := &lister{library: primary(), known: known, withoutMasters: true}
	l.library.Masters = known.keptMasters(time.Now())
	require.Len(t, l.library.Masters, 2)
	l.listMasters()
	assert.Empty(t, l.library.Masters)
	assert.Len(t, known.Masters, 3, "those of the known state stay")
}

// Of duplicates, which share a master, the most recent one decides.
func TestRecentDuplicateAndLivePhotoAreNotKept(t *testing.T) {
	now := time.Now()
	for name, test := range map[string]struct {
		other *asset
		kept  int
	}{
		"old duplicate":            {&asset{Master: "m", Modified: 1}, 1},
		"recent duplicate":         {&asset{Master: "m", Modified: now.UnixMilli()}, 0},
		"live photo without video": {&asset{Master: "m", Modified: 1, Live: true}, 0},
	} {
		l := primary()
		l.Synced = now
		l.Masters["m"] = &master{Files: []file{{Kind: original, Size: 1}}}
		l.Assets["old"], l.Assets["other"] = &asset{Master: "m", Modified: 1, Live: test.other.Live}, test.other
		assert.Len(t, l.keptMasters(now), test.kept, name)
	}
}

// After an error that ends the run, no further request is sent, and no folder is listed.
func TestEndedRunSendsNoRequests(t *testing.T) {
	s, script := scripted(t, map[string][]string{"lookup": {`200 {"serverErrorCode":"THROTTLED"}`}})
	for range 3 {
		_, err := lookUp(context.Background(), s, primary().zone, []string{"m"})
		assert.ErrorContains(t, err, "Apple limits the requests")
	}
	assert.Equal(t, 1, script.requests["lookup"])
	_, err := (&Fs{service: s}).List(context.Background(), "")
	assert.ErrorContains(t, err, "Apple limits the requests")
}

// An odd value in a record affects only this value.
func TestOddValuesInRecords(t *testing.T) {
	for _, odd := range []string{
		`"modified":{"timestamp":"now"}`, `"modified":{"timestamp":1.5}`, `"modified":7`, `"deleted":0`, `"recordChangeTag":1`,
		`"fields":{"isFavorite":1}`, `"fields":{"isFavorite":{"value":1,"type":6}}`, `"fields":[]`, `"serverErrorCode":0`,
	} {
		response := `{"records":[{"recordName":"a","recordType":"CPLAsset",` + odd + `},{"recordName":"b","recordType":"CPLAsset"}],"syncToken":"s"}`
		var records page
		require.NoError(t, json.Unmarshal([]byte(response), &records), odd)
		l := primary()
		l.apply(records.Records)
		assert.Len(t, l.Assets, 2, odd)
		assert.Equal(t, "s", records.Token, odd)
		var changed zoneChanges
		require.NoError(t, json.Unmarshal([]byte(response), &changed), odd)
		assert.Len(t, changed.Records, 2, odd)
	}
	assert.Error(t, json.Unmarshal([]byte(`{"records":[{"recordName":`), new(page)))
}

// The repetition of an asset in a page has no rank.
func TestRepeatedRecordsInAPage(t *testing.T) {
	cloud := &responder{respond: func(_, _, body string, _ int64) string {
		found := rankOf.FindStringSubmatch(body)
		rank, _ := strconv.ParseInt(found[1], 10, 64)
		if rank >= 300 {
			return `{"records":[]}`
		}
		page := records(typeAsset, rank, min(40, 300-rank))
		return `{"records":[` + page + "," + page + `]}`
	}}
	l := &lister{service: databaseOf(t, cloud), library: primary()}
	require.NoError(t, l.assets(context.Background(), visibleAssets, 300))
	assert.Len(t, l.library.Assets, 300)
	assert.False(t, l.found.moved)
}
