package icloud

import (
	"fmt"

	"plakar-icloud/librclone/backend/icloud/session"

	"github.com/rclone/rclone/fs"
)

// operation is an operation on a drive. After a success, holds returns what is wrong
// with the result, or "".
type operation struct {
	name  string
	slow  bool
	setup func(c *fakeCloud)
	run   func(f *Fs) (holds func(c *fakeCloud) string, err error)
}

func nothing(*fakeCloud) string { return "" }

// hasFile checks that a file exists and has a content.
func hasFile(path, content string) func(*fakeCloud) string {
	return func(c *fakeCloud) string {
		it := c.at(path)
		if it == nil {
			return fmt.Sprintf("%s is not there; there are %q", path, c.paths())
		}
		if string(it.content) != content {
			return fmt.Sprintf("%s holds %q", path, it.content)
		}
		return ""
	}
}

var fuzzed = []operation{
	{name: "list", run: func(f *Fs) (func(*fakeCloud) string, error) {
		entries, err := f.List(background, "folder")
		return func(c *fakeCloud) string {
			if len(entries) == 0 {
				return "an empty listing"
			}
			return ""
		}, err
	}},
	{name: "list folders", run: func(f *Fs) (func(*fakeCloud) string, error) {
		listed, errs := f.ListFolders(background, []string{"folder", "folder/sub", ""})
		return func(*fakeCloud) string {
			for i := range listed {
				if errs[i] == nil && len(listed[i]) == 0 {
					return "an empty listing"
				}
			}
			return ""
		}, nil
	}},
	{name: "list recursively", run: func(f *Fs) (func(*fakeCloud) string, error) {
		return nothing, f.ListR(background, "", func(fs.DirEntries) error { return nil })
	}},
	{name: "put", run: func(f *Fs) (func(*fakeCloud) string, error) {
		_, err := tryPut(f, "folder/new.txt", "new")
		return hasFile("folder/new.txt", "new"), err
	}},
	{name: "put deep", run: func(f *Fs) (func(*fakeCloud) string, error) {
		_, err := tryPut(f, "a/b/new.txt", "new")
		return hasFile("a/b/new.txt", "new"), err
	}},
	{name: "put empty", run: func(f *Fs) (func(*fakeCloud) string, error) {
		_, err := tryPut(f, "folder/empty.txt", "")
		return hasFile("folder/empty.txt", ""), err
	}},
	{name: "replace", run: func(f *Fs) (func(*fakeCloud) string, error) {
		_, err := tryPut(f, "folder/file.txt", "new content")
		return hasFile("folder/file.txt", "new content"), err
	}},
	{name: "read", run: func(f *Fs) (func(*fakeCloud) string, error) {
		o, err := f.NewObject(background, "folder/file.txt")
		if err != nil {
			return nil, err
		}
		content, err := read(o)
		return readHolds(content, "the content of the file"), err
	}},
	{name: "read a range", run: func(f *Fs) (func(*fakeCloud) string, error) {
		o, err := f.NewObject(background, "folder/file.txt")
		if err != nil {
			return nil, err
		}
		content, err := read(o, &fs.RangeOption{Start: 4, End: 10})
		return readHolds(content, "content"), err
	}},
	{name: "make folder", run: func(f *Fs) (func(*fakeCloud) string, error) {
		err := f.Mkdir(background, "folder/sub/made")
		return func(c *fakeCloud) string {
			if it := c.at("folder/sub/made"); it == nil || !it.folder {
				return "no folder was made"
			}
			return ""
		}, err
	}},
	{name: "remove folder", run: func(f *Fs) (func(*fakeCloud) string, error) {
		return gone("empty"), f.Rmdir(background, "empty")
	}},
	{name: "remove full folder", run: func(f *Fs) (func(*fakeCloud) string, error) {
		return func(*fakeCloud) string { return "a full folder was removed" }, f.Rmdir(background, "folder/sub")
	}},
	{name: "purge", run: func(f *Fs) (func(*fakeCloud) string, error) {
		return gone("folder/sub"), f.Purge(background, "folder/sub")
	}},
	{name: "remove", run: func(f *Fs) (func(*fakeCloud) string, error) {
		o, err := f.NewObject(background, "folder/other.txt")
		if err != nil {
			return nil, err
		}
		return gone("folder/other.txt"), o.Remove(background)
	}},
	{name: "move", run: func(f *Fs) (func(*fakeCloud) string, error) {
		o, err := f.NewObject(background, "folder/other.txt")
		if err != nil {
			return nil, err
		}
		_, err = f.Move(background, o, "folder/sub/moved.txt")
		return hasFile("folder/sub/moved.txt", "other"), err
	}},
	{name: "move folder", run: func(f *Fs) (func(*fakeCloud) string, error) {
		return hasFile("empty/moved/deep.txt", "deep"), f.DirMove(background, f, "folder/sub", "empty/moved")
	}},
	{name: "quota", run: func(f *Fs) (func(*fakeCloud) string, error) {
		_, err := f.About(background)
		return nothing, err
	}},
	{name: "renew the session", setup: func(c *fakeCloud) { c.alive = false }, run: func(f *Fs) (func(*fakeCloud) string, error) {
		_, err := f.List(background, "folder")
		return nothing, err
	}},
	{name: "renew protected data", setup: func(c *fakeCloud) { c.needsPCS, c.pcs = true, false }, run: func(f *Fs) (func(*fakeCloud) string, error) {
		_, err := tryPut(f, "folder/new.txt", "new")
		return hasFile("folder/new.txt", "new"), err
	}},
	{name: "sign in", slow: true, setup: func(c *fakeCloud) { c.alive = false }, run: func(f *Fs) (func(*fakeCloud) string, error) {
		_ = f.drive.Service.Session.Configure(session.File{}, "secret", "")
		_, err := f.List(background, "folder")
		return nothing, err
	}},
}

func gone(path string) func(*fakeCloud) string {
	return func(c *fakeCloud) string {
		if c.at(path) != nil {
			return path + " is still there"
		}
		return ""
	}
}

func readHolds(got, want string) func(*fakeCloud) string {
	return func(*fakeCloud) string {
		if got != want {
			return fmt.Sprintf("read %q", got)
		}
		return ""
	}
}
