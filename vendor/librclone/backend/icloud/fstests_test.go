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

// TestIntegrationCopy runs them with copies made by the service.
func TestIntegrationCopy(t *testing.T) {
	integration(t, configmap.Simple{"server_side_copy": "true"})
}

func integration(t *testing.T, options configmap.Simple) {
	sim := startSimulator(t)
	sim.useForAll()
	sim.refuseNames(false) // the suite wants every name back as it was
	// The suite wants to be run from rclone's source, for servers that it can start.
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
		SkipInvalidUTF8: true, // no path of this program has any
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

// skipped are the tests of rclone that do not apply, with the reason.
var skipped = map[string]string{
	"FsMkdir/FsEncoding/invalid_UTF-8":              "no path of this program has any",
	"FsCheckWrap":                                   "wraps no other backend",
	"FsCommand":                                     "has no commands of its own",
	"FsMkdir/FsOpenWriterAt":                        "the service takes a content in one piece, from its start",
	"FsMkdir/FsOpenChunkWriter":                     "the service takes a content in one piece, from its start",
	"FsMkdir/FsChangeNotify":                        "the service tells of no changes",
	"FsMkdir/FsPutFiles/FsCopy":                     "the service's call was broken when rclone's backend was written; TestIntegrationCopy runs it",
	"FsMkdir/FsPutFiles/FsNewObjectCaseInsensitive": "a name of another case is another name until the service says that it is not",
	"FsMkdir/FsPutFiles/FsMove/Metadata":            "the service keeps no metadata for us",
	"FsMkdir/FsPutFiles/ObjectMimeType":             "the service keeps no content type",
	"FsMkdir/FsPutFiles/ObjectMetadata":             "the service keeps no metadata for us",
	"FsMkdir/FsPutFiles/ObjectSetMetadata":          "the service keeps no metadata for us",
	"FsMkdir/FsPutFiles/PublicLink":                 "the service makes links for people it invites, not public ones",
	"FsMkdir/FsPutFiles/SetTier":                    "the service has no tiers",
	"FsMkdir/FsPutFiles/ObjectCheckWrap":            "wraps no other backend",
	"FsMkdir/FsPutFiles/Bucket":                     "the service has no buckets",
	"FsMkdir/FsPutFiles/FsPutStream":                "the service wants to know the size before the content",
	"FsMkdir/FsPutFiles/Internal":                   "the tests of this package are ordinary ones",
	"FsMkdir/FsPutChunked":                          "the service takes a content in one piece",
	"FsMkdir/FsPutRetry/Chunked":                    "the service takes a content in one piece",
	"FsMkdir/FsPutShortEOF/Chunked":                 "the service takes a content in one piece",
	"FsMkdir/FsCopyChunked":                         "the service copies a content in one piece",
	"FsMkdir/FsDirSetModTime":                       "the service sets no time of a folder",
	"FsMkdir/FsMkdirMetadata":                       "the service keeps no metadata for us",
	"FsMkdir/FsDirectory":                           "the service keeps no metadata for us",
	"FsMkdir/FsPutFiles/FsCopy/Metadata":            "the service keeps no metadata for us",
}

// TestIntegrationSkips makes sure that nothing else is skipped, and nothing of
// what is skipped would run.
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
			assert.Contains(t, expected, string(skip[1]), "skipped without a reason that is known")
			delete(expected, string(skip[1]))
		}
		assert.Empty(t, slices.Sorted(maps.Keys(expected)), "%s: these run", test)
	}
}
