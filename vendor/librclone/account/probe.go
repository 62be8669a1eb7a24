package account

import (
	"context"
	"errors"
	iofs "io/fs"
	"net/http"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/session"
	"plakar-icloud/librclone/backend/icloud/signin"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/rclone/rclone/fs/fshttp"
)

// probeAddresses are the addresses of the hosts that a sign-in needs.
var probeAddresses = []string{hosts.SetupEndpoint, hosts.AuthEndpoint}

// probeTime is how long a probe waits for a response.
const probeTime = 15 * time.Second

// reachResult is the result of reach.
type reachResult struct {
	Milliseconds int64 `json:"milliseconds"` // for all hosts together
	// ClockAhead is by how many seconds the clock of this machine is ahead of
	// Apple's. It is nil if no response has a time.
	ClockAhead *int64 `json:"clock_ahead"`
}

// reach checks that each host of a session's domain responds, whatever the response
// is. The failure shows whether the network, the proxy or the certificate is the
// cause.
func reach(ctx context.Context, in sessionRequest) (*reachResult, error) {
	var domain hosts.Domain
	if file, err := session.LoadFile(in.SessionFile); err == nil { // otherwise there is no session yet
		domain = file.Domain
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	client := fshttp.NewClient(ctx)
	out := new(reachResult)
	begun := time.Now()
	for _, address := range probeAddresses {
		request, err := http.NewRequestWithContext(ctx, http.MethodHead, domain.At(address), nil)
		if err != nil {
			return nil, err
		}
		resp, err := client.Do(request)
		if err != nil {
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil, &failure{kind: apierr.KindNetwork, cause: causeNetwork, text: "no response from " + request.URL.Host + " within " + probeTime.String()}
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

// servicesResult is the result of services.
type servicesResult struct {
	Session      string            `json:"session"`  // "alive", or the cause of the refusal
	Services     map[string]string `json:"services"` // the status of each service by its name
	TermsPending bool              `json:"terms_pending"`
	Protected    bool              `json:"protected"` // Advanced Data Protection is on
	WebAccessOff bool              `json:"web_access_off"`
}

// services returns the state of an account, as iCloud reports it for a session. It
// neither renews the session nor makes a device ask its owner.
func services(ctx context.Context, in sessionRequest) (*servicesResult, error) {
	session, err := session.LoadFile(in.SessionFile)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, &failure{kind: apierr.KindNeedsLogin, cause: causeNotSignedIn, text: "not signed in"}
	}
	if err != nil {
		return nil, err
	}
	out := &servicesResult{Session: "alive", Services: map[string]string{}}
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
