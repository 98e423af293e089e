package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr/vm"

	"rastel/policy/exceptions"
	"rastel/sanitize/eml"
	"rastel/scanners"
)

// The names under which the trace tells what no rule did.
const (
	stepDefault = "(default)"
	stepChanges = "(changes)"
	stepWatch   = "(watch)"
)

// Limits of a trace, so that a message with thousands of parts does not make it huge.
const (
	maxTraced = 20 // parts that one rule tells of
	maxWhy    = 5  // findings that one step tells of
)

// Decide gives the verdict about a message of which r is all that is known. It depends on
// nothing else but the time, if rules or exceptions ask for it, and is safe for concurrent use. Neither argument is changed; the patch reads
// from the spool of the message.
//
// The first rule with a final action decides. If there is none, the message is accepted if
// all of it was examined; otherwise it is refused for now where that may help, and else
// quarantined. A rule that could not be evaluated might have decided anything, so then the
// message is refused for now, unless a rule quarantines it.
func (p *Policy) Decide(m *eml.Message, r scanners.Report) *Verdict {
	return p.DecideGiven(m, r, Given{})
}

// Given is what a decision depends on besides the message and what was found in it.
type Given struct {
	// Item is what the message will be called in quarantine if the verdict holds it. Notices name it then,
	// and only then.
	Item string
	// Reference is what names the message to the sender, in replies that ask for it; empty: its session.
	Reference string
	// Exceptions are those in force; nil: there are none.
	Exceptions *exceptions.Snapshot
}

// DecideGiven is Decide with all that a decision may depend on.
func (p *Policy) DecideGiven(m *eml.Message, r scanners.Report, given Given) *Verdict {
	if p == nil || len(p.rules) == 0 { // the zero value
		return &Verdict{Action: TempFail, Trace: []Step{{Rule: stepDefault, Final: true, Did: []string{"tempfail"}, Why: "no policy was loaded"}}}
	}
	v := p.decide(m, r, given)
	if p.watch {
		return onlyWatched(v)
	}
	return v
}

// decide makes the verdict, for groups of recipients if there are rules for recipients.
func (p *Policy) decide(m *eml.Message, r scanners.Report, given Given) *Verdict {
	if p.divides() || given.Exceptions.ForRecipients() {
		return newDivision(p, m, r, given).verdict()
	}
	d := newDecision(p, newFacts(m, r, p), given)
	_ = d.run() // only rules about recipients stop it
	return d.alone(m.Envelope.Recipients)
}

func newDecision(p *Policy, f *facts, given Given) *decision {
	m := f.msg
	return &decision{
		policy: p, facts: f,
		verdict: &Verdict{Policy: p.Version, Trace: make([]Step, 0, len(p.rules)+1)},
		changes: changes{root: m.Root, editor: p.editor, langs: p.languages, texts: p.banners, route: route{own: m.Envelope.Recipients}},
		item:    given.Item,
		given:   given,
	}
}

// run asks all rules about the message and makes the verdict, unless it has to stop: then the error says why.
func (d *decision) run() error {
	for _, s := range d.facts.excepted {
		d.trace(s)
	}
	d.whole, d.exceptions = d.facts, d.newExcepting()
	d.exceptions.begin()
	if d.askAll(eml.AtData); d.stop != nil {
		return d.stop
	}
	d.conclude()
	return nil
}

// askAll asks the rules of a stage.
func (d *decision) askAll(at eml.Stage) {
	for _, r := range d.policy.rules {
		if r.stage == at && d.stop == nil {
			d.ask(r)
		}
	}
}

// Asks reports whether there are rules for a stage.
func (p *Policy) Asks(at eml.Stage) bool {
	return p != nil && slices.ContainsFunc(p.rules, func(r *rule) bool { return r.stage == at })
}

// DecideAt gives the verdict at a stage before the message is there, about what is known by then: the
// envelope, what was found about it, and at eml.AtRcpt one recipient. The action is Accept, which means
// that the client may go on, or TempFail or Reject.
//
// The first rule of that stage with a final action decides. If there is none, the client may go on; and
// so it may if one could not be evaluated, because the message is still to be judged.
func (p *Policy) DecideAt(at eml.Stage, env *eml.Envelope, recipient string, findings []eml.Finding) *Verdict {
	v := &Verdict{Action: Accept, Policy: p.Version}
	m := &eml.Message{Envelope: env, Root: &eml.Part{ID: "1"}}
	d := &decision{policy: p, facts: newFacts(m, scanners.Report{Findings: findings}, p), verdict: v}
	d.facts.recipient = sameMailbox(recipient)
	d.askAll(at)
	if d.final != nil {
		v.Action, v.Reply, v.Rule = d.final.then, d.replyOf(d.final), d.final.name
	}
	if p.watch {
		return onlyWatched(v)
	}
	return v
}

// A decision is one call of Decide.
type decision struct {
	policy  *Policy
	facts   *facts
	machine vm.VM
	verdict *Verdict
	changes changes
	final   *rule  // the rule that decided
	failed  string // the first rule that could not be evaluated
	item    string // what the message is called in quarantine if it is held
	given   Given
	grouped

	exceptions *excepting // nil: there are none for this message
	whole      *facts     // without any exceptions
}

func (d *decision) trace(s Step) { d.verdict.Trace = append(d.verdict.Trace, s) }

// ask takes one rule: evaluates it and does what it says.
func (d *decision) ask(r *rule) {
	if d.final != nil {
		d.trace(Step{Rule: r.name, Why: "not reached: decided by " + d.final.name})
		return
	}
	if d.leftOut(r) {
		return
	}
	restore, excluded := d.exceptions.ask(r)
	defer restore()
	if excluded {
		return
	}
	m := d.match(r)
	if d.stop != nil {
		return
	}
	for i, p := range m.parts {
		if s := d.apply(r, p); i < maxTraced {
			d.trace(s)
		}
	}
	if m.err != nil {
		d.couldNot(r, m.at, m.err)
		return
	}
	d.settle(r, len(m.parts), max(0, len(m.parts)-maxTraced))
}

// A match is what the condition of a rule comes to.
type match struct {
	parts  []*part // for which it holds; nil stands for the message
	err    error   // why it could not be evaluated
	at     *part   // for that one
	failed nearest // as that of facts
}

// match evaluates the condition of a rule for the message, or for its parts until that fails.
func (d *decision) match(r *rule) (m match) {
	if known, ok := d.recall(r); ok {
		return known
	}
	asked := []*part{nil}
	if r.perPart {
		asked = d.facts.parts
	}
	for _, p := range asked {
		d.facts.part = p
		ok, err := d.holds(r)
		if ok {
			m.parts = append(m.parts, p)
		}
		if err != nil {
			m.at, m.err = p, err
			break
		}
	}
	d.remember(r, m)
	return m
}

// settle ends a rule after it was asked for the message, or for all parts.
func (d *decision) settle(r *rule, matched, untraced int) {
	if matched == 0 {
		d.trace(d.unmatched(r))
		return
	}
	if untraced > 0 {
		d.trace(Step{Rule: r.name, Matched: true, Watched: r.watch, Why: fmt.Sprintf("and for %d more parts", untraced)})
	}
	if r.watch {
		d.settleWatched(r)
		return
	}
	if r.then != Undecided {
		d.final = r
		last := &d.verdict.Trace[len(d.verdict.Trace)-1]
		last.Final, last.Did = true, append(last.Did, r.outcome())
	}
}

// unmatched tells which clause of a condition was not true: the first one, or in a rule for parts that of
// the part for which most were true.
func (d *decision) unmatched(r *rule) Step {
	s := Step{Rule: r.name, Why: r.unmatched}
	if n := &d.facts.failed; n.of == r.condition {
		if s.Why = r.condition.why[n.clause]; n.part != nil && n.clause > 0 {
			s.Part = n.part.ID
		}
	}
	return s
}

// outcome is the final action as the trace tells it.
func (r *rule) outcome() string {
	if r.reply == (Reply{}) {
		return r.then.String()
	}
	return strings.TrimSpace(fmt.Sprintf("%s %d %s %s", r.then, r.reply.Code, r.reply.Enhanced, r.reply.Text))
}

// couldNot records that a rule could not be evaluated.
func (d *decision) couldNot(r *rule, p *part, err error) {
	s := Step{Rule: r.name, Failed: true, Why: fmt.Sprintf("could not be evaluated: %.300q", err)}
	if p != nil {
		s.Part = p.ID
	}
	d.trace(s)
	if r.watch {
		d.watchedFailed(r)
		return
	}
	if d.failed == "" {
		d.failed = r.name
	}
}

// apply does what a rule says where its condition holds: for the message, or for the part p.
func (d *decision) apply(r *rule, p *part) Step {
	if r.watch {
		return d.watched(r, p)
	}
	s := Step{Rule: r.name, Matched: true, Why: d.why(r, p)}
	target := d.facts.parts
	if p != nil {
		s.Part = p.ID
		target = []*part{p}
	}
	for i := range r.do {
		s.Did = append(s.Did, d.changes.make(r, &r.do[i], target))
	}
	return s
}

// why tells which findings made a condition true. What the sender wrote is left out: a trace
// is shown on terminals.
func (d *decision) why(r *rule, p *part) string {
	findings := d.facts.findings
	if p != nil {
		findings = p.findings
	}
	var seen []string
	for _, f := range findings {
		if !matchAny(r.condition.patterns, f.Check) {
			continue
		}
		if len(seen) == maxWhy {
			seen = append(seen, "...")
			break
		}
		if s := f.Check + " in " + f.part.ID; !slices.Contains(seen, s) {
			seen = append(seen, s)
		}
	}
	if len(seen) == 0 {
		return strings.Replace(r.unmatched, "not true: ", "true: ", 1)
	}
	return strings.Join(seen, ", ")
}

// conclude makes the verdict of what the rules came to.
func (d *decision) conclude() {
	v := d.verdict
	if d.final != nil {
		v.Action, v.Reply, v.Rule = d.final.then, d.replyOf(d.final), d.final.name
	} else {
		var why string
		v.Action, why = d.byDefault()
		d.trace(Step{Rule: stepDefault, Final: true, Did: []string{v.Action.String()}, Why: why})
	}
	if d.failed != "" && v.Action != Quarantine {
		d.overrule(d.failed, TempFail, d.failed+" could not be evaluated")
	}
	if v.Action == Accept {
		if d.changes.hold {
			d.changes.makeStrips(d.item)
		} else {
			d.changes.makeStrips("")
		}
		d.patch()
	}
	if v.Action == Accept {
		v.MTAHold = d.changes.mtaHold
	}
	v.Hold = d.changes.hold && v.Action != TempFail // or every attempt would leave a copy
	d.keep()
	if len(d.changes.notices) > 0 && v.Action != TempFail {
		d.notify()
	}
}

// overrule puts another action in place of the one decided.
func (d *decision) overrule(rule string, a Action, why string) {
	v := d.verdict
	for i := range v.Trace {
		v.Trace[i].Final = false
	}
	v.Action, v.Reply, v.Rule, v.Patch = a, Reply{}, rule, nil
	d.trace(Step{Rule: stepDefault, Final: true, Did: []string{a.String()}, Why: why})
}

// byDefault is the action if no rule has one, and why. What was stripped does not matter any
// more.
func (d *decision) byDefault() (Action, string) {
	action, why := Accept, "no rule decided, and everything was examined"
	for _, u := range d.facts.unexamined {
		switch {
		case d.changes.isStripped(u.Part):
		case u.Temporary:
			return TempFail, "could not be examined for now: part " + d.partID(u.Part)
		case action == Accept:
			action, why = Quarantine, "could not be examined: part "+d.partID(u.Part)
		}
	}
	return action, why
}

func (d *decision) partID(p *eml.Part) string {
	if p == nil {
		return d.facts.msg.Root.ID
	}
	return p.ID
}

// patch makes one patch of all changes. A change that cannot be made would let through what
// it was to take out, and trying again would not help, so the message is quarantined.
func (d *decision) patch() {
	rule, err := d.changes.failed, d.changes.err
	if err == nil {
		anew := d.anew()
		edits, untold := d.changes.edits(d.whole.parts, anew)
		if untold {
			d.trace(Step{Rule: stepChanges, Why: "there is no place for the notice about new names"})
		}
		if rule, err = d.changes.failed, d.changes.err; err == nil && len(edits)+len(anew) > 0 {
			rule = stepChanges
			d.verdict.Patch, err = eml.NewPatch(d.facts.msg, edits, anew...)
		}
	}
	if err != nil {
		d.overrule(rule, Quarantine, fmt.Sprintf("%s could not be carried out: %.300q", rule, err))
	}
}

// anew are the entities that clients may read in several ways. What is delivered of them is
// written in one that leaves no choice, so that nothing arrives but what was judged.
func (d *decision) anew() []*eml.Part {
	var list []*eml.Part
	step := Step{Rule: stepChanges, Why: "mail clients may read it in several ways"}
	for _, f := range d.whole.findings { // no exception makes of them one reading
		p := f.part.Part
		entity := p.ReadFrom()
		if entity == nil && strings.HasPrefix(f.Check, "mime/ambiguous-") && f.Check != "mime/ambiguous-name" && !p.Member() {
			entity = p // several names are common, and each of them was judged
		}
		if entity == nil || slices.Contains(list, entity) || entity.Parent != nil && d.changes.isStripped(entity.Parent) {
			continue // of what is stripped itself, other fields of its header may stay
		}
		list = append(list, entity)
		if len(list) <= maxTraced {
			step.Did = append(step.Did, "written anew: "+entity.ID)
		}
	}
	if len(list) > 0 {
		d.trace(step)
	}
	return list
}
