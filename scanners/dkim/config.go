// Package dkim tells which DKIM signatures (RFC 6376) of a message are good, by the verifier of
// emersion/go-msgauth, and records that in a message that is changed, whose signatures are not good
// any more afterwards.
//
// A message without a signature costs nothing. One with a signature costs one look-up of its key,
// which is kept, and one pass over its bytes. That the key cannot be had is a result as any other:
// it never delays a message by more than Config.Timeout, nor has it refused.
package dkim

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

const (
	defaultTimeout    = 2 * time.Second
	maxTimeout        = 10 * time.Second
	defaultSignatures = 3
	maxSignatures     = 10
)

// Config says whether and how signatures are verified. The zero value is usable.
type Config struct {
	// Enabled says whether signatures are verified. Default: in serve yes, in scan and explain no,
	// which work without a network.
	Enabled *bool `yaml:"enabled"`
	// Resolver is the DNS server that keys are asked of, as address:port. Default: those of the
	// system.
	Resolver string `yaml:"resolver"`
	// Timeout is how long all look-ups of one message may take. Default 2s, at most 10s.
	Timeout time.Duration `yaml:"timeout"`
	// Signatures is how many signatures of one message are verified, from the top. Default 3.
	Signatures int `yaml:"signatures"`
	// AuthservID is the name under which results are recorded in Authentication-Results (RFC 8601
	// section 2.5) of a message that is changed. Others under the same name are taken for forged
	// then and removed; so another filter before this one that writes such fields needs another
	// name. Default: the name of this host.
	AuthservID string `yaml:"authserv_id"`
}

// On reports whether signatures are verified.
func (c Config) On() bool { return c.Enabled != nil && *c.Enabled }

// Validate reports what is wrong with the configuration.
func (c Config) Validate() error {
	if c.Resolver != "" {
		if host, port, err := net.SplitHostPort(c.Resolver); err != nil || host == "" || port == "" {
			return fmt.Errorf("dkim.resolver: %q is not address:port", c.Resolver)
		}
	}
	if c.Timeout < 0 || c.Timeout > maxTimeout {
		return fmt.Errorf("dkim.timeout: %v is not between 0 and %v", c.Timeout, maxTimeout)
	}
	if c.Signatures < 0 || c.Signatures > maxSignatures {
		return fmt.Errorf("dkim.signatures: %d is not between 0 and %d", c.Signatures, maxSignatures)
	}
	if c.AuthservID != "" && !isName(c.AuthservID) {
		return fmt.Errorf("dkim.authserv_id: %q is no host name", c.AuthservID)
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Signatures == 0 {
		c.Signatures = defaultSignatures
	}
	if c.AuthservID == "" {
		c.AuthservID, _ = os.Hostname()
	}
	if !isName(c.AuthservID) {
		c.AuthservID = "localhost"
	}
	return c
}

// isName reports whether s can be a domain name in DNS, and in a field without quotes.
func isName(s string) bool {
	return s != "" && len(s) <= 253 && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '-' && r != '.' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}
