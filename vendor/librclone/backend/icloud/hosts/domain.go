package hosts

import (
	"slices"
	"strings"
)

// Domain is the domain of the iCloud that an account belongs to. It is World or
// China. Any other value is used like World, so that a damaged session file does
// not name a host.
type Domain string

// The domains of iCloud. Accounts of mainland China have hosts of their own, whose
// names are those of the other accounts with ".cn" added.
const (
	World Domain = ""
	China Domain = "icloud.com.cn"
)

// DomainOf returns the domain that a response of Apple names, as "iCloud.com.cn" or
// as the address of one of its hosts. known is false if it is none of the domains
// of iCloud. No credential may be sent to such a host.
func DomainOf(named string) (domain Domain, known bool) {
	host := strings.ToLower(named)
	if strings.Contains(host, "/") {
		host = strings.ToLower(Of(named))
	}
	for _, domain := range []Domain{World, China} {
		if name := domain.String(); host == name || strings.HasSuffix(host, "."+name) {
			return domain, true
		}
	}
	return World, false
}

// String returns the name of the domain.
func (d Domain) String() string {
	if d == China {
		return string(China)
	}
	return "icloud.com"
}

// Owns reports whether the host of an address belongs to the iCloud of this domain.
func (d Domain) Owns(address string) bool {
	return strings.HasSuffix(strings.ToLower(Of(address)), "."+d.String())
}

// OwnsContent reports whether the host of an address is one of those that only have
// the contents of this domain.
func (d Domain) OwnsContent(address string) bool {
	domain := ".icloud-content.com"
	if d == China {
		domain += ".cn"
	}
	return strings.HasSuffix(strings.ToLower(Of(address)), domain)
}

// At returns the address that an address of World has in this domain.
func (d Domain) At(address string) string {
	host := Of(address)
	if d != China || !slices.ContainsFunc([]string{".icloud.com", ".apple.com"}, func(domain string) bool { return strings.HasSuffix(host, domain) }) {
		return address
	}
	return strings.Replace(address, host, host+".cn", 1)
}

// Headers replaces the addresses in the headers of rclone's client, which are those
// of World, by those of this domain. It returns the same map.
func (d Domain) Headers(headers map[string]string) map[string]string {
	for _, name := range []string{"Origin", "Referer", "X-Apple-OAuth-Redirect-URI"} {
		if address, ok := headers[name]; ok {
			headers[name] = d.At(address)
		}
	}
	return headers
}
