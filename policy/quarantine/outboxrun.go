package quarantine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// outboxEvery is how often RunOutbox looks for what is to be tried again, at the least.
	outboxEvery = 15 * time.Second
	// outboxDrain is how long RunOutbox sends after its context has ended.
	outboxDrain = 60 * time.Second
	// maxOwner is how long the name of an owner may be.
	maxOwner = 64
)

// sums are what RunOutbox has done.
type sums struct{ sent, failed, held atomic.Uint64 }

// RunOutbox sends what is queued until ctx ends: at once, and what could not be sent again and again. Then it
// sends what is due still, for a minute at most, and returns. What is left stays queued.
//
// Of several processes on the same directory one does so at a time; the others wait for it to end. So what
// was being sent from this directory when it begins was cut off by a crash, and is sent again at once.
func (s *Store) RunOutbox(ctx context.Context) {
	tick := time.NewTicker(outboxEvery)
	defer tick.Stop()
	for {
		err := s.runOutbox(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		s.log.Error("outbox: nothing is sent", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// runOutbox is RunOutbox, unless it cannot begin.
func (s *Store) runOutbox(ctx context.Context) error {
	lock, err := s.lockOutbox(ctx)
	if err != nil {
		return err
	}
	defer lock.Close()
	o := &outbox{Store: s, slots: make(chan struct{}, s.cfg.Outbox.Parallel)}
	if o.owner, err = ownerOf(lock); err != nil {
		return err
	}
	o.run(ctx)
	return nil
}

// lockOutbox waits until no other process sends.
func (s *Store) lockOutbox(ctx context.Context) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(s.cfg.Dir, "outbox.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(outboxEvery)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) // ends with the process, or Close
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		case <-tick.C:
		}
	}
}

// ownerOf is the name of who sends from this directory, which is in the file; a new one if there is none.
func ownerOf(f *os.File) (string, error) {
	b, err := io.ReadAll(io.LimitReader(f, maxOwner))
	if err != nil {
		return "", err
	}
	if name := strings.TrimSpace(string(b)); name != "" {
		return name, nil
	}
	name := rand.Text()
	_, err = f.WriteAt([]byte(name+"\n"), 0)
	return name, errors.Join(err, f.Sync())
}

// An outbox is one call of RunOutbox.
type outbox struct {
	*Store
	owner   string
	slots   chan struct{} // one for each message that is being sent
	sending sync.WaitGroup
}

func (o *outbox) run(ctx context.Context) {
	sctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	o.takeMine(ctx)
	tick := time.NewTicker(min(o.cfg.Outbox.Retry, outboxEvery))
	defer tick.Stop()
	for ctx.Err() == nil {
		o.logged(ctx, o.takeBackFrom(ctx, Sending))
		o.logged(ctx, o.sendDue(ctx, sctx))
		select {
		case <-ctx.Done():
		case <-o.woken:
		case <-tick.C:
		}
	}
	end := time.AfterFunc(outboxDrain, cancel)
	defer end.Stop()
	o.logged(sctx, o.sendDue(sctx, sctx))
	o.sending.Wait()
}

func (o *outbox) logged(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		o.log.Error("outbox", "error", err)
	}
}

// takeMine queues again what was being sent from this directory when the process before ended.
func (o *outbox) takeMine(ctx context.Context) {
	err := o.each(ctx, Filter{State: Sending}, func(it *Item) error {
		_, err := o.index.Update(ctx, it.ID, func(it *Item) error {
			if it.State != Sending || !strings.HasPrefix(it.Attempt, ownedBy(o.owner)) {
				return errKeep
			}
			o.requeue(it)
			return nil
		})
		if errors.Is(err, errKeep) {
			return nil
		}
		if err == nil {
			o.log.Warn("sending was cut off", "id", it.ID)
		}
		return err
	})
	o.logged(ctx, err)
}

// sendDue begins to send all that is due, the oldest first. It waits while as many are being sent as may be,
// unless ctx ends. What it has begun ends with sctx.
func (o *outbox) sendDue(ctx, sctx context.Context) error {
	for {
		due, err := o.index.List(ctx, Filter{State: Queued, TryBy: o.now(), Oldest: true, Limit: pageSize})
		if err != nil || len(due) == 0 {
			return err
		}
		for i := range due {
			select {
			case <-ctx.Done():
				return nil
			case o.slots <- struct{}{}:
			}
			it, err := o.beginSend(ctx, due[i].ID, o.owner)
			if err != nil {
				<-o.slots
				if errors.Is(err, errKeep) || errors.Is(err, ErrNotFound) {
					continue
				}
				return err
			}
			o.sending.Go(func() {
				defer func() { <-o.slots }()
				o.sendOne(sctx, it)
			})
		}
	}
}

// sendOne sends one message and notes how it ended.
func (o *outbox) sendOne(ctx context.Context, it *Item) {
	sctx, cancel := context.WithTimeout(ctx, o.cfg.Release.Timeout)
	defer cancel()
	sent := o.send(sctx, it, nil)
	done, err := o.endSend(ctx, it, sent)
	if err != nil {
		o.log.Error("note how sending ended", "id", it.ID, "sent", sent == nil, "error", err)
		return
	}
	args := []any{"id", it.ID, "purpose", string(it.Purpose), "queue_id", it.QueueID, "state", string(done.State), "tries", done.Tries}
	switch {
	case sent == nil:
		o.sums.sent.Add(1)
		o.removeBlob(ctx, it.ID)
		o.log.Info("sent", append(args, "recipients", len(it.ReleaseTo))...)
	case done.State == Held:
		o.sums.failed.Add(1)
		o.sums.held.Add(1)
		o.log.Error("not sent, held instead", append(args, "error", sent)...)
	default:
		o.sums.failed.Add(1)
		o.log.Warn("not sent yet", append(args, "error", sent)...)
	}
}
