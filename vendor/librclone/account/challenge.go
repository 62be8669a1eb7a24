package account

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/privatefile"
	"plakar-icloud/librclone/backend/icloud/session"

	"github.com/rclone/rclone/backend/iclouddrive/api"
)

// challengeLife is how long a sign-in waits for its code. Apple's own limit is
// not documented; its sign-in page times out after about this time.
const challengeLife = 15 * time.Minute

// challenge is a sign-in whose password was accepted and that waits for its code.
type challenge struct {
	AppleID    string         `json:"apple_id"`
	ClientID   string         `json:"client_id"`
	Domain     hosts.Domain   `json:"domain,omitempty"` // at which the sign-in is made
	FrameID    string         `json:"frame_id"`
	Scnt       session.Secret `json:"scnt"`
	SessionID  session.Secret `json:"session_id"`
	Attributes session.Secret `json:"auth_attributes"`
	Token      session.Secret `json:"session_token"`
	Country    string         `json:"account_country"`
	Expires    time.Time      `json:"expires"`
	Phones     []phone        `json:"phones"`
	Sent       delivery       `json:"sent"`
}

// phone is a trusted phone number, of which Apple shows only a part.
type phone struct {
	ID     int    `json:"id"`
	Number string `json:"number"`
}

// delivery is how the code was sent.
type delivery struct {
	Way     string `json:"way"` // wayDevices, waySMS or wayCall
	PhoneID int    `json:"phone_id,omitempty"`
	Refused bool   `json:"refused,omitempty"` // Apple refused to send it
}

const (
	wayDevices = "devices"
	waySMS     = "sms"
	wayCall    = "voice"
)

func challengePath(sessionFile string) string { return sessionFile + ".challenge" }

// keep copies the state of a sign-in from rclone's client.
func (c *challenge) keep(s *api.Session) {
	c.FrameID, c.ClientID, c.Country = s.FrameID, s.ClientID, s.AccountCountry
	c.Scnt, c.SessionID = session.Secret(s.Scnt), session.Secret(s.SessionID)
	c.Attributes, c.Token = session.Secret(s.AuthAttributes), session.Secret(s.SessionToken)
}

// resume returns a session of rclone's client with the state of the sign-in.
func (c *challenge) resume() *api.Session {
	s := api.NewSession()
	s.FrameID, s.ClientID, s.AccountCountry = c.FrameID, c.ClientID, c.Country
	s.Scnt, s.SessionID = string(c.Scnt), string(c.SessionID)
	s.AuthAttributes, s.SessionToken = string(c.Attributes), string(c.Token)
	return s
}

// number returns the number of a phone, or "" if there is no such phone.
func (c *challenge) number(id int) string {
	for _, known := range c.Phones {
		if known.ID == id {
			return known.Number
		}
	}
	return ""
}

var errNoChallenge = &failure{kind: apierr.KindNeedsLogin, cause: causeNoChallenge, text: "no sign-in is waiting for a code, or it waited too long"}

// loadChallenge returns the sign-in that waits for its code. It returns
// errNoChallenge if there is none.
func loadChallenge(sessionFile string) (*challenge, error) {
	data, err := privatefile.Read(challengePath(sessionFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoChallenge
	}
	if err != nil {
		return nil, err
	}
	c := new(challenge)
	if json.Unmarshal(data, c) != nil || !time.Now().Before(c.Expires) {
		_ = os.Remove(challengePath(sessionFile)) // useless, but it contains tokens
		return nil, errNoChallenge
	}
	return c, nil
}

// save stores the sign-in in its file, which only its owner can read.
func (c *challenge) save(sessionFile string) error {
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	err = privatefile.Replace(challengePath(sessionFile), data)
	if err != nil {
		return &failure{kind: apierr.KindBadConfig, cause: causeStateFolder, text: "the sign-in cannot be stored: " + err.Error()}
	}
	return nil
}

// dropChallenge removes the file of a sign-in. A failure is ignored, because the
// sign-in expires.
func dropChallenge(sessionFile string) { _ = os.Remove(challengePath(sessionFile)) }
