package apierr

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"plakar-icloud/librclone/backend/icloud/hosts"
)

// maxRefusalBody is how many bytes of the body of a refusal are read.
const maxRefusalBody = 64 << 10

// Refusal is a response with a status other than success.
type Refusal struct {
	Status     int
	Host       string
	Code       string // the service's code for the reason, or ""
	Reason     string // a short text of the service that is safe to show, or ""
	RetryAfter time.Duration
	Location   string // the address that the host redirects to, or ""
	Header     http.Header
	Body       []byte
}

// Error implements error.
func (r *Refusal) Error() string {
	text := "the service responded with " + strconv.Itoa(r.Status)
	if r.Reason != "" {
		text += " (" + r.Reason + ")"
	}
	return text
}

// NewRefusal returns the refusal of a response, whose body it closes.
func NewRefusal(resp *http.Response) *Refusal {
	defer func() { _ = resp.Body.Close() }()
	r := &Refusal{Status: resp.StatusCode, Header: resp.Header, RetryAfter: RetryAfter(resp.Header, time.Now())}
	if resp.Request != nil {
		r.Host = hosts.Of(resp.Request.URL.String())
	}
	if to, err := resp.Location(); err == nil {
		r.Location = to.String()
	}
	r.Body, _ = io.ReadAll(io.LimitReader(resp.Body, maxRefusalBody)) // an incomplete body only lacks details
	r.Reason = reasonIn(r.Body)
	var parsed struct {
		Code string `json:"serverErrorCode"`
	}
	if json.Unmarshal(r.Body, &parsed) == nil {
		r.Code = parsed.Code
	}
	return r
}

// RefusalOf returns the refusal for a status that is not that of the HTTP
// response but is contained in it.
func RefusalOf(status int, body []byte) *Refusal {
	return &Refusal{Status: status, Reason: reasonIn(body), Body: body}
}

// plainPattern matches text that can contain neither an address nor a token.
var plainPattern = regexp.MustCompile(`^[A-Za-z0-9_.,:'()-]{1,28}(?: [A-Za-z0-9_.,:'()-]{1,28}){0,19}$`)

// PlainText returns a text of the service, or "" if it may not be safe to show.
func PlainText(text string) string {
	if !plainPattern.MatchString(text) {
		return ""
	}
	return text
}

// reasonIn returns the service's message about a failure, or "" if the body has
// none that is safe to show.
func reasonIn(body []byte) string {
	var parsed struct {
		Reason       string `json:"reason"`
		ErrorReason  string `json:"errorReason"`
		ErrorMessage string `json:"error_message"`
		Error        any    `json:"error"`
	}
	if json.Unmarshal(body, &parsed) != nil {
		return ""
	}
	text, _ := parsed.Error.(string)
	for _, candidate := range []string{parsed.Reason, parsed.ErrorReason, parsed.ErrorMessage, text} {
		if plain := PlainText(candidate); plain != "" {
			return plain
		}
	}
	return ""
}

// RetryAfter returns the wait that the header Retry-After asks for, in seconds or
// by a date. It returns 0 if there is no valid header.
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

// Codes and texts of the service that users have seen. They are in different
// members of the responses of different hosts.
var (
	zoneBusyTexts  = []string{"ZONE_BUSY", "OP-LOCK"}
	nameTakenTexts = []string{"UNIQUE_FIELD_ERROR", "UNIQUENESS CONSTRAINT", "ALREADY_EXIST", "ALREADY EXIST"}
)

// contains reports whether the response contains one of the texts, in any case. The
// texts must be in upper case.
func (r *Refusal) contains(texts []string) bool {
	all := strings.ToUpper(r.Code + " " + r.Reason + " " + string(r.Body))
	for _, text := range texts {
		if strings.Contains(all, text) {
			return true
		}
	}
	return false
}

// Busy reports whether the call was refused because of another write to the
// same zone. The call then had no effect.
func (r *Refusal) Busy() bool {
	return r.Status == http.StatusConflict && r.contains(zoneBusyTexts)
}

// doubtful reports whether the refusal may be temporary although its status is that
// of an invalid call. rclone's backend retries after 400 and 409: "icloud is
// a mess, sometimes returns 400 on a perfectly fine request". That 404 and 410
// can be temporary is a guess, because any host in between can send them.
func (r *Refusal) doubtful() bool {
	switch r.Status {
	case http.StatusBadRequest:
		return r.Kind() == KindUnsupported
	case http.StatusConflict:
		return r.Kind() == KindChanged
	case http.StatusNotFound, http.StatusGone:
		return r.Kind() == KindNotFound
	}
	return false
}

// Redirects reports whether the response redirects the request to another
// address.
func (r *Refusal) Redirects() bool {
	switch r.Status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return r.Location != ""
	}
	return false
}

// Explained reports whether a 500 of the setup host has a reason. It is then a
// refusal of the request and not a failure of the service.
func (r *Refusal) Explained() bool {
	return r.Status == http.StatusInternalServerError && r.Reason != ""
}

// statusSessionOver is a status that pyicloud treats like 421.
const statusSessionOver = 450

// sessionCookie is the prefix of the names of the cookies that make up a
// session.
const sessionCookie = "X-APPLE-WEBAUTH"

// Kind returns the meaning of the status on the API hosts.
func (r *Refusal) Kind() string {
	switch {
	case r.Busy():
		return KindThrottled
	case r.Status < 500 && r.contains(nameTakenTexts):
		return KindExists
	}
	text := strings.ToUpper(r.Code + " " + r.Reason)
	switch {
	case strings.Contains(text, "QUOTA"):
		return KindQuota
	case r.Status == http.StatusForbidden && strings.Contains(text, sessionCookie):
		return KindNeedsLogin
	}
	switch r.Status {
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
	if r.Status >= 500 || r.Status == http.StatusRequestTimeout {
		return KindNetwork
	}
	return KindUnsupported
}

// Temporary returns the error for a refusal that is not about the account,
// such as a failure of the service or the page of a proxy.
func (r *Refusal) Temporary() *Error {
	e := r.Err()
	if e.kind != KindThrottled && e.kind != KindNetwork {
		e = r.Retryable(e.Why + " without a reason of Apple's")
		e.Unexplained = true
		e.Advice = "if this persists, check for a proxy, a firewall or a sign-in page of the network"
	}
	return e
}

// Retryable returns the error for a refusal after which the operation should be
// attempted again, regardless of the status.
func (r *Refusal) Retryable(why string) *Error {
	e := New(KindNetwork, "", "", why)
	e.Wait, e.Reported, e.Host = r.RetryAfter, true, r.Host
	return e
}

// worded reports whether the service gives a reason for the refusal, as the
// setup host does.
func (r *Refusal) worded() bool {
	return r.Reason != "" || r.Code != "" || ServiceErrorIn(r.Body).Code != ""
}

// Err returns the error for the refusal.
func (r *Refusal) Err() *Error {
	e := New(r.Kind(), "", "", "").Matching(sentinels[r.Kind()])
	e.Why = r.Error()
	e.Wait = r.RetryAfter
	e.Busy = r.Busy()
	e.Doubtful = r.doubtful()
	e.Reported, e.Host, e.code = true, r.Host, r.Code
	if e.kind == KindQuota {
		e.Advice = "free some space in iCloud (Recently Deleted counts, too) or extend the storage plan"
	}
	return e
}

// Elsewhere returns the domain of iCloud, other than that of the request, to which the
// response refers, as Apple names it. It returns "" if the response refers to none.
// One of Apple's error codes takes precedence: after a wrong password, the sign-in
// must not be repeated at the other domain.
func (r *Refusal) Elsewhere() string {
	if ServiceErrorIn(r.Body).Code != "" {
		return ""
	}
	var parsed struct {
		Domain string `json:"domainToUse"`
	}
	_ = json.Unmarshal(r.Body, &parsed) // if this fails, only the redirect counts
	named, own := parsed.Domain, hosts.World
	if to, known := hosts.DomainOf(r.Location); named == "" && known {
		named = to.String()
	}
	if strings.HasSuffix(r.Host, ".cn") {
		own = hosts.China
	}
	if to, known := hosts.DomainOf(named); known && to == own {
		return ""
	}
	return named
}

// EndsSession reports whether the setup host refuses the session and not just the
// request. A refusal without a reason does not count, because any host in between
// can send one.
func (r *Refusal) EndsSession() bool {
	switch {
	case r.Kind() == KindThrottled, r.Status >= http.StatusInternalServerError:
		return false
	case r.Status == http.StatusMisdirectedRequest, r.Status == statusSessionOver:
		return true
	}
	return r.worded()
}
