package icloud

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/drive"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// checksumCloud has addresses with the checksums of the contents. It damages the
// contents whose names begin with "bad".
type checksumCloud struct {
	*fakeCloud
	downloads map[string]int // by name
}

func newChecksumCloud() *checksumCloud {
	c := &checksumCloud{fakeCloud: newFakeCloud(), downloads: map[string]int{}}
	c.add("root", "good.txt", []byte("good"))
	c.spoil = c.damage
	return c
}

func (c *checksumCloud) damage(_ int, kind string, response *fakeResponse) {
	switch kind {
	case "by_id":
		var of struct {
			ID string `json:"document_id"`
		}
		_ = json.Unmarshal(response.body, &of)
		it := c.items[of.ID]
		sum := sha1.Sum([]byte("com.apple.XattrObjectSalt\x00com.apple.DataObjectSalt\x00" + string(it.content)))
		mark := base64.StdEncoding.EncodeToString(append([]byte{1}, sum[:]...))
		response.body = []byte(strings.Replace(string(response.body), fmt.Sprint("mark", it.etag), mark, 1))
	case "content-get":
		for _, it := range c.items {
			if string(it.content) == string(response.body) {
				c.downloads[it.name]++
				if strings.HasPrefix(it.name, "bad") {
					response.body = append([]byte{response.body[0] ^ 1}, response.body[1:]...)
				}
			}
		}
	}
}

// process opens the drive and stores facts for later processes beside a session file.
func (c *checksumCloud) process(path string) *Fs {
	f := processBy(c, "", path)
	f.drive = drive.New(f.drive.Service, drive.Config{
		SessionFile: path, Encoding: drive.DefaultEncoding, BatchSize: 20, CacheItems: 1000, ListingAge: time.Minute,
	})
	return f
}

// proven returns a drive after a content was equal to its checksum.
func (c *checksumCloud) proven(t *testing.T, path string) *Fs {
	f := c.process(path)
	require.NoError(t, holdsContent(f, "good.txt", "good"))
	return f
}

// A content that differs from its checksum is damaged only if a second download
// differs from the first. A failure of the second download is returned unchanged.
func TestSecondDownloadFails(t *testing.T) {
	for name, status := range map[string]int{"denied": 403, "fails": 500, "cancelled": 0, "differs": 200} {
		c := newChecksumCloud()
		c.add("root", "bad.txt", []byte("content"))
		f := c.proven(t, simtest.NewSessionFile())
		ctx, cancel := context.WithCancel(background)
		defer cancel()
		downloads := 0
		c.spoil = func(number int, kind string, response *fakeResponse) {
			if kind != "content-get" {
				c.damage(number, kind, response)
				return
			}
			switch downloads++; {
			case downloads == 1:
				c.damage(number, kind, response)
			case status == 0:
				cancel()
			default:
				response.status = status
			}
		}
		in, err := must(f.NewObject(ctx, "bad.txt")).Open(ctx)
		require.NoError(t, err)
		_, err = io.ReadAll(in)
		_ = in.Close()
		switch name {
		case "denied":
			assert.Equal(t, apierr.KindDenied, apierr.KindOf(err), "%v", err)
		case "fails":
			assert.Equal(t, apierr.KindNetwork, apierr.KindOf(err), "%v", err)
		case "cancelled":
			assert.ErrorIs(t, err, context.Canceled)
		case "differs":
			assert.Equal(t, apierr.KindDamaged, apierr.KindOf(err), "%v", err)
		}
	}
}

// After 20 consecutive contents that always differ from their checksums, later
// processes do not compare them either, until a content is equal to its own.
func TestChecksumsHaveToBeProvenAgain(t *testing.T) {
	c := newChecksumCloud()
	const count = 30
	for n := range count {
		c.add("root", fmt.Sprintf("bad %02d", n), []byte(fmt.Sprint("content ", n)))
	}
	path := simtest.NewSessionFile()
	readAll := func(f *Fs, from, to int) (repeated int) {
		clear(c.downloads)
		for n := from; n < to; n++ {
			_, err := read(must(f.NewObject(background, fmt.Sprintf("bad %02d", n))))
			require.NoError(t, err)
		}
		for _, times := range c.downloads {
			repeated += times - 1
		}
		return repeated
	}
	f := c.proven(t, path)
	assert.Equal(t, 19, readAll(f, 0, 19))
	require.NoError(t, holdsContent(f, "good.txt", "good"))
	assert.Equal(t, 20, readAll(f, 0, count), "a content that is equal begins the count again")
	assert.Equal(t, 0, readAll(f, 0, count))
	next := c.process(path)
	assert.Equal(t, 0, readAll(next, 0, count))
	require.NoError(t, holdsContent(next, "good.txt", "good"))
	assert.Equal(t, 5, readAll(next, 0, 5))
	assert.Equal(t, 5, readAll(c.process(path), 0, 5))
}

// A content of more than 64 MiB is not downloaded a second time.
func TestLargeContentIsDownloadedOnce(t *testing.T) {
	c := newChecksumCloud()
	c.add("root", "bad", make([]byte, 64<<20+1))
	got, err := read(must(c.proven(t, simtest.NewSessionFile()).NewObject(background, "bad")))
	require.NoError(t, err)
	assert.Len(t, got, 64<<20+1)
	assert.Equal(t, 1, c.downloads["bad"])
}
