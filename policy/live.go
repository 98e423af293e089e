package policy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Live is the policy in force, which can be replaced while messages are decided. It is safe
// for concurrent use.
type Live struct {
	path string
	opt  Options
	log  *slog.Logger

	current atomic.Pointer[Policy]

	mu      sync.Mutex        // held while a file is read and put in force
	seen    string            // what was read last, in force or not
	files   []listFile        // of the lists in it
	tests   []string          // files of its tests
	expired []string          // exceptions of which was told that they have ended
	watcher *fsnotify.Watcher // nil unless Watch runs
}

// NewLive loads the policy from a file; an empty path means the policy that is built in. Errors
// are those of LoadFile, and ErrTests. A nil logger logs nothing.
func NewLive(path string, opt Options, log *slog.Logger) (*Live, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if path != "" {
		opt.Dir = filepath.Dir(path)
	}
	l := &Live{path: path, opt: opt, log: log}
	p, err := l.read(true)
	if err != nil {
		return nil, err
	}
	l.current.Store(p)
	l.tellExpired(p)
	l.tellWatching(p)
	return l, nil
}

// tellWatching warns of a policy that only watches: whoever forgets it has no filter.
func (l *Live) tellWatching(p *Policy) {
	if p.watch {
		l.log.Warn("the policy only watches: nothing is refused, held or changed", "policy", p.Version)
	}
}

// tellExpired warns of exceptions that do not hold any more; of none twice while the policy is the same.
func (l *Live) tellExpired(p *Policy) {
	for _, text := range p.Expired(p.now()) {
		if known := p.Version + text; !slices.Contains(l.expired, known) {
			l.expired = append(l.expired, known)
			l.log.Warn("an exception for signatures has ended", "policy", p.Version, "signature", text)
		}
	}
}

// expiryInterval is how often is looked for exceptions that have ended.
const expiryInterval = time.Hour

// read reads the policy with its lists, and has its tests run. If they are what was read last, there is neither a policy
// nor an error, unless always is set.
func (l *Live) read(always bool) (*Policy, error) {
	name, data, err := defaultName, defaultFile, error(nil)
	if l.path != "" {
		name = filepath.Base(l.path)
		data, err = readFile(l.path)
	}
	var p *Policy
	if err == nil {
		p, l.files, err = loadWithFiles(name, data, l.opt)
	}
	if p != nil && l.opt.Test != nil {
		l.tests = p.tests
	}
	seen := fmt.Sprint(versionOf(data, l.files), testsDigest(l.tests), err)
	if !always && seen == l.seen {
		return nil, nil
	}
	l.seen = seen
	if err == nil {
		err = l.test(p)
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Load is the policy in force. Whoever decides about a message asks once, so that one policy
// decides all of it.
func (l *Live) Load() *Policy { return l.current.Load() }

// Reload reads the file anew and puts it in force. If it cannot be loaded, the policy in force
// stays, and the error says why. Both are logged.
func (l *Live) Reload() error { return l.reload(true) }

// reload is Reload. Unless always is set it does nothing if the file is what was read last, so
// that other changes in its directory are not taken for one, and a broken file is told of
// once.
func (l *Live) reload(always bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, err := l.read(always)
	l.watchLists()
	switch {
	case err != nil:
		l.log.Error("policy not loaded, the one before stays in force", "policy", l.Load().Version, "error", err)
	case p != nil:
		old := l.current.Swap(p)
		l.expired = nil
		l.tellExpired(p)
		l.tellWatching(p)
		l.log.Info("policy loaded", "policy", p.Version, "before", old.Version, "rules", len(p.rules))
	}
	return err
}

// settleTime is how long after the last change the file is read: editors write in several
// steps.
const settleTime = 200 * time.Millisecond

// Watch reloads the policy when its file, or one of its lists, changes, until ctx ends; then it returns nil. With
// the policy that is built in there is nothing to watch, and it only waits. An error means
// that changes are not noticed.
func (l *Live) Watch(ctx context.Context) error {
	if l.path == "" {
		<-ctx.Done()
		return nil
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch policy: %w", err)
	}
	defer w.Close()
	if err := watchFile(w, l.path); err != nil {
		return fmt.Errorf("watch policy: %w", err)
	}
	l.setWatcher(w)
	defer l.setWatcher(nil)
	_ = l.reload(false) // it may have changed before the watch began; logged
	return l.follow(ctx, w.Events, w.Errors)
}

func (l *Live) setWatcher(w *fsnotify.Watcher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watcher = w
}

// watchFile watches the directory of a file, because many editors put a new file in the place of
// the old one, which a watch of the file would not see; and that of the file behind a symbolic
// link. To watch one twice is to watch it once.
func watchFile(w *fsnotify.Watcher, name string) error {
	if err := w.Add(filepath.Dir(name)); err != nil {
		return err
	}
	if real, err := filepath.EvalSymlinks(name); err == nil {
		return w.Add(filepath.Dir(real))
	}
	return nil
}

// watchLists watches the files of the lists and tests. What a policy before this one had stays watched: its
// changes change nothing. A directory that is not there is told of by the error about its file.
func (l *Live) watchLists() {
	if l.watcher == nil {
		return
	}
	for _, f := range l.files {
		if err := watchFile(l.watcher, f.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			l.log.Warn("watch list of policy", "file", f.path, "error", err)
		}
	}
	dir := ""
	for _, name := range l.tests { // sorted, so those of one directory follow each other
		if filepath.Dir(name) == dir {
			continue
		}
		dir = filepath.Dir(name)
		if err := watchFile(l.watcher, name); err != nil && !errors.Is(err, os.ErrNotExist) {
			l.log.Warn("watch tests of policy", "directory", dir, "error", err)
		}
	}
}

// follow reloads after changes have come to rest.
func (l *Live) follow(ctx context.Context, events <-chan fsnotify.Event, errs <-chan error) error {
	quiet := time.NewTimer(0)
	quiet.Stop()
	defer quiet.Stop()
	expiry := time.NewTicker(expiryInterval)
	defer expiry.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-events:
			if !ok {
				return fmt.Errorf("watch policy: %w", fsnotify.ErrClosed)
			}
			quiet.Reset(settleTime)
		case err, ok := <-errs:
			if !ok {
				return fmt.Errorf("watch policy: %w", fsnotify.ErrClosed)
			}
			// Events were lost, so there may have been a change.
			l.log.Warn("watch policy", "error", err)
			quiet.Reset(settleTime)
		case <-quiet.C:
			_ = l.reload(false) // logged
		case <-expiry.C:
			l.mu.Lock()
			l.tellExpired(l.Load())
			l.mu.Unlock()
		}
	}
}
