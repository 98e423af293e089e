package exceptions

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
)

// The words for what was done with an exception, in its log.
const (
	Created = "create"
	Updated = "update"
	Deleted = "delete"
)

// An Entry of the log is one change: who made it, when, and what the exception was then. Entries are only added.
type Entry struct {
	Serial    int64     `json:"serial"`
	At        time.Time `json:"at"`
	By        string    `json:"by"`
	What      string    `json:"what"`      // Created, Updated, Deleted
	Exception Exception `json:"exception"` // after the change; of one that was deleted, before it
}

// A Hit says how often an exception made a difference.
type Hit struct {
	ID    string
	Count int64
	Last  time.Time
}

// A Table keeps exceptions and their log; what it has written is durable when the call returns. It is safe for
// concurrent use.
type Table interface {
	// Exceptions gives all, in the order of their IDs, but no more than Max.
	Exceptions(ctx context.Context) ([]Exception, error)
	// ChangeException makes the change that an entry tells, and adds the entry to the log, both or none. Hits of an
	// exception stay what they are. Errors are ErrFull and ErrNotFound, besides those of the database.
	ChangeException(ctx context.Context, e Entry) error
	// HitExceptions adds to the hits. What is not there any more is left out.
	HitExceptions(ctx context.Context, hits []Hit) error
	// ExceptionLog gives the last entries, the latest first: of one exception, or if id is empty of all.
	ExceptionLog(ctx context.Context, id string, limit int) ([]Entry, error)
}

// MaxLog is how many entries of the log are given at a time.
const MaxLog = 1000

// How often a Book writes hits, and looks for what other processes have changed.
const (
	flushEvery  = 10 * time.Second
	reloadEvery = 30 * time.Second
	// maxHits is how many messages are counted before they are written, at the latest.
	maxHits = 10_000
)

// A Book is the exceptions of a running filter. It is safe for concurrent use.
type Book struct {
	table Table
	log   *slog.Logger
	now   func() time.Time

	current atomic.Pointer[Snapshot]
	change  sync.Mutex // held while something is written and read again

	mu     sync.Mutex
	hits   map[string]*Hit // that are not written yet
	failed string          // why the table could not be read or written last; empty if it could
	ended  map[string]bool // exceptions of which was told that they have ended
}

// Open reads the exceptions of a table. A nil logger logs nothing.
func Open(ctx context.Context, t Table, log *slog.Logger) (*Book, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	b := &Book{table: t, log: log, now: time.Now, hits: map[string]*Hit{}, ended: map[string]bool{}}
	return b, b.Reload(ctx)
}

// Snapshot is what is in force.
func (b *Book) Snapshot() *Snapshot { return b.current.Load() }

// Reload reads the table. If it cannot be read, the snapshot stays what it is, and the error is logged too: once, until
// another one or none.
func (b *Book) Reload(ctx context.Context) error {
	b.change.Lock()
	defer b.change.Unlock()
	return b.reload(ctx)
}

func (b *Book) reload(ctx context.Context) error {
	list, err := b.table.Exceptions(ctx)
	if err != nil {
		err = fmt.Errorf("read exceptions: %w", err)
		b.tell(err)
		return err
	}
	b.tell(nil)
	b.tellEnded(list)
	b.current.Store(NewSnapshot(list))
	return nil
}

// tell logs that the table fails, or that it does so no more.
func (b *Book) tell(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err == nil && b.failed != "":
		b.failed = ""
		b.log.Info("exceptions can be read and written again")
	case err != nil && err.Error() != b.failed:
		b.failed = err.Error()
		b.log.Error("the exceptions in force stay what they were", "exceptions", b.current.Load().Len(), "error", err)
	}
}

// tellEnded warns of exceptions that do not hold any more, once.
func (b *Book) tellEnded(list []Exception) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ended := map[string]bool{}
	for i := range list {
		e := &list[i]
		if end, err := e.Ends(); err != nil || b.now().Before(end) {
			continue
		}
		if ended[e.ID] = true; !b.ended[e.ID] {
			b.log.Warn("an exception has ended", "exception", e.ID, "owner", e.Owner, "until", e.Until)
		}
	}
	b.ended = ended
}

// newID makes an ID for an exception.
func (b *Book) newID() string { return ulid.MustNew(ulid.Timestamp(b.now()), rand.Reader).String() }

// Create adds an exception. It fills in all but the scope, the owner, the reason and the end. Errors are ErrInvalid,
// ErrFull, and those of the table.
func (b *Book) Create(ctx context.Context, e Exception, by string) (*Exception, error) {
	now := b.now().UTC().Truncate(time.Millisecond)
	if err := e.settle(now); err != nil {
		return nil, err
	}
	by = cut(by)
	e.ID, e.Created, e.CreatedBy, e.Changed, e.ChangedBy, e.Hits, e.LastHit = b.newID(), now, by, now, by, 0, time.Time{}
	return &e, b.write(ctx, Entry{At: now, By: by, What: Created, Exception: e})
}

// Update puts another scope, owner, reason and end into an exception. Errors are those of Create, and ErrNotFound.
func (b *Book) Update(ctx context.Context, e Exception, by string) (*Exception, error) {
	now := b.now().UTC().Truncate(time.Millisecond)
	old, err := b.Get(ctx, e.ID)
	if err != nil {
		return nil, err
	}
	if err := e.settle(now); err != nil {
		return nil, err
	}
	e.Created, e.CreatedBy, e.Changed, e.ChangedBy, e.Hits, e.LastHit = old.Created, old.CreatedBy, now, cut(by), old.Hits, old.LastHit
	return &e, b.write(ctx, Entry{At: now, By: cut(by), What: Updated, Exception: e})
}

// Delete removes an exception; the log keeps what it was.
func (b *Book) Delete(ctx context.Context, id, by string) error {
	old, err := b.Get(ctx, id)
	if err != nil {
		return err
	}
	now := b.now().UTC().Truncate(time.Millisecond)
	return b.write(ctx, Entry{At: now, By: cut(by), What: Deleted, Exception: *old})
}

// cut bounds a name of who changes something.
func cut(by string) string {
	by = strings.ToValidUTF8(by[:min(len(by), maxText)], "")
	if by == "" {
		return "?"
	}
	return by
}

// write makes a change and puts it in force.
func (b *Book) write(ctx context.Context, e Entry) error {
	b.change.Lock()
	defer b.change.Unlock()
	if err := b.table.ChangeException(ctx, e); err != nil {
		return fmt.Errorf("%s exception: %w", e.What, err)
	}
	b.log.Info("exception", "what", e.What, "exception", e.Exception.ID, "by", e.By, "scope", e.Exception.Scope.String(), "owner", e.Exception.Owner, "until", e.Exception.Until)
	return b.reload(ctx)
}

// List gives all exceptions, with all hits so far.
func (b *Book) List(ctx context.Context) ([]Exception, error) {
	if err := b.flush(ctx); err != nil {
		return nil, err
	}
	return b.table.Exceptions(ctx)
}

// Get gives one, or ErrNotFound.
func (b *Book) Get(ctx context.Context, id string) (*Exception, error) {
	list, err := b.List(ctx)
	if err != nil {
		return nil, err
	}
	i, ok := slices.BinarySearchFunc(list, id, func(e Exception, id string) int { return strings.Compare(e.ID, id) })
	if !ok {
		return nil, ErrNotFound
	}
	return &list[i], nil
}

// Log gives the last entries, the latest first: of one exception, or if id is empty of all.
func (b *Book) Log(ctx context.Context, id string, limit int) ([]Entry, error) {
	if limit <= 0 || limit > MaxLog {
		limit = MaxLog
	}
	return b.table.ExceptionLog(ctx, id, limit)
}

// Hit notes that exceptions made a difference for a message. They are written soon, by Run.
func (b *Book) Hit(ids []string, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range ids {
		h := b.hits[id]
		if h == nil {
			if len(b.hits) == maxHits {
				continue // there are no more exceptions than that, so the table fails since long
			}
			h = &Hit{ID: id}
			b.hits[id] = h
		}
		h.Count++
		if at.After(h.Last) {
			h.Last = at.UTC().Truncate(time.Millisecond)
		}
	}
}

// flush writes the hits. On an error they are kept for the next time.
func (b *Book) flush(ctx context.Context) error {
	b.mu.Lock()
	hits := b.hits
	b.hits = map[string]*Hit{}
	b.mu.Unlock()
	if len(hits) == 0 {
		return nil
	}
	var list []Hit
	for _, id := range slices.Sorted(maps.Keys(hits)) {
		list = append(list, *hits[id])
	}
	err := b.table.HitExceptions(ctx, list)
	if err == nil {
		return nil
	}
	b.mu.Lock()
	for id, h := range hits {
		if n := b.hits[id]; n != nil {
			n.Count += h.Count
		} else {
			b.hits[id] = h
		}
	}
	b.mu.Unlock()
	err = fmt.Errorf("count hits of exceptions: %w", err)
	b.tell(err)
	return err
}

// Run writes hits and reads the table from time to time, until ctx ends.
func (b *Book) Run(ctx context.Context) {
	flush, reload := time.NewTicker(flushEvery), time.NewTicker(reloadEvery)
	defer flush.Stop()
	defer reload.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-flush.C:
			_ = b.flush(ctx) // logged
		case <-reload.C:
			_ = b.Reload(ctx) // logged
		}
	}
}

// Close writes the hits that are left. The table stays the caller's.
func (b *Book) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), flushEvery)
	defer cancel()
	return b.flush(ctx)
}
