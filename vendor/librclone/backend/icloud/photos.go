package icloud

import (
	"context"
	"strings"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/service"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config/configmap"
)

// PhotosOptions are the options of a remote of Photos.
type PhotosOptions struct {
	Layout      string // the folders of photos: "date" or "flat"
	Versions    string // "all", "original" or "edited"
	Deleted     string // "skip" or "include"
	SessionFile string // the index of the libraries is stored beside it; "" for none
}

// OpenPhotos opens a remote of Photos on the service of an account.
type OpenPhotos func(ctx context.Context, name, root string, opt PhotosOptions, s *service.Service) (fs.Fs, error)

// newPhotosFs opens a remote of Photos. Package icloudphotos, which imports this
// package, sets it.
var newPhotosFs OpenPhotos

// RegisterPhotos sets the function that opens remotes with service=photos.
func RegisterPhotos(open OpenPhotos) { newPhotosFs = open }

func openPhotos(ctx context.Context, name, root string, m configmap.Mapper) (fs.Fs, error) {
	opt, err := parseOptions(name, m)
	if err != nil {
		return nil, err
	}
	for _, choice := range []struct{ option, value, allowed string }{
		{"photos_layout", opt.PhotosLayout, "date, flat"},
		{"photos_versions", opt.PhotosVersions, "all, original, edited"},
		{"photos_deleted", opt.PhotosDeleted, "skip, include"},
	} {
		if !strings.Contains(", "+choice.allowed+",", ", "+choice.value+",") {
			return nil, apierr.Newf(apierr.KindBadConfig, "open", name, "%s=%s cannot be used", choice.option, choice.value).
				Advise("the values are " + choice.allowed)
		}
	}
	drives.Lock()
	s, err := drives.accounts.Open(ctx, name, m, &opt.Options)
	drives.Unlock()
	if err != nil {
		return nil, err
	}
	return newPhotosFs(ctx, name, root, PhotosOptions{opt.PhotosLayout, opt.PhotosVersions, opt.PhotosDeleted, opt.SessionFile}, s)
}
