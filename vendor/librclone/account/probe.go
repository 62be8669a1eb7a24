package account

import (
	"context"
	"encoding/json"
	"errors"
	iofs "io/fs"
	"net/http"
	"time"

	"plakar-icloud/librclone/backend/icloud"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/rclone/rclone/fs/fshttp"
)

// probeHosts are those that a sign-in needs.
var probeHosts = []string{"https://setup.icloud.com/", "https://idmsa.apple.com/"}

// probeTime is how long a probe waits for an answer.
const probeTime = 20 * time.Second

type reachAnswer struct {
	Milliseconds int64 `json:"milliseconds"` // for all hosts
	// ClockAhead is by how many seconds this machine's clock is ahead of
	// Apple's; null if Apple named no time.
	ClockAhead *int64 `json:"clock_ahead"`
}

// reach asks each host for an answer, whatever it is. The failure says whether
// the network, the proxy or the certificate is in the way.
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
				return nil, &failure{kind: icloud.KindNetwork, cause: causeNetwork, text: "no answer from " + request.URL.Host + " in time"}
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

// webAccess is what the account's owner allows on the web. Apple leaves out what
// does not concern the account. (ICDRS, whose state it tells too, is the recovery
// service that Advanced Data Protection switches off.)
type webAccess struct {
	Allowed   *bool `json:"isWebAccessAllowed"`
	Consented *bool `json:"isDeviceConsentedForPCS"` // to the access to protected data
}

func (a webAccess) off() bool { return a.Allowed != nil && !*a.Allowed }

func webAccessOf(ctx context.Context, client *api.Session) (webAccess, error) {
	var access webAccess
	r, err := setup(ctx, client, "/requestWebAccessState", nil)
	if err != nil {
		return access, err
	}
	if !r.good() {
		return access, refused(r)
	}
	if json.Unmarshal(r.body, &access) != nil {
		return access, &failure{kind: icloud.KindDamaged, cause: causeOther, text: "the state of web access cannot be read"}
	}
	return access, nil
}

// servicesAnswer is what iCloud says about the account of a session.
type servicesAnswer struct {
	Session      string            `json:"session"` // "alive", or the cause why not
	Services     map[string]string `json:"services"`
	TermsPending bool              `json:"terms_pending"`
	Protected    bool              `json:"protected"` // Advanced Data Protection is on
	WebAccessOff bool              `json:"web_access_off"`
}

// services asks with the session as it is: nothing is renewed, nobody is asked.
func services(ctx context.Context, in sessionRequest) (*servicesAnswer, error) {
	client, _, err := ofFile(in.SessionFile)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, &failure{kind: icloud.KindNeedsLogin, cause: causeNotSignedIn, text: "nobody has signed in"}
	}
	if err != nil {
		return nil, err
	}
	r, err := setup(ctx, client, "/validate", nil)
	if err != nil {
		return nil, err
	}
	out := &servicesAnswer{Session: "alive", Services: map[string]string{}}
	info, err := infoIn(r)
	if err != nil {
		out.Session = causeOf(err)
		return out, nil
	}
	out.TermsPending = info.TermsUpdateNeeded
	out.Protected = info.Webservices[driveService].PCSRequired
	for shown, name := range map[string]string{"drive": driveService, "documents": docsService, "photos": api.WsPhotos} {
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
	if info.wantsCode() {
		out.Session = causeTrustOver
	}
	if info.Info != nil && info.Info.WebAccess != nil {
		out.WebAccessOff = !*info.Info.WebAccess
	}
	if access, err := webAccessOf(ctx, client); err == nil {
		out.WebAccessOff = out.WebAccessOff || access.off()
	}
	return out, nil
}
