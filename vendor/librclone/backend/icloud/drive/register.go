package drive

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/service"

	"github.com/rclone/rclone/backend/iclouddrive/api"
)

// register makes a document a file in a folder. If the name is taken, it fails with
// KindExists. If the service ignores the request to refuse a taken name, the file
// has a name of the service's choice.
func (d *Drive) register(ctx context.Context, in place, name string, doc *document) (*Item, error) {
	var info any = registration(in, name, doc)
	if doc.pack != nil {
		info = registration(in, name, doc).ofPackage(doc.pack)
	}
	id := api.ConstructDriveID(doc.docID, in.zone(), "FILE")

	for try := 1; ; try++ {
		stored, other, err := d.registerOnce(ctx, in, info, doc)
		if err == nil {
			made := &Item{
				ID: id, itemID: string(stored.ItemID), Parent: in.id, ETag: string(stored.ETag),
				Name: stored.Name, Shown: stored.Name, Size: doc.file.Size, Modified: doc.modified.Truncate(time.Second),
				packaged: doc.pack != nil,
			}
			if doc.pack != nil && stored.Size != nil {
				made.Size = int64(*stored.Size)
			}
			return d.registered(ctx, in, made, doc)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		// An earlier attempt, whose response was lost or a refusal, may have taken the name and the space.
		taken := (try > 1 || apierr.IsRepeated(err)) && (apierr.HasKind(err, apierr.KindExists) || apierr.HasKind(err, apierr.KindQuota))
		if !apierr.OutcomeUnknown(err) && !taken {
			return nil, d.refusedDocument(in, name, doc, err)
		}
		now, lookErr := d.present(ctx, in, id)
		if lookErr != nil {
			return nil, lookErr
		}
		if now == nil && other != "" {
			now, lookErr = d.present(ctx, in, other)
			if lookErr != nil {
				return nil, lookErr
			}
			if now != nil && !sameName(now.Name, name) {
				now = nil
			}
		}
		if now != nil && doc.fits(now) {
			return d.registered(ctx, in, now, doc)
		}
		switch {
		case taken && apierr.HasKind(err, apierr.KindExists):
			return nil, err
		case taken:
			return nil, d.refusedDocument(in, name, doc, err)
		}
		if err := d.Service.Retries.Wait(ctx, try+1, err); err != nil {
			return nil, d.refusedDocument(in, name, doc, err)
		}
	}
}

// registerOnce sends the request that makes a document a file. If the request
// fails and the response has the id of another item, other is that id.
func (d *Drive) registerOnce(ctx context.Context, in place, info any, doc *document) (stored *storedDocument, other string, err error) {
	response, err := service.Fetch(ctx, d.Service, service.Request{
		Host: hosts.Docs, Method: http.MethodPost,
		Path: "/ws/" + url.PathEscape(in.zone()) + "/update/documents", Body: info, Zone: in.zone(),
	}, func(response *registerResponse) error {
		err := checkRegistered(doc, response)
		if err != nil && len(response.Results) == 1 && response.Results[0].Document != nil {
			other = api.ConstructDriveID(string(response.Results[0].Document.ID), in.zone(), "FILE")
		}
		return err
	})
	if err != nil {
		return nil, other, err
	}
	return response.Results[0].Document, "", nil
}

// registered adds a new file to the cached contents of its folder, and checks it if
// it is a package.
func (d *Drive) registered(ctx context.Context, in place, it *Item, doc *document) (*Item, error) {
	d.folders.put(in.id, it)
	if doc.pack != nil {
		return it, d.verifyPackage(ctx, in, it, doc)
	}
	return it, nil
}

// refusedDocument adds the likely reason to the error if the service refuses to
// make a document a file.
func (d *Drive) refusedDocument(in place, name string, doc *document, err error) error {
	err = d.refused(in, name, err)
	if doc.pack != nil {
		err = refusedPackage(err)
	}
	return err
}

// registrationRequest is the request that makes a document a file. rclone's
// type for it omits a size of 0.
type registrationRequest struct {
	AllowConflict   bool               `json:"allow_conflict"`
	Btime           int64              `json:"btime"` // milliseconds
	Command         string             `json:"command"`
	CreateShortGUID bool               `json:"create_short_guid"`
	Data            *registrationData  `json:"data,omitempty"` // of a file
	DocumentID      string             `json:"document_id"`
	FileFlags       api.FileFlags      `json:"file_flags"`
	Mtime           int64              `json:"mtime"` // milliseconds
	Path            registrationFolder `json:"path"`
}

type registrationData struct {
	Receipt            string `json:"receipt,omitempty"` // missing for an empty file
	ReferenceSignature string `json:"reference_signature,omitempty"`
	Signature          string `json:"signature,omitempty"`
	Size               int64  `json:"size"`
	WrappingKey        string `json:"wrapping_key,omitempty"`
}

type registrationFolder struct {
	Name     string `json:"path"`
	FolderID string `json:"starting_document_id"`
}

// registeredTime returns the time in milliseconds that a registration sends for a time
// in seconds.
func registeredTime(seconds int64) int64 {
	if seconds == 0 {
		return 1 // the service may take 0 for no time and use its own; listings show only seconds
	}
	return seconds * 1000
}

func registration(in place, name string, doc *document) registrationRequest {
	milliseconds := registeredTime(doc.modified.Unix())
	return registrationRequest{
		Command:         "add_file",
		CreateShortGUID: true,
		Btime:           milliseconds,
		Mtime:           milliseconds,
		DocumentID:      doc.docID,
		FileFlags:       api.FileFlags{IsWritable: true},
		Path:            registrationFolder{Name: name, FolderID: api.GetDocIDFromDriveID(in.id)},
		Data: &registrationData{
			Receipt:            doc.file.Receipt,
			Signature:          doc.file.Signature,
			ReferenceSignature: doc.file.ReferenceSignature,
			WrappingKey:        doc.file.WrappingKey,
			Size:               doc.file.Size,
		},
	}
}

// fits reports whether an item with the id of the document has its size. The
// service may omit the size of an empty file. The size of a package is not
// compared, because it may differ.
func (doc *document) fits(it *Item) bool {
	return doc.pack != nil || max(0, it.Size) == doc.file.Size
}

// registerResponse is the response to the request that makes a document a file.
type registerResponse struct {
	Status  documentStatus `json:"status"`
	Results []struct {
		Status   documentStatus  `json:"status"`
		Document *storedDocument `json:"document"`
	} `json:"results"`
}

type documentStatus struct {
	Code    *number `json:"status_code"`
	Message string  `json:"error_message"`
}

// failure returns nil for a code of success.
func (s documentStatus) failure() error {
	if s.Code == nil || accepted(int(*s.Code)) {
		return nil
	}
	return codeError(int(*s.Code), s.Message)
}

// checkRegistered checks that a response has the document in full. If it does not,
// register looks up the document.
func checkRegistered(sent *document, response *registerResponse) error {
	if err := response.Status.failure(); err != nil {
		return err
	}
	if len(response.Results) != 1 {
		return apierr.Damaged("the response about one document has " + strconv.Itoa(len(response.Results)))
	}
	if err := response.Results[0].Status.failure(); err != nil {
		return err
	}
	doc := response.Results[0].Document
	switch {
	case doc == nil, string(doc.ID) != sent.docID, doc.Name == "", doc.ETag == "":
		return apierr.Damaged("the response is not about the document that was sent")
	case sent.pack == nil && doc.Size.Or(0) != sent.file.Size && doc.Data.Size.Or(0) != sent.file.Size:
		return apierr.Damaged("the service stored another number of bytes than was sent")
	}
	return nil
}

// accepted reports whether a code in a response means success.
func accepted(code int) bool { return code == 0 || code/100 == 2 }

// codeError returns the error for a failure in a response whose own status is a
// success. A code that looks like an HTTP status is treated as one. The meaning
// of any other code is unknown, so the call is retried, unless the message says that
// the storage is full or the name is taken.
func codeError(code int, message string) error {
	refused := &apierr.Refusal{Status: code, Reason: apierr.PlainText(message)}
	kind := refused.Kind()
	if code < 100 && kind != apierr.KindQuota && kind != apierr.KindExists {
		return apierr.New(apierr.KindNetwork, "", "", refused.Error())
	}
	return refused.Err()
}
