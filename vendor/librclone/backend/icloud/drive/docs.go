package drive

import (
	"context"
	"net/http"
	"net/url"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/service"
)

// The responses of the documents host, with the members that are used. rclone's
// types for them have more members, and fail to decode a response in which any of
// them has an unexpected type.

// storedDocument is a document, which need not be in a folder.
type storedDocument struct {
	ID     text    `json:"document_id"`
	ItemID text    `json:"item_id"`
	Name   string  `json:"name"`
	ETag   text    `json:"etag"`
	Size   *number `json:"size"`
	Data   struct {
		Size               *number `json:"size"`
		Signature          string  `json:"signature"`
		ReferenceSignature string  `json:"reference_signature"`
		WrappingKey        string  `json:"wrapping_key"`
	} `json:"data"`
}

// documentItem is an item in the form in which it is requested by its item id.
type documentItem struct {
	ItemID text `json:"item_id"`
	Info   *struct {
		Name     string  `json:"name"`
		Size     *number `json:"size"`
		Type     string  `json:"type"`
		Version  text    `json:"version"`
		Modified text    `json:"modified_at"` // in milliseconds
		URLs     struct {
			Download string `json:"url_download"`
		} `json:"urls"`
	} `json:"item_info"`
}

// receipt is the response of a content host to an upload.
type receipt struct {
	Size               *number `json:"size"`
	Receipt            string  `json:"receipt"`
	Signature          string  `json:"fileChecksum"`
	ReferenceSignature string  `json:"referenceChecksum"`
	WrappingKey        string  `json:"wrappingKey"`
}

// lookUp requests a document by the id of its item.
func lookUp(ctx context.Context, s *service.Service, zone, itemID string) (*storedDocument, error) {
	return service.Fetch(ctx, s, service.Request{
		Host: hosts.Docs, Method: http.MethodGet,
		Path:       "/ws/" + url.PathEscape(zone) + "/list/lookup_by_id",
		Params:     url.Values{"document_id": {itemID}, "unified_format": {"false"}},
		Repeatable: true,
	}, func(doc *storedDocument) error {
		if doc.ID == "" {
			return apierr.Damaged("a document without an id")
		}
		return nil
	})
}
