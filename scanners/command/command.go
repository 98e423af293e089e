// Package command has programs examine what is in a message: each decoded part is given to a program of
// its own, whose exit status tells what it is.
//
// A program is taken at its word only where it is clear: an exit status that is configured, and no more
// output than was read. Everything else, a signal or the end of its time among it, is an error.
package command

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

const (
	malware = "command/malware"
	tooMuch = "command/limit"
)

// The checks of this package.
var checks = []eml.Check{
	{ID: malware, Doc: "A program that is configured to examine content knows it as malware."},
	{ID: tooMuch, Doc: "The content is larger than a program is given, so it was not examined."},
}

// A Scanner examines content by one program. It is safe for concurrent use.
type Scanner struct {
	cfg     Config
	pattern *regexp.Regexp // nil: there is none
	asFile  bool           // the content is a file, not the standard input
	turns   *semaphore.Weighted
	setup   string // all of the configuration that a finding depends on

	asking  chan struct{} // full: the version is being asked
	mu      sync.Mutex
	version string
	asked   time.Time
}

// New makes a Scanner. The error is that of Config.Validate: the program need not be there yet.
func New(cfg Config) (*Scanner, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	s := &Scanner{cfg: cfg, turns: semaphore.NewWeighted(int64(cfg.Concurrency)), asking: make(chan struct{}, 1)}
	if cfg.Pattern != "" {
		s.pattern = regexp.MustCompile(cfg.Pattern) // validated
	}
	s.asFile = slices.ContainsFunc(cfg.Argv, func(a string) bool { return strings.Contains(a, placeholder) })
	setup := fmt.Sprintf("%q %v %v %q %d", cfg.Argv, cfg.Infected, cfg.Clean, cfg.Pattern, cfg.SizeMax)
	s.setup = fmt.Sprintf("%s %x", cfg.Name, sha256.Sum256([]byte(setup)))
	return s, nil
}

// Name is what the configuration calls the engine.
func (s *Scanner) Name() string { return s.cfg.Name }

// Checks are all checks that the scanner may report.
func (s *Scanner) Checks() []eml.Check { return checks }

// Passes tells why Scan does not give the part to the program.
func (s *Scanner) Passes(p *eml.Part) string {
	if p.Member() && !*s.cfg.Members {
		return "left to the engine, which is given the container"
	}
	if len(s.cfg.Types) > 0 && !slices.ContainsFunc(s.cfg.Types, p.Is) {
		return "not of the types that the engine is for"
	}
	return ""
}

// Version is what the program for it wrote, unless that is too long ago; empty if there is none.
func (s *Scanner) Version() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.version == "" || time.Since(s.asked) > s.cfg.VersionEvery {
		return ""
	}
	return s.setup + " " + s.version
}

// Ping asks for the version; without a program for that it only sees that there is one to examine with.
func (s *Scanner) Ping(ctx context.Context) (detail string, err error) {
	if info, err := os.Stat(s.cfg.Argv[0]); err != nil {
		return "", err
	} else if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return "", fmt.Errorf("%s is no program", s.cfg.Argv[0])
	}
	if len(s.cfg.Version) == 0 {
		return s.cfg.Argv[0], nil
	}
	return s.learn(ctx)
}

// learn asks for the version.
func (s *Scanner) learn(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	now := time.Now()
	r, err := run(ctx, s.cfg.Version, nil, false, s.limits())
	if err == nil && r.status != 0 {
		err = fmt.Errorf("exit status %d: %s", r.status, scanners.Said(r.output))
	}
	version := strings.TrimSpace(r.output)
	if err == nil && version == "" {
		err = errors.New("it writes nothing")
	}
	if err != nil {
		version, err = "", fmt.Errorf("version: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version, s.asked = version, now
	return scanners.Said(version), err
}

// remember asks for the version if that is due. While one message asks, the others go on without.
func (s *Scanner) remember(ctx context.Context) {
	if len(s.cfg.Version) == 0 {
		return
	}
	select {
	case s.asking <- struct{}{}:
		defer func() { <-s.asking }()
	default:
		return
	}
	s.mu.Lock()
	due := time.Since(s.asked) > s.cfg.VersionEvery
	s.mu.Unlock()
	if due {
		_, _ = s.learn(ctx) // then nothing is kept; Ping tells
	}
}

func (s *Scanner) limits() limits { return limits{s.cfg.Memory, s.cfg.CPUTime} }

// Scan examines the decoded content of one leaf or member. An error is a *scanners.Temporary, unless the
// program says that it cannot read the content.
func (s *Scanner) Scan(ctx context.Context, p *eml.Part) ([]eml.Finding, error) {
	if !scanners.Examines(s, p) {
		return nil, nil
	}
	if p.Size > s.cfg.SizeMax {
		return s.finding(p, tooMuch, fmt.Sprintf("%d bytes are more than size_max", p.Size)), nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	s.remember(ctx)
	if err := s.turns.Acquire(ctx, 1); err != nil {
		return nil, &scanners.Temporary{Err: fmt.Errorf("wait for a turn: %w", err)}
	}
	defer s.turns.Release(1)
	f, err := p.File()
	if err != nil {
		return nil, &scanners.Temporary{Err: fmt.Errorf("read what to scan: %w", err)}
	}
	defer f.Close()
	r, err := run(ctx, s.argv(), f, s.asFile, s.limits())
	return s.judge(p, r, err)
}

// argv is the program and its arguments, with the path of the content in its place.
func (s *Scanner) argv() []string {
	argv := slices.Clone(s.cfg.Argv)
	for i := range argv {
		argv[i] = strings.ReplaceAll(argv[i], placeholder, filePath)
	}
	return argv
}

// judge makes a verdict of how the program ended. What the pattern finds is a finding however that was:
// what is known to be bad must not wait for a program that fails.
func (s *Scanner) judge(p *eml.Part, r result, err error) ([]eml.Finding, error) {
	name, found := s.match(r.output)
	infected := err == nil && slices.Contains(s.cfg.Infected, r.status)
	if infected && !found {
		name = fmt.Sprintf("exit status %d", r.status)
	}
	var findings []eml.Finding
	if infected || found {
		findings = s.finding(p, malware, name)
	}
	switch {
	case err != nil:
		return findings, &scanners.Temporary{Err: err}
	case infected:
		return findings, nil
	case slices.Contains(s.cfg.Unreadable, r.status):
		return findings, fmt.Errorf("it cannot examine the content: exit status %d: %s", r.status, scanners.Said(r.output))
	case !slices.Contains(s.cfg.Clean, r.status):
		return findings, &scanners.Temporary{Err: fmt.Errorf("exit status %d, which is not configured: %s", r.status, scanners.Said(r.output))}
	case r.more && s.pattern != nil && !found:
		return nil, &scanners.Temporary{Err: fmt.Errorf("it wrote more than %d bytes, in which nothing was looked for", maxOutput)}
	}
	return findings, nil
}

// match looks for the name of what was found.
func (s *Scanner) match(output string) (name string, found bool) {
	if s.pattern == nil {
		return "", false
	}
	m := s.pattern.FindStringSubmatch(output)
	if m == nil {
		return "", false
	}
	if len(m) > 1 && m[1] != "" {
		return scanners.Said(m[1]), true
	}
	return scanners.Said(m[0]), true
}

func (s *Scanner) finding(p *eml.Part, check, detail string) []eml.Finding {
	return []eml.Finding{{Check: check, Part: p, Detail: s.cfg.Name + ": " + detail, Unexamined: check == tooMuch}}
}

var _ scanners.Engine = (*Scanner)(nil)
