package drive

import (
	"context"
	"fmt"

	"plakar-icloud/librclone/backend/icloud/apierr"

	"github.com/rclone/rclone/fs"
)

// The counters of a folder show whether its listing lacks items:
//
//   - numberOfItems is the number of items in the response. It was correct in
//     every known response, so a listing with fewer items is incomplete for
//     every caller; see folderContents.short.
//   - directChildrenCount and fileCount describe the folder. In the few published
//     responses, the first is the number of items in the folder, and the second
//     that of files in it and below. The folders of apps have no counters, and the
//     root does not count them. So a listing with fewer items is only reported to
//     backups; see folderContents.doubt.
//   - assetQuota is not the sum of the file sizes: in a published response it is
//     larger by 2 %, which may be thumbnails. It is not compared.
//
// https://github.com/picklepete/pyicloud/blob/master/tests/const_drive.py

// shortOf returns the error for a listing that has only got of the counted items.
func shortOf(got, counted int64) error {
	return apierr.Newf(apierr.KindDamaged, "", "", "the listing has %d of the %d items that the service counts", got, counted).
		Lacking(counted - got)
}

// tally has the numbers of items in a listing, to compare them with the counters
// of its folder.
type tally struct {
	items int64
	files int64 // directly in the folder
	below int64 // files in the listed folders and below, as the service counts them
	known bool  // below is complete, and no package may be counted as several files
}

// tallyOf returns the tally of a response, which includes hidden and invalid
// items.
func tallyOf(response *FolderResponse) tally {
	t := tally{known: true, items: int64(len(response.Items) + len(response.invalid)), files: int64(len(response.invalid))}
	for _, it := range response.Items {
		switch {
		case it.Folder:
			t.known = t.known && it.Files >= 0
			t.below += max(0, it.Files)
		case it.packaged || it.MayBePackage():
			t.known = false
			t.files++
		default:
			t.files++
		}
	}
	return t
}

// doubt returns an error if a listing has fewer items or files than the counters
// of its folder.
func (t tally) doubt(folder *driveItem) error {
	missing, counted := folder.Children.Or(-1)-t.items, fmt.Sprintf("%d items in the folder", folder.Children.Or(0))
	if files := folder.Files.Or(-1) - t.below - t.files; t.known && files > missing {
		missing, counted = files, fmt.Sprintf("%d files in the folder and below", folder.Files.Or(0))
	}
	if missing <= 0 {
		return nil
	}
	return apierr.Newf(apierr.KindDamaged, "", "", "the service counts %s but does not list %d of them", counted, missing).
		Lacking(missing)
}

// maxExamined is how many doubtful listings a process examines. If there are
// more, the counters have another meaning than assumed here.
const maxExamined = 50

// examine checks a doubtful listing. It lists the folder again, because the folder
// may have changed, and requests the counters by the id of the folder, because
// those in the listing may be old.
func (d *Drive) examine(ctx context.Context, at place, doubtful folderContents) folderContents {
	if doubtful.doubt == nil || d.examined.Add(1) > maxExamined {
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
