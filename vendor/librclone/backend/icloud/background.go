package icloud

import (
	"context"
	"slices"
	"strings"
)

// wish is a key of what a caller asks of a call beside rclone's own arguments.
// It travels in the context, because that passes through the backends that wrap
// this one.
type wish int

const (
	wishPermanent wish = iota
	wishDeferred
)

// Permanently returns a context under which a removed file is deleted for good
// instead of being left in the Trash, which counts against the quota.
func Permanently(ctx context.Context) context.Context {
	return context.WithValue(ctx, wishPermanent, true)
}

// DeferReplacement returns a context under which an upload returns as soon as
// its content is a complete file of the folder. A file that it replaces is
// trashed, and the new one gets its name, in the background: see Finish.
func DeferReplacement(ctx context.Context) context.Context {
	return context.WithValue(ctx, wishDeferred, true)
}

// wishes reports whether the caller asked for something.
func wishes(ctx context.Context, what wish) bool { return ctx.Value(what) != nil }

// Unfinished is a change that was deferred and could not be completed.
type Unfinished struct {
	Path string // from the root of the drive
	Err  error
}

// Finish waits for the deferred changes of all accounts in this process, until
// ctx ends. It returns those that failed since the last call and those that are
// still under way.
func Finish(ctx context.Context) []Unfinished {
	drives.Lock()
	open := make([]*drive, 0, len(drives.of))
	for _, d := range drives.of {
		open = append(open, d)
	}
	drives.Unlock()
	var unfinished []Unfinished
	for _, d := range open {
		unfinished = append(unfinished, d.pending.finish(ctx)...)
	}
	slices.SortFunc(unfinished, func(a, b Unfinished) int { return strings.Compare(a.Path, b.Path) })
	return unfinished
}
