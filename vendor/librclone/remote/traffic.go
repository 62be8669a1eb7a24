package remote

import (
	"context"

	"plakar-icloud/librclone/traffic"
)

type trafficResult struct {
	Requests int64 `json:"requests"`
	Waits    int64 `json:"waits"`
	WaitedMS int64 `json:"waited_ms"`
}

// totals returns how many requests the iCloud backends have sent and how long they
// have waited. Other backends are not counted.
func totals(context.Context, struct{}) (*trafficResult, error) {
	now := traffic.Now()
	return &trafficResult{Requests: now.Requests, Waits: now.Waits, WaitedMS: now.Waited.Milliseconds()}, nil
}

func init() { Method("remote/traffic", totals) }
