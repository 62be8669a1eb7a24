// Package simtest runs tests against the iCloud simulator of the project, with a process
// for each test.
package simtest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
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
	"github.com/stretchr/testify/require"
)

// simulatorVariable is the environment variable for the path of a built simulator.
const simulatorVariable = "ICLOUD_SIMULATOR"

// home is the folder of the files that tests store, and sessionFiles counts the
// session files in it.
var (
	home         string
	sessionFiles atomic.Int64
)

// NewSessionFile returns the path of a session file that does not exist yet.
func NewSessionFile() string {
	return filepath.Join(home, "sessions", fmt.Sprint(sessionFiles.Add(1), ".json"))
}

// Run runs the tests of a package, with rclone configured as in the plugin,
// and returns the exit status.
func Run(m *testing.M) int {
	folder, err := os.MkdirTemp("", "icloud-backend")
	home = folder
	defer func() { _ = os.RemoveAll(folder) }()
	if err == nil {
		err = config.SetCacheDir(filepath.Join(os.DevNull, "cache")) // rclone may store nothing
	}
	if err == nil {
		err = config.SetConfigPath(filepath.Join(folder, "rclone.conf"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// simulatorBinary returns the path of the simulator, which cargo builds at the
// first call.
var simulatorBinary = sync.OnceValues(buildSimulator)

// Variable returns the environment variable that makes another test process use the same
// simulator.
func Variable() string {
	binary, _ := simulatorBinary() // the other process reports a failure
	return simulatorVariable + "=" + binary
}

func buildSimulator() (string, error) {
	if path := os.Getenv(simulatorVariable); path != "" {
		return path, nil
	}
	build := exec.Command("cargo", "build", "--package", "icloud-simulator", "--message-format=json")
	build.Dir, _ = os.Getwd()
	for build.Dir != "/" && !isCrate(build.Dir) {
		build.Dir = filepath.Dir(build.Dir)
	}
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

// isCrate reports whether a folder is the root of the project.
func isCrate(folder string) bool {
	_, err := os.Stat(filepath.Join(folder, "Cargo.toml"))
	return err == nil
}

// Simulator is a running simulator.
type Simulator struct {
	T   testing.TB
	URL string
	CA  string
}

// Start starts a simulator, which is stopped at the end of the test.
func Start(t testing.TB, arguments ...string) *Simulator {
	t.Helper()
	binary, err := simulatorBinary()
	require.NoError(t, err)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	command := exec.Command(binary, append([]string{"--ca-file", ca, "--stdin-eof"}, arguments...)...)
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
	return &Simulator{T: t, URL: strings.TrimSpace(line), CA: ca}
}

// Control sends a request to the simulator's control interface.
func (s *Simulator) Control(method, path string, body any, answer any) {
	s.T.Helper()
	var content io.Reader
	switch body := body.(type) {
	case nil:
	case []byte:
		content = bytes.NewReader(body)
	default:
		encoded, err := json.Marshal(body)
		require.NoError(s.T, err)
		content = bytes.NewReader(encoded)
	}
	request, err := http.NewRequest(method, s.URL+"/control/"+path, content)
	require.NoError(s.T, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	require.NoError(s.T, err)
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	require.NoError(s.T, err)
	require.Less(s.T, response.StatusCode, 300, "%s %s: %s", method, path, data)
	if raw, ok := answer.(*[]byte); ok {
		*raw = data
	} else if answer != nil {
		require.NoError(s.T, json.Unmarshal(data, answer), "%s", data)
	}
}

// JSON is a JSON object.
type JSON = map[string]any

// Rules changes the rules of the simulated service.
func (s *Simulator) Rules(rules JSON) { s.T.Helper(); s.Control("POST", "rules", rules, nil) }

// DriveRules changes the rules of the simulated Drive.
func (s *Simulator) DriveRules(rules JSON) { s.T.Helper(); s.Rules(JSON{"drive": rules}) }

// Fault makes requests of a kind fail. more sets members of the fault, such as times and
// skip. It returns the id of the fault.
func (s *Simulator) Fault(kind, action string, more ...JSON) int {
	s.T.Helper()
	what := JSON{"do": action}
	rule := JSON{"action": what, "times": 1}
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
	s.Control("POST", "faults", rule, &answer)
	return answer.ID
}

// Status returns the member of a fault that sets the status of the response.
func Status(code int) JSON { return JSON{"status": code} }

// Counts returns the number of requests by kind.
func (s *Simulator) Counts() map[string]int {
	s.T.Helper()
	var answer struct {
		Kinds map[string]struct{ Requests int } `json:"kinds"`
		Total struct{ Requests int }            `json:"total"`
	}
	s.Control("GET", "counts", nil, &answer)
	counts := map[string]int{"total": answer.Total.Requests}
	for kind, count := range answer.Kinds {
		counts[kind] = count.Requests
	}
	return counts
}

// ResetCounts sets the numbers of requests to zero.
func (s *Simulator) ResetCounts() { s.T.Helper(); s.Control("POST", "counts/reset", nil, nil) }

// Session returns the rclone options of a valid session.
func (s *Simulator) Session() configmap.Simple {
	s.T.Helper()
	var minted configmap.Simple
	s.Control("POST", "session/mint", nil, &minted)
	minted["password"] = obscure.MustObscure(minted["password"])
	return minted
}

// PutFile stores a file like another device.
func (s *Simulator) PutFile(path, content string) {
	s.T.Helper()
	s.Control("PUT", "file?modified_ms=1700000000000&path="+url.QueryEscape(path), []byte(content), nil)
}

// File returns the content of a file.
func (s *Simulator) File(path string) string {
	s.T.Helper()
	var content []byte
	s.Control("GET", "file?path="+url.QueryEscape(path), nil, &content)
	return string(content)
}

// Mutate changes an item like another device.
func (s *Simulator) Mutate(path, change string, more JSON) {
	s.T.Helper()
	body := JSON{"path": path, "change": change}
	for key, value := range more {
		body[key] = value
	}
	s.Control("POST", "mutate", body, nil)
}

// TreeItem is an item of the drive.
type TreeItem struct {
	Path       string
	Folder     bool
	Size       int64
	SHA256     string
	ModifiedMS int64 `json:"modified_ms"`
	ETag       string
	DriveID    string `json:"drive_id"`
}

// Tree returns all items of the drive by their paths.
func (s *Simulator) Tree() map[string]TreeItem {
	s.T.Helper()
	var items []TreeItem
	s.Control("GET", "tree", nil, &items)
	tree := map[string]TreeItem{}
	for _, item := range items {
		tree[item.Path] = item
	}
	return tree
}

// Paths returns the sorted paths of all items.
func (s *Simulator) Paths() []string {
	s.T.Helper()
	return slices.Sorted(maps.Keys(s.Tree()))
}

// Context returns a context with a configuration of rclone that uses the simulator.
func (s *Simulator) Context() context.Context {
	ctx, ci := fs.AddConfig(context.Background())
	s.Configure(ci)
	return ctx
}

// Configure makes a configuration of rclone use the simulator.
func (s *Simulator) Configure(ci *fs.ConfigInfo) {
	ci.HTTPProxy = s.URL
	ci.CaCert = []string{s.CA}
	ci.Timeout = fs.Duration(20 * time.Second)
}

// InParallel calls f for 0 to n-1 in concurrent workers.
func InParallel(workers, n int, f func(i int)) {
	var wait sync.WaitGroup
	next := make(chan int)
	for range workers {
		wait.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wait.Wait()
}
