package drive

import (
	"context"
	"encoding/json"
	"path"
	"path/filepath"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/leftovers"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/rclone/rclone/fs"
	"golang.org/x/sync/errgroup"
)

// replacement describes the new file of a replacement, which has a temporary name,
// for later processes.
type replacement struct {
	Account  string        `json:"account"`
	Folder   describedItem `json:"folder"`
	Path     string        `json:"path"` // of the folder, for messages
	ID       string        `json:"id"`
	Name     string        `json:"name"`     // the temporary name
	Replaces string        `json:"replaces"` // the name that the file is to get
	Size     int64         `json:"size"`     // -1 for a package
	Modified int64         `json:"modified"` // in seconds since 1970
}

// describedItem has the members of an item that are needed to list it.
type describedItem struct {
	ID     string          `json:"id"`
	ItemID string          `json:"item_id,omitempty"`
	Share  json.RawMessage `json:"share,omitempty"`
	Owner  string          `json:"owner,omitempty"`
}

// account returns the name under which the processes of the account store what
// concerns it.
func (d *Drive) account() string { return filepath.Base(d.facts.path) }

// record adds a document to the list of this process before it gets a temporary
// name.
func (d *Drive) record(ctx context.Context, in place, temporary, name string, doc *document) *leftovers.Mark {
	list := leftovers.In(ctx)
	if list == nil {
		return nil
	}
	made := replacement{
		Account: d.account(), Folder: describedItem{ID: in.id}, Path: in.path,
		ID:   api.ConstructDriveID(doc.docID, in.zone(), "FILE"),
		Name: temporary, Replaces: name, Size: doc.file.Size, Modified: doc.modified.Unix(),
	}
	if doc.pack != nil {
		made.Size = -1
	}
	if in.item != nil && in.item.Shared() {
		made.Folder.ItemID, made.Folder.Share, made.Folder.Owner = in.item.itemID, in.item.share, in.item.owner
	}
	item, err := json.Marshal(made)
	if err != nil {
		return nil
	}
	return list.Add(leftovers.Entry{Path: path.Join(in.path, name), Item: item})
}

// Settle ends replacements that killed processes have begun. A new file whose name
// is taken by the replaced file is moved to the Trash, and one whose name is free
// gets it. Items that no longer have the temporary name, or that another device has
// changed, are left unchanged. Settle returns the result for each description, which
// is nil for those of other accounts.
func (d *Drive) Settle(ctx context.Context, items []json.RawMessage) []error {
	results := make([]error, len(items))
	type numbered struct {
		replacement
		number int
	}
	folders := map[string][]numbered{}
	for i, item := range items {
		var made replacement
		if err := json.Unmarshal(item, &made); err != nil || made.Account != d.account() || made.ID == "" || made.Folder.ID == "" {
			continue
		}
		folders[made.Folder.ID] = append(folders[made.Folder.ID], numbered{made, i})
	}
	var group errgroup.Group
	group.SetLimit(ListWorkers)
	for _, of := range folders {
		group.Go(func() error {
			in := of[0].place()
			listed := d.listOne(ctx, in)
			var changes errgroup.Group // one call moves several items to the Trash
			for _, one := range of {
				changes.Go(func() error {
					results[one.number] = d.settle(ctx, in, one.replacement, listed.err)
					return nil
				})
			}
			return changes.Wait()
		})
	}
	_ = group.Wait() // the errors are in results
	return results
}

// place returns the folder of the replacement.
func (r *replacement) place() place {
	in := place{id: r.Folder.ID, path: r.Path}
	if len(r.Folder.Share) > 0 {
		in.item = &Item{
			ID: r.Folder.ID, itemID: r.Folder.ItemID, share: r.Folder.Share, owner: r.Folder.Owner,
			Name: path.Base(r.Path), Shown: path.Base(r.Path), Folder: true, Children: -1,
		}
	}
	return in
}

// settle ends a replacement in a folder that was just listed.
func (d *Drive) settle(ctx context.Context, in place, made replacement, listed error) error {
	switch {
	case isGone(listed):
		return nil
	case listed != nil:
		return listed
	}
	child, hidden, known := d.folders.leftover(in.id, made.ID)
	switch {
	case !known:
		return apierr.New(apierr.KindChanged, "list", in.path, "the folder keeps changing")
	case child == nil || !sameName(child.Name, made.Name):
		return nil
	case !made.describes(child):
		fs.LogPrintf(fs.LogLevelWarning, nil, "icloud: another device has changed %q, which a killed process has left; it is kept", path.Join(in.path, child.Name))
		return nil
	case hidden:
		return d.retire(ctx, in, child, child.Name)
	}
	named, err := d.rename(ctx, in, child, made.Replaces)
	switch {
	case err == nil && nameKey(named.Name) == nameKey(made.Replaces), isGone(err):
		return nil
	case err == nil:
		child = named
	case !apierr.HasKind(err, apierr.KindExists):
		return err
	}
	return d.retire(ctx, in, child, child.Name) // the name was taken in the meantime
}

// describes reports whether an item still has the content of the replacement.
func (r *replacement) describes(it *Item) bool {
	modified := max(1, r.Modified*1000) / 1000 // as registration sends it
	return !it.Folder && (r.Size < 0 || max(0, it.Size) == r.Size) && it.Modified.Truncate(time.Second).Unix() == modified
}
