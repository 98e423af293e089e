package quarantine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// leaseMargin is what a release may take beyond its timeout to note how it ended.
	leaseMargin = 2 * recordTime
	// maxActor is how long the name of who did something may be.
	maxActor = 200
)

// ReleaseRequest says how an item is to be released.
type ReleaseRequest struct {
	Recipients []string `json:"recipients,omitempty"` // instead of those of the envelope; nil means those
	By         string   `json:"by,omitempty"`         // who wants it
	Force      bool     `json:"force,omitempty"`      // in spite of what is found in it today
	As         Variant  `json:"as,omitempty"`         // in what form; empty: as it was held
	Parts      []string `json:"parts,omitempty"`      // for AsWithout: the ids of those left out; nil means all with findings
}

// Release sends a held message by SMTP, with the envelope it came with and as it was held, and
// returns the item as it stands then. It is all or nothing: if the server refuses one
// recipient, nobody gets the message, and it stays held with the error as its Note.
//
// The item is released only once the server has answered 250. If the connection is lost before
// that answer, the server may have taken the message (RFC 5321 section 4.2.5): it stays
// held, and says so, because twice is better than never.
//
// Before that the message is examined again, if there is an Examiner. If that fails, or finds malware that the
// record of the item does not have, it is not released, and says so in its Note, unless req.Force.
//
// The error is ErrNotFound, ErrState if it is not held or another release is under way, a *RescanError, a
// *SendError if the message could not be sent, ErrVariant, or that of the index.
func (s *Store) Release(ctx context.Context, id string, req ReleaseRequest) (*Item, error) {
	if !ValidID(id) {
		return nil, ErrNotFound
	}
	if err := req.check(); err != nil {
		return nil, err
	}
	before, err := s.index.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	spite, err := s.reviewed(ctx, before, req)
	if err != nil {
		return before, err
	}
	form, err := s.rendered(ctx, before, req)
	if err != nil {
		return before, err
	}
	if form != nil {
		defer form.Done()
		spite = noteOf(req.As, spite)
	}
	it, err := s.beginRelease(ctx, id, req)
	if err != nil {
		return nil, err
	}
	sctx, cancel := context.WithTimeout(ctx, s.cfg.Release.Timeout)
	defer cancel()
	sent := s.send(sctx, it, form)
	done, err := s.endRelease(ctx, it, before.ReleaseTo, spite, sent)
	if err != nil {
		s.log.Error("note how a release ended", "id", id, "sent", sent == nil, "error", err)
		return done, errors.Join(sent, fmt.Errorf("note how the release ended: %w", err))
	}
	if sent != nil {
		s.log.Warn("release", "id", id, "by", done.ChangedBy, "state", done.State, "error", sent)
		return done, sent
	}
	if form != nil {
		done.Password = form.Password
	}
	s.log.Info("release", "id", id, "by", done.ChangedBy, "recipients", len(it.ReleaseTo), "state", done.State, "note", done.Note)
	return done, nil
}

// beginRelease makes the item ours. Update runs one at a time, so of two releasers one finds
// it held and the other releasing.
func (s *Store) beginRelease(ctx context.Context, id string, req ReleaseRequest) (*Item, error) {
	return s.index.Update(ctx, id, func(it *Item) error {
		if err := s.settled(it); err != nil {
			return err
		}
		if it.State != Held || !it.Stored {
			return fmt.Errorf("%w: it is %s", ErrState, it.State)
		}
		to := it.Recipients
		if it.Purpose != "" {
			to = slices.Clone(it.ReleaseTo)
		}
		if req.Recipients != nil {
			to = slices.Clone(req.Recipients)
		}
		if err := checkRecipients(to); err != nil {
			return err
		}
		it.ReleaseTo, it.Attempt = to, rand.Text()
		it.Lease = millis(s.now().Add(s.cfg.Release.Timeout + leaseMargin))
		s.mark(it, Releasing, req.By, unanswered(it.Note))
		return nil
	})
}

// mayBeDelivered ends the note of an item whose release ended without an answer.
const mayBeDelivered = "the message may have been delivered"

// unanswered is the note of an item if it says that a release before ended without an answer, else nothing. It
// stays through the next release, whose note then tells that there may be two deliveries.
func unanswered(note string) string {
	if strings.HasSuffix(note, mayBeDelivered) {
		return note
	}
	return ""
}

// noteOf tells in what form a message was released.
func noteOf(as Variant, spite string) string {
	if spite == "" {
		return "released as " + string(as)
	}
	return "released as " + string(as) + "; " + spite
}

// releasedNote is that of an item that was released, by the note that it had meanwhile.
func releasedNote(note string) string {
	if unanswered(note) == "" {
		return ""
	}
	return "delivered, perhaps twice, with the same Message-ID: before, " + note
}

// settled takes an item back whose release was cut off by a crash, and refuses one that is
// being released or sent.
func (s *Store) settled(it *Item) error {
	if it.State != Releasing && it.State != Sending {
		return nil
	}
	if s.now().Before(it.Lease) {
		return fmt.Errorf("%w: it is %s, at the latest until %s", ErrState, it.State, it.Lease.Format(time.RFC3339))
	}
	if it.State == Sending {
		s.requeue(it)
		return nil
	}
	s.mark(it, Held, it.ChangedBy, "the release was cut off; "+mayBeDelivered)
	it.Lease, it.Attempt = time.Time{}, ""
	return nil
}

// endRelease notes how it ended, also when ctx has ended. What was to be sent by the filter itself is still for
// those who have not got it if it was not sent to others either.
func (s *Store) endRelease(ctx context.Context, mine *Item, before []string, spite string, sent error) (*Item, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	return s.index.Update(ctx, mine.ID, func(it *Item) error {
		if it.State != Releasing || it.Attempt != mine.Attempt {
			return fmt.Errorf("%w: the release took longer than its lease", ErrState)
		}
		it.Lease, it.Attempt = time.Time{}, ""
		if sent != nil && it.Purpose != "" {
			it.ReleaseTo = before
		}
		if sent == nil {
			s.mark(it, Released, it.ChangedBy, followedBy(spite, releasedNote(it.Note)))
		} else {
			s.mark(it, Held, it.ChangedBy, sent.Error())
		}
		return nil
	})
}

// mark sets the state, and who set it and why.
func (s *Store) mark(it *Item, state State, by, note string) {
	it.State, it.Changed = state, millis(s.now())
	it.ChangedBy, it.Note = by[:min(len(by), maxActor)], cutText(note)
}

// ErrRecipient is returned by Release for recipients that no message can be sent to.
var ErrRecipient = errors.New("not an address that a message can be released to")

func checkRecipients(list []string) error {
	if len(list) == 0 || len(list) > maxRecipients {
		return fmt.Errorf("%w: %d recipients", ErrRecipient, len(list))
	}
	for _, r := range list {
		if r == "" || len(r) > maxAddress || !sendable(r) {
			return fmt.Errorf("%w: %.200q", ErrRecipient, r)
		}
	}
	return nil
}
