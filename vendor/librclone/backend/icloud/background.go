package icloud

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"plakar-icloud/librclone/backend/icloud/drive"
	"plakar-icloud/librclone/leftovers"
)

// open returns the drives of all accounts in this process.
func open() []*drive.Drive {
	drives.Lock()
	defer drives.Unlock()
	return slices.Collect(maps.Values(drives.of))
}

// Settle ends replacements that a killed process of the open accounts has begun.
// It returns the result for each description; see [drive.Drive.Settle].
func Settle(ctx context.Context, items []json.RawMessage, recent bool) []leftovers.Result {
	results := make([]leftovers.Result, len(items))
	for _, d := range open() {
		for i, result := range d.Settle(ctx, items, recent) {
			if result.Outcome != leftovers.NotOurs {
				results[i] = result
			}
		}
	}
	return results
}

// WaitForChanges waits for the changes in the background of all accounts in this process,
// until ctx ends. It returns those that failed since the last call and those that
// are still under way.
func WaitForChanges(ctx context.Context) []drive.UnfinishedChange {
	var unfinished []drive.UnfinishedChange
	for _, d := range open() {
		unfinished = append(unfinished, d.WaitForChanges(ctx)...)
	}
	slices.SortFunc(unfinished, func(a, b drive.UnfinishedChange) int { return strings.Compare(a.Path, b.Path) })
	return unfinished
}
