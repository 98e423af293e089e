package cache

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"rastel/scanners"
)

// SharedConfig says which server keeps verdicts for several filters: Redis, Valkey, or another that
// speaks their protocol. Mail does not depend on it. It may be slow, gone, or anything but what it
// claims to be; then verdicts are not shared, and that is all.
type SharedConfig struct {
	// Address is "tcp:host:port" or "unix:/path".
	Address string `yaml:"address"`
	// KeyFile holds the secret by which the filters know what they have written themselves, at least 32
	// characters, the same for all of them. Without it whoever can write to the server could have any
	// malware pass, so there is no default: head -c 32 /dev/urandom | base64 > FILE; chmod 600 FILE
	KeyFile string `yaml:"key_file"`
	// TLS is for servers beyond this machine. CAFile names the certificates that it is trusted by;
	// default: those of the system.
	TLS    bool   `yaml:"tls"`
	CAFile string `yaml:"ca_file"`
	// User and PasswordFile are for servers that ask for them.
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"`
	// Database is the number of the database. Default 0.
	Database int `yaml:"database"`
	// Timeout is how long a question may take; then the engine is asked. Default 100ms.
	Timeout time.Duration `yaml:"timeout"`
}

const (
	defaultSharedTimeout = 100 * time.Millisecond
	maxSharedTimeout     = 2 * time.Second

	// minKey is how long the secret must be.
	minKey = 32
	// breakAfter failures in a row the server is left alone for breakTime, then tried with one question.
	breakAfter = 3
	breakTime  = 10 * time.Second
	// clockSkew is how much later than our own clock that of another filter may be.
	clockSkew = time.Minute
)

func (c SharedConfig) validate() error {
	if _, _, err := parseAddress(c.Address); err != nil {
		return fmt.Errorf("cache.shared.address: %w", err)
	}
	if c.KeyFile == "" {
		return errors.New("cache.shared.key_file: is needed, or whoever can write to the server decides what is clean; make one: head -c 32 /dev/urandom | base64 > FILE")
	}
	if c.Timeout < 0 || c.Timeout > maxSharedTimeout {
		return fmt.Errorf("cache.shared.timeout: %v is not between 0 and %v", c.Timeout, maxSharedTimeout)
	}
	if c.Database < 0 {
		return fmt.Errorf("cache.shared.database: must not be negative")
	}
	return nil
}

// shared is the server.
type shared struct {
	client  *client
	secret  []byte
	timeout time.Duration
	log     *slog.Logger
	breaker breaker
}

func newShared(cfg SharedConfig, log *slog.Logger) (*shared, error) {
	secret, err := scanners.ReadSecret(cfg.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("cache.shared.key_file: %w", err)
	}
	if len(secret) < minKey {
		return nil, fmt.Errorf("cache.shared.key_file: %s holds %d characters, and needs at least %d", cfg.KeyFile, len(secret), minKey)
	}
	s := &shared{secret: []byte(secret), timeout: cfg.Timeout, log: log}
	if s.timeout == 0 {
		s.timeout = defaultSharedTimeout
	}
	if s.client, err = newClient(cfg); err != nil {
		return nil, fmt.Errorf("cache.shared: %w", err)
	}
	return s, nil
}

func (s *shared) close() { s.client.close() }

// name is the key in the server: the number is that of the format, and behind it stands which secret
// the filters have, so that what was signed by one before is not met with.
func (s *shared) name(k key) string {
	h := hmac.New(sha256.New, s.secret)
	h.Write([]byte("rastel verdict name"))
	return fmt.Sprintf("rastel:verdict:1:%x:%x", h.Sum(nil)[:4], k)
}

// get asks for a verdict. What is not signed for this key is nothing, and a failure of the server.
func (s *shared) get(ctx context.Context, k key) (v verdict, ok bool) {
	s.try(ctx, func(ctx context.Context) error {
		data, err := s.client.get(ctx, s.name(k))
		if err != nil || data == nil {
			return err
		}
		if v, err = s.open(k, data, time.Now()); err != nil {
			return fmt.Errorf("it holds what no filter with this key has written: %w", err)
		}
		ok = true
		return nil
	})
	return v, ok
}

// put stores a verdict for a time.
func (s *shared) put(ctx context.Context, k key, v verdict, age time.Duration) {
	data, err := s.seal(k, v)
	if err != nil || len(data) > maxValue {
		return
	}
	s.try(ctx, func(ctx context.Context) error {
		return s.client.set(ctx, s.name(k), data, age)
	})
}

// try has f ask the server, unless it is left alone for now.
func (s *shared) try(ctx context.Context, f func(context.Context) error) {
	if !s.breaker.allows(time.Now()) {
		return
	}
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err := f(limited)
	if err != nil && ctx.Err() != nil {
		s.breaker.unknown() // the message was given up, which says nothing about the server
		return
	}
	if changed := s.breaker.note(err, time.Now()); changed && err != nil {
		s.log.Warn("shared cache is not used for now", "error", err)
	} else if changed {
		s.log.Info("shared cache is used again")
	}
}

// trouble says why the server is left alone; empty if it is not.
func (s *shared) trouble() string {
	s.breaker.mu.Lock()
	defer s.breaker.mu.Unlock()
	if s.breaker.err == nil {
		return ""
	}
	return s.breaker.err.Error()
}

// A breaker tells when to leave a server alone. The zero value does not.
type breaker struct {
	mu       sync.Mutex
	failures int
	err      error     // why it is left alone; nil: it is not
	until    time.Time // then one may try
	trying   bool
}

func (b *breaker) allows(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		return true
	}
	if b.trying || now.Before(b.until) {
		return false
	}
	b.trying = true
	return true
}

// unknown says that the one who was allowed has not come to know anything.
func (b *breaker) unknown() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trying = false
}

// note says what came of it. It reports whether that has changed whether the server is left alone.
func (b *breaker) note(err error, now time.Time) (changed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.err
	b.trying = false
	if err == nil {
		b.failures, b.err = 0, nil
		return before != nil
	}
	if b.failures++; b.failures >= breakAfter {
		b.err, b.until = err, now.Add(breakTime)
	}
	return before == nil && b.err != nil
}

// A record is a verdict as it is stored.
type record struct {
	Made  int64   `json:"made"` // milliseconds since 1970
	Found []found `json:"found"`
}

// seal writes a verdict with a signature for the key.
func (s *shared) seal(k key, v verdict) ([]byte, error) {
	data, err := json.Marshal(record{v.made.UnixMilli(), v.found})
	if err != nil {
		return nil, err
	}
	return append(s.sign(k, data), data...), nil
}

func (s *shared) sign(k key, data []byte) []byte {
	h := hmac.New(sha256.New, s.secret)
	h.Write([]byte("rastel verdict 1\n"))
	h.Write(k[:])
	h.Write(data)
	return h.Sum(nil)
}

// open reads what seal wrote for this key, and nothing else.
func (s *shared) open(k key, sealed []byte, now time.Time) (v verdict, err error) {
	if len(sealed) < sha256.Size || !hmac.Equal(sealed[:sha256.Size], s.sign(k, sealed[sha256.Size:])) {
		return v, errors.New("wrong signature")
	}
	var r record
	d := json.NewDecoder(bytes.NewReader(sealed[sha256.Size:]))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return v, err
	}
	if _, err := d.Token(); err != io.EOF {
		return v, errors.New("more than one record")
	}
	v = verdict{time.UnixMilli(r.Made), r.Found}
	if r.Made <= 0 || v.made.After(now.Add(clockSkew)) {
		return v, fmt.Errorf("made at %v, which is to come", v.made)
	}
	if len(v.found) > maxFound {
		return v, fmt.Errorf("%d findings", len(v.found))
	}
	for _, f := range v.found {
		if len(f.Detail) > maxDetail {
			return v, fmt.Errorf("a detail of %d bytes", len(f.Detail))
		}
	}
	return v, nil
}
