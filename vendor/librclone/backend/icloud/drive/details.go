package drive

import (
	"context"
	"net/http"
	"strings"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/service"

	"github.com/rclone/rclone/backend/iclouddrive/api"
)

// detail requests an item by its id, in a folder or in the Trash. It returns nil
// if the service does not provide the item in full. The listing of a folder has
// the same data, but was measured to take 30 s after a change, whereas this
// request takes 1 s.
//
// Source: https://github.com/Dandiccf/cirrove, docs/benchmarks, "Exact-ID
// lookup of owned iCloud Trash predecessors" of 2026-09-30. The service refuses
// the form that rclone's client sends, which is an array.
func (d *Drive) detail(ctx context.Context, id string) *driveItem {
	if d.noDetails.Load() {
		return nil
	}
	docID := api.GetDocIDFromDriveID(id)
	response, err := service.Fetch(ctx, d.Service, service.Request{
		Host: hosts.Drive, Method: http.MethodPost, Path: "/retrieveItemDetails",
		Repeatable: true, TrustRefusals: true, Quick: true,
		Body: map[string]any{"items": []map[string]any{{"drivewsid": id}}},
	}, func(response *itemsResponse) error {
		_, err := onlyAbout(response, docID)
		return err
	})
	if err != nil {
		switch apierr.KindOf(err) {
		case apierr.KindUnsupported, apierr.KindNotFound, apierr.KindDenied:
			d.noDetails.Store(true)
		}
		return nil
	}
	item := &response.all()[0]
	if item.DriveID == "" || item.ParentID == "" || item.ETag == "" || item.Name == "" {
		return nil
	}
	return item
}

// present returns the present state of an item in its folder, or nil if the item
// is no longer there. It fails if a listing lacks the item but is incomplete.
func (d *Drive) present(ctx context.Context, in place, id string) (*Item, error) {
	kind, zone, _ := api.DeconstructDriveID(in.id)
	if item := d.detail(ctx, id); item != nil {
		switch {
		case item.inTrash():
			return nil, nil
		case item.parentDoc() == api.GetDocIDFromDriveID(in.id):
			now, err := newItem(item)
			if err != nil {
				return nil, err
			}
			now.Parent = in.id
			return now, nil
		case zone == api.ZoneFromDriveID(rootID) && !strings.Contains(kind, "SHARED"):
			return nil, nil
		}
		// Shared folders and those of apps have several ids.
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	listed := d.listOne(ctx, in)
	if isGone(listed.err) {
		return nil, nil
	}
	if listed.err != nil {
		return nil, listed.err
	}
	// Hidden items must be found, too, so the visible children do not suffice.
	if child := d.folders.findID(in.id, id); child != nil {
		return child, nil
	}
	for _, child := range listed.items {
		if child.ID == id {
			return child, nil
		}
	}
	return nil, apierr.About(listed.short, "list", in.path)
}

// unchanged reports whether an item is known to be unchanged.
func (d *Drive) unchanged(ctx context.Context, it *Item) bool {
	now, err := d.present(ctx, place{id: it.Parent}, it.ID)
	return err == nil && now != nil && it.ETag != "" && now.ETag == it.ETag && now.Size == it.Size
}

// sameContent reports whether two states of a file have the same content: the
// size, the time and the second half of the etag must be equal. That this half
// identifies the content is a guess.
func sameContent(was, now *Item) bool {
	_, before, split := strings.Cut(was.ETag, "::")
	_, after, _ := strings.Cut(now.ETag, "::")
	return was.Size == now.Size && was.Modified.Equal(now.Modified) && (was.ETag == now.ETag || split && before == after)
}
