package icloud

import (
	"context"
	"slices"
	"strings"

	"plakar-icloud/librclone/backend/icloud/drive"
)

// Finish waits for the changes in the background of all accounts in this process,
// until ctx ends. It returns those that failed since the last call and those that
// are still under way.
func Finish(ctx context.Context) []drive.Unfinished {
	drives.Lock()
	open := make([]*drive.Drive, 0, len(drives.of))
	for _, d := range drives.of {
		open = append(open, d)
	}
	drives.Unlock()
	var unfinished []drive.Unfinished
	for _, d := range open {
		unfinished = append(unfinished, d.Finish(ctx)...)
	}
	slices.SortFunc(unfinished, func(a, b drive.Unfinished) int { return strings.Compare(a.Path, b.Path) })
	return unfinished
}
