package account

import (
	"context"
	"errors"
	iofs "io/fs"
	"net/http"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/session"
	"plakar-icloud/librclone/backend/icloud/signin"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/rclone/rclone/fs/fshttp"
)

// probeHosts are the hosts that a sign-in needs.
var probeHosts = []string{"https://setup.icloud.com/", "https://idmsa.apple.com/"}

// probeTime is how long a probe waits for a response.
const probeTime = 15 * time.Second

type reachAnswer struct {
	Milliseconds int64 `json:"milliseconds"` // for all hosts
	// ClockAhead is the number of seconds by which this machine's clock is
	// ahead of Apple's. It is null if Apple's response has no time.
	ClockAhead *int64 `json:"clock_ahead"`
}

// reach checks that each host responds, with any response. The failure says
// whether the network, the proxy or the certificate is the cause.
func reach(ctx context.Context, _ struct{}) (*reachAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	client := fshttp.NewClient(ctx)
	out := new(reachAnswer)
	begun := time.Now()
	for _, host := range probeHosts {
		request, err := http.NewRequestWithContext(ctx, http.MethodHead, host, nil)
		if err != nil {
			return nil, err
		}
		resp, err := client.Do(request)
		if err != nil {
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil, &failure{kind: apierr.KindNetwork, cause: causeNetwork, text: "no answer from " + request.URL.Host + " in time"}
			}
			return nil, unreachable(ctx, err)
		}
		_ = resp.Body.Close()
		if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil && out.ClockAhead == nil {
			ahead := int64(time.Since(at).Round(time.Second) / time.Second)
			out.ClockAhead = &ahead
		}
	}
	out.Milliseconds = time.Since(begun).Milliseconds()
	return out, nil
}

// servicesAnswer is what iCloud reports about the account of a session.
type servicesAnswer struct {
	Session      string            `json:"session"` // "alive", or the cause why not
	Services     map[string]string `json:"services"`
	TermsPending bool              `json:"terms_pending"`
	Protected    bool              `json:"protected"` // Advanced Data Protection is on
	WebAccessOff bool              `json:"web_access_off"`
}

// services asks iCloud with the session as it is. It neither renews the session
// nor has a device ask its owner.
func services(ctx context.Context, in sessionRequest) (*servicesAnswer, error) {
	session, err := session.LoadFile(in.SessionFile)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, &failure{kind: apierr.KindNeedsLogin, cause: causeNotSignedIn, text: "not signed in"}
	}
	if err != nil {
		return nil, err
	}
	out := &servicesAnswer{Session: "alive", Services: map[string]string{}}
	info, refused, err := signin.Validate(ctx, session)
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	if refused != nil {
		out.Session = refusedSession(refused).cause
		return out, nil
	}
	out.TermsPending = info.TermsUpdateNeeded
	out.Protected = info.Protected()
	for shown, name := range map[string]string{"drive": api.WsDrive, "documents": api.WsDocs, "photos": api.WsPhotos} {
		service := info.Webservices[name]
		switch {
		case service.Status != "":
			out.Services[shown] = service.Status
		case service.URL == "":
			out.Services[shown] = "none"
		default:
			out.Services[shown] = "active"
		}
	}
	if info.WantsCode() {
		out.Session = causeTrustOver
	}
	if info.Info != nil && info.Info.WebAccess != nil {
		out.WebAccessOff = !*info.Info.WebAccess
	}
	if access, _, _ := signin.FetchWebAccess(ctx, session); access.Off() {
		out.WebAccessOff = true
	} else if access != nil && access.NoRecovery != nil {
		out.Protected = *access.NoRecovery
	}
	return out, nil
}
