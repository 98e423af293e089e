package quarantine

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	expireEvery = 10 * time.Minute
	sweepEvery  = 24 * time.Hour
	pageSize    = 100 // items that are in memory at a time
)

// Delete removes the message of an item; the record stays. The error is ErrNotFound, ErrState
// if the item is being released or its message is gone already, or that of the index. A
// message that could not be removed from the disk goes with the next Sweep.
func (s *Store) Delete(ctx context.Context, id, by string) error {
	if !ValidID(id) {
		return ErrNotFound
	}
	_, err := s.index.Update(ctx, id, func(it *Item) error {
		if err := s.settled(it); err != nil {
			return err
		}
		if !it.Stored {
			return fmt.Errorf("%w: it is %s", ErrState, it.State)
		}
		it.Stored = false
		s.mark(it, Deleted, by, "")
		return nil
	})
	if err != nil {
		return err
	}
	s.log.Info("delete", "id", id, "by", by)
	s.removeBlob(ctx, id)
	return nil
}

// removeBlob removes the message of an item whose record says that it has none.
func (s *Store) removeBlob(ctx context.Context, id string) {
	if err := s.blobs.Remove(ctx, id); err != nil {
		s.log.Warn("remove message", "id", id, "error", err)
	}
}

// Expire takes back items whose release was cut off, and removes the messages whose time is up
// at now. A held item becomes expired; a released one stays released. It returns how many
// messages it removed.
func (s *Store) Expire(ctx context.Context, now time.Time) (int, error) {
	if err := s.takeBack(ctx); err != nil {
		return 0, fmt.Errorf("expire: %w", err)
	}
	n := 0
	err := s.each(ctx, Filter{Due: now}, func(it *Item) error {
		done, err := s.expire(ctx, it.ID, now)
		if done {
			n++
		}
		return err
	})
	if n > 0 {
		s.log.Info("expire", "items", n)
	}
	if err != nil {
		return n, fmt.Errorf("expire: %w", err)
	}
	return n, nil
}

// forget removes records of what was sent, once no sender tries again any more: they are many, and nobody has
// held anything.
func (s *Store) forget(ctx context.Context, now time.Time) error {
	n, err := s.index.Forget(ctx, now.Add(-retryTime))
	if n > 0 {
		s.log.Info("forget what was sent", "items", n)
	}
	return err
}

// errKeep says that an item is to stay as it is.
var errKeep = errors.New("nothing to change")

// takeBack makes items held, or queued, again whose releaser is gone.
func (s *Store) takeBack(ctx context.Context) error {
	return errors.Join(s.takeBackFrom(ctx, Releasing), s.takeBackFrom(ctx, Sending))
}

func (s *Store) takeBackFrom(ctx context.Context, state State) error {
	return s.each(ctx, Filter{State: state}, func(it *Item) error {
		_, err := s.index.Update(ctx, it.ID, func(it *Item) error {
			if it.State != state {
				return errKeep
			}
			return s.settled(it)
		})
		switch {
		case errors.Is(err, errKeep), errors.Is(err, ErrState):
			return nil
		case err == nil:
			s.log.Warn("release was cut off", "id", it.ID)
		}
		return err
	})
}

// expire removes one message if it is still due: a retry may have moved its time.
func (s *Store) expire(ctx context.Context, id string, now time.Time) (bool, error) {
	_, err := s.index.Update(ctx, id, func(it *Item) error {
		if !it.Stored || it.State == Releasing || it.State == Queued || it.State == Sending || it.Expires.After(now) {
			return errKeep
		}
		it.Stored = false
		if it.State == Held {
			s.mark(it, Expired, "", "")
		}
		return nil
	})
	if errors.Is(err, errKeep) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	s.removeBlob(ctx, id)
	return true, nil
}

// each calls do for all items that match, newest first.
func (s *Store) each(ctx context.Context, f Filter, do func(*Item) error) error {
	f.Limit = pageSize
	for {
		items, err := s.index.List(ctx, f)
		if err != nil {
			return err
		}
		for i := range items {
			if err := do(&items[i]); err != nil {
				return err
			}
		}
		if len(items) < f.Limit {
			return nil
		}
		f.Cursor = items[len(items)-1].ID
	}
}

// Sweep removes messages that no item needs: those whose item is deleted or expired, which a
// crash has left, and those that no record names, once they are older than the retention. It
// keeps the latter that long because they may also mean that the index was lost, or put back
// from a backup. It returns how many it removed.
func (s *Store) Sweep(ctx context.Context, now time.Time) (int, error) {
	n := 0
	err := s.blobs.Walk(ctx, func(id string, stored time.Time) error {
		it, err := s.index.Get(ctx, id)
		switch {
		case err == nil && it.Stored:
			return nil
		case errors.Is(err, ErrNotFound) && now.Sub(stored) < s.cfg.Retention:
			return nil
		case err != nil && !errors.Is(err, ErrNotFound):
			return err
		}
		n++
		s.log.Info("remove message that no item needs", "id", id)
		return s.blobs.Remove(ctx, id)
	})
	if err != nil {
		return n, fmt.Errorf("sweep: %w", err)
	}
	return n, nil
}

// Run expires and sweeps from time to time, beginning now, until ctx ends.
func (s *Store) Run(ctx context.Context) {
	tick := time.NewTicker(expireEvery)
	defer tick.Stop()
	var swept time.Time
	for {
		if _, err := s.Expire(ctx, s.now()); err != nil && ctx.Err() == nil {
			s.log.Error("quarantine", "error", err)
		}
		if now := s.now(); now.Sub(swept) >= sweepEvery {
			swept = now
			_, err := s.Sweep(ctx, now)
			if err := errors.Join(err, s.forget(ctx, now)); err != nil && ctx.Err() == nil {
				s.log.Error("quarantine", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
