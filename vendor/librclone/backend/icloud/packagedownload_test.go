package icloud

import (
	"archive/zip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/rclone/rclone/fs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A package is read as an archive, whose size is not the listed one. After it was opened
// once, it is known to be a package.
func TestPackages(t *testing.T) {
	sim := startSimulator(t)
	sim.Control("POST", "package", simtest.JSON{"path": "doc.pages", "entries": simtest.JSON{"index.xml": numbered(3000)}, "listed_size": 12345}, nil)
	f := sim.open("")
	o, err := f.NewObject(background, "doc.pages")
	require.NoError(t, err)
	whole, err := read(o)
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(whole, "PK"), "an archive")
	assert.Equal(t, int64(-1), o.Size())
	assert.True(t, o.(*Object).IsPackage())

	entries, err := f.List(background, "")
	require.NoError(t, err)
	assert.Equal(t, int64(-1), entries[0].Size())
	listed := entries[0].(fs.Object)
	for _, test := range []struct {
		option fs.OpenOption
		want   string
	}{
		{&fs.RangeOption{Start: 10, End: 19}, whole[10:20]},
		{&fs.SeekOption{Offset: 100}, whole[100:]},
		{&fs.RangeOption{Start: -1, End: 22}, whole[len(whole)-22:]},
	} {
		got, err := read(listed, test.option)
		require.NoError(t, err)
		assert.True(t, got == test.want, "%v", test.option)
	}
}

// zipped returns the archive of a package with one file.
func zipped(content, comment string) string {
	var data strings.Builder
	archive := zip.NewWriter(&data)
	file := must(archive.CreateHeader(&zip.FileHeader{Name: "index.xml"})) // stored, not compressed
	_, _ = io.WriteString(file, content)
	_ = archive.SetComment(comment)
	_ = archive.Close()
	return data.String()
}

// packageCloud returns a cloud with one package, whose listed size is listed. Each
// download is changed by the next function of bodies, and further ones by the last.
func packageCloud(listed int, bodies ...func(*http.Response)) *contentsBy {
	downloads := 0
	c := &contentsBy{fakeCloud: newFakeCloud(), after: func(resp *http.Response) {
		resp.StatusCode, resp.Header = 200, http.Header{}
		bodies[min(downloads, len(bodies)-1)](resp)
		downloads++
	}}
	c.add("root", "doc.pages", []byte("replaced"))
	c.spoil = func(_ int, kind string, response *fakeResponse) {
		switch kind {
		case "by_id":
			response.body = []byte(strings.Replace(string(response.body), "data_token", "package_token", 1))
		case "retrieveItemDetailsInFolders":
			response.body = []byte(strings.Replace(string(response.body), `"size":8`, fmt.Sprintf(`"size":%d`, listed), 1))
		}
	}
	return c
}

// gives returns a function that sets the body of a response, which breaks off after the
// given number of bytes.
func gives(body string, bytes int) func(*http.Response) {
	return func(resp *http.Response) {
		resp.ContentLength, resp.Body = int64(len(body)), io.NopCloser(strings.NewReader(body))
		if bytes < len(body) {
			resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(body[:bytes]), brokenReader{}))
		}
	}
}

// A broken download of a package is never continued with another download, whose bytes
// differ. It is restarted or, if the caller already has bytes of it, it fails.
func TestPackageDownloadStartsOver(t *testing.T) {
	first, second := zipped(numbered(5000), "first"), zipped(numbered(5000), "other")
	c := packageCloud(5000, gives(first, 0), gives(second, len(second)))
	got, err := read(must(driveBy(c, "").NewObject(background, "doc.pages")))
	require.NoError(t, err)
	assert.True(t, got == second)

	c = packageCloud(5000, gives(first, 3000), gives(second, len(second)))
	o := must(driveBy(c, "").NewObject(background, "doc.pages"))
	got, err = read(o)
	assert.Equal(t, apierr.KindDamaged, apierr.KindOf(err), "%v", err)
	assert.True(t, got == first[:3000])
	assert.ErrorContains(t, err, "3000 of "+fmt.Sprint(len(first)))
	got, err = read(o)
	require.NoError(t, err)
	assert.True(t, got == second)
}

// Only a complete zip file is accepted as the content of a package.
func TestPackageIsAnArchive(t *testing.T) {
	whole := zipped(numbered(5000), "")
	large := zipped(strings.Repeat(numbered(100_000), 40), "")
	for name, test := range map[string]struct {
		body string
		good bool
	}{
		"whole":           {whole, true},
		"large":           {large, true},
		"commented":       {zipped("content", strings.Repeat("x", 60_000)), true},
		"cut in the end":  {whole[:len(whole)-30], false},
		"cut in the file": {whole[:1000], false},
		"cut when large":  {large[:3_000_000], false},
		"no archive":      {numbered(3000), false},
		"empty":           {"", false},
	} {
		c := packageCloud(5000, gives(test.body, len(test.body)))
		got, err := read(must(driveBy(c, "").NewObject(background, "doc.pages")))
		if test.good {
			require.NoError(t, err, name)
		} else {
			assert.Equal(t, apierr.KindDamaged, apierr.KindOf(err), "%s: %v", name, err)
		}
		assert.True(t, got == test.body, name)
	}
}

// A package with an unknown extension is known to be one after it was opened.
func TestPackageOfAnUnknownKind(t *testing.T) {
	sim := startSimulator(t)
	sim.Control("POST", "package", simtest.JSON{"path": "doc.unknown", "entries": simtest.JSON{"index.xml": numbered(3000)}, "listed_size": 12345}, nil)
	o, err := sim.open("").NewObject(background, "doc.unknown")
	require.NoError(t, err)
	assert.Equal(t, int64(12345), o.Size())
	whole, err := read(o)
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(whole, "PK"), "an archive")
	assert.Equal(t, int64(-1), o.Size())
}

// A file with the extension of a package is read as a file, and its listed size is
// checked.
func TestFileThatMayBeAPackage(t *testing.T) {
	sim := startSimulator(t)
	sim.PutFile("flat.pages", numbered(3000))
	sim.PutFile("empty.key", "")
	f := sim.open("")
	for name, content := range map[string]string{"flat.pages": numbered(3000), "empty.key": ""} {
		o, err := f.NewObject(background, name)
		require.NoError(t, err)
		assert.Equal(t, int64(-1), o.Size())
		got, err := read(o)
		require.NoError(t, err)
		assert.True(t, got == content, name)
	}
	sim.Fault("content-get", "truncate", simtest.JSON{"bytes": 50, "clean": true})
	o, err := f.NewObject(background, "flat.pages")
	require.NoError(t, err)
	got, err := read(o)
	require.NoError(t, err)
	assert.True(t, got == numbered(3000), "after a response that was cut")
}

// page is a page that a host in between may return instead of a content.
const page = "<html>503 Service Unavailable</html>"

// pageOnce returns a cloud that responds with a body to the first requests for contents,
// or to all if times is negative.
func pageOnce(times int, body, contentType string, length int64) *contentsBy {
	return &contentsBy{fakeCloud: newFakeCloud(), after: func(resp *http.Response) {
		if times == 0 {
			return
		}
		times--
		resp.StatusCode, resp.ContentLength, resp.Header = 200, length, http.Header{}
		if contentType != "" {
			resp.Header.Set("Content-Type", contentType)
		}
		resp.Body = io.NopCloser(strings.NewReader(body))
	}}
}

// A page of unknown length is not taken for the start of a content, nor for the rest
// after a broken connection.
func TestPageWithoutALength(t *testing.T) {
	content := numbered(300_000)
	for _, longPage := range []bool{false, true} {
		body := page
		if longPage {
			body += strings.Repeat(" ", 64<<10)
		}
		c := pageOnce(1, body, "", -1)
		c.add("root", "file", []byte(content))
		c.add("root", "short", []byte("short"))
		f := driveBy(c, "")
		assert.NoError(t, holdsContent(f, "short", "short"))

		c = pageOnce(1, body, "", -1)
		c.add("root", "file", []byte(content))
		o := must(driveBy(c, "").NewObject(background, "file"))
		got, err := read(o)
		if longPage { // its start was already returned to the caller
			assert.Equal(t, apierr.KindDamaged, apierr.KindOf(err), "%v", err)
			assert.ErrorContains(t, err, "300000")
		} else {
			require.NoError(t, err)
			assert.True(t, got == content)
		}
	}

	c := pageOnce(0, "", "", 0)
	c.add("root", "file", []byte(content))
	requests := 0
	c.after = func(resp *http.Response) {
		requests++
		switch requests {
		case 1: // breaks
			resp.Body = io.NopCloser(io.MultiReader(io.LimitReader(resp.Body, 100_000), brokenReader{}))
		case 2:
			resp.StatusCode, resp.ContentLength, resp.Header = 200, -1, http.Header{}
			resp.Body = io.NopCloser(strings.NewReader(strings.Repeat(page, 3000)))
		}
	}
	got, err := read(must(driveBy(c, "").NewObject(background, "file")))
	require.NoError(t, err)
	assert.True(t, got == content)
	assert.Equal(t, 3, requests)
}

// A page or a message is not taken for the archive of a package, whatever its content
// type is, and the download is repeated.
func TestPageInsteadOfAPackage(t *testing.T) {
	for name, test := range map[string]struct {
		body, contentType string
		good              bool
	}{
		"page":            {page, "", false},
		"page with space": {"\r\n <!DOCTYPE html><html>", "application/octet-stream", false},
		"said to be one":  {"Service Unavailable", "text/html; charset=utf-8", false},
		"message":         {`{"error":"x"}`, "", false},
		"said to be JSON": {"null", "application/json", false},
		"XML":             {`<?xml version="1.0"?><Error/>`, "", false},
		"zip":             {zipped("another", ""), "application/zip", true},
	} {
		for _, length := range []int64{-1, int64(len(test.body))} {
			for _, times := range []int{1, -1} {
				c := pageOnce(times, test.body, test.contentType, length)
				archive := zipped("content", "")
				c.add("root", "doc.pages", []byte(archive))
				c.spoil = func(_ int, kind string, response *fakeResponse) {
					switch kind {
					case "by_id":
						response.body = []byte(strings.Replace(string(response.body), "data_token", "package_token", 1))
					case "retrieveItemDetailsInFolders":
						response.body = []byte(strings.Replace(string(response.body), fmt.Sprintf(`"size":%d`, len(archive)), `"size":12345`, 1))
					}
				}
				got, err := read(must(driveBy(c, "").NewObject(background, "doc.pages")))
				switch {
				case test.good:
					require.NoError(t, err, name)
					assert.Equal(t, test.body, got, name)
				case times < 0:
					assert.Equal(t, apierr.KindDamaged, apierr.KindOf(err), "%s: %v", name, err)
				default:
					require.NoError(t, err, name)
					assert.Equal(t, archive, got, name)
				}
			}
		}
	}
}

// A document with the extension of a package that is delivered as a file may have
// another size than listed, if the size stays the same and the content is an archive. A
// single response with another size is not accepted.
func TestPackageThatComesAsAFile(t *testing.T) {
	whole := zipped(numbered(3000-132), "")
	require.Len(t, whole, 3000)
	for _, length := range []int{2000, 3000, 4000} {
		c := newFakeCloud()
		it := c.add("root", "doc.pages", []byte(whole))
		c.spoil = func(_ int, kind string, response *fakeResponse) {
			if strings.HasPrefix(kind, "retrieveItemDetails") {
				response.body = []byte(strings.Replace(string(response.body), `"size":3000`, fmt.Sprintf(`"size":%d`, length), 1))
			}
		}
		o := must(c.drive("").NewObject(background, "doc.pages"))
		got, err := read(o)
		require.NoError(t, err)
		assert.True(t, got == whole)
		got, err = read(o, &fs.RangeOption{Start: 1000, End: 2999})
		require.NoError(t, err)
		assert.True(t, got == whole[1000:])

		lied := false
		c.instead = func(_ int, kind string) *fakeResponse {
			if kind != "content-get" || lied {
				return nil
			}
			lied = true
			return refusing(206, whole[1000:1500], "Content-Range", "bytes 1000-1499/1500")()
		}
		got, err = read(o, &fs.SeekOption{Offset: 1000})
		require.NoError(t, err)
		assert.True(t, got == whole[1000:], "after an response with another end")
		lied = false
		got, err = read(o, &fs.RangeOption{Start: -1, End: 500})
		require.NoError(t, err)
		assert.True(t, got == whole[2500:], "after an response with another end")

		cut := false
		c.instead = func(_ int, kind string) *fakeResponse {
			if kind != "content-get" || cut {
				return nil
			}
			cut = true
			return refusing(200, string(it.content[:50]))()
		}
		got, err = read(o)
		require.NoError(t, err)
		assert.True(t, got == whole, "after an response that was cut")
	}
}
