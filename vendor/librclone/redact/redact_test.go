package redact

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// Concealed values are removed, the longest first. Short values are not concealed.
func TestText(t *testing.T) {
	for _, value := range []string{"hunter2", "word", " a secret\n", "a secret and more", "hunter2"} {
		Conceal(value)
	}
	assert.Equal(t, "a word, …, … and …", Text("a word, hunter2, a secret and a secret and more"))
	assert.Len(t, concealed.values, 3)
}
