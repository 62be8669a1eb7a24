// Package notify sends pings to the monitors of users.
package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"plakar-icloud/librclone/redact"
	"plakar-icloud/librclone/remote"

	"github.com/rclone/rclone/fs/fshttp"
)

const (
	// tries is how often a ping is sent until the monitor accepts it.
	tries = 3
	// pause is the pause before the second try. It doubles for each further one.
	pause = time.Second
	// timeout is how long all tries together may take.
	timeout = time.Minute
)

func init() {
	remote.Method("notify/ping", ping)
}

type pingRequest struct {
	URL  string `json:"url"`
	Text string `json:"text"`
}

// ping posts a text to the address of a monitor. Errors do not contain the address,
// which is a secret.
func ping(ctx context.Context, in pingRequest) (*struct{}, error) {
	redact.Conceal(in.URL)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	client := fshttp.NewClient(ctx)
	wait := pause
	for try := 1; ; try++ {
		err := post(ctx, client, in)
		if err == nil || try == tries {
			return new(struct{}), err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(wait):
			wait *= 2
		}
	}
}

func post(ctx context.Context, client *http.Client, in pingRequest) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, in.URL, strings.NewReader(in.Text))
	if err != nil {
		return errors.New("ping_url is not a valid address")
	}
	request.Header.Set("Content-Type", "text/plain; charset=utf-8")
	response, err := client.Do(request)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err
		}
		return fmt.Errorf("the monitor cannot be reached: %w", err)
	}
	_ = response.Body.Close()
	if response.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("the monitor responded with the status %s", response.Status)
	}
	return nil
}
