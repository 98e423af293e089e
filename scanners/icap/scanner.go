// Package icap has the engines of other vendors examine what is in a message, by the protocol that
// proxies speak with them (ICAP, RFC 3507): each decoded part is sent as a response of HTTP, and what
// the service answers instead of it tells what it is.
//
// A service is taken at its word only where it is clear: 204, or the content itself sent back, is
// clean; a name in one of the fields that vendors use, or another content, is a finding; everything
// else is an error.
package icap

import (
	"context"
	"fmt"
	"io"

	"golang.org/x/sync/semaphore"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// A Scanner examines content by asking one ICAP service. It is safe for concurrent use.
type Scanner struct {
	cfg     Config
	service *service
}

// New makes a Scanner. The error is that of Config.Validate, or of reading CAFile: the service need
// not be there yet. The caller closes it.
func New(cfg Config) (*Scanner, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	t, err := parseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	s := &service{target: t, slots: make(chan struct{}, 1), max: cfg.Concurrency, size: cfg.Concurrency, turns: semaphore.NewWeighted(int64(cfg.Concurrency))}
	if s.tls, err = cfg.tlsConfig(t); err != nil {
		return nil, err
	}
	return &Scanner{cfg: cfg, service: s}, nil
}

// Close ends connections that nobody uses. Nothing may be scanned any more.
func (s *Scanner) Close() { s.service.idle.close() }

// Name is what the configuration calls the service.
func (s *Scanner) Name() string { return s.cfg.Name }

// Checks are all checks that the scanner may report.
func (s *Scanner) Checks() []eml.Check { return checks }

// Passes tells why Scan does not ask the service about the part: the service is to open the container that
// it is in on its own.
func (s *Scanner) Passes(p *eml.Part) string {
	if p.Member() && !*s.cfg.Members {
		return "left to the engine, which is given the container"
	}
	return ""
}

// Version is the ISTag of the service, by which it tells that its database or configuration is another
// one (RFC 3507 section 4.7). It is empty if no reply has told it in the last two minutes.
func (s *Scanner) Version() string {
	tag := s.service.version()
	if tag == "" {
		return ""
	}
	return fmt.Sprintf("%s %s %q size_max=%d trust_preview=%v", s.cfg.Name, s.service.target.uri, tag, s.cfg.SizeMax, s.cfg.TrustPreview)
}

// Ping asks the service what it can do, and tells who it is.
func (s *Scanner) Ping(ctx context.Context) (detail string, err error) {
	able, err := s.service.learn(ctx)
	if err != nil {
		return "", err
	}
	return able.name + " " + s.service.version(), nil
}

// Scan examines the decoded content of one leaf or member. An error is a *scanners.Temporary.
func (s *Scanner) Scan(ctx context.Context, p *eml.Part) ([]eml.Finding, error) {
	if !scanners.Examines(s, p) {
		return nil, nil
	}
	if p.Size > s.cfg.SizeMax {
		tooLarge := sighting{limit, fmt.Sprintf("%d bytes are more than size_max", p.Size)}
		return []eml.Finding{tooLarge.finding(p, s.cfg.Name)}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	x := content{p.Size, func() io.Reader { return p.Content() }}
	seen, err := s.service.scan(ctx, x, s.cfg.TrustPreview)
	if err != nil {
		return nil, &scanners.Temporary{Err: err}
	}
	var findings []eml.Finding
	for _, f := range seen {
		findings = append(findings, f.finding(p, s.cfg.Name))
	}
	return findings, nil
}

var _ scanners.Engine = (*Scanner)(nil)
