package icloud

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"plakar-icloud/librclone/backend/icloud/session"
	"plakar-icloud/librclone/internal/simtest"

	"golang.org/x/text/unicode/norm"
)

// fakeCloud is a very small iCloud within the process, for tests that need millions
// of responses. It is an http.RoundTripper. Its responses can be changed.
type fakeCloud struct {
	items    map[string]*fakeItem // by document id
	uploads  map[string][]byte    // by document id
	made     int
	change   int
	requests int
	alive    bool // the session is valid
	noToken  bool // only the session token of the last proof brings a session
	pcs      bool // the cookies for protected data are valid
	needsPCS bool // requests need cookies for protected data
	password string
	srp      *fakeSRP
	proofs   int // received proofs
	wrong    int // consecutive wrong proofs
	logins   int // sessions that were begun
	locks    int // number of wrong proofs that locks the account; 0 for none

	// listings has the responses to listings before the first change, by request.
	// Clouds with the same content share it.
	listings *sync.Map
	begun    int // value of change before the first change

	quiet   bool // a change with a stale etag does nothing and reports success
	lenient bool // an upload with a taken name gets another name although the client wants a refusal
	most    int  // maximum number of items in a call, above which it is refused; 0 for no limit

	// instead returns the response to a request that is not processed, or nil.
	instead func(number int, kind string) *fakeResponse
	// spoil changes the response to a request that was processed.
	spoil func(number int, kind string, response *fakeResponse)
	limit int // number of requests after which the client is assumed to be in a loop
}

// rootDriveID is the id of the root folder.
const rootDriveID = "FOLDER::com.apple.CloudDocs::root"

type fakeItem struct {
	id, parent, name string
	folder           bool
	content          []byte
	etag             int
	modified         int64
	trashed          bool
}

// fakeResponse is a response before it is sent.
type fakeResponse struct {
	status     int
	header     http.Header
	body       []byte
	broken     bool          // the connection breaks in the middle of the body
	lost       bool          // the connection breaks before the response
	carriedOut bool          // for a response of between: the cloud processes the request
	hung       bool          // the response never arrives
	slow       time.Duration // pause before each byte of the body; negative if no byte arrives
}

func newFakeCloud() *fakeCloud {
	c := &fakeCloud{items: map[string]*fakeItem{}, uploads: map[string][]byte{}, alive: true, pcs: true, password: "secret", limit: 400}
	c.items["root"] = &fakeItem{id: "root", folder: true}
	return c
}

func (c *fakeCloud) add(parent, name string, content []byte) *fakeItem {
	c.made++
	c.change++
	it := &fakeItem{
		id: fmt.Sprintf("%08d-doc", c.made), parent: parent, name: c.free(parent, name, ""),
		folder: content == nil, content: content, etag: c.change, modified: 1_700_000_000_000,
	}
	c.items[it.id] = it
	return it
}

func (c *fakeCloud) find(parent, name string) *fakeItem {
	for _, it := range c.items {
		if it.parent == parent && !it.trashed && norm.NFC.String(it.name) == norm.NFC.String(name) {
			return it
		}
	}
	return nil
}

// free returns a name or, if it is taken, the name that the service chooses instead.
func (c *fakeCloud) free(parent, name, except string) string {
	for n, candidate := 2, name; ; n++ {
		if taken := c.find(parent, candidate); taken == nil || taken.id == except {
			return candidate
		}
		stem, extension := cutName(name)
		candidate = fmt.Sprintf("%s %d", stem, n)
		if extension != "" {
			candidate += "." + extension
		}
	}
}

func (c *fakeCloud) at(path string) *fakeItem {
	it := c.items["root"]
	for name := range strings.SplitSeq(path, "/") {
		if name == "" {
			continue
		}
		if it = c.find(it.id, name); it == nil {
			return nil
		}
	}
	return it
}

// paths returns the sorted paths of all items in the drive.
func (c *fakeCloud) paths() []string {
	var paths []string
	var walk func(id, path string)
	walk = func(id, path string) {
		for _, it := range c.items {
			if it.parent == id && !it.trashed {
				paths = append(paths, path+it.name)
				walk(it.id, path+it.name+"/")
			}
		}
	}
	walk("root", "")
	sort.Strings(paths)
	return paths
}

func (it *fakeItem) driveID() string {
	if it.folder {
		return "FOLDER::com.apple.CloudDocs::" + it.id
	}
	return "FILE::com.apple.CloudDocs::" + it.id
}

func (c *fakeCloud) form(it *fakeItem) simtest.JSON {
	form := simtest.JSON{"drivewsid": it.driveID(), "etag": strconv.Itoa(it.etag), "status": "OK", "item_id": "item-" + it.id}
	if it.trashed {
		form["parentId"] = "TRASH_ROOT"
	} else if parent := c.items[it.parent]; parent != nil {
		form["parentId"] = parent.driveID()
	}
	if it.folder {
		children := 0
		for _, child := range c.items {
			if child.parent == it.id && !child.trashed {
				children++
			}
		}
		form["name"], form["type"], form["directChildrenCount"], form["fileCount"] = it.name, "FOLDER", children, children
		return form
	}
	stem, extension := cutName(it.name)
	form["name"], form["type"], form["size"] = stem, "FILE", len(it.content)
	form["dateModified"] = "2024-03-05T06:07:08Z"
	if extension != "" {
		form["extension"] = extension
	}
	return form
}

// RoundTrip implements http.RoundTripper.
func (c *fakeCloud) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	var sent []byte
	if req.Body != nil {
		sent, _ = io.ReadAll(req.Body)
		_ = req.Body.Close()
	}
	c.requests++
	if c.requests > c.limit {
		panic(fmt.Sprintf("more than %d requests: a loop", c.limit))
	}
	kind := fakeKind(req)
	var response *fakeResponse
	if c.instead != nil {
		response = c.instead(c.requests, kind)
	}
	if response == nil {
		response = c.response(kind, req, sent)
		if c.spoil != nil {
			c.spoil(c.requests, kind, response)
		}
	}
	if response.lost {
		return nil, io.ErrUnexpectedEOF
	}
	if response.hung {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	var body io.Reader = bytes.NewReader(response.body)
	if response.slow != 0 {
		body = &slowReader{req.Context(), body, response.slow}
	}
	if response.broken {
		body = io.MultiReader(bytes.NewReader(response.body[:len(response.body)/2]), brokenReader{})
	}
	resp := &http.Response{
		Status: http.StatusText(response.status), StatusCode: response.status, Header: response.header, Request: req,
		Body: io.NopCloser(body), ContentLength: int64(len(response.body)), ProtoMajor: 1, ProtoMinor: 1,
	}
	return resp, nil
}

// slowReader returns one byte at a time, each after a pause, until the request ends.
type slowReader struct {
	ctx context.Context
	io.Reader
	pause time.Duration
}

func (r *slowReader) Read(p []byte) (int, error) {
	var next <-chan time.Time
	if r.pause > 0 {
		next = time.After(r.pause) // on the clock of synctest
	}
	select {
	case <-next:
		return r.Reader.Read(p[:min(1, len(p))])
	case <-r.ctx.Done():
		return 0, r.ctx.Err()
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func fakeKind(req *http.Request) string {
	if strings.Contains(req.URL.Host, "content") {
		return "content-" + strings.ToLower(req.Method)
	}
	parts := strings.Split(strings.Trim(req.URL.Path, "/"), "/")
	if len(parts) > 2 && parts[0] == "v1" {
		return parts[1]
	}
	return parts[len(parts)-1]
}

func (c *fakeCloud) response(kind string, req *http.Request, sent []byte) *fakeResponse {
	response := &fakeResponse{status: 200, header: http.Header{}}
	say := func(status int, body any) *fakeResponse {
		response.status = status
		response.body, _ = json.Marshal(body)
		return response
	}
	if ofAccount := c.answerAccount(kind, req, sent, response, say); ofAccount != nil {
		return ofAccount
	}
	if strings.HasPrefix(kind, "content-") {
		return c.answerContent(kind, req, sent, response, say)
	}
	if !c.alive || !strings.Contains(req.Header.Get("Cookie"), "WEB=alive") {
		return say(421, simtest.JSON{"reason": "Missing cookie"})
	}
	if c.needsPCS && (!c.pcs || !strings.Contains(req.Header.Get("Cookie"), session.PCSCookie)) {
		return say(423, simtest.JSON{"reason": "Missing PCS cookies"})
	}
	if ofDocs := c.answerDocs(kind, req, sent, say); ofDocs != nil {
		return ofDocs
	}
	return c.answerDrive(kind, sent, say)
}

// roundTripper is a function as an http.RoundTripper.
type roundTripper func(*http.Request) (*http.Response, error)

func (t roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return t(req) }

// cutName cuts a name before its extension.
func cutName(name string) (stem, extension string) {
	if at := strings.LastIndexByte(name, '.'); at > 0 && at < len(name)-1 {
		return name[:at], name[at+1:]
	}
	return name, ""
}
