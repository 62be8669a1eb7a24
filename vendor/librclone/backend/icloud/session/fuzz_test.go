package session

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzLoadFile reads session files that this program has not written, such as
// those that a disk has damaged. What can be read can be described and stored.
func FuzzLoadFile(f *testing.F) {
	for _, text := range []string{
		``, `{}`, `null`, `[]`, `{"version":99}`,
		`{"version":1,"apple_id":"user@example.com","trust_token":"t","cookies":[{"name":"a","value":"b"}],"endpoints":{"drivews":"https://p1-drivews.icloud.com"}}`,
		`{"version":-1,"cookies":[{}],"endpoints":{"":""},"refused":{"salt":"=","tries":-1},"proofs":{}}`,
		`{"version":1,"cookies":null,"endpoints":null,"consent_until":"0001-01-01T00:00:00Z","trusted_at":"9999-12-31T23:59:59Z"}`,
	} {
		f.Add([]byte(text))
	}
	folder := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(folder, "session.json")
		require.NoError(t, os.WriteFile(path, content, 0o600))
		file, err := LoadFile(path)
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
			return
		}
		if file == nil {
			return
		}
		status := file.Describe(time.Unix(1_800_000_000, 0))
		status.TrustLeft(time.Unix(1_800_000_000, 0))
		require.NoError(t, SaveFile(path, file))
		saved, err := os.ReadFile(path)
		require.NoError(t, err)
		again, err := LoadFile(path)
		require.NoError(t, err)
		require.NoError(t, SaveFile(path, again))
		savedAgain, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, string(saved), string(savedAgain))
	})
}
