package icloud

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// largestRefusal is how many bytes of the body of a failed call are read.
const largestRefusal = 64 << 10

// refusal is a response with a status other than success.
type refusal struct {
	status     int
	host       string
	code       string // of the service for the reason
	reason     string // a short text of the service, safe to show
	retryAfter time.Duration
	location   string // where it sends on to
	header     http.Header
	body       []byte
}

func (r *refusal) Error() string {
	text := "the service answered " + strconv.Itoa(r.status)
	if r.reason != "" {
		text += " (" + r.reason + ")"
	}
	return text
}

func newRefusal(resp *http.Response) *refusal {
	defer func() { _ = resp.Body.Close() }()
	r := &refusal{status: resp.StatusCode, header: resp.Header, retryAfter: RetryAfter(resp.Header, time.Now())}
	if resp.Request != nil {
		r.host = hostOf(resp.Request.URL.String())
	}
	if to, err := resp.Location(); err == nil {
		r.location = to.String()
	}
	r.body, _ = io.ReadAll(io.LimitReader(resp.Body, largestRefusal)) // what cannot be read explains nothing
	r.reason = reasonIn(r.body)
	var said struct {
		Code string `json:"serverErrorCode"`
	}
	if json.Unmarshal(r.body, &said) == nil {
		r.code = said.Code
	}
	return r
}

// plainText matches text that can contain neither an address nor a token.
var plainText = regexp.MustCompile(`^[A-Za-z0-9_.,:'()-]{1,28}(?: [A-Za-z0-9_.,:'()-]{1,28}){0,19}$`)

// reasonIn returns the service's message about a failure.
func reasonIn(body []byte) string {
	var said struct {
		Reason       string `json:"reason"`
		ErrorReason  string `json:"errorReason"`
		ErrorMessage string `json:"error_message"`
		Error        any    `json:"error"`
	}
	if json.Unmarshal(body, &said) != nil {
		return ""
	}
	text, _ := said.Error.(string)
	for _, candidate := range []string{said.Reason, said.ErrorReason, said.ErrorMessage, text} {
		if candidate != "" && plainText.MatchString(candidate) {
			return candidate
		}
	}
	return ""
}

// RetryAfter parses the header of that name, which contains seconds or a date.
// It returns 0 if there is none.
func RetryAfter(header http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		return max(0, time.Duration(seconds)*time.Second)
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// Codes and texts of the service that users have seen. The member that contains
// them differs from host to host.
var (
	saysZoneBusy  = []string{"ZONE_BUSY", "OP-LOCK"}
	saysNameTaken = []string{"UNIQUE_FIELD_ERROR", "UNIQUENESS CONSTRAINT", "ALREADY_EXIST", "ALREADY EXIST"}
)

// says reports whether the response contains one of the texts, which are in
// capitals.
func (r *refusal) says(texts []string) bool {
	said := strings.ToUpper(r.code + " " + r.reason + " " + string(r.body))
	for _, text := range texts {
		if strings.Contains(said, text) {
			return true
		}
	}
	return false
}

// busy reports whether the call was refused because of another write to the
// same zone. The call then had no effect.
func (r *refusal) busy() bool {
	return r.status == http.StatusConflict && r.says(saysZoneBusy)
}

// doubtful reports whether the same call may be accepted a moment later
// although the status says that it is wrong. rclone's backend retries after 400
// and 409: "icloud is a mess, sometimes returns 400 on a perfectly fine
// request". It is a guess that 404 and 410 can be temporary, because any host
// in between can send them.
func (r *refusal) doubtful() bool {
	switch r.status {
	case http.StatusBadRequest:
		return r.kind() == KindUnsupported
	case http.StatusConflict:
		return r.kind() == KindChanged
	case http.StatusNotFound, http.StatusGone:
		return r.kind() == KindNotFound
	}
	return false
}

// sendsOn reports whether the service has not processed the request because
// another host is responsible for it.
func (r *refusal) sendsOn() bool {
	switch r.status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return r.location != ""
	}
	return false
}

// explained reports whether a 500 is no failure of the service but contains the
// reason why the setup host refuses the request.
func (r *refusal) explained() bool {
	return r.status == http.StatusInternalServerError && r.reason != ""
}

// statusSessionOver is a status that pyicloud treats like 421.
const statusSessionOver = 450

// sessionCookie is the prefix of the names of the cookies that make up a
// session.
const sessionCookie = "X-APPLE-WEBAUTH"

// kind returns the meaning of the status on the API hosts.
func (r *refusal) kind() string {
	switch {
	case r.busy():
		return KindThrottled
	case r.status < 500 && r.says(saysNameTaken):
		return KindExists
	}
	said := strings.ToUpper(r.code + " " + r.reason)
	switch {
	case strings.Contains(said, "QUOTA"):
		return KindQuota
	case r.status == http.StatusForbidden && strings.Contains(said, sessionCookie):
		return KindNeedsLogin
	}
	switch r.status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return KindThrottled
	case http.StatusUnauthorized, http.StatusMisdirectedRequest, http.StatusLocked, statusSessionOver:
		return KindNeedsLogin
	case http.StatusForbidden:
		return KindDenied
	case http.StatusNotFound, http.StatusGone:
		return KindNotFound
	case http.StatusConflict, http.StatusPreconditionFailed:
		return KindChanged
	case http.StatusRequestEntityTooLarge, http.StatusInsufficientStorage:
		return KindQuota
	}
	if r.status >= 500 || r.status == http.StatusRequestTimeout {
		return KindNetwork
	}
	return KindUnsupported
}

// passing returns the error for a refusal that says nothing about the account:
// a failure of the service, or the response of a host in between, such as the
// page of a proxy.
func (r *refusal) passing() *Error {
	e := r.err()
	if e.kind != KindThrottled && e.kind != KindNetwork {
		e.kind, e.sentinel, e.doubtful = KindNetwork, nil, false
		e.why += " without a reason of Apple's"
		e.advice = "if this goes on, look for a proxy, a firewall or a sign-in page of the network"
	}
	return e
}

// worded reports whether the service gives a reason for the refusal, as the
// setup host does.
func (r *refusal) worded() bool {
	return r.reason != "" || r.code != "" || ServiceErrorIn(r.body).Code != ""
}

func (r *refusal) err() *Error {
	e := fail(r.kind(), "", "", "").is(sentinels[r.kind()])
	e.why = r.Error()
	e.retryAfter = r.retryAfter
	e.busy = r.busy()
	e.doubtful = r.doubtful()
	e.answered, e.host, e.code = true, r.host, r.code
	if e.kind == KindQuota {
		e.advice = "free some space in iCloud (what is in Recently Deleted counts too) or extend the storage plan"
	}
	return e
}
