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
	Old      string        `json:"old,omitempty"` // the id of the replaced file
	Name     string        `json:"name"`          // the temporary name
	Replaces string        `json:"replaces"`      // the name that the file is to get
	Size     int64         `json:"size"`          // -1 for a package
	Modified int64         `json:"modified"`      // in seconds since 1970
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
func (d *Drive) record(ctx context.Context, in place, old *Item, temporary, name string, doc *document) *leftovers.Mark {
	list := leftovers.In(ctx)
	if list == nil {
		return nil
	}
	made := replacement{
		Account: d.account(), Folder: describedItem{ID: in.id}, Path: in.path,
		ID:  api.ConstructDriveID(doc.docID, in.zone(), "FILE"),
		Old: old.ID, Name: temporary, Replaces: name, Size: doc.file.Size, Modified: doc.modified.Unix(),
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
	return list.Add(leftovers.Entry{Path: path.Join(in.path, name), Partial: path.Join(in.path, temporary), Item: item})
}

// Settle ends replacements that a killed process has begun. A new file whose name is
// taken is moved to the Trash, and one whose name is free gets it. Items that no
// longer have the temporary name, or that another device has changed, are left
// unchanged. If recent is set, the process may have asked the service a moment ago to
// move the replaced file to the Trash, so a new file waits while the replaced one has
// the name. Settle returns the result for each description.
func (d *Drive) Settle(ctx context.Context, items []json.RawMessage, recent bool) []leftovers.Result {
	results := make([]leftovers.Result, len(items))
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
					results[one.number] = d.settle(ctx, in, one.replacement, &listed, recent)
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
func (d *Drive) settle(ctx context.Context, in place, made replacement, listed *folderContents, recent bool) leftovers.Result {
	switch {
	case isGone(listed.err):
		return leftovers.Result{Outcome: leftovers.Nothing}
	case listed.err != nil:
		return leftovers.Failure(listed.err)
	}
	child, holder, known := d.folders.leftover(in.id, made)
	incomplete := listed.short // an error if the new file or the item with its name may be missing
	for _, invalid := range listed.invalid {
		if invalid.Name == "" || sameName(invalid.Name, made.Name) || sameName(invalid.Name, made.Replaces) {
			incomplete = invalid.Err
		}
	}
	switch {
	case !known:
		return leftovers.Failure(apierr.New(apierr.KindChanged, "list", in.path, "the folder keeps changing"))
	case (child == nil || holder == nil) && incomplete != nil:
		return leftovers.Failure(apierr.About(incomplete, "list", in.path))
	case child == nil || sameName(child.Name, made.Replaces):
		return leftovers.Result{Outcome: leftovers.Nothing}
	case !sameName(child.Name, made.Name):
		return keptAs(path.Join(in.path, made.Replaces), path.Join(in.path, child.Name), "it has been renamed in the meantime")
	case !made.describes(child):
		fs.LogPrintf(fs.LogLevelWarning, nil, "icloud: another device has changed %q, which a killed process has left; it is kept", path.Join(in.path, child.Name))
		return leftovers.Result{Outcome: leftovers.Kept}
	case holder != nil && recent && (made.Old == "" || holder.ID == made.Old):
		return leftovers.Result{Outcome: leftovers.Waiting}
	case holder != nil:
		return d.retireBehind(ctx, in, child, holder)
	}
	named, err := d.rename(ctx, in, child, made.Replaces)
	switch {
	case isGone(err):
		return leftovers.Result{Outcome: leftovers.Nothing}
	case err != nil: // if the name was taken in the meantime, a later process settles the item
		return leftovers.Failure(err)
	case nameKey(named.Name) != nameKey(made.Replaces):
		return keptAs(path.Join(in.path, made.Replaces), path.Join(in.path, named.Name), "the name was taken in the meantime")
	}
	return leftovers.Result{Outcome: leftovers.Done}
}

// keptAs returns the result for a version of a file that keeps another name.
func keptAs(file, now, why string) leftovers.Result {
	fs.LogPrintf(fs.LogLevelWarning, nil, "icloud: a killed process has left a version of %q, which is now %q, because %s; remove it if you do not need it", file, now, why)
	return leftovers.Result{Outcome: leftovers.Kept}
}

// retireBehind moves the new file of a replacement to the Trash while holder has its
// name. It fails if holder is gone afterwards.
func (d *Drive) retireBehind(ctx context.Context, in place, child, holder *Item) leftovers.Result {
	if err := d.retire(ctx, in, child, child.Name); err != nil {
		return leftovers.Failure(err)
	}
	now, err := d.present(ctx, in, holder.ID)
	switch {
	case err != nil:
		return leftovers.Failure(err)
	case now == nil:
		return leftovers.Failure(apierr.Newf(apierr.KindChanged, "remove", path.Join(in.path, holder.Name),
			"the file disappeared when the version that a killed process had left, %q, was moved to the Trash", child.Name).
			Advise("both are in the Trash unless another device has moved the file; recover the one that you need"))
	}
	return leftovers.Result{Outcome: leftovers.Done}
}

// describes reports whether an item still has the content of the replacement.
func (r *replacement) describes(it *Item) bool {
	modified := time.UnixMilli(registeredTime(r.Modified)).Unix()
	return !it.Folder && (r.Size < 0 || max(0, it.Size) == r.Size) && it.Modified.Unix() == modified
}
