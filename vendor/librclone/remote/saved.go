package remote

import (
	"context"

	"github.com/rclone/rclone/fs"
)

// saver is an object whose description a later process can use instead of a listing.
// The description is "" if there is none.
type saver interface{ Save() string }

// saveObjects returns the descriptions of objects, in order.
func saveObjects(_ context.Context, in struct {
	Objects []uint64 `json:"objects"`
}) (*struct {
	Saved []string `json:"saved"`
}, error) {
	saved := make([]string, len(in.Objects))
	for i, id := range in.Objects {
		object, err := objects.get(id)
		if err != nil {
			return nil, err
		}
		if own, ok := object.(saver); ok {
			saved[i] = own.Save()
		}
	}
	return &struct {
		Saved []string `json:"saved"`
	}{saved}, nil
}

type savedRequest struct {
	Remote uint64 `json:"remote"`
	Files  []struct {
		Path  string `json:"path"`
		Saved string `json:"saved"`
	} `json:"files"`
	Check bool `json:"check"` // fail if a file has changed
}

type savedResult struct {
	Entries []Entry `json:"entries"` // in the order of the files
}

// savedObjects returns the files with descriptions of saveObjects. Without a check, it
// makes no request to the service.
func savedObjects(ctx context.Context, in savedRequest) (*savedResult, error) {
	f, err := remotes.get(in.Remote)
	if err != nil {
		return nil, err
	}
	backend, ok := f.(interface {
		Saved(remote, description string) (fs.Object, error)
	})
	if !ok {
		return nil, fs.ErrorNotImplemented
	}
	made := make([]fs.Object, len(in.Files))
	for i, file := range in.Files {
		if made[i], err = backend.Saved(inward(file.Path), file.Saved); err != nil {
			return nil, err
		}
		if in.Check {
			if err := made[i].(interface{ Unchanged(context.Context) error }).Unchanged(ctx); err != nil {
				return nil, err
			}
		}
	}
	out := &savedResult{Entries: make([]Entry, len(made))}
	for i, object := range made {
		out.Entries[i] = entryOf(ctx, object)
	}
	return out, nil
}
