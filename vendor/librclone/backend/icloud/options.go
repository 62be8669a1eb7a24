package icloud

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/drive"
	"plakar-icloud/librclone/backend/icloud/service"
	"plakar-icloud/librclone/backend/icloud/transport"

	"github.com/rclone/rclone/backend/iclouddrive"
	"github.com/rclone/rclone/backend/overview"
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config"
	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/rclone/rclone/fs/config/configstruct"
	"github.com/rclone/rclone/fs/config/obscure"
	"github.com/rclone/rclone/lib/encoder"
)

// Options are the options of rclone's iclouddrive and further ones.
type Options struct {
	service.Options

	Service        string               `config:"service"`
	BatchSize      int                  `config:"batch_size"`
	ListingAge     fs.Duration          `config:"listing_age"`
	CacheItems     int                  `config:"cache_items"`
	ServerSideCopy bool                 `config:"server_side_copy"`
	PhotosLayout   string               `config:"photos_layout"`
	PhotosVersions string               `config:"photos_versions"`
	PhotosDeleted  string               `config:"photos_deleted"`
	Enc            encoder.MultiEncoder `config:"encoding"`
}

// Format implements fmt.Formatter, so that no verb prints a secret.
func (Options) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, "icloud.Options{…}") }

const (
	serviceDrive  = "drive"
	servicePhotos = "photos"
)

func init() {
	// rclone initialises its cipher at the first use, without a lock
	// (fs/config/obscure, crypt), but several remotes may be opened at once.
	_ = obscure.MustObscure("")
	fs.Register(&fs.RegInfo{
		Name:        "icloud",
		Description: "iCloud Drive and Photos, for unattended use",
		Config:      iclouddrive.Config,
		NewFs:       NewFs,
		Overview:    new(overview.BackendConfig), // rclone has this data only for its own backends
		Options: []fs.Option{{
			Name:    "service",
			Help:    "iCloud service to use.",
			Default: serviceDrive,
			Examples: []fs.OptionExample{
				{Value: serviceDrive, Help: "iCloud Drive"},
				{Value: servicePhotos, Help: "iCloud Photos, read only"},
			},
		}, {
			Name:      "apple_id",
			Help:      "Apple ID.",
			Required:  true,
			Sensitive: true,
		}, {
			Name:       "password",
			Help:       "Password.\n\nWithout a password, a session can be used until it ends.",
			IsPassword: true,
			Sensitive:  true,
		}, {
			Name:      service.OptTrustToken,
			Help:      "Trust token for session authentication.",
			Sensitive: true,
			Hide:      fs.OptionHideBoth,
		}, {
			Name:      service.OptCookies,
			Help:      "Session cookies.",
			Sensitive: true,
			Hide:      fs.OptionHideBoth,
		}, {
			Name:     "client_id",
			Help:     "Client ID for iCloud API access.",
			Advanced: true,
			Default:  service.DefaultClientID,
		}, {
			Name: "password_command",
			Help: `Shell command that prints the password.

It runs only when a session has to be renewed by a sign-in, and only in one of
the processes that share a session file. It takes precedence over the option
password.`,
			Advanced: true,
		}, {
			Name: "session_file",
			Help: `File that stores the session and shares it between processes.

It takes precedence over the session in the configuration. It contains secrets,
and only its owner can read it. Without this file, no sign-in is made, because its
outcome could not be stored, and a session can be used until it ends.`,
			Advanced: true,
		}, {
			Name:     "calls_per_second",
			Help:     "Maximum number of calls to iCloud a second, for all remotes of an account.\n\nTransfers of contents do not count. 0 means no limit.",
			Advanced: true,
			Default:  float64(transport.DefaultRate),
		}, {
			Name:     "calls_at_once",
			Help:     "Maximum number of concurrent calls to iCloud, for all remotes of an account.\n\nThe number is lowered automatically while the service is slow or refuses calls.",
			Advanced: true,
			Default:  transport.DefaultSlots,
		}, {
			Name:     "batch_size",
			Help:     "Maximum number of folders to list with one call.\n\nThe number is lowered automatically if the service requires it.",
			Advanced: true,
			Default:  defaultBatch,
		}, {
			Name:     "tries",
			Help:     "Number of attempts at a step that fails temporarily.",
			Advanced: true,
			Default:  defaultTries,
		}, {
			Name:     "longest_wait",
			Help:     "Longest wait that the service may ask for.\n\nIf it asks for a longer one, the operation fails with that reason.",
			Advanced: true,
			Default:  fs.Duration(defaultLongestWait),
		}, {
			Name:     "silence",
			Help:     "Time after which a request is cancelled if no byte is sent or received, at least 45 seconds.\n\nThe first listing after a change takes Apple about 30 seconds. 0 means that only rclone's own --timeout applies.",
			Advanced: true,
			Default:  fs.Duration(defaultSilence),
		}, {
			Name:     "listing_age",
			Help:     "Maximum age of a listing in which a file is looked up.\n\nA look-up does not see later changes by other devices.",
			Advanced: true,
			Default:  fs.Duration(defaultListingAge),
		}, {
			Name:     "cache_items",
			Help:     "Maximum number of items of listings to keep in memory.\n\nAn item takes about half a kilobyte. The largest folder is kept in addition, whatever its size.",
			Advanced: true,
			Default:  defaultCacheItems,
		}, {
			Name:     "server_side_copy",
			Help:     "Let the service copy files.\n\nIts call was broken when rclone's backend was written, so by default a copy is downloaded and uploaded.",
			Advanced: true,
			Default:  false,
		}, {
			Name:     "photos_layout",
			Help:     "Folders of the photo library.",
			Advanced: true,
			Default:  "date",
			Examples: []fs.OptionExample{
				{Value: "date", Help: "A folder for each month"},
				{Value: "flat", Help: "One folder"},
			},
		}, {
			Name:     "photos_versions",
			Help:     "Versions of a photo.",
			Advanced: true,
			Default:  "all",
			Examples: []fs.OptionExample{
				{Value: "all", Help: "Originals and edited versions"},
				{Value: "original", Help: "Originals only"},
				{Value: "edited", Help: "The edited version, or the original of a photo without one"},
			},
		}, {
			Name:     "photos_deleted",
			Help:     "Photos in Recently Deleted.",
			Advanced: true,
			Default:  "skip",
			Examples: []fs.OptionExample{
				{Value: "skip", Help: "Leave them out"},
				{Value: "include", Help: "Put them into a folder of their own"},
			},
		}, {
			Name:     config.ConfigEncoding,
			Help:     config.ConfigEncodingHelp,
			Advanced: true,
			Default:  drive.DefaultEncoding,
		}},
	})
}

const (
	defaultBatch       = 20
	defaultTries       = 8
	defaultLongestWait = 5 * time.Minute
	defaultSilence     = time.Minute
	defaultListingAge  = 30 * time.Second
	defaultCacheItems  = 20_000
)

// parseOptions reads the configuration of a remote.
func parseOptions(name string, m configmap.Mapper) (*Options, error) {
	opt := new(Options)
	if err := configstruct.Set(m, opt); err != nil {
		return nil, apierr.New(apierr.KindBadConfig, "open", name, "the configuration cannot be read").From(err)
	}
	return opt, nil
}

// drive returns the options of the drive itself.
func (o *Options) drive() drive.Config {
	return drive.Config{
		SessionFile: o.SessionFile, BatchSize: o.BatchSize, ListingAge: time.Duration(o.ListingAge),
		CacheItems: o.CacheItems, Encoding: o.Enc,
	}
}

// drives has the accounts of all remotes in this process and the drive of each
// account. All remotes of an account share it, and with it a cache.
var drives = struct {
	sync.Mutex
	accounts *service.Accounts
	of       map[*service.Service]*drive.Drive
}{accounts: service.NewAccounts(), of: map[*service.Service]*drive.Drive{}}

// openDrive returns the drive of the account that a configuration names.
func openDrive(ctx context.Context, name string, m configmap.Mapper, opt *Options) (*drive.Drive, error) {
	drives.Lock()
	defer drives.Unlock()
	s, err := drives.accounts.Open(ctx, name, m, &opt.Options)
	if err != nil {
		return nil, err
	}
	d, known := drives.of[s]
	if !known {
		d = drive.New(s, opt.drive())
		drives.of[s] = d
	}
	return d, nil
}

// NewFs opens a remote. It uses the network only to determine whether a given
// root names a file.
func NewFs(ctx context.Context, name, root string, m configmap.Mapper) (fs.Fs, error) {
	if wanted, _ := m.Get("service"); wanted == servicePhotos {
		return openPhotos(ctx, name, root, m)
	} else if wanted != "" && wanted != serviceDrive {
		return nil, apierr.New(apierr.KindBadConfig, "open", name, fmt.Sprintf("there is no service %q", wanted)).Advise("the services are drive and photos")
	}
	opt, err := parseOptions(name, m)
	if err != nil {
		return nil, err
	}
	d, err := openDrive(ctx, name, m, opt)
	if err != nil {
		return nil, err
	}
	return newFs(ctx, name, root, m, opt, d)
}
