package drive

import (
	"context"
)

// contextKey is the key of a parameter that rclone's methods do not have. It is
// passed in the context, because that reaches this backend through the backends
// that wrap it.
type contextKey int

const (
	permanentKey contextKey = iota
	deferredKey
	newKey
	trailKey
	knownKey
	packageKey
)

// Permanently returns a context under which a removed file is deleted
// permanently instead of being left in the Trash, which counts against the
// quota.
func Permanently(ctx context.Context) context.Context {
	return context.WithValue(ctx, permanentKey, true)
}

// DeferReplacement returns a context under which an upload returns as soon as
// its content is a complete file of the folder. The replaced file is moved to
// the Trash, and the new file gets its name, in the background; see Finish.
func DeferReplacement(ctx context.Context) context.Context {
	return context.WithValue(ctx, deferredKey, true)
}

// ExpectNew returns a context under which an upload never replaces a file and
// does not look for one: the service itself refuses a name that is taken, or one
// that it treats as equal. The upload then fails with the kind KindExists. The first listing of a folder
// after a write was measured to take 30 s; see details.go for the source.
func ExpectNew(ctx context.Context) context.Context {
	return context.WithValue(ctx, newKey, true)
}

// KeepTrail returns a context under which the path to a folder that is created is
// stored for the processes of the next minute, which then do not list the
// folders on it.
func KeepTrail(ctx context.Context) context.Context {
	return context.WithValue(ctx, trailKey, true)
}

// StorePackages returns a context under which the archive of a package is stored
// as a package. If the service refuses that, the upload fails with
// KindRefusedPackage.
func StorePackages(ctx context.Context) context.Context {
	return context.WithValue(ctx, packageKey, true)
}

// AcceptKnown returns a context under which a folder is listed from memory if
// this process has listed or created it.
func AcceptKnown(ctx context.Context) context.Context {
	return context.WithValue(ctx, knownKey, true)
}
