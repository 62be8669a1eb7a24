package drive

import (
	"path"
	"slices"

	"plakar-icloud/librclone/backend/icloud/apierr"

	"github.com/rclone/rclone/backend/iclouddrive/api"
)

// place is a folder that a path leads to.
type place struct {
	id     string
	item   *Item    // from the listing of the parent; nil for the root of the drive
	parent string   // the id of the parent
	path   string   // in messages
	within []string // the ids of the ancestors
}

var driveRoot = place{id: rootID}

func (p place) target() target {
	if p.item == nil {
		return target{id: p.id, weight: 1}
	}
	return targetOf(p.item)
}

// under returns the place of a child folder of p.
func (p place) under(child *Item) place {
	return place{
		id: child.ID, item: child, parent: p.id, path: path.Join(p.path, child.Shown),
		within: append(slices.Clip(p.within), p.id),
	}
}

// loops returns an error if a child of the folder is the folder itself or one of
// its ancestors. It ignores the kind at the beginning of an id.
func (p place) loops(child *Item) error {
	same := func(id string) bool {
		return api.GetDocIDFromDriveID(id) == child.docID() && api.ZoneFromDriveID(id) == child.zone()
	}
	if !child.Folder || !same(p.id) && !slices.ContainsFunc(p.within, same) {
		return nil
	}
	e := apierr.New(apierr.KindDamaged, "", "", "the service lists the folder within itself").Advise("check the folder in iCloud Drive")
	e.Final = true
	return e
}

func (p place) writable(op string) error {
	if p.item == nil {
		return nil
	}
	return p.item.writable(op, p.path)
}

// zone returns the zone of new items in the folder.
func (p place) zone() string { return api.ZoneFromDriveID(p.id) }
