package icloudphotos

import (
	"context"
	"errors"

	"plakar-icloud/librclone/backend/icloud/apierr"
)

// pageRecords is the maximum number of records in a page. The service does not
// return more, even if more are requested.
const pageRecords = 200

// foundZone is a zone of the database, or a shared album in the form of a zone.
type foundZone struct {
	zoneID
	token string // the sync token of the zone, or the tag of the shared album, when it was found
}

// maxZonePages is the maximum number of pages of the list of zones. An account
// has a few zones, so more pages would never end.
const maxZonePages = 1000

// zones returns the zones of an area of the database. It fails if the service
// announces another page without the token to get it.
func zones(ctx context.Context, s *database, area string) ([]foundZone, error) {
	type result struct {
		fault
		Zones []struct {
			ID      zoneID `json:"zoneID"`
			Token   string `json:"syncToken"`
			Deleted bool   `json:"deleted"`
		} `json:"zones"`
		Token string `json:"syncToken"`
		More  bool   `json:"moreComing"`
	}
	var found []foundZone
	body := map[string]string{}
	for range maxZonePages {
		response, err := callDatabase(ctx, s, area, "changes/database", body, func(r *result) error {
			if err := r.Err(); err != nil {
				return err
			}
			return present(r.Zones != nil)
		})
		if err != nil {
			return nil, err
		}
		for _, zone := range response.Zones {
			if !zone.Deleted {
				zone.ID.Area = area
				found = append(found, foundZone{zone.ID, zone.Token})
			}
		}
		if !response.More {
			return found, nil
		}
		if response.Token == "" || response.Token == body["syncToken"] {
			break
		}
		body = map[string]string{"syncToken": response.Token}
	}
	return nil, apierr.Damaged("the list of the photo libraries ends early")
}

// present returns an error if a response lacks its list. An empty list is not
// missing.
func present(has bool) error {
	if has {
		return nil
	}
	return apierr.Damaged("a response without the list that was requested")
}

// query is a query of an index.
type query struct {
	kind   string // the name of the index
	parent string // the album or the folder, "" for none
	ranked bool
	rank   int
}

func (q query) filters() []map[string]any {
	equals := func(field, kind string, value any) map[string]any {
		return map[string]any{"fieldName": field, "comparator": "EQUALS", "fieldValue": map[string]any{"type": kind, "value": value}}
	}
	var filters []map[string]any
	if q.ranked {
		filters = append(filters, equals("startRank", "INT64", q.rank), equals("direction", "STRING", "ASCENDING"))
	}
	if q.parent != "" {
		filters = append(filters, equals("parentId", "STRING", q.parent))
	}
	return filters
}

// page is a response with records.
type page struct {
	fault
	Records []record `json:"records"`
	Marker  string   `json:"continuationMarker"`
	Token   string   `json:"syncToken"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *page) UnmarshalJSON(data []byte) error {
	type plain page
	return unmarshalKnown(data, (*plain)(p))
}

// queryPage returns a page of an index: the first one, or the one after the page
// with the given marker.
func queryPage(ctx context.Context, s *database, zone zoneID, q query, marker string) (*page, error) {
	body := map[string]any{
		"query":        map[string]any{"recordType": q.kind, "filterBy": q.filters()},
		"zoneID":       zone,
		"resultsLimit": pageRecords,
		"desiredKeys":  desiredKeys,
	}
	if marker != "" {
		body["continuationMarker"] = marker
	}
	return callDatabase(ctx, s, zone.Area, "records/query", body, func(p *page) error {
		if err := p.Err(); err != nil {
			return err
		}
		return present(p.Records != nil)
	})
}

// isIndexed reports whether the indexes of a zone are complete. Until they are,
// queries return only a part of the library.
func isIndexed(ctx context.Context, s *database, zone zoneID) (bool, error) {
	body := map[string]any{"query": map[string]any{"recordType": "CheckIndexingState"}, "zoneID": zone}
	response, err := callDatabase(ctx, s, zone.Area, "records/query", body, func(p *page) error { return p.Err() })
	if err != nil {
		return false, err
	}
	return len(response.Records) > 0 && response.Records[0].text("state") == "FINISHED", nil
}

// lookUp returns the records with the given names. It omits records that do not
// exist.
func lookUp(ctx context.Context, s *database, zone zoneID, names []string) ([]record, error) {
	var found []record
	for len(names) > 0 {
		batch := names[:min(len(names), pageRecords)]
		names = names[len(batch):]
		wanted := make([]map[string]string, len(batch))
		for i, name := range batch {
			wanted[i] = map[string]string{"recordName": name}
		}
		body := map[string]any{"records": wanted, "zoneID": zone, "desiredKeys": desiredKeys}
		response, err := callDatabase(ctx, s, zone.Area, "records/lookup", body, func(p *page) error { return p.Err() })
		if err != nil {
			return nil, err
		}
		for _, record := range response.Records {
			if record.Code == "" {
				found = append(found, record)
			}
		}
	}
	return found, nil
}

// counts returns the number of items in each index according to the service,
// without the indexes that it does not count.
func counts(ctx context.Context, s *database, zone zoneID, indexes []string) (map[string]int, error) {
	batch := make([]map[string]any, len(indexes))
	for i, index := range indexes {
		filter := map[string]any{
			"fieldName": "indexCountID", "comparator": "IN",
			"fieldValue": map[string]any{"type": "STRING_LIST", "value": []string{index}},
		}
		batch[i] = map[string]any{
			"query":  map[string]any{"recordType": "HyperionIndexCountLookup", "filterBy": filter},
			"zoneID": zone, "zoneWide": true, "resultsLimit": 1,
		}
	}
	type result struct {
		fault
		Batch []page `json:"batch"`
	}
	response, err := callDatabase(ctx, s, zone.Area, "internal/records/query/batch", map[string]any{"batch": batch}, func(r *result) error {
		if err := r.Err(); err != nil {
			return err
		}
		if len(r.Batch) != len(indexes) {
			return finalError(apierr.KindDamaged, "the service did not count all indexes of the library", "")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	found := make(map[string]int, len(indexes))
	for i, page := range response.Batch {
		var count int
		if page.Code == "" && len(page.Records) > 0 && page.Records[0].decode("itemCount", &count) && count >= 0 {
			found[indexes[i]] = count
		}
	}
	return found, nil
}

// errTokenRefused is returned if the service does not accept a sync token, or if the
// changes since it do not end.
var errTokenRefused = errors.New("the service does not accept the sync token")

// isTokenCode reports whether a code refuses a sync token, so that the call need not be
// repeated. CHANGE_TOKEN_EXPIRED is a guess after an error of CloudKit's own clients.
// https://developer.apple.com/documentation/cloudkit/ckerror/changetokenexpired
func isTokenCode(code string) bool { return code == "BAD_REQUEST" || code == "CHANGE_TOKEN_EXPIRED" }

// mayRefuseToken reports whether the service may have refused a call because of its
// sync token. If the zone is invalid instead, the listing that follows fails.
func mayRefuseToken(err error) bool {
	switch apierr.KindOf(err) {
	case apierr.KindUnsupported, apierr.KindNotFound, apierr.KindChanged:
		return !endsRun(err)
	}
	return false
}

// maxEmptyPages is the number of consecutive pages without new records after which a
// list counts as endless. kei has received 70 of them. The number is a guess.
// https://github.com/rhoopr/kei/blob/aa722f4dc7e6d383e89729db33104e44a1be3950/docs/synctoken-reference.md
const maxEmptyPages = 200

// emptyPages is the number of consecutive pages without new records.
type emptyPages int

// isEndless counts a page, and reports whether the list counts as endless.
func (n *emptyPages) isEndless(isNew bool) bool {
	if *n++; isNew {
		*n = 0
	}
	return *n >= maxEmptyPages
}

// zoneChanges is a page of the changes of a zone.
type zoneChanges struct {
	fault
	Token   string   `json:"syncToken"`
	More    bool     `json:"moreComing"`
	Records []record `json:"records"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (z *zoneChanges) UnmarshalJSON(data []byte) error {
	type plain zoneChanges
	return unmarshalKnown(data, (*plain)(z))
}

// changes calls apply with the records that have changed since a token, page by
// page, and returns the token of the present state. A page without records is
// not necessarily the last page. With more than maxPages pages, or maxEmptyPages
// consecutive pages without records, the token counts as not accepted.
func changes(ctx context.Context, s *database, zone zoneID, token string, maxPages int, apply func([]record)) (string, error) {
	type result struct {
		fault
		Zones []zoneChanges `json:"zones"`
	}
	var empty emptyPages
	for range maxPages {
		body := map[string]any{"zones": []map[string]any{{
			"zoneID": zone, "syncToken": token, "resultsLimit": pageRecords, "desiredKeys": desiredKeys,
		}}}
		response, err := callDatabase(ctx, s, zone.Area, "changes/zone", body, func(r *result) error {
			if err := r.Err(); err != nil {
				return err
			}
			if len(r.Zones) == 0 || isTokenCode(r.Zones[0].Code) {
				return nil
			}
			return r.Zones[0].Err()
		})
		switch {
		case err != nil && mayRefuseToken(err), err == nil && len(response.Zones) == 0:
			return "", errTokenRefused
		case err != nil:
			return "", err
		}
		changed := response.Zones[0]
		if changed.Code != "" || changed.Token == "" || changed.More && changed.Token == token || changed.Records == nil {
			return "", errTokenRefused
		}
		apply(changed.Records)
		token = changed.Token
		if !changed.More {
			return token, nil
		}
		if empty.isEndless(len(changed.Records) > 0) {
			break
		}
	}
	return "", errTokenRefused
}
