package icloud

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"path"
	"strings"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/rclone/rclone/fs"
	"golang.org/x/text/unicode/norm"
)

// Changes of items. Each call names the etag that the item had. If another
// device has changed the item since, a move and a move to the Trash are
// refused; a rename was measured to be made nevertheless. If the response to a
// change is lost, the item itself shows whether the change was made.
//
// Source: https://github.com/Dandiccf/cirrove, docs/benchmarks,
// icloud-stale-trash, icloud-stale-move and icloud-conditional-rename of
// 2026-09.

// mostAttempts is how often a change is attempted if conflicting changes
// prevent it.
const mostAttempts = 4

// change sends a call about one item.
func (d *drive) change(ctx context.Context, path string, body map[string]any, zone string) (*driveItem, error) {
	answer, err := fetch[itemsAnswer](ctx, d.service, request{
		host: driveHost, method: http.MethodPost, path: path, body: body, zone: zone,
	}, nil)
	if err != nil {
		return nil, err
	}
	return only(answer.all())
}

// entryOf returns an item in the form that calls about items require.
func entryOf(it *item, more map[string]any) map[string]any {
	entry := map[string]any{"drivewsid": it.id, "etag": it.etag, "clientId": it.id}
	maps.Copy(entry, more)
	return entry
}

// isConflict reports whether a change was refused because the item has changed.
func isConflict(err error) bool {
	var status *itemStatus
	return errors.As(err, &status) && status.status == statusConflict
}

// attempt runs a change of an item until it is made. done reports whether it is
// made, from the item's earlier state and its present state in the folder (nil
// if it is not there).
func (d *drive) attempt(ctx context.Context, op string, in place, it *item, send func(*item) error, done func(was, now *item) bool) error {
	on := path.Join(in.path, it.shown)
	if err := it.writable(op, on); err != nil {
		return err
	}
	for try := 1; ; try++ {
		err := send(it)
		if err == nil || ctx.Err() != nil {
			return err
		}
		// A refusal for an old etag may be caused by a move to another folder,
		// and an unknown status by a change that was made.
		var status *itemStatus
		answered := errors.As(err, &status)
		if !answered && !outcomeUnknown(err) && !isGone(err) && !hasKind(err, KindChanged) {
			return itemError(op, on, err)
		}
		now, lookErr := d.present(ctx, in, it.id)
		if lookErr != nil {
			return itemError(op, on, lookErr)
		}
		switch {
		case done(it, now):
			return nil
		case now == nil:
			return itemError(op, on, &itemStatus{status: "NOT_FOUND"})
		case answered && status.settled() && !isGone(err):
			return itemError(op, on, err)
		}
		if isConflict(err) && try < mostAttempts && now.etag != it.etag {
			it = now
			continue
		}
		it = now
		if isGone(err) {
			err = errContradiction
		}
		if waitErr := d.service.retries.wait(ctx, try+1, err); waitErr != nil {
			return itemError(op, on, waitErr)
		}
	}
}

// itemError converts the refusal of an item into an error with its path.
func itemError(op, on string, err error) error {
	var status *itemStatus
	if !errors.As(err, &status) {
		return about(err, op, on)
	}
	kind := KindUnsupported
	said := strings.ToUpper(status.status)
	switch {
	case said == statusConflict:
		kind = KindChanged
	case isGone(err):
		kind = KindNotFound
	case strings.Contains(said, "EXIST"):
		kind = KindExists
	case strings.Contains(said, "DENIED"), strings.Contains(said, "FORBIDDEN"):
		kind = KindDenied
	}
	return fail(kind, op, on, status.Error())
}

// trash moves an item to the Trash, even if it has changed since it was listed.
// An item that its folder no longer contains is no failure. Under a context of
// Permanently, it is deleted from the Trash in the background, unless another
// device has changed it.
func (d *drive) trash(ctx context.Context, in place, it *item) error {
	trashed := it
	err := d.attempt(ctx, "delete", in, it, func(now *item) error {
		answer, err := d.trashUnchanged(ctx, now)
		if err == nil {
			gone := *now
			gone.etag = string(answer.ETag)
			trashed = &gone
			if now != it && !sameContent(it, now) {
				trashed = nil
			}
		}
		return err
	}, func(_, now *item) bool { return now == nil })
	if err != nil {
		return err
	}
	d.folders.drop(in.id, it.id)
	if it.folder {
		d.folders.forget(it.id)
	}
	if trashed != nil && trashed != it && wishes(ctx, wishPermanent) {
		d.erase(ctx, path.Join(in.path, it.shown), trashed)
	}
	return nil
}

// erase deletes an item that was just moved to the Trash, in the background. If
// that fails, the item stays in the Trash, and the deletion still counts as
// successful.
func (d *drive) erase(ctx context.Context, on string, trashed *item) {
	d.pending.start(ctx, on, trashed.id, func(ctx context.Context) (*item, error) {
		if _, err := d.erasures.change(ctx, trashed, nil); err != nil {
			fs.LogPrintf(fs.LogLevelWarning, nil, "icloud: %q stays in the Trash, where it takes room: %v", on, err)
		}
		return nil, nil
	})
}

// trashUnchanged moves an item to the Trash if it still has the etag. If it has
// another one, the service may report success and do nothing; the parent of the
// item in the response shows this.
func (d *drive) trashUnchanged(ctx context.Context, it *item) (*driveItem, error) {
	answer, err := d.removals.change(ctx, it, nil)
	if err == nil && !answer.inTrash() {
		return nil, &itemStatus{status: statusConflict}
	}
	return answer, err
}

// rename renames an item within its folder. If the name is taken, the service
// may choose another one. The renamed item is returned.
func (d *drive) rename(ctx context.Context, in place, it *item, name string) (*item, error) {
	renamed := *it
	err := d.attempt(ctx, "rename", in, it, func(it *item) error {
		answer, err := d.renames.change(ctx, it, map[string]any{"name": name})
		if err != nil {
			return err
		}
		if answer.ETag == "" || string(answer.ETag) == it.etag || !sameName(answer.fullName(), name) {
			return &itemStatus{status: statusConflict} // nothing was done, or the name is another one: a look-up shows which
		}
		renamed = *it
		renamed.take(answer)
		return nil
	}, func(was, now *item) bool {
		if now == nil || sameName(now.name, was.name) && !sameName(now.name, name) {
			return false
		}
		renamed = *now
		return true
	})
	if err != nil {
		if isGone(err) {
			d.folders.drop(in.id, it.id)
		}
		return nil, err
	}
	d.folders.put(in.id, &renamed)
	return &renamed, nil
}

// take updates an item from the response to a change.
func (i *item) take(answer *driveItem) {
	if answer.ETag != "" {
		i.etag = string(answer.ETag)
	}
	if answer.Name != "" {
		i.name = answer.fullName()
	}
	i.shown = i.name
	if answer.ItemID != "" {
		i.itemID = string(answer.ItemID)
	}
	if answer.DriveID != "" {
		i.id = string(answer.DriveID) // which changes with the zone of the folder
	}
}

// move moves an item into another folder. The service may change its name.
func (d *drive) move(ctx context.Context, from place, it *item, to place) (*item, error) {
	moved := *it
	err := d.attempt(ctx, "move", from, it, func(it *item) error {
		answer, err := d.change(ctx, "/moveItems", map[string]any{
			"destinationDrivewsId": to.id,
			"items":                []map[string]any{entryOf(it, nil)},
		}, to.zone())
		if err != nil {
			return err
		}
		// Only a move into another zone may change the id of the item.
		answered := &item{id: string(answer.DriveID)}
		if answer.DriveID != "" && answered.docID() != it.docID() && (to.zone() == it.zone() || answer.DriveID == rootID) {
			return damaged("an answer is about another item")
		}
		arrived := answer.parentDoc()
		if arrived != api.GetDocIDFromDriveID(to.id) && (arrived != "" || string(answer.ETag) == it.etag) {
			return &itemStatus{status: statusConflict} // nothing was done, or it is elsewhere: a look-up shows which
		}
		moved = *it
		moved.take(answer)
		return nil
	}, func(_, now *item) bool {
		if now != nil {
			return false
		}
		arrived, err := d.present(ctx, to, it.id)
		if arrived == nil { // the id changes with the zone of the folder
			kind, _, docID := api.DeconstructDriveID(it.id)
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
	moved.parent = to.id
	d.folders.drop(from.id, it.id)
	if it.folder && moved.id != it.id {
		d.folders.forget(it.id)
	}
	d.folders.put(to.id, &moved)
	return &moved, nil
}

// sameName reports whether the service has a name as it was requested. It
// returns names in NFD that were sent in NFC.
func sameName(answered, wanted string) bool {
	return norm.NFC.String(answered) == norm.NFC.String(wanted)
}
