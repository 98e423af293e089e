package cache

import (
	"context"
	"fmt"
	"slices"
	"time"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// Wrap makes a scanner that asks the engine only about content of which nothing is kept. Age says how
// long a verdict is kept; nil means as the configuration says, and none is kept longer than a month.
// The name tells engines apart that say the same version.
//
// What else the engine does it does as before: what ScanMessage says is never kept. An engine that
// opens containers is not wrapped, because its members are not kept.
func (c *Cache) Wrap(name string, e scanners.Engine, age func([]eml.Finding) time.Duration) scanners.Scanner {
	if _, opens := e.(scanners.Expander); opens || c == nil {
		return e
	}
	if age == nil {
		age = c.age
	}
	w := &engine{Engine: e, cache: c, name: name, age: age}
	for _, check := range e.Checks() {
		w.checks = append(w.checks, check.ID)
	}
	if m, ok := e.(scanners.MessageScanner); ok {
		return &messageEngine{w, m}
	}
	return w
}

// An engine is one whose verdicts are kept.
type engine struct {
	scanners.Engine
	cache  *Cache
	name   string
	checks []string
	age    func([]eml.Finding) time.Duration
}

// A messageEngine is an engine that also looks at whole messages.
type messageEngine struct {
	*engine
	whole scanners.MessageScanner
}

func (m *messageEngine) ScanMessage(ctx context.Context, msg *eml.Message) ([]eml.Finding, error) {
	return m.whole.ScanMessage(ctx, msg)
}

// A flight is a scan in work, for others who want to know the same.
type flight struct {
	done    chan struct{} // closed when it has ended
	verdict verdict       // if ok
	ok      bool          // it came to a verdict that can be kept
	left    bool          // nobody waits for its result any more, so it says nothing about the engine
}

// maxFlights is how often a part waits for the scan of another before it is scanned on its own: those
// may be given up one after the other.
const maxFlights = 3

// Scan gives the verdict that is kept, or that another message just waits for, or else the engine's.
//
// Who waits for another's scan has nothing to do with its fate: if that is given up because its message
// is, one of the others takes it up; if it fails, each asks for itself.
func (w *engine) Scan(ctx context.Context, p *eml.Part) ([]eml.Finding, error) {
	if !scanners.Examines(w, p) {
		return w.Engine.Scan(ctx, p)
	}
	for range maxFlights {
		version := w.Version()
		if version == "" {
			break
		}
		k := keyOf(w.name, version, p)
		v, f, first := w.cache.look(k)
		if f == nil {
			return v.findings(p), nil
		}
		if first {
			return w.lead(ctx, p, k, version, f)
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, &scanners.Temporary{Err: fmt.Errorf("wait for the scan of the same content in another message: %w", ctx.Err())}
		}
		if f.ok {
			w.cache.waits.Add(1)
			return f.verdict.findings(p), nil
		}
		if !f.left {
			break
		}
	}
	w.cache.misses.Add(1)
	return w.Engine.Scan(ctx, p)
}

// look gives what is kept under the key. If nothing is, there is a flight: one in work, or a new one,
// for which the caller is the first and has to land it.
func (c *Cache) look(k key) (v verdict, f *flight, first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, ok := c.kept.get(k, time.Now()); ok {
		c.hits.Add(1)
		return v, nil, false
	}
	if f := c.flights[k]; f != nil {
		return v, f, false
	}
	f = &flight{done: make(chan struct{})}
	c.flights[k] = f
	return v, f, true
}

// lead finds out what others wait for too.
func (w *engine) lead(ctx context.Context, p *eml.Part, k key, version string, f *flight) ([]eml.Finding, error) {
	findings, share, err := w.fly(ctx, p, k, version, f)
	if share {
		w.cache.shared.put(ctx, k, f.verdict, w.age(findings))
	}
	return findings, err
}

// fly is lead up to where the others can go on, whatever the engine does. It tells whether the verdict is
// one for the shared server.
func (w *engine) fly(ctx context.Context, p *eml.Part, k key, version string, f *flight) (_ []eml.Finding, share bool, _ error) {
	defer w.cache.land(k, f)
	if v, ok := w.fetch(ctx, k); ok {
		w.cache.fromShared.Add(1)
		w.keep(k, v)
		f.verdict, f.ok = v, true
		return v.findings(p), false, nil
	}
	w.cache.misses.Add(1)
	made := time.Now()
	findings, err := w.Engine.Scan(ctx, p)
	f.left = err != nil && ctx.Err() != nil
	if err == nil && w.Version() == version { // else it may have been examined by either
		f.verdict, f.ok = newVerdict(made, p, findings)
	}
	kept := f.ok && w.keep(k, f.verdict)
	return findings, kept && w.cache.shared != nil, err
}

// land ends a flight.
func (c *Cache) land(k key, f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flights[k] == f {
		delete(c.flights, k)
	}
	close(f.done)
}

// keep keeps a verdict in memory. It reports false if there is no sense in that: all was to be forgotten
// since, or it would have expired already.
func (w *engine) keep(k key, v verdict) bool {
	now, until := time.Now(), w.until(v)
	w.cache.mu.Lock()
	defer w.cache.mu.Unlock()
	if v.made.Before(w.cache.since) || !now.Before(until) {
		return false
	}
	w.cache.kept.put(k, v, until)
	return true
}

func (w *engine) until(v verdict) time.Time {
	return v.made.Add(min(w.age(v.findings(nil)), maxAge))
}

// fetch asks the shared server. What it has counts only if this engine could have said it, and if it
// would still be kept here.
func (w *engine) fetch(ctx context.Context, k key) (verdict, bool) {
	if w.cache.shared == nil {
		return verdict{}, false
	}
	v, ok := w.cache.shared.get(ctx, k)
	if !ok || !time.Now().Before(w.until(v)) {
		return verdict{}, false
	}
	for _, f := range v.found {
		if !slices.Contains(w.checks, f.Check) {
			return verdict{}, false
		}
	}
	w.cache.mu.Lock()
	defer w.cache.mu.Unlock()
	return v, !v.made.Before(w.cache.since)
}
