package drive

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stretchr/testify/assert"
)

// stuckReader blocks in its first read until it is let go.
type stuckReader struct {
	begun, letGo chan struct{}
	over         bool
}

func (r *stuckReader) Read(p []byte) (int, error) {
	close(r.begun)
	<-r.letGo
	r.over = true
	return copy(p, "x"), nil
}

// The end of a request's body waits for a read that is under way, and after it
// the content is not touched.
func TestBodyIsCutOff(t *testing.T) {
	stuck := &stuckReader{begun: make(chan struct{}), letGo: make(chan struct{})}
	body, err := newSource(stuck, 5).body()
	require.NoError(t, err)
	go func() { _, _ = body.Read(make([]byte, 1)) }()
	<-stuck.begun
	over := make(chan bool)
	go func() {
		_ = body.end(false)
		over <- stuck.over
	}()
	close(stuck.letGo)
	assert.True(t, <-over)
	_, err = body.Read(make([]byte, 1))
	assert.ErrorIs(t, err, io.ErrClosedPipe)
	assert.NoError(t, body.Close())
}
