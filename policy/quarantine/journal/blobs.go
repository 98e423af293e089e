package journal

import (
	"context"
	"errors"
	"io"
	"time"

	"rastel/policy/quarantine"
)

// Blobs are the messages with the journal before them.
func (j *Journal) Blobs() quarantine.Blobs {
	if j.LocalBlobs == nil {
		return &ownBlobs{Blobs: j.Options.Blobs, j: j}
	}
	return &blobs{Blobs: j.Options.Blobs, j: j}
}

// ownBlobs are those of this node: they need no journal, but nothing is written for an item that will be refused.
type ownBlobs struct {
	quarantine.Blobs
	j *Journal
}

func (b *ownBlobs) Put(ctx context.Context, id string, r io.Reader) error {
	if err := b.j.refuse(&b.j.index); err != nil {
		return err
	}
	return b.Blobs.Put(ctx, id, r)
}

// refuse returns ErrFull if one of these cannot be reached and the journal has no room.
func (j *Journal) refuse(needed ...*reach) error {
	for _, r := range needed {
		if !r.up() {
			return j.room()
		}
	}
	return nil
}

type blobs struct {
	quarantine.Blobs
	j *Journal
}

// Put implements quarantine.Blobs. The message is durable on the local disk before the shared store is tried: the
// reader gives it once only.
func (b *blobs) Put(ctx context.Context, id string, r io.Reader) error {
	j := b.j
	if err := j.refuse(&j.index, &j.blobs); err != nil {
		return err
	}
	if err := j.LocalBlobs.Put(ctx, id, r); err != nil {
		return err
	}
	j.setOnly(id, true)
	if !j.blobs.up() {
		return nil
	}
	wctx, cancel := context.WithTimeout(ctx, j.Config.Wait)
	defer cancel()
	err := j.copy(wctx, id)
	if ctx.Err() != nil {
		return errors.Join(ctx.Err(), b.Remove(context.WithoutCancel(ctx), id))
	}
	j.noted(&j.blobs, "messages", err)
	if err == nil {
		j.dropLocal(ctx, id)
	}
	return nil
}

// copy writes a message to the shared store.
func (j *Journal) copy(ctx context.Context, id string) error {
	r, err := j.LocalBlobs.Open(ctx, id)
	if err != nil {
		return err
	}
	defer r.Close()
	return within(ctx, func() error { return j.Options.Blobs.Put(ctx, id, r) })
}

// within waits for do no longer than ctx lasts, also where do hangs: a file system that another machine serves
// knows no deadline.
func within(ctx context.Context, do func() error) error {
	done := make(chan error, 1)
	go func() { done <- do() }() // ends when the system lets it
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// dropLocal removes a message that the shared store has.
func (j *Journal) dropLocal(ctx context.Context, id string) {
	if err := j.LocalBlobs.Remove(ctx, id); err != nil {
		j.Log.Warn("remove message from the journal", "id", id, "error", err)
		return
	}
	j.setOnly(id, false)
}

// Open implements quarantine.Blobs.
func (b *blobs) Open(ctx context.Context, id string) (io.ReadCloser, error) {
	if b.j.isOnly(id) {
		r, err := b.j.LocalBlobs.Open(ctx, id)
		if !errors.Is(err, quarantine.ErrNotFound) {
			return r, err
		}
	}
	return b.Blobs.Open(ctx, id)
}

// Remove implements quarantine.Blobs.
func (b *blobs) Remove(ctx context.Context, id string) error {
	if b.j.isOnly(id) {
		if err := b.j.LocalBlobs.Remove(ctx, id); err != nil {
			return err
		}
		b.j.setOnly(id, false)
	}
	return b.Blobs.Remove(ctx, id)
}

// Walk implements quarantine.Blobs: over those on the local disk too, because their items may be in the shared
// index after a crash.
func (b *blobs) Walk(ctx context.Context, visit func(id string, stored time.Time) error) error {
	if err := b.j.LocalBlobs.Walk(ctx, func(id string, stored time.Time) error {
		if b.j.waits(id) {
			return nil
		}
		return visit(id, stored)
	}); err != nil {
		return err
	}
	return b.Blobs.Walk(ctx, visit)
}
