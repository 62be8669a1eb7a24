package icloud

import (
	"archive/zip"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/transport"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/rclone/rclone/fs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// numbered is a content in which every place looks different.
func numbered(size int) string {
	var text strings.Builder
	for i := 0; text.Len() < size; i++ {
		fmt.Fprintf(&text, "%06d ", i)
	}
	return text.String()[:size]
}

// A read survives what can happen to its requests, byte for byte.
func TestDownloadSurvivesFaults(t *testing.T) {
	content := numbered(100_000)
	for _, kind := range []string{"by-id", "content-get"} {
		for _, fault := range append(stepFaults, []struct {
			action string
			more   simtest.JSON
		}{
			{"truncate", simtest.JSON{"bytes": 50_000, "clean": false}},
			{"truncate", simtest.JSON{"bytes": 50_000, "clean": true}},
			{"reset-stream", nil},
		}...) {
			t.Run(fmt.Sprint(kind, " ", fault.action, fault.more), func(t *testing.T) {
				t.Parallel()
				sim := startSimulator(t)
				sim.PutFile("file.txt", content)
				f := sim.openOwn("")
				o, err := f.NewObject(background, "file.txt")
				require.NoError(t, err)
				sim.Fault(kind, fault.action, fault.more, simtest.JSON{"times": 2})
				got, err := read(o)
				require.NoError(t, err)
				assert.True(t, got == content)
				part, err := read(o, &fs.RangeOption{Start: 40_000, End: 79_999})
				require.NoError(t, err)
				assert.True(t, part == content[40_000:80_000])
			})
		}
	}
}

// Connections that keep breaking are taken up where they ended, as long as
// bytes arrive.
func TestDownloadGoesOn(t *testing.T) {
	content := numbered(8_000_000)
	sim := startSimulator(t, "--http1") // with HTTP/2 a reset can overtake the bytes
	sim.PutFile("file.txt", content)
	f := sim.open("")
	o, err := f.NewObject(background, "file.txt")
	require.NoError(t, err)
	sim.Fault("content-get", "truncate", simtest.JSON{"times": 10, "bytes": 600_000, "clean": false})
	got, err := read(o)
	require.NoError(t, err)
	assert.True(t, got == content)
	assert.Equal(t, 11, sim.Counts()["content-get"])
	assert.Equal(t, 1, sim.Counts()["by-id"])
}

// A connection that never brings a byte is an error in the end.
func TestDownloadEnds(t *testing.T) {
	sim := startSimulator(t)
	sim.PutFile("file.txt", "content")
	f := sim.open("")
	o, err := f.NewObject(background, "file.txt")
	require.NoError(t, err)
	sim.Fault("content-get", "truncate", simtest.JSON{"times": nil, "bytes": 0, "clean": false})
	_, err = read(o)
	assert.Equal(t, apierr.KindNetwork, apierr.KindOf(err), "%v", err)
	assert.ErrorContains(t, err, "file.txt")
	assert.LessOrEqual(t, sim.Counts()["content-get"], 2*defaultTries)
}

// More bytes than there should be are an error.
func TestDownloadOfTooMuch(t *testing.T) {
	sim := startSimulator(t)
	sim.PutFile("file.txt", "content")
	f := sim.open("")
	o, err := f.NewObject(background, "file.txt")
	require.NoError(t, err)
	sim.Fault("content-get", "overlong", simtest.JSON{"times": nil, "bytes": 5})
	_, err = read(o)
	assert.Error(t, err)
}

// endless gives contents without their length and with more after their end.
type endless struct{ *fakeCloud }

func (e endless) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := e.fakeCloud.RoundTrip(req)
	if err == nil && fakeKind(req) == "content-get" {
		resp.ContentLength = -1
		resp.Body = io.NopCloser(io.MultiReader(resp.Body, strings.NewReader(" and more")))
	}
	return resp, err
}

func TestDownloadWithoutALength(t *testing.T) {
	c := newFakeCloud()
	c.add("root", "file", []byte("content"))
	f := c.drive("")
	f.drive.Service.HTTP = transport.NewRESTClient(&http.Client{Transport: endless{c}})
	o, err := f.NewObject(background, "file")
	require.NoError(t, err)
	_, err = read(o)
	assert.Equal(t, apierr.KindDamaged, apierr.KindOf(err), "%v", err)
}

// An address that is used up is renewed, also in the middle of a file.
func TestDownloadRenewsTheAddress(t *testing.T) {
	for _, spent := range []int{403, 404, 410} {
		t.Run(fmt.Sprint(spent), func(t *testing.T) {
			content := numbered(100_000)
			sim := startSimulator(t)
			sim.PutFile("file.txt", content)
			sim.DriveRules(simtest.JSON{"spent_url_status": spent, "url_lifetime_seconds": 100})
			f := sim.open("")
			o, err := f.NewObject(background, "file.txt")
			require.NoError(t, err)
			in, err := o.Open(background)
			require.NoError(t, err)
			first := make([]byte, 1000)
			_, err = io.ReadFull(in, first)
			require.NoError(t, err)
			require.NoError(t, in.Close())
			sim.Control("POST", "clock", simtest.JSON{"advance_seconds": 200}, nil)
			sim.ResetCounts()
			rest, err := read(o, &fs.SeekOption{Offset: 1000})
			require.NoError(t, err)
			assert.True(t, string(first)+rest == content)
			assert.Equal(t, 1, sim.Counts()["by-id"])
			assert.Equal(t, 2, sim.Counts()["content-get"])

			sim.Fault("content-get", "truncate", simtest.JSON{"bytes": 30_000, "clean": false})
			sim.Fault("content-get", "status", simtest.Status(spent), simtest.JSON{"skip": 1})
			whole, err := read(o)
			require.NoError(t, err)
			assert.True(t, whole == content)
		})
	}
}

// A file that is replaced in the middle of a read is an error, not a mixture.
func TestDownloadNoticesAReplacement(t *testing.T) {
	content := numbered(100_000)
	c := newFakeCloud()
	stored := c.add("root", "file.txt", []byte(content))
	gets := 0
	c.spoil = func(_ int, kind string, answer *fakeAnswer) {
		if kind != "content-get" {
			return
		}
		switch gets++; gets {
		case 1:
			answer.broken = true
		case 2: // another device has replaced the file
			c.change++
			stored.etag, stored.content = c.change, []byte(strings.ToUpper(strings.ReplaceAll(content, " ", "x")))
			answer.status, answer.body = 410, nil
		}
	}
	o, err := c.drive("").NewObject(background, "file.txt")
	require.NoError(t, err)
	got, err := read(o)
	assert.Equal(t, apierr.KindChanged, apierr.KindOf(err), "%v", err)
	assert.Equal(t, 2, gets)
	assert.True(t, strings.HasPrefix(content, got))
}

// Every range of a file is what it should be, by every way of asking for it.
func TestDownloadRanges(t *testing.T) {
	content := numbered(5000)
	sim := startSimulator(t)
	sim.PutFile("file.txt", content)
	sim.PutFile("empty.txt", "")
	f := sim.open("")
	o, err := f.NewObject(background, "file.txt")
	require.NoError(t, err)
	random := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		start := random.Int64N(5000)
		end := start + random.Int64N(5000-start)
		got, err := read(o, &fs.RangeOption{Start: start, End: end})
		require.NoError(t, err)
		assert.Equal(t, content[start:end+1], got)
	}
	for _, test := range []struct {
		option fs.OpenOption
		want   string
	}{
		{&fs.SeekOption{Offset: 0}, content},
		{&fs.SeekOption{Offset: 4999}, content[4999:]},
		{&fs.SeekOption{Offset: 5000}, ""},
		{&fs.SeekOption{Offset: 9000}, ""},
		{&fs.RangeOption{Start: -1, End: 10}, content[4990:]},
		{&fs.RangeOption{Start: 0, End: 4999}, content},
		{&fs.RangeOption{Start: 10, End: 100_000}, content[10:]},
		{&fs.RangeOption{Start: 4999, End: 5000}, content[4999:]},
	} {
		got, err := read(o, test.option)
		require.NoError(t, err)
		assert.Equal(t, test.want, got, "%v", test.option)
	}
	empty, err := f.NewObject(background, "empty.txt")
	require.NoError(t, err)
	sim.ResetCounts()
	got, err := read(empty, &fs.RangeOption{Start: 0, End: 10})
	require.NoError(t, err)
	assert.Empty(t, got)
	assert.Zero(t, sim.Counts()["total"], "an empty file costs no request")
}

// Packages are archives of another size than listed. What was learnt when one
// was opened is known from then on.
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

// packageCloud holds one package, listed with a size. bodies are the archives that
// its downloads give by turns; cut ones break off there.
func packageCloud(listed int, bodies ...func(*http.Response)) *contentsBy {
	downloads := 0
	c := &contentsBy{fakeCloud: newFakeCloud(), after: func(resp *http.Response) {
		resp.StatusCode, resp.Header = 200, http.Header{}
		bodies[min(downloads, len(bodies)-1)](resp)
		downloads++
	}}
	c.add("root", "doc.pages", []byte("replaced"))
	c.spoil = func(_ int, kind string, answer *fakeAnswer) {
		switch kind {
		case "by_id":
			answer.body = []byte(strings.Replace(string(answer.body), "data_token", "package_token", 1))
		case "retrieveItemDetailsInFolders":
			answer.body = []byte(strings.Replace(string(answer.body), `"size":8`, fmt.Sprintf(`"size":%d`, listed), 1))
		}
	}
	return c
}

// gives answers with a body, which breaks off after so many bytes of it if there
// are more.
func gives(body string, bytes int) func(*http.Response) {
	return func(resp *http.Response) {
		resp.ContentLength, resp.Body = int64(len(body)), io.NopCloser(strings.NewReader(body))
		if bytes < len(body) {
			resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(body[:bytes]), brokenReader{}))
		}
	}
}

// A download of a package that breaks is never continued with another one, whose
// bytes differ: it starts over, or ends as damaged once the caller has some of it.
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

// Only a complete zip file is the content of a package.
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

// A denial of one address, by the host of the addresses or by that of the content,
// does not cost the file.
func TestDownloadIsDeniedForAMoment(t *testing.T) {
	for _, kind := range []string{"by-id", "content-get"} {
		for _, code := range []int{403, 404, 410} {
			t.Run(fmt.Sprint(kind, code), func(t *testing.T) {
				t.Parallel()
				sim := startSimulator(t)
				sim.PutFile("file.txt", "content")
				f := sim.open("")
				o, err := f.NewObject(background, "file.txt")
				require.NoError(t, err)
				sim.Fault(kind, "status", simtest.Status(code), simtest.JSON{"times": 2})
				got, err := read(o)
				require.NoError(t, err)
				assert.Equal(t, "content", got)
				sim.ResetCounts()
				sim.Fault(kind, "status", simtest.Status(code), simtest.JSON{"times": nil})
				sim.Mutate("file.txt", "write", simtest.JSON{"text": "new one"})
				o, err = sim.open("").NewObject(background, "file.txt")
				require.NoError(t, err)
				_, err = read(o)
				assert.Error(t, err)
				assert.LessOrEqual(t, sim.Counts()[kind], 8)
			})
		}
	}
}

// A package whose name does not tell is known as one when it was opened.
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

// What may be a package and is a file is read like one: its listed size counts.
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
	assert.True(t, got == numbered(3000), "after an answer that was cut")
}

// A file that is gone, and a file that grew: both are said.
func TestDownloadOfAChangedFile(t *testing.T) {
	sim := startSimulator(t)
	sim.PutFile("file.txt", "content")
	sim.PutFile("other.txt", "content")
	f := sim.open("")
	gone, err := f.NewObject(background, "file.txt")
	require.NoError(t, err)
	grown, err := f.NewObject(background, "other.txt")
	require.NoError(t, err)
	sim.Mutate("file.txt", "erase", nil)
	sim.Mutate("other.txt", "write", simtest.JSON{"text": "longer content"})
	_, err = read(gone)
	assert.ErrorIs(t, err, fs.ErrorObjectNotFound)
	assert.Equal(t, apierr.KindNotFound, apierr.KindOf(err))
	_, err = read(grown)
	assert.Equal(t, apierr.KindChanged, apierr.KindOf(err), "%v", err)
	_, err = read(grown, &fs.RangeOption{Start: 1, End: 2})
	assert.Equal(t, apierr.KindChanged, apierr.KindOf(err), "%v", err)
	now, err := f.List(background, "")
	require.NoError(t, err)
	content, err := read(now[0].(fs.Object))
	require.NoError(t, err)
	assert.Equal(t, "longer content", content)
}

// A read that is cancelled ends at once and says so.
func TestDownloadIsCancelled(t *testing.T) {
	sim := startSimulator(t)
	sim.PutFile("file.txt", "content")
	f := sim.open("")
	o, err := f.NewObject(background, "file.txt")
	require.NoError(t, err)
	sim.Fault("content-get", "hold", simtest.JSON{"gate": "g", "at": "arrival"})
	ctx, cancel := context.WithCancel(background)
	ended := make(chan error)
	go func() {
		in, err := o.Open(ctx)
		if err == nil {
			_, err = io.ReadAll(in)
		}
		ended <- err
	}()
	sim.Control("POST", "wait", simtest.JSON{"kind": "content-get", "n": 1, "timeout_ms": 5000}, nil)
	cancel()
	assert.ErrorIs(t, <-ended, context.Canceled)
}

// page is what a host on the way may answer instead of a content.
const page = "<html>503 Service Unavailable</html>"

// pageOnce answers the first requests for contents with something else, or all.
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

// A page that does not tell its length is not the start of a content, whether it
// comes first or where a connection broke.
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
		if longPage { // of which something was handed out
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

// A page or a message is not the archive of a package, however it is announced, and
// another answer is asked for.
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
				c.spoil = func(_ int, kind string, answer *fakeAnswer) {
					switch kind {
					case "by_id":
						answer.body = []byte(strings.Replace(string(answer.body), "data_token", "package_token", 1))
					case "retrieveItemDetailsInFolders":
						answer.body = []byte(strings.Replace(string(answer.body), fmt.Sprintf(`"size":%d`, len(archive)), `"size":12345`, 1))
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

// A document that may be a package and comes as a file may have another size than
// is listed, if it keeps to it and is an archive; one answer that was cut is not that.
func TestPackageThatComesAsAFile(t *testing.T) {
	whole := zipped(numbered(3000-132), "")
	require.Len(t, whole, 3000)
	for _, length := range []int{2000, 3000, 4000} {
		c := newFakeCloud()
		it := c.add("root", "doc.pages", []byte(whole))
		c.spoil = func(_ int, kind string, answer *fakeAnswer) {
			if strings.HasPrefix(kind, "retrieveItemDetails") {
				answer.body = []byte(strings.Replace(string(answer.body), `"size":3000`, fmt.Sprintf(`"size":%d`, length), 1))
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
		c.instead = func(_ int, kind string) *fakeAnswer {
			if kind != "content-get" || lied {
				return nil
			}
			lied = true
			return refusing(206, whole[1000:1500], "Content-Range", "bytes 1000-1499/1500")()
		}
		got, err = read(o, &fs.SeekOption{Offset: 1000})
		require.NoError(t, err)
		assert.True(t, got == whole[1000:], "after an answer with another end")
		lied = false
		got, err = read(o, &fs.RangeOption{Start: -1, End: 500})
		require.NoError(t, err)
		assert.True(t, got == whole[2500:], "after an answer with another end")

		cut := false
		c.instead = func(_ int, kind string) *fakeAnswer {
			if kind != "content-get" || cut {
				return nil
			}
			cut = true
			return refusing(200, string(it.content[:50]))()
		}
		got, err = read(o)
		require.NoError(t, err)
		assert.True(t, got == whole, "after an answer that was cut")
	}
}
