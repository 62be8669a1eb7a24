package hosts

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// Only the two domains of iCloud are accepted as the domain of an account.
func TestDomainsInResponses(t *testing.T) {
	for named, domain := range map[string]Domain{
		"iCloud.com": World, "icloud.com": World, "https://www.icloud.com": World,
		"iCloud.com.cn": China, "www.icloud.com.cn": China, "https://setup.icloud.com.cn/setup/ws/1/accountLogin": China,
	} {
		found, known := DomainOf(named)
		assert.True(t, known, named)
		assert.Equal(t, domain, found, named)
	}
	for _, named := range []string{
		"", "icloud.com.cn.example.org", "noticloud.com", "evil-icloud.com.cn", "https://icloud.com.cn@example.org/",
		"https://example.org/.icloud.com.cn", "icloud.com:x@example.org", "apple.com", "icloud.com.", ".cn",
	} {
		_, known := DomainOf(named)
		assert.False(t, known, named)
	}
}

// Every address of the client has a counterpart in the other domain.
func TestAddressesOfADomain(t *testing.T) {
	for address, there := range map[string]string{
		SetupEndpoint: "https://setup.icloud.com.cn/setup/ws/1", HomeEndpoint: "https://www.icloud.com.cn",
		AuthEndpoint: "https://idmsa.apple.com.cn/appleauth/auth", HomeEndpoint + "/": "https://www.icloud.com.cn/",
		"https://example.org/.icloud.com": "https://example.org/.icloud.com", "https://www.icloud.com.cn": "https://www.icloud.com.cn",
	} {
		assert.Equal(t, there, China.At(address))
		assert.Equal(t, address, World.At(address))
		assert.Equal(t, address, Domain("example.org").At(address))
	}
	headers := map[string]string{"Origin": HomeEndpoint, "Referer": HomeEndpoint + "/", "User-Agent": "x"}
	assert.Equal(t, map[string]string{"Origin": "https://www.icloud.com.cn", "Referer": "https://www.icloud.com.cn/", "User-Agent": "x"}, China.Headers(headers))
}

// The hosts of one domain do not get the cookies of the other one.
func TestHostsOfADomain(t *testing.T) {
	for address, owner := range map[string]Domain{
		"https://p31-contentws.icloud.com:443/x": World, "https://P31-contentws.iCloud.com.cn/": China,
	} {
		for _, domain := range []Domain{World, China} {
			assert.Equal(t, domain == owner, domain.Owns(address), address)
		}
	}
	for address, owner := range map[string]Domain{
		"https://cvws.icloud-content.com/x": World, "https://CVWS.iCloud-Content.com.cn/x": China,
	} {
		for _, domain := range []Domain{World, China} {
			assert.Equal(t, domain == owner, domain.OwnsContent(address), address)
		}
	}
	for _, address := range []string{"https://cvws.icloud-content.com/", "https://example.org/.icloud.com", "https://noticloud.com/", "https://icloud.com.cn.example.org/"} {
		assert.False(t, World.Owns(address) || China.Owns(address), address)
	}
}
