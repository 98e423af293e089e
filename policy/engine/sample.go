package engine

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"rastel/policy"
	"rastel/policy/quarantine"
	"rastel/sanitize/eml"
)

// SampleConfig says which share of delivered messages is kept, to try policies on. The zero value keeps
// none.
type SampleConfig struct {
	// Percent is the share, from 0 to 100. Default: 0, none.
	Percent float64 `yaml:"percent"`
	// Retention is how long a sample is kept. Default: 168h (7 days).
	Retention time.Duration `yaml:"retention"`
	// MaxBytes is how much all samples may have together; if there is no room, none is kept until others
	// have expired. Default: 1000000000 (1 GB).
	MaxBytes int64 `yaml:"max_bytes"`
	// MaxMessage is the largest message that is kept. Default: 10000000 (10 MB).
	MaxMessage int64 `yaml:"max_message"`
	// Never are addresses, and domains such as "@example.org", of senders and recipients whose mail is
	// never kept.
	Never []string `yaml:"never"`
}

// maxNever is how many addresses are never sampled.
const maxNever = 10_000

// Validate reports the first value that cannot work.
func (c SampleConfig) Validate() error {
	switch {
	case !(c.Percent >= 0 && c.Percent <= 100): // NaN is neither
		return fmt.Errorf("samples.percent: %v is not from 0 to 100", c.Percent)
	case c.Retention < 0, c.MaxBytes < 0, c.MaxMessage < 0:
		return errors.New("samples: retention, max_bytes and max_message must not be negative")
	case len(c.Never) > maxNever:
		return fmt.Errorf("samples.never: more than %d addresses", maxNever)
	}
	for _, a := range c.Never {
		if !strings.Contains(a, "@") {
			return fmt.Errorf("samples.never: %q is neither an address nor @domain", a)
		}
	}
	return nil
}

func (c SampleConfig) withDefaults() SampleConfig {
	if c.Retention == 0 {
		c.Retention = 7 * 24 * time.Hour
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 1_000_000_000
	}
	if c.MaxMessage == 0 {
		c.MaxMessage = 10_000_000
	}
	return c
}

// A SampleStore keeps samples. *quarantine.Store is one.
type SampleStore interface {
	Hold(ctx context.Context, it *quarantine.Item, r io.Reader) error
	// Usage is how many bytes the messages of a class have that are stored.
	Usage(ctx context.Context, class string) (int64, error)
}

// A Sampler keeps a share of what is delivered. It is safe for concurrent use.
type Sampler struct {
	cfg   SampleConfig
	store SampleStore
	log   *slog.Logger

	mu    sync.Mutex
	known bool  // whether used is: until then nothing is kept
	used  int64 // bytes
	full  bool  // that there is no room was logged
}

// NewSampler makes a Sampler; nil if nothing is to be kept.
func NewSampler(cfg SampleConfig, store SampleStore, log *slog.Logger) *Sampler {
	if cfg.Percent == 0 {
		return nil
	}
	return &Sampler{cfg: cfg.withDefaults(), store: store, log: log}
}

// countEvery is how often the samples are counted that have not expired.
const countEvery = 10 * time.Minute

// Run counts what is kept, now and from time to time, until ctx ends.
func (s *Sampler) Run(ctx context.Context) {
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	for {
		s.count(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *Sampler) count(ctx context.Context) {
	n, err := s.store.Usage(ctx, quarantine.SampleClass)
	if err != nil {
		if ctx.Err() == nil {
			s.log.Warn("count samples", "error", err)
		}
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known, s.used, s.full = true, n, false
}

// room takes room for a message, and reports whether there is any.
func (s *Sampler) room(size int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.known || size > s.cfg.MaxMessage {
		return false
	}
	if s.used+size > s.cfg.MaxBytes {
		if !s.full {
			s.full = true
			s.log.Info("no room for more samples until some expire", "bytes", s.used)
		}
		return false
	}
	s.used += size
	return true
}

// wants reports whether a message is to be kept: it is delivered, nothing of it is kept for another
// reason, it is not encrypted, and it is in the share.
func (s *Sampler) wants(x *Examination) bool {
	v := x.Verdict
	if s == nil || x.released || v.Action != policy.Accept || v.Hold || len(v.Others) > 0 || !s.chosen(x.Message) {
		return false
	}
	return !slices.ContainsFunc(x.Report.Findings, encrypted) && !s.never(x.Message.Envelope)
}

// encrypted reports whether something in a message was meant for those with a key or a password only.
func encrypted(f eml.Finding) bool {
	_, what, _ := strings.Cut(f.Check, "/")
	return strings.Contains(what, "encrypted") || strings.HasPrefix(what, "password-")
}

// never reports whether mail from or to one of the addresses is never kept.
func (s *Sampler) never(env *eml.Envelope) bool {
	for _, a := range append([]string{env.Sender, env.AuthUser}, env.Recipients...) {
		for _, n := range s.cfg.Never {
			if strings.EqualFold(a, n) || n[0] == '@' && len(a) > len(n) && strings.EqualFold(a[len(a)-len(n):], n) {
				return true
			}
		}
	}
	return false
}

// chosen reports whether a message is in the share: by its Message-ID, or if it has none by its content, so that
// it is the same when the message comes again.
func (s *Sampler) chosen(m *eml.Message) bool {
	h := sha256.New()
	fmt.Fprintf(h, "sample %q ", m.Envelope.Sender)
	if id := m.Root.Header.Get("Message-ID"); id != "" {
		fmt.Fprintf(h, "%q", id)
	} else {
		m.Root.Walk(func(p *eml.Part) bool {
			if p.Leaf() {
				h.Write(p.SHA256[:])
			}
			return true
		})
	}
	const all = 1 << 32
	return float64(binary.BigEndian.Uint32(h.Sum(nil))) < s.cfg.Percent/100*all
}

// keep keeps a message if it is to be kept. What goes wrong is logged: the message is delivered all the same.
func (s *Sampler) keep(ctx context.Context, x *Examination, evidence func(*Examination) []byte) {
	if !s.wants(x) || !s.room(x.Message.Size) {
		return
	}
	it := x.newItem(x.Verdict)
	it.Class, it.Retention, it.Held, it.Evidence = quarantine.SampleClass, s.cfg.Retention, true, evidence(x)
	if err := s.store.Hold(ctx, it, x.raw()); err != nil {
		s.log.Warn("sample not kept", "queue_id", x.Message.Envelope.QueueID, "error", err)
	}
}
