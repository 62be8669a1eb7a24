package icloud

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/lib/rest"
)

// An upload takes three requests: upload/web returns an address, the content is
// sent there, and update/documents makes it a file of a folder. Nothing is
// visible before the third.

// document is a content that the service has stored and that no folder shows
// yet.
type document struct {
	docID    string
	file     api.SingleFileInfo // of a package only the size, that of its files in total
	pack     *packageReceipt    // of a package
	modified time.Time
}

// put makes a document a file of a folder and replaces the file that had its
// name when the upload began. prepare provides the document.
func (d *drive) put(ctx context.Context, in place, name string, known *known, prepare func(context.Context) (*document, error)) (*item, error) {
	on := path.Join(in.path, name)
	if err := checkName("upload", on, name); err != nil {
		return nil, err
	}
	if err := in.writable("upload to"); err != nil {
		return nil, err
	}
	if err := d.pending.waitFor(ctx, nameIn(in, name)); err != nil {
		return nil, err
	}
	if err := known.learn(ctx, d, in, name); err != nil {
		return nil, err
	}
	if known.old != nil && known.old.folder {
		return nil, folderInTheWay(on)
	}
	if wishes(ctx, wishNew) && (known.old != nil || known.like != nil && d.foldsCase.Load()) {
		return nil, taken(on)
	}
	if known.old != nil && !known.packaged {
		if err := d.checkReplaceable(ctx, known.old, on); err != nil {
			return nil, err
		}
	}
	doc, err := prepare(ctx)
	if err != nil {
		return nil, about(err, "upload", on)
	}
	made, err := d.putDocument(ctx, in, known, name, doc)
	// What is known of the folder is out of date, so the next upload lists it.
	if hasKind(err, KindExists) || !isFinal(err) && (hasKind(err, KindChanged) || isGone(err)) {
		d.folders.forget(in.id)
	}
	if err != nil {
		return nil, about(err, "upload", on)
	}
	d.tidy(ctx, in, name, doc)
	return made, nil
}

func folderInTheWay(on string) error {
	return fail(KindExists, "upload", on, "a folder has this name").is(fs.ErrorIsDir)
}

// send sends the content to the service. A failed transfer is restarted with a
// new address and from the start of the content.
func (d *drive) send(ctx context.Context, in place, name string, content *source, modified time.Time) (*document, error) {
	for try := 1; ; try++ {
		sent, err := d.sendOnce(ctx, in, name, content)
		if err == nil {
			sent.modified = modified
			return sent, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if isFinal(err) || !hasKind(err, KindNetwork) && !hasKind(err, KindThrottled) && !hasKind(err, KindDamaged) {
			return nil, err
		}
		if !content.again() {
			return nil, err
		}
		if err := d.service.retries.wait(ctx, try+1, err); err != nil {
			return nil, err
		}
	}
}

func (d *drive) sendOnce(ctx context.Context, in place, name string, content *source) (*document, error) {
	if content.packaged {
		return d.sendPackage(ctx, in, name, content)
	}
	ticket, err := d.ticket(ctx, in, name, map[string]any{
		"filename":     name,
		"type":         "FILE",
		"size":         strconv.FormatInt(content.size, 10),
		"content_type": api.GetContentTypeForFile(name),
	})
	if err != nil {
		return nil, err
	}
	var answer struct {
		File *receipt `json:"singleFile"`
	}
	if err := d.transfer(ctx, ticket.URL, content, "", &answer); err != nil {
		return nil, err
	}
	file, err := checkReceipt(answer.File, content.size)
	if err != nil {
		return nil, err
	}
	return &document{docID: ticket.DocumentID, file: *file}, nil
}

// ticket requests an address for a content.
func (d *drive) ticket(ctx context.Context, in place, name string, body map[string]any) (api.UploadResponse, error) {
	tickets, err := fetch(ctx, d.service, request{
		host: docsHost, method: http.MethodPost, path: "/ws/" + url.PathEscape(in.zone()) + "/upload/web",
		repeats: true, body: body,
	}, func(tickets *[]api.UploadResponse) error {
		if len(*tickets) != 1 || (*tickets)[0].DocumentID == "" || !takesContents((*tickets)[0].URL) {
			return damaged("no address on a host of Apple's for an upload")
		}
		return nil
	})
	if err != nil {
		return api.UploadResponse{}, finally(d.refused(in, name, err))
	}
	return (*tickets)[0], nil
}

// transfer sends the bytes and decodes the response. The body is not accessed
// after it returns.
func (d *drive) transfer(ctx context.Context, address string, content *source, contentType string, answer any) error {
	body, err := content.body()
	if err != nil {
		return sourceFailed(err)
	}
	size := content.size
	used := d.service.session.current()
	resp, err := d.service.http.Call(ctx, &rest.Opts{
		Method:        http.MethodPost,
		RootURL:       address,
		Body:          body,
		ContentLength: &size,
		ContentType:   contentType,
		ExtraHeaders:  d.service.session.headersFor(address, content.denied),
		NoRedirect:    true,
	})
	if failed := body.end(err == nil); failed != nil {
		if resp != nil && err == nil {
			_ = resp.Body.Close()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return failed
	}
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		content.denied = content.denied || refused.kind() == KindDenied || refused.kind() == KindNeedsLogin
		return transferRefused(refused)
	case err != nil:
		return transportError(ctx, hostOf(address), err)
	}
	defer func() { _ = resp.Body.Close() }()
	if strings.HasSuffix(hostOf(address), ".icloud.com") {
		d.service.session.merge(used, resp.Cookies())
	}
	return decode(ctx, resp, answer)
}

// checkReceipt returns the receipt of a file's content, after checking that it
// is complete.
func checkReceipt(file *receipt, size int64) (*api.SingleFileInfo, error) {
	if file == nil {
		return nil, damaged("no receipt for the content")
	}
	switch received := file.Size.or(0); {
	case received != size:
		return nil, damaged("the service received " + strconv.FormatInt(received, 10) + " bytes of " + strconv.FormatInt(size, 10))
	case size > 0 && file.Receipt == "" && file.Signature == "": // an empty file gets no receipt
		return nil, damaged("an incomplete receipt for the content")
	}
	return &api.SingleFileInfo{
		Size: size, Receipt: file.Receipt, Signature: file.Signature,
		ReferenceSignature: file.ReferenceSignature, WrappingKey: file.WrappingKey,
	}, nil
}

// transferRefused converts the statuses of the hosts that receive contents. A
// refused address cannot be used again. Requesting another one also renews the
// session, if that has ended.
func transferRefused(refused *refusal) error {
	e := refused.err()
	switch e.kind {
	case KindQuota, KindThrottled, KindNetwork:
		return e
	}
	e.kind, e.sentinel, e.doubtful = KindNetwork, nil, false
	e.why = "the address for the content is refused: " + refused.Error()
	return e
}
