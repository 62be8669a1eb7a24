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

// largestRefusal bounds what is read of the body of a failed call, in bytes.
const largestRefusal = 64 << 10

// refusal is an answer with a status that is no success.
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

// plainText is text that can hold neither an address nor a token.
var plainText = regexp.MustCompile(`^[A-Za-z0-9_.,:'()-]{1,28}(?: [A-Za-z0-9_.,:'()-]{1,28}){0,19}$`)

// reasonIn finds the words of the service for a failure.
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

// RetryAfter reads the header of that name: seconds or a date. It is 0 without one.
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

// Codes and texts of the service, as people have seen them. Which member of an
// answer they come in differs from host to host.
var (
	saysZoneBusy  = []string{"ZONE_BUSY", "OP-LOCK"}
	saysNameTaken = []string{"UNIQUE_FIELD_ERROR", "UNIQUENESS CONSTRAINT", "ALREADY_EXIST", "ALREADY EXIST"}
)

// says reports whether one of some texts, in capitals, is in the answer.
func (r *refusal) says(texts []string) bool {
	said := strings.ToUpper(r.code + " " + r.reason + " " + string(r.body))
	for _, text := range texts {
		if strings.Contains(said, text) {
			return true
		}
	}
	return false
}

// busy reports whether the call was turned away because of another write to the
// same zone; nothing was done then.
func (r *refusal) busy() bool {
	return r.status == http.StatusConflict && r.says(saysZoneBusy)
}

// doubtful reports whether the same call may be accepted a moment later though
// the status says that it is wrong. rclone's backend repeats after 400 and 409:
// "icloud is a mess, sometimes returns 400 on a perfectly fine request". That 404
// and 410 are ever passing is a guess: any host between here and the drive can
// say so.
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

// sendsOn reports whether the service has not looked at the request because
// another host is the one for it.
func (r *refusal) sendsOn() bool {
	switch r.status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return r.location != ""
	}
	return false
}

// explained reports whether a 500 is no trouble of the service but says, in
// words, why the host of accounts does not do what it was asked for.
func (r *refusal) explained() bool {
	return r.status == http.StatusInternalServerError && r.reason != ""
}

// statusSessionOver is what pyicloud knows of as another way to say 421.
const statusSessionOver = 450

// sessionCookie begins the names of the cookies that are a session.
const sessionCookie = "X-APPLE-WEBAUTH"

// kind is what the status means on the API hosts.
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

// passing is the failure for a refusal that says nothing about the account: one
// of a service in trouble, or an answer that something between here and Apple
// gives in its place, such as the page of a proxy.
func (r *refusal) passing() *Error {
	e := r.err()
	if e.kind != KindThrottled && e.kind != KindNetwork {
		e.kind, e.sentinel, e.doubtful = KindNetwork, nil, false
		e.why += " without a reason of Apple's"
		e.advice = "if this goes on, look for a proxy, a firewall or a sign-in page of the network"
	}
	return e
}

// worded reports whether the service says in words why it refuses, as the host
// of accounts does.
func (r *refusal) worded() bool {
	return r.reason != "" || r.code != "" || ServiceErrorIn(r.body).Code != ""
}

func (r *refusal) err() *Error {
	e := fail(r.kind(), "", "", "").is(sentinels[r.kind()])
	e.why = r.Error()
	e.retryAfter = r.retryAfter
	e.busy = r.busy()
	e.doubtful = r.doubtful()
	e.answered, e.host = true, r.host
	if e.kind == KindQuota {
		e.advice = "free some space in iCloud or extend the storage plan"
	}
	return e
}
