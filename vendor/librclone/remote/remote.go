// Package remote provides the functions that rclone's own remote control lacks:
// remotes that stay open and whose listed objects stay usable, content that is read
// and written without JSON, failures that report their kind, and calls that can be
// cancelled.
//
// Most functions are methods ("remote/open", "remote/list", ...) with JSON. A call of
// a method succeeds even if the operation fails: the result then has only the member
// "failure". So a failure never echoes its input, which may contain passwords. The
// failures of rclone's own methods do.
package remote

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"plakar-icloud/librclone/backend/icloudphotos"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config"
	"github.com/rclone/rclone/fs/config/obscure"
	"github.com/rclone/rclone/fs/rc"
	"golang.org/x/sync/semaphore"
)

var remotes = newHandles[fs.Fs]("remote")

// openRequest is the input of remote/open.
type openRequest struct {
	Name     string                       `json:"name"`     // of the section to open
	Path     string                       `json:"path"`     // in the remote
	Sections map[string]map[string]string `json:"sections"` // as in a configuration file of rclone
	Others   []string                     `json:"others"`   // further options that the caller knows, for messages
	Scope    uint64                       `json:"scope"`
	// Leftovers is the start of the paths of the lists of temporary names, for the
	// same account or server, or "" for no lists.
	Leftovers string `json:"leftovers"`
}

type openResult struct {
	Remote          uint64 `json:"remote"`
	SetsFolderTimes bool   `json:"sets_folder_times"`
	MergesNames     bool   `json:"merges_names"` // names that differ in their Unicode form or in case may be equal
	FoldsCase       bool   `json:"folds_case"`   // names that differ in case are equal
	PrecisionNS     int64  `json:"precision_ns"` // of modification times; fs.ModTimeNotSupported if they are not stored
	// CreatesExclusively is set if only one of several concurrent uploads with
	// the same name and the member "new" succeeds.
	CreatesExclusively bool `json:"creates_exclusively"`
	KeepsEmptyFolders  bool `json:"keeps_empty_folders"`
	TrashesReplaced    bool `json:"trashes_replaced"` // the old version of a replaced file is moved to the Trash
}

// opening serialises writing the sections and opening the remote. It is not a
// mutex, because a backend may use the network meanwhile, and callers that wait must
// be cancellable.
var opening = semaphore.NewWeighted(1)

// open opens a remote.
func open(ctx context.Context, in openRequest) (*openResult, error) {
	if err := opening.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer opening.Release(1)
	for _, section := range slices.Sorted(maps.Keys(in.Sections)) {
		if err := in.set(section); err != nil {
			return nil, err
		}
	}
	f, err := fs.NewFs(ctx, in.Name+":"+in.Path)
	if err != nil && !errors.Is(err, fs.ErrorIsFile) {
		return nil, err
	}
	creator, ok := f.(interface{ CreatesExclusively() bool })
	trasher, trashes := f.(interface{ TrashesReplaced() bool })
	remote := remotes.add(f)
	lists.add(remote, in.Leftovers)
	return &openResult{
		Remote:             remote,
		SetsFolderTimes:    f.Features().DirSetModTime != nil,
		MergesNames:        mergesNames(f),
		CreatesExclusively: ok && creator.CreatesExclusively(),
		KeepsEmptyFolders:  f.Features().CanHaveEmptyDirectories,
		TrashesReplaced:    trashes && trasher.TrashesReplaced(),
		FoldsCase:          f.Features().CaseInsensitive,
		PrecisionNS:        int64(f.Precision()),
	}, nil
}

// mergesNames reports whether a file may replace a file with another name. A backend
// that distinguishes case may still not distinguish Unicode forms.
func mergesNames(f fs.Fs) bool {
	merger, ok := f.(interface{ MergesNames() bool })
	return f.Features().CaseInsensitive || ok && merger.MergesNames()
}

// check checks the sections without opening a remote. It does not use the network.
func check(_ context.Context, in openRequest) (*struct{}, error) {
	for _, section := range slices.Sorted(maps.Keys(in.Sections)) {
		if _, err := in.backend(section); err != nil {
			return nil, err
		}
	}
	return &struct{}{}, nil
}

// backend returns the backend of a section. It fails if the backend does not have all
// options of the section.
func (in openRequest) backend(section string) (*fs.RegInfo, error) {
	prefix := ""
	if section != in.Name {
		prefix = "remote." + section + "."
	}
	values := in.Sections[section]
	backend, err := fs.Find(values["type"])
	if err != nil {
		return nil, failf(kindBadConfig, "option %stype=%s is not a backend of this build; it has: %s", prefix, values["type"], backendNames())
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if key != "type" && key != "description" && backend.Options.Get(key) == nil {
			others := ""
			if prefix == "" && len(in.Others) > 0 {
				others = "; further options are: " + strings.Join(in.Others, ", ")
			}
			return nil, failf(kindBadConfig, "unknown option %s%s; the backend %s has: %s%s", prefix, key, backend.Name, optionNames(backend), others)
		}
	}
	return backend, nil
}

// set writes a section into rclone's configuration, which exists only in memory.
// Passwords that are not obscured are obscured.
func (in openRequest) set(section string) error {
	backend, err := in.backend(section)
	if err != nil {
		return err
	}
	for key, value := range in.Sections[section] {
		if option := backend.Options.Get(key); option != nil && option.IsPassword && value != "" {
			if !isObscured(value) {
				value = obscure.MustObscure(value)
			}
		}
		config.FileSetValue(section, key, value)
	}
	return nil
}

// isObscured reports whether a password is the output of "rclone obscure": it can be
// revealed, and the result is a text. The first condition alone, which is rclone's
// own rule, also holds for three in four plain passwords of 22 letters or more, which
// reveal random bytes.
func isObscured(password string) bool {
	revealed, err := obscure.Reveal(password)
	return err == nil && utf8.ValidString(revealed) && !strings.ContainsFunc(revealed, unicode.IsControl)
}

func backendNames() string {
	var names []string
	for _, backend := range fs.Registry {
		if !backend.Hide {
			names = append(names, backend.Name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func optionNames(backend *fs.RegInfo) string {
	var names []string
	for _, option := range backend.Options {
		names = append(names, option.Name)
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

type packageNameResult struct {
	Package bool `json:"package"`
}

// packageName reports whether the service stores a folder of a name as a
// package.
func packageName(_ context.Context, in struct {
	Remote uint64 `json:"remote"`
	Name   string `json:"name"`
}) (*packageNameResult, error) {
	f, err := remotes.get(in.Remote)
	if err != nil {
		return nil, err
	}
	namer, ok := f.(interface{ IsPackageName(string) bool })
	return &packageNameResult{Package: ok && namer.IsPackageName(in.Name)}, nil
}

type roomResult struct {
	Free *int64 `json:"free"` // in bytes; nil if it is unknown
}

// room returns the free room of the storage.
func room(ctx context.Context, in struct {
	Remote uint64 `json:"remote"`
}) (*roomResult, error) {
	f, err := remotes.get(in.Remote)
	if err != nil {
		return nil, err
	}
	about := f.Features().About
	if about == nil {
		return &roomResult{}, nil
	}
	usage, err := about(ctx)
	if err != nil {
		return nil, err
	}
	// WebDAV servers report an unknown or unlimited room as a negative number
	// (RFC 4331 and Nextcloud).
	if usage.Free == nil || *usage.Free < 0 {
		return &roomResult{}, nil
	}
	return &roomResult{Free: usage.Free}, nil
}

// summaryResult is the result of summary.
type summaryResult struct {
	Collections []icloudphotos.Collection `json:"collections"`
}

// summary returns the photo libraries and shared albums of a remote, none for a
// remote of another backend.
func summary(ctx context.Context, in struct {
	Remote uint64 `json:"remote"`
}) (*summaryResult, error) {
	f, err := remotes.get(in.Remote)
	if err != nil {
		return nil, err
	}
	out := &summaryResult{Collections: []icloudphotos.Collection{}}
	if photos, ok := f.(*icloudphotos.Fs); ok {
		if out.Collections, err = photos.Summary(ctx); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// closeRemote closes a remote, so that its backend stores its unsaved state.
func closeRemote(ctx context.Context, in struct {
	Remote uint64 `json:"remote"`
}) (*struct{}, error) {
	defer lists.close(in.Remote)
	if f, ok := remotes.take(in.Remote); ok {
		if shutdown := f.Features().Shutdown; shutdown != nil {
			return &struct{}{}, shutdown(ctx)
		}
	}
	return &struct{}{}, nil
}

func init() {
	// rclone stores the results of its own methods for requests of the status of
	// a job. There are no such requests here, and some results contain passwords.
	rc.Opt.JobExpireDuration = 0
	rc.Opt.JobExpireInterval = fs.Duration(time.Second)
	Method("remote/check", check)
	Method("remote/open", open)
	Method("remote/close", closeRemote)
	Method("remote/room", room)
	Method("remote/package-name", packageName)
	Method("remote/summary", summary)
	Method("remote/list", list)
	Method("remote/stat", stat)
	Method("remote/mkdir", mkdir)
	Method("remote/delete", remove)
	Method("remote/finish", waitForChanges)
	Method("object/complete", complete)
	Method("remote/folder-time", folderTime)
	Method("object/open", openObject)
	Method("object/expect", expectObjects)
	Method("object/look", lookAt)
	Method("object/save", saveObjects)
	Method("remote/saved", savedObjects)
}
