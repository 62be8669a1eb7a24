package icloud

import (
	"context"
	"net/http"

	"github.com/rclone/rclone/backend/iclouddrive"
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config/configmap"
)

// openPhotos opens rclone's own backend for Photos on a session of ours: that is
// renewed first, by our rules, so that rclone never signs in by itself.
func openPhotos(ctx context.Context, name, root string, m configmap.Mapper) (fs.Fs, error) {
	opt, password, err := parseOptions(name, m)
	if err != nil {
		return nil, err
	}
	d, err := openDrive(ctx, name, m, opt, password)
	if err != nil {
		return nil, err
	}
	alive := request{host: setupHost, method: http.MethodPost, path: validatePath, repeats: true}
	if _, err := fetch[AccountAnswer](ctx, d.service, alive, nil); err != nil {
		return nil, about(err, "open", name)
	}
	return iclouddrive.NewServiceFs(ctx, name, root, photosOptions{m, d.service.session, d.service.session.current()})
}

// photosOptions are options whose session is the shared one.
type photosOptions struct {
	configmap.Mapper
	session *session
	given   *access // what rclone got
}

// Get implements configmap.Getter.
func (o photosOptions) Get(key string) (string, bool) {
	o.session.mu.Lock()
	defer o.session.mu.Unlock()
	switch key {
	case optCookies:
		return cookieHeader(o.session.state.Cookies), true
	case optTrustToken:
		return string(o.session.state.TrustToken), true
	case "password", "client_id":
		// Nobody but us signs in. Where a validation fails, rclone would: without
		// a client id that ends before a password is tried.
		return "", true
	}
	return o.Mapper.Get(key)
}

// Set implements configmap.Setter: rclone saves the cookies that it was given
// for protected data.
func (o photosOptions) Set(key, value string) {
	if key != optCookies {
		return
	}
	o.session.merge(o.given, iclouddrive.ReadCookies(value))
	o.session.flush(context.Background())
}
