package icloud

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/drive"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// devices are two other devices of the account. They change the folders that a restore
// writes into. Each content is written only once.
type devices struct {
	sim         *simulator
	mu          sync.Mutex
	written     map[string]writing // by digest
	trashed     map[string]bool    // digests of the contents that a device moved to the Trash
	overwritten map[string]bool    // digests of the contents that a device overwrote in place
}

// writing is the name of a written content and the time just before it was written.
type writing struct {
	name string
	at   time.Time
}

const modelNames = 6

// try makes a change, which fails if the item is gone, and returns the digest of the
// former content.
func (s *simulator) try(method, path string, body []byte) (was string, done bool) {
	request, err := http.NewRequest(method, s.URL+"/control/"+path, bytes.NewReader(body))
	require.NoError(s.T, err)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	require.NoError(s.T, err)
	defer func() { _ = resp.Body.Close() }()
	var response struct{ Was string }
	_ = json.NewDecoder(resp.Body).Decode(&response)
	return response.Was, resp.StatusCode == http.StatusOK
}

// act makes one random change.
func (d *devices) act(random *rand.Rand, device, step int) {
	name := fmt.Sprintf("folder%d/file%d", random.IntN(2), random.IntN(modelNames))
	content := fmt.Sprintf("device %d, step %d", device, step)
	action := random.IntN(6)
	change := simtest.JSON{"path": name, "change": "rename"}
	switch action {
	case 0:
		change["change"] = "trash"
	case 1:
		change["to"] = fmt.Sprintf("%s of device %d, %d", name, device, step)
	case 2:
		change["to"] = fmt.Sprintf("folder%d/moved %d %d", random.IntN(2), device, step)
	case 3, 4: // one of two times: an edit may change neither size nor time
		change = simtest.JSON{"path": name, "change": "write", "text": content, "modified_ms": 1700000000000 + 1000*random.Int64N(2)}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	begun := time.Now()
	var was string
	var done bool
	if action == 5 {
		was, done = d.sim.try("PUT", "file?modified_ms=1700000000000&path="+url.QueryEscape(name), []byte(content))
	} else {
		body, err := json.Marshal(change)
		require.NoError(d.sim.T, err)
		was, done = d.sim.try("POST", "mutate", body)
	}
	switch {
	case !done:
	case action == 0:
		d.trashed[was] = true
	case action > 2:
		d.overwritten[was] = true
		d.written[digestOf(content)] = writing{name, begun}
	}
}

// clocked is a content that calls read when it is first read.
type clocked struct {
	io.ReadSeeker
	once sync.Once
	read func()
}

func (c *clocked) Read(p []byte) (int, error) {
	c.once.Do(c.read)
	return c.ReadSeeker.Read(p)
}

// While a restore replaces files, two other devices edit, rename, move, trash and create
// files in the same folders, and requests fail. Afterwards, every written content is in
// the drive or in the Trash, unless a device has overwritten it in place. A content that
// a device has written during an upload is not in the Trash, unless a device has moved
// it there or a later upload has replaced it.
func TestRestoresBesideOtherDevices(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if given := os.Getenv("MODEL_SEED"); given != "" {
		var err error
		seed, err = strconv.ParseUint(given, 10, 64)
		require.NoError(t, err)
	}
	for run := range uint64(6) {
		t.Run(fmt.Sprint(run), func(t *testing.T) {
			t.Parallel()
			t.Logf("MODEL_SEED=%d", seed)
			restoreBesideDevices(t, rand.New(rand.NewPCG(seed, run)))
		})
	}
}

func restoreBesideDevices(t *testing.T, random *rand.Rand) {
	sim := startSimulator(t)
	taken := []string{"bounce", "refuse"}[random.IntN(2)]
	sim.DriveRules(simtest.JSON{"taken_name": taken, "rename_checks_etag": random.IntN(2) == 0})
	d := &devices{sim: sim, written: map[string]writing{}, trashed: map[string]bool{}, overwritten: map[string]bool{}}
	for folder := range 2 {
		for file := range modelNames {
			name := fmt.Sprintf("folder%d/file%d", folder, file)
			d.written[digestOf(name)] = writing{name: name}
			sim.PutFile(name, name)
		}
	}
	f := sim.openOwn("")
	for _, kind := range []string{"trash", "rename", "update-documents", "list", "list-details", "upload-web"} {
		for _, action := range []string{"reset-before", "reset-after", "status"} {
			more := simtest.JSON{"times": 3, "probability": 0.05}
			if action == "status" {
				more["status"] = 503
			}
			sim.Fault(kind, action, more)
		}
	}
	over := make(chan struct{})
	var others sync.WaitGroup
	for device := range 2 {
		own := rand.New(rand.NewPCG(random.Uint64(), uint64(device)))
		others.Go(func() {
			for step := 0; ; step++ {
				select {
				case <-over:
					return
				default:
					d.act(own, device, step)
				}
			}
		})
	}
	var mu sync.Mutex
	stored := map[string]string{}  // names by digests
	sent := map[string]time.Time{} // when the last upload to a name was sent
	for round := range 4 {
		simtest.InParallel(6, 2*modelNames, func(i int) {
			name := fmt.Sprintf("folder%d/file%d", i%2, i/2)
			content := fmt.Sprintf("restored: %s, round %d", name, round)
			ctx := background
			if i%3 > 0 {
				ctx = drive.DeferReplacement(background)
			}
			in := &clocked{ReadSeeker: strings.NewReader(content), read: func() {
				mu.Lock()
				defer mu.Unlock()
				sent[name] = time.Now()
			}}
			if _, err := f.Put(ctx, in, infoOf(name, content)); err == nil {
				mu.Lock()
				defer mu.Unlock()
				stored[digestOf(content)] = name
			}
		})
	}
	for _, left := range f.drive.WaitForChanges(background) {
		assert.Contains(t, []string{apierr.KindChanged, apierr.KindExists, apierr.KindNetwork, apierr.KindThrottled, apierr.KindDamaged}, apierr.KindOf(left.Err), "%v", left.Err)
	}
	close(over)
	others.Wait()
	sim.Control("DELETE", "faults", nil, nil)

	kept := map[string]bool{}
	for _, item := range sim.Tree() {
		kept[item.SHA256] = true
	}
	inTrash := sim.trash()
	for digest := range inTrash {
		kept[digest] = true
	}
	for digest, w := range d.written {
		assert.True(t, kept[digest] || d.overwritten[digest], "a content of %s is lost", w.name)
		if _, trashed := inTrash[digest]; trashed && !d.trashed[digest] {
			assert.True(t, w.at.Before(sent[w.name]), "a content that a device wrote to %s was moved to the Trash", w.name)
		}
	}
	for digest, name := range stored {
		assert.True(t, kept[digest] || d.overwritten[digest], "a restored content of %s is lost", name)
	}
	assert.NotEmpty(t, stored)
}
