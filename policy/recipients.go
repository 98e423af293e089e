package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// Limits of deciding for recipients, for one message. Beyond them the message is quarantined for all of
// its recipients: to try again would end the same way.
const (
	// maxAsked is how often the conditions of rules for recipients are evaluated, all rules and all
	// recipients together. What their loops take counts for maxRounds besides.
	maxAsked = 500_000
	// maxGroups is how many groups of recipients are told apart.
	maxGroups = 50
)

// stepRecipients is the name under which the trace tells what became of other recipients.
const stepRecipients = "(recipients)"

// Reasons to stop a decision before its end.
var (
	errDivided = errors.New("a rule holds for some of the recipients")
	errAsked   = fmt.Errorf("rules are asked for recipients more than %d times", maxAsked)
	errGroups  = fmt.Errorf("its recipients are in more than %d groups with different outcomes", maxGroups)
)

// An answer is what a rule comes to for one recipient.
type answer uint8

const (
	unasked answer = iota
	holdsNot
	holdsFor
	askFailed
	kindsOfAnswer // how many there are
)

// An asked is the answer, and the clause of the condition that was not true.
type asked struct {
	answer
	clause int32
}

// A recipient is one mailbox of the envelope. It has one outcome, however it is spelled there.
type recipient struct {
	index   int      // among the recipients
	address string   // as conditions see it
	all     []string // all that the envelope has of it
}

// A division is the recipients of one message, in groups for which the rules come to the same. Only what
// is asked before a final action counts: recipients that differ in rules behind it stay together.
type division struct {
	policy     *Policy
	facts      *facts
	given      Given
	recipients []*recipient

	answers map[*rule][]asked // by recipient
	errs    map[*rule]error   // why some answer failed
	times   int               // that one was asked for
	apart   bool              // the groups are for exceptions too
	matches map[*rule]match   // of rules about the message or its parts, by facts
}

// A grouped is what a decision for some of the recipients has besides.
type grouped struct {
	division *division
	group    []*recipient
	stop     error          // why it cannot go on
	by       *rule          // at that one
	parts    [][]*recipient // of the group, if that is why
}

// divides reports whether recipients of one message may have different outcomes.
func (p *Policy) divides() bool {
	return slices.ContainsFunc(p.rules, func(r *rule) bool { return r.perRecipient })
}

func newDivision(p *Policy, m *eml.Message, r scanners.Report, given Given) *division {
	v := &division{policy: p, facts: newFacts(m, r, p), given: given, answers: map[*rule][]asked{}, errs: map[*rule]error{}, matches: map[*rule]match{}}
	known := map[string]*recipient{}
	for _, a := range m.Envelope.Recipients {
		box := sameMailbox(a)
		if known[box] == nil {
			known[box] = &recipient{index: len(v.recipients), address: box}
			v.recipients = append(v.recipients, known[box])
		}
		known[box].all = append(known[box].all, a)
	}
	return v
}

// verdict decides for each group, and makes one verdict of it all. A group that turns out to be several
// is decided again, each part for itself.
func (v *division) verdict() *Verdict {
	groups := v.apartByExceptions()
	var done []*decision
	for len(groups) > 0 {
		d := v.decision(groups[0])
		err := d.run()
		switch {
		case err == nil:
			done, groups = append(done, d), groups[1:]
		case errors.Is(err, errDivided) && len(done)+len(groups)+len(d.parts)-1 <= maxGroups:
			groups = slices.Concat(d.parts, groups[1:])
		case errors.Is(err, errDivided):
			return d.giveUp(errGroups)
		default:
			return d.giveUp(err)
		}
	}
	slices.SortFunc(done, func(a, b *decision) int { return a.first() - b.first() })
	return join(v.facts.msg.Envelope.Recipients, done)
}

// decision begins that for a group.
func (v *division) decision(group []*recipient) *decision {
	d := newDecision(v.policy, v.facts, v.given)
	d.division, d.group = v, group
	d.changes.route.own = nil
	for _, r := range group {
		d.changes.route.own = append(d.changes.route.own, r.all...)
	}
	return d
}

// first is where the group begins among the recipients.
func (d *decision) first() int {
	if len(d.group) == 0 {
		return 0
	}
	return d.group[0].index
}

// recall gives what a decision about another group has found a rule to come to that is not about recipients.
func (d *decision) recall(r *rule) (m match, ok bool) {
	if d.division == nil || r.perRecipient || d.facts != d.division.facts {
		return m, false
	}
	if m, ok = d.division.matches[r]; ok {
		d.facts.failed = m.failed
	}
	return m, ok
}

// remember keeps it for recall. What exceptions leave of the facts is not the same for all groups.
func (d *decision) remember(r *rule, m match) {
	if d.division != nil && !r.perRecipient && d.facts == d.division.facts {
		m.failed = d.facts.failed
		d.division.matches[r] = m
	}
}

// holds evaluates the condition of a rule: once, or for each recipient of the group. The error is
// errDivided if it does not come to the same for all of them: then they are not one group.
func (d *decision) holds(r *rule) (bool, error) {
	if !r.perRecipient {
		return r.condition.holds(&d.machine, d.facts)
	}
	all := asked{}
	for _, to := range d.group {
		a, err := d.answer(r, to)
		switch {
		case err != nil && r.watch:
			return false, err
		case err != nil:
			d.stop = err
			return false, err
		case all.answer == unasked:
			all = a
		case a.answer != all.answer && r.watch: // it makes no difference for them
			all.answer = max(all.answer, a.answer)
		case a.answer != all.answer:
			return false, d.divide(r)
		}
		all.clause = max(all.clause, a.clause)
	}
	switch all.answer {
	case holdsNot:
		d.facts.failed = nearest{of: r.condition, clause: int(all.clause)}
	case askFailed:
		return false, d.division.errs[r]
	}
	return all.answer == holdsFor, nil
}

// divide parts the group by what the rule comes to for its recipients.
func (d *decision) divide(r *rule) error {
	var by [kindsOfAnswer][]*recipient
	for _, to := range d.group {
		a, err := d.answer(r, to)
		if err != nil {
			d.stop = err
			return err
		}
		by[a.answer] = append(by[a.answer], to)
	}
	for _, part := range by {
		if len(part) > 0 {
			d.parts = append(d.parts, part)
		}
	}
	d.by, d.stop = r, errDivided
	return d.stop
}

// answer is what a rule comes to for a recipient. All answers for one recipient, in the order of the rules,
// say which group it is in. The error is errAsked.
func (d *decision) answer(r *rule, to *recipient) (asked, error) {
	v := d.division
	if v.answers[r] == nil {
		v.answers[r] = make([]asked, len(v.recipients))
	}
	a := &v.answers[r][to.index]
	if a.answer != unasked {
		return *a, nil
	}
	if v.times++; v.times > maxAsked {
		d.by = r
		return asked{}, errAsked
	}
	d.facts.recipient, d.facts.failed = to.address, nearest{}
	switch ok, err := r.condition.holds(&d.machine, d.facts); {
	case err != nil:
		a.answer = askFailed
		if v.errs[r] == nil {
			v.errs[r] = err
		}
	case ok:
		a.answer = holdsFor
	default:
		*a = asked{holdsNot, int32(d.facts.failed.clause)}
	}
	return *a, nil
}

// giveUp is the verdict about a message with more recipients and rules than can be decided about.
func (d *decision) giveUp(why error) *Verdict {
	d.verdict.Action = Quarantine
	d.overrule(d.by.name, Quarantine, why.Error())
	return d.verdict
}

// maxNamed is how many recipients a step names.
const maxNamed = 5

func named(list []string) string { return Quoted(list, maxNamed) }

// Quoted are the first n of some recipients, for people. Clients make them up, so they are quoted.
func Quoted(list []string, n int) string {
	var b strings.Builder
	for i, a := range list {
		if i == n {
			fmt.Fprintf(&b, " and %d more", len(list)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%.100q", a)
	}
	return b.String()
}
