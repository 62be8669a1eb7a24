package main

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	rclone "github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/rc"
	"github.com/rclone/rclone/librclone/librclone"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// This file has what this project uses of rclone. After an update, its failures
// and those of backend/icloud/rclone_test.go, which has values and behaviour,
// name what has changed.

// rcMethods are the methods of rclone's own that src/rclone calls.
var rcMethods = []string{"config/create", "core/obscure", "core/version"}

func TestRcMethods(t *testing.T) {
	var called []string
	call := regexp.MustCompile(`call_plain\(\s*"([^"]+)"`)
	for _, file := range sources(t, "../../src/rclone", ".rs") {
		for _, found := range call.FindAllStringSubmatch(string(read(t, file)), -1) {
			called = append(called, found[1])
		}
	}
	slices.Sort(called)
	assert.Equal(t, rcMethods, slices.Compact(called), "src/rclone calls other methods than this test has")
	for _, name := range rcMethods {
		assert.NotNil(t, rc.Calls.Get(name), "rclone has no method %s", name)
	}
	output, status := librclone.RPC("core/obscure", `{}`)
	assert.Equal(t, 400, status)
	assert.Equal(t, []string{"error", "input", "path", "status"}, members(t, []byte(output)))
}

// The questions of a configuration, as src/rclone/account.rs reads them.
func TestQuestionsOfConfigurations(t *testing.T) {
	question, err := json.Marshal(rclone.ConfigOut{Option: &rclone.Option{Examples: rclone.OptionExamples{{Value: "v", Help: "h"}}}})
	require.NoError(t, err)
	assert.Equal(t, []string{"Error", "Option", "Result", "State"}, members(t, question))
	var out struct{ Option json.RawMessage }
	require.NoError(t, json.Unmarshal(question, &out))
	assert.Subset(t, members(t, out.Option), []string{"Help", "Examples"})
}

// TestIdentifiers compares the identifiers of rclone's packages that our
// packages use with a list, so that an update can be reviewed against it.
// UPDATE=1 writes the list.
func TestIdentifiers(t *testing.T) {
	const list = "testdata/rclone-identifiers.txt"
	used := map[string]bool{}
	for _, file := range sources(t, ".", ".go") {
		if !strings.HasSuffix(file, "_test.go") {
			identifiers(t, file, used)
		}
	}
	var names []string
	for name := range used {
		names = append(names, name)
	}
	slices.Sort(names)
	text := strings.Join(names, "\n") + "\n"
	if os.Getenv("UPDATE") == "1" {
		require.NoError(t, os.MkdirAll(filepath.Dir(list), 0o755))
		require.NoError(t, os.WriteFile(list, []byte(text), 0o644))
	}
	assert.Equal(t, string(read(t, list)), text, "run: UPDATE=1 go test -run TestIdentifiers .")
}

// identifiers adds the identifiers of rclone's packages that a file uses.
func identifiers(t *testing.T, file string, used map[string]bool) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	packages := map[string]string{}
	for _, spec := range parsed.Imports {
		imported := strings.Trim(spec.Path.Value, `"`)
		name := path.Base(imported)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		if short, ok := strings.CutPrefix(imported, "github.com/rclone/rclone/"); ok {
			packages[name] = short
			used[short] = true
		}
	}
	ast.Inspect(parsed, func(node ast.Node) bool {
		if selector, ok := node.(*ast.SelectorExpr); ok {
			if of, ok := selector.X.(*ast.Ident); ok && packages[of.Name] != "" && selector.Sel.IsExported() {
				used[packages[of.Name]+"."+selector.Sel.Name] = true
			}
		}
		return true
	})
}

// sources returns the files of a folder, and of those below it, with an
// extension. It leaves out the sources of dependencies.
func sources(t *testing.T, folder, extension string) []string {
	var files []string
	err := filepath.WalkDir(folder, func(file string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && file == "vendor" {
			return fs.SkipDir
		}
		if err == nil && filepath.Ext(file) == extension {
			files = append(files, file)
		}
		return err
	})
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}

func read(t *testing.T, file string) []byte {
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	return content
}

// members returns the names of the members of a JSON object, sorted.
func members(t *testing.T, object []byte) []string {
	var all map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(object, &all))
	var names []string
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
