// Package redact removes secrets from messages. It is for secrets that exist only on
// this side of the C boundary, such as the output of a password command.
package redact

import (
	"strings"
	"sync"
)

// minLength is the minimum length in bytes of a value that is concealed. Shorter
// values could be parts of ordinary words. src/secret.rs has the same limit.
const minLength = 6

var concealed = struct {
	sync.RWMutex
	values []string // the longest first, because a value may contain another one
}{}

// Conceal makes Text remove a value.
func Conceal(value string) {
	value = strings.TrimSpace(value)
	if len(value) < minLength {
		return
	}
	concealed.Lock()
	defer concealed.Unlock()
	at := 0
	for at < len(concealed.values) && len(concealed.values[at]) >= len(value) {
		if concealed.values[at] == value {
			return
		}
		at++
	}
	concealed.values = append(concealed.values[:at:at], append([]string{value}, concealed.values[at:]...)...)
}

// Text returns a message in which "…" replaces the concealed values.
func Text(message string) string {
	concealed.RLock()
	defer concealed.RUnlock()
	for _, value := range concealed.values {
		message = strings.ReplaceAll(message, value, "…")
	}
	return message
}
