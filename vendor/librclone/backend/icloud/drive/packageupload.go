package drive

import (
	"archive/zip"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"path"
	"strings"

	"plakar-icloud/librclone/backend/icloud/apierr"

	"github.com/rclone/rclone/fs"
)

// A package is uploaded with the same three requests as a file, in other forms:
// upload/web gets the type PACKAGE, the content is a zip archive, for which the
// service returns the receipts of its parts, and the command add_package sends the
// receipts back. The source is Apple's web client:
// https://github.com/Dandiccf/cirrove/blob/04dc9e129c9e50649eb95bb88e72fd506c7cfe45/docs/benchmarks/icloud-public-package-write-contract-2026-10-01.md

// packageReceipt is the response to the archive of a package.
type packageReceipt struct {
	Checksum hexBytes       `json:"hexBrSyntheticChecksum"`
	Manifest *partReceipt   `json:"brManifest"`
	Inner    *partReceipt   `json:"ckManifest"`
	Sections []*partReceipt `json:"ckSectionAssets"`
}

// partReceipt is the receipt of a part of a package.
type partReceipt struct {
	Checksum    hexBytes   `json:"hexFileChecksum"`
	Reference   hexBytes   `json:"hexReferenceChecksum"`
	WrappingKey hexBytes   `json:"hexWrappingKey"`
	Receipt     tokenBytes `json:"receiptToken"`
	Size        int64      `json:"size"`
}

// hexBytes are bytes in hexadecimal.
type hexBytes []byte

// UnmarshalJSON implements json.Unmarshaler.
func (b *hexBytes) UnmarshalJSON(data []byte) error {
	var text string
	err := json.Unmarshal(data, &text)
	if err == nil {
		*b, err = hex.DecodeString(text)
	}
	return err
}

// tokenBytes are bytes in base64, in its standard form or in that for URLs, with
// or without padding.
type tokenBytes []byte

// UnmarshalJSON implements json.Unmarshaler.
func (b *tokenBytes) UnmarshalJSON(data []byte) error {
	var text string
	err := json.Unmarshal(data, &text)
	if err == nil {
		text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
		*b, err = base64.RawStdEncoding.DecodeString(text)
	}
	return err
}

// packageRegistration is the request that makes an uploaded package a file.
type packageRegistration struct {
	registrationRequest
	Checksum []byte       `json:"pkgSignature"`
	Manifest *partRequest `json:"manifest"`
	Package  struct {
		Sections []*partRequest `json:"sections"`
		Manifest *partRequest   `json:"manifest"`
	} `json:"package"`
}

// partRequest is the receipt of a part in the form in which it is sent back.
type partRequest struct {
	Signature          []byte `json:"signature"`
	ReferenceSignature []byte `json:"reference_signature"`
	WrappingKey        []byte `json:"wrapping_key"`
	Receipt            []byte `json:"receipt"`
	Size               int64  `json:"size"`
}

// request returns the receipt in the form in which it is sent back.
func (r *partReceipt) request() *partRequest {
	if r == nil {
		return nil
	}
	return &partRequest{
		Signature: r.Checksum, ReferenceSignature: r.Reference, WrappingKey: r.WrappingKey, Receipt: r.Receipt, Size: r.Size,
	}
}

// ofPackage returns the request for a package with a receipt.
func (r registrationRequest) ofPackage(receipt *packageReceipt) packageRegistration {
	r.Command, r.Data = "add_package", nil
	registration := packageRegistration{registrationRequest: r, Checksum: receipt.Checksum, Manifest: receipt.Manifest.request()}
	registration.Package.Manifest = receipt.Inner.request()
	registration.Package.Sections = []*partRequest{}
	for _, section := range receipt.Sections {
		registration.Package.Sections = append(registration.Package.Sections, section.request())
	}
	return registration
}

// sendPackage sends the archive of a package to the service.
func (d *Drive) sendPackage(ctx context.Context, in place, name string, content *source) (*document, error) {
	target, err := d.uploadTarget(ctx, in, name, map[string]any{
		"filename": name, "type": "PACKAGE", "size": content.size, "content_type": "application/zip",
	})
	if err != nil {
		return nil, refusedPackage(err)
	}
	var receipt packageReceipt
	if err := d.transfer(ctx, target.URL, content, "application/zip", &receipt); err != nil {
		return nil, err
	}
	if len(receipt.Checksum) == 0 || len(receipt.Sections) == 0 && receipt.Manifest == nil && receipt.Inner == nil {
		return nil, refusedPackage(apierr.Finally(apierr.New(apierr.KindUnsupported, "", "", "the service did not treat the archive as a package")))
	}
	sent := &document{docID: target.DocumentID, pack: &receipt}
	sent.file.Size = content.unpacked
	return sent, nil
}

// refusedPackage converts the error for an archive that the service does not
// accept as a package. It returns other errors unchanged.
func refusedPackage(err error) error {
	if !apierr.HasKind(err, apierr.KindUnsupported) {
		return err
	}
	return apierr.Finally(apierr.New(apierr.KindRefusedPackage, "", "", "the service refuses it as a package").From(err))
}

// verifyPackage checks that the service has stored an upload as a package. If not,
// it removes the upload and fails.
func (d *Drive) verifyPackage(ctx context.Context, in place, made *Item, sent *document) error {
	on := path.Join(in.path, made.Name)
	address, err := d.contents.at(ctx, made, nil)
	if err == nil && !address.packaged {
		err = refusedPackage(apierr.New(apierr.KindUnsupported, "upload", on, "the service stored a file instead of a package"))
	}
	if err != nil {
		if trashErr := d.trash(Permanently(ctx), in, made); trashErr != nil {
			fs.Debugf(nil, "icloud: a failed upload could not be removed: %v", trashErr)
		}
		return apierr.About(err, "upload", on)
	}
	if made.Size != sent.file.Size { // not an error; see contentReader.complete
		fs.Logf(nil, "icloud: the files in the package %q have %d bytes in total, not %d as the service reports", on, sent.file.Size, made.Size)
	}
	return nil
}

// readPackage sets packaged and unpacked if the content is the archive of a
// package with this name: the name has the extension of a package, and all files
// of the archive are below one folder with that extension.
func (s *source) readPackage(name string) {
	_, extension := splitName(name)
	if it := (&Item{Name: name}); !s.seeks || !it.MayBePackage() {
		return
	}
	s.used = true // so that body seeks to the start
	directory, err := zip.NewReader(&seekingReaderAt{s.reader.(io.ReadSeeker), s.start}, s.size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) || len(directory.File) == 0 {
		return
	}
	root, _, _ := strings.Cut(directory.File[0].Name, "/")
	if _, rootExtension := splitName(root); !strings.EqualFold(rootExtension, extension) {
		return
	}
	total := int64(0)
	for _, file := range directory.File {
		if !strings.HasPrefix(file.Name, root+"/") {
			return
		}
		total += int64(file.UncompressedSize64)
	}
	s.packaged, s.unpacked = true, total
}

// seekingReaderAt is an io.ReaderAt for a content that begins at start of a reader
// that can seek. It is not safe for concurrent use.
type seekingReaderAt struct {
	content io.ReadSeeker
	start   int64
}

// ReadAt implements io.ReaderAt.
func (r *seekingReaderAt) ReadAt(p []byte, offset int64) (int, error) {
	if _, err := r.content.Seek(r.start+offset, io.SeekStart); err != nil {
		return 0, err
	}
	n, err := io.ReadFull(r.content, p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}
