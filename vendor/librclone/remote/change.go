package remote

import (
	"context"
	"sync"
	"time"

	"plakar-icloud/librclone/backend/icloud"
	"plakar-icloud/librclone/backend/icloud/drive"

	"github.com/rclone/rclone/fs"
)

func mkdir(ctx context.Context, in struct {
	pathRequest
	Trail bool `json:"trail"` // store the path for later processes
}) (*struct{}, error) {
	f, err := remotes.get(in.Remote)
	if err != nil {
		return nil, err
	}
	if in.Trail {
		ctx = drive.KeepTrail(ctx)
	}
	return &struct{}{}, f.Mkdir(ctx, inward(in.Path))
}

// complete gives a leftover the name under which it is listed.
func complete(ctx context.Context, in struct {
	Object uint64 `json:"object"`
}) (*struct{}, error) {
	object, err := objects.get(in.Object)
	if err != nil {
		return nil, err
	}
	if f, ok := object.Fs().(fs.Fs); ok && f.Features().Move != nil {
		_, err = f.Features().Move(ctx, object, object.Remote())
	}
	return &struct{}{}, err
}

// removal is a file to be deleted: an object or, if Object is 0, the file at Path.
type removal struct {
	Path   string `json:"path"`
	Object uint64 `json:"object"`
}

type removeRequest struct {
	Remote    uint64    `json:"remote"`
	Files     []removal `json:"files"`
	Permanent bool      `json:"permanent"` // do not keep the deleted files in the Trash
}

type removeResult struct {
	Failures []*Failure `json:"failures"` // in the order of the files; nil for a deleted file
}

// maxRemovals is the maximum number of files that remove deletes concurrently.
const maxRemovals = 128

// remove deletes files.
func remove(ctx context.Context, in removeRequest) (*removeResult, error) {
	f, err := remotes.get(in.Remote)
	if err != nil {
		return nil, err
	}
	if in.Permanent {
		ctx = drive.Permanently(ctx)
	}
	result := &removeResult{Failures: make([]*Failure, len(in.Files))}
	var deletions sync.WaitGroup
	turns := make(chan struct{}, maxRemovals)
	for i, file := range in.Files {
		turns <- struct{}{}
		deletions.Go(func() {
			defer func() { <-turns }()
			result.Failures[i] = failureOf(file.remove(ctx, f))
		})
	}
	deletions.Wait()
	return result, nil
}

func (r removal) remove(ctx context.Context, f fs.Fs) error {
	var object fs.Object
	var err error
	if r.Object != 0 {
		object, err = objects.get(r.Object)
	} else {
		object, err = f.NewObject(ctx, inward(r.Path))
	}
	if err != nil {
		return err
	}
	return object.Remove(ctx)
}

type waitRequest struct {
	WithinMS int64 `json:"within_ms"`
}

type unfinishedChange struct {
	Path    string   `json:"path"` // from the root of the service, without a leading slash
	Failure *Failure `json:"failure"`
}

type waitResult struct {
	Unfinished []unfinishedChange `json:"unfinished"`
}

// waitForChanges waits for the changes in the background of all remotes. It returns those
// that failed since the last call and those that are still under way at the end.
func waitForChanges(ctx context.Context, in waitRequest) (*waitResult, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(in.WithinMS)*time.Millisecond)
	defer cancel()
	result := &waitResult{Unfinished: []unfinishedChange{}}
	for _, left := range icloud.WaitForChanges(ctx) {
		result.Unfinished = append(result.Unfinished, unfinishedChange{Path: outward(left.Path), Failure: failureOf(left.Err)})
	}
	return result, nil
}

// folderTime sets the modification time of a folder.
func folderTime(ctx context.Context, in struct {
	Remote  uint64 `json:"remote"`
	Path    string `json:"path"`
	Seconds int64  `json:"seconds"`
	Nanos   int64  `json:"nanos"`
}) (*struct{}, error) {
	f, err := remotes.get(in.Remote)
	if err != nil {
		return nil, err
	}
	set := f.Features().DirSetModTime
	if set == nil {
		return nil, fs.ErrorCantSetModTime
	}
	return &struct{}{}, set(ctx, inward(in.Path), time.Unix(in.Seconds, in.Nanos))
}
