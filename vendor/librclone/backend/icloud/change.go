package icloud

import (
	"context"
	"errors"
	"net/http"
	"path"
	"strings"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/rclone/rclone/fs"
	"golang.org/x/text/unicode/norm"
)

// Changes of items. Each call names the etag that the item had: when somebody
// has changed it since, the service says so and nothing is done. When an answer
// is lost, a listing tells whether the change was made.

// mostAttempts is how often a change is tried that others get in the way of.
const mostAttempts = 4

// change sends a call about one item.
func (d *drive) change(ctx context.Context, path string, body map[string]any, zone string) (*driveItem, error) {
	answer, err := fetch[itemsAnswer](ctx, d.service, request{
		host: driveHost, method: http.MethodPost, path: path, body: body, zone: zone,
	}, nil)
	if err != nil {
		return nil, err
	}
	if answer.Items == nil {
		return only(answer.Folders)
	}
	return only(answer.Items)
}

// changeItem sends a call about an item that is there. The answer has to be
// about it: only a move into another zone may give it another id.
func (d *drive) changeItem(ctx context.Context, path string, body map[string]any, it *item, zone string) (*driveItem, error) {
	answer, err := d.change(ctx, path, body, zone)
	if err != nil {
		return nil, err
	}
	answered := &item{id: string(answer.DriveID)}
	if answer.DriveID != "" && answered.docID() != it.docID() && (zone == it.zone() || answer.DriveID == rootID) {
		return nil, damaged("an answer is about another item")
	}
	return answer, nil
}

// itemBody is how the calls about items name one.
func itemBody(it *item, more map[string]any) []map[string]any {
	entry := map[string]any{"drivewsid": it.id, "etag": it.etag, "clientId": it.id}
	for key, value := range more {
		entry[key] = value
	}
	return []map[string]any{entry}
}

// isConflict reports whether a change was refused because the item has changed.
func isConflict(err error) bool {
	var status *itemStatus
	return errors.As(err, &status) && status.status == statusConflict
}

// present looks for an item in its folder by its id. It is nil when the item is
// not there any more; a listing that has not all of the folder is no proof of that.
func (d *drive) present(ctx context.Context, in place, id string) (*item, error) {
	listed := d.listOne(ctx, in)
	if isGone(listed.err) {
		return nil, nil
	}
	if listed.err != nil {
		return nil, listed.err
	}
	// Hidden items are looked for too, so not in what is shown.
	if child := d.folders.findID(in.id, id); child != nil {
		return child, nil
	}
	for _, child := range listed.items {
		if child.id == id {
			return child, nil
		}
	}
	return nil, about(listed.short, "list", in.path)
}

// unchanged reports whether an item is for certain what it was.
func (d *drive) unchanged(ctx context.Context, it *item) bool {
	now, err := d.present(ctx, place{id: it.parent}, it.id)
	return err == nil && now != nil && it.etag != "" && now.etag == it.etag && now.size == it.size
}

// attempt runs a change of an item until it is made. done tells, from what the
// item was and what the folder has of it now (nil for nothing), whether it has
// been made.
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
		// A refusal for an old etag may come from a move to elsewhere, and a
		// status that is not understood from a change that was made.
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

// itemError turns the refusal of an item into an error with its place.
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

// trash moves an item to the Trash. One that its folder no longer has is no
// failure.
func (d *drive) trash(ctx context.Context, in place, it *item) error {
	err := d.attempt(ctx, "delete", in, it, func(it *item) error { return d.trashUnchanged(ctx, it) },
		func(_, now *item) bool { return now == nil })
	if err != nil {
		return err
	}
	d.folders.drop(in.id, it.id)
	if it.folder {
		d.folders.forget(it.id)
	}
	return nil
}

// trashUnchanged moves an item to the Trash if it still has that etag. When it
// has another, the service may say that all is well and do nothing; what tells
// is the parent that the item has in the answer.
func (d *drive) trashUnchanged(ctx context.Context, it *item) error {
	answer, err := d.changeItem(ctx, "/moveItemsToTrash", map[string]any{"items": itemBody(it, nil)}, it, it.zone())
	if err != nil {
		return err
	}
	if !answer.inTrash() {
		return &itemStatus{status: statusConflict}
	}
	if wishes(ctx, wishPermanent) {
		return d.erase(ctx, it, answer)
	}
	return nil
}

// erase deletes an item that was just moved to the Trash, for good. A failure
// leaves it there and is no failure of the deletion.
func (d *drive) erase(ctx context.Context, it *item, trashed *driveItem) error {
	gone := *it
	gone.etag = string(trashed.ETag)
	_, err := d.change(ctx, "/deleteItems", map[string]any{"items": itemBody(&gone, nil)}, it.zone())
	if err != nil {
		fs.LogPrintf(fs.LogLevelWarning, nil, "icloud: %q stays in the Trash, where it takes room: %v", it.shown, err)
	}
	return nil
}

// rename gives an item another name within its folder. The service may choose
// another one when it is taken; what it became is returned.
func (d *drive) rename(ctx context.Context, in place, it *item, name string) (*item, error) {
	renamed := *it
	err := d.attempt(ctx, "rename", in, it, func(it *item) error {
		answer, err := d.changeItem(ctx, "/renameItems", map[string]any{
			"items": itemBody(it, map[string]any{"name": name}),
		}, it, it.zone())
		if err != nil {
			return err
		}
		if string(answer.ETag) == it.etag || !sameName(answer.fullName(), name) {
			return &itemStatus{status: statusConflict} // nothing was done, or the name is another one: a look tells
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

// take updates an item from the answer to a change.
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

// move puts an item into another folder, where the service may change its name.
func (d *drive) move(ctx context.Context, from place, it *item, to place) (*item, error) {
	moved := *it
	err := d.attempt(ctx, "move", from, it, func(it *item) error {
		answer, err := d.changeItem(ctx, "/moveItems", map[string]any{
			"destinationDrivewsId": to.id,
			"items":                itemBody(it, nil),
		}, it, to.zone())
		if err != nil {
			return err
		}
		arrived := answer.parentDoc()
		if arrived != api.GetDocIDFromDriveID(to.id) && (arrived != "" || string(answer.ETag) == it.etag) {
			return &itemStatus{status: statusConflict} // nothing was done, or it is elsewhere: a look tells
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

// sameName reports whether the service has a name as it was asked for. It
// answers in NFD what was sent in NFC.
func sameName(answered, wanted string) bool {
	return norm.NFC.String(answered) == norm.NFC.String(wanted)
}

// settle gives an item of ours a name that the service has given to something
// else: the other file goes to the Trash first, as with any replacement.
func (d *drive) settle(ctx context.Context, in place, it *item, name string) (*item, error) {
	on := path.Join(in.path, name)
	for range mostAttempts {
		if sameName(it.name, name) {
			return it, nil
		}
		holder, err := d.holder(ctx, in, it, name)
		if err != nil {
			return nil, err
		}
		if holder != nil {
			if holder.folder || it.folder {
				return nil, fail(KindExists, "name", on, "something else has this name").is(fs.ErrorIsDir)
			}
			if err := d.trash(ctx, in, holder); err != nil {
				return nil, err
			}
		}
		if it, err = d.rename(ctx, in, it, name); err != nil {
			return nil, err
		}
	}
	if nameKey(it.name) == nameKey(name) {
		return it, nil // the service insists on a form of its own
	}
	return nil, fail(KindChanged, "name", on, "another device keeps taking this name")
}

// holder finds who has a name that was refused to an item of ours (nil when it
// is not stored yet); nil when nobody has.
func (d *drive) holder(ctx context.Context, in place, it *item, name string) (*item, error) {
	begun := d.folders.now()
	got, err := d.lookup(ctx, in, name, func(got found) bool { return !got.listed.Before(begun) })
	if err != nil {
		return nil, err
	}
	holder := got.like
	if holder == nil {
		holder = d.folders.findCoarsely(in.id, name)
	}
	if holder != nil && it != nil && holder.id == it.id {
		return nil, nil
	}
	return holder, nil
}

// refused names the likely reason when the service refuses to make something.
func (p place) refused(err error) error {
	if !hasKind(err, KindUnsupported) || isFinal(err) {
		return err
	}
	if p.item != nil && p.item.shared() {
		return fail(KindDenied, "", "", "the service refuses changes here, below a folder that another account shares").from(err)
	}
	return fail(KindRefusedName, "", "", "the service refuses it, most likely for the name").from(err)
}
