package remote

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// The read of a content that breaks off fails, even with io.ErrUnexpectedEOF.
func TestReadOfAContentThatBreaksOff(t *testing.T) {
	for _, cut := range []error{io.ErrUnexpectedEOF, errors.New("the connection broke")} {
		id := readers.add(reader{io.NopCloser(io.MultiReader(strings.NewReader("part"), iotest.ErrReader(cut)))})
		n, failure := Read(id, make([]byte, 100))
		require.Equal(t, 4, n)
		require.NotNil(t, failure)
		n, failure = Read(id, make([]byte, 100))
		require.Zero(t, n)
		require.NotNil(t, failure)
	}
}

// Each read but the last one fills its buffer.
func TestReadFillsTheBuffer(t *testing.T) {
	id := readers.add(reader{io.NopCloser(iotest.OneByteReader(strings.NewReader("content")))})
	for _, want := range []string{"cont", "ent", ""} {
		buf := make([]byte, 4)
		n, failure := Read(id, buf)
		require.Nil(t, failure)
		require.Equal(t, want, string(buf[:n]))
	}
}
