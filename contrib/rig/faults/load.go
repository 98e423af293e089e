package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"rastel/contrib/rig"
)

const (
	maxTries     = 200
	againAfter   = time.Second // a mail server waits for minutes
	deliveryTime = time.Minute
	recoveryTime = 20 * time.Second // that is waited for before it counts as never
)

// A load sends messages while a fault begins and ends.
type load struct {
	name string // of the fault, in one word
	addr string

	mu          sync.Mutex
	took        []time.Duration
	refused     int
	lastRefused time.Time
	clean       []string // recipients of what was taken
	malware     []string
	errs        error
}

// measure sends messages during a fault and finds out what became of each.
func (w *world) measure(f fault, p plan) (*result, error) {
	l := &load{name: strings.ReplaceAll(f.name, " ", "-"), addr: w.postfix.Addr}
	stop := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() { l.run(p.rate, stop) })
	<-time.After(p.before)
	err := f.begin(w)
	<-time.After(p.held)
	err = errors.Join(err, f.end(w))
	ended := time.Now()
	<-time.After(p.after)
	close(stop)
	sending.Wait()
	if err = errors.Join(err, l.errs); err != nil {
		return nil, err
	}
	r := &result{sent: len(l.clean) + len(l.malware), refused: l.refused, took: l.took}
	slices.Sort(r.took)
	if err := w.recovery(ended, l.lastRefused, r); err != nil {
		return nil, err
	}
	return r, w.count(l, r)
}

// run sends messages at a rate, whatever becomes of those before, and waits until all are taken.
func (l *load) run(rate int, stop <-chan struct{}) {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	var sending sync.WaitGroup
	defer sending.Wait()
	for n := 0; ; n++ {
		sending.Go(func() { l.send(n) })
		select {
		case <-tick.C:
		case <-stop:
			return
		}
	}
}

// send sends one message until it is taken. Every second one is malware.
func (l *load) send(n int) {
	kind, content := "clean", noise()
	if n%2 == 1 {
		kind, content = "malware", rig.EICAR()
	}
	to := fmt.Sprintf("%s.%s.%d@%s", kind, l.name, n, rig.Domain)
	raw := rig.Attachment(to, "letter.dat", "application/octet-stream", content)
	for range maxTries {
		start := time.Now()
		r, err := rig.Send(l.addr, "alice@sender.test", []string{to}, raw)
		if done := l.note(to, kind, r, err, time.Since(start)); done {
			return
		}
		<-time.After(againAfter)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = errors.Join(l.errs, fmt.Errorf("%s was refused %d times", to, maxTries))
}

// note takes what became of one attempt. It reports whether there is to be no other.
func (l *load) note(to, kind string, r rig.Reply, err error, took time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took = append(l.took, took)
	switch {
	case err != nil:
		l.errs = errors.Join(l.errs, fmt.Errorf("%s: %w", to, err))
	case r.Temporary():
		l.refused++
		l.lastRefused = time.Now()
		return false
	case !r.OK():
		l.errs = errors.Join(l.errs, fmt.Errorf("%s: %v", to, r))
	case kind == "clean":
		l.clean = append(l.clean, to)
	default:
		l.malware = append(l.malware, to)
	}
	return true
}

// noise is content that nothing knows: some 40 KB, never the same.
func noise() []byte {
	b := make([]byte, 40<<10)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// recovery finds out how long it took from the end of a fault until nothing was refused any more and
// rastel asked all clamds.
func (w *world) recovery(ended, lastRefused time.Time, r *result) error {
	for {
		s, err := w.story()
		if err != nil {
			return err
		}
		r.left = s.left - w.leftBefore
		r.recovery = max(0, lastRefused.Sub(ended), s.upAgain.Sub(ended))
		if s.away {
			r.recovery = time.Since(ended)
		}
		if !s.away || r.recovery > recoveryTime {
			w.leftBefore = s.left
			return nil
		}
		<-time.After(50 * time.Millisecond)
	}
}

// count finds out where each message is.
func (w *world) count(l *load, r *result) error {
	if left, err := rig.WaitIdle(w.postfix, deliveryTime); err != nil || len(left) > 0 {
		return fmt.Errorf("left in the queue: %v, %w", left, err)
	}
	delivered := map[string]int{}
	all := w.sink.Deliveries()
	for _, d := range all[w.seen:] {
		for _, to := range d.Recipients {
			delivered[to]++
		}
	}
	w.seen = len(all)
	held, err := w.held()
	if err != nil {
		return err
	}
	for _, to := range l.clean {
		r.tally(delivered[to], held[to])
	}
	for _, to := range l.malware {
		r.tally(delivered[to], held[to])
		r.unscanned += min(1, delivered[to])
	}
	return nil
}

// tally counts one message, of which there are so many copies. What is refused after it was held is
// held again when it comes again.
func (r *result) tally(delivered, held int) {
	switch {
	case delivered > 0:
		r.delivered++
		r.twice += delivered - 1
	case held > 0:
		r.held++
	default:
		r.lost++
	}
}
