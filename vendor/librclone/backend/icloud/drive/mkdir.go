package drive

import (
	"context"
	"errors"
	"path"
	"strings"
	"sync"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/transport"

	"github.com/google/uuid"
	"github.com/rclone/rclone/backend/iclouddrive/api"
)

// statusUnknown is a status that users have seen for an existing folder and for
// temporary failures.
const statusUnknown = "UNKNOWN"

// makeFolder creates a folder, or returns the folder that another device has
// created meanwhile. A folder whose name differs in case is returned only if the
// service treats the two names as equal: it reports that the name is taken, or
// UNKNOWN several times. The caller checks the name of the returned folder, so a few
// attempts suffice. A listing for each of them may take 30 s.
func (d *Drive) makeFolder(ctx context.Context, in place, name string) (*Item, error) {
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
	got, _ := d.folders.find(in.id, name)
	if got.exact != nil || got.like != nil && d.foldsCase.Load() {
		return got.like, nil
	}
	if err := d.failedFolders.recent(in.id, name); err != nil {
		return nil, apierr.About(err, "make folder", on)
	}
	for try := 1; ; try++ {
		made, err := d.createFolder(ctx, in, name)
		switch {
		case err == nil && nameKey(made.Name) == nameKey(name):
			return made, nil
		case err == nil:
			return d.otherFolder(ctx, in, made, name)
		}
		// The service responds with one of several statuses both for an existing
		// folder and for temporary failures. The listing shows which it is.
		var status *itemStatus
		hasStatus := errors.As(err, &status)
		taken := apierr.HasKind(err, apierr.KindExists) || hasStatus && !isGone(err) && strings.Contains(strings.ToUpper(status.status), "EXIST")
		if ctx.Err() != nil || !taken && !hasStatus && !apierr.HasKind(err, apierr.KindChanged) && !apierr.OutcomeUnknown(err) {
			return nil, apierr.About(d.refused(in, name, err), "make folder", on)
		}
		unknown := hasStatus && strings.ToUpper(status.status) == statusUnknown
		decided := unknown && try >= min(transport.DoubtfulTries, d.Service.Retries.Tries)
		if unknown && got.like != nil && !decided && d.Service.Retries.Wait(ctx, try+1, err) == nil {
			continue
		}
		exact, like, lookErr := d.holderOfFolder(ctx, in, name)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case lookErr != nil:
			return nil, lookErr
		case exact != nil:
			return exact, nil
		case like != nil && (taken || decided): // no other reason for UNKNOWN is known
			d.foldsCase.Store(true)
			return like, nil
		}
		waitErr := d.Service.Retries.Wait(ctx, try+1, err)
		if waitErr == nil {
			continue
		}
		failed := itemError("make folder", on, d.refused(in, name, waitErr))
		if ctx.Err() == nil && apierr.IsReported(waitErr) {
			failed = apierr.Finally(failed)
			d.failedFolders.add(in.id, name, failed)
		}
		return nil, failed
	}
}

// createFolder creates a folder, to which the service may give another name.
func (d *Drive) createFolder(ctx context.Context, in place, name string) (*Item, error) {
	response, err := d.change(ctx, "/createFolders", map[string]any{
		"destinationDrivewsId": in.id,
		"folders": []map[string]any{{
			"clientId": "FOLDER::UNKNOWN_ZONE::TempId-" + uuid.NewString(),
			"name":     name,
		}},
	}, in.zone())
	if err != nil {
		return nil, err
	}
	made, err := d.madeFolder(in, response)
	if err != nil {
		return nil, err
	}
	d.folders.put(in.id, made)
	d.folders.started(made.ID)
	return made, nil
}

// holderOfFolder lists a folder to find the item because of which the service
// refused a name to a new folder: the item with exactly that name, or an item with
// a name that the service may treat as equal.
func (d *Drive) holderOfFolder(ctx context.Context, in place, name string) (exact, like *Item, err error) {
	listed := d.listOne(ctx, in)
	if listed.err != nil {
		return nil, nil, listed.err
	}
	exact, like = pick(listed.items, name)
	if exact == nil && listed.short != nil {
		return nil, nil, apierr.About(listed.short, "list", in.path)
	}
	if like == nil {
		like = d.folders.findCoarsely(in.id, name)
	}
	return exact, like, nil
}

// madeFolder returns the new folder that a response is about.
func (d *Drive) madeFolder(in place, response *driveItem) (*Item, error) {
	made, err := newItem(response)
	if err != nil {
		return nil, err
	}
	within := response.parentDoc()
	if !made.Folder || made.ID == rootID || made.ID == in.id || within != "" && within != api.GetDocIDFromDriveID(in.id) ||
		d.folders.findID(in.id, made.ID) != nil {
		return nil, apierr.Damaged("the response is not about a new folder")
	}
	made.Parent = in.id
	return made, nil
}

// otherFolder is called if the service gave a new folder another name. It returns
// the folder that has the name and removes the new one, which is empty.
func (d *Drive) otherFolder(ctx context.Context, in place, made *Item, name string) (*Item, error) {
	exact, holder, err := d.holderOfFolder(ctx, in, name)
	switch {
	case err != nil:
		return nil, err
	case holder == nil:
		return d.rename(ctx, in, made, name)
	case holder.ID == made.ID: // the name in the response was wrong
		return holder, nil
	case exact == nil:
		d.foldsCase.Store(true)
	}
	d.withdraw(ctx, in, made)
	return holder, nil
}

// failedFolders has the folders that the service refused to create at every
// attempt. Each file of a folder causes an attempt to create it, and each would
// wait for all attempts.
type failedFolders struct {
	mu     sync.Mutex
	failed map[string]failedFolder // by the id of the parent folder and the name
}

type failedFolder struct {
	at  time.Time
	err error
}

// failedFolderAge is how long no further attempt is made.
const failedFolderAge = time.Minute

func (f *failedFolders) add(in, name string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed == nil {
		f.failed = map[string]failedFolder{}
	}
	f.failed[in+"\x00"+name] = failedFolder{at: time.Now(), err: err}
}

// recent returns why the folder could not be created a moment ago, or nil.
func (f *failedFolders) recent(in, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known, ok := f.failed[in+"\x00"+name]; ok && time.Since(known.at) < failedFolderAge {
		return known.err
	}
	return nil
}
