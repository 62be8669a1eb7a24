package session

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/redact"
)

// commandTime is how long a password command may take. It may ask a person or
// another machine for the password.
const commandTime = time.Minute

// commandGrace is how long the output of the command may stay open after the
// command has ended, which its child processes can cause.
const commandGrace = time.Second

// PasswordOf runs a shell command and returns the first line of its output as
// the password. Its stderr is that of this process.
func PasswordOf(ctx context.Context, command string) (Secret, error) {
	limited, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	run := exec.CommandContext(limited, "/bin/sh", "-c", command)
	run.Stderr = os.Stderr
	run.WaitDelay = commandGrace
	printed, err := run.Output()
	password, _, _ := strings.Cut(string(printed), "\n")
	password = strings.TrimSuffix(password, "\r")
	failed := func(why string) error {
		return apierr.New(apierr.KindNeedsLogin, "", "", "the password command gave no password: "+why).Because(apierr.CauseNoPassword).
			Advise("run it by hand and check that it prints the password")
	}
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.Is(limited.Err(), context.DeadlineExceeded):
		return "", failed("it did not end within " + commandTime.String())
	case err != nil:
		return "", failed(err.Error())
	case password == "":
		return "", failed("it printed nothing")
	}
	redact.Conceal(password)
	return Secret(password), nil
}

var appSpecific = regexp.MustCompile(`^\s*[a-z]{4}(-[a-z]{4}){3}\s*$`)

// IsAppSpecific reports whether a password has the form of Apple's app-specific
// passwords, xxxx-xxxx-xxxx-xxxx. The web sign-in, and therefore iCloud Drive,
// does not accept them.
func IsAppSpecific(password Secret) bool { return appSpecific.MatchString(string(password)) }
