package icloudphotos

import (
	"context"
	"slices"
	"strings"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"

	"github.com/rclone/rclone/fs"
)

const (
	primaryZone  = "PrimarySync"
	sharedPrefix = "SharedSync"
	privateArea  = "private"
	sharedArea   = "shared"
)

// findZones returns the zones that are photo libraries. Other zones belong to
// shared links and to apps. It returns sharedErr if only libraries other than that
// of the account could not be found.
func findZones(ctx context.Context, s *database) (libraries []foundZone, sharedErr, err error) {
	found, err := zones(ctx, s, privateArea)
	if err != nil {
		return nil, nil, err
	}
	others, err := zones(ctx, s, sharedArea)
	switch {
	case err == nil:
	case endsRun(err) || ctx.Err() != nil:
		return nil, nil, err
	case apierr.HasKind(err, apierr.KindNotFound):
		// An account without a shared library may not have this area.
		fs.Debugf(nil, "icloud photos: there are no libraries of other accounts: %v", err)
	default:
		sharedErr, s.sharedUnknown = err, true
	}
	for _, zone := range found {
		isLibrary := zone.Name == primaryZone || strings.HasPrefix(zone.Name, sharedPrefix)
		if isLibrary && !slices.ContainsFunc(libraries, zone.isSame) {
			libraries = append(libraries, zone)
		}
	}
	if !slices.ContainsFunc(libraries, func(zone foundZone) bool { return zone.Name == primaryZone }) {
		return nil, nil, endRun(finalError(apierr.KindUnsupported, "the account has no photo library", "turn on iCloud Photos on a device"))
	}
	for _, zone := range others {
		if strings.HasPrefix(zone.Name, sharedPrefix) && !slices.ContainsFunc(libraries, zone.isSame) {
			libraries = append(libraries, zone)
		}
	}
	head := readHead(s.index)
	if lost, _ := head.noteFound(libraries, s.sharedUnknown, time.Now()); lost > 0 && sharedErr == nil {
		sharedErr = apierr.New(apierr.KindDamaged, "", "", "the service no longer lists a shared library that an earlier run has read").
			Advise("if this account has left the shared library, no action is needed: after a week, backups do not report this any more")
	}
	return libraries, sharedErr, nil
}

// isSame reports whether two zones are the same library, which the service may list
// in both areas. Zones of different owners in different areas can have the same
// name.
func (z foundZone) isSame(other foundZone) bool {
	return z.Name == other.Name && (z.Area == other.Area || z.Owner == other.Owner || z.Owner == "" || other.Owner == "")
}
