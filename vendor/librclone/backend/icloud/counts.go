package icloud

import (
	"context"
	"fmt"

	"github.com/rclone/rclone/fs"
)

// The counters of a folder show whether its listing lacks items:
//
//   - numberOfItems is the number of items of the response. It was right in
//     every known response, so a listing with fewer items is incomplete for
//     every caller; see listing.short.
//   - directChildrenCount and fileCount belong to the folder. The first counts
//     the items in it and the second the files in it and below, in the few
//     published responses. The folders of apps have no counters, and the root
//     does not count them. So a listing with fewer items is only reported to
//     backups; see listing.doubt.
//   - assetQuota is no sum of file sizes: in a published response it is larger
//     by 2 %, which may be thumbnails. It is not compared.
//
// https://github.com/picklepete/pyicloud/blob/master/tests/const_drive.py

// Missing returns how many items a listing lacks, or 0 for any other error.
func (e *Error) Missing() int64 { return e.missing }

// shortOf returns the error for a listing that has got items of the counted
// ones.
func shortOf(got, counted int64) error {
	e := failf(KindDamaged, "", "", "the listing has %d of the %d items that the service counts", got, counted)
	e.missing = counted - got
	return e
}

// tally is what a listing has, to be compared with the counters of its folder.
type tally struct {
	items int64
	files int64 // directly in the folder
	below int64 // files in the listed folders and below, as the service counts them
	known bool  // below is complete, and no package may be counted as several files
}

// tallyOf counts what a response lists, including what is not shown.
func tallyOf(answer *folderAnswer) tally {
	t := tally{known: true, items: int64(len(answer.items) + len(answer.invalid)), files: int64(len(answer.invalid))}
	for _, it := range answer.items {
		switch {
		case it.folder:
			t.known = t.known && it.files >= 0
			t.below += max(0, it.files)
		case it.packaged || it.mayBePackage():
			t.known = false
			t.files++
		default:
			t.files++
		}
	}
	return t
}

// doubt returns the error for a listing that has fewer items or files than the
// counters of its folder tell, or nil.
func (t tally) doubt(folder *driveItem) error {
	missing, counted := folder.Children.or(-1)-t.items, fmt.Sprintf("%d items in the folder", folder.Children.or(0))
	if files := folder.Files.or(-1) - t.below - t.files; t.known && files > missing {
		missing, counted = files, fmt.Sprintf("%d files in the folder and below", folder.Files.or(0))
	}
	if missing <= 0 {
		return nil
	}
	e := failf(KindDamaged, "", "", "the service counts %s and does not list %d of them", counted, missing)
	e.missing = missing
	return e
}

// mostExamined is how many folders of doubtful listings a process looks into.
// If there are more, the counters have another meaning than assumed here.
const mostExamined = 50

// examine looks into a doubtful listing. It lists the folder again, because the
// folder may have changed, and asks for the counters by the id of the folder,
// because those in the listing may be old.
func (d *drive) examine(ctx context.Context, at place, doubtful listing) listing {
	if doubtful.doubt == nil || d.examined.Add(1) > mostExamined {
		return doubtful
	}
	again := d.listOne(ctx, at)
	if again.err != nil || len(again.items) < len(doubtful.items) {
		return doubtful
	}
	if again.doubt == nil {
		return again
	}
	if now := d.detail(ctx, at.id); now != nil {
		if again.doubt = again.tally.doubt(now); again.doubt == nil {
			fs.Debugf(nil, "icloud: the counters in the listing of %q are old", at.path)
		}
	}
	return again
}

// ListCounted is ListFolders, with an error for each folder of which the
// service counts more than it lists, by counters whose meaning is not certain.
// The entries of such a folder are usable.
func (f *Fs) ListCounted(ctx context.Context, dirs []string) (listed []fs.DirEntries, errs, doubts []error) {
	doubts = make([]error, len(dirs))
	listed, errs = f.listFolders(ctx, dirs, doubts)
	return listed, errs, doubts
}

// ListFolders lists several folders with as few calls as the service allows.
// For each folder, it returns its entries, or an error as List does, or both if
// the service counts more items than it lists. An item that cannot be used is
// an *InvalidEntry. A listing that was requested since the call began, on the
// path to one of the folders, is not requested again, and under a context of
// AcceptKnown no listing that the process has.
func (f *Fs) ListFolders(ctx context.Context, dirs []string) ([]fs.DirEntries, []error) {
	return f.listFolders(ctx, dirs, nil)
}
