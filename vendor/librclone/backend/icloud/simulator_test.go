package icloud

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"plakar-icloud/librclone/backend/icloud/service"
	"plakar-icloud/librclone/backend/icloud/session"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/rclone/rclone/fs/object"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	session.FingerprintRounds = 10
	os.Exit(simtest.Run(m))
}

// simulator is a running simulator, on which the tests open remotes.
type simulator struct{ *simtest.Simulator }

func startSimulator(t testing.TB, arguments ...string) *simulator {
	t.Helper()
	return &simulator{simtest.Start(t, arguments...)}
}

var remotesOpened struct {
	sync.Mutex
	count int
}

// open opens a remote with a valid session and without pauses. options are added to the
// configuration.
func (s *simulator) open(root string, options ...configmap.Simple) *Fs {
	s.T.Helper()
	f, err := s.openConfigured(root, s.configured(options...))
	require.NoError(s.T, err)
	return f
}

func (s *simulator) configured(options ...configmap.Simple) configmap.Simple {
	s.T.Helper()
	configuration := s.Session()
	configuration["calls_per_second"] = "0"
	configuration["session_file"] = simtest.NewSessionFile()
	for _, more := range options {
		for key, value := range more {
			configuration[key] = value
		}
	}
	return configuration
}

// openConfigured opens a remote like a new process: it shares nothing with remotes that
// were opened before.
func (s *simulator) openConfigured(root string, configuration configmap.Simple) (*Fs, error) {
	s.T.Helper()
	forgetAccounts()
	return s.openShared(root, configuration)
}

// openShared opens a remote in the same process as the remotes before.
func (s *simulator) openShared(root string, configuration configmap.Simple) (*Fs, error) {
	s.T.Helper()
	remotesOpened.Lock()
	remotesOpened.count++
	name := fmt.Sprintf("test%d", remotesOpened.count)
	remotesOpened.Unlock()
	f, err := NewFs(s.Context(), name, root, registered(configuration))
	if f == nil {
		return nil, err
	}
	own := f.(*Fs)
	own.drive.Service.Retries.Base = time.Millisecond
	own.drive.Service.Session.Base = time.Millisecond
	return own, err
}

// registered returns a configuration with the defaults of the options, as rclone does for
// a section of its configuration file.
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

// forgetAccounts makes the next remotes share nothing with earlier ones.
func forgetAccounts() {
	drives.Lock()
	defer drives.Unlock()
	clear(drives.of)
	drives.accounts = service.NewAccounts()
}

// modified is the time of uploads in tests.
var modified = time.Date(2024, 3, 5, 6, 7, 8, 0, time.UTC)

// put uploads a text from a reader that can seek, like those of the connectors.
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

// read returns the content of an object, or a part of it.
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

// loaded returns the content of a session file.
func loaded(t *testing.T, path string) *session.File {
	t.Helper()
	file, err := session.LoadFile(path)
	require.NoError(t, err)
	return file
}
