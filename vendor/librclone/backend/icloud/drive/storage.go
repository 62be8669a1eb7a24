package drive

import (
	"context"
	"net/http"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/service"
)

// Storage returns how many bytes of the account's storage are used, by Drive and
// other services, and how many there are in total.
func (d *Drive) Storage(ctx context.Context) (used, total int64, err error) {
	type storage struct {
		Info *struct {
			Used  *number `json:"usedStorageInBytes"`
			Total *number `json:"totalStorageInBytes"`
		} `json:"storageUsageInfo"`
	}
	response, err := service.Fetch(ctx, d.Service, service.Request{
		Host: hosts.Setup, Method: http.MethodPost, Path: "/storageUsageInfo", Repeatable: true,
	}, func(response *storage) error {
		if response.Info == nil || response.Info.Used == nil || response.Info.Total == nil {
			return apierr.Damaged("the response lacks the storage of the account")
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	return int64(*response.Info.Used), int64(*response.Info.Total), nil
}
