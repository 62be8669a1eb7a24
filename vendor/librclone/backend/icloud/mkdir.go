package icloud

import (
	"context"
	"errors"
	"path"

	"github.com/google/uuid"
)

// makeFolder makes a folder, or finds the one that somebody made meanwhile.
func (d *drive) makeFolder(ctx context.Context, in place, name string) (*item, error) {
	on := path.Join(in.path, name)
	if err := checkName("make folder", on, name); err != nil {
		return nil, err
	}
	if err := in.writable("make folder"); err != nil {
		return nil, err
	}
	done, err := d.folders.fill(ctx, in.id)
	if err != nil {
		return nil, err
	}
	defer done()
	if got, _ := d.folders.find(in.id, name); got.like != nil {
		return got.like, nil
	}
	for try := 1; ; try++ {
		answer, err := d.change(ctx, "/createFolders", map[string]any{
			"destinationDrivewsId": in.id,
			"folders": []map[string]any{{
				"clientId": "FOLDER::UNKNOWN_ZONE::TempId-" + uuid.NewString(),
				"name":     name,
			}},
		}, in.zone())
		if err == nil {
			made, bad := d.madeFolder(in, answer)
			err = bad
			if err == nil {
				d.folders.put(in.id, made)
				d.folders.started(made.id)
				if nameKey(made.name) == nameKey(name) {
					return made, nil
				}
				return d.otherFolder(ctx, in, made, name)
			}
		}
		// A folder that exists already is answered with one of several statuses,
		// and so are passing troubles: the listing tells.
		var status *itemStatus
		if ctx.Err() != nil || !errors.As(err, &status) && !outcomeUnknown(err) {
			return nil, about(in.refused(err), "make folder", on)
		}
		listed := d.listOne(ctx, in)
		if listed.err != nil {
			return nil, listed.err
		}
		_, child := pick(listed.items, name)
		if child == nil {
			child = d.folders.findCoarsely(in.id, name)
		}
		if child != nil {
			return child, nil
		}
		if try == mostAttempts {
			return nil, itemError("make folder", on, err)
		}
	}
}

// madeFolder checks the answer about a new folder: it must be a new one.
func (d *drive) madeFolder(in place, answer *driveItem) (*item, error) {
	made, err := newItem(answer)
	if err != nil {
		return nil, err
	}
	within := (&item{id: answer.ParentID}).docID()
	if !made.folder || made.id == rootID || made.id == in.id || within != "" && within != (&item{id: in.id}).docID() ||
		d.folders.findID(in.id, made.id) != nil {
		return nil, damaged("the answer is not about a new folder")
	}
	made.parent = in.id
	return made, nil
}

// otherFolder is called when the service gave a new folder another name: the
// folder that has the name is taken, and the new one, which is empty, removed.
func (d *drive) otherFolder(ctx context.Context, in place, made *item, name string) (*item, error) {
	listed := d.listOne(ctx, in)
	if listed.err != nil {
		return nil, listed.err
	}
	_, holder := pick(listed.items, name)
	if holder == nil {
		holder = d.folders.findCoarsely(in.id, name)
	}
	if holder == nil || holder.id == made.id {
		return d.rename(ctx, in, made, name)
	}
	if err := d.trash(ctx, in, made); err != nil {
		return nil, err
	}
	return holder, nil
}
