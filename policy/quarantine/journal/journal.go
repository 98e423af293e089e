// Package journal keeps on the local disk what is to be held while the database or the store of the messages,
// which several nodes share, cannot be reached. Mail goes on, what was answered to be held is durable, and it is
// handed on once they are back.
//
// An item is in the journal or in the shared index. It is handed on in the order message, record, and only then
// removed here; a crash in between leaves it in both, and it is handed on again, which changes nothing: its id is
// the same. It is never changed here. Whoever wants to release or delete it has it handed on first, so a stale
// record can never release a message that another node has released.
package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"rastel/policy/quarantine"
)

// What callers can tell apart.
var (
	// ErrFull is returned where an item is to be held, neither index nor messages can be reached, and the
	// journal has no room: the message must be refused for now.
	ErrFull = errors.New("the local journal is full")
	// ErrWaits is returned where an item in the journal is to be changed and cannot be handed on.
	ErrWaits = errors.New("the item waits in the local journal of this node")
)

const (
	// downTime is how long nobody waits for what could not be reached.
	downTime = 5 * time.Second
	// drainEvery is how often is looked for what is to be handed on.
	drainEvery = 2 * time.Second
	// drainTime is how long handing on one item may take.
	drainTime = 2 * time.Minute
	// askTime is how long somebody who wants to change an item waits for it to be handed on.
	askTime = 30 * time.Second
	// pageSize is how many items are in memory at a time.
	pageSize = 100
)

// never is later than all items: nothing is a retry since then.
var never = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// A Local is an index on the local disk.
type Local interface {
	quarantine.Index
	// Drop removes an item as if it had never been there.
	Drop(ctx context.Context, id string) error
}

// Options are what a Journal is made of. It closes all of them.
type Options struct {
	Config quarantine.JournalConfig
	Dir    string // for its lock

	Index quarantine.Index // shared
	Blobs quarantine.Blobs // shared, or those of this node
	// LocalBlobs are on the local disk. Nil: Blobs are, so messages need no journal.
	LocalBlobs quarantine.Blobs
	LocalIndex Local
	Log        *slog.Logger // nil: nothing is logged
}

// A Journal stands before an index and messages that are shared: use Index and Blobs instead of those. It is safe
// for concurrent use, by one process.
type Journal struct {
	Options
	lock         *os.File
	index, blobs reach

	draining sync.Mutex // held while an item is handed on

	mu      sync.Mutex
	items   map[string]int64 // size of the message of each item that waits
	bytes   int64            // of them
	only    map[string]bool  // messages that are on the local disk only
	drained uint64
	refused uint64
}

// Open opens the journal with what waits in it. On an error nothing of opt is closed.
func Open(opt Options) (*Journal, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	opt.Config = opt.Config.WithDefaults()
	j := &Journal{Options: opt, items: map[string]int64{}, only: map[string]bool{}}
	var err error
	if j.lock, err = lockDir(opt.Dir); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	if err := j.load(context.Background()); err != nil {
		return nil, errors.Join(fmt.Errorf("open journal: %w", err), j.lock.Close())
	}
	return j, nil
}

// lockDir sees that no other process has the journal.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s, which another process may have: %w", f.Name(), err), f.Close())
	}
	return f, nil
}

// load reads what waits.
func (j *Journal) load(ctx context.Context) error {
	f := quarantine.Filter{Limit: pageSize}
	for {
		page, err := j.LocalIndex.List(ctx, f)
		if err != nil {
			return err
		}
		for _, it := range page {
			j.items[it.ID] = it.Size
			j.bytes += it.Size
		}
		if len(page) < pageSize {
			break
		}
		f.Cursor = page[len(page)-1].ID
	}
	if j.LocalBlobs == nil {
		return nil
	}
	return j.LocalBlobs.Walk(ctx, func(id string, _ time.Time) error {
		j.only[id] = true
		return nil
	})
}

// close closes everything, once the store has closed both of its halves.
func (j *Journal) close() error {
	errs := []error{j.LocalIndex.Close(), j.lock.Close()}
	if j.LocalBlobs != nil {
		errs = append(errs, j.LocalBlobs.Close())
	}
	return errors.Join(errs...)
}

// A reach is whether something shared can be reached, as far as is known.
type reach struct {
	mu    sync.Mutex
	why   error // nil: it can be
	until time.Time
}

// up reports whether it is worth trying.
func (r *reach) up() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.why == nil || time.Now().After(r.until)
}

// note keeps how a try ended, and reports whether that is news.
func (r *reach) note(err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	news := (r.why == nil) != (err == nil)
	r.why, r.until = err, time.Now().Add(downTime)
	return news
}

func (r *reach) trouble() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.why
}

// noted keeps and logs how a try ended.
func (j *Journal) noted(r *reach, what string, err error) {
	switch news := r.note(err); {
	case news && err != nil:
		j.Log.Error("cannot be reached; the journal takes what is held", "what", what, "error", err)
	case news:
		j.Log.Info("can be reached again", "what", what)
	}
}

// waits reports whether an item is in the journal.
func (j *Journal) waits(id string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, ok := j.items[id]
	return ok
}

// isOnly reports whether a message is on the local disk only.
func (j *Journal) isOnly(id string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.only[id]
}

func (j *Journal) setOnly(id string, on bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if on {
		j.only[id] = true
	} else {
		delete(j.only, id)
	}
}

// room returns ErrFull if nothing can be kept.
func (j *Journal) room() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.items) >= j.Config.Items || j.bytes >= j.Config.Bytes {
		j.refused++
		return fmt.Errorf("%w: %d messages, %d bytes", ErrFull, len(j.items), j.bytes)
	}
	return nil
}

// Stats tell what is in the journal.
type Stats struct {
	Items   int
	Bytes   int64
	Oldest  time.Time // when the oldest item was held; zero if there is none
	Drained uint64    // items handed on, since this process began
	Refused uint64    // messages refused because the journal was full
	Full    bool
	Trouble error // why index or messages cannot be reached; nil: they can be
}

// Stats tell what is in the journal.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	st := Stats{Items: len(j.items), Bytes: j.bytes, Drained: j.drained, Refused: j.refused, Trouble: errors.Join(j.index.trouble(), j.blobs.trouble())}
	st.Full = st.Items >= j.Config.Items || st.Bytes >= j.Config.Bytes
	if id := j.oldest(); id != "" {
		st.Oldest = quarantine.TimeOf(id)
	}
	return st
}

// oldest is the item that waits longest; empty if none waits. The caller holds mu.
func (j *Journal) oldest() string {
	first := ""
	for id := range j.items {
		if first == "" || id < first {
			first = id
		}
	}
	return first
}
