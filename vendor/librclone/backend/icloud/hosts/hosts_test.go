package hosts

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// Only addresses with HTTPS and those of this machine are safe.
func TestSafeAddresses(t *testing.T) {
	for address, safe := range map[string]bool{
		"https://cvws.icloud-content.com/B/x": true, "http://127.0.0.1:8080/x": true, "http://[::1]/": true, "http://localhost:1/": true,
		"http://cvws.icloud-content.com/": false, "http://127.0.0.1.example.org/": false, "http://localhost.example.org/": false,
		"https:///x": false, "ftp://127.0.0.1/": false, "": false, "/x": false,
	} {
		assert.Equal(t, safe, IsSafe(address), address)
	}
}

// Calls are only sent to the hosts of Apple that have services, in both domains of
// iCloud, and to this machine.
func TestAddressesOfCalls(t *testing.T) {
	for address, allowed := range map[string]bool{
		"https://p31-drivews.icloud.com:443": true, "https://P31-DriveWS.iCloud.com": true, "https://setup.icloud.com/setup/ws/1": true,
		"https://p210-docws.icloud.com.cn:443": true, "https://p210-sharedstreams.icloud.com.cn:443/1/sharedstreams": true, "https://idmsa.apple.com.cn/appleauth/auth": true,
		"http://127.0.0.1:8080/x": true, "https://localhost/": true,
		"http://p31-drivews.icloud.com": false, "https://cvws.icloud-content.com/": false, "https://cvws.icloud-content.com.cn/": false,
		"https://example.org/": false, "https://icloud.com.example.org/": false, "https://noticloud.com/": false, "https://icloud.com.cn.org/": false,
		"https://p31-drivews.icloud.com@example.org/": false, "https://example.org/.icloud.com": false, "": false,
	} {
		assert.Equal(t, allowed, MayGetCalls(address), address)
	}
}

// Contents are only exchanged with hosts of Apple and with this machine.
func TestAddressesOfContents(t *testing.T) {
	for address, allowed := range map[string]bool{
		"https://cvws.icloud-content.com/B/x": true, "https://p31-contentws.icloud.com:443/singleFileUpload": true, "https://x.apple.com/": true,
		"https://CVWS.iCloud-Content.com/": true, "https://cvws.icloud-content.com.cn/B/x": true, "https://p1-contentws.icloud.com.cn/": true,
		"http://127.0.0.1:8080/x": true, "https://localhost/": true,
		"http://cvws.icloud-content.com/": false, "https://icloud.com.example.org/": false, "https://noticloud.com/": false,
		"https://cvws.icloud-content.com@example.org/": false, "https://example.org/.icloud.com": false, "https://icloud.com.cn.cn.org/": false,
	} {
		assert.Equal(t, allowed, MayHaveContents(address), address)
	}
}
