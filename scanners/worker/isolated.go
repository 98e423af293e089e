package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

const (
	// maxFindings is how many findings one job may have, and maxDetail how long their details are.
	maxFindings = 50_000
	maxDetail   = 4 << 10
	// maxNames is how many names a part or member may have here, and maxName how many bytes of one
	// are kept, counted from its end.
	maxNames = 1000
	maxName  = 4 << 10
	// maxMediaType is how long a media type may be.
	maxMediaType = 1 << 10
	// maxStarts is how many workers are tried for a job that none has begun.
	maxStarts = 3
	// lendAfter is how long a worker waits before another one may work in its place.
	lendAfter = 20 * time.Millisecond
)

// errTooManyWait says that no more workers may wait.
var errTooManyWait = errors.New("too many workers wait for the rest of their messages")

// errNotBegun says that a worker has ended before it began a job.
var errNotBegun = errors.New("not begun")

// An isolated is an Opener whose Expand runs in a worker.
type isolated struct {
	scanners.Opener
	name string
	pool *Pool
}

// Expand has a worker expand p, unless there is nothing to do.
func (x *isolated) Expand(ctx context.Context, p *eml.Part, b *scanners.Budget, yield func(*eml.Part) error) ([]eml.Finding, error) {
	if !x.Opens(p) {
		return nil, nil
	}
	content, err := p.File()
	if err != nil {
		return nil, fmt.Errorf("pass content: %w", err)
	}
	defer content.Close()
	for range maxStarts {
		t := &task{x: x, ctx: ctx, p: p, b: b, yield: yield, resume: scanners.Pause(ctx)}
		if t.w, err = x.pool.take(ctx); err != nil {
			t.resume()
			return nil, err
		}
		findings, err := t.run(content)
		if !errors.Is(err, errNotBegun) {
			return findings, err
		}
	}
	return nil, &scanners.Temporary{Err: errors.New("workers end before they begin")}
}

// A task is one job as the parent sees it. One goroutine uses it.
type task struct {
	x     *isolated
	w     *process
	ctx   context.Context //nolint:containedctx // lives as long as one call of Expand
	p     *eml.Part
	b     *scanners.Budget
	yield func(*eml.Part) error

	begun    bool
	resume   func() // the clock, once
	asked    bool
	used     scanners.Usage // what this side has accounted for, for this job and before it
	ahead    int64          // bytes that were accounted for before their member came
	members  []*eml.Part    // that were yielded
	findings []eml.Finding
	fix      fix // of the next finding
}

// run does the job, and gives the worker back. What a worker found before it failed is kept.
func (t *task) run(content *os.File) ([]eml.Finding, error) {
	defer t.begin()
	stopWatch := t.w.watch()
	stopKill := context.AfterFunc(t.ctx, func() { t.w.kill(t.ctx.Err()) })
	last, err := t.exchange(content)
	alive := stopKill()
	stopWatch()
	var ended *lost
	if err == nil {
		err = t.w.tidy()
	}
	fit := alive && err == nil && !last.Retire
	if !fit && err != nil && !errors.As(err, &ended) {
		t.w.kill(err) // it is well, but in the midst of a job that nobody wants any more
	}
	why := t.x.pool.give(t.w, fit)
	switch {
	case t.ctx.Err() != nil:
		return t.findings, t.ctx.Err()
	case ended != nil && !t.begun:
		return nil, errNotBegun
	case ended != nil:
		t.x.pool.opt.Logger.Error("worker died", "scanner", t.x.name, "error", why, "stack", t.w.printed.String())
		return t.findings, why
	case err != nil:
		return t.findings, err
	}
	return t.findings, t.result(last)
}

// begin says that the job has begun: from now on its time counts.
func (t *task) begin() {
	if !t.begun {
		t.begun = true
		t.resume()
	}
}

// result is what the worker says of the whole.
func (t *task) result(last *end) error {
	lim := t.b.Limits()
	t.back()
	more := scanners.Usage{
		Bytes:   min(max(last.Used.Bytes-t.used.Bytes, 0), lim.Bytes+1),
		Members: min(max(last.Used.Members-t.used.Members, 0), lim.Members+1),
		// More than all of it would count as all of it.
		Guessing: min(max(last.Used.Guessing-t.used.Guessing, 0), lim.PasswordTime),
	}
	if err := t.b.Use(more); err != nil {
		return err
	}
	if last.Stack != "" {
		t.x.pool.opt.Logger.Error("scanner panicked", "scanner", t.x.name, "panic", cut(last.Error, maxDetail), "stack", cut(last.Stack, maxErrors))
	}
	switch {
	case last.Error == "":
		return nil
	case last.Budget:
		text := strings.TrimPrefix(cut(last.Error, maxDetail), scanners.ErrBudget.Error()+": ")
		return fmt.Errorf("%w: %s", scanners.ErrBudget, text)
	}
	return errors.New(cut(last.Error, maxDetail))
}

// A lost is the error of a socket at whose other end there is nobody, or nobody who makes sense.
type lost struct{ error }

// exchange sends the job and takes what comes of it, up to its end.
func (t *task) exchange(content *os.File) (*end, error) {
	c := t.w.conn
	j := job{Expander: t.x.name, Part: t.p.Detach(), Limits: t.b.Limits(), Used: t.b.Usage()}
	t.used = j.Used
	j.Names, j.Part.Names = toBytes(ends(j.Part.Names)), nil
	if err := t.offer(j, content); err != nil {
		return nil, err
	}
	for {
		kind, payload, err := c.next()
		if err != nil {
			return nil, t.lost(err)
		}
		switch kind {
		case kindMember:
			err = t.member(payload)
		case kindFix:
			err = t.takeFix(payload)
		case kindFinding:
			err = t.finding(payload)
		case kindUsed:
			err = t.useAhead(payload)
		case kindAsk:
			err = t.answer()
		case kindEnd:
			last := new(end)
			return last, t.bad(decode(payload, last))
		default:
			err = t.bad(fmt.Errorf("%w: %q", errProtocol, kind))
		}
		if err != nil {
			return nil, err
		}
	}
}

// offer sends the job and waits until it has begun.
func (t *task) offer(j job, content *os.File) error {
	c := t.w.conn
	if err := c.SetDeadline(time.Now().Add(beginTime)); err != nil {
		return &lost{err}
	}
	if err := c.send(kindJob, j, content); err != nil {
		return &lost{err}
	}
	if err := c.expect(kindBegun, nil); err != nil {
		t.w.kill(errNotBegun)
		return &lost{err}
	}
	t.begin()
	if err := c.SetDeadline(time.Time{}); err != nil {
		return &lost{err}
	}
	return nil
}

// lost is what comes of an error of the socket.
func (t *task) lost(err error) error {
	if errors.Is(err, errProtocol) {
		return t.bad(err)
	}
	return &lost{err}
}

// bad ends a worker that does not keep to the protocol.
func (t *task) bad(err error) error {
	if err == nil {
		return nil
	}
	t.w.kill(err)
	return &lost{err}
}

// useAhead accounts for bytes that may become a member later.
func (t *task) useAhead(payload []byte) error {
	var n int64
	if err := decode(payload, &n); err != nil {
		return t.bad(err)
	}
	lim := t.b.Limits().Bytes
	if n <= 0 || n > lim+1 {
		return t.bad(fmt.Errorf("%w: %d bytes", errProtocol, n))
	}
	t.ahead += n
	return t.b.Use(scanners.Usage{Bytes: n})
}

// back gives back what was accounted for ahead, because now it is counted as what it is.
func (t *task) back() {
	_ = t.b.Use(scanners.Usage{Bytes: -t.ahead}) // what is still too much is found out when more comes
	t.ahead = 0
}

// member makes and yields a member.
func (t *task) member(payload []byte) error {
	var m member
	if err := decode(payload, &m); err != nil {
		return t.bad(err)
	}
	if m.Index < 1 || m.Index > 1<<30 || len(m.Names) > maxNames || len(m.MediaType) > maxMediaType {
		return t.bad(fmt.Errorf("%w: member %d", errProtocol, m.Index))
	}
	t.back()
	r := &memberReader{t: t}
	part, err := t.b.Member(t.ctx, t.p, m.Index, ends(toStrings(m.Names)), r)
	if err != nil {
		if part != nil {
			part.Release()
		}
		return err
	}
	t.used.Bytes += part.Size
	t.used.Members++
	t.members = append(t.members, part)
	part.MediaType = strings.ToValidUTF8(m.MediaType, "?")
	return t.yield(part)
}

// A memberReader reads the content of one member from the socket.
type memberReader struct {
	t    *task
	rest []byte
	done bool
}

func (r *memberReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.done {
			return 0, io.EOF
		}
		kind, payload, err := r.t.w.conn.next()
		switch {
		case err != nil:
			return 0, r.t.lost(err)
		case kind == kindDone:
			r.done = true
		case kind != kindData || len(payload) == 0:
			return 0, r.t.bad(fmt.Errorf("%w: %q in a member", errProtocol, kind))
		default:
			r.rest = payload
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// finding takes a finding, if it is one that the scanner may have.
func (t *task) finding(payload []byte) error {
	var f finding
	if err := decode(payload, &f); err != nil {
		return t.bad(err)
	}
	if len(t.findings) >= maxFindings || f.Member < 0 || f.Member > len(t.members) || !t.x.reports(f.Check) {
		return t.bad(fmt.Errorf("%w: finding %.100q of member %d", errProtocol, f.Check, f.Member))
	}
	part := t.p
	if f.Member > 0 {
		part = t.members[f.Member-1]
	}
	fix, err := t.fixOf(part)
	if err != nil {
		return err
	}
	t.findings = append(t.findings, eml.Finding{Check: f.Check, Part: part, Detail: cut(string(f.Detail), maxDetail), Unexamined: f.Unexamined, Fix: fix})
	return nil
}

func (x *isolated) reports(check string) bool {
	for _, c := range x.Checks() {
		if c.ID == check {
			return true
		}
	}
	return false
}

// await waits for the words of the message. A worker that would wait long does not count meanwhile.
func (t *task) await() (scanners.Words, error) {
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	known := make(chan scanners.Words, 1)
	go func() { known <- t.b.Words(ctx) }()
	select {
	case w := <-known:
		return w, nil
	case <-time.After(lendAfter):
	}
	if !t.x.pool.lend() {
		cancel()
		return <-known, &scanners.Temporary{Err: errTooManyWait}
	}
	defer t.x.pool.regain()
	return <-known, nil
}

// answer sends the words of the message.
func (t *task) answer() error {
	if t.asked {
		return t.bad(fmt.Errorf("%w: asks again", errProtocol))
	}
	t.asked = true
	w, err := t.await()
	if err != nil {
		return err
	}
	if err := t.ctx.Err(); err != nil {
		return err
	}
	if err := t.w.conn.send(kindWords, words{toBytes(w.Message), toBytes(w.Listed)}); err != nil {
		return t.lost(err)
	}
	return nil
}

// ends are the ends of names, if they are too long or too many: what they open with is told by it.
func ends(names []string) []string {
	out := make([]string, min(len(names), maxNames))
	for i := range out {
		name := names[i]
		for name = name[max(len(name)-maxName, 0):]; len(name) > 0 && len(name) < len(names[i]) && !utf8.RuneStart(name[0]); {
			name = name[1:]
		}
		out[i] = name
	}
	return out
}

// cut is at most the first n bytes of a text.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
