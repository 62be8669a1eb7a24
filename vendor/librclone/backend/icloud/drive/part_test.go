package drive

import (
	"archive/zip"
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stretchr/testify/assert"
)

// An archive whose directory is longer than the kept bytes is accepted if its end
// is valid.
func TestArchiveWithALongDirectory(t *testing.T) {
	var data bytes.Buffer
	files := zip.NewWriter(&data)
	for i := range 40_000 {
		_, err := files.CreateHeader(&zip.FileHeader{Name: fmt.Sprintf("%050d", i)})
		require.NoError(t, err)
	}
	require.NoError(t, files.Close())
	checked := new(archive)
	for part := range slices.Chunk(data.Bytes(), 100_000) {
		checked.add(part)
	}
	assert.LessOrEqual(t, len(checked.tail), 2*minTail)
	unpacked, err := checked.check()
	require.NoError(t, err)
	assert.Equal(t, int64(-1), unpacked)
	cut := new(archive)
	cut.add(data.Bytes()[:data.Len()-10])
	_, err = cut.check()
	assert.Error(t, err)
}

func TestParseContentRange(t *testing.T) {
	for value, want := range map[string][3]int64{
		"bytes 0-9/100":  {0, 10, 100},
		"bytes 99-99/*":  {99, 100, -1},
		"bytes 5-9/10":   {5, 10, 10},
		"bytes 5-9/9":    {},
		"bytes 9-5/10":   {},
		"bytes -1-5/10":  {},
		"items 0-9/100":  {},
		"bytes 0-9":      {},
		"":               {},
		"bytes */100":    {},
		"bytes 0-x/10":   {},
		"bytes 0-9/-100": {},
	} {
		start, end, total, ok := parseContentRange(value)
		assert.Equal(t, want != [3]int64{}, ok, value)
		assert.Equal(t, want, [3]int64{start, end, total}, value)
	}
}
