package icloud

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/rclone/rclone/backend/iclouddrive"
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config"
	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/rclone/rclone/fs/operations"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"
)

// opener opens a remote like a new process.
type opener func(root string, configuration configmap.Simple) (fs.Fs, error)

// hazard is a case in which rclone's own backend fails. run returns an error if the
// backend fails.
type hazard struct {
	name string
	run  func(sim *simulator, configuration configmap.Simple, open opener) error
}

// must returns the value of a step that has to succeed with any backend.
func must[T any](value T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("a step that should work: %v", err))
	}
	return value
}

var background = context.Background()

var hazards = []hazard{{
	"1 a renewed session is lost when the process ends",
	func(sim *simulator, configuration configmap.Simple, open opener) error {
		kept := configmap.Simple{}
		for key, value := range configuration {
			kept[key] = value
		}
		sim.Control("POST", "session/end", simtest.Status(421), nil)
		for range 2 {
			again := configmap.Simple{} // as an in-memory configuration is at each start
			for key, value := range kept {
				again[key] = value
			}
			f, err := open("", again)
			if err != nil {
				return err
			}
			if _, err := f.List(background, ""); err != nil {
				return err
			}
		}
		if logins := sim.Counts()["account-login"]; logins != 1 {
			return fmt.Errorf("%d sign-ins for one ended session", logins)
		}
		return nil
	},
}, {
	"2 cached endpoints keep a dead session from being renewed at the start",
	func(sim *simulator, configuration configmap.Simple, open opener) error {
		must(0, config.SetCacheDir(sim.T.TempDir()))
		defer func() { _ = config.SetCacheDir(filepath.Join("/dev/null", "cache")) }()
		must(must(open("", configuration)).List(background, ""))
		sim.Control("POST", "session/end", simtest.Status(421), nil)
		f, err := open("", configuration)
		if err != nil {
			return err
		}
		_, err = f.List(background, "")
		return err
	},
}, {
	"3a a session that ends in the middle of a run",
	func(sim *simulator, configuration configmap.Simple, open opener) error {
		f := must(open("", configuration))
		must(f.List(background, ""))
		sim.Control("POST", "session/end", simtest.Status(421), nil)
		_, err := f.List(background, "")
		return err
	},
}, {
	"3b stale cookies for protected data",
	func(sim *simulator, configuration configmap.Simple, open opener) error {
		sim.Rules(simtest.JSON{"account": simtest.JSON{"advanced_data_protection": true}})
		sim.Control("POST", "session/end", simtest.Status(421), nil)
		f := must(open("", configuration))
		must(f.List(background, ""))
		sim.Control("POST", "pcs/end", nil, nil)
		_, err := f.List(background, "")
		return err
	},
}, {
	"4 the end of the trust is an error that a program can recognise",
	func(sim *simulator, configuration configmap.Simple, open opener) error {
		sim.Control("POST", "trust/end", nil, nil)
		sim.Control("POST", "session/end", simtest.Status(421), nil)
		f, err := open("", configuration)
		if err == nil {
			_, err = f.List(background, "")
		}
		var kinded interface{ Kind() string }
		if !errors.As(err, &kinded) || kinded.Kind() != apierr.KindNeedsLogin {
			return fmt.Errorf("not an error of the kind needs-login: %v", err)
		}
		if pushes := sim.Counts()["push-code"]; pushes != 0 {
			return fmt.Errorf("%d codes were pushed to somebody's phone", pushes)
		}
		return nil
	},
}, {
	"5 a password that rclone's config show has hidden",
	func(sim *simulator, configuration configmap.Simple, open opener) error {
		configuration["password"] = "*** ENCRYPTED ***"
		f, err := open("", configuration)
		if err != nil {
			return err
		}
		_, err = f.List(background, "")
		return err
	},
}, {
	"6 a replacement that fails leaves the old file",
	func(sim *simulator, configuration configmap.Simple, open opener) error {
		sim.PutFile("file.txt", "the old content")
		f := must(open("", configuration))
		sim.Fault("content-post", "status", simtest.Status(503), simtest.JSON{"times": nil})
		if _, err := tryPut(f, "file.txt", "the new one"); err == nil {
			return errors.New("an upload that cannot work is a success")
		}
		if _, there := sim.Tree()["file.txt"]; !there {
			return errors.New("the old file is gone")
		}
		return nil
	},
}, {
	"7 one failed transfer",
	func(sim *simulator, configuration configmap.Simple, open opener) error {
		f := must(open("", configuration))
		sim.Fault("content-post", "status", simtest.Status(503))
		if _, err := tryPut(f, "file.txt", "content"); err != nil {
			return err
		}
		if content := sim.File("file.txt"); content != "content" {
			return fmt.Errorf("stored %q", content)
		}
		return nil
	},
}, {
	"8a a temporary failure of by_id",
	func(sim *simulator, configuration configmap.Simple, open opener) error {
		sim.PutFile("file.txt", "content")
		o := must(must(open("", configuration)).NewObject(background, "file.txt"))
		sim.Fault("by-id", "status", simtest.Status(503))
		_, err := read(o)
		return err
	},
}, {
	"8b a response of by_id without a token",
	func(sim *simulator, configuration configmap.Simple, open opener) (err error) {
		defer func() {
			if crash := recover(); crash != nil {
				err = fmt.Errorf("panic: %v", crash)
			}
		}()
		sim.PutFile("file.txt", "content")
		o := must(must(open("", configuration)).NewObject(background, "file.txt"))
		sim.Fault("by-id", "replace", simtest.JSON{"text": `{"document_id":"x"}`, "times": nil})
		if _, err := read(o); err == nil {
			return errors.New("a content without an address")
		}
		return nil
	},
}, {
	"9 a file that was replaced since it was listed",
	func(sim *simulator, configuration configmap.Simple, open opener) error {
		sim.PutFile("file.txt", "content")
		o := must(must(open("", configuration)).NewObject(background, "file.txt"))
		sim.Mutate("file.txt", "write", simtest.JSON{"text": "another content"})
		content, err := read(o)
		if err == nil && int64(len(content)) != o.Size() {
			return fmt.Errorf("%d bytes without an error, %d were listed", len(content), o.Size())
		}
		return nil
	},
}, {
	"10 a name in another Unicode form",
	func(sim *simulator, configuration configmap.Simple, open opener) error {
		f := must(open("", configuration))
		must(tryPut(f, "café.txt", "1"))
		must(tryPut(f, norm.NFD.String("café.txt"), "2"))
		if files := sim.Paths(); len(files) != 1 {
			return fmt.Errorf("one file became %q", files)
		}
		return nil
	},
}, {
	"11a a package is listed with one size and read with another",
	func(sim *simulator, configuration configmap.Simple, open opener) error {
		sim.Control("POST", "package", simtest.JSON{"path": "doc.pages", "entries": simtest.JSON{"a": "b"}, "listed_size": 5}, nil)
		o := must(must(open("", configuration)).NewObject(background, "doc.pages"))
		content, err := read(o)
		if err != nil {
			return err
		}
		if o.Size() >= 0 && o.Size() != int64(len(content)) {
			return fmt.Errorf("%d bytes, and the size is said to be %d", len(content), o.Size())
		}
		return nil
	},
}, {
	"11b a folder below a shared one",
	func(sim *simulator, configuration configmap.Simple, open opener) error {
		sim.PutFile("shared/below/file.txt", "content")
		sim.Control("POST", "share", simtest.JSON{"path": "shared"}, nil)
		entries, err := must(open("", configuration)).List(background, "shared/below")
		if err == nil && len(entries) != 1 {
			return fmt.Errorf("%d entries", len(entries))
		}
		return err
	},
}, {
	"12a a purge deletes file by file",
	func(sim *simulator, configuration configmap.Simple, open opener) error {
		for i := range 5 {
			sim.PutFile(fmt.Sprintf("folder/file%d", i), "content")
		}
		f := must(open("folder", configuration))
		if err := operations.Purge(background, f, ""); err != nil {
			return err
		}
		if trashed := sim.Counts()["trash"]; trashed != 1 {
			return fmt.Errorf("%d deletions", trashed)
		}
		return nil
	},
}, {
	"12b rmdir in an app's library deletes a folder that is not empty",
	func(sim *simulator, configuration configmap.Simple, open opener) error {
		sim.Control("POST", "app-library", simtest.JSON{"name": "Notes", "zone": "iCloud.com.example.notes"}, nil)
		sim.PutFile("Notes/folder/file.txt", "content")
		f := must(open("", configuration))
		if err := f.Rmdir(background, "Notes/folder"); !errors.Is(err, fs.ErrorDirectoryNotEmpty) {
			return fmt.Errorf("rmdir of a folder with a file: %v", err)
		}
		return nil
	},
}}

// TestHazards checks that rclone's backend fails in each case and this one does not.
func TestHazards(t *testing.T) {
	for _, hazard := range hazards {
		t.Run(hazard.name, func(t *testing.T) {
			t.Run("ours", func(t *testing.T) {
				sim := startSimulator(t)
				sim.useForAll()
				file := filepath.Join(t.TempDir(), "session.json")
				err := hazard.run(sim, sim.configured(), func(root string, configuration configmap.Simple) (fs.Fs, error) {
					configuration["session_file"] = file
					return sim.openConfigured(root, configuration)
				})
				assert.NoError(t, err)
			})
			t.Run("rclone's", func(t *testing.T) {
				sim := startSimulator(t)
				sim.useForAll()
				fs.GetConfig(background).LowLevelRetries = 2
				err := hazard.run(sim, sim.configured(), func(root string, configuration configmap.Simple) (fs.Fs, error) {
					return iclouddrive.NewFs(background, strings.ReplaceAll(t.Name(), "/", "-"), root, registered(configuration))
				})
				require.Error(t, err, "rclone's backend no longer fails")
				t.Log(err)
			})
		})
	}
}
