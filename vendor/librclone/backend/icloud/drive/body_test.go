package drive

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stretchr/testify/assert"
)

// stuckReader blocks in its first read until release is closed.
type stuckReader struct {
	begun, release chan struct{}
	over           bool
}

func (r *stuckReader) Read(p []byte) (int, error) {
	close(r.begun)
	<-r.release
	r.over = true
	return copy(p, "x"), nil
}

// The end of a request's body waits for a read that is under way. Afterwards the
// content is not read.
func TestBodyIsNotReadAfterItsEnd(t *testing.T) {
	stuck := &stuckReader{begun: make(chan struct{}), release: make(chan struct{})}
	body, err := newSource(stuck, 5).body()
	require.NoError(t, err)
	go func() { _, _ = body.Read(make([]byte, 1)) }()
	<-stuck.begun
	over := make(chan bool)
	go func() {
		_ = body.end(false)
		over <- stuck.over
	}()
	close(stuck.release)
	assert.True(t, <-over)
	_, err = body.Read(make([]byte, 1))
	assert.ErrorIs(t, err, io.ErrClosedPipe)
	assert.NoError(t, body.Close())
}
