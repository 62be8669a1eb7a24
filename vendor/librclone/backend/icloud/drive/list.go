package drive

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/service"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// lister requests the contents of folders, several with one request. The limit of
// the service is unknown: idrive-cli lists a whole level of a tree with one
// request. Folders that the service refuses or omits are requested again in
// smaller lists, and later lists are not longer than those that worked.
// https://github.com/nktknshn/idrive-cli
type lister struct {
	service *service.Service
	folders *folders
	batch   atomic.Int64        // the maximum number of folders in a request
	proved  atomic.Bool         // the service has accepted a list of several folders
	proving *semaphore.Weighted // held by the list that tests this
	closed  atomic.Bool         // the Drive host does not list folders below a share
}

// maxWeight is how many items a request of several folders should return at most,
// according to the service's counts, because a response is kept as a whole.
const maxWeight = 5_000

// ListWorkers is the maximum number of concurrent listing requests.
const ListWorkers = 8

// target is a folder to be listed.
type target struct {
	id     string
	itemID string
	share  json.RawMessage
	owner  string
	weight int64 // the expected number of items
	shared bool  // another account owns the folder
}

func targetOf(folder *Item) target {
	return target{
		id: folder.ID, itemID: folder.itemID, share: folder.share, owner: folder.owner, shared: folder.Shared(),
		weight: max(1, folder.Children),
	}
}

// below reports whether the folder is below a folder that another account
// shares.
func (t target) below() bool {
	kind, _, _ := api.DeconstructDriveID(t.id)
	return kind == itemKind || t.shared && strings.Contains(kind, "IN_SHARED")
}

// folderContents is the result of listing a folder.
type folderContents struct {
	self    *driveItem     // the folder itself
	items   []*Item        // the shown items, in no particular order
	invalid []*InvalidItem // the items that cannot be used
	short   error          // why the folder has more items than these, or nil
	tally   tally
	doubt   error // why the folder may have more items, by counters of uncertain meaning, or nil
	err     error // why the folder cannot be listed, or nil
}

// list lists folders and returns the result for each.
func (l *lister) list(ctx context.Context, targets []target) []folderContents {
	if len(targets) > 0 && l.cut(targets, 0) == len(targets) {
		return l.listBatch(ctx, targets)
	}
	listings := make([]folderContents, len(targets))
	var group errgroup.Group
	group.SetLimit(ListWorkers)
	for done := 0; done < len(targets); {
		start, end := done, l.cut(targets, done)
		done = end
		group.Go(func() error {
			copy(listings[start:end], l.listBatch(ctx, targets[start:end]))
			return nil
		})
	}
	_ = group.Wait() // the errors are in the listings
	return listings
}

// cut returns the end of the part of targets that begins at start and can be
// listed with one request.
func (l *lister) cut(targets []target, start int) int {
	weight := int64(0)
	end := start
	for end < len(targets) && int64(end-start) < max(1, l.batch.Load()) {
		weight += targets[end].weight
		if end > start && (weight > maxWeight || targets[end].shared) {
			break
		}
		end++
		if targets[end-1].shared { // listed alone, because the service may refuse it
			break
		}
	}
	return end
}

// listBatch lists folders with one request. The first list of several folders
// tests whether the service accepts such lists, while others wait.
func (l *lister) listBatch(ctx context.Context, targets []target) []folderContents {
	if len(targets) == 1 && targets[0].below() {
		return []folderContents{l.listBelow(ctx, targets[0])}
	}
	if len(targets) == 1 || l.proved.Load() {
		return l.listTogether(ctx, targets)
	}
	if err := l.proving.Acquire(ctx, 1); err != nil {
		return slices.Repeat([]folderContents{{err: err}}, len(targets))
	}
	if l.proved.Load() { // the list that this one waited for was accepted
		l.proving.Release(1)
		return l.listTogether(ctx, targets)
	}
	if int64(len(targets)) <= l.batch.Load() {
		defer l.proving.Release(1)
		return l.listTogether(ctx, targets)
	}
	l.proving.Release(1)
	var listings []folderContents // the list that this one waited for has lowered the limit
	for start := 0; start < len(targets); {
		end := l.cut(targets, start)
		listings = append(listings, l.listTogether(ctx, targets[start:end])...)
		start = end
	}
	return listings
}

// listBelow lists a folder below a share: through the Drive host with the id of the
// share, as pyicloud is said to do, or else through the documents host.
func (l *lister) listBelow(ctx context.Context, one target) folderContents {
	if kind, _, docID := api.DeconstructDriveID(one.id); kind != itemKind && docID != "" && !l.closed.Load() {
		listed := l.listTogether(ctx, []target{one})[0]
		if !apierr.HasKind(listed.err, apierr.KindUnsupported) && !apierr.HasKind(listed.err, apierr.KindDenied) {
			return listed
		}
		l.closed.Store(true)
	}
	ticket := l.folders.begin(one.id)
	items, invalid, err := l.listShared(ctx, one)
	if apierr.HasKind(err, apierr.KindUnsupported) || apierr.HasKind(err, apierr.KindDenied) {
		err = apierr.Newf(apierr.KindDenied, "", "", "the service does not list this folder, which %s shares", sharedBy(one.owner, one.share)).From(err)
	}
	ticket.invalid = invalid
	return folderContents{self: &driveItem{}, items: l.folders.end(ticket, items), invalid: invalid, err: err}
}

// listTogether lists folders with one request, and those that the service refuses
// or omits with further ones.
func (l *lister) listTogether(ctx context.Context, targets []target) []folderContents {
	tickets := make([]*ticket, len(targets))
	for i, target := range targets {
		tickets[i] = l.folders.begin(target.id)
	}
	listings, err := l.request(ctx, targets)
	var again []int
	for i := range listings {
		if err != nil {
			listings[i] = folderContents{err: err}
		}
		tickets[i].short, tickets[i].invalid = listings[i].short, listings[i].invalid
		shown := l.folders.end(tickets[i], listings[i].items)
		listings[i].items = shown
		if len(targets) > 1 && mayBeForOneOfThem(listings[i].err) {
			again = append(again, i)
		}
	}
	if len(again) > 0 {
		l.listAgain(ctx, targets, again, listings)
	} else if len(targets) > 1 && err == nil {
		l.proved.Store(true)
	}
	return listings
}

// mayBeForOneOfThem reports whether a request about several items may have failed
// because of one of them or because of their number.
func mayBeForOneOfThem(err error) bool {
	switch apierr.KindOf(err) {
	case apierr.KindUnsupported, apierr.KindNotFound, apierr.KindDenied, apierr.KindDamaged, apierr.KindChanged, apierr.KindQuota:
		return !apierr.IsFinal(err) && !errors.Is(err, errFolderGone)
	case apierr.KindNetwork:
		return !apierr.IsFinal(err) && apierr.IsReported(err)
	}
	return false
}

// errFolderGone is wrapped by failures that concern one folder for certain.
var errFolderGone = errors.New("it is in the Trash or deleted")

// listAgain requests the missing folders of a list in smaller lists. If the
// service itself failed, they are requested one by one, until maxFailures of them
// have failed in a row.
func (l *lister) listAgain(ctx context.Context, targets []target, again []int, listings []folderContents) {
	got := len(targets) - len(again)
	size := max(1, got, len(again)/2)
	step := size
	if apierr.HasKind(listings[again[0]].err, apierr.KindNetwork) {
		step = 1
	}
	worked, failures := true, 0
	for start := 0; start < len(again) && failures < maxFailures; start += step {
		part := again[start:min(start+step, len(again))]
		some := make([]target, len(part))
		for i, at := range part {
			some[i] = targets[at]
		}
		for i, outcome := range l.listTogether(ctx, some) {
			listings[part[i]] = outcome
			worked = worked && outcome.err == nil
			failures++
			if !apierr.HasKind(outcome.err, apierr.KindNetwork) {
				failures = 0
			}
		}
	}
	if worked { // only the length of the list was the cause
		for old := l.batch.Load(); int64(size) < old; old = l.batch.Load() {
			if l.batch.CompareAndSwap(old, int64(size)) {
				break
			}
		}
	}
}

// maxFailures is the maximum number of consecutive folders that are requested
// one by one and fail.
const maxFailures = 3

// request sends a listing request. It repeats the request if the response is not
// valid. If a listing stays short, its result has the error short.
func (l *lister) request(ctx context.Context, targets []target) ([]folderContents, error) {
	asked := make([]map[string]any, len(targets))
	for i, target := range targets {
		asked[i] = map[string]any{
			"drivewsid":        target.id,
			"partialData":      false,
			"includeHierarchy": false,
		}
		if target.share != nil {
			asked[i]["shareID"] = target.share
		}
	}
	r := service.Request{
		Host: hosts.Drive, Method: http.MethodPost, Path: "/retrieveItemDetailsInFolders",
		Body: asked, Repeatable: true,
		TrustRefusals: len(targets) > 1, // smaller lists show whether the cause is one folder or their number
	}
	listings := make([]folderContents, len(targets))
	doubts := 0
	_, err := service.Fetch(ctx, l.service, r, func(response *ListingResponse) error {
		var short error
		for i, target := range targets {
			folder := responseFor(response.Folders, target, len(targets))
			if folder == nil {
				listings[i] = folderContents{err: apierr.Damaged("the response to a listing lacks a folder")}
			} else {
				listings[i] = listingOf(folder, target)
			}
			if listings[i].short != nil {
				short = listings[i].short
			}
		}
		if err := listings[0].err; len(targets) == 1 && err != nil && !isGone(err) {
			return err
		}
		if doubts++; doubts < min(shortTries, l.service.Retries.Tries) {
			return short
		}
		return nil
	})
	return listings, err
}

// shortTries is how often a listing is requested that has fewer items than the
// service counts. In every known response of Apple, the two numbers are equal.
const shortTries = 3

// responseFor returns the response about a folder, or nil. If only one folder was
// requested, the response may lack its id, and that about the root may have
// another id.
func responseFor(answers []FolderResponse, wanted target, asked int) *FolderResponse {
	_, zone, docID := api.DeconstructDriveID(wanted.id)
	for i := range answers {
		_, z, d := api.DeconstructDriveID(string(answers[i].DriveID))
		if d == docID && (z == zone || z == "" || zone == "") {
			return &answers[i]
		}
	}
	if asked > 1 || len(answers) != 1 {
		return nil
	}
	if one := &answers[0]; one.DriveID == "" || wanted.id == rootID && one.isRoot() {
		return one
	}
	return nil
}

// isRoot reports whether a response is about a root, which unlike any other folder
// has no parent.
func (f *FolderResponse) isRoot() bool {
	return strings.ToUpper(string(f.Status)) == statusOK && f.ParentID == ""
}

// listingOf checks the response about a folder and returns its contents. Only an
// empty list of items means an empty folder. A response without a list is damaged,
// even if it counts no items.
func listingOf(response *FolderResponse, of target) folderContents {
	if status := strings.ToUpper(string(response.Status)); status != "" && status != statusOK {
		return folderContents{err: listingRefused(&itemStatus{status: string(response.Status)})}
	}
	switch {
	case response.inTrash():
		return folderContents{err: apierr.New(apierr.KindNotFound, "", "", "the folder is gone").From(errFolderGone)}
	case response.Items == nil:
		return folderContents{err: apierr.Damaged("a listing without its items")}
	case response.Count.isUnreadable(), response.Children.isUnreadable():
		return folderContents{err: apierr.Damaged("a listing whose number of items is not a number")}
	}
	for _, child := range response.Items {
		if api.GetDocIDFromDriveID(child.Parent) != api.GetDocIDFromDriveID(of.id) {
			child.within = child.Parent
		}
		child.Parent = of.id
		if child.share == nil && of.shared {
			child.share = of.share
		}
		if child.owner == "" && of.shared {
			child.owner = of.owner
		}
	}
	listed := folderContents{self: &response.driveItem, items: response.Items, invalid: response.invalid}
	got := int64(len(response.Items) + len(response.invalid))
	if counted := response.counted(got); counted > got {
		listed.short = shortOf(got, counted)
	} else {
		listed.tally = tallyOf(response)
		listed.doubt = listed.tally.doubt(&response.driveItem)
	}
	return listed
}

// listingRefused returns the error for a folder that the service refuses by a
// status of its own. A status that is not definite, such as SERVER_ERROR or
// ZONE_BUSY, is a temporary failure.
func listingRefused(status *itemStatus) error {
	if isGone(status) {
		return apierr.New(apierr.KindNotFound, "", "", "the folder is gone").From(errFolderGone)
	}
	if status.isDefinite() {
		return itemError("", "", status)
	}
	e := apierr.New(apierr.KindNetwork, "", "", "the folder cannot be listed now").From(status)
	e.Reported = true
	return e
}

// counted returns how many items the service counts in a folder, or -1 if it does
// not report it. For an empty listing (got is 0), both of its counts must be 0.
func (f *FolderResponse) counted(got int64) int64 {
	if f.Count == nil || got == 0 {
		return max(f.Count.Or(-1), f.Children.Or(-1))
	}
	return f.Count.Or(-1)
}

// isGone reports whether err means that an id no longer exists.
func isGone(err error) bool {
	var status *itemStatus
	if errors.As(err, &status) {
		text := strings.ToUpper(status.status)
		return strings.Contains(text, "NOT_FOUND") || strings.Contains(text, "ID_INVALID") || strings.Contains(text, "DOES_NOT_EXIST")
	}
	return apierr.HasKind(err, apierr.KindNotFound)
}
