package scanners

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"rastel/sanitize/eml"
)

// A Report is all that is known about a message after it was examined.
type Report struct {
	Findings   []eml.Finding    // in the order of parts, then of checks
	Unexamined []eml.Unexamined // what nobody has looked at, with a finding for each too
	Looks      []Look           // what each engine did about each part with content, in that order
}

// A Run is the examination of one message. Add and Message hand it work while the message
// arrives, Wait ends it.
type Run struct {
	set    *Set
	ctx    context.Context //nolint:containedctx // a Run is one call spread over several methods
	budget *Budget

	mu               sync.Mutex
	idle             sync.Cond // signals that pending became 0
	compute, waiting lane
	pending          int
	report           Report
	adopted          map[*eml.Part][]*eml.Part // what came out of containers
	text             text
	whole            []Look // at the message as a whole
}

// A lane is a queue of tasks and the goroutines that work on it.
type lane struct {
	queue   []func()
	workers int
	max     int
}

// An item is a part under examination. Its content is given back when nobody reads it any
// more: neither a scanner nor anything that came out of it.
type item struct {
	part   *eml.Part
	parent *item
	left   int  // tasks and children that are not done
	closed bool // not to be opened
	notes  notes
	opened chan struct{} // closed when all members were yielded
}

// Add has a leaf examined. It never blocks.
func (r *Run) Add(p *eml.Part) { r.add(p, nil) }

func (r *Run) add(p *eml.Part, parent *item) {
	it := &item{part: p, parent: parent, left: 1 + len(r.set.wait), opened: make(chan struct{})}
	around := sameAround(p)
	it.closed = around != nil
	r.mu.Lock()
	defer r.mu.Unlock()
	if parent != nil {
		parent.left++
	}
	if it.closed {
		r.failed("containers", p, fmt.Errorf("%w: the same again as %s, which it is in; not opened another time", ErrBudget, around.ID))
	}
	r.push(&r.compute, func() {
		r.scanAll(r.set.compute, it)
		close(it.opened)
		r.done(it)
	})
	for i := range r.set.wait {
		r.push(&r.waiting, func() {
			r.scanAll(r.set.wait[i:i+1], it)
			r.done(it)
		})
	}
}

// sameAround is a container around p with the very content of p: one that would never end (a
// quine). Nil if there is none.
func sameAround(p *eml.Part) *eml.Part {
	if !p.Is("container") {
		return nil
	}
	for q := p.Parent; q != nil; q = q.Parent {
		if q.Leaf() && q.Size == p.Size && q.SHA256 == p.SHA256 {
			return q
		}
	}
	return nil
}

// Message has the message as a whole examined, once it has been parsed.
func (r *Run) Message(m *eml.Message) {
	r.text.set(m)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pushMessage(&r.compute, r.set.compute, m)
	r.pushMessage(&r.waiting, r.set.wait, m)
}

func (r *Run) pushMessage(l *lane, list []Named, m *eml.Message) {
	for i := range list {
		if ms, ok := list[i].Scanner.(MessageScanner); ok {
			r.push(l, func() {
				findings, err := r.call(list[i].Name, m.Root, func() ([]eml.Finding, error) { return ms.ScanMessage(r.ctx, m) })
				r.lookAtMessage(&list[i], m.Root, findings, err)
			})
		}
	}
}

// push queues a task; r.mu is held.
func (r *Run) push(l *lane, task func()) {
	l.queue = append(l.queue, task)
	r.pending++
	if l.workers < l.max {
		l.workers++
		go r.work(l)
	}
}

// work runs tasks of a lane until there are none. Wait waits for it.
func (r *Run) work(l *lane) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(l.queue) > 0 {
		task := l.queue[0]
		l.queue[0] = nil
		l.queue = l.queue[1:]
		r.mu.Unlock()
		task()
		r.mu.Lock()
		r.pending--
	}
	l.workers--
	if r.pending == 0 && r.compute.workers+r.waiting.workers == 0 {
		r.idle.Broadcast()
	}
}

// Wait waits until everything has been examined, members of containers included, links those to
// their containers, and reports. Nothing of the run is left running afterwards.
func (r *Run) Wait() Report {
	r.text.set(nil) // unless Message was called
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.pending > 0 || r.compute.workers+r.waiting.workers > 0 {
		r.idle.Wait()
	}
	for container, members := range r.adopted {
		container.Children = append(container.Children, members...)
	}
	r.adopted = nil
	r.report.sort()
	r.settleLooks()
	return r.report
}

// scanAll has scanners examine one part.
func (r *Run) scanAll(list []Named, it *item) {
	c := &clock{b: r.budget, it: it}
	for i := range list {
		r.scan(&list[i], it, c)
	}
	c.close()
}

// scan has one scanner examine one part.
func (r *Run) scan(n *Named, it *item, c *clock) {
	if e, ok := n.Scanner.(Engine); ok {
		r.ask(n.Name, e, it.part)
	} else {
		_, _ = r.call(n.Name, it.part, func() ([]eml.Finding, error) { return n.Scanner.Scan(r.ctx, it.part) })
	}
	if e, ok := n.Scanner.(Expander); ok && !it.closed {
		_, _ = r.call(n.Name, it.part, func() ([]eml.Finding, error) { return r.expand(e, it, c) })
	}
}

// expand has what is in a part examined too.
func (r *Run) expand(e Expander, it *item, c *clock) ([]eml.Finding, error) {
	if c.told { // its time is up, and another expander has said so
		return nil, nil
	}
	ctx := c.start(r.ctx)
	defer c.stop()
	members, size := 0, int64(0)
	findings, err := []eml.Finding(nil), c.over()
	if err == nil {
		findings, err = e.Expand(ctx, it.part, r.budget, func(m *eml.Part) error {
			members, size = members+1, size+m.Size
			it.notes.take(m)
			r.adopt(it.part, m)
			r.add(m, it)
			return ctx.Err()
		})
	}
	if over := c.over(); over != nil {
		err, c.told = over, true
	}
	if errors.Is(err, ErrBudget) {
		err = fmt.Errorf("%w; %d members of %d bytes were examined, what else is in it was not", err, members, size)
	}
	return findings, err
}

// adopt notes what was yielded by a container: the member itself, or the message that it belongs
// to. It is linked in Wait: until then others may walk over the tree.
func (r *Run) adopt(container, m *eml.Part) {
	for m.Parent != nil && m.Parent != container {
		m = m.Parent
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.adopted[container]); n == 0 || r.adopted[container][n-1] != m {
		r.adopted[container] = append(r.adopted[container], m)
	}
}

// done counts one task or child of an item as done, and gives back what nobody needs.
func (r *Run) done(it *item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for ; it != nil; it = it.parent {
		if it.left--; it.left > 0 {
			return
		}
		it.part.Release()
	}
}

// call runs one call of a scanner and records what comes of it. A panic is a failure of the
// scanner, not of the program.
func (r *Run) call(name string, p *eml.Part, f func() ([]eml.Finding, error)) ([]eml.Finding, error) {
	findings, err := r.protect(name, f)
	if len(findings) == 0 && err == nil {
		return nil, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range findings {
		if findings[i].Part == nil { // a scanner that forgot it must not take the program down
			findings[i].Part = p
		}
	}
	r.report.add(findings)
	if o := (*Optional)(nil); err != nil && !errors.As(err, &o) {
		r.failed(name, p, err)
	}
	return findings, err
}

func (r *Run) protect(name string, f func() ([]eml.Finding, error)) (findings []eml.Finding, err error) {
	if panicked := r.set.protect(name, func() { findings, err = f() }); panicked != nil {
		return nil, panicked
	}
	return findings, err
}

// failed records that a scanner could not tell.
func (r *Run) failed(name string, p *eml.Part, err error) {
	check := "scan/failed"
	if errors.Is(err, ErrBudget) {
		check = "scan/limit"
	}
	var t *Temporary
	temporary := errors.As(err, &t) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
	detail := name + ": " + err.Error()
	r.report.Findings = append(r.report.Findings, eml.Finding{Check: check, Part: p, Detail: detail, Unexamined: true})
	r.report.Unexamined = append(r.report.Unexamined, eml.Unexamined{Part: p, Why: check + ": " + detail, Temporary: temporary})
}

// Merge adds what the parser found.
func (r *Report) Merge(findings []eml.Finding) {
	r.add(findings)
	r.sort()
}

func (r *Report) add(findings []eml.Finding) {
	for _, f := range findings {
		r.Findings = append(r.Findings, f)
		if f.Unexamined {
			r.Unexamined = append(r.Unexamined, eml.Unexamined{Part: f.Part, Why: f.Check + ": " + f.Detail})
		}
	}
}

// sort puts the report into the order of parts and checks, whatever ran first.
func (r *Report) sort() {
	slices.SortStableFunc(r.Findings, func(a, b eml.Finding) int {
		if c := compareIDs(a.Part.ID, b.Part.ID); c != 0 {
			return c
		}
		if c := strings.Compare(a.Check, b.Check); c != 0 {
			return c
		}
		return strings.Compare(a.Detail, b.Detail)
	})
	slices.SortStableFunc(r.Unexamined, func(a, b eml.Unexamined) int {
		if c := compareIDs(a.Part.ID, b.Part.ID); c != 0 {
			return c
		}
		return strings.Compare(a.Why, b.Why)
	})
}

// compareIDs orders part IDs by their numbers: "1.2" before "1.10".
func compareIDs(a, b string) int {
	for a != "" && b != "" {
		var x, y int
		x, a = leadingNumber(a)
		y, b = leadingNumber(b)
		if x != y {
			return x - y
		}
	}
	return len(a) - len(b)
}

// leadingNumber takes a number and the separator behind it off an ID.
func leadingNumber(s string) (int, string) {
	n, i := 0, 0
	for ; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		n = n*10 + int(s[i]-'0')
	}
	return n, s[min(i+1, len(s)):]
}
