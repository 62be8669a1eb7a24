package icloud

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"plakar-icloud/librclone/redact"

	"github.com/rclone/rclone/backend/iclouddrive"
	"github.com/rclone/rclone/backend/overview"
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config"
	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/rclone/rclone/fs/config/configstruct"
	"github.com/rclone/rclone/fs/config/obscure"
	"github.com/rclone/rclone/lib/encoder"
	"golang.org/x/sync/semaphore"
)

// hiddenPassword is what rclone's "config show" prints for a password. In a
// configuration made from its output, it stands for no password.
const hiddenPassword = "*** ENCRYPTED ***"

// Options are the options of rclone's iclouddrive and our own.
type Options struct {
	Service    string `config:"service"`
	AppleID    string `config:"apple_id"`
	Password   string `config:"password"`
	TrustToken string `config:"trust_token"`
	Cookies    string `config:"cookies"`
	ClientID   string `config:"client_id"`

	PasswordCommand string               `config:"password_command"`
	SessionFile     string               `config:"session_file"`
	CallsPerSecond  float64              `config:"calls_per_second"`
	CallsAtOnce     int                  `config:"calls_at_once"`
	BatchSize       int                  `config:"batch_size"`
	Tries           int                  `config:"tries"`
	LongestWait     fs.Duration          `config:"longest_wait"`
	Silence         fs.Duration          `config:"silence"`
	ListingAge      fs.Duration          `config:"listing_age"`
	CacheItems      int                  `config:"cache_items"`
	ServerSideCopy  bool                 `config:"server_side_copy"`
	PhotosLayout    string               `config:"photos_layout"`
	PhotosVersions  string               `config:"photos_versions"`
	PhotosDeleted   string               `config:"photos_deleted"`
	Enc             encoder.MultiEncoder `config:"encoding"`
}

// Format implements fmt.Formatter, so that no verb prints a secret: cookies and
// tokens are there in the clear, and a command may hold a password.
func (Options) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, "icloud.Options{…}") }

const (
	serviceDrive  = "drive"
	servicePhotos = "photos"

	optTrustToken = "trust_token"
	optCookies    = "cookies"

	// defaultClientID is the one that icloud.com has, as rclone's default.
	defaultClientID = "d39ba9916b7251055b22c7f910e2ea796ee65e98b2ddecea8f5dde8d9d1a815d"
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
		Overview:    new(overview.BackendConfig), // rclone has data for its own backends only
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
			Help:       "Password.\n\nWithout one a session is used while it lasts.",
			IsPassword: true,
			Sensitive:  true,
		}, {
			Name:      optTrustToken,
			Help:      "Trust token for session authentication.",
			Sensitive: true,
			Hide:      fs.OptionHideBoth,
		}, {
			Name:      optCookies,
			Help:      "Session cookies.",
			Sensitive: true,
			Hide:      fs.OptionHideBoth,
		}, {
			Name:     "client_id",
			Help:     "Client ID for iCloud API access.",
			Advanced: true,
			Default:  defaultClientID,
		}, {
			Name: "password_command",
			Help: `Shell command that prints the password.

It runs when a session has to be renewed by a sign-in, and not before: one
process of those that share a session file runs it, once. It counts more than
a password.`,
			Advanced: true,
		}, {
			Name: "session_file",
			Help: `File that keeps the session and shares it between processes.

What is in it counts more than the session in the configuration. It holds
secrets and is readable by its owner only. Without it no sign-in is made, as its
outcome could not be kept; a session is used while it lasts.`,
			Advanced: true,
		}, {
			Name:     "calls_per_second",
			Help:     "Most calls a second to iCloud, for all remotes of an account.\n\nThe transfer of contents is no call. 0 sets no limit.",
			Advanced: true,
			Default:  float64(defaultRate),
		}, {
			Name:     "calls_at_once",
			Help:     "Most calls to iCloud under way at once, for all remotes of an account.",
			Advanced: true,
			Default:  defaultSlots,
		}, {
			Name:     "batch_size",
			Help:     "Most folders to list with one call.\n\nA smaller number is used by itself where the service wants it.",
			Advanced: true,
			Default:  defaultBatch,
		}, {
			Name:     "tries",
			Help:     "How often a step is tried that fails for a passing reason.",
			Advanced: true,
			Default:  defaultTries,
		}, {
			Name:     "longest_wait",
			Help:     "Longest time to wait because the service asks for it.\n\nWhen it asks for more, the operation fails and says so.",
			Advanced: true,
			Default:  fs.Duration(defaultLongestWait),
		}, {
			Name:     "silence",
			Help:     "Time after which a request is given up on which no byte moves, at least 45 seconds.\n\nThe first listing after a change takes Apple about 30 seconds. 0 leaves it to rclone's own --timeout.",
			Advanced: true,
			Default:  fs.Duration(defaultSilence),
		}, {
			Name:     "listing_age",
			Help:     "How old a listing may be that a file is looked up in.\n\nChanges that other devices made since are not seen.",
			Advanced: true,
			Default:  fs.Duration(defaultListingAge),
		}, {
			Name:     "cache_items",
			Help:     "Most items of listings to keep in memory.\n\nAn item takes about half a kilobyte. The largest folder is kept beside them, whatever its size.",
			Advanced: true,
			Default:  defaultCacheItems,
		}, {
			Name:     "server_side_copy",
			Help:     "Let the service copy files.\n\nThe call for it was broken when rclone's backend was written, so a copy goes through here by default.",
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
			Default:  defaultEncoding,
		}},
	})
}

const (
	defaultBatch       = 20
	defaultTries       = 8
	defaultLongestWait = 5 * time.Minute
	defaultSilence     = time.Minute
	defaultListingAge  = 30 * time.Second
	defaultCacheItems  = 50_000

	// firstPause is the pause before the second attempt of a step.
	firstPause = 250 * time.Millisecond
)

// parseOptions reads the configuration of a remote.
func parseOptions(name string, m configmap.Mapper) (*Options, Secret, error) {
	opt := new(Options)
	if err := configstruct.Set(m, opt); err != nil {
		return nil, "", fail(KindBadConfig, "open", name, "the configuration cannot be read").from(err)
	}
	if opt.AppleID == "" {
		return nil, "", fail(KindBadConfig, "open", name, "apple_id is missing").with("add the Apple ID to the configuration")
	}
	if opt.ClientID == "" {
		opt.ClientID = defaultClientID
	}
	if opt.Password == "" || opt.Password == hiddenPassword {
		return opt, "", nil
	}
	password, err := obscure.Reveal(opt.Password)
	if err != nil {
		return nil, "", fail(KindBadConfig, "open", name, "the password is not in the form that rclone keeps passwords in").
			with("write it with \"rclone obscure\", or leave it out to use the session alone")
	}
	redact.Conceal(password)
	return opt, Secret(password), nil
}

// NewSessionFile returns the session that options contain, as for an account
// that was set up with rclone.
func NewSessionFile(opt *Options) *SessionFile {
	state := &SessionFile{
		AppleID:    opt.AppleID,
		ClientID:   opt.ClientID,
		TrustToken: Secret(opt.TrustToken),
	}
	for _, cookie := range iclouddrive.ReadCookies(opt.Cookies) {
		state.Cookies = append(state.Cookies, Cookie{Name: cookie.Name, Value: Secret(cookie.Value)})
	}
	return state
}

// drives has the drive of each account, so that all remotes of an account in
// this process share a session, a limiter and a cache.
var drives = struct {
	sync.Mutex
	of map[string]*drive
}{of: map[string]*drive{}}

// openDrive returns the drive of the account that a configuration names.
func openDrive(ctx context.Context, name string, m configmap.Mapper, opt *Options, password Secret) (*drive, error) {
	state := NewSessionFile(opt)
	drives.Lock()
	defer drives.Unlock()
	key := strings.ToLower(opt.AppleID) + "\x00" + opt.SessionFile
	d, known := drives.of[key]
	if !known {
		d = newDrive(ctx, name, opt)
	}
	if err := d.service.session.configure(*state, password, opt.PasswordCommand); err != nil {
		return nil, err
	}
	drives.of[key] = d
	if opt.SessionFile == "" {
		d.service.session.saveTo(name, func(state *SessionFile) {
			m.Set(optCookies, cookieHeader(state.Cookies))
			m.Set(optTrustToken, string(state.TrustToken))
		})
	}
	return d, nil
}

// shortestSilence is the minimum of the option silence. The first listing after
// a change takes Apple about 30 seconds.
// https://github.com/Dandiccf/cirrove/blob/main/docs/benchmarks
const shortestSilence = 45 * time.Second

// silenceOf returns how long nothing may arrive before a request is cancelled.
func silenceOf(opt *Options) time.Duration {
	if opt.Silence <= 0 {
		return 0
	}
	return max(time.Duration(opt.Silence), shortestSilence)
}

func newService(ctx context.Context, opt *Options) *service {
	outages := new(outages)
	return &service{
		http:     newRESTClient(newHTTPClient(ctx, silenceOf(opt), outages)),
		parallel: newRESTClient(newParallelClient(ctx, silenceOf(opt), outages)),
		limiter:  limiterOf(opt.AppleID, opt.CallsPerSecond, opt.CallsAtOnce),
		retries:  retries{tries: max(1, opt.Tries), base: firstPause, longest: time.Duration(opt.LongestWait), outages: outages},
	}
}

func newDrive(ctx context.Context, name string, opt *Options) *drive {
	service := newService(ctx, opt)
	signer := &signer{service: service, name: name}
	service.session = newSession(name, opt.SessionFile, signer.renew)
	service.session.longest = service.retries.longest
	return assembleDrive(service, opt)
}

func assembleDrive(service *service, opt *Options) *drive {
	folders := newFolders(opt.CacheItems)
	lister := &lister{service: service, folders: folders, proving: semaphore.NewWeighted(1)}
	lister.batch.Store(int64(max(1, opt.BatchSize)))
	d := &drive{
		service: service, folders: folders, lister: lister,
		seen: newRecollection(opt.SessionFile), age: time.Duration(opt.ListingAge),
		removals: newBatcher(service, "/moveItemsToTrash", 2),
		erasures: newBatcher(service, "/deleteItems", 1),
		renames:  newBatcher(service, "/renameItems", mostBatches),
		encoding: opt.Enc,
	}
	d.contents = newContents(service, d.seen, d.unchanged)
	return d
}

// NewFs opens a remote. It uses the network only to determine whether a given
// root names a file.
func NewFs(ctx context.Context, name, root string, m configmap.Mapper) (fs.Fs, error) {
	if service, _ := m.Get("service"); service == servicePhotos {
		return openPhotos(ctx, name, root, m)
	} else if service != "" && service != serviceDrive {
		return nil, fail(KindBadConfig, "open", name, fmt.Sprintf("there is no service %q", service)).with("the services are drive and photos")
	}
	opt, password, err := parseOptions(name, m)
	if err != nil {
		return nil, err
	}
	d, err := openDrive(ctx, name, m, opt, password)
	if err != nil {
		return nil, err
	}
	return newFs(ctx, name, root, m, opt, d)
}
