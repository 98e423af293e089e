package icap

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// Config is one ICAP service: an engine of some vendor, asked by RESPMOD (RFC 3507).
//
// The service's own limits matter as much as these. What it does not look into, because it is too
// large or of a type that it is not set to scan, it calls unmodified, as what is clean: c-icap does
// so beyond virus_scan.MaxObjectSize and for all types that virus_scan.ScanFileTypes leaves out.
type Config struct {
	// Name is what findings and the log call the service: letters, digits, ".", "-" and "_". Default: the
	// host of the URL.
	Name string `yaml:"name"`
	// URL of the service, "icap://host:port/service", or icaps for TLS. The port is 1344, or 11344 of
	// icaps, if there is none.
	URL string `yaml:"url"`
	// CAFile has the certificates, in PEM, by which the one of an icaps service is known. Default: those
	// of the system.
	CAFile string `yaml:"ca_file"`
	// Members says whether the service is given what comes out of containers too. Default true; false is
	// for engines that open all of them on their own.
	Members *bool `yaml:"members"`
	// TrustPreview takes a service at its word that says after the first bytes of some content that all
	// of it is unmodified. Without it such content is sent again as a whole.
	TrustPreview bool `yaml:"trust_preview"`
	// SizeMax is the largest content in bytes that the service is asked about; what is larger is
	// reported as icap/limit. The default is 100 MiB.
	SizeMax int64 `yaml:"size_max"`
	// Timeout is how long one scan may take, waiting for its turn included. Default 60s.
	Timeout time.Duration `yaml:"timeout"`
	// Concurrency is how many scans run at a time, first come first served; not more than the service
	// says itself (Max-Connections). The default is twice the number of processors.
	Concurrency int `yaml:"concurrency"`
}

const (
	defaultSizeMax = 100 << 20
	defaultTimeout = 60 * time.Second

	plainPort = "1344"
	tlsPort   = "11344"

	// maxConcurrency is more than any service has use for.
	maxConcurrency = 1024
	// maxServices bounds how many services each part is sent to.
	maxServices = 16
)

func (c Config) withDefaults() Config {
	if c.Name == "" {
		u, _ := url.Parse(c.URL) // validated
		c.Name = strings.Map(nameRune, u.Hostname())
	}
	if c.Members == nil {
		yes := true
		c.Members = &yes
	}
	if c.SizeMax == 0 {
		c.SizeMax = defaultSizeMax
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Concurrency == 0 {
		c.Concurrency = 2 * runtime.GOMAXPROCS(0)
	}
	return c
}

// EngineName is what findings call the service.
func (c Config) EngineName() string { return c.withDefaults().Name }

// nameRune makes a character one that a name may have.
func nameRune(r rune) rune {
	if r == '.' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
		return r
	}
	return '_'
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,60}$`)

// Validate reports the first setting that makes no sense, by its name in the file.
func (c Config) Validate() error {
	if c.Name != "" && !namePattern.MatchString(c.Name) {
		return fmt.Errorf("name: %q is not of letters, digits, \".\", \"-\" and \"_\"", c.Name)
	}
	if _, err := parseURL(c.URL); err != nil {
		return fmt.Errorf("url: %w", err)
	}
	if c.Concurrency > maxConcurrency {
		return fmt.Errorf("concurrency: more than %d", maxConcurrency)
	}
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"size_max", c.SizeMax}, {"timeout", int64(c.Timeout)}, {"concurrency", int64(c.Concurrency)},
	} {
		if f.value < 0 {
			return fmt.Errorf("%s: must not be negative", f.name)
		}
	}
	return nil
}

// ValidateAll is Validate for all services.
func ValidateAll(list []Config) error {
	if len(list) > maxServices {
		return fmt.Errorf("icap: more than %d services", maxServices)
	}
	for i, c := range list {
		if err := c.Validate(); err != nil {
			return fmt.Errorf("icap[%d].%w", i, err)
		}
	}
	return nil
}

// A target is where a service is.
type target struct {
	uri  string // as requests name it
	host string // as the field Host names it
	addr string // host:port, in the terms of package net
	name string // of the host, for TLS
	tls  bool
}

func parseURL(s string) (target, error) {
	u, err := url.Parse(s)
	if err != nil {
		return target{}, err
	}
	t := target{host: u.Host, name: u.Hostname(), tls: u.Scheme == "icaps"}
	port := u.Port()
	switch {
	case u.Scheme != "icap" && u.Scheme != "icaps":
		return t, fmt.Errorf("%q: want icap://host/service or icaps://host/service", s)
	case t.name == "" || strings.Trim(u.Path, "/") == "":
		return t, fmt.Errorf("%q: want a host and a service, as in icap://127.0.0.1:1344/avscan", s)
	case u.User != nil || u.Fragment != "":
		return t, fmt.Errorf("%q: neither a user nor a fragment can be sent", s)
	case port == "" && t.tls:
		port = tlsPort
	case port == "":
		port = plainPort
	}
	t.addr = net.JoinHostPort(t.name, port)
	// The URI of a request begins with "icap:" whatever carries it (RFC 3507 section 4.2).
	t.uri = "icap://" + u.Host + u.EscapedPath()
	if u.RawQuery != "" {
		t.uri += "?" + u.RawQuery
	}
	// net/url takes what is not ASCII in a host or query.
	if strings.ContainsFunc(t.uri, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return t, fmt.Errorf("%q: only ASCII without blanks can be sent", s)
	}
	return t, nil
}

// tlsConfig is how the service is known; nil if it is asked without TLS.
func (c Config) tlsConfig(t target) (*tls.Config, error) {
	if !t.tls {
		return nil, nil
	}
	cfg := &tls.Config{ServerName: t.name, MinVersion: tls.VersionTLS12}
	if c.CAFile == "" {
		return cfg, nil
	}
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	cfg.RootCAs = x509.NewCertPool()
	if !cfg.RootCAs.AppendCertsFromPEM(pem) {
		return nil, errors.New("ca_file: no certificate in " + c.CAFile)
	}
	return cfg, nil
}
