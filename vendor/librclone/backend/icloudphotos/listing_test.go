package icloudphotos

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// responder is an http.RoundTripper that responds to each request with the result of
// respond, and counts the requests. It calls respond for one request at a time.
type responder struct {
	respond func(operation, kind, body string, number int64) string

	mu       sync.Mutex
	requests int64
}

// RoundTrip implements http.RoundTripper.
func (r *responder) RoundTrip(req *http.Request) (*http.Response, error) {
	var body struct {
		Query struct {
			Kind string `json:"recordType"`
		} `json:"query"`
	}
	var sent []byte
	if req.Body != nil {
		var err error
		if sent, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		_ = json.Unmarshal(sent, &body) // fails for requests without a query
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests++
	response := r.respond(path.Base(req.URL.Path), body.Query.Kind, string(sent), r.requests)
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Request: req,
		Body: io.NopCloser(strings.NewReader(response)),
	}, nil
}

// primary returns an empty state of the primary library.
func primary() *library { return newLibrary(zoneID{Area: privateArea, Name: primaryZone}) }

// records returns count records of a type, named from first on.
func records(recordType string, first, count int64) string {
	listed := make([]string, count)
	for i := range listed {
		listed[i] = fmt.Sprintf(`{"recordName":"%d","recordType":"%s"}`, first+int64(i), recordType)
	}
	return strings.Join(listed, ",")
}

// Pages that do not end make a sync token useless.
func TestChangesEnd(t *testing.T) {
	for name, test := range map[string]struct {
		records  string
		requests int64
	}{"empty pages": {"", maxEmptyPages}, "pages with records": {records(typeAsset, 1, 1), 1000}} {
		cloud := &responder{respond: func(_, _, _ string, number int64) string {
			return fmt.Sprintf(`{"zones":[{"syncToken":"%d","moreComing":true,"records":[%s]}]}`, number, test.records)
		}}
		l := primary()
		l.Token = "first"
		require.NoError(t, (&loader{service: databaseOf(t, cloud)}).applyChanges(context.Background(), l), name)
		assert.Empty(t, l.Token, name)
		assert.Equal(t, test.requests, cloud.requests, name)
	}
}

// A list of albums that does not end is an error of the albums.
func TestListOfAlbumsEnds(t *testing.T) {
	cloud := &responder{respond: func(_, _, _ string, number int64) string {
		return fmt.Sprintf(`{"continuationMarker":"%d","records":[%s]}`, number, records(typeAlbum, 1, 1))
	}}
	l := &lister{service: databaseOf(t, cloud), library: primary()}
	assert.ErrorContains(t, l.allAlbums(context.Background()), "the list of albums does not end")
	assert.Equal(t, int64(1+maxEmptyPages), cloud.requests)
}

// A service that returns the same page for each rank does not prevent the end of a listing.
func TestEqualPagesEndAListing(t *testing.T) {
	cloud := &responder{respond: func(_, kind, _ string, _ int64) string {
		of := typeAsset
		if kind == indexOfMembers {
			of = typeRelation
		}
		return `{"records":[` + records(of, 1, pageRecords) + `]}`
	}}
	l := &lister{service: databaseOf(t, cloud), library: primary()}
	require.NoError(t, l.membersOf(context.Background(), "album"))
	assert.Len(t, l.library.Relations, pageRecords)
	require.NoError(t, l.assets(context.Background(), visibleAssets, 150))
	assert.Len(t, l.library.Assets, pageRecords)
	assert.LessOrEqual(t, cloud.requests, int64(8))
}

// A count that is far too high does not cost a request for each missing page.
func TestEmptyWindowsEndAListing(t *testing.T) {
	cloud := &responder{respond: func(_, _, body string, _ int64) string {
		listed := ""
		if strings.Contains(body, `"value":0`) {
			listed = records(typeAsset, 1, 50)
		}
		return `{"records":[` + listed + `]}`
	}}
	l := &lister{service: databaseOf(t, cloud), library: primary()}
	require.NoError(t, l.assets(context.Background(), visibleAssets, 100_000))
	assert.Len(t, l.library.Assets, 50)
	assert.LessOrEqual(t, cloud.requests, int64(500)) // there are a thousand windows
}

// Windows that are empty do not prevent the listing of later ones.
func TestSomeEmptyWindowsDoNotEndAListing(t *testing.T) {
	const step = pageRecords/2 - 1
	cloud := &responder{respond: func(_, _, body string, _ int64) string {
		listed := ""
		for rank := int64(0); rank < 100*step; rank += 2 * step {
			if strings.Contains(body, fmt.Sprintf(`"value":%d}`, rank)) {
				listed = records(typeAsset, rank, step+1)
			}
		}
		return `{"records":[` + listed + `]}`
	}}
	l := &lister{service: databaseOf(t, cloud), library: primary()}
	require.NoError(t, l.assets(context.Background(), visibleAssets, 100*step+1))
	assert.Len(t, l.library.Assets, 50*(step+1))
	assert.False(t, l.found.moved)
}

// The service may return a single asset in each page.
func TestPagesOfOneAsset(t *testing.T) {
	cloud := &responder{respond: func(_, _, body string, _ int64) string {
		for rank := range int64(5) {
			if strings.Contains(body, fmt.Sprintf(`"value":%d}`, rank)) {
				return `{"records":[` + records(typeAsset, rank, 1) + `]}`
			}
		}
		return `{"records":[]}`
	}}
	l := &lister{service: databaseOf(t, cloud), library: primary()}
	require.NoError(t, l.assets(context.Background(), visibleAssets, 5))
	assert.Len(t, l.library.Assets, 5)
}

// Assets that move between pages while an index is listed are noticed, even if the number
// of assets stays the same.
func TestMovedAssetsAreNoticed(t *testing.T) {
	for _, page := range []int64{pageRecords / 2, 20} { // full pages and short ones
		for _, removed := range []int64{0, 1} {
			// The first request returns the first page. Later requests return the second page,
			// shifted as after the removal of assets.
			cloud := &responder{respond: func(_, _, body string, number int64) string {
				first := page - 1
				if number == 1 {
					first = 0
				} else if !strings.Contains(body, fmt.Sprintf(`"value":%d}`, first)) {
					return `{"records":[]}`
				}
				if number > 1 {
					first += removed
				}
				return `{"records":[` + records(typeAsset, first, page) + `]}`
			}}
			l := &lister{service: databaseOf(t, cloud), library: primary()}
			require.NoError(t, l.assets(context.Background(), visibleAssets, 150))
			assert.Equal(t, removed > 0, l.found.moved, "%d assets per page", page)
		}
	}
}

// A token that the service refuses in another form than usual is not used any more. Other
// failures are no reason to list a library again.
func TestRefusalsOfTokens(t *testing.T) {
	for response, refused := range map[string]bool{
		`{"zones":[{"serverErrorCode":"BAD_REQUEST"}]}`:          true,
		`{"zones":[{"serverErrorCode":"CHANGE_TOKEN_EXPIRED"}]}`: true,
		`{"zones":[{"serverErrorCode":"UNKNOWN"}]}`:              true,
		`{"serverErrorCode":"BAD_REQUEST"}`:                      true,
		`{"zones":[]}`:                                           true,
		`{"zones":[{"serverErrorCode":"ZONE_NOT_FOUND"}]}`:       true,
		`{"zones":[{"serverErrorCode":"ACCESS_DENIED"}]}`:        false,
		`{"zones":[{"serverErrorCode":"THROTTLED"}]}`:            false,
	} {
		cloud := &responder{respond: func(_, _, _ string, _ int64) string { return response }}
		l := primary()
		l.Token = "old"
		err := (&loader{service: databaseOf(t, cloud)}).applyChanges(context.Background(), l)
		assert.Equal(t, refused, err == nil && l.Token == "", "%s: %v", response, err)
		assert.LessOrEqual(t, cloud.requests, int64(2), response)
	}
}

// The members of an album that lacks photos that may be hidden are listed again, once for
// each number.
func TestAlbumsThatLackPhotosAreListedAgain(t *testing.T) {
	l := primary()
	l.Albums["a"] = &album{Name: "A"}
	now := time.Date(2026, 11, 5, 10, 0, 0, 0, time.UTC)
	assert.False(t, l.checkMembers("a", 0, 5, now))
	assert.True(t, l.checkMembers("a", 3, 5, now))
	assert.False(t, l.checkMembers("a", 3, 5, now))
	assert.True(t, l.checkMembers("a", 2, 5, now))
	assert.Empty(t, l.membersErr)
	later := now.Add(2 * acceptedAfter)
	assert.False(t, l.checkMembers("a", 2, 1, later), "it has an error instead")
	assert.Error(t, l.membersErr["a"], "it is an error for a week from now on")
}

// Records that stand for photos of a shared library are no photos.
func TestSparseRecordsAreNoPhotos(t *testing.T) {
	l := primary()
	sparse := map[string]value{"isSparsePrivateRecord": {Value: []byte("1")}}
	l.apply([]record{{Name: "a", Type: typeAsset, Fields: sparse}, {Name: "b", Type: typeAsset}})
	assert.Len(t, l.Assets, 1)
	assert.NotNil(t, l.Assets["b"])
	sparse["masterRef"] = value{Value: []byte(`{"recordName":"m"}`)}
	l.apply([]record{{Name: "a", Type: typeAsset, Fields: sparse}})
	assert.Len(t, l.Assets, 2, "a photo with content")
}
