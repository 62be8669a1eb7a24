package service

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/session"
	"plakar-icloud/librclone/backend/icloud/signin"
	"plakar-icloud/librclone/backend/icloud/transport"
	"plakar-icloud/librclone/redact"

	"github.com/rclone/rclone/backend/iclouddrive"
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/rclone/rclone/fs/config/obscure"
)

// The names of options that contain the session.
const (
	OptTrustToken = "trust_token"
	OptCookies    = "cookies"
)

// DefaultClientID is the client id of icloud.com, which is rclone's default too.
const DefaultClientID = "d39ba9916b7251055b22c7f910e2ea796ee65e98b2ddecea8f5dde8d9d1a815d"

// hiddenPassword is the text that rclone's "config show" prints instead of a
// password. In a configuration made from its output, it means no password.
const hiddenPassword = "*** ENCRYPTED ***"

// Options are the options of a remote that concern its account.
type Options struct {
	AppleID    string `config:"apple_id"`
	Password   string `config:"password"`
	TrustToken string `config:"trust_token"`
	Cookies    string `config:"cookies"`
	ClientID   string `config:"client_id"`

	PasswordCommand string      `config:"password_command"`
	SessionFile     string      `config:"session_file"`
	CallsPerSecond  float64     `config:"calls_per_second"`
	CallsAtOnce     int         `config:"calls_at_once"`
	Tries           int         `config:"tries"`
	LongestWait     fs.Duration `config:"longest_wait"`
	Silence         fs.Duration `config:"silence"`
}

// Format implements fmt.Formatter, so that no verb prints a secret. Cookies and
// tokens are plain texts, and a command may contain a password.
func (Options) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, "service.Options{…}") }

// password returns the password, or "" if there is none. It fails if the options
// have no Apple ID or an invalid password. name is the name of the remote in
// messages.
func (o *Options) password(name string) (session.Secret, error) {
	if o.AppleID == "" {
		return "", apierr.New(apierr.KindBadConfig, "open", name, "apple_id is missing").Advise("add the Apple ID to the configuration")
	}
	if o.Password == "" || o.Password == hiddenPassword {
		return "", nil
	}
	password, err := obscure.Reveal(o.Password)
	if err != nil {
		return "", apierr.New(apierr.KindBadConfig, "open", name, "the password is not in the form in which rclone stores passwords").
			Advise("write it with \"rclone obscure\", or leave it out to use the session alone")
	}
	redact.Conceal(password)
	return session.Secret(password), nil
}

// SessionOf returns the session that options contain, as those of an account
// that was set up with rclone do.
func SessionOf(opt *Options) *session.File {
	state := &session.File{
		AppleID:    opt.AppleID,
		ClientID:   opt.ClientID,
		TrustToken: session.Secret(opt.TrustToken),
	}
	for _, cookie := range iclouddrive.ReadCookies(opt.Cookies) {
		state.Cookies = append(state.Cookies, session.Cookie{Name: cookie.Name, Value: session.Secret(cookie.Value)})
	}
	return state
}

// Accounts has the services of the accounts that a process uses. All remotes of
// an account share a session and a limiter.
type Accounts struct {
	mu       sync.Mutex
	services map[string]*Service
	limiters map[string]*transport.Limiter // by the Apple ID in lower case
}

// NewAccounts returns Accounts without services.
func NewAccounts() *Accounts {
	return &Accounts{services: map[string]*Service{}, limiters: map[string]*transport.Limiter{}}
}

// Open returns the service of the account that the options of a remote name. It
// does not use the network. A renewed session is stored in the session file or,
// without one, in the configuration m of the remote.
func (a *Accounts) Open(ctx context.Context, name string, m configmap.Mapper, opt *Options) (*Service, error) {
	password, err := opt.password(name)
	if err != nil {
		return nil, err
	}
	if opt.ClientID == "" {
		opt.ClientID = DefaultClientID
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	key := strings.ToLower(opt.AppleID) + "\x00" + opt.SessionFile
	s, known := a.services[key]
	if !known {
		s = a.connect(ctx, name, opt)
	}
	if err := s.Session.Configure(*SessionOf(opt), password, opt.PasswordCommand); err != nil {
		return nil, err
	}
	a.services[key] = s
	if opt.SessionFile == "" {
		s.Session.SaveTo(name, func(state *session.File) {
			m.Set(OptCookies, session.CookieHeader(state.Cookies))
			m.Set(OptTrustToken, string(state.TrustToken))
		})
	}
	return s, nil
}

// connect returns a new service with an empty session. a.mu must be held.
func (a *Accounts) connect(ctx context.Context, name string, opt *Options) *Service {
	client := transport.New(ctx, transport.Config{
		Limiter: a.limiter(opt.AppleID, opt.CallsPerSecond, opt.CallsAtOnce, opt.SessionFile),
		Tries:   opt.Tries, LongestWait: time.Duration(opt.LongestWait), Silence: time.Duration(opt.Silence),
	})
	return New(client, session.New(name, opt.SessionFile, time.Duration(opt.LongestWait), signin.New(client, name).Renew))
}

// limiter returns the limiter of an Apple ID, with the lowest limits of all of
// its remotes. The limiter shares the waits of the account with other processes
// beside the session file of the first remote. a.mu must be held.
func (a *Accounts) limiter(appleID string, perSecond float64, slots int, sessionFile string) *transport.Limiter {
	key := strings.ToLower(appleID)
	known, ok := a.limiters[key]
	if !ok {
		known = transport.NewLimiter(perSecond, slots)
		known.ShareIn(transport.PauseFile(sessionFile))
		a.limiters[key] = known
	}
	known.Tighten(perSecond, slots)
	return known
}
