package icloud

import (
	"context"
	"slices"
	"strings"
)

// wish is a context key for a caller's request that rclone's arguments cannot
// express. It is passed in the context because a context reaches this backend
// through the backends that wrap it.
type wish int

const (
	wishPermanent wish = iota
	wishDeferred
	wishNew
	wishTrail
	wishKnown
	wishPackage
)

// Permanently returns a context under which a removed file is deleted
// permanently instead of being left in the Trash, which counts against the
// quota.
func Permanently(ctx context.Context) context.Context {
	return context.WithValue(ctx, wishPermanent, true)
}

// DeferReplacement returns a context under which an upload returns as soon as
// its content is a complete file of the folder. The replaced file is moved to
// the Trash, and the new file gets its name, in the background; see Finish.
func DeferReplacement(ctx context.Context) context.Context {
	return context.WithValue(ctx, wishDeferred, true)
}

// ExpectNew returns a context under which an upload never replaces a file and
// does not look for one: the service itself refuses a name that is taken, or one
// that it treats as equal. The
// upload then fails with the kind KindExists. The first listing of a folder
// after a write was measured to take 30 s; see details.go for the source.
func ExpectNew(ctx context.Context) context.Context {
	return context.WithValue(ctx, wishNew, true)
}

// KeepTrail returns a context under which the path to a folder that is created is
// stored for the processes of the next minute, which then do not list the
// folders on it.
func KeepTrail(ctx context.Context) context.Context {
	return context.WithValue(ctx, wishTrail, true)
}

// StorePackages returns a context under which the archive of a package is stored
// as a package. If the service refuses that, the upload fails with
// KindRefusedPackage.
func StorePackages(ctx context.Context) context.Context {
	return context.WithValue(ctx, wishPackage, true)
}

// AcceptKnown returns a context under which a folder is listed from memory if
// this process has listed or created it.
func AcceptKnown(ctx context.Context) context.Context {
	return context.WithValue(ctx, wishKnown, true)
}

// wishes reports whether the caller made a request of this kind.
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
