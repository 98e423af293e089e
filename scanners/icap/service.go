package icap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"rastel/scanners"

	"golang.org/x/sync/semaphore"
)

const (
	// connectTimeout bounds how long a connection may take: mail must not wait for a service that is down.
	connectTimeout = 2 * time.Second
	// optionsTimeout bounds how long the service may take to tell what it can do.
	optionsTimeout = 5 * time.Second

	// defaultTTL is how long what OPTIONS says holds, where it does not say for how long.
	defaultTTL = time.Hour
	maxTTL     = 24 * time.Hour
	// versionAge is how long an ISTag is known after it was seen. It bounds how long verdicts are kept
	// after the service has a new database: then some content is sent again, and shows.
	versionAge = 2 * time.Minute
)

// A service is one ICAP service, and what is known of it.
type service struct {
	target target
	tls    *tls.Config
	slots  chan struct{} // full: it is being asked by OPTIONS
	idle   pool
	max    int // what the configuration allows

	mu    sync.Mutex
	able  abilities
	turns *semaphore.Weighted // scans at a time, first come first served
	size  int                 // of turns
	tag   string
	seen  time.Time // when the tag was
}

// abilities are what OPTIONS says. The zero value is what is not known.
type abilities struct {
	until    time.Time
	name     string
	preview  int64 // negative: it wants none
	allow204 bool
	max      int // connections; 0 means that it does not say
}

// parseOptions reads a reply to OPTIONS (RFC 3507 section 4.10.2).
func parseOptions(a *reply, now time.Time) (abilities, error) {
	able := abilities{name: scanners.Said(a.header.Get("Service")), preview: -1}
	if !listed(a.header.Values("Methods"), "RESPMOD") {
		return able, garbage("the service has no RESPMOD, but %.80q", a.header.Get("Methods"))
	}
	able.allow204 = listed(a.header.Values("Allow"), "204")
	ttl, set, err := number(a, "Options-TTL")
	if err != nil {
		return able, err
	}
	until := defaultTTL
	if set {
		until = min(time.Duration(min(ttl, 1<<30))*time.Second, maxTTL)
	}
	able.until = now.Add(until)
	if n, set, err := number(a, "Preview"); err != nil {
		return able, err
	} else if set {
		able.preview = min(n, maxPreview)
	}
	n, _, err := number(a, "Max-Connections")
	able.max = int(min(n, maxConcurrency))
	return able, err
}

// number reads a field that is a number, if there is one.
func number(a *reply, name string) (n int64, set bool, err error) {
	v := strings.TrimSpace(a.header.Get(name))
	if v == "" {
		return 0, false, nil
	}
	if n, err = strconv.ParseInt(v, 10, 64); err != nil || n < 0 {
		return 0, false, garbage("%s: %.80q", name, v)
	}
	return n, true, nil
}

// listed reports whether a word is in a list with commas.
func listed(values []string, word string) bool {
	for _, v := range values {
		for _, w := range strings.Split(v, ",") {
			if strings.EqualFold(strings.TrimSpace(w), word) {
				return true
			}
		}
	}
	return false
}

// known are what the service can do, asked anew where that is no longer known.
func (s *service) known(ctx context.Context) (abilities, error) {
	if able, ok := s.remembered(); ok {
		return able, nil
	}
	select { // one asks, the others wait for that
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return abilities{}, ctx.Err()
	}
	if able, ok := s.remembered(); ok {
		return able, nil
	}
	return s.learn(ctx)
}

func (s *service) remembered() (abilities, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.able, time.Now().Before(s.able.until)
}

// learn asks the service what it can do.
func (s *service) learn(ctx context.Context) (abilities, error) {
	ctx, cancel := context.WithTimeout(ctx, optionsTimeout)
	defer cancel()
	var a *reply
	err := s.with(ctx, func(c *conn) (keep bool, err error) {
		a, err = c.options(s.target)
		return err == nil && !a.closes(), err
	})
	if err != nil {
		return abilities{}, fmt.Errorf("OPTIONS: %w", err)
	}
	tag, err := a.tag()
	if err != nil {
		return abilities{}, fmt.Errorf("OPTIONS: %w", err)
	}
	able, err := parseOptions(a, time.Now())
	if err != nil {
		return abilities{}, fmt.Errorf("OPTIONS: %w", err)
	}
	s.mu.Lock()
	s.able = able
	s.resize()
	s.mu.Unlock()
	s.tagged(tag)
	return able, nil
}

// resize makes as many turns as both sides allow; s.mu is held. Scans that run keep the turn they have,
// so for a moment there may be more.
func (s *service) resize() {
	n := s.max
	if s.able.max > 0 {
		n = min(n, s.able.max)
	}
	if n != s.size {
		s.size, s.turns = n, semaphore.NewWeighted(int64(n))
	}
}

// tagged notes the ISTag of a reply. Where it is another one, what the service can do may be another too.
func (s *service) tagged(tag string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if tag == "" {
		return
	}
	if s.tag != "" && s.tag != tag && s.seen.Add(time.Second).Before(time.Now()) {
		s.able.until = time.Time{}
	}
	s.tag, s.seen = tag, time.Now()
}

// version is the ISTag, unless it was not seen for long.
func (s *service) version() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tag == "" || time.Since(s.seen) > versionAge {
		return ""
	}
	return s.tag
}

func (s *service) turn() *semaphore.Weighted {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.turns
}

// scan has the service examine the content.
func (s *service) scan(ctx context.Context, x content, trust bool) ([]sighting, error) {
	able, err := s.known(ctx)
	if err != nil {
		return nil, err
	}
	turns := s.turn()
	if err := turns.Acquire(ctx, 1); err != nil {
		return nil, fmt.Errorf("wait for a turn: %w", err)
	}
	defer turns.Release(1)
	v, err := s.ask(ctx, x, able.preview, able.allow204)
	if err == nil && v.early && len(v.seen) == 0 && !trust {
		v, err = s.ask(ctx, x, -1, able.allow204)
	}
	if err != nil {
		return nil, err
	}
	s.tagged(v.tag)
	return v.seen, nil
}

func (s *service) ask(ctx context.Context, x content, preview int64, allow204 bool) (v verdict, err error) {
	err = s.with(ctx, func(c *conn) (bool, error) {
		v, err = c.modify(s.target, x, preview, allow204)
		return v.keep, err
	})
	return v, err
}

// with calls f with a connection, which is kept for later if f says so. Where a kept one turns out to
// have ended before there was any answer, as when the service was started anew, f is called again with
// a new one.
func (s *service) with(ctx context.Context, f func(*conn) (keep bool, err error)) error {
	c := s.idle.take()
	if c == nil {
		return s.fresh(ctx, f)
	}
	err := s.use(ctx, c, f)
	if err == nil || c.in.any || ctx.Err() != nil || errors.Is(err, errLocal) {
		return err
	}
	return s.fresh(ctx, f)
}

// fresh is with, with a new connection.
func (s *service) fresh(ctx context.Context, f func(*conn) (bool, error)) error {
	c, err := s.dial(ctx)
	if err != nil {
		return err
	}
	return s.use(ctx, c, f)
}

// use calls f, for no longer than ctx lasts, and keeps or closes the connection.
func (s *service) use(ctx context.Context, c *conn, f func(*conn) (bool, error)) error {
	stop := context.AfterFunc(ctx, c.abort)
	keep, err := f(c)
	if !stop() && err != nil {
		err = fmt.Errorf("no verdict in time: %w", ctx.Err())
	}
	if err != nil || !keep || ctx.Err() != nil {
		c.Close()
		return err
	}
	s.idle.give(c)
	return nil
}

// dial connects to the service.
func (s *service) dial(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.target.addr)
	if err != nil {
		return nil, fmt.Errorf("cannot be reached: %w", err)
	}
	if s.tls == nil {
		return newConn(raw, raw), nil
	}
	secure := tls.Client(raw, s.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, fmt.Errorf("cannot be reached: %w", err)
	}
	return newConn(secure, raw), nil
}
