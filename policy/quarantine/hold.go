package quarantine

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/oklog/ulid/v2"
)

const (
	// retryTime is how long MTAs try to deliver (RFC 5321 section 4.5.4.1: 4 to 5 days). The
	// same message in the same envelope within it is a retry after an answer that got lost.
	retryTime = 5 * 24 * time.Hour
	// recordTime is how long writing to the index may take. It is not cut short when the
	// message is given up, so that it is never open whether something was written.
	recordTime = 30 * time.Second
)

// Hold stores the raw message in r and its record. When it returns nil both are durable, and
// *it is the item as stored; for a retry of a message that is held already that is the first
// one. On an error, such as a full disk or ErrTooLarge, nothing that counts is stored and the
// message must be refused for now.
//
// An item without an ID is given one; one that NewID has made is kept, unless it is a retry.
// It fills in Created, Expires, Size, SHA256, Stored, State and Changed.
func (s *Store) Hold(ctx context.Context, it *Item, r io.Reader) error {
	it.Purpose = ""
	if err := s.put(ctx, it, r); err != nil {
		return fmt.Errorf("hold message: %w", err)
	}
	return nil
}

// put stores a message that is to be held, or sent.
func (s *Store) put(ctx context.Context, it *Item, r io.Reader) error {
	if err := it.checkEnvelope(); err != nil {
		return err
	}
	item := s.newItem(it)
	m := newMeter()
	if err := s.blobs.Put(ctx, item.ID, io.TeeReader(r, m)); err != nil {
		return err
	}
	item.Size, item.SHA256, item.Digest = m.size, hex.EncodeToString(m.sum.Sum(nil)), m.digest.sum()
	item.Key = envelopeKey(item)
	if item.Purpose != "" {
		item.Key = outboxKey(item)
	}
	stored, err := s.record(ctx, item)
	if err != nil {
		return err
	}
	*it = *stored
	return nil
}

// newItem is what will be stored of it, but for what the message tells.
func (s *Store) newItem(it *Item) *Item {
	item := *it
	item.cut()
	item.Created = millis(s.now())
	if !ValidID(item.ID) {
		item.ID = newID(item.Created)
	}
	item.Expires = millis(item.Created.Add(cmp.Or(max(0, item.Retention), s.cfg.Retention)))
	item.Retention = 0
	item.Stored, item.State, item.Changed = true, Held, item.Created
	item.ReleaseTo, item.Lease, item.Attempt = nil, time.Time{}, ""
	item.Tries, item.Next = 0, time.Time{}
	if item.Purpose != "" {
		s.enqueue(&item)
	}
	return &item
}

// NewID makes the ID of an item that may be held soon, so that it can be told of before.
func NewID() string { return newID(time.Now()) }

// newID makes a ULID: 48 bits of time, 80 of chance.
func newID(t time.Time) string {
	return ulid.MustNew(ulid.Timestamp(t), rand.Reader).String()
}

// record writes the index, and takes the blob away again if it is not needed.
func (s *Store) record(ctx context.Context, item *Item) (*Item, error) {
	if err := ctx.Err(); err != nil {
		s.unput(ctx, item.ID)
		return nil, err
	}
	wctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	stored, err := s.index.Put(wctx, item, item.Created.Add(-retryTime))
	if errors.Is(err, ErrUnsure) {
		return nil, err // so the message must stay
	}
	if err != nil {
		s.unput(ctx, item.ID)
		return nil, err
	}
	if stored.ID != item.ID {
		s.unput(ctx, item.ID)
		s.log.Info("retry of a message that is stored already", "id", stored.ID, "queue_id", item.QueueID)
	}
	return stored, nil
}

// unput removes a blob that no record names. Where the index cannot say so for certain the
// blob stays: an item without its message would be worse than a message too many.
func (s *Store) unput(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	if _, err := s.index.Get(ctx, id); !errors.Is(err, ErrNotFound) {
		return
	}
	if err := s.blobs.Remove(ctx, id); err != nil {
		s.log.Warn("remove message without a record", "id", id, "error", err)
	}
}

// A meter measures the raw message on its way to the blobs.
type meter struct {
	size   int64
	sum    hash.Hash
	digest *digester
}

func newMeter() *meter { return &meter{sum: sha256.New(), digest: newDigester()} }

func (m *meter) Write(p []byte) (int, error) {
	m.size += int64(len(p))
	m.sum.Write(p)
	return m.digest.Write(p)
}

// envelopeKey is equal for retries of a message. A copy of a delivered message never stands
// for one that was not delivered, so Held counts. The client does not: a sender may retry
// from another address. A sample never stands for a copy that a rule wants kept.
func envelopeKey(it *Item) string {
	recipients := slices.Sorted(slices.Values(it.Recipients))
	h := sha256.New()
	writeStrings(h, strconv.FormatBool(it.Held), it.SHA256, it.Sender)
	writeStrings(h, recipients...)
	if it.Class == SampleClass {
		writeStrings(h, it.Class)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// writeStrings writes each string with its length, so that no two lists give the same bytes.
func writeStrings(w hash.Hash, list ...string) {
	for _, s := range list {
		fmt.Fprintf(w, "%d:%s,", len(s), s)
	}
}
