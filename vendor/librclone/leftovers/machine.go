package leftovers

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	// quietAge is the age of a list from which no request of its process is still
	// carried out. iCloud was measured to take 20 s for one.
	quietAge = 2 * time.Minute
	// restartAge is the age from which a list from before a restart is used. Another
	// machine may have the same name.
	restartAge = 24 * time.Hour
	// maxAge is the age from which a list is removed even if its items are not settled.
	maxAge = 30 * 24 * time.Hour
)

// machine identifies a machine in the names of lists. Locks do not show which processes
// of other machines run, which may share the state folder or have a copy of it.
type machine struct {
	name string
	boot string // differs after a restart, and is the same in all containers
}

// here returns the machine of this process.
var here = sync.OnceValue(func() machine {
	name, _ := os.Hostname() // without a name, the boot id is enough
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		boot = []byte(name) // only Linux has the file
	}
	return machine{digest([]byte(name)), digest(boot)}
})

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// nameOf returns the name of a list, without the start that all lists of an account
// share.
func (m machine) nameOf(random string) string {
	return "-" + m.name + "-" + m.boot + "-" + random + suffix
}

// machineOf returns the machine whose process writes a list, from the name of the
// list without its start.
func machineOf(name string) (of machine, ok bool) {
	name, ok = strings.CutSuffix(name, suffix)
	parts := strings.Split(name, "-")
	if !ok || len(parts) != 4 || parts[0] != "" {
		return machine{}, false
	}
	return machine{parts[1], parts[2]}, true
}

// isOther reports whether the processes of m cannot be seen from this machine.
func (m machine) isOther() bool { return m.boot != here().boot && m.name != here().name }

// age returns the age from which the lists of the machine are used.
func (m machine) age() time.Duration {
	switch {
	case m.boot == here().boot:
		return 0
	case m.isOther():
		return maxAge
	}
	return restartAge
}
