package drive

import (
	"context"
)

// contextKey is the key of a parameter that rclone's methods do not have. The
// context passes it through backends that wrap this one.
type contextKey int

const (
	permanentKey contextKey = iota
	deferredKey
	newKey
	trailKey
	knownKey
	packageKey
	identicalKey
)

// Permanently returns a context under which a removed file is deleted
// permanently instead of being left in the Trash, which counts against the
// quota.
func Permanently(ctx context.Context) context.Context {
	return context.WithValue(ctx, permanentKey, true)
}

// DeferReplacement returns a context under which an upload returns as soon as its
// content is a complete file in the folder. The replaced file is then moved to the
// Trash, and the new file renamed, in the background; see WaitForChanges.
func DeferReplacement(ctx context.Context) context.Context {
	return context.WithValue(ctx, deferredKey, true)
}

// AcceptIdentical returns a context under which a replacement succeeds if another
// program stores a file with the same size and time under the name in the meantime.
// The new file is then withdrawn. Unless digest is empty, the content of the file must
// also have this XXH128 digest, in hexadecimal.
func AcceptIdentical(ctx context.Context, digest string) context.Context {
	return context.WithValue(ctx, identicalKey, &digest)
}

// ExpectNew returns a context under which an upload never replaces a file and
// does not list the folder. The service itself refuses a name that is taken, or
// that it treats as equal to a taken one, and the upload fails with KindExists.
// The first listing of a folder after a write was measured to take 30 s; see
// details.go for the source.
func ExpectNew(ctx context.Context) context.Context {
	return context.WithValue(ctx, newKey, true)
}

// KeepTrail returns a context under which the path to a created folder is stored,
// so that processes do not list the folders on it during the next minute.
func KeepTrail(ctx context.Context) context.Context {
	return context.WithValue(ctx, trailKey, true)
}

// StorePackages returns a context under which an upload of the archive of a
// package creates a package. If the service refuses it, the upload fails with
// KindRefusedPackage.
func StorePackages(ctx context.Context) context.Context {
	return context.WithValue(ctx, packageKey, true)
}

// AcceptKnown returns a context under which a listing comes from the cache if
// this process has listed or created the folder.
func AcceptKnown(ctx context.Context) context.Context {
	return context.WithValue(ctx, knownKey, true)
}
