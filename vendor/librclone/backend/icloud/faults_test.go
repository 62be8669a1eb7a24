package icloud

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/transport"

	"github.com/rclone/rclone/fs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// workday runs every operation on a drive. It returns the first error.
func workday(f *Fs) error {
	content := numbered(3000)
	steps := []struct {
		name string
		run  func() error
	}{
		{"make folders", func() error { return f.Mkdir(background, "a/b") }},
		{"upload", func() error { _, err := tryPut(f, "a/b/new.txt", content); return err }},
		{"upload an empty file", func() error { _, err := tryPut(f, "a/b/empty", ""); return err }},
		{"replace", func() error { _, err := tryPut(f, "folder/file.txt", content); return err }},
		{"list", func() error {
			entries, err := f.List(background, "a/b")
			if err == nil && len(entries) != 2 {
				err = fmt.Errorf("listed %q", names(entries))
			}
			return err
		}},
		{"read", func() error { return holdsContent(f, "folder/file.txt", content) }},
		{"read the empty file", func() error { return holdsContent(f, "a/b/empty", "") }},
		{"read a range", func() error {
			return holdsContent(f, "a/b/new.txt", content[1000:2001], &fs.RangeOption{Start: 1000, End: 2000})
		}},
		{"move", func() error {
			o, err := f.NewObject(background, "a/b/new.txt")
			if err == nil {
				_, err = f.Move(background, o, "folder/moved.txt")
			}
			return err
		}},
		{"move a folder", func() error { return f.DirMove(background, f, "a/b", "folder/b") }},
		{"remove", func() error {
			o, err := f.NewObject(background, "folder/other.txt")
			if err == nil {
				err = o.Remove(background)
			}
			return err
		}},
		{"remove a folder", func() error { return f.Rmdir(background, "a") }},
		{"purge", func() error { return f.Purge(background, "full") }},
	}
	for _, step := range steps {
		if err := step.run(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

func holdsContent(f *Fs, path, want string, options ...fs.OpenOption) error {
	o, err := f.NewObject(background, path)
	if err != nil {
		return err
	}
	got, err := read(o, options...)
	if err == nil && got != want {
		err = fmt.Errorf("%s: %d bytes that are not the content", path, len(got))
	}
	return err
}

// cloudForWorkday returns the drive for a workday.
func cloudForWorkday() *fakeCloud {
	c := newFakeCloud()
	folder := c.add("root", "folder", nil)
	c.add(folder.id, "file.txt", []byte("the old content"))
	c.add(folder.id, "other.txt", []byte("other"))
	c.add(c.add("root", "full", nil).id, "file", []byte("content"))
	c.limit = 5000
	return c
}

// assertWorkday checks the drive after a workday.
func assertWorkday(t *testing.T, c *fakeCloud, err error) {
	t.Helper()
	require.NoError(t, err)
	assert.Equal(t, []string{"folder", "folder/b", "folder/b/empty", "folder/file.txt", "folder/moved.txt"}, c.paths())
	content := numbered(3000)
	assert.Equal(t, content, string(c.at("folder/file.txt").content))
	assert.Equal(t, content, string(c.at("folder/moved.txt").content))
	assert.Empty(t, c.at("folder/b/empty").content)
}

// patientDrive returns a drive with the pauses of a real one. The test runs on the
// clock of synctest.
func patientDrive(next http.RoundTripper) *Fs {
	f := driveBy(&transport.SilenceTransport{Next: next, Silence: defaultSilence}, "")
	f.drive.Service.Retries = transport.Retries{Tries: defaultTries, Base: transport.FirstPause, Longest: defaultLongestWait}
	return f
}

// refusing returns a function for a response with a status.
func refusing(status int, body string, header ...string) func() *fakeResponse {
	return func() *fakeResponse {
		response := &fakeResponse{status: status, header: http.Header{}, body: []byte(body)}
		for i := 0; i < len(header); i += 2 {
			response.header.Set(header[i], header[i+1])
		}
		return response
	}
}

// faultsBefore are the faults of a request that is not processed.
var faultsBefore = map[string]func() *fakeResponse{
	"429": refusing(429, "", "Retry-After", "7"),
	"429 by a date": func() *fakeResponse {
		return refusing(429, "", "Retry-After", time.Now().Add(9*time.Second).UTC().Format(http.TimeFormat))()
	},
	"503":          refusing(503, "busy"),
	"503 for long": refusing(503, "", "Retry-After", "240"),
	"500":          refusing(500, `{"reason":"internal"}`),
	"502":          refusing(502, "<html>bad gateway</html>"),
	"504":          refusing(504, ""),
	"408":          refusing(408, ""),
	"400":          refusing(400, `{"reason":"Bad Request"}`),
	"409":          refusing(409, `{"reason":"Conflict"}`),
	"zone busy":    refusing(409, `{"errorCode":"ZONE_BUSY"}`),
	"401":          refusing(401, ""),
	"421":          refusing(421, ""),
	"423":          refusing(423, ""),
	"450":          refusing(450, ""),
	"no response":  func() *fakeResponse { return &fakeResponse{lost: true} },
	"silence":      func() *fakeResponse { return &fakeResponse{hung: true} },
	"a page":       refusing(200, "<html>Welcome to the hotel's network</html>"),
	"nothing":      refusing(200, ""),
	"no content":   refusing(204, ""),
}

// faultsAfter are the faults of the response to a request that was processed.
var faultsAfter = map[string]func(*fakeResponse){
	"response lost":       func(response *fakeResponse) { response.lost = true },
	"silence":             func(response *fakeResponse) { response.hung = true },
	"response breaks off": func(response *fakeResponse) { response.broken = true },
	"response is cut":     func(response *fakeResponse) { response.body = response.body[:len(response.body)/2] },
	"response is empty":   func(response *fakeResponse) { response.body = nil },
	"response is a page":  func(response *fakeResponse) { response.body = []byte("<html></html>") },
	"response is slow":    func(response *fakeResponse) { response.slow = defaultSilence - time.Second },
	"response stops":      func(response *fakeResponse) { response.slow = -1 },
	"503 all the same":    func(response *fakeResponse) { response.status = 503 },
	"500 all the same":    func(response *fakeResponse) { response.status = 500 },
	"400 all the same":    func(response *fakeResponse) { response.status = 400 },
	"another one's page":  func(response *fakeResponse) { response.body = []byte(`{"items":[],"folders":[],"results":[]}`) },
}

// A workday succeeds, and makes each change once, if any one of its requests fails, or
// two consecutive ones.
func TestEveryRequestMayFail(t *testing.T) {
	c := cloudForWorkday()
	assertWorkday(t, c, workday(c.drive("")))
	requests := c.requests
	run := func(name string, prepare func(c *fakeCloud)) {
		synctest.Test(t, func(t *testing.T) {
			c := cloudForWorkday()
			prepare(c)
			err := workday(patientDrive(c))
			if err != nil {
				t.Errorf("%s: %v", name, err)
				return
			}
			assertWorkday(t, c, err)
		})
	}
	for number := 1; number <= requests; number++ {
		for name, fault := range faultsBefore {
			for _, times := range []int{1, 2} {
				if times == 2 && (fault().status == 401 || fault().status == 421 || fault().status == 423 || fault().status == 450) {
					continue // a session that is refused right after a sign-in needs a person
				}
				run(fmt.Sprintf("request %d: %s, %d times", number, name, times), func(c *fakeCloud) {
					c.instead = func(now int, _ string) *fakeResponse {
						if now >= number && now < number+times {
							return fault()
						}
						return nil
					}
				})
			}
		}
		for name, fault := range faultsAfter {
			run(fmt.Sprintf("request %d: %s", number, name), func(c *fakeCloud) {
				c.spoil = func(now int, _ string, response *fakeResponse) {
					if now == number {
						fault(response)
					}
				}
			})
		}
	}
}

// If a content host reports that the session has ended, the session is renewed once.
func TestSessionEndsInATransfer(t *testing.T) {
	for _, kind := range []string{"content-get", "content-post"} {
		for _, status := range []int{401, 421, 423, 450} {
			c := cloudForWorkday()
			logins := 0
			ended := false
			c.instead = func(_ int, now string) *fakeResponse {
				if now == "accountLogin" {
					logins++
				}
				if now == kind && !ended {
					ended, c.alive = true, false
					return refusing(status, "")()
				}
				return nil
			}
			assertWorkday(t, c, workday(c.drive("")))
			assert.Equal(t, 1, logins, "%s %d", kind, status)
		}
	}
}

// A refusal of a new session is retried once if Apple confirms that the session is
// valid. If it is refused again, a person is needed.
func TestNewSessionIsRefused(t *testing.T) {
	for refusals, works := range map[int]bool{2: true, 3: false} {
		c := cloudForWorkday()
		logins, left := 0, refusals
		c.instead = func(_ int, kind string) *fakeResponse {
			if kind == "accountLogin" {
				logins++
			}
			if kind == "retrieveItemDetailsInFolders" && left > 0 {
				left--
				return refusing(421, "")()
			}
			return nil
		}
		err := workday(c.drive(""))
		assert.Equal(t, 1, logins)
		if works {
			assertWorkday(t, c, err)
			continue
		}
		assert.Equal(t, apierr.KindNeedsLogin, apierr.KindOf(err), "%v", err)
	}

	// A failed confirmation says nothing about the session.
	c, failing := cloudForWorkday(), true
	refused := 0
	c.instead = func(_ int, kind string) *fakeResponse {
		switch {
		case kind == "validate" && failing:
			return refusing(500, "")()
		case kind == "retrieveItemDetailsInFolders" && refused < 2:
			refused++
			return refusing(421, "")()
		}
		return nil
	}
	f := c.drive("")
	_, err := f.List(background, "folder")
	assert.Equal(t, apierr.KindNetwork, apierr.KindOf(err), "%v", err)
	failing = false
	assertWorkday(t, c, workday(f))
}

// A call to a service that stays silent fails with ErrSilent.
func TestSilentServiceIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cloudForWorkday()
		f := patientDrive(c)
		_, err := f.List(background, "folder")
		require.NoError(t, err)
		c.instead = func(int, string) *fakeResponse { return &fakeResponse{hung: true} }
		begun := time.Now()
		_, err = f.List(background, "folder")
		assert.Equal(t, apierr.KindNetwork, apierr.KindOf(err), "%v", err)
		assert.ErrorIs(t, err, transport.ErrSilent)
		assert.Less(t, time.Since(begun), 5*time.Minute)
	})
}

// A read waits less than the option silence for the first responses about an
// address and a content, and more for later ones.
func TestLostResponsesOfARead(t *testing.T) {
	for _, test := range []struct {
		kind string
		hung int
		most time.Duration
	}{
		{"by_id", 2, time.Minute},
		{"content-get", 2, time.Minute},
		{"content-get", 3, 2 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			left := test.hung
			f := patientDrive(newBetween(cloudForWorkday(), func(kind string, _ *http.Request) *fakeResponse {
				if kind != test.kind || left == 0 {
					return nil
				}
				left--
				return &fakeResponse{hung: true}
			}))
			o, err := f.NewObject(background, "folder/file.txt")
			require.NoError(t, err)
			begun := time.Now()
			_, err = read(o)
			require.NoError(t, err)
			assert.Zero(t, left)
			assert.Less(t, time.Since(begun), test.most)
		})
	}
}

// A change waits less than the option silence for the first responses about the
// item.
func TestLostResponsesAboutAnItem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := 2
		f := patientDrive(newBetween(cloudForWorkday(), func(kind string, _ *http.Request) *fakeResponse {
			switch {
			case kind == "moveItemsToTrash":
				return &fakeResponse{lost: true, carriedOut: true}
			case kind == "retrieveItemDetails" && left > 0:
				left--
				return &fakeResponse{hung: true}
			}
			return nil
		}))
		begun := time.Now()
		o, err := f.NewObject(background, "folder/file.txt")
		require.NoError(t, err)
		require.NoError(t, o.Remove(background))
		assert.Zero(t, left)
		assert.Less(t, time.Since(begun), time.Minute)
	})
}

// slowSource is a content whose reads are slow.
type slowSource struct{ *strings.Reader }

func (s slowSource) Read(p []byte) (int, error) {
	time.Sleep(2 * defaultSilence) // on the clock of synctest
	return s.Reader.Read(p[:min(5, len(p))])
}

// The time that the caller takes to provide or to read a content does not count as
// silence of the service.
func TestSilenceOfTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cloudForWorkday()
		f := patientDrive(c)
		_, err := f.Put(background, slowSource{strings.NewReader("content")}, infoOf("slow", "content"))
		require.NoError(t, err)
		o, err := f.NewObject(background, "slow")
		require.NoError(t, err)
		in, err := o.Open(background)
		require.NoError(t, err)
		requests := c.requests
		for _, want := range "content" {
			time.Sleep(2 * defaultSilence) // on the clock of synctest
			var got [1]byte
			_, err := in.Read(got[:])
			require.NoError(t, err)
			assert.Equal(t, byte(want), got[0])
		}
		require.NoError(t, in.Close())
		assert.Equal(t, requests, c.requests)
	})
}
