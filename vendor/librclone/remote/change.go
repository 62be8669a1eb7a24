package remote

import (
	"context"
	"time"

	"github.com/rclone/rclone/fs"
)

func mkdir(ctx context.Context, in pathRequest) (*struct{}, error) {
	f, err := remotes.get(in.Remote)
	if err != nil {
		return nil, err
	}
	return &struct{}{}, f.Mkdir(ctx, inward(in.Path))
}

// remove deletes the file that a listing returned, or else the one at the path.
func remove(ctx context.Context, in struct {
	Remote uint64 `json:"remote"`
	Path   string `json:"path"`
	Object uint64 `json:"object"`
}) (*struct{}, error) {
	f, err := remotes.get(in.Remote)
	if err != nil {
		return nil, err
	}
	var object fs.Object
	if in.Object != 0 {
		object, err = objects.get(in.Object)
	} else {
		object, err = f.NewObject(ctx, inward(in.Path))
	}
	if err != nil {
		return nil, err
	}
	return &struct{}{}, object.Remove(ctx)
}

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
