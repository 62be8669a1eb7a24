package icloud

import (
	"context"
	"net/http"
	"net/url"
	"path"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/rclone/rclone/fs"
)

// Copies within the service. rclone's backend has disabled them since it was
// written, because the service's call was broken at that time. So they are an
// option here, every copy is checked, and after a wrong copy no further one is
// made.

// Copy implements fs.Copier if the option server_side_copy is set. A copy is a
// separate document that no folder shows until it gets its name.
func (f *Fs) Copy(ctx context.Context, src fs.Object, remote string) (fs.Object, error) {
	o, ok := src.(*Object)
	if !ok || o.fs.drive != f.drive || f.drive.copyBroken.Load() {
		return nil, fs.ErrorCantCopy
	}
	names := f.names(remote)
	it := o.state.Load()
	if len(names) == 0 || it.itemID == "" || it.size < 0 || it.shared() {
		return nil, fs.ErrorCantCopy
	}
	to, err := f.drive.walk(ctx, names[:len(names)-1], true)
	if err != nil {
		return nil, err
	}
	if to.zone() != it.zone() {
		return nil, fs.ErrorCantCopy // how a copy gets into another zone nobody has seen
	}
	copied, err := f.drive.put(ctx, to, names[len(names)-1], new(known), func(ctx context.Context) (*document, error) {
		return f.drive.duplicate(ctx, it)
	})
	if hasKind(err, KindUnsupported) || hasKind(err, KindDamaged) {
		fs.Debugf(o, "icloud: the service makes no copies: %v", err)
		f.drive.copyBroken.Store(true)
		return nil, fs.ErrorCantCopy
	}
	if err != nil {
		return nil, about(err, "copy to", path.Join(f.root, remote))
	}
	return f.newObject(remote, copied), nil
}

// duplicate copies a file.
func (d *drive) duplicate(ctx context.Context, it *item) (*document, error) {
	made, err := fetch(ctx, d.service, request{
		host: docsHost, method: http.MethodPost, path: "/v1/item/copy/" + url.PathEscape(it.itemID), zone: it.zone(),
		body: map[string]any{"info_to_update": map[string]any{}},
	}, func(made *documentItem) error {
		if made.ItemID == "" || string(made.ItemID) == it.itemID {
			return damaged("a copy without an id of its own")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	doc, err := lookUp(ctx, d.service, it.zone(), string(made.ItemID))
	if err != nil {
		return nil, err
	}
	if string(doc.ID) == it.docID() || doc.Size.or(0) != it.size && doc.Data.Size.or(0) != it.size {
		return nil, damaged("the copy is not like the original")
	}
	return &document{
		docID:    string(doc.ID),
		modified: it.modified,
		file: api.SingleFileInfo{
			Size:               it.size,
			Signature:          doc.Data.Signature,
			ReferenceSignature: doc.Data.ReferenceSignature,
			WrappingKey:        doc.Data.WrappingKey,
		},
	}, nil
}
