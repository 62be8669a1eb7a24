package icloudphotos

import (
	"context"
	"errors"

	"plakar-icloud/librclone/backend/icloud/apierr"
)

// pageRecords is how many records a page has at most. The service returns no
// more, whatever is requested.
const pageRecords = 200

// foundZone is a zone and its sync token at the time of the response.
type foundZone struct {
	zoneID
	token string
}

// zones returns the zones of an area of the database.
func zones(ctx context.Context, s *database, area string) ([]foundZone, error) {
	type answered struct {
		fault
		Zones []struct {
			ID      zoneID `json:"zoneID"`
			Token   string `json:"syncToken"`
			Deleted bool   `json:"deleted"`
		} `json:"zones"`
	}
	answer, err := callDatabase(ctx, s, area, "changes/database", struct{}{}, func(a *answered) error { return a.Err() })
	if err != nil {
		return nil, err
	}
	var found []foundZone
	for _, zone := range answer.Zones {
		if !zone.Deleted {
			zone.ID.Area = area
			found = append(found, foundZone{zone.ID, zone.Token})
		}
	}
	return found, nil
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

type page struct {
	fault
	Records []record `json:"records"`
	Marker  string   `json:"continuationMarker"`
	Token   string   `json:"syncToken"`
}

// ask returns a page of an index. marker continues an earlier page.
func ask(ctx context.Context, s *database, zone zoneID, q query, marker string) (*page, error) {
	body := map[string]any{
		"query":        map[string]any{"recordType": q.kind, "filterBy": q.filters()},
		"zoneID":       zone,
		"resultsLimit": pageRecords,
		"desiredKeys":  desiredKeys,
	}
	if marker != "" {
		body["continuationMarker"] = marker
	}
	return callDatabase(ctx, s, zone.Area, "records/query", body, func(p *page) error { return p.Err() })
}

// isIndexed reports whether the indexes of a zone are complete. Before, queries
// return a part of the library only.
func isIndexed(ctx context.Context, s *database, zone zoneID) (bool, error) {
	body := map[string]any{"query": map[string]any{"recordType": "CheckIndexingState"}, "zoneID": zone}
	answer, err := callDatabase(ctx, s, zone.Area, "records/query", body, func(p *page) error { return p.Err() })
	if err != nil {
		return false, err
	}
	return len(answer.Records) > 0 && answer.Records[0].text("state") == "FINISHED", nil
}

// lookUp returns records by their names. Those that do not exist are left out.
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
		answer, err := callDatabase(ctx, s, zone.Area, "records/lookup", body, func(p *page) error { return p.Err() })
		if err != nil {
			return nil, err
		}
		for _, one := range answer.Records {
			if one.Code == "" {
				found = append(found, one)
			}
		}
	}
	return found, nil
}

// counts returns how many items the indexes have according to the service.
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
	type answered struct {
		fault
		Batch []page `json:"batch"`
	}
	answer, err := callDatabase(ctx, s, zone.Area, "internal/records/query/batch", map[string]any{"batch": batch}, func(a *answered) error {
		if err := a.Err(); err != nil {
			return err
		}
		if len(a.Batch) != len(indexes) {
			return finalError(apierr.KindDamaged, "the service did not count all indexes of the library", "")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	found := make(map[string]int, len(indexes))
	for i, one := range answer.Batch {
		if len(one.Records) > 0 {
			found[indexes[i]] = int(one.Records[0].number("itemCount"))
		}
	}
	return found, nil
}

// errTokenRefused is returned if the service does not accept a sync token.
var errTokenRefused = errors.New("the sync token is refused")

// changes calls apply for the records that have changed since a token, page by
// page, and returns the token of the present state. A page without records is
// not the last one.
func changes(ctx context.Context, s *database, zone zoneID, token string, apply func([]record)) (string, error) {
	type changed struct {
		fault
		Token   string   `json:"syncToken"`
		More    bool     `json:"moreComing"`
		Records []record `json:"records"`
	}
	type answered struct {
		fault
		Zones []changed `json:"zones"`
	}
	for {
		body := map[string]any{"zones": []map[string]any{{
			"zoneID": zone, "syncToken": token, "resultsLimit": pageRecords, "desiredKeys": desiredKeys,
		}}}
		answer, err := callDatabase(ctx, s, zone.Area, "changes/zone", body, func(a *answered) error {
			if err := a.Err(); err != nil {
				return err
			}
			if len(a.Zones) == 0 {
				return finalError(apierr.KindDamaged, "the service did not return the changes of the library", "")
			}
			if a.Zones[0].Code == "BAD_REQUEST" {
				return nil
			}
			return a.Zones[0].Err()
		})
		if err != nil {
			return "", err
		}
		one := answer.Zones[0]
		if one.Code != "" || one.Token == "" || one.More && one.Token == token {
			return "", errTokenRefused
		}
		apply(one.Records)
		token = one.Token
		if !one.More {
			return token, nil
		}
	}
}
