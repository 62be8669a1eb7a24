package remote

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// FuzzCall calls methods with inputs that the Rust side never writes. Each call
// returns a JSON object with an answer or a failure, and none panics.
func FuzzCall(f *testing.F) {
	for _, name := range calledInFuzzing() {
		for _, input := range []string{
			`{}`, `null`, `[]`, `{"scope":1}`,
			`{"remote":1,"paths":["a","/"],"rules":2,"known":true}`,
			`{"remote":1,"path":"a/../b","seconds":-1,"nanos":2000000000}`,
			`{"object":18446744073709551615,"offset":9223372036854775807,"length":-1,"resume":true}`,
			`{"objects":[0,1],"remote":1,"files":[{"path":"a","saved":"{}","object":1}],"permanent":true}`,
			`{"name":"own","sections":{"own":{"type":"crypt","remote":"own:x"}},"others":["account"]}`,
		} {
			f.Add(name, []byte(input))
		}
	}
	f.Fuzz(func(t *testing.T, name string, input []byte) {
		if !slices.Contains(calledInFuzzing(), name) && methods[name] != nil {
			return
		}
		var result outcome
		if err := json.Unmarshal(Call(name, input), &result); err != nil {
			t.Fatalf("%s(%q) is no JSON: %v", name, input, err)
		}
		if (result.Answer == nil) == (result.Failure == nil) {
			t.Fatalf("%s(%q) has both an answer and a failure, or none: %+v", name, input, result)
		}
	})
}

// calledInFuzzing returns the names of the methods that neither use the network
// nor wait. No remote is open, so none of them can change a file.
func calledInFuzzing() []string {
	var names []string
	for name := range methods {
		if name != "remote/open" && name != "remote/finish" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// FuzzUpload starts uploads into a remote that is not open.
func FuzzUpload(f *testing.F) {
	f.Add(`{"remote":1,"path":"a.txt","seconds":1,"new":true}`, []byte("content"))
	f.Add(`{"remote":18446744073709551615,"path":"","defer":true,"package":true}`, []byte{})
	f.Fuzz(func(t *testing.T, input string, content []byte) {
		if strings.Contains(strings.ToLower(input), "file") || strings.Contains(input, `\`) {
			return // a lent file would be one of this process, which needs it
		}
		var result outcome
		if err := json.Unmarshal([]byte(Upload(input, content)), &result); err != nil || result.Failure == nil {
			t.Fatalf("Upload(%q) = %+v, %v", input, result, err)
		}
		if bytes.ContainsAny([]byte(result.Failure.Text), "\n") {
			t.Fatalf("the failure has several lines: %q", result.Failure.Text)
		}
	})
}
