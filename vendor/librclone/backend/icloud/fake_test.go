package icloud

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/session"
	"plakar-icloud/librclone/backend/icloud/srp"
	"plakar-icloud/librclone/internal/simtest"

	"golang.org/x/text/unicode/norm"
)

// fakeCloud is a very small iCloud within the process, for tests that need
// millions of answers. It is an http.RoundTripper. Its answers can be spoilt.
type fakeCloud struct {
	items    map[string]*fakeItem // by document id
	uploads  map[string][]byte    // by document id
	made     int
	change   int
	requests int
	alive    bool // the session
	noToken  bool // session tokens bring no session, but for those of a new proof
	pcs      bool // Advanced Data Protection, and its cookies are right
	needsPCS bool
	password string
	srp      *fakeSRP
	proofs   int // of the password that came
	wrong    int // those in a row that were wrong
	logins   int // sessions that were begun
	locks    int // the number of them that locks the account, 0 for none

	// listings are those of the drive before its first change, by the request;
	// clouds that begin alike share them.
	listings *sync.Map
	begun    int // changes before

	// quiet: a change with a stale etag is answered like one that was made.
	quiet bool

	lenient bool // a taken name is given another one although the client asked for a refusal
	most    int  // items that a call may be about; more are refused, 0 is no limit

	// instead gives the answer to a request that is not carried out, or nil.
	instead func(number int, kind string) *fakeAnswer
	// spoil changes the answer to a request that was carried out.
	spoil func(number int, kind string, answer *fakeAnswer)
	limit int // requests after which the client must be in a loop
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

// fakeAnswer is an answer before it is sent.
type fakeAnswer struct {
	status int
	header http.Header
	body   []byte
	broken bool // the connection breaks in the middle of the body
	lost   bool // there is no answer, but the request was carried out
	// carriedOut says for an answer of a between whether the request reached the
	// cloud all the same.
	carriedOut bool
	hung       bool          // there is no answer, and the connection stays
	slow       time.Duration // between two bytes of the body; below 0 none ever comes
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

// free gives a name, or the one that the service gives instead of a taken one.
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

// paths gives what is in the drive.
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
	var answer *fakeAnswer
	if c.instead != nil {
		answer = c.instead(c.requests, kind)
	}
	if answer == nil {
		answer = c.answer(kind, req, sent)
		if c.spoil != nil {
			c.spoil(c.requests, kind, answer)
		}
	}
	if answer.lost {
		return nil, io.ErrUnexpectedEOF
	}
	if answer.hung {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	var body io.Reader = bytes.NewReader(answer.body)
	if answer.slow != 0 {
		body = &slowReader{req.Context(), body, answer.slow}
	}
	if answer.broken {
		body = io.MultiReader(bytes.NewReader(answer.body[:len(answer.body)/2]), brokenReader{})
	}
	resp := &http.Response{
		Status: http.StatusText(answer.status), StatusCode: answer.status, Header: answer.header, Request: req,
		Body: io.NopCloser(body), ContentLength: int64(len(answer.body)), ProtoMajor: 1, ProtoMinor: 1,
	}
	return resp, nil
}

// slowReader gives a byte at a time, each after a pause, while the request lasts.
type slowReader struct {
	ctx context.Context
	io.Reader
	pause time.Duration
}

func (r *slowReader) Read(p []byte) (int, error) {
	var next <-chan time.Time
	if r.pause > 0 {
		next = time.After(r.pause) // of the test's own time
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

func (c *fakeCloud) answer(kind string, req *http.Request, sent []byte) *fakeAnswer {
	answer := &fakeAnswer{status: 200, header: http.Header{}}
	say := func(status int, body any) *fakeAnswer {
		answer.status = status
		answer.body, _ = json.Marshal(body)
		return answer
	}
	if answered := c.answerAccount(kind, req, sent, answer, say); answered != nil {
		return answered
	}
	if strings.HasPrefix(kind, "content-") {
		return c.answerContent(kind, req, sent, answer, say)
	}
	if !c.alive || !strings.Contains(req.Header.Get("Cookie"), "WEB=alive") {
		return say(421, simtest.JSON{"reason": "Missing cookie"})
	}
	if c.needsPCS && (!c.pcs || !strings.Contains(req.Header.Get("Cookie"), session.PCSCookie)) {
		return say(423, simtest.JSON{"reason": "Missing PCS cookies"})
	}
	return c.answerDrive(kind, req, sent, say)
}

func (c *fakeCloud) answerDrive(kind string, req *http.Request, sent []byte, say func(int, any) *fakeAnswer) *fakeAnswer {
	var body struct {
		Destination string `json:"destinationDrivewsId"`
		Folders     []struct{ Name string }
		Items       []struct{ Drivewsid, Etag, Name string }
		Size        string
		DocumentID  string `json:"document_id"`
		Path        struct {
			Path     string
			Starting string `json:"starting_document_id"`
		}
		Data     struct{ Size int64 }
		Conflict bool `json:"allow_conflict"`
	}
	doc := func(driveID string) *fakeItem {
		parts := strings.Split(driveID, "::")
		if it := c.items[parts[len(parts)-1]]; it != nil && !it.trashed {
			return it
		}
		return nil
	}
	if kind != "retrieveItemDetailsInFolders" {
		_ = json.Unmarshal(sent, &body)
	}
	one := func(change func(*fakeItem) simtest.JSON) *fakeAnswer {
		if c.most > 0 && len(body.Items) > c.most {
			return say(400, simtest.JSON{})
		}
		var items []simtest.JSON
		for _, wanted := range body.Items {
			it := doc(wanted.Drivewsid)
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
	case "retrieveItemDetailsInFolders":
		if c.listings != nil && c.change == c.begun {
			if known, ok := c.listings.Load(string(sent)); ok {
				answer := say(200, nil)
				answer.body = known.([]byte)
				return answer
			}
		}
		var asked []struct{ Drivewsid string }
		_ = json.Unmarshal(sent, &asked)
		listings := []simtest.JSON{}
		for _, wanted := range asked {
			folder := doc(wanted.Drivewsid)
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
		answer := say(200, listings)
		if c.listings != nil && c.change == c.begun {
			c.listings.Store(string(sent), answer.body)
		}
		return answer
	case "createFolders":
		parent := doc(body.Destination)
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
		to := doc(body.Destination)
		if to == nil {
			return say(404, simtest.JSON{})
		}
		return one(func(it *fakeItem) simtest.JSON {
			it.name = c.free(to.id, it.name, it.id)
			it.parent = to.id
			return c.form(it)
		})
	case "lookup_by_id":
		it := doc(strings.TrimPrefix(req.URL.Query().Get("document_id"), "item-"))
		if it == nil {
			return say(404, simtest.JSON{})
		}
		return say(200, simtest.JSON{"document_id": it.id, "size": len(it.content), "data": simtest.JSON{"size": len(it.content)}})
	case "by_id":
		it := doc(req.URL.Query().Get("document_id"))
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
	return say(404, simtest.JSON{})
}

func (c *fakeCloud) answerContent(kind string, req *http.Request, sent []byte, answer *fakeAnswer, say func(int, any) *fakeAnswer) *fakeAnswer {
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
	answer.body = it.content
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
		answer.status, answer.body = 206, it.content[start:end]
		answer.header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, end-1, len(it.content)))
	}
	return answer
}

// fakeSRP is the server's side of a sign-in.
type fakeSRP struct {
	salt     []byte
	verifier *big.Int
	secret   *big.Int
	public   *big.Int
	account  string
	client   *big.Int // A
}

// accepts reports whether a proof is right.
func (s *fakeSRP) accepts(m1 []byte) bool {
	scramble := srp.HashNumber(srp.Pad(s.client), srp.Pad(s.public))
	base := new(big.Int).Exp(s.verifier, scramble, srp.Prime)
	base.Mul(base, s.client)
	session := srp.Hash(srp.Pad(base.Exp(base, s.secret, srp.Prime)))
	mixed := srp.Hash(srp.Pad(srp.Generator))
	for i, b := range srp.Hash(srp.Prime.Bytes()) {
		mixed[i] ^= b
	}
	return bytes.Equal(m1, srp.Hash(mixed, srp.Hash([]byte(s.account)), s.salt, srp.Pad(s.client), srp.Pad(s.public), session))
}

func (c *fakeCloud) answerAccount(kind string, req *http.Request, sent []byte, answer *fakeAnswer, say func(int, any) *fakeAnswer) *fakeAnswer {
	account := func() *fakeAnswer {
		service := func(name string) simtest.JSON {
			return simtest.JSON{"url": "https://p1-" + name + ".icloud.com:443", "pcsRequired": c.needsPCS}
		}
		return say(200, simtest.JSON{"dsInfo": simtest.JSON{"hsaVersion": 2}, "hsaChallengeRequired": false,
			"webservices": simtest.JSON{"drivews": service("drivews"), "docws": service("docws")}})
	}
	switch kind {
	case "signin":
		answer.header.Set("scnt", "scnt")
		return answer
	case "federate", "complete":
		return c.answerProof(kind, sent, answer, say)
	case "init":
		c.srp = newFakeSRP(c.password)
		var asked struct {
			A       []byte `json:"a"`
			Account string `json:"accountName"`
		}
		_ = json.Unmarshal(sent, &asked)
		c.srp.account, c.srp.client = asked.Account, new(big.Int).SetBytes(asked.A)
		return say(200, simtest.JSON{"iteration": 2, "salt": base64.StdEncoding.EncodeToString(c.srp.salt),
			"protocol": "s2k", "b": base64.StdEncoding.EncodeToString(srp.Pad(c.srp.public)), "c": "c"})
	case "accountLogin":
		if wanted := `"dsWebAuthToken":"` + c.token() + `"`; !bytes.Contains(sent, []byte(wanted)) {
			return say(421, simtest.JSON{})
		}
		c.alive = true
		c.logins++
		answer.header.Add("Set-Cookie", "WEB=alive")
		return account()
	case "validate":
		if !c.alive {
			return say(421, simtest.JSON{})
		}
		return account()
	case "requestPCS":
		if !c.alive {
			return say(421, simtest.JSON{})
		}
		c.pcs = true
		answer.header.Add("Set-Cookie", session.PCSCookie+"=fresh")
		return say(200, simtest.JSON{"status": "success", "message": "ok"})
	case "storageUsageInfo":
		return say(200, simtest.JSON{"storageUsageInfo": simtest.JSON{"usedStorageInBytes": 10, "totalStorageInBytes": 100}})
	}
	return nil
}

// token is the session token that brings a session.
func (c *fakeCloud) token() string {
	if c.noToken {
		return fmt.Sprint("proof", c.proofs)
	}
	return "proof"
}

func newFakeSRP(password string) *fakeSRP {
	s := &fakeSRP{salt: []byte("salt"), secret: big.NewInt(123456789)}
	key, _ := srp.DeriveKey(password, s.salt, 2, "s2k")
	x := srp.HashNumber(s.salt, srp.Hash([]byte(":"), key))
	s.verifier = new(big.Int).Exp(srp.Generator, x, srp.Prime)
	s.public = new(big.Int).Mul(srp.HashNumber(srp.Prime.Bytes(), srp.Pad(srp.Generator)), s.verifier)
	s.public.Add(s.public, new(big.Int).Exp(srp.Generator, s.secret, srp.Prime))
	s.public.Mod(s.public, srp.Prime)
	return s
}

func (c *fakeCloud) answerProof(kind string, sent []byte, answer *fakeAnswer, say func(int, any) *fakeAnswer) *fakeAnswer {
	if kind == "federate" || c.srp == nil {
		return say(200, simtest.JSON{})
	}
	refuse := func(status int, code string) *fakeAnswer {
		return say(status, simtest.JSON{"serviceErrors": []simtest.JSON{{"code": code, "message": "refused"}}})
	}
	var proof struct {
		M1 []byte `json:"m1"`
	}
	_ = json.Unmarshal(sent, &proof)
	c.proofs++
	if c.locks > 0 && c.wrong >= c.locks {
		return refuse(403, apierr.CodeLocked)
	}
	if !c.srp.accepts(proof.M1) {
		c.wrong++
		return refuse(401, apierr.CodeWrongPassword)
	}
	c.wrong = 0
	answer.header.Set("X-Apple-Session-Token", c.token())
	answer.header.Set("X-Apple-ID-Account-Country", "USA")
	return say(200, simtest.JSON{"authType": "hsa2"})
}

// isAbout reports whether a listing is that of a folder, and of no other.
func isAbout(answer *fakeAnswer, driveID string) bool {
	var folders []struct{ Drivewsid string }
	return json.Unmarshal(answer.body, &folders) == nil && len(folders) == 1 && folders[0].Drivewsid == driveID
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
