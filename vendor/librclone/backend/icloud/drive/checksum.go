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

// maxUnequal is the number of contents that may arrive twice in the same form and
// differ from their checksums. If there are more, the checksums have another meaning
// than assumed here, and the process does not use them any more.
const maxUnequal = 20

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

// checksums decides whether the checksums of the service can be used.
type checksums struct {
	facts *recollection

	mu      sync.Mutex
	proven  bool // a content was equal to its checksum
	unequal int  // contents that arrive twice in the same form and differ from their checksums
}

func newChecksums(facts *recollection, kept recollected) *checksums {
	return &checksums{facts: facts, proven: kept.ChecksumsProven}
}

// equal records a content that is equal to its checksum.
func (c *checksums) equal(ctx context.Context) {
	c.mu.Lock()
	before := c.proven
	c.proven = true
	c.mu.Unlock()
	if !before {
		c.facts.proveChecksums(ctx)
	}
}

// doubts reports whether a content that differs from its checksum has to be
// downloaded again, and counts it as one that arrives in the same form.
func (c *checksums) doubts() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.proven || c.unequal == maxUnequal {
		return false
	}
	c.unequal++
	return true
}

// differed corrects the count for a content that arrived in another form.
func (c *checksums) differed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unequal--
}

// checkedReader reads a whole content and compares it with its checksum at the end.
type checkedReader struct {
	io.ReadCloser
	ctx      context.Context
	contents *contents
	it       *Item
	on       string // the path in messages
	hash     hash.Hash
	err      error
}

// Read implements io.Reader.
func (r *checkedReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.ReadCloser.Read(p)
	r.hash.Write(p[:n])
	if err == io.EOF {
		err = apierr.About(r.compare(), "read", r.on)
	}
	r.err = err
	return n, err
}

// compare returns io.EOF unless the content is known to be damaged. A content that
// differs from its checksum is downloaded again. If it arrives in the same form, it is
// what the service has, so it is used.
func (r *checkedReader) compare() error {
	c := r.contents
	from := c.known(r.it)
	if from == nil {
		return io.EOF
	}
	wanted, ok := checksumIn(from.mark)
	got := checksum(r.hash.Sum(nil))
	if ok && got == wanted {
		c.checksums.equal(r.ctx)
	}
	if !ok || got == wanted || !c.checksums.doubts() {
		return io.EOF
	}
	again, err := c.checksumOf(r.ctx, r.it, r.on, from)
	if err == nil && again == got {
		fs.LogPrintf(fs.LogLevelWarning, nil, "icloud: the content of %q differs from the checksum that the service reports for it. Two downloads are equal, so it is used as it is", r.on)
		return io.EOF
	}
	c.checksums.differed()
	return apierr.New(apierr.KindDamaged, "", "", "the content differs from the checksum that the service reports for it").FromStart()
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
	return &checkedReader{ReadCloser: content, ctx: ctx, contents: c, it: it, on: on, hash: newChecksum()}
}
