package exclude

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
)

// verdicts has the results of plakar's own package, kloset/exclude of kloset v1.1.3,
// with which the table was generated.
var verdicts = []struct {
	lines    []string
	path     string
	isFolder bool
	excluded bool
}{
	{[]string{"build"}, "/build", true, true},
	{[]string{"build"}, "/build", false, true},
	{[]string{"build"}, "/docs/build", true, true},
	{[]string{"build"}, "/docs/build/x.txt", false, true},
	{[]string{"build"}, "/abc", false, false},
	{[]string{"build/"}, "/build", true, true},
	{[]string{"build/"}, "/docs/build", true, true},
	{[]string{"build/"}, "/docs/build/x.txt", false, true},
	{[]string{"build/"}, "/a.txt", false, false},
	{[]string{"/build"}, "/build", true, true},
	{[]string{"/build"}, "/build", false, true},
	{[]string{"/build"}, "/docs/a/b/x.txt", false, false},
	{[]string{"/build"}, "/docs", true, false},
	{[]string{"/build/"}, "/build", true, true},
	{[]string{"/build/"}, "/#hash", false, false},
	{[]string{"docs/build"}, "/docs/build", true, true},
	{[]string{"docs/build"}, "/docs/build/x.txt", false, true},
	{[]string{"docs/build"}, "/café", false, false},
	{[]string{"docs/build/"}, "/docs/build", true, true},
	{[]string{"docs/build/"}, "/docs/build/x.txt", false, true},
	{[]string{"docs/build/"}, "/b.txt", false, false},
	{[]string{"**/build"}, "/build", true, true},
	{[]string{"**/build"}, "/build", false, true},
	{[]string{"**/build"}, "/docs/build", true, true},
	{[]string{"**/build"}, "/docs/build/x.txt", false, true},
	{[]string{"**/build"}, "/a.tmp", false, false},
	{[]string{"**/build/"}, "/build", true, true},
	{[]string{"**/build/"}, "/docs/build", true, true},
	{[]string{"**/build/"}, "/docs/build/x.txt", false, true},
	{[]string{"**/build/"}, "/abc", false, false},
	{[]string{"docs/**"}, "/docs/a/b/x.txt", false, true},
	{[]string{"docs/**"}, "/a.txt", false, false},
	{[]string{"docs/**/x.txt"}, "/docs/build/x.txt", false, true},
	{[]string{"docs/**/x.txt"}, "/docs/a/b/x.txt", false, true},
	{[]string{"docs/**/x.txt"}, "/x*y", false, false},
	{[]string{"/docs/*"}, "/docs/build", true, true},
	{[]string{"/docs/*"}, "/docs/build/x.txt", false, true},
	{[]string{"/docs/*"}, "/docs/a/b/x.txt", false, true},
	{[]string{"/docs/*"}, "/docs/a.tmp", false, true},
	{[]string{"/docs/*"}, "/#hash", false, false},
	{[]string{"*.tmp"}, "/a.tmp", false, true},
	{[]string{"*.tmp"}, "/docs/a.tmp", false, true},
	{[]string{"*.tmp"}, "/café", false, false},
	{[]string{"/*.tmp"}, "/docs/build/x.txt", false, false},
	{[]string{"/*.tmp"}, "/a.tmp", false, true},
	{[]string{"/*.tmp"}, "/tab", false, false},
	{[]string{"docs/*.tmp"}, "/docs/a.tmp", false, true},
	{[]string{"docs/*.tmp"}, "/!bang", false, false},
	{[]string{"a?c"}, "/abc", false, true},
	{[]string{"a?c"}, "/foo", false, false},
	{[]string{"caf?"}, "/café", false, true},
	{[]string{"caf?"}, "/a.txt", false, false},
	{[]string{"[ab].txt"}, "/docs/a/b/x.txt", false, false},
	{[]string{"[ab].txt"}, "/a.txt", false, true},
	{[]string{"[ab].txt"}, "/b.txt", false, true},
	{[]string{"[ab].txt"}, "/docs", true, false},
	{[]string{"[!a].txt"}, "/a.txt", false, true},
	{[]string{"[!a].txt"}, "/#hash", false, false},
	{[]string{"[^a].txt"}, "/docs/build/x.txt", false, true},
	{[]string{"[^a].txt"}, "/docs/a/b/x.txt", false, true},
	{[]string{"[^a].txt"}, "/café", false, false},
	{[]string{"[^a].txt"}, "/b.txt", false, true},
	{[]string{"x\\*y"}, "/docs/build/x.txt", false, false},
	{[]string{"x\\*y"}, "/x*y", false, true},
	{[]string{"x\\*y"}, "/tab", false, false},
	{[]string{"\\!bang"}, "/!bang", false, true},
	{[]string{"\\#hash"}, "/build", true, false},
	{[]string{"\\#hash"}, "/#hash", false, true},
	{[]string{"\\#hash"}, "/foo", false, false},
	{[]string{"#hash"}, "/a.txt", false, false},
	{[]string{"a**b"}, "/docs/a/b/x.txt", false, false},
	{[]string{"a**b"}, "/a1b", false, true},
	{[]string{"a**b"}, "/docs", true, false},
	{[]string{"foo  "}, "/#hash", false, false},
	{[]string{"foo  "}, "/foo", false, true},
	{[]string{"foo\\ "}, "/café", false, false},
	{[]string{"foo\\ "}, "/foo", false, true},
	{[]string{"{a,b}.txt"}, "/docs/build/x.txt", false, false},
	{[]string{"{a,b}.txt"}, "/tab", false, false},
	{[]string{"["}, "/!bang", false, false},
	{[]string{"tab\t"}, "/abc", false, false},
	{[]string{"/"}, "/docs/build", true, false},
	{[]string{"/"}, "/a1b", false, false},
	{[]string{"*"}, "/docs/build", true, true},
	{[]string{"*"}, "/docs/a.tmp", false, true},
	{[]string{"*"}, "/b.txt", false, true},
	{[]string{"*"}, "/foo", false, true},
	{[]string{"*"}, "/docs", true, true},
	{[]string{"!*"}, "/#hash", false, false},
	{[]string{"docs//build"}, "/docs/build", true, true},
	{[]string{"docs//build"}, "/docs/build/x.txt", false, true},
	{[]string{"docs//build"}, "/café", false, false},
	{[]string{"./build"}, "/docs/build/x.txt", false, false},
	{[]string{"./build"}, "/tab", false, false},
	{[]string{"build\r"}, "/build", true, true},
	{[]string{"build\r"}, "/build", false, true},
	{[]string{"build\r"}, "/docs/build", true, true},
	{[]string{"build\r"}, "/docs/build/x.txt", false, true},
	{[]string{"build\r"}, "/!bang", false, false},
	{[]string{"*.tmp", "!a.tmp"}, "/abc", false, false},
	{[]string{"!a.tmp", "*.tmp"}, "/docs/build", true, false},
	{[]string{"!a.tmp", "*.tmp"}, "/a.tmp", false, true},
	{[]string{"!a.tmp", "*.tmp"}, "/docs/a.tmp", false, true},
	{[]string{"!a.tmp", "*.tmp"}, "/a1b", false, false},
	{[]string{"docs/", "!docs/build/x.txt"}, "/docs/build", true, true},
	{[]string{"docs/", "!docs/build/x.txt"}, "/docs/a/b/x.txt", false, true},
	{[]string{"docs/", "!docs/build/x.txt"}, "/docs/a.tmp", false, true},
	{[]string{"docs/", "!docs/build/x.txt"}, "/docs", true, true},
	{[]string{"docs/*", "!docs/build"}, "/docs/a/b/x.txt", false, true},
	{[]string{"docs/*", "!docs/build"}, "/docs/a.tmp", false, true},
	{[]string{"docs/*", "!docs/build"}, "/#hash", false, false},
	{[]string{"*", "!*.txt"}, "/build", true, true},
	{[]string{"*", "!*.txt"}, "/build", false, true},
	{[]string{"*", "!*.txt"}, "/docs/build", true, true},
	{[]string{"*", "!*.txt"}, "/a.tmp", false, true},
	{[]string{"*", "!*.txt"}, "/docs/a.tmp", false, true},
	{[]string{"*", "!*.txt"}, "/abc", false, true},
	{[]string{"*", "!*.txt"}, "/foo ", false, true},
	{[]string{"*", "!*.txt"}, "/docs", true, true},
	{[]string{"**/build/**", "!**/x.txt"}, "/b.txt", false, false},
	{[]string{"# c", "", "  ", "abc"}, "/a.tmp", false, false},
	{[]string{"# c", "", "  ", "abc"}, "/abc", false, true},
	{[]string{"# c", "", "  ", "abc"}, "/!bang", false, false},
}

// The results are the same as those of plakar.
func TestVerdictsAreThoseOfPlakar(t *testing.T) {
	assert.GreaterOrEqual(t, len(verdicts), 100)
	for _, c := range verdicts {
		assert.Equal(t, c.excluded, New(c.lines).Excludes(c.path, c.isFolder), fmt.Sprintf("%+v", c))
	}
}

// No pattern excludes the root.
func TestRootIsNeverExcluded(t *testing.T) {
	assert.False(t, New([]string{"*"}).Excludes("/", true))
	assert.False(t, New(nil).Excludes("/a", true))
}
