package drive

import (
	"io"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"

	"github.com/rclone/rclone/fs"
)

// Read implements io.Reader.
func (r *contentReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	for len(p) > 0 {
		n, err := r.readBody(p)
		if n > 0 || err != nil {
			r.handed, r.err = r.handed || n > 0, err
			return n, apierr.About(err, "read", r.on)
		}
	}
	return 0, nil
}

// readBody reads from the body once. If the connection broke, it sends another
// request and returns 0.
func (r *contentReader) readBody(p []byte) (int, error) {
	if r.end >= 0 && r.pos >= r.end {
		return 0, r.finish()
	}
	if r.end >= 0 {
		p = p[:min(int64(len(p)), r.end-r.pos)]
	}
	n, err := r.body.Read(p)
	r.pos += int64(n)
	if n > 0 {
		if r.archive != nil {
			r.archive.add(p[:n])
		}
		r.try = 1
		return n, nil // the next read returns the error, if any, again
	}
	if err == nil {
		return 0, nil
	}
	if r.ctx.Err() != nil {
		return 0, r.ctx.Err()
	}
	if err == io.EOF && r.end < 0 {
		return 0, r.complete() // the length is unknown, so the end of the response is the end of the content
	}
	if err == io.EOF && !r.hasLength {
		// The response may not be the content at all, so it is not resumed.
		return 0, apierr.Finally(apierr.Newf(apierr.KindDamaged, "", "", "the content ends at byte %d of %d", r.pos, r.end))
	}
	_ = r.body.Close()
	broken := apierr.Newf(apierr.KindNetwork, "", "", "the content breaks off at byte %d of %d", r.pos, r.end)
	broken.Host = hosts.Of(r.from.url)
	if r.archive != nil {
		if r.handed {
			// Two downloads of a package differ, so the rest of another
			// download does not fit.
			return 0, apierr.Finally(apierr.Newf(apierr.KindDamaged, "", "", "the download of the package breaks off at byte %d of %d", r.pos, r.end).FromStart())
		}
		r.pos, r.end = r.first, r.last
		*r.archive = archive{}
	}
	if err := r.contents.service.Retries.Wait(r.ctx, r.try+1, broken); err != nil {
		return 0, err
	}
	r.try++
	return 0, r.open()
}

// complete checks a content after its last byte. It returns io.EOF if the content
// is correct.
func (r *contentReader) complete() error {
	if r.archive == nil || r.first != 0 || r.last >= 0 {
		return io.EOF
	}
	unpacked, err := r.archive.check()
	if err != nil {
		return err
	}
	// This is not an error, because the two sizes were equal for one package and
	// differed by 72 bytes for another one
	// (https://github.com/mandarons/icloud-docker/issues/327).
	if unpacked >= 0 && r.it.Size >= 0 && unpacked != r.it.Size {
		fs.Logf(nil, "icloud: the files in the package %q have %d bytes in total, not %d as in the listing", r.on, unpacked, r.it.Size)
	}
	return io.EOF
}

// finish checks that nothing follows the last byte, and calls complete.
func (r *contentReader) finish() error {
	if r.more {
		return io.EOF
	}
	var beyond [1]byte
	for range 16 {
		n, err := r.body.Read(beyond[:])
		if n > 0 {
			return apierr.New(apierr.KindDamaged, "", "", "the content is longer than it should be")
		}
		if err != nil {
			break // any error: the content is complete
		}
	}
	return r.complete()
}

// Close implements io.Closer.
func (r *contentReader) Close() error {
	r.cancel()
	if r.body == nil {
		return nil
	}
	return r.body.Close()
}
