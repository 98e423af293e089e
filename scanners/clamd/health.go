package clamd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// probeInterval is how often each daemon is asked whether it is there, by Watch.
	probeInterval = time.Second
	// maxFailures is how many scans in a row may fail before a daemon that still answers gets no more
	// for a time: minHold, then twice that each time, up to maxHold.
	maxFailures      = 3
	minHold, maxHold = time.Second, 4 * time.Second
)

// A state is what can be expected of a daemon.
type state uint8

const (
	up     state = iota // it answers, or has not been asked yet
	silent              // it takes connections and answers nothing: it hangs, or loads its database
	down                // nobody listens, or something answers that is no clamd, or scans fail
)

func (s state) String() string { return [...]string{"up", "silent", "down"}[s] }

// health is what is known of a daemon.
type health struct {
	state    state
	since    time.Time     // of the state; zero if it was never another
	why      error         // of not being up
	failures int           // scans in a row
	failed   int           // scans in all
	hold     time.Duration // how long it was left alone last for failed scans
	until    time.Time     // when that ends

	known            bool // whether the next two are: it has told them once
	engine, database string
	probing          chan struct{} // closed when a probe ends; nil if there is none
}

// note takes what came of a scan, and how long it took; p.mu is held. What a daemon says about
// content is no failure of it, nor is trouble on our side. Failures count where another daemon can do
// better: the last one is not given up for them, for it may only be the content.
func (p *pool) note(d *daemon, err error, took time.Duration) {
	ended := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	switch {
	case err == nil:
		d.failures, d.hold = 0, 0
	case errors.Is(err, errDown):
		d.failed++
		p.set(d, down, err)
	case final(err) || errors.Is(err, errNotAll) || ended && took < p.hedge:
	default:
		d.failed++
		if d.failures++; p.upBeside(d) && (d.failures >= maxFailures || d.hold > 0) {
			d.hold = min(max(minHold, 2*d.hold), maxHold)
			d.until = time.Now().Add(d.hold)
			p.set(d, down, fmt.Errorf("%d scans in a row failed, the last one: %w", d.failures, err))
		}
	}
}

// set puts a daemon into a state; p.mu is held. The scans of one that is not up are sent to another
// one too, now or when there is one.
func (p *pool) set(d *daemon, s state, why error) {
	before := d.state
	d.state, d.why = s, why
	if before == s {
		return
	}
	d.since = time.Now()
	if s == up {
		p.log.Info("clamd is up again", "address", d.addr.String(), "was", before.String())
	} else {
		p.log.Warn("clamd is "+s.String(), "address", d.addr.String(), "error", why)
	}
	for _, o := range p.daemons {
		if o.state != up && p.upBeside(o) {
			for a := range o.flights {
				a.late()
			}
		}
	}
	p.serve()
}

// whyDown tells why there is no daemon to ask; p.mu is held.
func (p *pool) whyDown() error {
	errs := []error{errDown}
	for _, d := range p.daemons {
		if d.state != up {
			errs = append(errs, fmt.Errorf("%s: %w", d.addr, d.why))
		}
	}
	return errors.Join(errs...)
}

// probeAll asks all daemons whether they are there, and waits for the answers. One that is being
// asked already is not asked twice.
func (p *pool) probeAll(ctx context.Context) {
	for _, d := range p.daemons {
		defer func(done <-chan struct{}) {
			select {
			case <-done:
			case <-ctx.Done():
			}
		}(p.probe(d))
	}
}

// probe begins to ask a daemon. The answer is for all that want to know, so it does not end with any
// context of theirs, but by statusTimeout. The channel is closed when it is known.
func (p *pool) probe(d *daemon) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d.probing != nil {
		return d.probing
	}
	done := make(chan struct{})
	d.probing = done
	go func() {
		engine, database, err := probe(context.Background(), d.addr)
		p.probed(d, engine, database, err)
		close(done)
	}()
	return done
}

// probed takes the answer of a daemon to a probe.
func (p *pool) probed(d *daemon, engine, database string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d.probing = nil
	if err != nil {
		p.set(d, stateOf(err), err)
		return
	}
	if d.known && (d.engine != engine || d.database != database) {
		p.log.Info("clamd has another database", "address", d.addr.String(), "engine", engine, "database", database)
	}
	d.known, d.engine, d.database = true, engine, database
	// Where there is a choice, a daemon whose scans fail is left alone for a time though it answers.
	if time.Now().Before(d.until) && p.upBeside(d) {
		return
	}
	p.set(d, up, nil)
}

// stateOf tells a daemon that only does not answer from one that is not there.
func stateOf(err error) state {
	var op *net.OpError
	if errors.Is(err, syscall.EAGAIN) { // its queue of connections is full (unix(7))
		return silent
	}
	if errors.As(err, &op) && op.Timeout() && op.Op != "dial" {
		return silent
	}
	return down
}

// Watch looks after the daemons until ctx ends: it notices which of them do not answer, which do
// again, and which databases they have. Without it that is noticed by scans only, and Version is empty.
func (s *Scanner) Watch(ctx context.Context) {
	tick := time.NewTicker(probeInterval)
	defer tick.Stop()
	var probes sync.WaitGroup
	defer probes.Wait()
	s.tidy()
	for {
		for _, d := range s.pool.daemons {
			done := s.pool.probe(d)
			probes.Go(func() { <-done })
		}
		s.pool.giveUp()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// giveUp tells those that wait for daemons that have been silent for too long.
func (p *pool) giveUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serve()
}

// A Daemon is what is known of one clamd.
type Daemon struct {
	Address  string // as the configuration has it
	State    string // "up", "silent" (takes connections, answers nothing) or "down"
	Why      error  // if it is not up
	Scans    int    // that it has at the moment
	Failed   int    // scans that came to no verdict, or found nobody there
	Engine   string // "1.4.6"; empty if it was never reached
	Database string // "27500/Mon Nov 23 10:00:00 2026"; empty if it has none of the official ones
	Built    time.Time
	Stale    bool // the database is older than max_database_age, or of an age that nobody knows
}

// Status asks all daemons, and tells what is known of each.
func (s *Scanner) Status(ctx context.Context) []Daemon {
	s.pool.probeAll(ctx)
	return s.Daemons()
}

// Daemons tells what is known of each daemon, without asking.
func (s *Scanner) Daemons() []Daemon {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	var all []Daemon
	for _, d := range s.pool.daemons {
		t := Daemon{Address: d.addr.String(), State: d.state.String(), Why: d.why, Scans: len(d.flights), Failed: d.failed, Engine: d.engine, Database: d.database}
		t.Built = built(d.database)
		t.Stale = s.cfg.MaxDatabaseAge > 0 && time.Since(t.Built) > s.cfg.MaxDatabaseAge
		all = append(all, t)
	}
	return all
}

// built is when a database was made; zero if that is not known. clamd tells it in its local time
// without saying which zone that is (ctime(3)), so it may be wrong by hours if that is not ours.
func built(database string) time.Time {
	_, when, _ := strings.Cut(database, "/")
	t, err := time.ParseInLocation(time.ANSIC, when, time.Local)
	if err != nil {
		return time.Time{}
	}
	return t
}

// Version names the databases of all daemons that ever told theirs, whether they are up or not, for
// any of them may answer. So while they differ it is one of its own, and nothing is kept from one to
// the other. It is empty if a database is not known, or is none of the official ones: then nobody can
// tell when it changes. (Signatures that are put beside an official database have no version either;
// what is kept must expire some time too.)
func (s *Scanner) Version() string {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	var all []string
	for _, d := range s.pool.daemons {
		if d.known && d.database == "" {
			return ""
		}
		if d.known {
			all = append(all, d.engine+"/"+d.database)
		}
	}
	if len(all) == 0 {
		return ""
	}
	slices.Sort(all)
	return fmt.Sprintf("clamd %s stream_max=%d all=%v", strings.Join(slices.Compact(all), " and "), s.cfg.StreamMax, s.cfg.AllMatchDir != "")
}
