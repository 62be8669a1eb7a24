package drive

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"sync"
	"time"

	"plakar-icloud/librclone/backend/icloud/privatefile"
	"plakar-icloud/librclone/backend/icloud/session"

	"github.com/rclone/rclone/fs"
)

// factsFile is a file beside the session file in which the processes of an
// account store facts for later ones. It contains no secrets. The facts are always
// verified: a folder is listed by its stored id, but the path leads to it only if the
// listing of the parent folder has it, and a file that was a package is
// read to the actual end of its content.
type factsFile struct {
	path string // of the file; "" when there is none

	mu       sync.Mutex
	asked    bool     // first was called in this process
	packages []string // detected by this process
}

// storedFacts is the content of the file.
type storedFacts struct {
	Version int `json:"version"`
	// Trails are the paths to the folders that processes used first, the most
	// recent one first.
	Trails []trail `json:"trails,omitempty"`
	// Packages are the ids of files that turned out to be packages, the most
	// recent one last.
	Packages []string `json:"packages,omitempty"`
	// BatchRefused is when the service refused to return several addresses with
	// one call, in seconds since 1970.
	BatchRefused int64 `json:"batch_refused,omitempty"`
	// ChecksumsProven is set after a content was equal to the checksum that the
	// service reports for it, and cleared after maxUnequal consecutive ones were not.
	ChecksumsProven bool `json:"checksums_proven,omitempty"`
}

// trail is the path to a folder: the names on it, and the ids of the folders.
type trail struct {
	Names []string `json:"names"`
	IDs   []string `json:"ids"`
	// Made is when a process created the last of the folders under a context of
	// KeepTrail, in seconds since 1970, or 0.
	Made int64 `json:"made,omitempty"`
}

const (
	factsVersion = 1
	maxTrails    = 64
	// newTrail is for how long the folders on the trail to a new folder are not
	// listed. The first listing of a folder after a change was measured to take
	// 30 s, and each of them was just changed.
	newTrail        = time.Minute
	maxKeptPackages = 10_000
)

func newFactsFile(sessionFile string) *factsFile {
	if sessionFile == "" {
		return &factsFile{}
	}
	return &factsFile{path: session.FactsFile(sessionFile)}
}

// load reads the file. A file that cannot be read counts as empty.
func (r *factsFile) load() (kept storedFacts) {
	data, err := os.ReadFile(r.path)
	if err != nil || json.Unmarshal(data, &kept) != nil || kept.Version != factsVersion {
		return storedFacts{Version: factsVersion}
	}
	return kept
}

// first reports whether a path is that of the first folder that the process uses.
// If so, it returns the stored ids on the path, and the trails to new folders.
func (r *factsFile) first(names []string) (ids []string, recent []trail, first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.path == "" || r.asked {
		return nil, nil, false
	}
	r.asked = true
	for _, known := range r.load().Trails {
		if len(known.Names) != len(known.IDs) {
			continue
		}
		shared := 0
		for shared < min(len(names), len(known.Names)) && known.Names[shared] == names[shared] {
			shared++
		}
		if shared > len(ids) {
			ids = known.IDs[:shared]
		}
		if age := time.Since(time.Unix(known.Made, 0)); age >= 0 && age < newTrail {
			recent = append(recent, known)
		}
	}
	return ids, recent, true
}

// keepTrail stores the path to a folder for later processes.
func (r *factsFile) keepTrail(ctx context.Context, found trail) {
	r.update(ctx, func(kept *storedFacts) bool {
		at := slices.IndexFunc(kept.Trails, func(old trail) bool { return slices.Equal(old.Names, found.Names) })
		if at >= 0 && found.Made == 0 && slices.Equal(kept.Trails[at].IDs, found.IDs) {
			return false
		}
		if at >= 0 {
			kept.Trails = slices.Delete(kept.Trails, at, at+1)
		}
		kept.Trails = slices.Insert(kept.Trails, 0, found)
		kept.Trails = kept.Trails[:min(len(kept.Trails), maxTrails)]
		return true
	})
}

// learnPackage records a file that turned out to be a package.
func (r *factsFile) learnPackage(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.packages = append(r.packages, id)
}

// refuseBatches stores that the service does not return several addresses with one
// call.
func (r *factsFile) refuseBatches(ctx context.Context) {
	r.update(ctx, func(kept *storedFacts) bool {
		kept.BatchRefused = time.Now().Unix()
		return true
	})
}

// keepChecksumsProven stores whether the checksums that the service reports have the
// known form.
func (r *factsFile) keepChecksumsProven(ctx context.Context, proven bool) {
	r.update(ctx, func(kept *storedFacts) bool {
		changed := kept.ChecksumsProven != proven
		kept.ChecksumsProven = proven
		return changed
	})
}

// flush stores the packages that this process has detected.
func (r *factsFile) flush(ctx context.Context) {
	r.mu.Lock()
	learned := r.packages
	r.packages = nil
	r.mu.Unlock()
	if len(learned) == 0 {
		return
	}
	r.update(ctx, func(kept *storedFacts) bool {
		known := kept.Packages
		for _, id := range learned {
			if !slices.Contains(known, id) {
				kept.Packages = append(kept.Packages, id)
			}
		}
		changed := len(kept.Packages) > len(known)
		kept.Packages = kept.Packages[max(0, len(kept.Packages)-maxKeptPackages):]
		return changed
	})
}

// update changes the file under its lock. change reports whether it has changed
// the content. A failure is only logged, because all it costs is a few requests of
// later processes.
func (r *factsFile) update(ctx context.Context, change func(*storedFacts) bool) {
	if r.path == "" {
		return
	}
	unlock, err := privatefile.Lock(ctx, r.path)
	if err == nil {
		defer unlock()
		kept := r.load()
		if !change(&kept) {
			return
		}
		var data []byte
		if data, err = json.Marshal(kept); err == nil {
			err = privatefile.Replace(r.path, data)
		}
	}
	if err != nil {
		fs.Debugf(nil, "icloud: cannot store facts for later processes: %v", err)
	}
}
