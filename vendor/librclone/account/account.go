// Package account signs a person in to an Apple Account and looks at the
// session that comes of it.
//
// The sign-in is a backend configuration of rclone: the questions that
// config/create and config/update give to the backend "icloud" are the ones of
// this package (see Questions). The password is proven and the session begun by
// package icloud, as in an unattended renewal; the second factor stands on
// rclone's own client. What rclone's own questions lack is why it exists: which
// of Apple's refusals it was, whether the code was really sent, another try
// after a wrong code, choice of a phone, a sign-in that a second process
// completes, and the approval that Advanced Data Protection needs.
//
// Session files are read and written by package icloud alone; this one keeps a
// challenge, a sign-in that waits for its code, in a file beside it.
package account

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"plakar-icloud/librclone/backend/icloud"
	"plakar-icloud/librclone/remote"

	rclonefs "github.com/rclone/rclone/fs"
)

func init() {
	backend, err := rclonefs.Find("icloud")
	if err != nil { // it is imported above
		panic(err)
	}
	backend.Config = Questions
	remote.Method("account/describe", describe)
	remote.Method("account/adopt", adopt)
	remote.Method("account/export", export)
	remote.Method("account/forget", forget)
	remote.Method("account/reach", reach)
	remote.Method("account/services", services)
}

// sessionRequest names a session.
type sessionRequest struct {
	SessionFile string `json:"session_file"`
}

// description is a session and the sign-in that is under way for it.
type description struct {
	icloud.SessionStatus
	TrustLeft *int64     `json:"trust_left,omitempty"` // in seconds, if known
	WaitsTill *time.Time `json:"waits_till,omitempty"` // of a sign-in that waits for a code
}

func describe(_ context.Context, in sessionRequest) (*description, error) {
	file, err := icloud.LoadSessionFile(in.SessionFile)
	if errors.Is(err, fs.ErrNotExist) {
		file, err = new(icloud.SessionFile), nil
	}
	if err != nil {
		return nil, err
	}
	now := time.Now()
	out := &description{SessionStatus: file.Describe(now)}
	if left, known := out.SessionStatus.TrustLeft(now); known {
		if out.Cause == icloud.CauseTrustOver { // before its time
			left = 0
		}
		seconds := int64(left / time.Second)
		out.TrustLeft = &seconds
	}
	if waiting, err := loadChallenge(in.SessionFile); err == nil {
		out.WaitsTill = &waiting.Expires
	}
	return out, nil
}

// adoptRequest is a session as rclone's backend iclouddrive keeps it.
type adoptRequest struct {
	SessionFile string `json:"session_file"`
	AppleID     string `json:"apple_id"`
	ClientID    string `json:"client_id"`
	TrustToken  string `json:"trust_token"`
	Cookies     string `json:"cookies"`
}

// adopt stores a session that came from elsewhere. Nothing is known of when its
// trust began, so nothing is forecast for it.
func adopt(ctx context.Context, in adoptRequest) (*struct{}, error) {
	return &struct{}{}, icloud.UpdateSessionFile(ctx, in.SessionFile, func(file *icloud.SessionFile) error {
		*file = *icloud.NewSessionFile(&icloud.Options{
			AppleID: in.AppleID, ClientID: in.ClientID, TrustToken: in.TrustToken, Cookies: in.Cookies,
		})
		return nil
	})
}

// exported is a session in the form of rclone's backend iclouddrive.
type exported struct {
	TrustToken string `json:"trust_token"`
	Cookies    string `json:"cookies"`
}

func export(_ context.Context, in sessionRequest) (*exported, error) {
	file, err := icloud.LoadSessionFile(in.SessionFile)
	if err != nil {
		return nil, err
	}
	return &exported{TrustToken: string(file.TrustToken), Cookies: file.CookieHeader()}, nil
}

// forget removes a session, and a sign-in that waits for its code.
func forget(ctx context.Context, in sessionRequest) (*struct{}, error) {
	if err := icloud.ForgetSessionFile(ctx, in.SessionFile); err != nil {
		return nil, err
	}
	return &struct{}{}, icloud.RemoveFile(challengePath(in.SessionFile))
}
