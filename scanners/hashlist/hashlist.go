// Package hashlist knows content by its hash: from lists of what is malware and of what is known to be
// good, which an administrator keeps or gets from others. Hash signatures of ClamAV are read, and plain
// lists of SHA-256.
//
// A list is read anew when its file changes. One that cannot be read, or has a line that makes no sense,
// changes nothing: the one before it stays in force, and the service says that it is not what it should be.
package hashlist

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// Config names the files. The zero value names none.
type Config struct {
	// Block are files of malware: .hdb, .hsb, .hdu and .hsu hold signatures of ClamAV
	// (hash:size:name), any others one SHA-256 a line and behind it, if you like, a name.
	Block []string `yaml:"block"`
	// Allow are files of what is known to be good, likewise, and .fp and .sfp of ClamAV. It is a fact for
	// the policy, has("hash/allowed"), and changes nothing by itself: the part is examined as any other.
	Allow []string `yaml:"allow"`
	// Interval is how often is looked whether a file has changed. Default 10s.
	Interval time.Duration `yaml:"interval"`
}

const (
	defaultInterval = 10 * time.Second
	minInterval     = time.Second
	maxFiles        = 64
)

// On reports whether there are any lists.
func (c Config) On() bool { return len(c.Block)+len(c.Allow) > 0 }

// Validate reports the first setting that makes no sense, by its name in the file.
func (c Config) Validate() error {
	if len(c.Block)+len(c.Allow) > maxFiles {
		return fmt.Errorf("hashes: more than %d files", maxFiles)
	}
	for _, name := range append(append([]string(nil), c.Block...), c.Allow...) {
		if !filepath.IsAbs(name) {
			return fmt.Errorf("hashes: %q: a file needs its whole path", name)
		}
	}
	if c.Interval != 0 && c.Interval < minInterval {
		return fmt.Errorf("hashes.interval: %v is less than %v", c.Interval, minInterval)
	}
	return nil
}

const (
	checkMalware = "hash/malware"
	checkAllowed = "hash/allowed"
)

// Lists is the scanner. It is safe for concurrent use.
type Lists struct {
	interval time.Duration
	log      *slog.Logger
	current  atomic.Pointer[state]

	mu    sync.Mutex // held while files are read
	files []file
}

// A file is where a list comes from.
type file struct {
	name  string
	check string
	list  *list // in force
	seen  stamp // what was there when it was looked at last
	tried stamp // what was read last, in force or not
	err   error // why it is not in force; nil: it is
}

// A state is all lists in force. It does not change.
type state struct {
	lists   []checkedList
	needs   [digests]bool
	version string
}

type checkedList struct {
	check string
	*list
}

// New reads the lists. The error is about the first that cannot be used. The logger may be nil.
func New(cfg Config, log *slog.Logger) (*Lists, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if cfg.Interval == 0 {
		cfg.Interval = defaultInterval
	}
	s := &Lists{interval: cfg.Interval, log: log}
	for _, kind := range []struct {
		check string
		names []string
	}{{checkMalware, cfg.Block}, {checkAllowed, cfg.Allow}} {
		for _, name := range kind.names {
			l, err := readList(name)
			if err != nil {
				return nil, fmt.Errorf("hashes: %w", err)
			}
			s.files = append(s.files, file{name: name, check: kind.check, list: l, seen: l.stamp, tried: l.stamp})
			log.Info("hash list loaded", "file", name, "entries", l.entries)
		}
	}
	s.publish()
	return s, nil
}

// publish puts what was read in force.
func (s *Lists) publish() {
	st := &state{}
	sum := sha256.New()
	for _, f := range s.files {
		st.lists = append(st.lists, checkedList{f.check, f.list})
		for d := range digests {
			st.needs[d] = st.needs[d] || f.list.tables[d].len() > 0
		}
		sum.Write(f.list.sum[:])
	}
	st.version = fmt.Sprintf("%x", sum.Sum(nil)[:8])
	s.current.Store(st)
}

// Checks are all checks that the scanner may report.
func (*Lists) Checks() []eml.Check {
	return []eml.Check{
		{ID: checkMalware, Doc: "The content is on a list of hashes of malware."},
		{ID: checkAllowed, Doc: "The content is on a list of hashes of what is known to be good. It is examined all the same."},
	}
}

// Passes passes over nothing.
func (*Lists) Passes(*eml.Part) string { return "" }

// Version is another one for other lists.
func (s *Lists) Version() string { return s.current.Load().version }

// Scan looks the content up. Hashes that no list has are not computed.
func (s *Lists) Scan(ctx context.Context, p *eml.Part) ([]eml.Finding, error) {
	if !scanners.Examines(s, p) {
		return nil, nil
	}
	st := s.current.Load()
	sums, err := st.hashes(ctx, p)
	if err != nil {
		return nil, err
	}
	var out []eml.Finding
	for _, l := range st.lists {
		for d, sum := range sums {
			if sum == nil {
				continue
			}
			if name, ok := l.find(digest(d), sum, p.Size); ok {
				out = append(out, eml.Finding{Check: l.check, Part: p, Detail: detail(name, l.file)})
				break // by another hash it is the same
			}
		}
	}
	return out, nil
}

func detail(name, file string) string {
	if name == "" {
		return "in " + file
	}
	return name + " in " + file
}

// hashes are those of the content that are needed, by digest; nil for others.
func (st *state) hashes(ctx context.Context, p *eml.Part) (sums [digests][]byte, err error) {
	if st.needs[sha256Digest] {
		sums[sha256Digest] = p.SHA256[:]
	}
	var to []io.Writer
	var hs [digests]hash.Hash
	if st.needs[md5Digest] {
		hs[md5Digest] = md5.New()
	}
	if st.needs[sha1Digest] {
		hs[sha1Digest] = sha1.New()
	}
	for _, h := range hs {
		if h != nil {
			to = append(to, h)
		}
	}
	if len(to) == 0 {
		return sums, nil
	}
	n, err := io.CopyBuffer(io.MultiWriter(to...), scanners.ContextReader(ctx, p.Content()), make([]byte, min(p.Size, 256<<10)))
	if err == nil && n != p.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return sums, fmt.Errorf("read content: %w", err)
	}
	for d, h := range hs {
		if h != nil {
			sums[d] = h.Sum(nil)
		}
	}
	return sums, nil
}

// Watch reads lists anew when their files change, until ctx ends.
func (s *Lists) Watch(ctx context.Context) {
	tick := time.NewTicker(s.interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.look(false)
		}
	}
}

// Reload reads all lists anew that have changed. What came of it is logged; the error is that of Trouble.
func (s *Lists) Reload() error {
	s.look(true)
	return s.Trouble()
}

// look reads those that have changed. Unless they are wanted at once, that is when a file has been the same
// twice: nobody reads what is just being written.
func (s *Lists) look(atOnce bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := false
	for i := range s.files {
		f := &s.files[i]
		now, err := stampFile(f.name)
		settled := atOnce || now == f.seen
		f.seen = now
		if settled && (now != f.tried || err != nil) {
			changed = s.read(f, now) || changed
		}
	}
	if changed {
		s.publish()
	}
}

// read reads one list anew. It reports whether that is another one.
func (s *Lists) read(f *file, now stamp) (changed bool) {
	l, err := readList(f.name)
	if err == nil {
		s.log.Info("hash list loaded", "file", f.name, "entries", l.entries, "before", f.list.entries)
		f.tried, f.list, f.err = l.stamp, l, nil
		return true
	}
	if f.err == nil || f.err.Error() != err.Error() {
		s.log.Error("hash list not loaded, the one before stays in force", "file", f.name, "entries", f.list.entries, "error", err)
	}
	f.tried, f.err = now, err
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		f.tried = stamp{} // it may be readable the next time, without having changed
	}
	return false
}

// Trouble says which lists are not what their files say; nil if all are.
func (s *Lists) Trouble() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, f := range s.files {
		if f.err != nil {
			errs = append(errs, fmt.Errorf("the list before stays in force: %w", f.err))
		}
	}
	return errors.Join(errs...)
}

// Entries counts what is in force.
func (s *Lists) Entries() (n int) {
	for _, l := range s.current.Load().lists {
		n += l.entries
	}
	return n
}

func stampFile(name string) (stamp, error) {
	info, err := os.Stat(name)
	if err != nil {
		return stamp{}, err
	}
	return stampInfo(info), nil
}

func stampOf(f *os.File) (stamp, error) {
	info, err := f.Stat()
	if err != nil {
		return stamp{}, err
	}
	if !info.Mode().IsRegular() {
		return stamp{}, errors.New("is no file")
	}
	return stampInfo(info), nil
}

func stampInfo(info os.FileInfo) stamp {
	st := stamp{size: info.Size(), modified: info.ModTime().UnixNano()}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		st.inode = s.Ino
	}
	return st
}
