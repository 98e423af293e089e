package clamd

import (
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Config says which clamd is asked, and for what. The zero value is usable: it asks the clamd
// of this machine at one of its usual sockets.
//
// clamd's own limits matter as much as these. A file beyond its MaxFileSize, MaxScanSize,
// MaxRecursion or MaxFiles counts as clean unless clamd.conf says "AlertExceedsMax yes", and
// an encrypted one unless it says "AlertEncrypted yes".
type Config struct {
	// Addresses of clamd, "unix:/path" or "tcp:host:port", each of another daemon. The one that has
	// the least to do is asked; if it fails, falls silent or takes longer than 10s, another one is,
	// once. Empty means the usual sockets.
	Addresses []string `yaml:"addresses"`
	// Raw says when clamd is given the whole raw message besides its decoded parts: "ambiguous"
	// (the default), where mail clients may read it in several ways, or "always".
	Raw string `yaml:"raw"`
	// StreamMax is the largest content in bytes that clamd is asked about; what is larger is
	// reported as clamd/limit. It should be the smaller of clamd's StreamMaxLength and
	// MaxFileSize. The default is 100 MiB, which is clamd's own for both.
	StreamMax int64 `yaml:"stream_max"`
	// Timeout is how long one scan may take, waiting for its turn included. Default 60s.
	Timeout time.Duration `yaml:"timeout"`
	// Concurrency is how many scans each daemon has at a time; the others wait, first come first
	// served. More than clamd has MaxThreads only wait there. The default is twice the number of processors: with one
	// for each, clamd idles while the next content is on its way (measured, 383 against 608
	// small messages a second on two processors).
	Concurrency int `yaml:"concurrency"`
	// AllMatchDir is a directory in which content that clamd knows is put for a moment, for clamd to tell
	// all signatures that match: otherwise it tells only the first, and that may be one that the policy
	// ignores ("signatures"). Every clamd must see it by the same path and read it (mode 2750, of the
	// group of clamd), and AllowAllMatchScan must be as it is by default. Empty: only the first is told.
	AllMatchDir string `yaml:"all_match_dir"`
	// MaxDatabaseAge is how old the database of a daemon may be, "72h" for three days; with an older
	// one the program is not ready (it goes on scanning). Signatures that are not from ClamAV have no
	// date. The default is 0: any age.
	MaxDatabaseAge time.Duration `yaml:"max_database_age"`
}

const (
	rawAmbiguous = "ambiguous"
	rawAlways    = "always"

	defaultStreamMax = 100 << 20
	defaultTimeout   = 60 * time.Second

	// maxAddresses bounds how many daemons there are to look after.
	maxAddresses = 16
)

// usualAddresses are where distributions put clamd's socket: Debian, Fedora, clamd's example.
func usualAddresses() []string {
	return []string{
		"unix:/run/clamav/clamd.ctl",
		"unix:/run/clamd.scan/clamd.sock",
		"unix:/tmp/clamd.socket",
	}
}

func (c Config) withDefaults() Config {
	if len(c.Addresses) == 0 {
		c.Addresses = usualAddresses()
	}
	if c.Raw == "" {
		c.Raw = rawAmbiguous
	}
	if c.StreamMax == 0 {
		c.StreamMax = defaultStreamMax
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Concurrency == 0 {
		c.Concurrency = 2 * runtime.GOMAXPROCS(0)
	}
	return c
}

// Validate reports the first setting that makes no sense, by its name in the file.
func (c Config) Validate() error {
	if len(c.Addresses) > maxAddresses {
		return fmt.Errorf("addresses: more than %d", maxAddresses)
	}
	for i, a := range c.Addresses {
		if _, err := parseAddress(a); err != nil {
			return fmt.Errorf("addresses: %w", err)
		}
		if slices.Contains(c.Addresses[:i], a) {
			return fmt.Errorf("addresses: %q is there twice", a)
		}
	}
	if c.Raw != "" && c.Raw != rawAmbiguous && c.Raw != rawAlways {
		return fmt.Errorf("raw: %q is neither %q nor %q", c.Raw, rawAmbiguous, rawAlways)
	}
	if c.AllMatchDir != "" && (!filepath.IsAbs(c.AllMatchDir) || strings.ContainsRune(c.AllMatchDir, 0)) {
		return fmt.Errorf("all_match_dir: %q is not the whole path of a directory", c.AllMatchDir)
	}
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"stream_max", c.StreamMax}, {"timeout", int64(c.Timeout)}, {"concurrency", int64(c.Concurrency)},
		{"max_database_age", int64(c.MaxDatabaseAge)},
	} {
		if f.value < 0 {
			return fmt.Errorf("%s: must not be negative", f.name)
		}
	}
	return nil
}

// An address is where a clamd listens, in the terms of package net.
type address struct{ network, host string }

// String is how the configuration writes it.
func (a address) String() string { return a.network + ":" + a.host }

func parseAddress(s string) (address, error) {
	network, host, _ := strings.Cut(s, ":")
	a := address{network, host}
	switch network {
	case "unix":
		if !strings.HasPrefix(host, "/") {
			return a, fmt.Errorf("%q: a socket needs its whole path, as in unix:/run/clamav/clamd.ctl", s)
		}
	case "tcp":
		if h, port, err := net.SplitHostPort(host); err != nil || h == "" || port == "" {
			return a, fmt.Errorf("%q: want a host and a port, as in tcp:127.0.0.1:3310", s)
		}
	default:
		return a, fmt.Errorf("%q: want unix:/path or tcp:host:port", s)
	}
	return a, nil
}
