package icloudphotos

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
)

// lossReported is how long backups report that the service no longer lists a library or
// a shared album. An account that has left a shared library may get the same response as
// one whose libraries are temporarily unavailable.
const lossReported = 7 * 24 * time.Hour

// noteFound stores which of the shared libraries in the index the service lists. It
// returns the number of those whose loss has to be reported, and the keys of those to
// remove from the index. If sharedUnknown is set, found lacks the libraries of other
// accounts.
func (h *indexHead) noteFound(found []foundZone, sharedUnknown bool, now time.Time) (lost int, gone []string) {
	for key, since := range h.Shared {
		area, name, _ := strings.Cut(key, "/")
		isListed, isMoved := false, false // isMoved is set for a library that is now listed in the other area
		for _, zone := range found {
			_, isKnown := h.Shared[zone.key()]
			isListed = isListed || zone.key() == key
			isMoved = isMoved || zone.Name == name && !isKnown
		}
		switch {
		case isListed:
			h.Shared[key] = time.Time{}
		case isMoved:
			gone = append(gone, key)
		case area == sharedArea && sharedUnknown:
		case since.IsZero():
			h.Shared[key] = now
			lost++
		case now.Sub(since) < lossReported:
			lost++
		default:
			gone = append(gone, key)
		}
	}
	return lost, gone
}

// seenAlbum is a shared album in the index.
type seenAlbum struct {
	Folder string    // the name of its folder
	Gone   time.Time // when the service first did not list it; zero if it does
}

// noteAlbums stores which of the shared albums in the index the service lists. It
// returns the folders of those whose loss has to be reported, and the keys of those to
// remove from the index.
func (h *indexHead) noteAlbums(found []foundZone, now time.Time) (lost, gone []string) {
	for id, album := range h.Albums {
		zone := zoneID{Area: sharedAlbumArea, Name: id}
		isListed := slices.ContainsFunc(found, func(other foundZone) bool { return other.key() == zone.key() })
		switch {
		case isListed:
			album.Gone = time.Time{}
		case album.Gone.IsZero():
			album.Gone = now
			lost = append(lost, album.Folder)
		case now.Sub(album.Gone) < lossReported:
			lost = append(lost, album.Folder)
		default:
			gone = append(gone, zone.key())
		}
		h.Albums[id] = album
	}
	slices.Sort(lost)
	return lost, gone
}

// lossOfAlbums returns the error for shared albums that the service no longer lists,
// or nil if there are none.
func lossOfAlbums(folders []string) error {
	why := ""
	switch len(folders) {
	case 0:
		return nil
	case 1:
		why = fmt.Sprintf("the service no longer lists the shared album %q, which an earlier run has read", folders[0])
	default:
		why = fmt.Sprintf("the service no longer lists %d shared albums that an earlier run has read, such as %q", len(folders), folders[0])
	}
	return apierr.New(apierr.KindDamaged, "", "", why).
		Advise("if this account has left it, or its owner has deleted it, no action is needed: earlier snapshots have its photos")
}
