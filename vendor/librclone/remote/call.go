package remote

import (
	"context"
	"encoding/json"
	"fmt"
)

// methods has the registered methods by their names.
var methods = map[string]func(input []byte) outcome{}

// outcome is the result of a call. Exactly one of its members is set.
type outcome struct {
	Answer  any      `json:"answer,omitempty"`
	Failure *Failure `json:"failure,omitempty"`
}

// Method registers a method whose input and result are structs. If the JSON input
// has a member "scope", the call runs under that scope.
func Method[In, Out any](name string, fn func(context.Context, In) (*Out, error)) {
	methods[name] = func(input []byte) outcome {
		var in In
		var under struct {
			Scope uint64 `json:"scope"`
		}
		err := json.Unmarshal(input, &in)
		if err == nil {
			err = json.Unmarshal(input, &under)
		}
		var ctx context.Context
		if err == nil {
			ctx, err = scoped(under.Scope)
		}
		if err != nil {
			return outcome{Failure: failureOf(fmt.Errorf("%s: the input cannot be used: %w", name, err))}
		}
		out, err := fn(ctx, in)
		if err != nil {
			return outcome{Failure: failureOf(err)}
		}
		return outcome{Answer: out}
	}
}

// Call calls a method with JSON and returns its result as JSON, without white space,
// because the listing of a large folder has megabytes.
func Call(name string, input []byte) []byte {
	method, ok := methods[name]
	if !ok {
		method = func([]byte) outcome {
			return outcome{Failure: failureOf(fmt.Errorf("there is no method %q", name))}
		}
	}
	output, err := json.Marshal(method(input))
	if err != nil {
		output, _ = json.Marshal(outcome{Failure: failureOf(err)}) // never fails for strings and numbers
	}
	return output
}
