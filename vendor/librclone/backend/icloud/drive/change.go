package drive

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"path"
	"strings"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/service"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/rclone/rclone/fs"
)

// Changes of items. Each call has the etag that the item had. If another device
// has changed the item since, a move and a move to the Trash are refused, but a
// rename was measured to be made nevertheless. If the response to a change is
// lost, the item itself shows whether the change was made.
//
// Source: https://github.com/Dandiccf/cirrove, docs/benchmarks,
// icloud-stale-trash, icloud-stale-move and icloud-conditional-rename of
// 2026-09.

// maxAttempts is how often a change is attempted at once, without a pause, if
// another device keeps changing the item.
const maxAttempts = 4

// change sends a call about one item and returns the response about it.
func (d *Drive) change(ctx context.Context, path string, body map[string]any, zone string) (*driveItem, error) {
	response, err := service.Fetch[itemsResponse](ctx, d.Service, service.Request{
		Host: hosts.Drive, Method: http.MethodPost, Path: path, Body: body, Zone: zone,
	}, nil)
	if err != nil {
		return nil, err
	}
	return only(response.all())
}

// entryOf returns an item in the form that calls about items require.
func entryOf(it *Item, more map[string]any) map[string]any {
	entry := map[string]any{"drivewsid": it.ID, "etag": it.ETag, "clientId": it.ID}
	maps.Copy(entry, more)
	return entry
}

// isConflict reports whether a change was refused because the item has changed.
func isConflict(err error) bool {
	var status *itemStatus
	return errors.As(err, &status) && status.status == statusConflict
}

// attempt repeats send until the change of an item is made. op is the operation
// in messages. done reports whether the change is made, from the earlier state of
// the item and from its present state in the folder, which is nil if the item is
// not there.
func (d *Drive) attempt(ctx context.Context, op string, in place, it *Item, send func(*Item) error, done func(was, now *Item) bool) error {
	on := path.Join(in.path, it.Shown)
	if err := it.writable(op, on); err != nil {
		return err
	}
	for try := 1; ; try++ {
		err := send(it)
		if err == nil || ctx.Err() != nil {
			return err
		}
		// The cause of a refusal for an old etag may be a move to another folder,
		// and that of an unknown status a change that was made.
		var status *itemStatus
		hasStatus := errors.As(err, &status)
		if !hasStatus && !apierr.OutcomeUnknown(err) && !isGone(err) && !apierr.HasKind(err, apierr.KindChanged) {
			return itemError(op, on, err)
		}
		now, lookErr := d.present(ctx, in, it.ID)
		if lookErr != nil {
			return itemError(op, on, lookErr)
		}
		switch {
		case done(it, now):
			return nil
		case now == nil:
			return itemError(op, on, &itemStatus{status: "NOT_FOUND"})
		case hasStatus && status.isDefinite() && !isGone(err):
			return itemError(op, on, err)
		}
		if isConflict(err) && try < maxAttempts && now.ETag != it.ETag {
			it = now
			continue
		}
		it = now
		if isGone(err) {
			err = errContradiction
		}
		if waitErr := d.Service.Retries.Wait(ctx, try+1, err); waitErr != nil {
			return itemError(op, on, waitErr)
		}
	}
}

// itemError returns the error for an operation on an item with the path on. It
// converts an *itemStatus.
func itemError(op, on string, err error) error {
	var status *itemStatus
	if !errors.As(err, &status) {
		return apierr.About(err, op, on)
	}
	kind := apierr.KindUnsupported
	text := strings.ToUpper(status.status)
	switch {
	case text == statusConflict:
		kind = apierr.KindChanged
	case isGone(err):
		kind = apierr.KindNotFound
	case strings.Contains(text, "EXIST"):
		kind = apierr.KindExists
	case strings.Contains(text, "DENIED"), strings.Contains(text, "FORBIDDEN"):
		kind = apierr.KindDenied
	}
	return apierr.New(kind, op, on, status.Error())
}

// trash moves an item to the Trash, even if it has changed since it was listed.
// It succeeds if the folder no longer contains the item. Under a context of
// Permanently, the item is deleted from the Trash in the background, unless
// another device has changed it.
func (d *Drive) trash(ctx context.Context, in place, it *Item) error {
	trashed := it
	err := d.attempt(ctx, "delete", in, it, func(now *Item) error {
		response, err := d.trashUnchanged(ctx, now)
		if err == nil {
			gone := *now
			gone.ETag = string(response.ETag)
			trashed = &gone
			if now != it && !sameContent(it, now) {
				trashed = nil
			}
		}
		return err
	}, func(_, now *Item) bool { return now == nil })
	if err != nil {
		return err
	}
	d.folders.drop(in.id, it.ID)
	if it.Folder {
		d.folders.forget(it.ID)
	}
	if trashed != nil && trashed != it && ctx.Value(permanentKey) != nil {
		d.erase(ctx, path.Join(in.path, it.Shown), trashed)
	}
	return nil
}

// erase deletes an item that was just moved to the Trash, in the background. If
// that fails, the item stays in the Trash, and a warning is logged.
func (d *Drive) erase(ctx context.Context, on string, trashed *Item) {
	d.pending.start(ctx, on, trashed.ID, func(ctx context.Context) (*Item, error) {
		if _, err := d.erasures.change(ctx, trashed, nil); err != nil {
			fs.LogPrintf(fs.LogLevelWarning, nil, "icloud: %q stays in the Trash, where it takes room: %v", on, err)
		}
		return nil, nil
	})
}

// trashUnchanged moves an item to the Trash if its etag has not changed. If it
// has, the service may report success and do nothing; the parent of the item in
// the response shows this.
func (d *Drive) trashUnchanged(ctx context.Context, it *Item) (*driveItem, error) {
	response, err := d.removals.change(ctx, it, nil)
	if err == nil && !response.inTrash() {
		return nil, &itemStatus{status: statusConflict}
	}
	return response, err
}

// rename renames an item within its folder and returns the renamed item. If the
// name is taken, the service may choose another one.
func (d *Drive) rename(ctx context.Context, in place, it *Item, name string) (*Item, error) {
	renamed := *it
	err := d.attempt(ctx, "rename", in, it, func(it *Item) error {
		response, err := d.renames.change(ctx, it, map[string]any{"name": name})
		if err != nil {
			return err
		}
		if response.ETag == "" || string(response.ETag) == it.ETag || !sameName(response.fullName(), name) {
			return &itemStatus{status: statusConflict} // nothing was done, or the name differs; attempt looks it up
		}
		renamed = *it
		renamed.take(response)
		return nil
	}, func(was, now *Item) bool {
		if now == nil || sameName(now.Name, was.Name) && !sameName(now.Name, name) {
			return false
		}
		renamed = *now
		return true
	})
	if err != nil {
		if isGone(err) {
			d.folders.drop(in.id, it.ID)
		}
		return nil, err
	}
	d.folders.put(in.id, &renamed)
	return &renamed, nil
}

// take updates an item from the response to a change.
func (i *Item) take(response *driveItem) {
	if response.ETag != "" {
		i.ETag = string(response.ETag)
	}
	if response.Name != "" {
		i.Name = response.fullName()
	}
	i.Shown = i.Name
	if response.ItemID != "" {
		i.itemID = string(response.ItemID)
	}
	if response.DriveID != "" {
		i.ID = string(response.DriveID) // the id changes with the zone of the folder
	}
}

// move moves an item into another folder and returns the moved item. The service
// may change its name.
func (d *Drive) move(ctx context.Context, from place, it *Item, to place) (*Item, error) {
	moved := *it
	err := d.attempt(ctx, "move", from, it, func(it *Item) error {
		response, err := d.change(ctx, "/moveItems", map[string]any{
			"destinationDrivewsId": to.id,
			"items":                []map[string]any{entryOf(it, nil)},
		}, to.zone())
		if err != nil {
			return err
		}
		// Only a move into another zone may change the id of the item.
		if response.DriveID != "" && api.GetDocIDFromDriveID(string(response.DriveID)) != it.docID() &&
			(to.zone() == it.zone() || response.DriveID == rootID) {
			return apierr.Damaged("the response is about another item")
		}
		arrived := response.parentDoc()
		if arrived != api.GetDocIDFromDriveID(to.id) && (arrived != "" || string(response.ETag) == it.ETag) {
			return &itemStatus{status: statusConflict} // nothing was done, or the item is elsewhere; attempt looks it up
		}
		moved = *it
		moved.take(response)
		return nil
	}, func(_, now *Item) bool {
		if now != nil {
			return false
		}
		arrived, err := d.present(ctx, to, it.ID)
		if arrived == nil { // the id changes with the zone of the folder
			kind, _, docID := api.DeconstructDriveID(it.ID)
			arrived = d.folders.findID(to.id, api.ConstructDriveID(docID, to.zone(), kind))
		}
		if err != nil || arrived == nil {
			return false
		}
		moved = *arrived
		return true
	})
	if err != nil {
		return nil, err
	}
	moved.Parent = to.id
	d.folders.drop(from.id, it.ID)
	if it.Folder && moved.ID != it.ID {
		d.folders.forget(it.ID)
	}
	d.folders.put(to.id, &moved)
	return &moved, nil
}

// sameName reports whether a name in a response is the requested one. The service
// returns names in NFD that were sent in NFC.
func sameName(got, wanted string) bool { return nameKey(got) == nameKey(wanted) }
