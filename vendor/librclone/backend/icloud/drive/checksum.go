package drive

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"hash"
	"io"
	"strings"
	"sync"

	"plakar-icloud/librclone/backend/icloud/apierr"

	"github.com/rclone/rclone/fs"
)

// The service gives a checksum with the address of a content: the byte 1, and the
// SHA-1 of a salt and the content. Apple does not document it. Another client
// computes it in this way for its own uploads
// (https://github.com/OpenBubbles/rustpush/blob/master/src/mmcs.rs, prepare_put).
// So a content is compared with its checksum only after another content of the
// account was equal to its own, which does not happen by chance.

const (
	checksumForm = 1
	checksumSalt = "com.apple.XattrObjectSalt\x00com.apple.DataObjectSalt\x00"
)

// maxUnequal is the number of consecutive contents that are used although they differ
// from their checksums. Then the checksums have another meaning than assumed here, and
// are not used until a content is equal to its own again.
const maxUnequal = 20

// maxRepeated is the maximum size of a content that is downloaded again because it
// differs from its checksum.
const maxRepeated = 64 << 20

// checksum is the SHA-1 in a checksum of the service.
type checksum [sha1.Size]byte

// checksumIn returns the checksum in the mark of an address. ok is false if the mark
// has another form.
func checksumIn(mark string) (sum checksum, ok bool) {
	decoded, err := base64.StdEncoding.DecodeString(strings.Trim(mark, `"`))
	if err != nil || len(decoded) != 1+sha1.Size || decoded[0] != checksumForm {
		return checksum{}, false
	}
	return checksum(decoded[1:]), true
}

func newChecksum() hash.Hash {
	h := sha1.New()
	_, _ = io.WriteString(h, checksumSalt) // a hash accepts every write
	return h
}

// checksums determines whether the checksums of the service can be used.
type checksums struct {
	facts *factsFile
	slot  chan struct{} // taken while a content that differs from its checksum is examined

	mu      sync.Mutex
	proven  bool // a content was equal to its checksum
	unequal int  // contents since then that were used although they differ from their checksums
}

func newChecksums(facts *factsFile, kept storedFacts) *checksums {
	return &checksums{facts: facts, slot: make(chan struct{}, 1), proven: kept.ChecksumsProven}
}

// equal records a content that is equal to its checksum.
func (c *checksums) equal(ctx context.Context) {
	c.mu.Lock()
	before := c.proven
	c.proven, c.unequal = true, 0
	c.mu.Unlock()
	if !before {
		c.facts.keepChecksumsProven(ctx, true)
	}
}

// areProven reports whether a content that differs from its checksum may be damaged.
func (c *checksums) areProven() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.proven
}

// differ records a content that is used although it differs from its checksum.
func (c *checksums) differ(ctx context.Context) {
	c.mu.Lock()
	c.unequal++
	over := c.proven && c.unequal >= maxUnequal
	if over {
		c.proven = false
	}
	c.mu.Unlock()
	if over {
		fs.LogPrintf(fs.LogLevelWarning, nil, "icloud: %d consecutive contents differ from the checksums that the service reports for them. Checksums are not compared until a content is equal to its own again", maxUnequal)
		c.facts.keepChecksumsProven(ctx, false)
	}
}

// checkedReader reads a whole content and compares it with its checksum at the end.
type checkedReader struct {
	io.ReadCloser
	ctx      context.Context
	contents *contents
	it       *Item
	on       string   // the path in messages
	from     *address // of the content when it was opened; nil if it is no longer kept
	hash     hash.Hash
	size     int64 // number of bytes read
	err      error
}

// Read implements io.Reader.
func (r *checkedReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.ReadCloser.Read(p)
	r.hash.Write(p[:n])
	r.size += int64(n)
	if err == io.EOF {
		err = apierr.About(r.compare(), "read", r.on)
	}
	r.err = err
	return n, err
}

// compare returns io.EOF if the content is equal to its checksum, or if the checksum
// cannot be used.
func (r *checkedReader) compare() error {
	if latest := r.contents.known(r.it); latest != nil {
		r.from = latest
	}
	if r.from == nil {
		return io.EOF
	}
	wanted, ok := checksumIn(r.from.mark)
	switch got := checksum(r.hash.Sum(nil)); {
	case !ok:
		return io.EOF
	case got != wanted:
		return r.examine(got)
	}
	r.contents.checksums.equal(r.ctx)
	return io.EOF
}

// examine downloads a content that differs from its checksum again. If it arrives in
// the same form, it is what the service has, so it is used, and examine returns
// io.EOF. One content is examined at a time, so that few are if all checksums are
// wrong.
func (r *checkedReader) examine(got checksum) error {
	c := r.contents
	select {
	case c.checksums.slot <- struct{}{}:
		defer func() { <-c.checksums.slot }()
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
	if !c.checksums.areProven() {
		return io.EOF
	}
	why := "Two downloads are equal, so it is used as it is"
	if r.size > maxRepeated {
		why = "It has more than 64 MiB, so it is not downloaded again, and used as it is. Compare it with the file on a device"
	} else {
		again, err := c.checksumOf(r.ctx, r.it, r.on, r.from)
		switch {
		case r.ctx.Err() != nil:
			return r.ctx.Err()
		case err != nil:
			return err
		case again != got:
			return apierr.New(apierr.KindDamaged, "", "", "the content differs from the checksum that the service reports for it").FromStart()
		}
	}
	fs.LogPrintf(fs.LogLevelWarning, nil, "icloud: the content of %q differs from the checksum that the service reports for it. %s", r.on, why)
	c.checksums.differ(r.ctx)
	return io.EOF
}

// checksumOf downloads a content from another address than spent, and returns its
// checksum.
func (c *contents) checksumOf(ctx context.Context, it *Item, on string, spent *address) (checksum, error) {
	if _, err := c.at(ctx, it, spent); err != nil {
		return checksum{}, err
	}
	content, err := c.open(ctx, it, on, 0, -1, func() {})
	if err != nil {
		return checksum{}, err
	}
	defer func() { _ = content.Close() }()
	h := newChecksum()
	_, err = io.Copy(h, content)
	return checksum(h.Sum(nil)), err
}

// checked returns a reader that compares a whole content with its checksum. The
// archive of a package differs between downloads and has no checksum. Neither has
// a document that may be a package, because the service may make an archive of it.
func (c *contents) checked(ctx context.Context, it *Item, on string, content io.ReadCloser) io.ReadCloser {
	if it.Size == 0 || it.MayBePackage() || c.isPackage(it) {
		return content
	}
	return &checkedReader{ReadCloser: content, ctx: ctx, contents: c, it: it, on: on, from: c.known(it), hash: newChecksum()}
}
