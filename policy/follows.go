package policy

import (
	"path"
	"slices"
	"strings"

	"rastel/sanitize/eml"
)

// maxCompares is how many comparisons are made to find rules that are never reached. A policy that an
// administrator writes takes some ten thousand; in one that takes more, rules are not found.
const maxCompares = 5_000_000

// A prover tells whether one condition follows from another, by what is written there only. It is right
// when it says so, and may miss it.
type prover struct{ compares int }

// follows reports whether a is true whenever b is. Of conditions about parts, it is of the same part.
func (p *prover) follows(a, b *formula) bool {
	if p.compares++; p.compares > maxCompares {
		return false
	}
	fromB := func(a *formula) bool { return p.follows(a, b) }
	intoA := func(b *formula) bool { return p.follows(a, b) }
	switch {
	case a.op == opTrue, b.op == opFalse:
		return true
	case b.op == opOr:
		return !slices.ContainsFunc(b.of, func(b *formula) bool { return !p.follows(a, b) })
	case a.op == opAnd:
		return !slices.ContainsFunc(a.of, func(a *formula) bool { return !p.follows(a, b) })
	case a.op == opOr && slices.ContainsFunc(a.of, fromB), b.op == opAnd && slices.ContainsFunc(b.of, intoA):
		return true
	case a.op == opNot && b.op == opNot:
		return p.follows(b.of[0], a.of[0])
	case a.op == opLeaf && b.op == opLeaf:
		return p.leafFollows(a, b)
	}
	return false
}

// askForAny are the functions that are true if what they ask about is any of their texts.
var askForAny = []string{
	"has", "is", "pathIs", "named", "inList", "examinedBy", "unexamined", "clientIn", "hostIn", "addressIn", "hashIn", "textIn",
}

// leafFollows is follows for leaves: the same, or one that asks for any of more.
func (p *prover) leafFollows(a, b *formula) bool {
	if a.name == "" || b.name == "" {
		return a.text == b.text
	}
	if a.name != b.name && "part."+a.name != b.name { // what is found in a part is found in the message
		return false
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(b.name, "part."), "(")
	switch {
	case a.name != b.name && name != "has" && name != "unexamined":
		return false
	case !strings.HasSuffix(name, " is") && !slices.Contains(askForAny, name):
		return a.text == b.text
	}
	if p.compares += len(a.args) * len(b.args); p.compares > maxCompares {
		return false
	}
	return !slices.ContainsFunc(orAny(name, b.args), func(b string) bool {
		return !slices.ContainsFunc(orAny(name, a.args), func(a string) bool { return a == b || wider(name, a, b) })
	})
}

// orAny is what unexamined() asks for.
func orAny(name string, args []string) []string {
	if name == "unexamined" && len(args) == 0 {
		return []string{"any"}
	}
	return args
}

// wider reports whether the argument a of a function means all that b means.
func wider(name, a, b string) bool {
	switch name {
	case "has":
		return a == "*" || widerPattern(a, b)
	case "is":
		return eml.TypeIs(b, a)
	case "unexamined":
		return a == "any"
	}
	return false
}

// widerPattern compares patterns of checks. Those with "[" and the like are left alone.
func widerPattern(a, b string) bool {
	if strings.ContainsAny(a, `?[\`) || strings.ContainsAny(b, `[\`) || b == "*" {
		return false
	}
	ok, err := path.Match(a, b)
	return ok && err == nil
}

// unreachable reports rules that can never act, because one before them decides whenever they would.
func (s *source) unreachable(rules []*rule) {
	p := &prover{}
	var deciding []*rule
	for _, r := range rules {
		i := slices.IndexFunc(deciding, func(before *rule) bool {
			return before.stage == r.stage && before.condition.formula.op != opFalse && r.condition.formula.op != opFalse &&
				before.covers(r) && p.follows(before.condition.formula, r.condition.formula)
		})
		switch {
		case i < 0:
		case deciding[i].condition.formula.op == opTrue:
			s.errorf(r.at, "the rule %q is unreachable: %q in line %d always decides before it", r.name, deciding[i].name, deciding[i].at.line)
		default:
			s.errorf(r.at, "the rule %q is shadowed: whenever its condition is true, so is that of %q in line %d, which decides before it", r.name, deciding[i].name, deciding[i].at.line)
		}
		if i < 0 && r.decides() {
			deciding = append(deciding, r)
		}
	}
}

// decides reports whether the rule decides about every message for which its condition holds.
func (r *rule) decides() bool { return r.then != Undecided && !r.watch && r.share.all() }

// covers reports whether the rule is asked about all that a later one is asked about. A rule for parts, or
// for recipients, is asked about those of every message; what it decides about a part is for the whole message. But
// a condition for the message says nothing about a certain part, or recipient.
func (r *rule) covers(later *rule) bool {
	switch {
	case r.condition.formula.op == opTrue:
		return true
	case r.perPart:
		return later.perPart
	case r.perRecipient:
		return later.perRecipient
	}
	return true
}
