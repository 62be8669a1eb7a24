package apierr

import (
	"encoding/json"
)

// Error codes of Apple's sign-in, as seen in reports of users.
const (
	CodeWrongPassword = "-20101"
	CodeLocked        = "-20209"
	CodeWrongCode     = "-21669"
	CodeTooManyCodes  = "-21674"
	CodeSessionOver   = "-20528" // the sign-in itself took too long
)

// ServiceError is an error of Apple's sign-in.
type ServiceError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// ServiceErrorIn returns the first error in a response, or an empty one if the
// response has none.
func ServiceErrorIn(body []byte) ServiceError {
	var parsed struct {
		Errors []ServiceError `json:"serviceErrors"`
		Other  []ServiceError `json:"service_errors"` // most responses have both members
	}
	_ = json.Unmarshal(body, &parsed)
	if all := append(parsed.Errors, parsed.Other...); len(all) > 0 {
		return all[0]
	}
	return ServiceError{}
}
