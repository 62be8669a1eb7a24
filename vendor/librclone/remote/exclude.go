package remote

import (
	"context"

	"plakar-icloud/librclone/exclude"
)

// rules has the sets of patterns that exclude items from listings.
var rules = newHandles[*exclude.Rules]("set of rules")

type rulesRequest struct {
	Lines []string `json:"lines"` // of a gitignore file
}

type rulesResult struct {
	Rules uint64 `json:"rules"`
}

// newRules stores a set of patterns.
func newRules(_ context.Context, in rulesRequest) (*rulesResult, error) {
	return &rulesResult{Rules: rules.add(exclude.New(in.Lines))}, nil
}

type excludesRequest struct {
	Rules  uint64 `json:"rules"`
	Path   string `json:"path"`
	Folder bool   `json:"folder"`
}

type excludesResult struct {
	Excluded bool `json:"excluded"`
}

// excludes reports whether a set of patterns excludes a path.
func excludes(_ context.Context, in excludesRequest) (*excludesResult, error) {
	known, err := rules.get(in.Rules)
	if err != nil {
		return nil, err
	}
	return &excludesResult{Excluded: known.Excludes(in.Path, in.Folder)}, nil
}

func init() {
	Method("rules/new", newRules)
	Method("rules/exclude", excludes)
}
