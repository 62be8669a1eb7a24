package account

import (
	"context"
	"net/http"

	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/session"
	"plakar-icloud/librclone/backend/icloud/signin"
)

// start proves the password and, if Apple requires no second factor, begins the
// session. If Apple names the other domain of iCloud, start begins again there, once.
// If Apple requires the second factor, wanted is its response.
func (s *signIn) start(ctx context.Context, password session.Secret) (wanted *response, account *signin.Account, err error) {
	for again := true; ; again = false {
		at := s.domain
		wanted, err = s.prove(ctx, password)
		switch {
		case err != nil:
		case wanted == nil:
			account, err = s.accountLogin(ctx)
		case s.isElsewhere():
			s.findDomain(ctx)
		}
		if s.domain == at || account != nil || !again || ctx.Err() != nil {
			return wanted, account, err
		}
	}
}

// countryOfChina is the country of the accounts of which most are at icloud.com.cn.
const countryOfChina = "CHN"

// isElsewhere reports whether the country of the account suggests that it is at the
// other domain.
func (s *signIn) isElsewhere() bool {
	country := s.client.AccountCountry
	return s.client.SessionToken != "" && country != "" && (country == countryOfChina) != (s.domain == hosts.China)
}

// findDomain asks for the domain of the account before a code is sent, because a code
// is valid at one domain only. Like pyicloud, it begins a session that still lacks the
// second factor. A failure is ignored: Apple names the domain again after the code.
func (s *signIn) findDomain(ctx context.Context) {
	file := &session.File{AppleID: s.appleID, Domain: s.domain}
	_, _, _ = signin.AccountLogin(ctx, s.client, file)
	s.domain = file.Domain
}

// accountLogin begins the session and returns its account. If Apple names the other
// domain, it becomes that of the sign-in. accountLogin fails if the tokens of the
// present domain give no session there.
func (s *signIn) accountLogin(ctx context.Context) (*signin.Account, error) {
	file := &session.File{AppleID: s.appleID, Domain: s.domain}
	account, refused, err := signin.AccountLogin(ctx, s.client, file)
	moved := file.Domain != s.domain
	s.domain = file.Domain
	switch {
	case err != nil:
		return nil, unreachable(ctx, err)
	case moved && (rejected(refused) || account != nil && account.WantsCode()):
		return nil, referred(s.domain.String())
	case refused != nil:
		return nil, refusedSession(refused)
	}
	s.cookies = file.Cookies
	return account, nil
}

// rejected reports whether a response means that the tokens give no session, and not
// that the service is unavailable.
func rejected(r *signin.Refused) bool {
	return r != nil && r.Elsewhere == "" && r.Status < 500 && r.Status != http.StatusTooManyRequests
}

// storeDomain stores the domain of the account in the session file, for the next
// sign-in.
func (s *signIn) storeDomain(ctx context.Context) error {
	return session.UpdateFile(ctx, s.file, func(file *session.File) error {
		file.AppleID = s.appleID
		file.MoveTo(s.domain)
		return nil
	})
}
