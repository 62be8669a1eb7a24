package icloud

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"plakar-icloud/librclone/backend/icloud/apierr"

	"github.com/rclone/rclone/fs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// contentsBy changes the requests to the content host, or its responses.
type contentsBy struct {
	*fakeCloud
	before func(*http.Request)
	after  func(*http.Response)
}

func (b *contentsBy) RoundTrip(req *http.Request) (*http.Response, error) {
	content := fakeKind(req) == "content-get"
	if content && b.before != nil {
		b.before(req)
	}
	resp, err := b.fakeCloud.RoundTrip(req)
	if content && err == nil && b.after != nil {
		b.after(resp)
	}
	return resp, err
}

// Contents are read correctly from hosts that do not support ranges, return shorter
// parts than requested, send no length, compress their responses or require cookies.
func TestOtherFormsOfContents(t *testing.T) {
	for name, form := range map[string]*contentsBy{
		"no ranges":           {before: func(req *http.Request) { req.Header.Del("Range") }},
		"no length":           {after: func(resp *http.Response) { resp.ContentLength = -1 }},
		"no ranges or length": {before: func(req *http.Request) { req.Header.Del("Range") }, after: func(resp *http.Response) { resp.ContentLength = -1 }},
		"packed": {before: func(req *http.Request) { req.Header.Del("Range") }, after: func(resp *http.Response) {
			if resp.StatusCode != 200 {
				return
			}
			var packed bytes.Buffer
			writer := gzip.NewWriter(&packed)
			_, _ = io.Copy(writer, resp.Body)
			_ = writer.Close()
			resp.ContentLength = int64(packed.Len())
			resp.Body = io.NopCloser(&packed)
			resp.Header.Set("Content-Encoding", "gzip")
		}},
		"less than was asked for": {after: func(resp *http.Response) {
			var start, last, total int
			n, _ := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%d", &start, &last, &total)
			if n != 3 || last+1-start < 100 {
				return
			}
			resp.ContentLength = 100
			resp.Body = io.NopCloser(io.LimitReader(resp.Body, 100))
			resp.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, start+99, total))
		}},
		"cookies wanted": {after: func(resp *http.Response) {
			if !strings.Contains(resp.Request.Header.Get("Cookie"), "WEB=alive") {
				resp.StatusCode = 401
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			form.fakeCloud = cloudForWorkday()
			f := driveBy(form, "")
			assertWorkday(t, form.fakeCloud, workday(f))
			form.items["0"] = &fakeItem{id: "0", parent: "root", name: "unsized", content: []byte("0123456789")}
			part, err := read(&unsized{must(f.NewObject(background, "unsized")).(*Object)}, &fs.RangeOption{Start: -1, End: 3})
			if name == "no ranges or length" || name == "packed" {
				assert.Equal(t, apierr.KindDamaged, apierr.KindOf(err), "the end of a content of unknown length")
				return
			}
			require.NoError(t, err)
			assert.Equal(t, "789", part)
		})
	}
}

// unsized is a file without a listed size.
type unsized struct{ *Object }

func (o *unsized) Open(ctx context.Context, options ...fs.OpenOption) (io.ReadCloser, error) {
	it := *o.state.Load()
	it.Size = -1
	o.state.Store(&it)
	return o.Object.Open(ctx, options...)
}

// A different signature of an address does not mean that the content has changed. Only
// the item itself shows that.
func TestSignaturesThatChange(t *testing.T) {
	for name, replaced := range map[string]bool{"the same content": false, "another content": true} {
		t.Run(name, func(t *testing.T) {
			c := cloudForWorkday()
			asked, spent := 0, false
			c.spoil = func(_ int, kind string, response *fakeResponse) {
				if kind == "by_id" {
					asked++
					response.body = bytes.Replace(response.body, []byte(`"signature":"mark`), []byte(`"signature":"x`+strconv.Itoa(asked)), 1)
				}
				if kind == "content-get" && !spent {
					spent, response.broken = true, true
					if replaced {
						it := c.at("folder/file.txt")
						c.change++
						it.etag, it.content = c.change, []byte("A CONTENT LIKE IT")[:len(it.content)]
					}
				} else if kind == "content-get" && asked == 1 {
					response.status, response.body = 410, nil
				}
			}
			o, err := c.drive("").NewObject(background, "folder/file.txt")
			require.NoError(t, err)
			content, err := read(o)
			if replaced {
				assert.Equal(t, apierr.KindChanged, apierr.KindOf(err), "%v", err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, "the old content", content)
			assert.Equal(t, 2, asked)
		})
	}
}

// A file without a listed size or an address is read as empty only if its document
// says that it is empty.
func TestEmptyFileWithoutSizeOrAddress(t *testing.T) {
	c := cloudForWorkday()
	c.add("root", "empty", []byte{})
	c.add("root", "empty.key", []byte{})
	c.add("root", "full.txt", []byte("content"))
	unsized := reshape("retrieveItemDetailsInFolders", without("size"))
	unsized(c)
	c.instead = func(_ int, kind string) *fakeResponse {
		if kind == "by_id" {
			return refusing(400, `{"reason":"Bad Request"}`)()
		}
		return nil
	}
	f := c.drive("")
	assert.NoError(t, holdsContent(f, "empty", ""))
	assert.NoError(t, holdsContent(f, "empty.key", ""))
	assert.Error(t, holdsContent(f, "full.txt", ""))

	reshape("", without("size"))(c)
	assert.Error(t, holdsContent(f, "empty", ""), "the document has no size either")
	c.spoil = nil
	f.DirCacheFlush()
	assert.NoError(t, holdsContent(f, "empty", ""))
	assert.NoError(t, holdsContent(f, "empty.key", ""))
	assert.Error(t, holdsContent(f, "folder/file.txt", "the old content"), "a file with a size is not read as empty")
}

// A file that is listed with 0 bytes may be a package. It is read as empty only if the
// service refuses the first request for its address as wrong.
func TestPackageListedWithoutBytes(t *testing.T) {
	whole := zipped("hello", "")
	for name, test := range map[string]struct {
		byID, content func(request int) int // return the status of the response
		want, kind    string
	}{
		"packaged":            {statuses(200), statuses(200), whole, ""},
		"no address":          {statuses(400), statuses(200), "", ""},
		"address denied once": {statuses(403, 200), statuses(200), whole, ""},
		"address denied":      {statuses(403), statuses(200), "", apierr.KindDenied},
		"address not found":   {statuses(404), statuses(200), "", apierr.KindNotFound},
		"content denied":      {statuses(200), statuses(403), "", apierr.KindDenied},
		"content gone":        {statuses(200), statuses(410), "", apierr.KindDenied},
		"no second address":   {statuses(200, 400), statuses(410), "", apierr.KindUnsupported},
	} {
		c := newFakeCloud()
		c.add("root", "notes.unknown", []byte(whole))
		requests := map[string]int{}
		c.spoil = func(_ int, kind string, response *fakeResponse) {
			requests[kind]++
			switch kind {
			case "by_id":
				response.status = test.byID(requests[kind])
				response.body = []byte(strings.Replace(string(response.body), "data_token", "package_token", 1))
			case "retrieveItemDetailsInFolders", "retrieveItemDetails":
				size := fmt.Sprintf(`"size":%d`, len(whole))
				response.body = []byte(strings.Replace(string(response.body), size, `"size":0`, 1))
			case "content-get":
				response.status = test.content(requests[kind])
			}
		}
		got, err := read(must(driveBy(c, "").NewObject(background, "notes.unknown")))
		assert.Equal(t, test.kind, apierr.KindOf(err), "%s: %v", name, err)
		assert.True(t, got == test.want, name)
	}
}

// statuses returns the status of a response by the number of the request. The last one
// is that of all further responses.
func statuses(list ...int) func(request int) int {
	return func(request int) int { return list[min(request, len(list))-1] }
}
