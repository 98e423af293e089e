// Package quarantine keeps messages until somebody decides about them, and sends those that
// are released.
//
// A Store is an Index, which has the records, and Blobs, which has the messages. Both are
// durable before Hold returns, the message first: whatever the index lists is complete, and
// whatever Hold has returned for survives a crash. A crash in between leaves a message that no
// record names; Sweep removes it later, and the sender, who never got an answer, tries again.
//
// It is an outbox too, for what the filter itself has to send: Queue stores a message in the same way, and
// RunOutbox sends it in the way in which a held one is released.
package quarantine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"time"
)

// What callers can tell apart.
var (
	ErrNotFound = errors.New("no such item")
	ErrState    = errors.New("not possible in the state of the item")
	ErrCorrupt  = errors.New("the stored message is not what was held")
	ErrUnsure   = errors.New("it may have been written all the same") // what an Index was asked to write
)

// An Index has the records of items. It is safe for concurrent use, and what it has written is
// durable when the call returns. The suite in quarantinetest says the rest.
type Index interface {
	// Put adds an item. If a held item with the same Key was created at since or later, it
	// adds nothing and returns that one, with the later Expires of the two. For an item with a Purpose
	// that is the one with the same Key and any Purpose, in whatever state, as it is.
	Put(ctx context.Context, it *Item, since time.Time) (*Item, error)
	// Get returns one item, or ErrNotFound.
	Get(ctx context.Context, id string) (*Item, error)
	// Evidence returns the Evidence that an item was put with, or ErrNotFound if it had none.
	Evidence(ctx context.Context, id string) ([]byte, error)
	// List returns the items that match, newest first.
	List(ctx context.Context, f Filter) ([]Item, error)
	// Count returns how many items match, whatever Limit and Cursor say, and when the oldest of them was
	// created.
	Count(ctx context.Context, f Filter) (n int, oldest time.Time, err error)
	// Forget removes the records of what was sent (Sent) and created before, and returns how many.
	Forget(ctx context.Context, before time.Time) (int, error)
	// Update lets change alter an item, in one transaction: of several updates at a time one
	// sees what the other has done. An error of change is returned, and nothing written. What
	// change may alter: Expires, Stored, State, Changed, ChangedBy, Note, ReleaseTo, Lease,
	// Attempt, Tries and Next. It must be quick and not use the Index, and it is called again, with the
	// item as it is then, if others were in the way.
	Update(ctx context.Context, id string, change func(*Item) error) (*Item, error)
	Close() error
}

// Blobs has the messages, by the id of their item. It is safe for concurrent use. IDs are
// those for which ValidID holds; others are refused with an error.
type Blobs interface {
	// Put stores what r gives until io.EOF. When it returns nil the blob is durable; when it
	// returns an error there is none.
	Put(ctx context.Context, id string, r io.Reader) error
	// Open reads a blob, or returns ErrNotFound. The caller closes the reader.
	Open(ctx context.Context, id string) (io.ReadCloser, error)
	// Remove removes a blob. It is no error if there is none.
	Remove(ctx context.Context, id string) error
	// Walk calls visit for each blob that was there when Walk began, in any order, and stops
	// at its first error. Visit may remove the blob.
	Walk(ctx context.Context, visit func(id string, stored time.Time) error) error
	Close() error
}

// A Filter says which items to list. Empty fields do not restrict.
type Filter struct {
	State     State
	Class     string    // all of it; case counts. Store.List: empty means all but samples, AnyClass all
	NotClass  string    // none of that class; for an Index
	Sender    string    // an address, or "@domain"; case does not count
	Recipient string    // one of the recipients, likewise
	Text      string    // is contained in subject, From, an address, client, message id or rule
	Since     time.Time // created then or later
	Due       time.Time // stored, and expires then or before
	TryBy     time.Time // is to be tried again then or before
	Oldest    bool      // oldest first; then there is no Cursor
	Cursor    string    // only items older than this id: the last of the page before
	Limit     int       // default 100, at most MaxLimit
}

// MaxLimit is how many items List returns at most.
const MaxLimit = 1000

// Options are what a Store is made of. The Store closes Index and Blobs.
type Options struct {
	Config Config
	Index  Index
	Blobs  Blobs
	Log    *slog.Logger // nil: nothing is logged
	// Secret reads a file that holds a secret. Nil: there are none.
	Secret func(file string) (string, error)
}

// A Store is the quarantine. It is safe for concurrent use, also by several processes on the
// same directory.
type Store struct {
	cfg   Config
	index Index
	blobs Blobs
	log   *slog.Logger
	key   []byte
	enter *access

	examiner Examiner // nil: nothing is examined again
	renderer Renderer // nil: there are no other forms than the original

	now func() time.Time

	woken chan struct{} // something was queued
	sums  sums
}

// New makes the quarantine, and the key for release tokens if there is none yet. On an error
// Index and Blobs stay the caller's.
func New(opt Options) (*Store, error) {
	if err := opt.Config.Validate(); err != nil {
		return nil, err
	}
	cfg := opt.Config.withDefaults()
	if cfg.Dir == "" {
		return nil, errors.New("quarantine.dir is not set")
	}
	key, err := loadKey(cfg.keyFile())
	if err != nil {
		return nil, err
	}
	enter, err := newAccess(cfg.Release, opt.Secret)
	if err != nil {
		return nil, err
	}
	log := opt.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Store{cfg: cfg, index: opt.Index, blobs: opt.Blobs, log: log, key: key, enter: enter, now: time.Now, woken: make(chan struct{}, 1)}, nil
}

// Close closes the index and the blobs.
func (s *Store) Close() error { return errors.Join(s.index.Close(), s.blobs.Close()) }

// Get returns one item, or ErrNotFound.
func (s *Store) Get(ctx context.Context, id string) (*Item, error) {
	if !ValidID(id) {
		return nil, ErrNotFound
	}
	return s.index.Get(ctx, id)
}

// SampleClass is the class of copies of delivered mail that are kept to try policies on. They are no part
// of what an administrator looks after, so they are listed only if they are asked for.
const SampleClass = "sample"

// AnyClass as the Class of a Filter has samples listed too.
const AnyClass = "*"

// Evidence returns the record of the message of an item, in JSON, or ErrNotFound if it has none.
func (s *Store) Evidence(ctx context.Context, id string) ([]byte, error) {
	if !ValidID(id) {
		return nil, ErrNotFound
	}
	return s.index.Evidence(ctx, id)
}

// List returns the items that match, newest first.
func (s *Store) List(ctx context.Context, f Filter) ([]Item, error) {
	if f.Limit <= 0 {
		f.Limit = 100
	}
	f.Limit = min(f.Limit, MaxLimit)
	switch f.Class {
	case "":
		f.NotClass = SampleClass
	case AnyClass:
		f.Class = ""
	}
	return s.index.List(ctx, f)
}

// Usage is how many bytes the messages of a class have that are stored.
func (s *Store) Usage(ctx context.Context, class string) (n int64, err error) {
	err = s.each(ctx, Filter{Class: class}, func(it *Item) error {
		if it.Stored {
			n += it.Size
		}
		return nil
	})
	return n, err
}

// Open reads the raw message, byte for byte as it was held. The last Read returns ErrCorrupt
// instead of io.EOF if it is not that: what was read must not be used then. It returns
// ErrNotFound if there is no such item or its message was removed. The caller closes it.
func (s *Store) Open(ctx context.Context, id string) (io.ReadCloser, error) {
	it, err := s.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.open(ctx, it)
}

func (s *Store) open(ctx context.Context, it *Item) (io.ReadCloser, error) {
	if !it.Stored {
		return nil, fmt.Errorf("%w: its message was removed, it is %s", ErrNotFound, it.State)
	}
	r, err := s.blobs.Open(ctx, it.ID)
	if err != nil {
		return nil, err
	}
	return &checkedReader{r: r, want: it.SHA256, left: it.Size, sum: sha256.New()}, nil
}

// A checkedReader gives at most the bytes that were held and an error if they are others.
type checkedReader struct {
	r    io.ReadCloser
	want string
	left int64
	sum  hash.Hash
}

func (c *checkedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.left -= int64(n); c.left < 0 {
		return 0, ErrCorrupt
	}
	c.sum.Write(p[:n])
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF) && c.left == 0 && hex.EncodeToString(c.sum.Sum(nil)) == c.want:
		return n, io.EOF
	case errors.Is(err, io.EOF):
		return n, ErrCorrupt
	}
	return n, fmt.Errorf("%w: %w", ErrCorrupt, err)
}

func (c *checkedReader) Close() error { return c.r.Close() }
