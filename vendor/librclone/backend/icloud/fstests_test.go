package icloud

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"plakar-icloud/librclone/internal/simtest"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config"
	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/rclone/rclone/fstest/fstests"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestIntegration runs rclone's own tests for backends against the simulator.
func TestIntegration(t *testing.T) { integration(t, nil) }

// TestIntegrationCopy runs the same tests with copies made by the service.
func TestIntegrationCopy(t *testing.T) {
	integration(t, configmap.Simple{"server_side_copy": "true"})
}

func integration(t *testing.T, options configmap.Simple) {
	sim := startSimulator(t)
	sim.useForAll()
	sim.refuseNames(false) // the suite requires that every name is accepted
	// The suite has to run in rclone's source, where it looks for servers to start.
	source := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(source, "fstest", "testserver", "init.d"), 0o700))
	t.Chdir(source)
	t.Setenv("RCLONE_CONFIG", config.GetConfigPath())
	const remote = "TestICloud"
	configuration := []fstests.ExtraConfigItem{{Name: remote, Key: "type", Value: "icloud"}}
	for key, value := range sim.configured(options) {
		configuration = append(configuration, fstests.ExtraConfigItem{Name: remote, Key: key, Value: value})
	}
	fstests.Run(t, &fstests.Opt{
		RemoteName:      remote + ":",
		ExtraConfig:     configuration,
		NilObject:       (*Object)(nil),
		QuickTestOK:     true,
		SkipInvalidUTF8: true, // no path of this program has invalid UTF-8
	})
}

// useForAll makes rclone's global configuration lead to the simulator, for code
// that takes no context.
func (s *simulator) useForAll() {
	ci := fs.GetConfig(context.Background())
	before := *ci
	s.Configure(ci)
	forgetAccounts()
	s.T.Cleanup(func() { *ci = before })
}

// skipped has the tests of rclone that do not apply, with the reason.
var skipped = map[string]string{
	"FsMkdir/FsEncoding/invalid_UTF-8":              "no path of this program has invalid UTF-8",
	"FsCheckWrap":                                   "wraps no other backend",
	"FsCommand":                                     "has no commands of its own",
	"FsMkdir/FsOpenWriterAt":                        "the service receives a content as a whole, from its start",
	"FsMkdir/FsOpenChunkWriter":                     "the service receives a content as a whole, from its start",
	"FsMkdir/FsChangeNotify":                        "the service does not report changes",
	"FsMkdir/FsPutFiles/FsCopy":                     "the service's call was broken when rclone's backend was written; TestIntegrationCopy runs it",
	"FsMkdir/FsPutFiles/FsNewObjectCaseInsensitive": "names that differ in case are different until the service refuses one of them",
	"FsMkdir/FsPutFiles/FsMove/Metadata":            "the service stores no metadata for us",
	"FsMkdir/FsPutFiles/ObjectMimeType":             "the service stores no content type",
	"FsMkdir/FsPutFiles/ObjectMetadata":             "the service stores no metadata for us",
	"FsMkdir/FsPutFiles/ObjectSetMetadata":          "the service stores no metadata for us",
	"FsMkdir/FsPutFiles/PublicLink":                 "the service creates links only for invited people",
	"FsMkdir/FsPutFiles/SetTier":                    "the service has no tiers",
	"FsMkdir/FsPutFiles/ObjectCheckWrap":            "wraps no other backend",
	"FsMkdir/FsPutFiles/Bucket":                     "the service has no buckets",
	"FsMkdir/FsPutFiles/FsPutStream":                "the service requires the size before the content",
	"FsMkdir/FsPutFiles/Internal":                   "this package has no internal tests of that kind",
	"FsMkdir/FsPutChunked":                          "the service receives a content as a whole",
	"FsMkdir/FsPutRetry/Chunked":                    "the service receives a content as a whole",
	"FsMkdir/FsPutShortEOF/Chunked":                 "the service receives a content as a whole",
	"FsMkdir/FsCopyChunked":                         "the service copies a content as a whole",
	"FsMkdir/FsDirSetModTime":                       "the service cannot set the time of a folder",
	"FsMkdir/FsMkdirMetadata":                       "the service stores no metadata for us",
	"FsMkdir/FsDirectory":                           "the service stores no metadata for us",
	"FsMkdir/FsPutFiles/FsCopy/Metadata":            "the service stores no metadata for us",
}

// TestIntegrationSkips checks that exactly the tests in skipped are skipped.
func TestIntegrationSkips(t *testing.T) {
	for test, notHere := range map[string]string{
		"TestIntegration":     "FsMkdir/FsPutFiles/FsCopy/Metadata",
		"TestIntegrationCopy": "FsMkdir/FsPutFiles/FsCopy",
	} {
		command := exec.Command(os.Args[0], "-test.run", "^"+test+"$", "-test.v")
		command.Env = append(os.Environ(), simtest.Variable())
		output, err := command.CombinedOutput()
		require.NoError(t, err, "%s", output)
		expected := map[string]string{}
		for name, reason := range skipped {
			if name != notHere {
				expected[name] = reason
			}
		}
		for _, skip := range regexp.MustCompile(`--- SKIP: `+test+`/(\S+)`).FindAllSubmatch(output, -1) {
			assert.Contains(t, expected, string(skip[1]), "skipped without a known reason")
			delete(expected, string(skip[1]))
		}
		assert.Empty(t, slices.Sorted(maps.Keys(expected)), "%s: these run", test)
	}
}
