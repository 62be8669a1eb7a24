package apierr

import (
	"encoding/json"
)

// Error codes of Apple's sign-in (from the threads that user reports link to).
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

// ServiceErrorIn returns the first error in a response. It is empty if there is
// none; then the status decides.
func ServiceErrorIn(body []byte) ServiceError {
	var said struct {
		Errors []ServiceError `json:"serviceErrors"`
		Other  []ServiceError `json:"service_errors"` // both are seen, mostly together
	}
	_ = json.Unmarshal(body, &said)
	if all := append(said.Errors, said.Other...); len(all) > 0 {
		return all[0]
	}
	return ServiceError{}
}
