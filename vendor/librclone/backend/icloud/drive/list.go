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

// lister requests the contents of folders, several with one request. Apple's
// limit on them is unknown: idrive-cli lists a whole level of a tree with one
// request. Folders that the service refuses or omits are requested again in
// smaller lists, and the size that worked is kept.
// https://github.com/nktknshn/idrive-cli
type lister struct {
	service *service.Service
	folders *folders
	batch   atomic.Int64        // folders in a request
	proved  atomic.Bool         // the service has accepted a list of several folders
	proving *semaphore.Weighted // held by the list that tests this
	closed  atomic.Bool         // the Drive host does not list below shares
}

// heaviest is how many items a request should return at most, according to the
// service's counts, because a response is decoded as a whole.
const heaviest = 5_000

// ListWorkers is the maximum number of concurrent listing requests.
const ListWorkers = 8

// target is a folder to be listed.
type target struct {
	id     string
	itemID string
	share  json.RawMessage
	weight int64 // items expected in it
	shared bool
}

func targetOf(folder *Item) target {
	return target{
		id: folder.ID, itemID: folder.itemID, share: folder.share, shared: folder.Shared(),
		weight: max(1, folder.Children),
	}
}

// below reports whether the folder is below a folder that another account
// shares.
func (t target) below() bool {
	kind, _, _ := api.DeconstructDriveID(t.id)
	return kind == itemKind || t.shared && strings.Contains(kind, "IN_SHARED")
}

// folderContents is the contents of a folder, or the reason why they are unknown.
type folderContents struct {
	self    *driveItem
	items   []*Item        // the shown items, in no order
	invalid []*InvalidItem // items that cannot be used
	short   error          // why there may be more items than these, or nil
	tally   tally
	doubt   error // why there may be more by counters of uncertain meaning, or nil
	err     error
}

// list lists folders and returns an outcome for each.
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

// cut returns the end of the list that begins at start.
func (l *lister) cut(targets []target, start int) int {
	weight := int64(0)
	end := start
	for end < len(targets) && int64(end-start) < max(1, l.batch.Load()) {
		weight += targets[end].weight
		if end > start && (weight > heaviest || targets[end].shared) {
			break
		}
		end++
		if targets[end-1].shared { // a refusal would fail the whole list
			break
		}
	}
	return end
}

// listBatch lists folders with one request, if the service allows it.
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
	if l.proved.Load() { // by the list that this one waited for
		l.proving.Release(1)
		return l.listTogether(ctx, targets)
	}
	if int64(len(targets)) <= l.batch.Load() {
		defer l.proving.Release(1)
		return l.listTogether(ctx, targets)
	}
	l.proving.Release(1)
	var listings []folderContents // in smaller lists, because the limit is known now
	for start := 0; start < len(targets); {
		end := l.cut(targets, start)
		listings = append(listings, l.listTogether(ctx, targets[start:end])...)
		start = end
	}
	return listings
}

// listBelow lists a folder below a share: through the Drive host with the
// share's id, as pyicloud is said to do, or else through the documents host.
func (l *lister) listBelow(ctx context.Context, one target) folderContents {
	_, _, docID := api.DeconstructDriveID(one.id)
	if kind, _, _ := api.DeconstructDriveID(one.id); kind != itemKind && docID != "" && !l.closed.Load() {
		listed := l.listTogether(ctx, []target{one})[0]
		if !apierr.HasKind(listed.err, apierr.KindUnsupported) && !apierr.HasKind(listed.err, apierr.KindDenied) {
			return listed
		}
		l.closed.Store(true)
	}
	ticket := l.folders.begin(one.id)
	items, invalid, err := l.listShared(ctx, one)
	if apierr.HasKind(err, apierr.KindUnsupported) || apierr.HasKind(err, apierr.KindDenied) {
		err = apierr.New(apierr.KindDenied, "", "", "the service does not list this folder, which another account shares").From(err)
	}
	ticket.invalid = invalid
	return folderContents{self: &driveItem{}, items: l.folders.end(ticket, items), invalid: invalid, err: err}
}

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

// mayBeForOneOfThem reports whether the service may have refused a list, or
// failed at it, because of one folder in it or because it is a list.
func mayBeForOneOfThem(err error) bool {
	switch apierr.KindOf(err) {
	case apierr.KindUnsupported, apierr.KindNotFound, apierr.KindDenied, apierr.KindDamaged, apierr.KindChanged, apierr.KindQuota:
		return !apierr.IsFinal(err) && !errors.Is(err, errFolderGone)
	case apierr.KindNetwork:
		return !apierr.IsFinal(err) && apierr.IsAnswered(err)
	}
	return false
}

// errFolderGone is wrapped by failures that certainly concern one folder.
var errFolderGone = errors.New("it is in the Trash or deleted")

// listAgain requests the missing folders of a list in smaller lists. If the
// service failed at the list, they are requested one by one, until it is clear
// that the service fails at all of them.
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
	if worked { // so only the length of the list was the problem
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

// request sends one listing request. A response that cannot be right is requested
// again; if it stays wrong, its folder fails.
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
		TrustRefusals: len(targets) > 1, // the cause may be one of them or their number, which smaller lists show
	}
	listings := make([]folderContents, len(targets))
	doubts := 0
	_, err := service.Fetch(ctx, l.service, r, func(answer *ListingResponse) error {
		var short error
		for i, target := range targets {
			folder := responseFor(answer.Folders, target, len(targets))
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
// If they stay different, the caller gets an error.
const shortTries = 3

// responseFor finds the response about a folder. If one folder was requested, the
// response may lack its id, and the response about the root may have another id
// of the root.
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

// isRoot reports whether a response is about a root. Any other folder has a
// parent. Apple's responses have the requested id.
func (f *FolderResponse) isRoot() bool {
	return strings.ToUpper(string(f.Status)) == statusOK && f.ParentID == ""
}

// listingOf checks the response about a folder. Only an empty list of items
// stands for an empty folder: a response without a list is damaged, whatever
// its counts say.
func listingOf(answer *FolderResponse, of target) folderContents {
	if status := strings.ToUpper(string(answer.Status)); status != "" && status != statusOK {
		return folderContents{err: listingRefused(&itemStatus{status: string(answer.Status)})}
	}
	switch {
	case answer.inTrash():
		return folderContents{err: apierr.New(apierr.KindNotFound, "", "", "the folder is gone").From(errFolderGone)}
	case answer.Items == nil:
		return folderContents{err: apierr.Damaged("a listing without its items")}
	case answer.Count.isUnreadable(), answer.Children.isUnreadable():
		return folderContents{err: apierr.Damaged("a listing whose number of items is no number")}
	}
	for _, child := range answer.Items {
		if api.GetDocIDFromDriveID(child.Parent) != api.GetDocIDFromDriveID(of.id) {
			child.within = child.Parent
		}
		child.Parent = of.id
		if child.share == nil && of.shared {
			child.share = of.share
		}
	}
	listed := folderContents{self: &answer.driveItem, items: answer.Items, invalid: answer.invalid}
	got := int64(len(answer.Items) + len(answer.invalid))
	if counted := answer.counted(got); counted > got {
		listed.short = shortOf(got, counted)
	} else {
		listed.tally = tallyOf(answer)
		listed.doubt = listed.tally.doubt(&answer.driveItem)
	}
	return listed
}

// listingRefused returns the error for a folder that has its own status in a
// response. An indefinite status is a temporary failure, as SERVER_ERROR and
// ZONE_BUSY say by their names.
func listingRefused(status *itemStatus) error {
	if isGone(status) {
		return apierr.New(apierr.KindNotFound, "", "", "the folder is gone").From(errFolderGone)
	}
	if status.settled() {
		return itemError("", "", status)
	}
	e := apierr.New(apierr.KindNetwork, "", "", "the folder cannot be listed now").From(status)
	e.Answered = true
	return e
}

// counted returns how many items the folder has according to the service, or -1
// if it does not say. The service has two counts. For an empty listing (got is
// 0), both must agree.
func (f *FolderResponse) counted(got int64) int64 {
	if f.Count == nil || got == 0 {
		return max(f.Count.Or(-1), f.Children.Or(-1))
	}
	return f.Count.Or(-1)
}

// isGone reports whether a failure says that an id no longer exists.
func isGone(err error) bool {
	var status *itemStatus
	if errors.As(err, &status) {
		said := strings.ToUpper(status.status)
		return strings.Contains(said, "NOT_FOUND") || strings.Contains(said, "ID_INVALID") || strings.Contains(said, "DOES_NOT_EXIST")
	}
	return apierr.HasKind(err, apierr.KindNotFound)
}
