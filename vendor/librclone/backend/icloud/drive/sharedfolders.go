package drive

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/service"

	"github.com/rclone/rclone/backend/iclouddrive/api"
)

// A folder that another account shares is listed like any other folder. But the
// folders below it are in the drive of the owner, and the Drive host may refuse to
// list them. The documents host lists them by their item ids, in another form and
// without the ids that all other calls use. So these items can be read but not
// changed.

// itemKind is the kind in the id of an item of which only the item id is known.
const itemKind = "ITEM"

// maxEnumerated is the maximum number of items that are listed of a folder below a
// share.
const maxEnumerated = 100_000

// byItemID reports whether only the item id of an item is known.
func (i *Item) byItemID() bool { return strings.HasPrefix(i.ID, itemKind+"::") }

// listShared lists a folder below a share by its item id.
func (l *lister) listShared(ctx context.Context, of target) ([]*Item, []*InvalidItem, error) {
	type response struct {
		Items *[]documentItem `json:"drive_item"`
	}
	listed, err := service.Fetch(ctx, l.service, service.Request{
		Host: hosts.Docs, Method: http.MethodGet, Path: "/v1/enumerate/" + url.PathEscape(of.itemID),
		Params: url.Values{"limit": {strconv.Itoa(maxEnumerated)}}, Repeatable: true,
	}, func(response *response) error {
		if response.Items == nil {
			return apierr.Damaged("a listing without its items")
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	if len(*listed.Items) >= maxEnumerated {
		return nil, nil, apierr.New(apierr.KindUnsupported, "", "", "the shared folder has more items than the service lists")
	}
	items := make([]*Item, 0, len(*listed.Items))
	var invalid []*InvalidItem
	for _, raw := range *listed.Items {
		info := raw.Info
		switch {
		case info == nil:
			invalid = append(invalid, newInvalidItem("", "an item without a description"))
			continue
		case raw.ItemID == "":
			invalid = append(invalid, newInvalidItem(info.Name, "an item without an id"))
			continue
		}
		if why := invalidBecause(info.Name, info.Size); why != "" {
			invalid = append(invalid, newInvalidItem(info.Name, why))
			continue
		}
		it := &Item{
			ID:       api.ConstructDriveID(string(raw.ItemID), api.ZoneFromDriveID(of.id), itemKind),
			itemID:   string(raw.ItemID),
			Parent:   of.id,
			ETag:     string(info.Version),
			Name:     info.Name,
			Shown:    info.Name,
			Size:     info.Size.Or(-1),
			Folder:   strings.Contains(strings.ToUpper(info.Type), "FOLDER"),
			share:    of.share,
			owner:    of.owner,
			Files:    -1,
			Children: -1,
		}
		if ms, err := strconv.ParseInt(string(info.Modified), 10, 64); err == nil {
			it.Modified = time.UnixMilli(ms).Truncate(time.Second)
		}
		items = append(items, it)
	}
	return items, invalid, nil
}

// inShare reports whether the item is below a share. The addresses of such contents
// are requested in another way.
func (i *Item) inShare() bool {
	kind, _, _ := api.DeconstructDriveID(i.ID)
	return i.byItemID() || strings.Contains(kind, "IN_SHARED")
}

// requestShared requests the address of a content below a share. It is part of the
// service's description of the item.
func (c *contents) requestShared(ctx context.Context, it *Item) (*address, error) {
	raw, err := service.Fetch(ctx, c.service, service.Request{
		Host: hosts.Docs, Method: http.MethodGet, Path: "/v1/item/" + url.PathEscape(it.itemID), Repeatable: true,
	}, func(raw *documentItem) error {
		if raw.Info == nil || !hosts.MayHaveContents(raw.Info.URLs.Download) {
			return apierr.Damaged("the response has no address for the content on a host of Apple's")
		}
		return nil
	})
	if apierr.HasKind(err, apierr.KindUnsupported) || apierr.HasKind(err, apierr.KindDenied) {
		return nil, apierr.Newf(apierr.KindDenied, "", "", "the service does not give the content of this file, which %s shares", sharedBy(it.owner, it.share)).From(err)
	}
	if err != nil {
		return nil, err
	}
	return &address{url: raw.Info.URLs.Download, mark: string(raw.Info.Version)}, nil
}

// sharedBy returns how messages refer to the account that shares an item.
func sharedBy(name string, share json.RawMessage) string {
	if owner := ownerOf(name, share); owner != "" {
		return "the account " + strconv.Quote(owner)
	}
	return "another account"
}

// writable returns an error for an item that can only be read.
func (i *Item) writable(op, on string) error {
	if i.byItemID() {
		return apierr.New(apierr.KindDenied, op, on, "it is below a folder that another account shares, which is read-only")
	}
	return nil
}
