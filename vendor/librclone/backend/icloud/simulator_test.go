package icloud

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config"
	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/rclone/rclone/fs/config/obscure"
	"github.com/rclone/rclone/fs/object"
	"github.com/stretchr/testify/require"
)

// The tests run against the project's iCloud simulator, one process a test.

// simulatorVariable names a simulator that is built already.
const simulatorVariable = "ICLOUD_SIMULATOR"

var simulatorBinary string

// testHome is a folder for what tests keep, and sessionFiles counts the session
// files in it.
var (
	testHome     string
	sessionFiles atomic.Int64
)

// newSessionFile gives a path for a session file that is not there yet.
func newSessionFile() string {
	return filepath.Join(testHome, "sessions", fmt.Sprint(sessionFiles.Add(1), ".json"))
}

func TestMain(m *testing.M) {
	home, err := os.MkdirTemp("", "icloud-backend")
	testHome = home
	fingerprintRounds = 10
	if err == nil {
		// As in the plugin: rclone may keep nothing anywhere.
		err = config.SetCacheDir(filepath.Join(os.DevNull, "cache"))
	}
	if err == nil {
		err = config.SetConfigPath(filepath.Join(home, "rclone.conf"))
	}
	if err == nil && !inFuzzWorker() {
		simulatorBinary, err = buildSimulator()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	_ = os.RemoveAll(home)
	os.Exit(status)
}

// inFuzzWorker: the workers that "go test -fuzz" starts need no simulator.
func inFuzzWorker() bool {
	for _, argument := range os.Args {
		if strings.HasPrefix(argument, "-test.fuzzworker") {
			return true
		}
	}
	return false
}

func buildSimulator() (string, error) {
	if path := os.Getenv(simulatorVariable); path != "" {
		return path, nil
	}
	build := exec.Command("cargo", "build", "--package", "icloud-simulator", "--message-format=json")
	build.Dir = filepath.Join("..", "..", "..", "..")
	build.Stderr = os.Stderr
	messages, err := build.Output()
	if err != nil {
		return "", fmt.Errorf("the tests need the iCloud simulator, which cargo builds (or %s names a built one): %w", simulatorVariable, err)
	}
	lines := bufio.NewScanner(bytes.NewReader(messages))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var message struct {
			Executable string `json:"executable"`
			Target     struct {
				Name string `json:"name"`
			} `json:"target"`
		}
		if json.Unmarshal(lines.Bytes(), &message) == nil && message.Executable != "" && message.Target.Name == "icloud-simulator" {
			return message.Executable, nil
		}
	}
	return "", fmt.Errorf("cargo built no program icloud-simulator")
}

// simulator is a running simulated iCloud.
type simulator struct {
	t   testing.TB
	url string
	ca  string
}

func startSimulator(t testing.TB, arguments ...string) *simulator {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	command := exec.Command(simulatorBinary, append([]string{"--ca-file", ca, "--stdin-eof"}, arguments...)...)
	input, err := command.StdinPipe()
	require.NoError(t, err)
	output, err := command.StdoutPipe()
	require.NoError(t, err)
	command.Stderr = os.Stderr
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		_ = input.Close()
		_ = command.Wait()
	})
	line, err := bufio.NewReader(output).ReadString('\n')
	require.NoError(t, err, "the simulator did not start")
	return &simulator{t: t, url: strings.TrimSpace(line), ca: ca}
}

// control sends a request to the simulator's control side.
func (s *simulator) control(method, path string, body any, answer any) {
	s.t.Helper()
	var content io.Reader
	switch body := body.(type) {
	case nil:
	case []byte:
		content = bytes.NewReader(body)
	default:
		encoded, err := json.Marshal(body)
		require.NoError(s.t, err)
		content = bytes.NewReader(encoded)
	}
	request, err := http.NewRequest(method, s.url+"/control/"+path, content)
	require.NoError(s.t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	require.NoError(s.t, err)
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	require.NoError(s.t, err)
	require.Less(s.t, response.StatusCode, 300, "%s %s: %s", method, path, data)
	if raw, ok := answer.(*[]byte); ok {
		*raw = data
	} else if answer != nil {
		require.NoError(s.t, json.Unmarshal(data, answer), "%s", data)
	}
}

// object is a JSON object.
type jsonObject = map[string]any

func (s *simulator) rules(rules jsonObject) { s.t.Helper(); s.control("POST", "rules", rules, nil) }

func (s *simulator) driveRules(rules jsonObject) { s.t.Helper(); s.rules(jsonObject{"drive": rules}) }

// fault makes requests of a kind fail; more sets times, skip and so on.
func (s *simulator) fault(kind, action string, more ...jsonObject) int {
	s.t.Helper()
	what := jsonObject{"do": action}
	rule := jsonObject{"action": what, "times": 1}
	if kind != "" {
		rule["kind"] = kind
	}
	for _, extra := range more {
		for key, value := range extra {
			switch key {
			case "times", "skip", "probability", "matching":
				if value == nil {
					delete(rule, key)
				} else {
					rule[key] = value
				}
			default:
				what[key] = value
			}
		}
	}
	var answer struct{ ID int }
	s.control("POST", "faults", rule, &answer)
	return answer.ID
}

func status(code int) jsonObject { return jsonObject{"status": code} }

// counts gives the number of requests by kind.
func (s *simulator) counts() map[string]int {
	s.t.Helper()
	var answer struct {
		Kinds map[string]struct{ Requests int } `json:"kinds"`
		Total struct{ Requests int }            `json:"total"`
	}
	s.control("GET", "counts", nil, &answer)
	counts := map[string]int{"total": answer.Total.Requests}
	for kind, count := range answer.Kinds {
		counts[kind] = count.Requests
	}
	return counts
}

func (s *simulator) resetCounts() { s.t.Helper(); s.control("POST", "counts/reset", nil, nil) }

// session gives the rclone options of a session that is alive.
func (s *simulator) session() configmap.Simple {
	s.t.Helper()
	var minted configmap.Simple
	s.control("POST", "session/mint", nil, &minted)
	minted["password"] = obscure.MustObscure(minted["password"])
	return minted
}

func (s *simulator) putFile(path, content string) {
	s.t.Helper()
	s.control("PUT", "file?modified_ms=1700000000000&path="+url.QueryEscape(path), []byte(content), nil)
}

func (s *simulator) file(path string) string {
	s.t.Helper()
	var content []byte
	s.control("GET", "file?path="+url.QueryEscape(path), nil, &content)
	return string(content)
}

func (s *simulator) mutate(path, change string, more jsonObject) {
	s.t.Helper()
	body := jsonObject{"path": path, "change": change}
	for key, value := range more {
		body[key] = value
	}
	s.control("POST", "mutate", body, nil)
}

type treeItem struct {
	Path       string
	Folder     bool
	Size       int64
	SHA256     string
	ModifiedMS int64 `json:"modified_ms"`
	ETag       string
	DriveID    string `json:"drive_id"`
}

// tree gives everything in the drive by its path.
func (s *simulator) tree() map[string]treeItem {
	s.t.Helper()
	var items []treeItem
	s.control("GET", "tree", nil, &items)
	tree := map[string]treeItem{}
	for _, item := range items {
		tree[item.Path] = item
	}
	return tree
}

func (s *simulator) paths() []string {
	s.t.Helper()
	return sortedKeys(s.tree())
}

// context gives rclone's configuration that leads to the simulator.
func (s *simulator) context() context.Context {
	ctx, ci := fs.AddConfig(context.Background())
	s.configure(ci)
	return ctx
}

func (s *simulator) configure(ci *fs.ConfigInfo) {
	ci.HTTPProxy = s.url
	ci.CaCert = []string{s.ca}
	ci.Timeout = fs.Duration(20 * time.Second)
}

var remotesOpened struct {
	sync.Mutex
	count int
}

// open opens a remote of our own with a live session and no pauses. options
// change the configuration.
func (s *simulator) open(root string, options ...configmap.Simple) *Fs {
	s.t.Helper()
	f, err := s.openConfigured(root, s.configured(options...))
	require.NoError(s.t, err)
	return f
}

func (s *simulator) configured(options ...configmap.Simple) configmap.Simple {
	s.t.Helper()
	configuration := s.session()
	configuration["calls_per_second"] = "0"
	configuration["session_file"] = newSessionFile()
	for _, more := range options {
		for key, value := range more {
			configuration[key] = value
		}
	}
	return configuration
}

// openConfigured opens a remote in a process of its own, as far as the backend
// can tell: nothing is shared with remotes that were opened before.
func (s *simulator) openConfigured(root string, configuration configmap.Simple) (*Fs, error) {
	s.t.Helper()
	forgetAccounts()
	return s.openShared(root, configuration)
}

// openShared opens a remote in the same process as the ones before.
func (s *simulator) openShared(root string, configuration configmap.Simple) (*Fs, error) {
	s.t.Helper()
	remotesOpened.Lock()
	remotesOpened.count++
	name := fmt.Sprintf("test%d", remotesOpened.count)
	remotesOpened.Unlock()
	f, err := NewFs(s.context(), name, root, registered(configuration))
	if f == nil {
		return nil, err
	}
	own := f.(*Fs)
	own.drive.service.retries.base = time.Millisecond
	own.drive.service.session.base = time.Millisecond
	return own, err
}

// registered puts the defaults of the options under a configuration, as rclone
// does for a section of its own file.
func registered(configuration configmap.Simple) configmap.Mapper {
	info, err := fs.Find("icloud")
	if err != nil {
		panic(err)
	}
	m := configmap.New()
	m.AddGetter(configuration, configmap.PriorityNormal)
	m.AddSetter(configuration)
	defaults := configmap.Simple{}
	for _, option := range info.Options {
		defaults[option.Name] = fmt.Sprint(option.Default)
		if option.Default == nil {
			defaults[option.Name] = ""
		}
	}
	m.AddGetter(defaults, configmap.PriorityMax)
	return m
}

func forgetAccounts() {
	drives.Lock()
	defer drives.Unlock()
	limiters.Lock()
	defer limiters.Unlock()
	clear(drives.of)
	clear(limiters.of)
}

// modified is the time of uploads in tests.
var modified = time.Date(2024, 3, 5, 6, 7, 8, 0, time.UTC)

// put uploads a text from a reader that can seek, as the plugin's are.
func put(t testing.TB, f fs.Fs, remote, content string) fs.Object {
	t.Helper()
	o, err := tryPut(f, remote, content)
	require.NoError(t, err)
	return o
}

func tryPut(f fs.Fs, remote, content string) (fs.Object, error) {
	return f.Put(context.Background(), strings.NewReader(content), infoOf(remote, content))
}

func infoOf(remote, content string) fs.ObjectInfo {
	return object.NewStaticObjectInfo(remote, modified, int64(len(content)), true, nil, nil)
}

// read gives the content of an object or a part of it.
func read(o fs.Object, options ...fs.OpenOption) (string, error) {
	in, err := o.Open(context.Background(), options...)
	if err != nil {
		return "", err
	}
	defer func() { _ = in.Close() }()
	content, err := io.ReadAll(in)
	return string(content), err
}

func names(entries fs.DirEntries) []string {
	var remotes []string
	for _, entry := range entries {
		remotes = append(remotes, entry.Remote())
	}
	return remotes
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
