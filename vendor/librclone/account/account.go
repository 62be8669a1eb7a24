// Package account signs a person in to an Apple Account and inspects the
// resulting session.
//
// The sign-in is a configuration of an rclone backend: this package provides the
// questions that config/create and config/update ask for the backend "icloud" (see
// Questions). Package signin proves the password and begins the session, as in an
// unattended renewal. The second factor uses rclone's own client. rclone's own
// questions do not report which refusal of Apple occurred, nor whether the code was
// really sent. They also lack a second attempt after a wrong code, the choice of a
// phone, a sign-in that another process completes, and the approval that Advanced
// Data Protection requires.
//
// Only package session reads and writes session files. This package stores a
// challenge, which is a sign-in that waits for its code, in a file beside the
// session.
package account

import (
	"context"
	"errors"
	"io/fs"
	"time"

	_ "plakar-icloud/librclone/backend/icloud" // registers the backend whose questions these are
	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/privatefile"
	"plakar-icloud/librclone/backend/icloud/service"
	"plakar-icloud/librclone/backend/icloud/session"
	"plakar-icloud/librclone/backend/icloudphotos"
	"plakar-icloud/librclone/remote"

	rclonefs "github.com/rclone/rclone/fs"
)

func init() {
	backend, err := rclonefs.Find("icloud")
	if err != nil { // impossible, because it is imported above
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

// sessionRequest identifies a session.
type sessionRequest struct {
	SessionFile string `json:"session_file"`
}

// description is the state of a session and of a sign-in under way for it.
type description struct {
	session.Status
	TrustLeft *int64     `json:"trust_left,omitempty"` // in seconds; nil if it is unknown
	WaitsTill *time.Time `json:"waits_till,omitempty"` // until when a sign-in waits for its code; nil for no sign-in
	// Photos is what the last backup or scan of the photo libraries has counted; nil
	// if there was none.
	Photos *icloudphotos.LastSummary `json:"photos,omitempty"`
}

// describe returns the state of a session without its secrets.
func describe(_ context.Context, in sessionRequest) (*description, error) {
	file, err := session.LoadFile(in.SessionFile)
	if errors.Is(err, fs.ErrNotExist) {
		file, err = new(session.File), nil
	}
	if err != nil {
		return nil, err
	}
	now := time.Now()
	out := &description{Status: file.Describe(now)}
	if left, known := out.Status.TrustLeft(now); known {
		if out.Cause == apierr.CauseTrustOver { // earlier than expected
			left = 0
		}
		seconds := int64(left / time.Second)
		out.TrustLeft = &seconds
	}
	if waiting, err := loadChallenge(in.SessionFile); err == nil {
		out.WaitsTill = &waiting.Expires
	}
	out.Photos = icloudphotos.ReadLastSummary(in.SessionFile)
	return out, nil
}

// adoptRequest is a session in the form of rclone's backend iclouddrive.
type adoptRequest struct {
	SessionFile string `json:"session_file"`
	AppleID     string `json:"apple_id"`
	ClientID    string `json:"client_id"`
	TrustToken  string `json:"trust_token"`
	Cookies     string `json:"cookies"`
}

// adopt stores an imported session. The beginning of its trust is unknown, so the
// end cannot be estimated.
func adopt(ctx context.Context, in adoptRequest) (*struct{}, error) {
	return &struct{}{}, session.UpdateFile(ctx, in.SessionFile, func(file *session.File) error {
		*file = *service.SessionOf(&service.Options{
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

// export returns a session for rclone's backend iclouddrive.
func export(_ context.Context, in sessionRequest) (*exported, error) {
	file, err := session.LoadFile(in.SessionFile)
	if err != nil {
		return nil, err
	}
	return &exported{TrustToken: string(file.TrustToken), Cookies: file.CookieHeader()}, nil
}

// forget removes a session, the index of its photo library, and a sign-in under way
// for it.
func forget(ctx context.Context, in sessionRequest) (*struct{}, error) {
	if err := session.ForgetFile(ctx, in.SessionFile); err != nil {
		return nil, err
	}
	return &struct{}{}, errors.Join(privatefile.Remove(challengePath(in.SessionFile)), icloudphotos.ForgetIndex(ctx, in.SessionFile))
}
