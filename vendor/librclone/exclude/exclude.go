// Package exclude matches items against gitignore patterns by the rules of plakar's
// own importer of file systems.
//
// Like plakar, it uses go-git's package gitignore, and it parses the lines as plakar
// does (https://github.com/PlakarKorp/kloset/tree/main/exclude).
package exclude

import (
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/gitignore"
)

// Rules is a list of patterns. The last pattern that matches an item applies.
type Rules struct {
	patterns []gitignore.Pattern
}

// New returns the rules in the lines of a gitignore file. A pattern that cannot be
// parsed matches nothing.
func New(lines []string) *Rules {
	rules := new(Rules)
	for _, line := range lines {
		if pattern := patternOf(line); pattern != "" {
			rules.patterns = append(rules.patterns, gitignore.ParsePattern(pattern, nil))
		}
	}
	return rules
}

// patternOf returns the pattern of a line, or "" if the line has none.
func patternOf(line string) string {
	line = trimSpaces(strings.TrimRight(line, "\r"))
	switch {
	case strings.HasPrefix(line, "#"):
		return ""
	case strings.HasPrefix(line, `\#`):
		return line[1:]
	}
	return line
}

// trimSpaces removes the spaces at the end of a line. If a backslash precedes them,
// one space is kept instead of the backslash.
func trimSpaces(line string) string {
	trimmed := strings.TrimRight(line, " ")
	if trimmed != line && strings.HasSuffix(trimmed, `\`) {
		return strings.TrimSuffix(trimmed, `\`) + " "
	}
	return trimmed
}

// Excludes reports whether the item at an absolute path is excluded. The root never
// is. plakar's importer does not enter an excluded folder, so everything below it is
// excluded, too.
func (r *Rules) Excludes(path string, isFolder bool) bool {
	path = strings.Trim(path, "/")
	if path == "" {
		return false
	}
	parts := strings.Split(path, "/")
	excluded := false
	for _, pattern := range r.patterns {
		switch pattern.Match(parts, isFolder) {
		case gitignore.Exclude:
			excluded = true
		case gitignore.Include:
			excluded = false
		}
	}
	return excluded
}
