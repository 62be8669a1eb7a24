package exclude

import (
	"strings"
	"testing"
)

// FuzzRules matches paths against patterns that no document promises to be
// valid.
func FuzzRules(f *testing.F) {
	for _, pattern := range []string{"", "*.tmp", "!a", "a/**/b", "[", "[!a-", `\`, "**", "/", "a  \\ ", "#", "\\#", "{a,b}", "\xff"} {
		f.Add(pattern, "/a/b/c.tmp", true)
	}
	f.Add("*", "//", true)
	f.Fuzz(func(t *testing.T, pattern, path string, isFolder bool) {
		rules := New(strings.Split(pattern, "\n"))
		if rules.Excludes(path, isFolder) && strings.Trim(path, "/") == "" {
			t.Fatalf("%q leaves out the top folder", pattern)
		}
	})
}
