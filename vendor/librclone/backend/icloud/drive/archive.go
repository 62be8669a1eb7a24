package drive

import (
	"archive/zip"
	"errors"
	"io"

	"plakar-icloud/librclone/backend/icloud/apierr"
)

// archive checks the zip file of a package while it is downloaded. It keeps the
// end of the file, which contains the directory.
type archive struct {
	tail []byte
	size int64 // of all added bytes
}

// minTail is the minimum number of bytes of the end of an archive that are kept.
// They suffice for the directory of about 10,000 files.
const minTail = 1 << 20

// add adds the next bytes of the archive.
func (a *archive) add(p []byte) {
	a.size += int64(len(p))
	if len(a.tail)+len(p) > 2*minTail {
		keep := max(0, minTail-len(p))
		a.tail = append(a.tail[:0], a.tail[max(0, len(a.tail)-keep):]...)
	}
	a.tail = append(a.tail, p...)
}

// errBeforeTail is the error for an archive whose directory begins before the
// kept bytes.
var errBeforeTail = errors.New("the directory begins before the kept bytes")

// ReadAt implements io.ReaderAt for the end of the archive.
func (a *archive) ReadAt(p []byte, offset int64) (int, error) {
	begin := a.size - int64(len(a.tail))
	switch {
	case offset < begin:
		return 0, errBeforeTail
	case offset >= a.size:
		return 0, io.EOF
	}
	n := copy(p, a.tail[offset-begin:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// check checks that the archive is complete and returns the total size of its
// files, or -1 if its directory is too long to be kept.
func (a *archive) check() (unpacked int64, err error) {
	directory, err := zip.NewReader(a, a.size)
	if errors.Is(err, errBeforeTail) {
		return -1, nil // the end of the archive is valid, because zip reads it first
	}
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return 0, apierr.Newf(apierr.KindDamaged, "", "", "the content of the package is not a complete zip file (%d bytes arrived)", a.size).FromStart()
	}
	for _, file := range directory.File {
		unpacked += int64(file.UncompressedSize64)
	}
	return unpacked, nil
}
