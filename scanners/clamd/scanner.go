// Package clamd has ClamAV's daemon, clamd(8), examine what is in a message: each decoded part,
// and the message around them. It speaks the
// protocol of baruwa-enterprise's client, not with its commands: ask and inquire tell why.
//
// What clamd says is taken at its word only where it is clear: exactly one OK is clean, a name
// is a finding, a limit is "not examined", and everything else is an error.
package clamd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// A Scanner examines content by asking one of several clamd. It is safe for concurrent use. It holds
// no connection between scans, so there is nothing to close and each clamd may come and go.
type Scanner struct {
	cfg  Config
	pool *pool
}

// New makes a Scanner. The error is that of Config.Validate: clamd need not be there yet. The
// logger may be nil.
func New(cfg Config, log *slog.Logger) (*Scanner, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	cfg = cfg.withDefaults()
	p := &pool{limit: cfg.Concurrency, hedge: min(hedgeTime, cfg.Timeout/2), log: log}
	for _, s := range cfg.Addresses {
		a, err := parseAddress(s)
		if err != nil {
			return nil, err
		}
		p.daemons = append(p.daemons, &daemon{addr: a, flights: map[*attempt]bool{}})
	}
	return &Scanner{cfg: cfg, pool: p}, nil
}

// Checks are all checks that the scanner may report.
func (s *Scanner) Checks() []eml.Check { return checks }

// Scan examines the decoded content of one leaf or member. Text that ScanMessage sends with the
// message is left to it. An error is a *scanners.Temporary unless clamd cannot read the content.
func (s *Scanner) Scan(ctx context.Context, p *eml.Part) ([]eml.Finding, error) {
	if !scanners.Examines(s, p) {
		return nil, nil
	}
	return s.examine(ctx, p, partContent(p))
}

// examine asks clamd about content that belongs to p.
func (s *Scanner) examine(ctx context.Context, p *eml.Part, c content) ([]eml.Finding, error) {
	if c.size == 0 {
		return nil, nil
	}
	if c.size > s.cfg.StreamMax {
		return limit(p, fmt.Sprintf("%d bytes are more than stream_max", c.size)), nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	seen, err := s.pool.scan(ctx, c)
	if errors.Is(err, errUnreadable) {
		return nil, err
	}
	if err != nil {
		return nil, &scanners.Temporary{Err: err}
	}
	if seen == nil {
		return nil, nil
	}
	if s.cfg.AllMatchDir == "" || !seen.named {
		return []eml.Finding{seen.finding(p)}, nil
	}
	all, err := s.all(ctx, c, seen)
	if err != nil {
		return []eml.Finding{seen.finding(p)}, &scanners.Temporary{Err: fmt.Errorf("look for other signatures than %s: %w", seen.detail, err)}
	}
	findings := []eml.Finding{{Check: "clamd/all", Part: p, Detail: fmt.Sprintf("%d found", len(all))}}
	for _, f := range all {
		findings = merge(findings, []eml.Finding{f.finding(p)})
	}
	return findings, nil
}

func (s sighting) finding(p *eml.Part) eml.Finding {
	unexamined := s.check == "clamd/limit" || s.check == "clamd/encrypted"
	return eml.Finding{Check: s.check, Part: p, Detail: s.detail, Unexamined: unexamined}
}

func limit(p *eml.Part, detail string) []eml.Finding {
	return []eml.Finding{sighting{check: "clamd/limit", detail: detail}.finding(p)}
}
