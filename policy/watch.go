package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"rastel/sanitize/eml"
)

// The modes of a rule, and of a whole policy.
const (
	modeEnforce = "enforce"
	modeWatch   = "watch"
)

// wouldHave stands in the trace before what a rule would have done.
const wouldHave = "would have: "

// Watches reports whether the policy only watches: it decides, and nothing is refused, held or changed.
func (p *Policy) Watches() bool { return p != nil && p.watch }

// mode reads a mode and reports whether it is to watch.
func (s *source) mode(n ast.Node) bool { return s.oneOf(n, "mode", modes) == modeWatch }

// A share is a part of all messages: those whose hash is below it. The zero value is all of them.
type share struct {
	text  string // as it was written
	below uint64 // of maxShare
}

// maxShare is one more than the hash of a message may be.
const maxShare = 1 << 32

// all reports whether no message is left out.
func (s share) all() bool { return s.text == "" || s.below == maxShare }

// share reads the share of messages that a rule is asked for.
func (s *source) share(n ast.Node, r *rule) (out share) {
	if n == nil {
		return out
	}
	v, ok := s.scalar(n, "a share")
	if !ok {
		return out
	}
	text, percent := strings.CutSuffix(v.text, "%")
	x, err := strconv.ParseFloat(text, 64)
	switch {
	case r.stage != eml.AtData:
		s.errorf(v.at, "at stage %q there is no message to be in a share", r.stage)
	case !percent || err != nil || !(x > 0 && x <= 100): // NaN is neither
		s.errorf(v.at, "the share must be more than 0%% and at most 100%%, as in 10%% or 0.5%%")
	}
	return share{v.text, uint64(x / 100 * maxShare)}
}

// has reports whether a message is in the share of a rule. A retry is told by its Message-ID, or if it has
// none by its content: relays on its way add fields of their own each time. A sender who knows the policy can choose
// an ID that is in no share, so a share is for trying a rule, not for relying on it.
func (s share) has(rule string, f *facts) bool {
	if s.all() {
		return true
	}
	h := sha256.New()
	fmt.Fprintf(h, "%q ", rule)
	if id := f.first("Message-ID"); id != "" {
		fmt.Fprintf(h, "%q", id)
	} else {
		for _, p := range f.parts {
			if p.Leaf() {
				h.Write(p.SHA256[:])
			}
		}
	}
	return uint64(binary.BigEndian.Uint32(h.Sum(nil))) < s.below
}

// leftOut reports whether a message is not in the share of a rule, and traces that.
func (d *decision) leftOut(r *rule) bool {
	if r.share.has(r.name, d.facts) {
		return false
	}
	d.trace(Step{Rule: r.name, Why: fmt.Sprintf("not asked: the message is not in its share of %s", r.share.text)})
	return true
}

// watched tells what a rule that only watches would have done, for the message or for the part p.
func (d *decision) watched(r *rule, p *part) Step {
	s := Step{Rule: r.name, Matched: true, Watched: true, Why: d.why(r, p)}
	if p != nil {
		s.Part = p.ID
	}
	for i := range r.do {
		s.Did = append(s.Did, wouldHave+r.do[i].String())
	}
	return s
}

// settleWatched ends a rule that only watches after it has held.
func (d *decision) settleWatched(r *rule) {
	if r.then != Undecided {
		last := &d.verdict.Trace[len(d.verdict.Trace)-1]
		last.Did = append(last.Did, wouldHave+r.outcome())
	}
	w := Watched{Rule: r.name}
	for _, s := range d.verdict.Trace {
		if s.Rule == r.name && s.Watched {
			w.add(s.Did)
		}
	}
	d.verdict.Watched = append(d.verdict.Watched, w)
}

// watchedFailed notes that a rule that only watches could not be evaluated: in force, the message would have been
// refused for now.
func (d *decision) watchedFailed(r *rule) {
	d.verdict.Watched = append(d.verdict.Watched, Watched{Rule: r.name, Did: []string{TempFail.String()}})
}

// add adds what a step tells, each thing once.
func (w *Watched) add(did []string) {
	for _, s := range did {
		if s = strings.TrimPrefix(s, wouldHave); !slices.Contains(w.Did, s) {
			w.Did = append(w.Did, s)
		}
	}
}

// AllWatched is what rules that only watch would have done for any of the recipients, each rule once.
func (v *Verdict) AllWatched() []Watched {
	if len(v.Others) == 0 {
		return v.Watched
	}
	var out []Watched
	for _, one := range append([]*Verdict{v}, v.Others...) {
		for _, w := range one.Watched {
			i := slices.IndexFunc(out, func(x Watched) bool { return x.Rule == w.Rule })
			if i < 0 {
				i, out = len(out), append(out, Watched{Rule: w.Rule})
			}
			out[i].add(w.Did)
		}
	}
	return out
}

// AllExceptions are those that made a difference for any of the recipients, sorted.
func (v *Verdict) AllExceptions() []string {
	out := slices.Clone(v.Exceptions)
	for _, o := range v.Others {
		out = append(out, o.Exceptions...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// onlyWatched is the verdict of a policy that only watches, made of the one that it would have given: the message is
// accepted as it is, whatever it is and whatever could not be examined.
func onlyWatched(v *Verdict) *Verdict {
	out := &Verdict{Action: Accept, Policy: v.Policy, Trace: v.Trace, Watched: slices.Clone(v.AllWatched()), Exceptions: v.AllExceptions()}
	for _, one := range append([]*Verdict{v}, v.Others...) {
		for i := range one.Trace {
			out.watch(&one.Trace[i])
		}
	}
	last := Step{Rule: stepWatch, Final: true, Did: []string{Accept.String()}, Why: "the policy only watches; " + wouldHave + would(v)}
	for _, o := range v.Others {
		last.Why += fmt.Sprintf(", and for %d others: %s", len(o.Recipients), would(o))
	}
	for i := range out.Trace {
		out.Trace[i].Final = false
	}
	out.trace(last)
	return out
}

func (v *Verdict) trace(s Step) { v.Trace = append(v.Trace, s) }

// watch takes a step of a rule in force into what would have been done.
func (v *Verdict) watch(s *Step) {
	accepted := s.Rule == stepDefault && slices.Equal(s.Did, []string{Accept.String()})
	if s.Watched || len(s.Did) == 0 || s.Rule == stepChanges || accepted {
		return
	}
	i := slices.IndexFunc(v.Watched, func(w Watched) bool { return w.Rule == s.Rule })
	if i < 0 {
		i, v.Watched = len(v.Watched), append(v.Watched, Watched{Rule: s.Rule})
	}
	v.Watched[i].add(s.Did)
}

// would is what a verdict says, for people.
func would(v *Verdict) string {
	text := v.Action.String()
	if !v.Patch.Empty() {
		text += ", changed"
	}
	if v.Hold {
		text += ", with a copy held"
	}
	if v.Rule != "" {
		text += " by " + v.Rule
	}
	return text
}
