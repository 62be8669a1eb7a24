package icloud

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/rclone/rclone/fs"
)

// recollection is what processes of an account leave for later ones, in a file
// beside the session file. It holds no secrets. Nothing in it is taken for true:
// a folder is listed by a recollected id, but whether the path leads there is what
// the listing of the folder above it says; a file that was a package is read to the
// end that its content has.
type recollection struct {
	path string // of the file; "" when there is none

	mu       sync.Mutex
	asked    bool     // for the first folder of this process
	packages []string // found out by this process
}

// recollected is the form of the file.
type recollected struct {
	Version int `json:"version"`
	// Trails lead to the folders that processes went to first, the latest first.
	Trails []trail `json:"trails,omitempty"`
	// Packages are the ids of files that turned out to be packages and whose names
	// do not tell, the latest last.
	Packages []string `json:"packages,omitempty"`
	// BatchRefused is when the service was found not to give several addresses with
	// one call, in seconds since 1970.
	BatchRefused int64 `json:"batch_refused,omitempty"`
}

// trail is the way to a folder: names, and the ids that they led to.
type trail struct {
	Names []string `json:"names"`
	IDs   []string `json:"ids"`
}

const (
	recollectionVersion = 1
	mostTrails          = 64
	mostKeptPackages    = 10_000
)

func newRecollection(sessionFile string) *recollection {
	if sessionFile == "" {
		return &recollection{}
	}
	return &recollection{path: recollectionFile(sessionFile)}
}

func recollectionFile(sessionFile string) string { return sessionFile + ".seen" }

// load reads the file. One that cannot be read is as good as none.
func (r *recollection) load() (kept recollected) {
	data, err := os.ReadFile(r.path)
	if err != nil || json.Unmarshal(data, &kept) != nil || kept.Version != recollectionVersion {
		return recollected{Version: recollectionVersion}
	}
	return kept
}

// first reports whether this is the first folder that the process goes to, and
// gives the ids on the way there, as far as they are known.
func (r *recollection) first(names []string) (ids []string, first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.path == "" || r.asked {
		return nil, false
	}
	r.asked = true
	for _, known := range r.load().Trails {
		shared := 0
		for shared < min(len(names), len(known.Names), len(known.IDs)) && known.Names[shared] == names[shared] {
			shared++
		}
		if shared > len(ids) {
			ids = known.IDs[:shared]
		}
	}
	return ids, true
}

// keepTrail leaves the way to a folder for later processes.
func (r *recollection) keepTrail(ctx context.Context, found trail) {
	r.update(ctx, func(kept *recollected) bool {
		at := slices.IndexFunc(kept.Trails, func(old trail) bool { return slices.Equal(old.Names, found.Names) })
		if at >= 0 && slices.Equal(kept.Trails[at].IDs, found.IDs) {
			return false
		}
		if at >= 0 {
			kept.Trails = slices.Delete(kept.Trails, at, at+1)
		}
		kept.Trails = slices.Insert(kept.Trails, 0, found)
		kept.Trails = kept.Trails[:min(len(kept.Trails), mostTrails)]
		return true
	})
}

// learnPackage notes a file that turned out to be a package.
func (r *recollection) learnPackage(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.packages = append(r.packages, id)
}

// refuseBatches leaves for later processes that the service does not give several
// addresses with one call.
func (r *recollection) refuseBatches(ctx context.Context) {
	r.update(ctx, func(kept *recollected) bool {
		kept.BatchRefused = time.Now().Unix()
		return true
	})
}

// flush leaves the packages that were found out for later processes.
func (r *recollection) flush(ctx context.Context) {
	r.mu.Lock()
	learned := r.packages
	r.packages = nil
	r.mu.Unlock()
	if len(learned) == 0 {
		return
	}
	r.update(ctx, func(kept *recollected) bool {
		known := kept.Packages
		for _, id := range learned {
			if !slices.Contains(known, id) {
				kept.Packages = append(kept.Packages, id)
			}
		}
		changed := len(kept.Packages) > len(known)
		kept.Packages = kept.Packages[max(0, len(kept.Packages)-mostKeptPackages):]
		return changed
	})
}

// update changes the file while no other process can, if change says that it did
// something. A failure costs later processes a few requests, and nothing else.
func (r *recollection) update(ctx context.Context, change func(*recollected) bool) {
	if r.path == "" {
		return
	}
	unlock, err := lockSessionFile(ctx, r.path)
	if err == nil {
		defer unlock()
		kept := r.load()
		if !change(&kept) {
			return
		}
		var data []byte
		if data, err = json.Marshal(kept); err == nil {
			err = ReplaceFile(r.path, data)
		}
	}
	if err != nil {
		fs.Debugf(nil, "icloud: what was found out is not kept for later: %v", err)
	}
}
