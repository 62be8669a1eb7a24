// Package redact keeps passwords that are known on this side only, as from a
// password command, out of messages.
package redact

import (
	"strings"
	"sync"
)

// shortest is the length in bytes of the shortest value that is concealed. A
// shorter one would blacken ordinary words; src/secret.rs has the same limit.
const shortest = 6

var concealed = struct {
	sync.RWMutex
	values []string // the longest first: one may be a part of another
}{}

// Conceal makes a value disappear from the messages of this process.
func Conceal(value string) {
	value = strings.TrimSpace(value)
	if len(value) < shortest {
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

// Text returns a message without the concealed values.
func Text(message string) string {
	concealed.RLock()
	defer concealed.RUnlock()
	for _, value := range concealed.values {
		message = strings.ReplaceAll(message, value, "…")
	}
	return message
}
