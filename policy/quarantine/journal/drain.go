package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"rastel/policy/quarantine"
)

// Run hands on what waits, the oldest first, until ctx ends.
func (j *Journal) Run(ctx context.Context) {
	tick := time.NewTicker(drainEvery)
	defer tick.Stop()
	for {
		if err := j.drainAll(ctx); err != nil && ctx.Err() == nil {
			j.Log.Debug("journal", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// maxFailed is how many items may fail before the rest waits. One that the database refuses for ever does not keep
// the others.
const maxFailed = 3

// drainAll hands on until some cannot be.
func (j *Journal) drainAll(ctx context.Context) error {
	n := 0
	var failed []error
	defer func() {
		if n > 0 {
			j.Log.Info("handed on from the journal", "items", n)
		}
	}()
	for _, id := range j.waiting() {
		if err := ctx.Err(); err != nil {
			return err
		}
		dctx, cancel := context.WithTimeout(ctx, drainTime)
		err := j.drain(dctx, id)
		cancel()
		if err != nil {
			if failed = append(failed, fmt.Errorf("%s: %w", id, err)); len(failed) == maxFailed {
				return errors.Join(failed...)
			}
			continue
		}
		n++
	}
	return errors.Join(append(failed, j.adopt(ctx))...)
}

// waiting are the items in the journal, the oldest first.
func (j *Journal) waiting() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var ids []string
	for id := range j.items {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// drain hands on one item: its message, then its record, and then it is removed here.
func (j *Journal) drain(ctx context.Context, id string) error {
	j.draining.Lock()
	defer j.draining.Unlock()
	if !j.waits(id) {
		return nil // somebody else did
	}
	it, err := j.LocalIndex.Get(ctx, id)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if it.Evidence, err = j.LocalIndex.Evidence(ctx, id); err != nil && !errors.Is(err, quarantine.ErrNotFound) {
		return fmt.Errorf("journal: %w", err)
	}
	if j.isOnly(id) {
		err := j.copy(ctx, id)
		j.noted(&j.blobs, "messages", err)
		if err != nil {
			return err
		}
	}
	_, err = j.Options.Index.Put(ctx, it, never)
	j.noted(&j.index, "index", err)
	if err != nil {
		return err
	}
	if err := j.LocalIndex.Drop(ctx, id); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.forget(id)
	if j.isOnly(id) {
		j.dropLocal(ctx, id)
	}
	return nil
}

func (j *Journal) forget(id string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.bytes -= j.items[id]
	delete(j.items, id)
	j.drained++
}

// orphanTime is how old a message must be that no item in the journal names, before it counts as left by a crash.
const orphanTime = time.Hour

// adopt sees to messages on the local disk that a crash has left there: one that the shared index knows goes to the
// shared store, if it is not there. One that nobody knows was never answered to be held; Sweep removes it.
func (j *Journal) adopt(ctx context.Context) error {
	if j.LocalBlobs == nil {
		return nil
	}
	before := time.Now().Add(-orphanTime)
	return j.LocalBlobs.Walk(ctx, func(id string, stored time.Time) error {
		if j.waits(id) || stored.After(before) {
			return nil
		}
		_, err := j.Options.Index.Get(ctx, id)
		if errors.Is(err, quarantine.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := j.copy(ctx, id); err != nil {
			return err
		}
		j.dropLocal(ctx, id)
		return nil
	})
}
