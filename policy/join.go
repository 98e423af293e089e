package policy

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"reflect"
	"slices"

	"rastel/sanitize/eml"
)

// An outcome is what becomes of the recipients of one or more groups, which is the same for all of them.
type outcome struct {
	*Verdict
	own  []string // the recipients
	to   []string // whom the message goes to if it is accepted
	sums [][]byte // of what the edits write that have no text; nil until it is needed
}

// join makes one verdict of those of groups, which are in the order of the envelope.
//
//   - One that is refused for now is refused for all: the sender tries again for all.
//   - One that is refused for good for some is kept from them in quarantine. A reply would be a lie to the
//     others, and a message to the sender would go to whoever is named there.
//   - Those for which the same is done are one.
//   - The transaction goes on with one that is accepted. The others are for whoever holds messages, or sends
//     them on their own.
//   - What the MTA is to keep is the transaction. What cannot be that is kept in quarantine.
func join(envelope []string, done []*decision) *Verdict {
	if len(done) == 1 {
		return done[0].alone(envelope)
	}
	list := make([]*outcome, len(done))
	for i, d := range done {
		list[i] = &outcome{Verdict: d.verdict, own: d.changes.route.own, to: d.changes.route.list()}
	}
	if i := slices.IndexFunc(list, func(o *outcome) bool { return o.Action == TempFail }); i >= 0 {
		list[i].note("refused for now for all recipients, because it is for " + named(list[i].own))
		return list[i].Verdict
	}
	refused := func(o *outcome) bool { return o.Action == Reject }
	if !slices.ContainsFunc(list, func(o *outcome) bool { return !refused(o) }) {
		return joined(list).Verdict
	}
	for _, o := range list {
		if refused(o) {
			o.become(Quarantine, "it cannot be refused for "+named(o.own)+" alone")
		}
	}
	return spread(envelope, merge(list))
}

// alone ends the only decision of a message.
func (d *decision) alone(envelope []string) *Verdict {
	o := &outcome{Verdict: d.verdict, to: d.changes.route.list()}
	if o.Action == Accept && d.changes.route.changed {
		o.Add, o.Remove = routed(envelope, o.to)
		o.nobody()
	}
	return o.Verdict
}

// nobody discards an accepted message that goes to nobody any more.
func (o *outcome) nobody() {
	if o.Action == Accept && len(o.to) == 0 && (len(o.Remove) > 0 || len(o.own) > 0) {
		o.Add, o.Remove = nil, nil
		o.become(Discard, "all recipients were removed")
	}
}

// note adds a step about recipients.
func (o *outcome) note(why string) {
	o.Trace = append(o.Trace, Step{Rule: stepRecipients, Why: why})
}

// become puts another action in place of the one decided.
func (o *outcome) become(a Action, why string) {
	for i := range o.Trace {
		o.Trace[i].Final = false
	}
	o.Action, o.Reply, o.Patch, o.MTAHold = a, Reply{}, nil, ""
	o.Trace = append(o.Trace, Step{Rule: stepRecipients, Final: true, Did: []string{a.String()}, Why: why})
}

// joined makes one outcome of several that are the same for those who carry it out.
func joined(list []*outcome) *outcome {
	for _, o := range list[1:] {
		list[0].take(o)
	}
	return list[0]
}

// merge makes one of those for which the same is done.
func merge(list []*outcome) []*outcome {
	var out []*outcome
	for _, o := range list {
		if i := slices.IndexFunc(out, o.same); i >= 0 {
			out[i].take(o)
		} else {
			out = append(out, o)
		}
	}
	return out
}

// same reports whether the same is done with the message. Whom it goes to does not matter.
func (o *outcome) same(p *outcome) bool {
	switch {
	case o.Action != p.Action:
		return false
	case o.Action == Accept:
		return o.MTAHold == p.MTAHold && o.sameEdits(p)
	case o.Action == Quarantine:
		return o.Rule == p.Rule && o.Class == p.Class && o.Retention == p.Retention
	}
	return true
}

// sameEdits compares what is delivered.
func (o *outcome) sameEdits(p *outcome) bool {
	if o.Patch == nil || p.Patch == nil {
		return o.Patch.Empty() && p.Patch.Empty()
	}
	written := false
	same := slices.EqualFunc(o.Patch.Edits(), p.Patch.Edits(), func(a, b eml.Edit) bool {
		written = written || a.Write != nil
		return a.Part == b.Part && a.Region == b.Region && a.Start == b.Start && a.End == b.End &&
			bytes.Equal(a.Text, b.Text) && (a.Write == nil) == (b.Write == nil)
	})
	if !same || !written {
		return same
	}
	a, b := o.writes(), p.writes()
	return a != nil && reflect.DeepEqual(a, b)
}

// writes are hashes of what the edits write that have no text; nil if one cannot be written.
func (o *outcome) writes() [][]byte {
	if o.sums != nil {
		return o.sums
	}
	for _, e := range o.Patch.Edits() {
		if e.Write == nil {
			continue
		}
		h := sha256.New()
		if err := e.Write(h); err != nil {
			return nil // whoever carries it out sees the error
		}
		o.sums = append(o.sums, h.Sum(nil))
	}
	return o.sums
}

// take adds another outcome that is carried out in the same way: its recipients, and what its trace tells
// that this one does not. A copy that is kept for one of them is kept.
func (o *outcome) take(p *outcome) {
	o.note("the same for " + named(p.own))
	for _, s := range p.Trace {
		told := func(t Step) bool { return t.Rule == s.Rule && t.Part == s.Part && slices.Equal(t.Did, s.Did) }
		if s.Final = false; (s.Matched || s.Failed) && !slices.ContainsFunc(o.Trace, told) {
			o.Trace = append(o.Trace, s)
		}
	}
	o.own, o.to = append(o.own[:len(o.own):len(o.own)], p.own...), append(o.to[:len(o.to):len(o.to)], p.to...)
	o.Hold = o.Hold || p.Hold
	o.Class, o.Retention = cmp.Or(o.Class, p.Class), cmp.Or(o.Retention, p.Retention)
	for _, n := range p.Notices {
		if !slices.ContainsFunc(o.Notices, func(m Notification) bool { return reflect.DeepEqual(m, n) }) {
			o.Notices = append(o.Notices, n)
		}
	}
	o.Exceptions = slices.Compact(slices.Sorted(slices.Values(slices.Concat(o.Exceptions, p.Exceptions))))
	for _, w := range p.Watched {
		if !slices.ContainsFunc(o.Watched, func(x Watched) bool { return reflect.DeepEqual(x, w) }) {
			o.Watched = append(o.Watched, w)
		}
	}
}

// spread chooses the outcome that the transaction goes on with; the rest are its others.
func spread(envelope []string, list []*outcome) *Verdict {
	first := goesOn(list)
	for i, o := range list {
		if i != first && o.held() {
			o.become(Quarantine, "the MTA can keep nothing that is sent as a message of its own")
		}
		if own := envelope; o.Action == Accept {
			if i != first {
				own = o.own
			}
			o.Add, o.Remove = routed(own, o.to)
		}
		o.nobody()
	}
	v := list[first].Verdict
	if len(list) == 1 {
		return v
	}
	for i, o := range list {
		o.Recipients = o.own
		if i != first {
			v.Others = append(v.Others, o.Verdict)
		}
	}
	return v
}

// goesOn is the first one that the MTA is to keep, because it can keep only the transaction; otherwise the first that is
// accepted for somebody, and if none is the first.
func goesOn(list []*outcome) int {
	if i := slices.IndexFunc(list, (*outcome).held); i >= 0 {
		return i
	}
	return max(0, slices.IndexFunc(list, (*outcome).delivered))
}

// delivered reports whether somebody gets the message.
func (o *outcome) delivered() bool { return o.Action == Accept && len(o.to) > 0 }

// held reports whether the MTA is to keep it before.
func (o *outcome) held() bool { return o.delivered() && o.MTAHold != "" }

// To gives the recipients that an accepted message goes to by this verdict, and not by one of the Others.
func (v *Verdict) To(env *eml.Envelope) []string {
	own := env.Recipients
	if v.Recipients != nil && len(v.Others) == 0 {
		own = v.Recipients
	}
	gone := make(map[string]bool, len(v.Remove))
	for _, a := range v.Remove {
		gone[a] = true
	}
	to := slices.DeleteFunc(slices.Clone(own), func(a string) bool { return gone[a] })
	return append(to, v.Add...)
}
