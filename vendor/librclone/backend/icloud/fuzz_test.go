package icloud

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/drive"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/service"
	"plakar-icloud/librclone/backend/icloud/session"
	"plakar-icloud/librclone/backend/icloud/signin"
	"plakar-icloud/librclone/backend/icloud/transport"
	"plakar-icloud/librclone/internal/simtest"
)

// The fuzz target changes one response of an operation. The operation must neither
// panic, nor repeat requests for ever, nor report a wrong success, nor lose a file.

// inputsVariable is the environment variable for the number of inputs of
// TestSpoiltResponses.
const inputsVariable = "ICLOUD_FUZZ_INPUTS"

const defaultInputs = 30_000

// spoilt is one input.
type spoilt struct {
	operation uint8
	number    uint8 // of the request whose response is changed
	how       uint8
	data      []byte
}

// FuzzResponses changes responses as the fuzzer chooses.
func FuzzResponses(f *testing.F) {
	for operation := range fuzzed {
		for number := range 8 {
			for how := range spoilers {
				f.Add(uint8(operation), uint8(number), uint8(how), []byte("\x00\x00\x00\x01"))
			}
		}
	}
	f.Fuzz(func(t *testing.T, operation, number, how uint8, data []byte) {
		if complaint := try(spoilt{operation, number, how, data}); complaint != "" {
			t.Fatal(complaint)
		}
	})
}

// TestSpoiltResponses runs the fuzz target with random inputs: 30,000, or as many as
// ICLOUD_FUZZ_INPUTS says.
func TestSpoiltResponses(t *testing.T) {
	inputs := defaultInputs
	if wanted, err := strconv.Atoi(os.Getenv(inputsVariable)); err == nil {
		inputs = wanted
	}
	workers := runtime.GOMAXPROCS(0)
	simtest.InParallel(workers, workers, func(worker int) {
		random := rand.New(rand.NewPCG(uint64(inputs), uint64(worker)))
		for range inputs / workers {
			input := spoilt{uint8(random.IntN(len(fuzzed))), uint8(random.IntN(12)), uint8(random.IntN(len(spoilers))), make([]byte, 4+random.IntN(12))}
			if fuzzed[input.operation].slow && random.IntN(20) != 0 {
				input.operation = 0
			}
			for i := range input.data {
				input.data[i] = byte(random.Uint32())
			}
			if complaint := try(input); complaint != "" {
				t.Errorf("%#v: %s", input, complaint)
				return
			}
			if t.Failed() {
				return
			}
		}
	})
}

// TestInputsThatHaveFailed runs the inputs with which fuzzing has found errors.
func TestInputsThatHaveFailed(t *testing.T) {
	for _, input := range []spoilt{
		{operation: 0x6, number: 0x6, how: 0x5, data: []byte{0xa, 0xf6, 0x60, 0x39, 0x47, 0x52, 0xbc, 0x52, 0x6f, 0x6a, 0xc4, 0x94, 0x83, 0xc6, 0xce}},
	} {
		if complaint := try(input); complaint != "" {
			t.Errorf("%#v: %s", input, complaint)
		}
	}
}

// spoilers are functions that change a response.
var spoilers = []func(response *fakeResponse, data []byte){
	func(response *fakeResponse, data []byte) { spoilJSON(response, data) },
	func(response *fakeResponse, data []byte) { spoilJSON(response, data) }, // repeated, because it finds the most
	func(response *fakeResponse, data []byte) { spoilJSON(response, data) },
	func(response *fakeResponse, data []byte) { response.body = data },
	func(response *fakeResponse, data []byte) { // cut
		response.body = response.body[:len(response.body)*int(first(data))/256]
	},
	func(response *fakeResponse, data []byte) { // overwritten somewhere
		body := slices.Clone(response.body)
		if len(body) > 0 && len(data) > 4 {
			copy(body[int(word(data))%len(body):], data[4:])
		}
		response.body = body
	},
	func(response *fakeResponse, data []byte) { response.status = 100 + int(word(data))%500 },
	func(response *fakeResponse, data []byte) {
		statuses := []int{400, 401, 403, 404, 409, 410, 412, 413, 421, 423, 429, 500, 502, 503, 507, 302, 330, 204, 206, 200}
		response.status = statuses[int(first(data))%len(statuses)]
		response.header.Set("Retry-After", string(data[min(1, len(data)):]))
	},
	func(response *fakeResponse, _ []byte) { response.broken = true },
	func(response *fakeResponse, _ []byte) { response.lost = true },
	func(response *fakeResponse, _ []byte) {
		response.body = append(slices.Clone(response.body), response.body...)
	},
	func(response *fakeResponse, data []byte) {
		headers := []string{"Content-Range", "Set-Cookie", "Location", "X-Apple-I-Rscd", "X-Apple-Session-Token", "Scnt"}
		response.header.Set(headers[int(first(data))%len(headers)], string(data[min(1, len(data)):]))
	},
}

func first(data []byte) byte {
	if len(data) == 0 {
		return 0
	}
	return data[0]
}

func word(data []byte) uint32 {
	var padded [4]byte
	copy(padded[:], data)
	return binary.LittleEndian.Uint32(padded[:])
}

// spoilJSON replaces or removes one value in a response.
func spoilJSON(response *fakeResponse, data []byte) {
	var value any
	if json.Unmarshal(response.body, &value) != nil {
		return
	}
	places := 0
	countPlaces(value, &places)
	at := int(word(data)) % max(1, places)
	if len(data) > 4 {
		at = int(word(data[1:])) % max(1, places)
	}
	replacement := replacements[int(first(data))%len(replacements)]
	value = replaceAt(value, &at, replacement)
	response.body, _ = json.Marshal(value)
}

type removed struct{}

var replacements = []any{
	removed{}, nil, "", "x", 0, -1, 1, 3.5, true, false, []any{}, simtest.JSON{}, []any{nil}, []any{simtest.JSON{}},
	1 << 60, strings.Repeat("long", 300), "FOLDER", "FILE", "OK", "ETAG_CONFLICT", "ID_INVALID", "UNKNOWN", "2", "99",
	"FOLDER::com.apple.CloudDocs::root", "FILE::com.apple.CloudDocs::99999999-doc", "99999999-doc", "TRASH_ROOT",
	"https://cvws.icloud-content.com/nowhere", "http://insecure.example.org/", "a\x00b", "..", "a/b", "é", "file.txt",
	"file 2.txt", "other.txt.icloud-new-65535680-00000001",
}

func countPlaces(value any, places *int) {
	*places++
	switch value := value.(type) {
	case simtest.JSON:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			countPlaces(value[key], places)
		}
	case []any:
		for _, member := range value {
			countPlaces(member, places)
		}
	}
}

func replaceAt(value any, at *int, replacement any) any {
	if *at == 0 {
		*at--
		return replacement
	}
	*at--
	switch value := value.(type) {
	case simtest.JSON:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			if *at < 0 {
				break
			}
			value[key] = replaceAt(value[key], at, replacement)
			if _, gone := value[key].(removed); gone {
				delete(value, key)
			}
		}
	case []any:
		for i := range value {
			if *at < 0 {
				break
			}
			value[i] = replaceAt(value[i], at, replacement)
		}
	}
	return value
}

// drive opens the drive of the cloud like a new process.
func (c *fakeCloud) drive(password session.Secret) *Fs { return driveBy(c, password) }

// driveBy opens a drive that sends its requests to next.
func driveBy(next http.RoundTripper, password session.Secret) *Fs {
	return processBy(next, password, simtest.NewSessionFile())
}

// clientOver returns a client that sends its requests through a round tripper,
// without a limit on their rate.
func clientOver(next http.RoundTripper, retries transport.Retries, slots int) *transport.Client {
	return &transport.Client{
		HTTP:    transport.NewRESTClient(&http.Client{Transport: next}),
		Limiter: transport.NewLimiter(0, slots),
		Retries: retries,
	}
}

// processBy opens a drive with a session file that other processes may use. changes
// are applied to its initial session.
func processBy(next http.RoundTripper, password session.Secret, path string, changes ...func(*session.File)) *Fs {
	client := clientOver(next, transport.Retries{Tries: 4, Longest: time.Millisecond}, 8)
	web := session.New("fuzz", path, 250*time.Millisecond, signin.New(client, "fuzz").Renew)
	web.Base = time.Millisecond
	state := session.File{
		AppleID: "user@example.com", ClientID: "client", TrustToken: "trust", SessionToken: "proof",
		Cookies:   []session.Cookie{{Name: "WEB", Value: "alive"}, {Name: session.PCSCookie, Value: "old"}},
		Endpoints: map[string]string{hosts.Drive: "https://p1-drivews.icloud.com", hosts.Docs: "https://p1-docws.icloud.com"},
	}
	for _, change := range changes {
		change(&state)
	}
	_ = web.Configure(state, password, "")
	return &Fs{name: "fuzz", opt: new(Options), drive: drive.New(service.New(client, web), drive.Config{
		Encoding: drive.DefaultEncoding, BatchSize: 20, CacheItems: 1000, ListingAge: time.Minute,
	})}
}

// firstListings has the listings of the drive with which every input begins.
var firstListings sync.Map

// try runs one input and returns what is wrong with the result, or "".
func try(input spoilt) (complaint string) {
	op := fuzzed[int(input.operation)%len(fuzzed)]
	c := newFakeCloud()
	folder := c.add("root", "folder", nil)
	sub := c.add(folder.id, "sub", nil)
	c.add("root", "empty", nil)
	c.add(folder.id, "file.txt", []byte("the content of the file"))
	c.add(folder.id, "other.txt", []byte("other"))
	c.add(sub.id, "deep.txt", []byte("deep"))
	c.listings, c.begun = &firstListings, c.change
	before := c.paths()
	if op.setup != nil {
		op.setup(c)
	}
	spoiltKind, lie := "", false
	c.spoil = func(number int, kind string, response *fakeResponse) {
		if number == int(input.number)+1 {
			spoiltKind = kind
			truth := response.body
			spoilers[int(input.how)%len(spoilers)](response, input.data)
			if strings.HasPrefix(kind, "content-get") && len(response.body) == len(truth) && !bytes.Equal(response.body, truth) {
				response.body = truth // a wrong byte cannot be detected
			}
			lie = kind == "retrieveItemDetailsInFolders" && !isPartOf(response.body, truth)
		}
	}
	defer func() {
		if crash := recover(); crash != nil {
			complaint = fmt.Sprintf("%s, with %s spoilt: panic: %v\n%s", op.name, spoiltKind, crash, debug.Stack())
		}
	}()
	holds, err := op.run(c.drive(""))
	if lie {
		return ""
	}
	if err == nil {
		if wrong := holds(c); wrong != "" {
			return fmt.Sprintf("%s, with %s spoilt, is a success: %s", op.name, spoiltKind, wrong)
		}
	}
	if err != nil && apierr.KindOf(err) == "" {
		return fmt.Sprintf("%s, with %s spoilt: an error without a kind: %v", op.name, spoiltKind, err)
	}
	return c.lost(op.name, spoiltKind, before)
}

// isPartOf reports whether every item of a changed listing is in the original one. If
// it is not, the listing is a valid listing of another drive.
func isPartOf(spoilt, truth []byte) bool {
	said, so := map[string]bool{}, map[string]bool{}
	for body, claims := range map[*[]byte]map[string]bool{&spoilt: said, &truth: so} {
		var listing drive.ListingResponse
		if listing.DecodeFrom(json.NewDecoder(bytes.NewReader(*body))) != nil {
			continue
		}
		for _, folder := range listing.Folders {
			claims[string(folder.DriveID)] = true
			if folder.Items != nil && len(folder.Items) == 0 && folder.Count.Or(0) == 0 {
				claims["empty "+string(folder.DriveID)] = true
			}
			for _, it := range folder.Items {
				claims[fmt.Sprint(folder.DriveID, it.ID, it.Name, it.Folder, it.Size)] = true
			}
		}
	}
	for claim := range said {
		if !so[claim] {
			return false
		}
	}
	return true
}

// lost returns an error if an operation has deleted another item than it was to, or
// left no content under the name of a file.
func (c *fakeCloud) lost(operation, kind string, before []string) string {
	c.spoil = nil
	c.limit = c.requests + 100
	c.alive, c.needsPCS = true, false
	may := map[string][]string{
		"remove folder":      {"empty"},
		"remove full folder": {},
		"purge":              {"folder/sub", "folder/sub/deep.txt"},
		"remove":             {"folder/other.txt"},
		"move":               {"folder/other.txt"},
		"move folder":        {"folder/sub", "folder/sub/deep.txt"},
	}[operation]
	f := c.drive("")
	for _, path := range before {
		if slices.Contains(may, path) {
			continue
		}
		if c.at(path) == nil {
			// After an interrupted replacement, the name shows the new content.
			if o, err := f.NewObject(background, path); err != nil || o.Size() <= 0 {
				return fmt.Sprintf("%s, with %s spoilt: %s is lost; there are %q", operation, kind, path, c.paths())
			}
		}
	}
	return ""
}
