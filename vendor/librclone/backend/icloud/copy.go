package icloud

import (
	"context"
	"net/http"
	"net/url"
	"path"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/rclone/rclone/fs"
)

// Copies within the service: rclone's backend has had them switched off since it
// was written, because the service's call was broken then. So they are an
// option here, every copy is checked, and after one that is not right no other
// is made.

// Copy implements fs.Copier where the option server_side_copy is set. The
// service lays the copy beside the original; a move and a rename put it right.
func (f *Fs) Copy(ctx context.Context, src fs.Object, remote string) (fs.Object, error) {
	o, ok := src.(*Object)
	if !ok || o.fs.drive != f.drive || !f.opt.ServerSideCopy || f.drive.copyBroken.Load() {
		return nil, fs.ErrorCantCopy
	}
	names := f.names(remote)
	if len(names) == 0 {
		return nil, fs.ErrorCantCopy
	}
	to, err := f.drive.walk(ctx, names[:len(names)-1], true)
	if err != nil {
		return nil, err
	}
	it := o.state.Load()
	copied, err := f.drive.duplicate(ctx, o.folder(), it)
	if err != nil {
		fs.Debugf(o, "icloud: the service makes no copies: %v", err)
		f.drive.copyBroken.Store(true)
		return nil, fs.ErrorCantCopy
	}
	placed, err := f.drive.relocate(ctx, o.folder(), copied, to, names[len(names)-1])
	if err != nil {
		return nil, about(err, "copy", path.Join(f.root, remote))
	}
	return f.newObject(remote, placed), nil
}

// duplicate makes a copy of a file beside it.
func (d *drive) duplicate(ctx context.Context, in place, it *item) (*item, error) {
	raw, err := fetch(ctx, d.service, request{
		op: "copy", host: docsHost, method: http.MethodPost, path: "/v1/item/copy/" + url.PathEscape(it.itemID),
		body: map[string]any{"info_to_update": map[string]any{}},
	}, func(raw *api.DriveItemRaw) error {
		if raw.ItemID == "" || raw.ItemID == it.itemID {
			return damaged("a copy without an id")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	listed := d.listOne(ctx, in)
	if listed.err != nil {
		return nil, listed.err
	}
	for _, child := range listed.items {
		if child.itemID != raw.ItemID {
			continue
		}
		if child.size == it.size && child.modified.Equal(it.modified) {
			return child, nil
		}
		if err := d.trash(ctx, in, child); err != nil {
			return nil, err
		}
		return nil, damaged("the copy is not like the original")
	}
	return nil, damaged("the copy is not where the original is")
}
