package icloud

import (
	"archive/zip"
	"bytes"
	"strings"
	"testing"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/drive"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An upload can replace a file with the extension of a package, but not a package.
func TestUploadsAndPackages(t *testing.T) {
	for token, replaced := range map[string]bool{"data_token": true, "package_token": false} {
		c := newFakeCloud()
		old := c.add("root", "song.band", []byte("of a Mac"))
		c.spoil = func(_ int, kind string, response *fakeResponse) {
			if kind == "by_id" {
				response.body = []byte(strings.Replace(string(response.body), "data_token", token, 1))
			}
		}
		_, err := tryPut(driveBy(c, ""), "song.band", "an archive")
		if replaced {
			require.NoError(t, err)
			assert.Equal(t, "an archive", string(c.at("song.band").content))
			continue
		}
		assert.Equal(t, apierr.KindExists, apierr.KindOf(err), "%v", err)
		assert.ErrorContains(t, err, "package")
		assert.False(t, old.trashed)
		assert.Equal(t, []string{"song.band"}, c.paths())
	}
}

// zipOf returns an archive of files whose paths and contents are equal.
func zipOf(t *testing.T, paths ...string) string {
	var archive bytes.Buffer
	writer := zip.NewWriter(&archive)
	for _, path := range paths {
		file, err := writer.CreateHeader(&zip.FileHeader{Name: path, Method: zip.Store})
		require.NoError(t, err)
		_, err = file.Write([]byte(path))
		require.NoError(t, err)
	}
	require.NoError(t, writer.Close())
	return archive.String()
}

// The archive of a package is stored as a package and can replace one. Other archives
// are stored as files.
func TestArchivesOfPackagesBecomePackages(t *testing.T) {
	sim := startSimulator(t)
	f := sim.open("")
	store := func(remote, content string) *Object {
		o, err := f.Put(drive.StorePackages(background), strings.NewReader(content), infoOf(remote, content))
		require.NoError(t, err)
		return o.(*Object)
	}
	archive := zipOf(t, "song.band/project", "song.band/media/1")
	assert.True(t, store("folder/song.band", archive).IsPackage())
	assert.True(t, store("folder/song.band", zipOf(t, "song.band/project", "song.band/media/2")).IsPackage())
	assert.True(t, store("folder/song~2.band", archive).IsPackage())
	assert.False(t, store("folder/other.band", zipOf(t, "folder/project")).IsPackage())
	assert.False(t, store("folder/song.zip", archive).IsPackage())
	assert.False(t, store("folder/plain.band", "no archive").IsPackage())

	o, err := sim.openOwn("").NewObject(background, "folder/song.band")
	require.NoError(t, err)
	content, err := read(o)
	require.NoError(t, err)
	assert.True(t, o.(*Object).IsPackage())
	directory, err := zip.NewReader(strings.NewReader(content), int64(len(content)))
	require.NoError(t, err)
	var paths []string
	for _, file := range directory.File {
		if !strings.HasSuffix(file.Name, "/") {
			paths = append(paths, file.Name)
		}
	}
	assert.ElementsMatch(t, []string{"song.band/project", "song.band/media/2"}, paths)
	_, err = tryPut(f, "folder/song.band", archive)
	assert.Equal(t, apierr.KindExists, apierr.KindOf(err), "a file never replaces a package")
}

// A refused package leaves no file in the drive.
func TestRefusedPackages(t *testing.T) {
	for _, kind := range []string{"upload-web", "update-documents"} {
		sim := startSimulator(t)
		f := sim.open("")
		put(t, f, "other", "content")
		sim.Fault(kind, "status", simtest.Status(400), simtest.JSON{"times": nil})
		archive := zipOf(t, "song.band/project")
		_, err := f.Put(drive.StorePackages(background), strings.NewReader(archive), infoOf("song.band", archive))
		assert.Equal(t, apierr.KindRefusedPackage, apierr.KindOf(err), "%s: %v", kind, err)
		assert.Equal(t, []string{"other"}, filesIn(sim))
	}
}
