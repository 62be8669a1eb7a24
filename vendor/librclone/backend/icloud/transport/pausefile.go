package transport

import (
	"strings"
	"sync"
	"time"

	"plakar-icloud/librclone/backend/icloud/privatefile"

	"github.com/rclone/rclone/fs"
)

// pauseFile is the file in which the processes of an account share the time
// before which the service accepts no calls. Without it, each process would
// make a refused call of its own, and such calls may prolong the pause.
type pauseFile struct {
	path string // "" for none

	mu    sync.Mutex
	read  time.Time // when the file was last read
	until time.Time
}

const (
	pauseFileAge = time.Second // after which the file is read again
	// maxSharedPause limits the pause that a process takes over from others, so
	// that a wrong time in the file does not stop all processes for good.
	maxSharedPause = time.Hour
)

// get returns the time before which the service accepts no calls.
func (p *pauseFile) get(now time.Time) time.Time {
	if p.path == "" {
		return time.Time{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stored(now)
}

// stored returns the stored time. p is locked.
func (p *pauseFile) stored(now time.Time) time.Time {
	if now.Sub(p.read) >= pauseFileAge {
		p.read, p.until = now, time.Time{}
		if text, err := privatefile.Read(p.path); err == nil {
			p.until, _ = time.Parse(time.RFC3339Nano, strings.TrimSpace(string(text))) // the zero time if it is damaged
		}
	}
	if p.until.Sub(now) > maxSharedPause {
		return time.Time{}
	}
	return p.until
}

// set stores a time before which the service accepts no calls, unless a later
// one is stored. If two processes store a time at once, the earlier one may
// remain, which costs a refused call.
func (p *pauseFile) set(now, until time.Time) {
	if p.path == "" || until.Sub(now) > maxSharedPause {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !until.After(p.stored(now)) {
		return
	}
	p.read, p.until = now, until
	if err := privatefile.Replace(p.path, []byte(until.UTC().Format(time.RFC3339Nano)+"\n")); err != nil {
		fs.Debugf(nil, "icloud: the pause that iCloud asks for cannot be stored for other processes: %v", err)
	}
}

// PauseFile returns the path of the file beside a session file in which processes
// share the time that the service asks to wait. It is removed with the session.
func PauseFile(sessionFile string) string {
	if sessionFile == "" {
		return ""
	}
	return sessionFile + ".pause"
}
