package engine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"rastel/policy"
	"rastel/policy/quarantine"
	"rastel/sanitize/eml"
)

// carryOut does what a verdict asks for besides the answer to the MTA, in an order that loses nothing: what is
// held first, because copies and notices name it, then copies, then notices. All of it is durable when it
// returns nil. On an error the message must be refused for now; what was stored by then is found again when
// the sender tries again, and is not stored twice.
func (e *Engine) carryOut(ctx context.Context, x *Examination) error {
	v := x.Verdict
	if x.released || v.Action == policy.TempFail || v.Action == policy.Undecided {
		return nil
	}
	if err := e.holdAll(ctx, x); err != nil {
		return err
	}
	if err := e.queueCopies(ctx, x); err != nil {
		return err
	}
	if err := e.queueNotices(ctx, x); err != nil {
		return err
	}
	if x.queued {
		e.opt.Quarantine.Send()
	}
	return nil
}

// verdicts are the first one and the others.
func (x *Examination) verdicts() []*policy.Verdict {
	return append([]*policy.Verdict{x.Verdict}, x.Verdict.Others...)
}

// recipients are those that a verdict is for.
func (x *Examination) recipients(v *policy.Verdict) []string {
	if v.Recipients == nil {
		return x.Message.Envelope.Recipients
	}
	return v.Recipients
}

// group names the recipients of a verdict, in whatever order the envelope has them.
func (x *Examination) group(v *policy.Verdict) string {
	return strings.Join(slices.Sorted(slices.Values(x.recipients(v))), "\n")
}

var errNoQuarantine = errors.New("there is no quarantine")

// holdAll holds the original: for the recipients of each verdict that quarantines it, and once for those who
// get it while a copy is kept.
func (e *Engine) holdAll(ctx context.Context, x *Examination) error {
	kept := x.kept()
	if kept != nil {
		if err := e.hold(ctx, x, kept, x.Item); err != nil {
			return err
		}
	}
	named := kept != nil // x.Item is
	for _, v := range x.verdicts() {
		if v.Action != policy.Quarantine {
			continue
		}
		id := quarantine.NewID()
		if !named {
			id = x.Item
		}
		if err := e.hold(ctx, x, v, id); err != nil {
			return err
		}
		if !named {
			named, x.Item, x.Reference = true, x.items[x.group(v)], x.items[x.group(v)]
		}
	}
	if kept != nil {
		return e.renameItem(ctx, x, x.items[x.group(kept)])
	}
	return nil
}

// kept is one verdict for all recipients of those that keep a copy, or nil. One copy is enough for all of
// them; it is what their notices name.
func (x *Examination) kept() *policy.Verdict {
	var all *policy.Verdict
	for _, v := range x.verdicts() {
		switch {
		case !v.Hold || v.Action == policy.Quarantine:
		case all == nil:
			one := *v
			all = &one
		default:
			all.Recipients = slices.Concat(x.recipients(all), x.recipients(v))
			all.Class, all.Retention = cmp.Or(all.Class, v.Class), max(all.Retention, v.Retention)
		}
	}
	return all
}

// renameItem decides once more if the copy that is kept is called otherwise than its notices say: the retry of
// a message that is held already is no item of its own.
func (e *Engine) renameItem(ctx context.Context, x *Examination, id string) error {
	patched := slices.ContainsFunc(x.verdicts(), func(v *policy.Verdict) bool { return !v.Patch.Empty() })
	if id == x.Item {
		return nil
	}
	if x.Item, x.Reference = id, id; !patched {
		return nil
	}
	before := x.outline()
	if err := e.decide(x); err != nil {
		return err
	}
	if err := e.released(ctx, x); err != nil {
		return err
	}
	if x.outline() != before {
		return errors.New("decided otherwise while the message was being held")
	}
	return nil
}

// outline is what a verdict comes to for whom.
func (x *Examination) outline() string {
	var b strings.Builder
	for _, v := range x.verdicts() {
		fmt.Fprintf(&b, "%s %v %q\n", v.Action, v.Hold, x.group(v))
	}
	return b.String()
}

// hold holds the original for the recipients of a verdict.
func (e *Engine) hold(ctx context.Context, x *Examination, v *policy.Verdict, id string) error {
	if e.opt.Quarantine == nil {
		return errNoQuarantine
	}
	it := x.newItem(v)
	it.ID, it.Held, it.Evidence = id, v.Action != policy.Quarantine, e.evidenceFor(x)
	if err := e.opt.Quarantine.Hold(ctx, it, x.raw()); err != nil {
		return err
	}
	if x.items == nil {
		x.items = map[string]string{}
	}
	x.items[x.group(v)] = it.ID
	return nil
}

// itemOf is what the message is called in quarantine for the recipients of a verdict; empty if it is not there.
func (x *Examination) itemOf(v *policy.Verdict) string {
	switch {
	case v.Action == policy.Quarantine:
		return x.items[x.group(v)]
	case v.Hold:
		return x.Item
	}
	return ""
}

// raw is the message as it came.
func (x *Examination) raw() io.Reader { return io.NewSectionReader(x.Message.Spool, 0, x.Message.Size) }

// maxItemNames is about how many names of parts an item is found by. The store has the last word.
const maxItemNames = 200

// newItem is the message for the recipients of a verdict, and what is known of it.
func (x *Examination) newItem(v *policy.Verdict) *quarantine.Item {
	m := x.Message
	it := quarantine.NewItem(m.Envelope)
	it.Recipients = slices.Clone(x.recipients(v))
	it.Subject, it.From, it.MessageID = m.Root.Header.Text("Subject"), m.Root.Header.Text("From"), m.Root.Header.Get("Message-ID")
	it.Rule, it.Policy, it.Class, it.Retention = v.Rule, v.Policy, v.Class, v.Retention
	x.Message.Root.Walk(func(p *eml.Part) bool {
		it.Names = append(it.Names, p.Names...)
		return len(it.Names) < maxItemNames
	})
	for _, f := range x.Report.Findings {
		it.Findings = append(it.Findings, quarantine.Finding{Check: f.Check, Part: f.Part.ID, Detail: f.Detail})
	}
	return it
}

// queueCopies queues the message for the recipients of every other verdict that accepts it, as it is to be
// delivered to them.
func (e *Engine) queueCopies(ctx context.Context, x *Examination) error {
	for _, v := range x.Verdict.Others {
		to := v.To(x.Message.Envelope)
		if v.Action != policy.Accept || len(to) == 0 {
			continue
		}
		if err := e.queueCopy(ctx, x, v, to); err != nil {
			return fmt.Errorf("copy for %d recipients: %w", len(to), err)
		}
	}
	return nil
}

func (e *Engine) queueCopy(ctx context.Context, x *Examination, v *policy.Verdict, to []string) error {
	if e.opt.Quarantine == nil {
		return errNoQuarantine
	}
	of, err := x.identity()
	if err != nil {
		return err
	}
	if of != "" { // two groups may be redirected to the same address, each with its own rewriting
		of += "\n" + x.group(v)
	}
	it := x.newItem(v)
	it.Recipients, it.Purpose, it.Of, it.Evidence = to, quarantine.ForCopy, of, e.evidenceFor(x)
	x.queued = true
	if v.Patch.Empty() {
		return e.opt.Quarantine.Queue(ctx, it, x.raw())
	}
	r, w := io.Pipe()
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, err := v.Patch.WriteTo(w)
		w.CloseWithError(err)
	}()
	err = e.opt.Quarantine.Queue(ctx, it, r)
	r.Close() // ends the writer, if it has not ended
	<-written
	return err
}

// identity is equal for tries to deliver the same message. Without a Message-ID (RFC 5322 section 3.6.4) two
// messages may be equal to the last byte, such as what a monitor sends every hour, and twice is better than
// never; then it is empty.
func (x *Examination) identity() (string, error) {
	if x.Message.Root.Header.Get("Message-ID") == "" {
		return "", nil
	}
	if x.sum == "" {
		h := sha256.New()
		if _, err := io.Copy(h, x.raw()); err != nil {
			return "", fmt.Errorf("read message: %w", err)
		}
		x.sum = hex.EncodeToString(h.Sum(nil))
	}
	return x.sum, nil
}

// refuse is the verdict in place of one that could not be carried out: all recipients are refused for now.
func refuse(v *policy.Verdict) *policy.Verdict {
	return &policy.Verdict{Action: policy.TempFail, Rule: v.Rule, Policy: v.Policy, Trace: v.Trace, Watched: v.Watched}
}

// tokenEdits take all fields of that name off the message.
func tokenEdits(m *eml.Message) []eml.Edit {
	var edits []eml.Edit
	for f := range m.Root.Header.All(quarantine.TokenField) {
		edits = append(edits, eml.Edit{Part: m.Root, Region: eml.InHeader, Start: f.Start, End: f.End})
	}
	return edits
}
