package clamd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	// lagTime is what a scan may take before its daemon is asked only if no other one is free.
	lagTime = 2 * time.Second
	// lagMemory is how long a daemon is known for a slow scan that has ended.
	lagMemory = 3 * time.Second
	// hedgeTime is what a scan may take before another daemon is asked too.
	hedgeTime = 10 * time.Second
	// silenceTime is how long a daemon that takes connections and answers nothing is waited for if
	// there is no other: it may be loading its database. With "ConcurrentDatabaseReload no" it first
	// waits for its idle threads, up to 30 s (IdleTimeout), and the official one takes it as long.
	silenceTime = 60 * time.Second
)

// A pool is the daemons that scans are spread over, and the scans that wait for one.
type pool struct {
	limit int           // scans of one daemon at a time
	hedge time.Duration // hedgeTime
	log   *slog.Logger

	mu      sync.Mutex
	daemons []*daemon
	waiting []*attempt // first come, first served
	turn    int        // counts choices, so that equals take turns
}

// A daemon is one clamd. All of it but the address is guarded by the mutex of the pool.
type daemon struct {
	addr    address
	flights map[*attempt]bool // the scans it has
	slow    time.Time         // when a scan ended last that took longer than lagTime
	health
}

// An attempt is one scan by one daemon.
type attempt struct {
	not   *daemon // the one that has it already; nil if none has
	again bool    // it has waited before

	d       *daemon       // who has it; nil while it waits; guarded by the mutex of the pool
	began   time.Time     // when it was given
	given   chan struct{} // closed when it need not wait any more: d has it, or there is nobody
	overdue chan struct{} // gets a value when another daemon should be asked
	seen    *sighting     // the verdict, when it is done
	err     error
}

func newAttempt(not *daemon, again bool) *attempt {
	return &attempt{not: not, again: again, given: make(chan struct{}), overdue: make(chan struct{}, 1)}
}

// late says that another daemon should be asked.
func (a *attempt) late() {
	select {
	case a.overdue <- struct{}{}:
	default:
	}
}

// scan has a daemon examine the content and gives its verdict; nil is clean. If that daemon fails,
// falls silent or takes long, another one is asked, once; the first verdict counts.
func (p *pool) scan(ctx context.Context, c content) (*sighting, error) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan *attempt, attempts)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	begin := func(a *attempt) { running.Go(func() { a.seen, a.err = p.try(ctx, a, c); done <- a }) }
	first := newAttempt(nil, false)
	begin(first)
	left, begun := 1, 1
	var errs error
	for {
		var second *attempt
		select {
		case a := <-done:
			if a.err == nil || final(a.err) {
				return a.seen, a.err
			}
			left--
			errs = errors.Join(errs, a.err)
			if begun < attempts && ctx.Err() == nil {
				second = p.second(a, a.err)
			}
		case <-first.overdue:
			if begun < attempts {
				second = p.second(first, errLate)
			}
		}
		if second != nil {
			left, begun = left+1, begun+1
			begin(second)
		}
		if left == 0 {
			return nil, errs
		}
	}
}

// errLate is why another daemon is asked before the first one has failed.
var errLate = errors.New("no answer yet")

// final reports whether no other daemon would say anything else.
func final(err error) bool { return errors.Is(err, errUnreadable) || errors.Is(err, errLocal) }

// second is the second attempt: by another daemon if one is up, or by the same if it only closed the
// connection, as it does when it is restarted. It is nil if there is to be none.
func (p *pool) second(a *attempt, why error) *attempt {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case a.d == nil: // it was given to nobody
		return nil
	case p.upBeside(a.d):
		p.log.Warn("clamd failed, another is asked", "address", a.d.addr.String(), "error", why)
		return newAttempt(a.d, true)
	case errors.Is(why, errBroken):
		p.log.Warn("clamd closed the connection, asked again", "address", a.d.addr.String(), "error", why)
		return newAttempt(nil, true)
	}
	return nil
}

// upBeside reports whether another daemon is up; p.mu is held.
func (p *pool) upBeside(d *daemon) bool {
	return slices.ContainsFunc(p.daemons, func(o *daemon) bool { return o != d && o.state == up })
}

// try makes one attempt.
func (p *pool) try(ctx context.Context, a *attempt, c content) (*sighting, error) {
	conn, err := p.connect(ctx, a)
	if err != nil {
		return nil, err
	}
	hedge := time.AfterFunc(p.hedge, a.late)
	defer hedge.Stop()
	seen, err := ask(ctx, conn, c)
	p.release(a, err)
	return seen, err
}

// acquire waits until a daemon is free for the attempt. It is errDown if none will be.
func (p *pool) acquire(ctx context.Context, a *attempt) error {
	p.mu.Lock()
	if a.again {
		p.waiting = slices.Insert(p.waiting, 0, a)
	} else {
		p.waiting = append(p.waiting, a)
	}
	p.serve()
	p.mu.Unlock()
	select {
	case <-a.given:
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.d != nil {
		return nil
	}
	p.waiting = slices.DeleteFunc(p.waiting, func(w *attempt) bool { return w == a })
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("wait for clamd: %w", err)
	}
	return p.whyDown()
}

// serve gives free daemons to those that wait, and tells those that wait in vain; p.mu is held.
func (p *pool) serve() {
	now := time.Now()
	p.waiting = slices.DeleteFunc(p.waiting, func(a *attempt) bool {
		if d := p.choose(a.not, now); d != nil {
			p.turn++
			a.d, a.began = d, now
			d.flights[a] = true
		} else if p.hopeful(a.not, now) {
			return false
		}
		close(a.given)
		return true
	})
}

// choose is the daemon that has the least to do, of those that are up and have room; one that has
// been slow of late only if there is no other. p.mu is held.
func (p *pool) choose(not *daemon, now time.Time) *daemon {
	var best *daemon
	lags, load := false, 0
	for i := range p.daemons {
		d := p.daemons[(p.turn+i)%len(p.daemons)]
		if d == not || d.state != up || len(d.flights) >= p.room(d) {
			continue
		}
		l, n := d.lags(now), len(d.flights)
		if best == nil || lags && !l || lags == l && n < load {
			best, lags, load = d, l, n
		}
	}
	return best
}

// room is how many scans a daemon may have: one on trial after its scans failed, until one succeeds.
func (p *pool) room(d *daemon) int {
	if d.hold > 0 {
		return 1
	}
	return p.limit
}

// lags reports whether a scan takes long, or did so of late.
func (d *daemon) lags(now time.Time) bool {
	if now.Sub(d.slow) < lagMemory {
		return true
	}
	for a := range d.flights {
		if now.Sub(a.began) > lagTime {
			return true
		}
	}
	return false
}

// hopeful reports whether a daemon will be free some time; p.mu is held.
func (p *pool) hopeful(not *daemon, now time.Time) bool {
	return slices.ContainsFunc(p.daemons, func(d *daemon) bool {
		return d != not && (d.state == up || d.state == silent && now.Sub(d.since) < silenceTime)
	})
}

// release ends an attempt by what came of it.
func (p *pool) release(a *attempt, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	delete(a.d.flights, a)
	took := now.Sub(a.began)
	if took > lagTime {
		a.d.slow = now
	}
	p.note(a.d, err, took)
	p.serve()
}
