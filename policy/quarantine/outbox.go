package quarantine

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"slices"
	"time"

	"github.com/emersion/go-smtp"
)

// outboxActor is who changes what is sent, in the record.
const outboxActor = "outbox"

// errNoPurpose is what Queue says of an item that nobody is to send.
var errNoPurpose = errors.New("it has no purpose, or no recipients")

// Queue stores a message that the filter itself is to send, and its record. When it returns nil both are
// durable, and *it is the item as stored; RunOutbox sends it to all recipients of the item, at the latest when
// it looks next, or at once when Send is called. On an error nothing that counts is stored.
//
// The item has a Purpose. One with the same Purpose, sender and recipients that was made of the same (Of)
// within the time that MTAs try to deliver is the same message, whether it is still queued, was sent, or is
// held: then that is the item, and no second one is made.
func (s *Store) Queue(ctx context.Context, it *Item, r io.Reader) error {
	if it.Purpose == "" || len(it.Recipients) == 0 {
		return fmt.Errorf("queue message: %w", errNoPurpose)
	}
	if err := s.put(ctx, it, r); err != nil {
		return fmt.Errorf("queue message: %w", err)
	}
	return nil
}

// Send has RunOutbox send what is queued. It does not wait for that. Whoever queues several messages calls it when
// all of them are, so that none is sent while it is open whether the others can be.
func (s *Store) Send() {
	select {
	case s.woken <- struct{}{}:
	default: // it knows already
	}
}

// enqueue makes a new item one that is to be sent at once. What is given up is held as long as any other
// message, so it expires after that.
func (s *Store) enqueue(it *Item) {
	it.State, it.Next = Queued, it.Created
	it.ReleaseTo = slices.Clone(it.Recipients)
	it.Expires = millis(it.Expires.Add(s.cfg.Outbox.GiveUp))
}

// outboxKey is equal for what is made of the same message for the same purpose.
func outboxKey(it *Item) string {
	of := it.Of
	if of == "" {
		of = it.ID // nothing else is the same
	}
	h := sha256.New()
	writeStrings(h, "outbox", string(it.Purpose), of, it.Sender)
	writeStrings(h, slices.Sorted(slices.Values(it.Recipients))...)
	return hex.EncodeToString(h.Sum(nil))
}

// beginSend makes a queued item ours. The error is errKeep if it is not due, or another process has it.
func (s *Store) beginSend(ctx context.Context, id, owner string) (*Item, error) {
	return s.index.Update(ctx, id, func(it *Item) error {
		now := s.now()
		if it.State != Queued || it.Next.After(now) {
			return errKeep
		}
		it.Attempt = ownedBy(owner) + rand.Text()
		it.Lease = millis(now.Add(s.cfg.Release.Timeout + leaseMargin))
		it.Tries++
		s.mark(it, Sending, outboxActor, it.Note)
		return nil
	})
}

// ownedBy is how the attempts of an owner begin.
func ownedBy(owner string) string { return owner + "." }

// endSend notes how it ended, also when ctx has ended.
func (s *Store) endSend(ctx context.Context, mine *Item, sent error) (*Item, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	return s.index.Update(ctx, mine.ID, func(it *Item) error {
		sent := sent // so that a second call does not begin where the first has ended
		if it.State != Sending || it.Attempt != mine.Attempt {
			return fmt.Errorf("%w: sending took longer than its lease", ErrState)
		}
		it.Lease, it.Attempt = time.Time{}, ""
		if sent == nil {
			it.Stored, it.ReleaseTo, it.Next = false, nil, time.Time{}
			s.mark(it, Sent, outboxActor, releasedNote(it.Note))
			return nil
		}
		again := s.keepRefused(it, sent)
		if waited := s.now().Sub(it.Created); again && waited >= s.cfg.Outbox.GiveUp {
			again, sent = false, fmt.Errorf("given up after %v: %w", waited.Round(time.Second), sent)
		}
		if !again {
			s.giveUp(it, sent)
			return nil
		}
		it.Next = millis(s.now().Add(s.backoff(it.Tries)))
		s.mark(it, Queued, outboxActor, sent.Error())
		return nil
	})
}

// keepRefused leaves those recipients who have not got the message, and reports whether trying again may
// help.
func (s *Store) keepRefused(it *Item, sent error) (again bool) {
	var refused *refusedError
	if !errors.As(sent, &refused) {
		return !forGood(sent)
	}
	it.ReleaseTo = nil
	for _, r := range refused.list {
		it.ReleaseTo, again = append(it.ReleaseTo, r.to), again || r.temporary
	}
	return again
}

// forGood reports whether trying again cannot help: the server says so, or the envelope cannot be sent. A message
// that cannot be read now may be there later, or be with another node.
func forGood(sent error) bool {
	var reply *smtp.SMTPError
	return errors.As(sent, &reply) && !reply.Temporary() || errors.Is(sent, errEnvelope)
}

// giveUp makes a held item of one that cannot be sent: somebody must look at it.
func (s *Store) giveUp(it *Item, why error) {
	it.Next, it.Expires = time.Time{}, millis(s.now().Add(s.cfg.Retention))
	s.mark(it, Held, outboxActor, "not sent: "+why.Error())
}

// requeue takes an item back that nobody sends any more.
func (s *Store) requeue(it *Item) {
	it.Lease, it.Attempt, it.Next = time.Time{}, "", millis(s.now())
	s.mark(it, Queued, outboxActor, "sending was cut off; "+mayBeDelivered)
}

// backoff is how long to wait after so many tries: twice as long each time, less a part by chance so that
// what was queued together is not tried together for ever.
func (s *Store) backoff(tries int) time.Duration {
	d := s.cfg.Outbox.Retry
	for n := 1; n < tries && d < maxRetry; n++ {
		d *= 2
	}
	d = min(d, maxRetry)
	return d - time.Duration(mrand.Int64N(int64(d)/2+1))
}

// OutboxStats tell what became of what was queued.
type OutboxStats struct {
	Queued int       // to be sent, or being sent
	Oldest time.Time // when the oldest of them was queued; zero if there is none

	// Since this process began:
	Sent   uint64 // wholly
	Failed uint64 // tries
	Held   uint64 // given up
}

// Outbox tells how it stands with what is to be sent.
func (s *Store) Outbox(ctx context.Context) (OutboxStats, error) {
	st := OutboxStats{Sent: s.sums.sent.Load(), Failed: s.sums.failed.Load(), Held: s.sums.held.Load()}
	for _, state := range []State{Queued, Sending} {
		n, oldest, err := s.index.Count(ctx, Filter{State: state})
		if err != nil {
			return st, err
		}
		if st.Queued += n; n > 0 && (st.Oldest.IsZero() || oldest.Before(st.Oldest)) {
			st.Oldest = oldest
		}
	}
	return st, nil
}
