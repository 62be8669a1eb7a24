package drive

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"

	"plakar-icloud/librclone/backend/icloud/apierr"

	"github.com/rclone/rclone/fs"
)

// A package is a folder on a Mac and a single document in iCloud Drive. It is
// downloaded as a zip archive. Unless that archive is uploaded as a package (see
// packageupload.go), the upload creates a file, which Mac programs do not open. So
// a file never replaces a package.

// IsPackage reports whether a file is known to be a package.
func (d *Drive) IsPackage(it *Item) bool { return d.contents.isPackage(it) }

// checkReplaceable refuses to replace a package by a file. For some documents,
// only the address shows whether they are packages.
func (d *Drive) checkReplaceable(ctx context.Context, old *Item, on string) error {
	packaged := d.contents.isPackage(old)
	if !packaged && old.MayBePackage() && old.Size != 0 {
		address, err := d.contents.at(ctx, old, nil)
		switch {
		case err != nil && !isGone(err):
			return apierr.About(err, "check whether it is a package", on)
		case err == nil:
			packaged = address.packaged
		}
	}
	if !packaged {
		return nil
	}
	return apierr.Finally(apierr.New(apierr.KindExists, "upload", on, "a package, which is a folder on a Mac, has this name, and an upload can only store a file").
		Advise("the package is unchanged; store the file under another name or in another folder"))
}

// The start of an archive, which is the header of its first entry.
// https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3.7
const (
	zipEntryMark  = "PK\x03\x04"
	zipNameLength = 26 // offset of a 16-bit number
	zipNameOffset = 30
	maxZipName    = 4096
)

// warnOfArchive logs a warning if an uploaded file is the archive of a package.
// Such an archive contains a folder with the name of the package.
func warnOfArchive(name, on string, content *source) {
	head := content.head(zipNameOffset + maxZipName)
	if len(head) < zipNameOffset || !bytes.HasPrefix(head, []byte(zipEntryMark)) {
		return
	}
	entry := head[zipNameOffset:]
	entry = entry[:min(len(entry), int(binary.LittleEndian.Uint16(head[zipNameLength:])))]
	if it := (&Item{Name: name}); !it.MayBePackage() || !bytes.HasPrefix(entry, []byte(name+"/")) {
		return
	}
	fs.LogPrintf(fs.LogLevelWarning, nil, "icloud: the package %q, which is a folder on a Mac, is stored as a zip archive: "+
		"to open it, add .zip to its name and unpack it on a Mac", on)
}

// head returns up to most bytes from the start of a content, or nil if the content
// could not be read again afterwards.
func (s *source) head(most int) []byte {
	if !s.seeks {
		return nil
	}
	if _, err := s.reader.(io.Seeker).Seek(s.start, io.SeekStart); err != nil {
		return nil
	}
	s.used = true // so that body seeks to the start
	head := make([]byte, min(int64(most), s.size))
	n, _ := io.ReadFull(s.reader, head) // a failure shows in the upload
	return head[:n]
}
