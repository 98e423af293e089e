// Package network tells what others know about the network that a message comes from: it asks lists
// in DNS (RFC 5782) about the sender's host and domains, and finds that host behind relays of our own.
// Its Resolver is for whatever else asks DNS about senders.
//
// Nothing is asked unless a list is configured. What cannot be known in Config.Timeout is not known;
// a list that is down never refuses mail by itself, nor delays it by more than that.
package network

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

const (
	defaultTimeout = 2 * time.Second
	maxTimeout     = 10 * time.Second
	maxZones       = 50 // of each kind
	maxCodes       = 100
	maxZoneName    = 30
)

// Config says which lists are asked, and whom. The zero value asks none.
type Config struct {
	// Resolver is the DNS server that is asked, as address:port. Default: those of the system. Most
	// lists answer nobody who asks through one of the large public resolvers.
	Resolver string `yaml:"resolver"`
	// Timeout is how long a look-up may take. All of a message are made at the same time. Default 2s,
	// at most 10s.
	Timeout time.Duration `yaml:"timeout"`
	// Blocklists are asked about the address of the sender's host; see `dns/listed`.
	Blocklists []Zone `yaml:"blocklists"`
	// Allowlists are asked about the same; see `dns/allowed`.
	Allowlists []Zone `yaml:"allowlists"`
	// Domains are lists that are asked about the domain of the envelope sender and the name in HELO;
	// see `dns/domain-listed`.
	Domains []Zone `yaml:"domains"`
}

// A Zone is a list in DNS.
type Zone struct {
	// Zone is its domain, such as `zen.spamhaus.org`.
	Zone string `yaml:"zone"`
	// Name is what findings call it. Default: the first label of the zone.
	Name string `yaml:"name"`
	// Codes are the answers that count: addresses (`127.0.0.2`), ranges (`127.0.0.4-127.0.0.7`) and
	// networks (`127.0.0.0/28`) in 127.0.0.0/8. Default: all of that but those by which lists refuse
	// to answer.
	Codes []string `yaml:"codes"`
}

// Asks reports whether any list is asked.
func (c Config) Asks() bool { return len(c.Blocklists)+len(c.Allowlists)+len(c.Domains) > 0 }

// Validate reports what is wrong with the configuration.
func (c Config) Validate() error {
	if c.Resolver != "" {
		if host, port, err := net.SplitHostPort(c.Resolver); err != nil || host == "" || port == "" {
			return fmt.Errorf("dns.resolver: %q is not address:port", c.Resolver)
		}
	}
	if c.Timeout < 0 || c.Timeout > maxTimeout {
		return fmt.Errorf("dns.timeout: %v is not between 0 and %v", c.Timeout, maxTimeout)
	}
	_, err := c.zones()
	return err
}

func (c Config) withDefaults() Config {
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	return c
}

// A kind of lists.
type kind uint8

const (
	block kind = iota
	allow
	domains
)

var kindNames = [...]string{"blocklists", "allowlists", "domains"}

// A zone is a Zone that is ready to be asked.
type zone struct {
	kind  kind
	name  string
	base  string // fully qualified, in lower case
	codes []codeRange
}

// A codeRange is the answers from one address to another.
type codeRange struct{ from, to netip.Addr }

// zones are all lists.
func (c Config) zones() ([]zone, error) {
	var out []zone
	for k, list := range [][]Zone{c.Blocklists, c.Allowlists, c.Domains} {
		if len(list) > maxZones {
			return nil, fmt.Errorf("dns.%s: more than %d zones", kindNames[k], maxZones)
		}
		for _, z := range list {
			ready, err := z.ready(kind(k))
			if err != nil {
				return nil, fmt.Errorf("dns.%s: %w", kindNames[k], err)
			}
			out = append(out, ready)
		}
	}
	return out, nil
}

func (z Zone) ready(k kind) (zone, error) {
	base := strings.ToLower(strings.TrimSuffix(z.Zone, "."))
	if !isDomain(base) || !strings.Contains(base, ".") {
		return zone{}, fmt.Errorf("zone: %q is no domain", z.Zone)
	}
	name := z.Name
	if name == "" {
		name, _, _ = strings.Cut(base, ".")
	}
	if !isZoneName(name) {
		return zone{}, fmt.Errorf("name: %q is not of 1 to %d letters, digits and hyphens", name, maxZoneName)
	}
	if len(z.Codes) > maxCodes {
		return zone{}, fmt.Errorf("%s: more than %d codes", z.Zone, maxCodes)
	}
	out := zone{kind: k, name: name, base: base + "."}
	for _, text := range z.Codes {
		r, err := parseCodes(text)
		if err != nil {
			return zone{}, fmt.Errorf("%s: %w", z.Zone, err)
		}
		out.codes = append(out.codes, r)
	}
	return out, nil
}

func isZoneName(s string) bool {
	return s != "" && len(s) <= maxZoneName && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

// isDomain reports whether s can be a domain in DNS that senders have, without the dot at its end.
func isDomain(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool {
			return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		}) {
			return false
		}
	}
	return true
}

var loopback = netip.MustParsePrefix("127.0.0.0/8")

// parseCodes reads an address, a range or a network of answers.
func parseCodes(text string) (codeRange, error) {
	wrong := fmt.Errorf("code: %q is no address, range or network in 127.0.0.0/8", text)
	var r codeRange
	if first, last, ok := strings.Cut(text, "-"); ok {
		a, errA := netip.ParseAddr(strings.TrimSpace(first))
		b, errB := netip.ParseAddr(strings.TrimSpace(last))
		if errA != nil || errB != nil {
			return r, wrong
		}
		r = codeRange{a, b}
	} else {
		p, err := parsePrefix(text)
		if err != nil || !p.Addr().Is4() {
			return r, wrong
		}
		r = codeRange{p.Addr(), lastOf(p)}
	}
	if !loopback.Contains(r.from) || !loopback.Contains(r.to) || r.to.Less(r.from) {
		return r, wrong
	}
	return r, nil
}

// lastOf is the last address of an IPv4 network.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}
