package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"rastel/policy"
	"rastel/policy/engine"
	"rastel/policy/exceptions"
	"rastel/policy/quarantine"
	"rastel/sanitize/eml"
	"rastel/scanners"
)

// A replay has policies decide again about messages that came before.
type replay struct {
	*call
	engine *engine.Engine
	spool  eml.SpoolOptions
	checks []string // of the scanners that run

	old, now *policy.Policy       // old is nil if what was decided then is compared with
	except   *exceptions.Snapshot // those in force in the filter that is asked
	compare  []string
	json     bool
	progress *progress
	tally    tally
}

// An oldMessage is a message that came before.
type oldMessage struct {
	name string
	env  *eml.Envelope
	item *quarantine.Item // its record; nil for a file
	// record gives more of it, and evidence is what that gave; either may be nil.
	record   func(ctx context.Context) (*engine.Evidence, error)
	evidence *engine.Evidence
	give     func(*eml.Message, *scanners.Report) error // adds what is known besides; may be nil
	open     func(ctx context.Context) (io.ReadCloser, error)
}

// aspects are what outcomes are compared in.
var aspects = []string{"action", "rule", "changes", "class", "recipients", "reply"}

// A replayFate is the outcome for one message, as it is compared and shown. An empty value is not known.
type replayFate map[string]string

// verdictFate is what a verdict comes to. Where that is not the same for all recipients, it tells of each group.
func verdictFate(v *policy.Verdict) (replayFate, error) {
	f, err := groupFate(v)
	if err != nil || len(v.Others) == 0 {
		return f, err
	}
	groups := []replayFate{f}
	for _, o := range v.Others {
		g, err := groupFate(o)
		if err != nil {
			return nil, err
		}
		groups = append(groups, g)
	}
	out := replayFate{}
	for _, a := range aspects {
		out[a] = allOf(groups, a)
	}
	return out, nil
}

// allOf is one aspect of several groups: once if it is the same.
func allOf(groups []replayFate, aspect string) string {
	var all []string
	same := true
	for _, g := range groups {
		all = append(all, orNone(g[aspect]))
		same = same && g[aspect] == groups[0][aspect]
	}
	if same {
		return groups[0][aspect]
	}
	return strings.Join(all, " | ")
}

func groupFate(v *policy.Verdict) (replayFate, error) {
	changes, err := changesOf(v)
	if err != nil {
		return nil, err
	}
	f := replayFate{"action": v.Action.String(), "rule": ruleName(v.Rule), "changes": changes, "class": v.Class, "recipients": recipientsOf(v)}
	if v.Reply.Code != 0 {
		f["reply"] = fmt.Sprintf("%d %s %s", v.Reply.Code, v.Reply.Enhanced, v.Reply.Text)
	}
	return f, nil
}

func ruleName(s string) string {
	if s == "" {
		return "(default)"
	}
	return s
}

// changesOf tells one patch from another, and whether a copy is held.
func changesOf(v *policy.Verdict) (string, error) {
	out := "none"
	if !v.Patch.Empty() {
		h := sha256.New()
		if _, err := v.Patch.WriteTo(h); err != nil {
			return "", err
		}
		out = fmt.Sprintf("%d edits (%s)", len(v.Patch.Edits()), hex.EncodeToString(h.Sum(nil)[:4]))
	}
	if v.Hold {
		out += ", held"
	}
	if v.MTAHold != "" {
		out += ", held by the MTA"
	}
	return out, nil
}

// recipientsOf are those that a verdict is for, if not all, with those that it adds and removes.
func recipientsOf(v *policy.Verdict) string {
	out := strings.Join(v.Recipients, ",")
	for _, a := range v.Add {
		out += " +" + a
	}
	for _, r := range v.Remove {
		out += " -" + r
	}
	return out
}

// one replays one message. An error is about this message only, unless ctx has ended.
func (r *replay) one(ctx context.Context, m *oldMessage) error {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	in, err := m.open(ctx)
	if err != nil {
		return err
	}
	spool := eml.NewSpool(r.spool)
	defer spool.Close()
	_, err = io.Copy(spool, in)
	if err = errors.Join(err, in.Close()); err != nil {
		return err
	}
	spool.CloseWrite(nil)
	if m.record != nil {
		if m.evidence, err = m.record(ctx); err != nil {
			return err
		}
		if m.evidence != nil {
			m.env.TLS = m.evidence.Envelope.TLS
		}
	}
	msg, report, err := r.engine.Inspect(ctx, m.env, spool)
	if err != nil {
		return err
	}
	defer msg.Close()
	if m.item != nil {
		r.recall(m, msg, &report)
	}
	if m.give != nil {
		if err := m.give(msg, &report); err != nil {
			return err
		}
	}
	before, err := r.before(m, msg, report)
	if err != nil {
		return err
	}
	x, err := r.engine.DecideBy(m.then(r.now), msg, report, r.except)
	if err != nil {
		return err
	}
	after, err := verdictFate(x.Verdict)
	if err != nil {
		return err
	}
	return r.tell(m, before, after)
}

// then is a policy as it decides at the time when the message came.
func (m *oldMessage) then(p *policy.Policy) *policy.Policy {
	if m.item == nil {
		return p
	}
	return p.At(m.item.Created)
}

// before is the outcome to compare with; nil if there is none.
func (r *replay) before(m *oldMessage, msg *eml.Message, report scanners.Report) (replayFate, error) {
	switch {
	case r.old != nil:
		x, err := r.engine.DecideBy(m.then(r.old), msg, report, r.except)
		if err != nil {
			return nil, err
		}
		return verdictFate(x.Verdict)
	case m.item != nil:
		return m.thenFate(), nil
	}
	return nil, nil
}

// differences are the aspects in which two outcomes differ.
func (r *replay) differences(before, after replayFate) (out []string) {
	for _, a := range aspects {
		old, known := before[a]
		if known && old != after[a] && slices.Contains(r.compare, a) {
			out = append(out, a)
		}
	}
	return out
}

// A changedMessage is what is printed of a message whose outcome changes. Its JSON form is an interface.
type changedMessage struct {
	Message    string     `json:"message"` // the ID of its item, or its file
	Before     replayFate `json:"before"`
	After      replayFate `json:"after"`
	Changed    []string   `json:"changed"`
	Sender     string     `json:"sender"`
	Recipients []string   `json:"recipients"`
	Subject    string     `json:"subject,omitempty"`
}

// tell counts a message, and prints it if its outcome changes.
func (r *replay) tell(m *oldMessage, before, after replayFate) error {
	r.tally.messages++
	from := before["action"]
	if before == nil {
		from = after["action"]
	}
	first := func(s string) string { a, _, _ := strings.Cut(s, " "); return a }
	r.tally.moves[first(from)+"->"+first(after["action"])]++
	changed := r.differences(before, after)
	if len(changed) == 0 {
		return nil
	}
	r.tally.changed++
	r.progress.clear()
	c := changedMessage{Message: m.name, Before: before, After: after, Changed: changed, Sender: m.env.Sender, Recipients: m.env.Recipients}
	if m.item != nil {
		c.Subject = m.item.Subject
	}
	if r.json {
		return json.NewEncoder(r.out).Encode(c)
	}
	_, err := fmt.Fprintln(r.out, c.line())
	return err
}

// line is the message for people.
func (c *changedMessage) line() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: ", c.Message)
	if !slices.Contains(c.Changed, "action") {
		fmt.Fprintf(&b, "%s; ", c.After["action"])
	}
	for i, a := range c.Changed {
		if i > 0 {
			b.WriteString("; ")
		}
		if a != "action" {
			b.WriteString(a + " ")
		}
		fmt.Fprintf(&b, "%s -> %s", orNone(c.Before[a]), orNone(c.After[a]))
	}
	fmt.Fprintf(&b, " (from %.100q to %.200q", c.Sender, strings.Join(c.Recipients, ","))
	if c.Subject != "" {
		fmt.Fprintf(&b, ", %.100q", c.Subject)
	}
	b.WriteByte(')')
	return shown(b.String())
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// A progress tells on standard error how far it is: on a terminal in one line that is written over,
// elsewhere from time to time.
type progress struct {
	w        io.Writer
	terminal bool
	last     time.Time
	written  bool
}

// tellEvery is how many messages there are between two lines where there is no terminal.
const tellEvery = 500

func newProgress(w io.Writer) *progress {
	p := &progress{w: w}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

func (p *progress) tell(t *tally) {
	done := t.messages + t.failed
	switch {
	case p.terminal && time.Since(p.last) > 200*time.Millisecond:
		p.last, p.written = time.Now(), true
		fmt.Fprintf(p.w, "\r%d messages, %d changed ", done, t.changed)
	case !p.terminal && done%tellEvery == 0:
		fmt.Fprintf(p.w, "%d messages, %d changed\n", done, t.changed)
	}
}

// clear makes room for a line.
func (p *progress) clear() {
	if p.written {
		p.written = false
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// all replays all messages of a source. It reports whether it was interrupted.
func (r *replay) all(ctx context.Context, source func(context.Context, func(*oldMessage) error) error) (interrupted bool, err error) {
	err = source(ctx, func(m *oldMessage) error {
		if err := r.one(ctx, m); ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			r.tally.failed++
			r.progress.clear()
			fmt.Fprintf(r.errOut, "%s: %s\n", shown(m.name), tidy(err.Error()))
		}
		r.progress.tell(&r.tally)
		return nil
	})
	r.progress.clear()
	if interrupted = ctx.Err() != nil; interrupted {
		err = nil // what else there was comes of that
	}
	return interrupted, err
}

// summary tells what came of it.
func (r *replay) summary() {
	w := r.out
	if r.json {
		w = r.errOut
	}
	fmt.Fprintf(w, "%d messages", r.tally.messages)
	if r.tally.failed > 0 {
		fmt.Fprintf(w, ", %d that could not be examined", r.tally.failed)
	}
	fmt.Fprintf(w, ", %d changed\n", r.tally.changed)
	moves := make([]string, 0, len(r.tally.moves))
	for m := range r.tally.moves {
		moves = append(moves, m)
	}
	slices.Sort(moves)
	for _, m := range moves {
		from, to, _ := strings.Cut(m, "->")
		if from == to {
			to = "the same"
		}
		fmt.Fprintf(w, "  %s -> %s: %d\n", from, to, r.tally.moves[m])
	}
}
