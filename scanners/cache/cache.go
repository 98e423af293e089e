// Package cache keeps what engines said of content, so that the same content is not examined again
// while the engine is what it was: in memory, and where several filters work side by side in a server
// that speaks the protocol of Redis.
//
// A verdict is kept under all that it depends on: the engine, its version and options, size and SHA-256
// of the content. Only verdicts are kept, never failures, and none without a version.
package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"rastel/sanitize/eml"
)

// Config says how long verdicts are kept, and where. The zero value is usable: 16 MiB in memory.
type Config struct {
	// Bytes is how much memory the verdicts may take; those that were asked for longest ago go first.
	// Default 16777216, which is some 50,000 verdicts; -1 switches the cache off.
	Bytes int64 `yaml:"bytes"`
	// Clean is how long content counts as clean at most. A new database ends it at once, as far as it
	// changes the version that the engine tells; signatures of your own do not, so this is how long
	// they may have no effect on what was just seen, unless SIGHUP says that all is to be forgotten.
	// Default 10m.
	Clean time.Duration `yaml:"clean"`
	// Found is the same for content in which something was found. Default 1h.
	Found time.Duration `yaml:"found"`
	// Shared is a server that keeps the verdicts of several filters. Nil: there is none.
	Shared *SharedConfig `yaml:"shared"`
}

const (
	defaultBytes = 16 << 20
	defaultClean = 10 * time.Minute
	defaultFound = time.Hour

	// maxAge bounds all ages: longer, and nobody remembers why something is found no more.
	maxAge = 30 * 24 * time.Hour

	// unexaminedAge is how long it is kept that content could not be looked into: that may be for want
	// of time on a busy machine.
	unexaminedAge = 5 * time.Minute
)

func (c Config) withDefaults() Config {
	if c.Bytes == 0 {
		c.Bytes = defaultBytes
	}
	if c.Clean == 0 {
		c.Clean = defaultClean
	}
	if c.Found == 0 {
		c.Found = defaultFound
	}
	return c
}

// Validate reports the first setting that makes no sense, by its name in the file.
func (c Config) Validate() error {
	if c.Bytes < -1 {
		return fmt.Errorf("cache.bytes: must not be negative, except -1 for no cache")
	}
	for _, f := range []struct {
		name string
		age  time.Duration
	}{{"clean", c.Clean}, {"found", c.Found}} {
		if f.age < 0 || f.age > maxAge {
			return fmt.Errorf("cache.%s: %v is not between 0 and %v", f.name, f.age, maxAge)
		}
	}
	if c.Shared == nil {
		return nil
	}
	if c.Bytes < 0 {
		return fmt.Errorf("cache.shared: cannot be used where cache.bytes is -1")
	}
	return c.Shared.validate()
}

// A Cache keeps verdicts. It is safe for concurrent use; nil is one that keeps nothing.
type Cache struct {
	cfg    Config
	shared *shared // nil: none

	mu      sync.Mutex
	kept    memory
	flights map[key]*flight // scans in work
	since   time.Time       // what was found before is forgotten

	hits, misses, waits, fromShared atomic.Int64
}

// New makes a cache; nil without an error if the configuration wants none. The error is about the
// configuration or its key file: the shared server need not be there, now or ever. The logger may be nil.
func New(cfg Config, log *slog.Logger) (*Cache, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Bytes < 0 {
		return nil, nil
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := &Cache{cfg: cfg.withDefaults(), flights: map[key]*flight{}}
	c.kept.max = c.cfg.Bytes
	if cfg.Shared != nil {
		var err error
		if c.shared, err = newShared(*cfg.Shared, log); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Close gives up the connections to the shared server.
func (c *Cache) Close() {
	if c != nil && c.shared != nil {
		c.shared.close()
	}
}

// Forget forgets all verdicts; those of scans in work are only for who waits for them already. Of the shared server it takes no more
// what was found until now; what others make of that is up to them.
func (c *Cache) Forget() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since = time.Now()
	c.kept.clear()
	clear(c.flights)
}

// Stats are counts since the start, and how it stands.
type Stats struct {
	Hits    int64  // verdicts taken from memory
	Misses  int64  // scans
	Waits   int64  // verdicts of a scan that was in work already
	Shared  int64  // verdicts taken from the shared server
	Entries int    // kept in memory
	Bytes   int64  // that they take, about
	Trouble string // with the shared server; empty: none
}

// String is for people.
func (s Stats) String() string {
	text := fmt.Sprintf("%d verdicts in %d KB, %d hits, %d of scans in work, %d shared, %d scans", s.Entries, s.Bytes/1000, s.Hits, s.Waits, s.Shared, s.Misses)
	if s.Trouble != "" {
		text += "; shared cache is not used for now: " + s.Trouble
	}
	return text
}

// Stats tells how the cache does.
func (c *Cache) Stats() Stats {
	if c == nil {
		return Stats{}
	}
	s := Stats{Hits: c.hits.Load(), Misses: c.misses.Load(), Waits: c.waits.Load(), Shared: c.fromShared.Load()}
	if c.shared != nil {
		s.Trouble = c.shared.trouble()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Entries, s.Bytes = len(c.kept.by), c.kept.size
	return s
}

// A key stands for all that a verdict depends on.
type key [sha256.Size]byte

func keyOf(engine, version string, p *eml.Part) key {
	h := sha256.New()
	for _, s := range []string{engine, version} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s)))) // so that no two pairs run into one
		h.Write([]byte(s))
	}
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(p.Size)))
	h.Write(p.SHA256[:])
	return key(h.Sum(nil))
}

// A verdict is what an engine said of some content.
type verdict struct {
	made  time.Time // when the scan began
	found []found   // nil: clean
}

// A found is a Finding without its part.
type found struct {
	Check      string `json:"check"`
	Detail     []byte `json:"detail"` // base64 in JSON: it may hold anything
	Unexamined bool   `json:"unexamined,omitempty"`
}

const (
	// maxFound and maxDetail bound a verdict that is kept.
	maxFound  = 32
	maxDetail = 1000
)

// newVerdict makes a verdict of findings about p; false if it cannot be kept: it holds a fix, which is
// for one message, or is about some other part, or is large.
func newVerdict(made time.Time, p *eml.Part, findings []eml.Finding) (verdict, bool) {
	v := verdict{made: made}
	if len(findings) > maxFound {
		return v, false
	}
	for _, f := range findings {
		if f.Fix != nil || (f.Part != nil && f.Part != p) || len(f.Detail) > maxDetail {
			return v, false
		}
		v.found = append(v.found, found{f.Check, []byte(f.Detail), f.Unexamined})
	}
	return v, true
}

// findings are those of the verdict, about p.
func (v verdict) findings(p *eml.Part) []eml.Finding {
	var out []eml.Finding
	for _, f := range v.found {
		out = append(out, eml.Finding{Check: f.Check, Part: p, Detail: string(f.Detail), Unexamined: f.Unexamined})
	}
	return out
}

// age is how long a verdict is kept.
func (c *Cache) age(findings []eml.Finding) time.Duration {
	age := c.cfg.Clean
	if len(findings) > 0 {
		age = c.cfg.Found
	}
	for _, f := range findings {
		if f.Unexamined {
			return min(age, unexaminedAge)
		}
	}
	return age
}
