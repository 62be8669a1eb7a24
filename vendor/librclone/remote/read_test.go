package remote

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// A content that was cut is no content that ends, whatever its reader calls that.
func TestReadOfAContentThatIsCut(t *testing.T) {
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

func TestReadToTheEnd(t *testing.T) {
	id := readers.add(reader{io.NopCloser(iotest.OneByteReader(strings.NewReader("content")))})
	for _, want := range []string{"cont", "ent", ""} {
		buf := make([]byte, 4)
		n, failure := Read(id, buf)
		require.Nil(t, failure)
		require.Equal(t, want, string(buf[:n]))
	}
}
