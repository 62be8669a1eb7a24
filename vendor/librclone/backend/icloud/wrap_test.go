package icloud

import (
	"path/filepath"
	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/session"
	"strings"
	"testing"

	_ "github.com/rclone/rclone/backend/crypt" // one of the ways in which this backend is used
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config"
	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/rclone/rclone/fs/config/obscure"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// rclone's crypt works over this backend: files are stored, replaced, listed, read in
// full and in parts, and moved.
func TestCrypt(t *testing.T) {
	sim := startSimulator(t)
	sim.useForAll()
	section := func(name string, values configmap.Simple) {
		for key, value := range values {
			config.FileSetValue(name, key, value)
		}
	}
	inner := sim.configured()
	inner["type"] = "icloud"
	section("plain", inner)
	section("secret", configmap.Simple{"type": "crypt", "remote": "plain:vault", "password": obscure.MustObscure("key")})
	f, err := fs.NewFs(background, "secret:")
	require.NoError(t, err)
	content := numbered(200_000)
	put(t, f, "Straße/Ümläut.txt", "first")
	put(t, f, "Straße/Ümläut.txt", content)
	put(t, f, "Straße/empty", "")
	entries, err := f.List(background, "Straße")
	require.NoError(t, err)
	require.Len(t, entries, 2)
	o, err := f.NewObject(background, "Straße/Ümläut.txt")
	require.NoError(t, err)
	got, err := read(o)
	require.NoError(t, err)
	assert.True(t, got == content)
	part, err := read(o, &fs.RangeOption{Start: 70_000, End: 140_000})
	require.NoError(t, err)
	assert.True(t, part == content[70_000:140_001])
	moved, err := f.Features().Move(background, o, "elsewhere/moved.txt")
	require.NoError(t, err)
	got, err = read(moved)
	require.NoError(t, err)
	assert.True(t, got == content)
	require.NoError(t, f.Features().Purge(background, "elsewhere"))
	for _, path := range sim.Paths() {
		assert.NotContains(t, strings.ToLower(path), "stra")
	}
}

// The values of the options are checked before a remote is opened.
func TestServicesAndPhotosOptions(t *testing.T) {
	forgetAccounts()
	sim := startSimulator(t)
	for _, option := range []string{"photos_layout", "photos_versions", "photos_deleted"} {
		_, err := NewFs(sim.Context(), "photos", "", registered(sim.configured(configmap.Simple{"service": "photos", option: "da"})))
		assert.Equal(t, apierr.KindBadConfig, apierr.KindOf(err), option)
		assert.ErrorContains(t, err, option+"=da")
	}
	_, err := NewFs(sim.Context(), "x", "", registered(configmap.Simple{"service": "mail", "apple_id": "user@example.com"}))
	assert.Equal(t, apierr.KindBadConfig, apierr.KindOf(err))
}

// An invalid configuration is an error of the kind bad-config.
func TestInvalidConfigurations(t *testing.T) {
	sim := startSimulator(t)
	for key, value := range map[string]string{"apple_id": "", "password": "not obscured at all!", "encoding": "Nonsense"} {
		_, err := sim.openConfigured("", sim.configured(configmap.Simple{key: value}))
		assert.Equal(t, apierr.KindBadConfig, apierr.KindOf(err), "%s: %v", key, err)
	}
}

// Disconnect removes the session but keeps the Apple ID.
func TestDisconnect(t *testing.T) {
	sim := startSimulator(t)
	path := filepath.Join(t.TempDir(), "s.json")
	configuration := sim.configured(configmap.Simple{"session_file": path})
	f, err := sim.openConfigured("", configuration)
	require.NoError(t, err)
	_, err = f.List(background, "")
	require.NoError(t, err)
	require.NoError(t, f.Disconnect(background))
	assert.Empty(t, configuration["trust_token"]+configuration["cookies"])
	file, err := session.LoadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "user@example.com", file.AppleID)
	assert.Empty(t, file.Cookies)
	assert.True(t, file.Describe(modified).NeedsLogin)
}
