// Package hosts has the names and addresses of Apple's hosts, and the rules for which
// hosts may receive the secrets and the contents of an account.
package hosts

import (
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/rclone/rclone/backend/iclouddrive/api"
)

// The names of the services, as in the list of services of an account.
const (
	Drive  = api.WsDrive
	Docs   = api.WsDocs
	Photos = api.WsPhotos

	SharedAlbums = "sharedstreams"
)

// Setup is the name of the setup host. The list of services does not have it.
const Setup = "setup"

// ValidatePath is the path of the request at the setup host that confirms a
// session and returns the addresses of the services.
const ValidatePath = "/validate"

// The addresses that are the same for all accounts of World. See Domain.At.
const (
	SetupEndpoint = "https://setup.icloud.com/setup/ws/1"
	HomeEndpoint  = "https://www.icloud.com"

	// AuthEndpoint is the address at which the password of a sign-in is proven.
	AuthEndpoint = "https://idmsa.apple.com/appleauth/auth"
)

// Of returns the host of an address, or "the service" if it has none.
func Of(address string) string {
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		return u.Hostname()
	}
	return "the service"
}

// IsSafe reports whether requests to an address are protected against
// eavesdropping.
func IsSafe(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname())
}

func isLoopback(host string) bool { return host == "localhost" || net.ParseIP(host).IsLoopback() }

// appleDomains are the domains of the hosts that contents are read from and sent
// to. The accounts of mainland China have the same ones with ".cn" added.
var appleDomains = []string{".icloud-content.com", ".icloud.com", ".apple.com"}

// MayHaveContents reports whether contents may be read from an address or sent
// to it: the address is safe, and its host is Apple's or this machine.
func MayHaveContents(address string) bool {
	host := strings.ToLower(Of(address))
	ofApple := func(domain string) bool { return strings.HasSuffix(strings.TrimSuffix(host, ".cn"), domain) }
	return IsSafe(address) && (isLoopback(host) || slices.ContainsFunc(appleDomains, ofApple))
}

// callDomains are the domains of the hosts that calls are sent to.
var callDomains = []string{".icloud.com", ".apple.com", ".icloud.com.cn", ".apple.com.cn"}

// GetsCalls reports whether a host is one of Apple's that calls are sent to, and not
// only contents.
func GetsCalls(host string) bool {
	return slices.ContainsFunc(callDomains, func(domain string) bool { return strings.HasSuffix(host, domain) })
}

// MayGetCalls reports whether calls, which contain the secrets of an account, may be
// sent to an address: the address is safe, and its host is one of Apple's that calls
// are sent to, or this machine.
func MayGetCalls(address string) bool {
	host := strings.ToLower(Of(address))
	return IsSafe(address) && (isLoopback(host) || GetsCalls(host))
}

// SameDomain reports whether two addresses are in the same domain of Apple, and
// requests to the second one are protected against eavesdropping.
func SameDomain(from, to string) bool {
	for _, domain := range callDomains {
		if strings.HasSuffix(Of(from), domain) {
			return strings.HasSuffix(Of(to), domain) && strings.HasPrefix(to, "https://")
		}
	}
	return false
}
