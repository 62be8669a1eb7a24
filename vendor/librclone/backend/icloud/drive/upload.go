package drive

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/service"
	"plakar-icloud/librclone/backend/icloud/transport"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/lib/rest"
)

// An upload takes three requests: upload/web returns an address, the content is
// sent there, and update/documents makes it a file in a folder. The file is visible
// only after the third request.

// document is a content that the service has stored and that is not in a folder
// yet.
type document struct {
	docID    string
	file     api.SingleFileInfo // for a package, only the total size of its files
	pack     *packageReceipt    // nil for a file
	modified time.Time
}

// Upload stores a content under a path and returns the file. If in is also an
// io.Seeker, a failed transfer is restarted. on is the path in messages.
func (d *Drive) Upload(ctx context.Context, names []string, on string, in io.Reader, size int64, modified time.Time) (*Item, error) {
	if size < 0 {
		return nil, apierr.New(apierr.KindUnsupported, "upload", on, "iCloud Drive does not accept content of unknown size").Advise("store it in a file first")
	}
	if len(names) == 0 {
		return nil, apierr.New(apierr.KindUnsupported, "upload", on, "a file needs a name")
	}
	content := newSource(in, size)
	folders, name := names[:len(names)-1], names[len(names)-1]
	if ctx.Value(packageKey) != nil {
		content.readPackage(name)
	}
	before := &nameHolder{packaged: content.packaged}
	for attempt := 1; ; attempt++ {
		parent, err := d.walk(ctx, folders, true)
		if err != nil {
			return nil, apierr.About(err, "upload", on)
		}
		it, err := d.put(ctx, parent, name, before, func(ctx context.Context) (*document, error) {
			return d.send(ctx, parent, name, content, modified)
		})
		switch {
		case err == nil:
			if !content.packaged {
				warnOfArchive(name, on, content)
			}
			return it, nil
		case ctx.Err() != nil || !content.again():
			return nil, apierr.About(err, "upload", on)
		// Another device may have moved or deleted the folder.
		case attempt == 1 && (isGone(err) || apierr.HasKind(err, apierr.KindChanged)) && !apierr.IsFinal(err):
			d.folders.forget(parent.id)
			d.folders.forget(parent.parent)
		default:
			return nil, apierr.About(err, "upload", on)
		}
	}
}

// put makes the document that prepare returns a file in a folder. It replaces the
// file that had the name when the upload began.
func (d *Drive) put(ctx context.Context, in place, name string, before *nameHolder, prepare func(context.Context) (*document, error)) (*Item, error) {
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
	if err := before.find(ctx, d, in, name); err != nil {
		return nil, err
	}
	if before.old != nil && before.old.Folder {
		return nil, folderInTheWay(on)
	}
	if ctx.Value(newKey) != nil && (before.old != nil || before.like != nil && d.foldsCase.Load()) {
		return nil, taken(on)
	}
	if before.old != nil && !before.packaged {
		if err := d.checkReplaceable(ctx, before.old, on); err != nil {
			return nil, err
		}
	}
	doc, err := prepare(ctx)
	if err != nil {
		return nil, apierr.About(err, "upload", on)
	}
	made, err := d.putDocument(ctx, in, before, name, doc)
	// The cached contents of the folder are out of date.
	if apierr.HasKind(err, apierr.KindExists) || !apierr.IsFinal(err) && (apierr.HasKind(err, apierr.KindChanged) || isGone(err)) {
		d.folders.forget(in.id)
	}
	if err != nil {
		return nil, apierr.About(err, "upload", on)
	}
	return made, nil
}

func folderInTheWay(on string) error {
	return apierr.New(apierr.KindExists, "upload", on, "a folder has this name").Matching(fs.ErrorIsDir)
}

// send sends the content to the service and returns its document. A failed transfer
// is restarted from the start of the content, with a new address.
func (d *Drive) send(ctx context.Context, in place, name string, content *source, modified time.Time) (*document, error) {
	for try := 1; ; try++ {
		sent, err := d.sendOnce(ctx, in, name, content)
		if err == nil {
			sent.modified = modified
			return sent, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if apierr.IsFinal(err) || !apierr.HasKind(err, apierr.KindNetwork) && !apierr.HasKind(err, apierr.KindThrottled) && !apierr.HasKind(err, apierr.KindDamaged) {
			return nil, err
		}
		if !content.again() {
			return nil, err
		}
		if err := d.Service.Retries.Wait(ctx, try+1, err); err != nil {
			return nil, err
		}
	}
}

// sendOnce makes one attempt of send.
func (d *Drive) sendOnce(ctx context.Context, in place, name string, content *source) (*document, error) {
	if content.packaged {
		return d.sendPackage(ctx, in, name, content)
	}
	target, err := d.uploadTarget(ctx, in, name, map[string]any{
		"filename":     name,
		"type":         "FILE",
		"size":         strconv.FormatInt(content.size, 10),
		"content_type": api.GetContentTypeForFile(name),
	})
	if err != nil {
		return nil, err
	}
	var response struct {
		File *receipt `json:"singleFile"`
	}
	if err := d.transfer(ctx, target.URL, content, "", &response); err != nil {
		return nil, err
	}
	file, err := checkReceipt(response.File, content.size)
	if err != nil {
		return nil, err
	}
	return &document{docID: target.DocumentID, file: *file}, nil
}

// uploadTarget requests an address to which a content can be sent.
func (d *Drive) uploadTarget(ctx context.Context, in place, name string, body map[string]any) (api.UploadResponse, error) {
	targets, err := service.Fetch(ctx, d.Service, service.Request{
		Host: hosts.Docs, Method: http.MethodPost, Path: "/ws/" + url.PathEscape(in.zone()) + "/upload/web",
		Repeatable: true, Body: body,
	}, func(targets *[]api.UploadResponse) error {
		if len(*targets) != 1 || (*targets)[0].DocumentID == "" || !hosts.MayHaveContents((*targets)[0].URL) {
			return apierr.Damaged("the response has no address for the upload on a host of Apple's")
		}
		return nil
	})
	if err != nil {
		return api.UploadResponse{}, apierr.Finally(d.refused(in, name, err))
	}
	return (*targets)[0], nil
}

// transfer sends a content to an address and decodes the response. It does not
// access the content after it has returned.
func (d *Drive) transfer(ctx context.Context, address string, content *source, contentType string, response any) error {
	body, err := content.body()
	if err != nil {
		return sourceFailed(err)
	}
	size := content.size
	used := d.Service.Session.Current()
	resp, err := d.Service.HTTP.Call(ctx, &rest.Opts{
		Method:        http.MethodPost,
		RootURL:       address,
		Body:          body,
		ContentLength: &size,
		ContentType:   contentType,
		ExtraHeaders:  d.Service.Session.HeadersFor(address, content.denied),
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
	var refused *apierr.Refusal
	switch {
	case errors.As(err, &refused):
		content.denied = content.denied || refused.Kind() == apierr.KindDenied || refused.Kind() == apierr.KindNeedsLogin
		return transferRefused(refused)
	case err != nil:
		return apierr.Transport(ctx, hosts.Of(address), err)
	}
	defer func() { _ = resp.Body.Close() }()
	if used.Owns(address) {
		d.Service.Session.Merge(used, resp.Cookies())
	}
	return transport.Decode(ctx, resp, response)
}

// checkReceipt checks the receipt of a file's content and converts it.
func checkReceipt(file *receipt, size int64) (*api.SingleFileInfo, error) {
	if file == nil {
		return nil, apierr.Damaged("the response has no receipt for the content")
	}
	switch received := file.Size.Or(0); {
	case received != size:
		return nil, apierr.Damaged("the service received " + strconv.FormatInt(received, 10) + " bytes of " + strconv.FormatInt(size, 10))
	case size > 0 && file.Receipt == "" && file.Signature == "": // an empty file gets no receipt
		return nil, apierr.Damaged("the receipt for the content is incomplete")
	}
	return &api.SingleFileInfo{
		Size: size, Receipt: file.Receipt, Signature: file.Signature,
		ReferenceSignature: file.ReferenceSignature, WrappingKey: file.WrappingKey,
	}, nil
}

// transferRefused returns the error for a refusal by a host that receives contents.
// Any refusal that does not say otherwise is retried with another address, and
// requesting one renews the session if that has ended.
func transferRefused(refused *apierr.Refusal) error {
	switch refused.Kind() {
	case apierr.KindQuota, apierr.KindThrottled, apierr.KindNetwork:
		return refused.Err()
	}
	return refused.Retryable("the upload is refused: " + refused.Error())
}
