// Package dmarc tells whether a message comes from whom it says: whether the domain of its sender lets
// that host send (SPF, RFC 7208), and whether the domain that readers see is the one that this, or a
// signature, speaks for (DMARC, RFC 7489).
//
// What DNS does not answer in Config.Timeout is a temporary result, which refuses nothing by itself.
// Nobody is asked about messages of users who have authenticated, and about those from inside: SPF has
// nothing to say about them.
package dmarc

import (
	"fmt"
	"time"
)

const (
	defaultTimeout = 2 * time.Second
	maxTimeout     = 10 * time.Second
)

// Config says whether SPF and DMARC are looked at. The zero value is usable.
type Config struct {
	// Enabled says whether they are. It needs DKIM, which DMARC builds on. Default: no.
	Enabled bool `yaml:"enabled"`
	// Timeout is how long all look-ups of one message may take, by way of dns.resolver. Default 2s, at
	// most 10s.
	Timeout time.Duration `yaml:"timeout"`
}

// Validate reports what is wrong with the configuration.
func (c Config) Validate() error {
	if c.Timeout < 0 || c.Timeout > maxTimeout {
		return fmt.Errorf("dmarc.timeout: %v is not between 0 and %v", c.Timeout, maxTimeout)
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	return c
}
