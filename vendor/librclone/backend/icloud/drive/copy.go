package drive

import (
	"context"
	"net/http"
	"net/url"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/service"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/rclone/rclone/fs"
)

// Copies within the service. rclone's backend has always disabled them, because
// the service's call was broken when the backend was written. So they are an
// option here, every copy is checked, and no copy is made after a wrong one.

// Copy copies a file to a path within the service. The copy is visible only after
// it was checked. Copy returns fs.ErrorCantCopy if the service cannot copy the
// file.
func (d *Drive) Copy(ctx context.Context, it *Item, names []string, on string) (*Item, error) {
	if d.copyBroken.Load() || len(names) == 0 || it.itemID == "" || it.Size < 0 || it.Shared() {
		return nil, fs.ErrorCantCopy
	}
	to, err := d.walk(ctx, names[:len(names)-1], true)
	if err != nil {
		return nil, err
	}
	if to.zone() != it.zone() {
		return nil, fs.ErrorCantCopy // no call is known that copies into another zone
	}
	copied, err := d.put(ctx, to, names[len(names)-1], new(nameHolder), func(ctx context.Context) (*document, error) {
		return d.duplicate(ctx, it)
	})
	if apierr.HasKind(err, apierr.KindUnsupported) || apierr.HasKind(err, apierr.KindDamaged) {
		fs.Debugf(nil, "icloud: the service did not copy %q: %v", on, err)
		d.copyBroken.Store(true)
		return nil, fs.ErrorCantCopy
	}
	return copied, apierr.About(err, "copy to", on)
}

// duplicate creates a document with the content of a file and checks it.
func (d *Drive) duplicate(ctx context.Context, it *Item) (*document, error) {
	made, err := service.Fetch(ctx, d.Service, service.Request{
		Host: hosts.Docs, Method: http.MethodPost, Path: "/v1/item/copy/" + url.PathEscape(it.itemID), Zone: it.zone(),
		Body: map[string]any{"info_to_update": map[string]any{}},
	}, func(made *documentItem) error {
		if made.ItemID == "" || string(made.ItemID) == it.itemID {
			return apierr.Damaged("a copy without an id of its own")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	doc, err := lookUp(ctx, d.Service, it.zone(), string(made.ItemID))
	if err != nil {
		return nil, err
	}
	if string(doc.ID) == it.docID() || doc.Size.Or(0) != it.Size && doc.Data.Size.Or(0) != it.Size {
		return nil, apierr.Damaged("the copy differs from the original")
	}
	return &document{
		docID:    string(doc.ID),
		modified: it.Modified,
		file: api.SingleFileInfo{
			Size:               it.Size,
			Signature:          doc.Data.Signature,
			ReferenceSignature: doc.Data.ReferenceSignature,
			WrappingKey:        doc.Data.WrappingKey,
		},
	}, nil
}
