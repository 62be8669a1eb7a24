package icloud

import (
	"context"
	"net/http"

	"github.com/rclone/rclone/backend/iclouddrive"
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config/configmap"
)

// openPhotos opens rclone's own backend for Photos with a session of ours. The
// session is renewed first, by the rules of this package, so that rclone never
// signs in itself.
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
		// Only this package signs in. If a validation fails, rclone would sign
		// in; without a client id, it fails before it tries a password.
		return "", true
	}
	return o.Mapper.Get(key)
}

// Set implements configmap.Setter: rclone saves the cookies for protected data
// that it received.
func (o photosOptions) Set(key, value string) {
	if key != optCookies {
		return
	}
	o.session.merge(o.given, iclouddrive.ReadCookies(value))
	o.session.flush(context.Background())
}
