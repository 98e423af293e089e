// Package virustotal asks VirusTotal (API version 3) what it knows of content, by its SHA-256. Nothing is
// given away but the hash, unless the configuration says so.
//
// It is an opinion beside the engines: what cannot be asked about is not missed, unless the configuration
// says that it is required. Only a whole answer in the form of the API counts as one.
package virustotal

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

const (
	checkMalware    = "virustotal/malware"
	checkSuspicious = "virustotal/suspicious"
	checkUnknown    = "virustotal/unknown"
)

const (
	// concurrency is how many questions are asked at a time.
	concurrency = 4
	// maxFailures in a row it is left alone for pause; for longer pauses if it refuses to answer.
	maxFailures  = 3
	pause        = 30 * time.Second
	quotaPause   = time.Minute
	refusedPause = 10 * time.Minute
)

// A Scanner asks VirusTotal. It is safe for concurrent use.
type Scanner struct {
	cfg    Config
	key    string
	client *http.Client
	log    *slog.Logger
	quota  quota
	slots  chan struct{}

	mu       sync.Mutex
	failures int       // in a row
	until    time.Time // it is left alone
	why      error     // it is left alone; nil: it is not

	uploads   chan upload
	uploading atomic.Bool // Watch runs
}

// New makes a Scanner. The error is about the configuration, the file of the key or that of the state:
// VirusTotal need not be reachable. The logger may be nil.
func New(cfg Config, log *slog.Logger) (*Scanner, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	cfg = cfg.withDefaults()
	s := &Scanner{cfg: cfg, log: log, slots: make(chan struct{}, concurrency), uploads: make(chan upload, maxUploads)}
	s.quota.perMinute, s.quota.perDay, s.quota.file = cfg.PerMinute, cfg.PerDay, cfg.StateFile
	var err error
	if s.key, err = scanners.ReadSecret(cfg.KeyFile); err != nil {
		return nil, fmt.Errorf("virustotal.key_file: %w", err)
	}
	if err := s.quota.load(); err != nil {
		return nil, fmt.Errorf("virustotal: %w", err)
	}
	s.client = &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: concurrency, IdleConnTimeout: time.Minute,
			MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
		},
		// The key goes to no other place.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s, nil
}

// Close closes connections that nobody uses.
func (s *Scanner) Close() { s.client.CloseIdleConnections() }

// Checks are all checks that the scanner may report.
func (*Scanner) Checks() []eml.Check {
	return []eml.Check{
		{ID: checkMalware, Doc: "Several engines of VirusTotal call the content malicious."},
		{ID: checkSuspicious, Doc: "Some engines of VirusTotal call the content malicious or suspicious, but not as many as are wanted."},
		{ID: checkUnknown, Doc: "VirusTotal does not know the content: nobody has ever given it there to be examined."},
	}
}

// Passes tells why VirusTotal is not asked about the part, by its type or its names.
func (s *Scanner) Passes(p *eml.Part) string {
	for _, word := range s.cfg.Types {
		if p.Is(word) {
			return ""
		}
	}
	for _, name := range p.Names {
		name = strings.ToLower(path.Base(strings.ReplaceAll(name, `\`, "/")))
		for _, pattern := range s.cfg.Names {
			if ok, _ := path.Match(pattern, name); ok {
				return ""
			}
		}
	}
	return "not of a type that VirusTotal is asked about"
}

// Version is that of the configuration: what VirusTotal knows changes with each hour, so Age says how long
// an answer is good.
func (s *Scanner) Version() string {
	return fmt.Sprintf("virustotal v3 %s malicious=%d", s.cfg.URL, s.cfg.Malicious)
}

// Age is how long an answer is kept.
func (s *Scanner) Age(findings []eml.Finding) time.Duration {
	for _, f := range findings {
		if f.Check == checkUnknown {
			return s.cfg.Unknown
		}
	}
	return s.cfg.Known
}

// Scan asks about the content. Unless VirusTotal is required, an error is a *scanners.Optional.
func (s *Scanner) Scan(ctx context.Context, p *eml.Part) ([]eml.Finding, error) {
	if !scanners.Examines(s, p) {
		return nil, nil
	}
	o, err := s.ask(ctx, p.SHA256)
	if err != nil && s.cfg.Required {
		return nil, &scanners.Temporary{Err: err}
	}
	if err != nil {
		return nil, &scanners.Optional{Err: err}
	}
	if !o.known && s.cfg.Upload {
		s.offer(p)
	}
	return o.findings(p, s.cfg.Malicious), nil
}

// ask asks about content, unless it is no time to.
func (s *Scanner) ask(ctx context.Context, sum [32]byte) (o opinion, err error) {
	limited, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	err = s.turn(limited, func() error {
		o, err = s.get(limited, sum)
		return err
	})
	if err != nil && limited.Err() != nil {
		err = fmt.Errorf("VirusTotal gave no answer in time: %w", limited.Err())
	}
	if ctx.Err() == nil { // else it is the message that was given up
		s.note(err)
	}
	return o, err
}

// turn does something that costs a question, when it is its turn.
func (s *Scanner) turn(ctx context.Context, do func() error) error {
	if err := s.paused(time.Now()); err != nil {
		return err
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ok, err := s.quota.take(time.Now())
	if err != nil {
		s.log.Warn("the count of questions to VirusTotal is not saved", "error", err)
	}
	if !ok {
		return errQuota
	}
	return do()
}

// get asks for the report about a file.
func (s *Scanner) get(ctx context.Context, sum [32]byte) (opinion, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.cfg.URL+"/api/v3/files/"+hex.EncodeToString(sum[:]), nil)
	if err != nil {
		return opinion{}, err
	}
	r, err := s.send(req)
	if err != nil {
		return opinion{}, err
	}
	defer r.Body.Close()
	return readReply(r, sum)
}

func (s *Scanner) send(req *http.Request) (*http.Response, error) {
	req.Header.Set("X-Apikey", s.key)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "rastel")
	r, err := s.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask VirusTotal: %w", err)
	}
	return r, nil
}

// errPaused says that it is left alone, after what it did before.
var errPaused = errors.New("VirusTotal is left alone for now")

func (s *Scanner) paused(now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why == nil || !now.Before(s.until) {
		return nil
	}
	return fmt.Errorf("%w: %w", errPaused, s.why)
}

// note says what came of a question.
func (s *Scanner) note(err error) {
	if errors.Is(err, errPaused) || errors.Is(err, errQuota) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		if s.why != nil {
			s.log.Info("VirusTotal answers again")
		}
		s.failures, s.why = 0, nil
		return
	}
	s.failures++
	length := time.Duration(0)
	if s.failures >= maxFailures {
		length = pause
	}
	if r := (*refusal)(nil); errors.As(err, &r) {
		switch r.status {
		case http.StatusTooManyRequests:
			length = quotaPause
		case http.StatusUnauthorized, http.StatusForbidden:
			length = refusedPause
		}
	}
	if length == 0 {
		return
	}
	if s.why == nil {
		s.log.Warn("VirusTotal is left alone for now", "for", length, "error", err)
	}
	s.why, s.until = err, time.Now().Add(length)
}

// Trouble says why VirusTotal is left alone; nil if it is not.
func (s *Scanner) Trouble() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.why
}
