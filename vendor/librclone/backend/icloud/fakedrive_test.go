package icloud

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"plakar-icloud/librclone/internal/simtest"
)

// present returns the item with an id of the Drive host or the documents host, unless
// it does not exist or is in the Trash.
func (c *fakeCloud) present(driveID string) *fakeItem {
	parts := strings.Split(driveID, "::")
	if it := c.items[parts[len(parts)-1]]; it != nil && !it.trashed {
		return it
	}
	return nil
}

// answerDrive returns the response of the Drive host.
func (c *fakeCloud) answerDrive(kind string, sent []byte, say func(int, any) *fakeResponse) *fakeResponse {
	if kind == "retrieveItemDetailsInFolders" {
		return c.answerListing(sent, say)
	}
	var body struct {
		Destination string `json:"destinationDrivewsId"`
		Folders     []struct{ Name string }
		Items       []struct{ Drivewsid, Etag, Name string }
	}
	_ = json.Unmarshal(sent, &body)
	one := func(change func(*fakeItem) simtest.JSON) *fakeResponse {
		if c.most > 0 && len(body.Items) > c.most {
			return say(400, simtest.JSON{})
		}
		var items []simtest.JSON
		for _, wanted := range body.Items {
			it := c.present(wanted.Drivewsid)
			switch {
			case it == nil:
				items = append(items, simtest.JSON{"drivewsid": wanted.Drivewsid, "status": "ID_INVALID"})
			case wanted.Etag != strconv.Itoa(it.etag) && c.quiet:
				items = append(items, c.form(it))
			case wanted.Etag != strconv.Itoa(it.etag):
				items = append(items, simtest.JSON{"drivewsid": wanted.Drivewsid, "status": "ETAG_CONFLICT", "etag": strconv.Itoa(it.etag)})
			default:
				c.change++
				it.etag = c.change
				items = append(items, change(it))
			}
		}
		return say(200, simtest.JSON{"items": items})
	}
	switch kind {
	case "createFolders":
		parent := c.present(body.Destination)
		if parent == nil || len(body.Folders) != 1 {
			return say(404, simtest.JSON{})
		}
		return say(200, simtest.JSON{"folders": []simtest.JSON{c.form(c.add(parent.id, body.Folders[0].Name, nil))}})
	case "moveItemsToTrash":
		return one(func(it *fakeItem) simtest.JSON { it.trashed = true; return c.form(it) })
	case "retrieveItemDetails":
		if len(body.Items) != 1 {
			return say(400, simtest.JSON{})
		}
		parts := strings.Split(body.Items[0].Drivewsid, "::")
		it := c.items[parts[len(parts)-1]]
		if it == nil {
			return say(200, simtest.JSON{"items": []simtest.JSON{{"drivewsid": body.Items[0].Drivewsid, "status": "ID_INVALID"}}})
		}
		return say(200, simtest.JSON{"items": []simtest.JSON{c.form(it)}})
	case "renameItems":
		names := map[string]string{}
		for _, wanted := range body.Items {
			names[wanted.Drivewsid] = wanted.Name
		}
		return one(func(it *fakeItem) simtest.JSON {
			it.name = c.free(it.parent, names[it.driveID()], it.id)
			return c.form(it)
		})
	case "moveItems":
		to := c.present(body.Destination)
		if to == nil {
			return say(404, simtest.JSON{})
		}
		return one(func(it *fakeItem) simtest.JSON {
			it.name = c.free(to.id, it.name, it.id)
			it.parent = to.id
			return c.form(it)
		})
	}
	return say(404, simtest.JSON{})
}

// answerListing returns the response to a request for listings of folders.
func (c *fakeCloud) answerListing(sent []byte, say func(int, any) *fakeResponse) *fakeResponse {
	if c.listings != nil && c.change == c.begun {
		if known, ok := c.listings.Load(string(sent)); ok {
			response := say(200, nil)
			response.body = known.([]byte)
			return response
		}
	}
	var asked []struct{ Drivewsid string }
	_ = json.Unmarshal(sent, &asked)
	listings := []simtest.JSON{}
	for _, wanted := range asked {
		folder := c.present(wanted.Drivewsid)
		if folder == nil {
			listings = append(listings, simtest.JSON{"drivewsid": wanted.Drivewsid, "status": "ID_INVALID"})
			continue
		}
		listing := c.form(folder)
		children := []simtest.JSON{}
		for _, id := range slices.Sorted(maps.Keys(c.items)) {
			if it := c.items[id]; it.parent == folder.id && !it.trashed {
				children = append(children, c.form(it))
			}
		}
		listing["items"], listing["numberOfItems"] = children, len(children)
		listings = append(listings, listing)
	}
	response := say(200, listings)
	if c.listings != nil && c.change == c.begun {
		c.listings.Store(string(sent), response.body)
	}
	return response
}

// answerDocs returns the response of the documents host, or nil to a request that is
// not for it.
func (c *fakeCloud) answerDocs(kind string, req *http.Request, sent []byte, say func(int, any) *fakeResponse) *fakeResponse {
	switch kind {
	case "lookup_by_id":
		it := c.present(strings.TrimPrefix(req.URL.Query().Get("document_id"), "item-"))
		if it == nil {
			return say(404, simtest.JSON{})
		}
		return say(200, simtest.JSON{"document_id": it.id, "size": len(it.content), "data": simtest.JSON{"size": len(it.content)}})
	case "by_id":
		it := c.present(req.URL.Query().Get("document_id"))
		if it == nil || it.folder {
			return say(404, simtest.JSON{})
		}
		return say(200, simtest.JSON{"document_id": it.id, "double_etag": "x", "data_token": simtest.JSON{
			"url": "https://cvws.icloud-content.com/" + it.id + "?s=signature", "signature": fmt.Sprint("mark", it.etag), "token": "t",
		}})
	case "web":
		c.made++
		id := fmt.Sprintf("%08d-doc", c.made)
		return say(200, []simtest.JSON{{"url": "https://p1-contentws.icloud.com/" + id, "document_id": id}})
	case "documents":
		return c.answerRegistration(sent, say)
	}
	return nil
}

// answerRegistration returns the response to a request that makes a document a file.
func (c *fakeCloud) answerRegistration(sent []byte, say func(int, any) *fakeResponse) *fakeResponse {
	var body struct {
		DocumentID string `json:"document_id"`
		Path       struct {
			Path     string
			Starting string `json:"starting_document_id"`
		}
		Data     struct{ Size int64 }
		Conflict bool `json:"allow_conflict"`
	}
	_ = json.Unmarshal(sent, &body)
	parent, content := c.items[body.Path.Starting], c.uploads[body.DocumentID]
	if parent == nil || parent.trashed || content == nil || body.Data.Size != int64(len(content)) {
		return say(412, simtest.JSON{})
	}
	if it := c.find(parent.id, body.Path.Path); it != nil && it.id != body.DocumentID && !body.Conflict && !c.lenient {
		return say(409, simtest.JSON{"reason": "Uniqueness constraint violation. Rejecting update"})
	}
	c.change++
	it := c.items[body.DocumentID]
	if it == nil {
		it = &fakeItem{id: body.DocumentID, parent: parent.id, name: c.free(parent.id, body.Path.Path, ""), content: content, etag: c.change}
		c.items[it.id] = it
	}
	return say(200, simtest.JSON{"status": simtest.JSON{"status_code": 0}, "results": []simtest.JSON{{
		"status": simtest.JSON{"status_code": 0},
		"document": simtest.JSON{"document_id": it.id, "item_id": "item-" + it.id, "etag": strconv.Itoa(it.etag),
			"name": it.name, "type": "FILE", "size": len(content), "data": simtest.JSON{"size": len(content)}},
	}}})
}

// answerContent returns the response of the content host.
func (c *fakeCloud) answerContent(kind string, req *http.Request, sent []byte, response *fakeResponse, say func(int, any) *fakeResponse) *fakeResponse {
	id := strings.Trim(req.URL.Path, "/")
	if kind == "content-post" {
		c.uploads[id] = append([]byte{}, sent...)
		file := simtest.JSON{"size": len(sent), "fileChecksum": "sum", "referenceChecksum": "sum", "wrappingKey": "key"}
		if len(sent) > 0 {
			file["receipt"] = "receipt"
		}
		return say(200, simtest.JSON{"singleFile": file})
	}
	it := c.items[id]
	if it == nil || it.trashed {
		return say(404, simtest.JSON{})
	}
	response.body = it.content
	if wanted, ok := strings.CutPrefix(req.Header.Get("Range"), "bytes="); ok {
		first, last, _ := strings.Cut(wanted, "-")
		start, _ := strconv.Atoi(first)
		end := len(it.content)
		n, err := strconv.Atoi(last)
		switch {
		case first == "":
			start = max(0, end-n)
		case err == nil:
			end = min(end, n+1)
		}
		if start >= end {
			return say(416, simtest.JSON{})
		}
		response.status, response.body = 206, it.content[start:end]
		response.header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, end-1, len(it.content)))
	}
	return response
}

// isAbout reports whether a response is the listing of a single folder with this id.
func isAbout(response *fakeResponse, driveID string) bool {
	var folders []struct{ Drivewsid string }
	return json.Unmarshal(response.body, &folders) == nil && len(folders) == 1 && folders[0].Drivewsid == driveID
}
