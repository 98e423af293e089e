package policy

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/mail"
	"path"
	"slices"
	"strings"

	"rastel/policy/exceptions"
	"rastel/sanitize/eml"
)

// stepExceptions is the name under which the trace tells what was excepted for all rules.
const stepExceptions = "(exceptions)"

// maxExcepted is how many exceptions hold for one message, the oldest ones: each may have to be looked at for each
// rule and each part.
const maxExcepted = 100

// An excepting is what is excepted for one message.
//
// What an exception without a hash may do has a limit that no rule can be written around. In a message with anything
// that is known as malware there are none: a rule that does not count may have been what stood between it and a rule
// that accepts. It never takes away that something was not examined, and a rule that could see that is asked as if
// there were no such exception. An exception by the hash of a part is for what that part is, whatever that is, and for
// nothing else.
type excepting struct {
	d     *decision
	whole *facts // without any exceptions
	list  []*excepted
	views map[string]*facts // by the exceptions that they are without
	told  map[string]bool   // exceptions and rules that the trace has told of
}

// An excepted is an exception that is for this message.
type excepted struct {
	*exceptions.Exception
	content map[*eml.Part]bool // by a hash: the parts with that content, and what is in them
	macros  map[*eml.Part]bool // by the hash of macros: the parts that have these and no others
	idle    bool               // it is known to make no difference
}

// newExcepting finds the exceptions for the message; nil if there are none.
func (d *decision) newExcepting() *excepting {
	snapshot := d.given.Exceptions
	if snapshot.Empty() {
		return nil
	}
	x := &excepting{d: d, whole: d.facts, views: map[string]*facts{}, told: map[string]bool{}}
	list := snapshot.For(d.about())
	if len(list) > maxExcepted {
		d.trace(Step{Rule: stepExceptions, Why: fmt.Sprintf("%d exceptions are for this message; only the first %d hold", len(list), maxExcepted)})
		list = list[:maxExcepted]
	}
	for _, e := range list {
		y := &excepted{Exception: e}
		if e.SHA256 != "" {
			y.content = d.facts.within(e.SHA256)
			if len(y.content) == 0 {
				continue
			}
		}
		if e.Macros != "" {
			if y.macros = d.facts.withMacros(e.Macros); len(y.macros) == 0 {
				continue
			}
		}
		x.list = append(x.list, y)
	}
	x.list = x.withoutMalware()
	if len(x.list) == 0 {
		return nil
	}
	return x
}

// about is what exceptions ask for of a message: for the group of recipients, or for all of them.
func (d *decision) about() exceptions.About {
	a := exceptions.About{Now: d.policy.now(), Sender: d.facts.provenSender(), Recipients: mailboxes(d.facts.msg.Envelope.Recipients)}
	if d.division != nil && d.division.apart {
		a.Recipients = nil
		for _, r := range d.group {
			a.Recipients = append(a.Recipients, sameMailbox(r.address))
		}
	}
	a.Macros = d.facts.macros()
	if d.given.Exceptions.ByContent() {
		a.SHA256 = d.facts.contents()
	}
	return a
}

func mailboxes(list []string) []string {
	out := make([]string, len(list))
	for i, a := range list {
		out[i] = sameMailbox(a)
	}
	return out
}

// maxExceptedGroups is how many groups of recipients are told apart because exceptions are for some of them; with more,
// these exceptions hold for none. It leaves room for what rules tell apart.
const maxExceptedGroups = maxGroups / 2

// apartByExceptions divides recipients by the exceptions that are for them.
func (v *division) apartByExceptions() [][]*recipient {
	one := [][]*recipient{v.recipients}
	if !v.given.Exceptions.ForRecipients() || len(v.recipients) < 2 {
		return one
	}
	about := v.decision(v.recipients).about()
	list := v.given.Exceptions.ForSome(about)
	if len(list) == 0 {
		return one
	}
	var groups [][]*recipient
	whom, index := exceptions.WhomOf(list), map[string]int{}
	for _, r := range v.recipients {
		key := whom.Kind(sameMailbox(r.address))
		i, ok := index[key]
		if !ok {
			i = len(groups)
			if i == maxExceptedGroups {
				return one
			}
			index[key], groups = i, append(groups, nil)
		}
		groups[i] = append(groups[i], r)
	}
	v.apart = true
	return groups
}

// withoutMalware are the exceptions that hold: of those without a hash none does if something is known as malware.
func (x *excepting) withoutMalware() []*excepted {
	byHash := slices.DeleteFunc(slices.Clone(x.list), func(e *excepted) bool { return e.content == nil })
	if len(byHash) == len(x.list) {
		return x.list
	}
	for _, f := range x.view(x.always()).findings {
		if exceptions.Protected(f.Check) {
			x.d.trace(Step{Rule: stepExceptions, Part: f.part.ID, Why: fmt.Sprintf("%d exceptions without a hash do not hold: %s was found", len(x.list)-len(byHash), f.Check)})
			return byHash
		}
	}
	return x.list
}

// contents are the hashes of the contents of all parts that an exception may name: not that of the message, which
// has a header besides.
func (f *facts) contents() []string {
	var out []string
	for _, p := range f.parts {
		if p.Leaf() && p.Parent != nil && p.Size > 0 {
			out = append(out, p.sha256())
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// within are the parts with that content, and all that is in them.
func (f *facts) within(sum string) map[*eml.Part]bool {
	out := map[*eml.Part]bool{}
	for _, p := range f.parts {
		for q := p.Part; q != nil && q.Parent != nil; q = q.Parent {
			if q.Leaf() && q.Size > 0 && hex.EncodeToString(q.SHA256[:]) == sum {
				out[p.Part] = true
				break
			}
		}
	}
	return out
}

// macroHash is the check whose detail is the hash of macros.
const macroHash = "office/vba-hash"

// ofMacros are the checks that say nothing but that macros are there that have a hash, and what they do.
var ofMacros = map[string]bool{"office/macro": true, "office/macro-autorun": true, "office/macro-suspicious": true, macroHash: true}

// macros are the hashes of the macros of all parts.
func (f *facts) macros() []string {
	var out []string
	for _, g := range f.findings {
		if g.Check == macroHash {
			out = append(out, g.Detail)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// withMacros are the parts that have macros with that hash, and no others.
func (f *facts) withMacros(sum string) map[*eml.Part]bool {
	out := map[*eml.Part]bool{}
	for _, p := range f.parts {
		same, others := 0, 0
		for _, g := range p.findings {
			switch {
			case g.Check == macroHash && g.Detail == sum:
				same++
			case g.Check == macroHash, g.Unexamined:
				others++
			}
		}
		if same > 0 && others == 0 && len(p.unexamined) == 0 {
			out[p.Part] = true
		}
	}
	return out
}

// maxFrom is how many bytes of a From field are read.
const maxFrom = 10 << 10

// provenSender is the domain in the From field, if DMARC, or a signature or SPF for that domain or one above it, proves
// that the message comes from there; empty if nothing does.
func (f *facts) provenSender() string {
	from := f.fromDomain()
	if from == "" {
		return ""
	}
	for _, g := range f.findings {
		if g.part.Part != f.msg.Root {
			continue
		}
		detail, _, _ := strings.Cut(g.Detail, ":")
		by, ok := "", false
		switch g.Check {
		case "dmarc/pass":
			by, ok = strings.CutPrefix(detail, "header.from=")
			ok = ok && strings.EqualFold(by, from)
		case "signed/dkim-pass":
			by, ok = strings.CutPrefix(detail, "d=")
			by, _, _ = strings.Cut(by, " ")
		case "spf/pass":
			by, ok = strings.CutPrefix(detail, "smtp.mailfrom=")
		}
		if ok && speaksFor(strings.ToLower(by), from) {
			return from
		}
	}
	return ""
}

// speaksFor reports whether who has the domain by may speak for the other: it is the same, or one above it. (RFC 7489
// section 3.1 takes a domain below it too; here that would let a customer's name speak for the provider.)
func speaksFor(by, domain string) bool {
	return strings.Contains(by, ".") && (by == domain || strings.HasSuffix(domain, "."+by))
}

// fromDomain is the domain in From, in lower case; empty if there is not exactly one.
func (f *facts) fromDomain() string {
	h := &f.msg.Root.Header
	if h.Count("From") != 1 {
		return ""
	}
	value := h.Get("From")
	if len(value) > maxFrom {
		return ""
	}
	list, err := mail.ParseAddressList(value)
	if err != nil || len(list) == 0 {
		return ""
	}
	out := domain(list[0].Address)
	for _, a := range list {
		if domain(a.Address) != out {
			return ""
		}
	}
	return out
}

// protects reports whether a finding is taken away by a hash only. (Of what is known as malware there is none where
// exceptions without a hash hold.)
func protects(f *finding) bool { return f.Unexamined || exceptions.Protected(f.Check) }

// takes reports whether the exception takes a finding away.
func (e *excepted) takes(f *finding) bool {
	switch {
	case e.macros != nil:
		return e.macros[f.part.Part] && ofMacros[f.Check] && !protects(f) && (e.Check == "" || e.matches(f.Check))
	case e.content == nil:
		return e.Check != "" && !protects(f) && e.matches(f.Check)
	case !e.content[f.part.Part]:
		return false
	case e.Check == "": // of what is around the content the hash says nothing
		return !strings.HasPrefix(f.Check, "header/") && !strings.HasPrefix(f.Check, "mime/")
	}
	return e.matches(f.Check)
}

func (e *excepted) matches(check string) bool {
	ok, err := path.Match(e.Check, check)
	return ok && err == nil
}

// takesUnexamined reports whether the exception takes it away that something was not examined.
func (e *excepted) takesUnexamined(u *eml.Unexamined) bool {
	if e.content == nil || !e.content[u.Part] {
		return false
	}
	check, _, _ := strings.Cut(u.Why, ":")
	return e.Check == "" || e.matches(check)
}

// hides reports whether rules are not asked about a part, as if it were not there.
func (e *excepted) hides(p *part) bool { return e.Check == "" && e.content[p.Part] }

// difference reports whether it would make one.
func (e *excepted) difference(f *facts) bool {
	return slices.ContainsFunc(f.findings, e.takes) || slices.ContainsFunc(f.parts, e.hides) ||
		slices.ContainsFunc(f.unexamined, func(u eml.Unexamined) bool { return e.takesUnexamined(&u) })
}

// always are the exceptions by hash that are for all rules, and with it for what happens if none decides.
func (x *excepting) always() []*excepted {
	return slices.DeleteFunc(slices.Clone(x.list), func(e *excepted) bool { return e.content == nil || e.Rule != "" })
}

// view gives the facts without what these exceptions take away.
func (x *excepting) view(without []*excepted) *facts {
	var ids []string
	for _, e := range without {
		ids = append(ids, e.ID)
	}
	key := strings.Join(ids, " ")
	v := x.views[key]
	if v == nil {
		v = x.whole.without(without)
		x.views[key] = v
	}
	return v
}

// without is a copy of the facts without what exceptions take away.
func (f *facts) without(list []*excepted) *facts {
	if len(list) == 0 {
		return f
	}
	g := *f
	g.known = memo{}
	g.parts, g.findings, g.unexamined, g.part, g.index = nil, nil, nil, nil, make(map[*eml.Part]*part, len(f.parts))
	for _, p := range f.parts {
		q := *p
		q.facts, q.findings, q.unexamined = &g, nil, nil
		g.index[p.Part] = &q
		if !slices.ContainsFunc(list, func(e *excepted) bool { return e.hides(p) }) {
			g.parts = append(g.parts, &q)
		}
	}
	for _, x := range f.findings {
		if !slices.ContainsFunc(list, func(e *excepted) bool { return e.takes(x) }) {
			q := g.index[x.part.Part]
			y := &finding{x.Finding, q}
			q.findings = append(q.findings, y)
			g.findings = append(g.findings, y)
		}
	}
	for _, u := range f.unexamined {
		if !slices.ContainsFunc(list, func(e *excepted) bool { return e.takesUnexamined(&u) }) {
			q := g.of(u.Part)
			q.unexamined = append(q.unexamined, u)
			g.unexamined = append(g.unexamined, u)
		}
	}
	return &g
}

// begin leaves out what is excepted by hash for all rules.
func (x *excepting) begin() {
	if x != nil {
		list := x.always()
		x.d.facts = x.view(list)
		x.use("", list)
	}
}

// use traces exceptions that make a difference, and notes that they did.
func (x *excepting) use(rule string, list []*excepted) {
	for _, e := range list {
		if key := e.ID + " " + e.Rule; !e.idle && !x.told[key] {
			if e.idle = !e.difference(x.whole); e.idle { // asked once, as there may be many rules and findings
				continue
			}
			x.told[key] = true
			x.note(e, rule, e.tells())
		}
	}
}

// note traces what an exception did.
func (x *excepting) note(e *excepted, rule, what string) {
	if rule == "" || e.Rule == "" {
		rule = stepExceptions
	}
	x.d.trace(Step{Rule: rule, Why: "exception " + e.ID + ": " + what})
	if !slices.Contains(x.d.verdict.Exceptions, e.ID) {
		x.d.verdict.Exceptions = append(x.d.verdict.Exceptions, e.ID)
		slices.Sort(x.d.verdict.Exceptions)
	}
}

// tells says for people what an exception takes away.
func (e *excepted) tells() string {
	what := "nothing"
	switch {
	case e.Check != "":
		what = e.Check
	case e.content != nil:
		what = "the content"
	case e.macros != nil:
		what = "that there are macros"
	}
	text := what + " does not count"
	if e.Rule != "" {
		text += " for rule " + e.Rule
	}
	if e.macros != nil {
		text += fmt.Sprintf(", of the macros %.12s... (%d parts)", e.Macros, len(e.macros))
	}
	if e.content != nil {
		text += fmt.Sprintf(", with sha256 %.12s... (%d parts)", e.SHA256, len(e.content))
	}
	return text
}

// ask puts in place the facts that a rule sees, and gives what puts those before it back. The second result says that
// the rule does not count at all.
func (x *excepting) ask(r *rule) (restore func(), excluded bool) {
	if x == nil || r.stage != eml.AtData {
		return func() {}, false
	}
	before := x.d.facts
	restore = func() {
		before.takeOver(x.d.facts)
		x.d.facts = before
	}
	var byHash, others, wholly []*excepted
	for _, e := range x.list {
		switch {
		case e.Rule != "" && e.Rule != r.name:
		case e.content != nil:
			byHash = append(byHash, e)
		case e.Check != "" || e.macros != nil:
			others = append(others, e)
		default:
			wholly = append(wholly, e)
		}
	}
	x.show(r, byHash)
	if len(others)+len(wholly) == 0 {
		return restore, false
	}
	if why := r.seesProtected(x.d.facts); why != "" {
		for _, e := range wholly {
			x.d.trace(Step{Rule: r.name, Why: fmt.Sprintf("exception %s does not hold: %s", e.ID, why)})
		}
		return restore, false
	}
	x.show(r, append(byHash, others...))
	return restore, len(wholly) > 0 && x.excludes(r, wholly)
}

// show lets a rule see the facts without what these exceptions take away.
func (x *excepting) show(r *rule, list []*excepted) {
	if len(list) == 0 {
		return
	}
	slices.SortFunc(list, func(a, b *excepted) int { return strings.Compare(a.ID, b.ID) })
	before := x.d.facts
	x.d.facts = x.view(list)
	x.d.facts.takeOver(before)
	x.use(r.name, list)
}

// takeOver takes over what conditions have cost with other facts of the same message: the limits are for all together.
func (f *facts) takeOver(g *facts) { f.spent, f.made, f.textBytes = g.spent, g.made, g.textBytes }

// excludes reports whether a rule that would hold does not count. One that cannot be evaluated is asked, and fails.
func (x *excepting) excludes(r *rule, list []*excepted) bool {
	asked := []*part{nil}
	if r.perPart {
		asked = x.d.facts.parts
	}
	for _, p := range asked {
		x.d.facts.part = p
		ok, err := x.d.holds(r)
		if err != nil {
			return false
		}
		if ok {
			for _, e := range list {
				x.note(e, r.name, fmt.Sprintf("rule %s does not count", r.name))
			}
			return true
		}
	}
	return false
}

// seesProtected says what a rule may go by that no exception without a hash makes it pass over; empty if there is
// nothing like that.
func (r *rule) seesProtected(f *facts) string {
	if r.condition.wide && len(f.unexamined) > 0 {
		return "something was not examined"
	}
	for _, g := range f.findings {
		if protects(g) && (r.condition.wide || matchAny(r.condition.patterns, g.Check)) {
			return g.Check + " was found"
		}
	}
	return ""
}

// narrow are the names in conditions that tell nothing of findings, nor of what was not examined, or whose checks are
// known when the policy is loaded. What is not here may tell anything.
var narrow = map[string]bool{
	"has": true, "count": true, // the checks are among those of the condition
	"sender": true, "sender_domain": true, "recipient": true, "recipient_domain": true, "recipients": true, "client": true, "host": true,
	"client_name": true, "helo": true, "tls": true, "auth_user": true, "queue_id": true, "subject": true, "from": true, "size": true,
	"parts": true, "clientIn": true, "hostIn": true, "header": true, "headers": true, "addressIn": true, "hashIn": true, "textIn": true,
	"authenticated": true, "listener": true, "direction": true, "date": true, "time": true, "hour": true, "weekday": true, "text": true,
	"spf": true, "spf_domain": true, "dkim_domains": true, "dmarc": true, "dmarc_domain": true, // no check of these is about content
	"id": true, "type": true, "media_type": true, "disposition": true, "names": true, "ext": true, "depth": true, "path": true,
	"member": true, "around": true, "sha256": true, "is": true, "pathIs": true, "named": true, "inList": true, "part": true,
}

// CheckScope returns what is wrong with the rule and the check that an exception names: there are none such, or the
// rule is for a stage before there is a message. Otherwise it returns nil.
func (p *Policy) CheckScope(s exceptions.Scope) error {
	if s.Rule != "" {
		i := slices.IndexFunc(p.rules, func(r *rule) bool { return r.name == s.Rule })
		if i < 0 {
			var known []string
			for _, r := range p.rules {
				known = append(known, r.name)
			}
			return errors.New(unknown("rule", s.Rule, known))
		}
		if at := p.rules[i].stage; at != eml.AtData {
			return fmt.Errorf("rule %q is asked at stage %q, when there is no message to except", s.Rule, at)
		}
	}
	if s.Check != "" {
		v := &vocabulary{checks: p.checks}
		if _, wrong := v.pattern(s.Check); wrong != "" {
			return errors.New(wrong)
		}
	}
	return nil
}
