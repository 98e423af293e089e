package policy

import (
	"encoding/hex"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// facts are what the conditions of one policy see of one message. They are worked out when
// they are asked for.
type facts struct {
	msg        *eml.Message
	findings   []*finding
	unexamined []eml.Unexamined
	recipient  string   // that a rule is asked for
	plain      []string // see plainRecipients; nil until it is needed
	parts      []*part
	part       *part // the part that a condition is asked for
	texts      map[string][]string
	forms      func(name string) []string    // see Options.Forms; may be nil
	hostOf     func(*eml.Message) netip.Addr // see Options.Host; may be nil
	host       netip.Addr
	hostKnown  bool
	spent
	made      int     // bytes, see maxMade
	textBytes int     // of texts of parts, see maxTextOfAll
	args      [2]any  // of the function that is called
	failed    nearest // the clause that was not true
	known     memo
	policy    *Policy
	goes      string              // see direction; empty until it is needed
	excepted  []Step              // what exceptions for signatures came to
	index     map[*eml.Part]*part // of parts; nil until it is needed
}

// A spent is what all conditions have cost for one message, and when they were asked.
type spent struct {
	steps    int       // rounds of loops, see maxRounds
	read     int       // bytes, see maxRead
	compared int       // names with patterns, see maxCompared
	clock    time.Time // zero until it is needed
}

// A part is what conditions see of a part.
type part struct {
	*eml.Part
	facts      *facts
	findings   []*finding
	unexamined []eml.Unexamined
	engines    []string // that have examined it
	short      []string // names as patterns are compared with
	named      bool     // short is known
	text       string   // see content
	textKnown  bool
	exts       []string // see extensions
	extsKnown  bool
	path       []string // see types; nil until it is needed
}

// A finding is what conditions see of a finding.
type finding struct {
	*eml.Finding
	part *part
}

func newFacts(m *eml.Message, r scanners.Report, p *Policy) *facts {
	f := &facts{msg: m, unexamined: r.Unexamined, forms: p.forms, hostOf: p.host, policy: p}
	m.Root.Walk(func(p *eml.Part) bool {
		f.parts = append(f.parts, &part{Part: p, facts: f})
		return true
	})
	if len(r.Findings) == 0 && len(r.Unexamined) == 0 && len(r.Looks) == 0 {
		return f
	}
	for i := range r.Findings {
		g := &r.Findings[i]
		if len(p.signatures) > 0 {
			if g = f.except(p, r.Findings, g); g == nil {
				continue
			}
		}
		q := f.of(g.Part)
		x := &finding{g, q}
		q.findings = append(q.findings, x)
		f.findings = append(f.findings, x)
	}
	for _, u := range f.unexamined {
		p := f.of(u.Part)
		p.unexamined = append(p.unexamined, u)
	}
	for _, l := range r.Looks {
		if p := f.of(l.Part); l.Examined {
			p.engines = append(p.engines, l.Engine)
		}
	}
	return f
}

// except is what a finding counts as by the exceptions of the policy; nil if it does not count.
func (f *facts) except(p *Policy, all []eml.Finding, g *eml.Finding) *eml.Finding {
	x, why := p.except(g, told(all, g), f.time())
	if why == "" {
		return x
	}
	part := f.of(g.Part)
	if len(f.excepted) < maxTraced {
		f.excepted = append(f.excepted, Step{Rule: stepSignatures, Part: part.ID, Matched: true, Why: why})
	}
	if x != nil && x.Unexamined && !g.Unexamined {
		u := eml.Unexamined{Part: x.Part, Why: x.Check + ": " + x.Detail}
		f.unexamined = append(slices.Clip(f.unexamined), u)
	}
	return x
}

// of gives the part of a finding. One that is not in the tree is added, so that no rule passes it
// over.
func (f *facts) of(p *eml.Part) *part {
	if p == nil {
		p = f.msg.Root
	}
	if f.index == nil {
		f.index = make(map[*eml.Part]*part, len(f.parts))
		for _, q := range f.parts {
			f.index[q.Part] = q
		}
	}
	known, ok := f.index[p]
	if !ok {
		known = &part{Part: p, facts: f}
		f.index[p] = known
		f.parts = append(f.parts, known)
	}
	return known
}

// header gives the decoded values of all fields of that name, without folds. They are kept: a rule for parts
// asks for the same ones again and again.
func (f *facts) header(name string) []string {
	name = strings.ToLower(name)
	if v, ok := f.texts[name]; ok {
		return v
	}
	h := &f.msg.Root.Header
	var values []string
	for field := range h.All(name) {
		values = append(values, oneBlank(eml.DecodeWords(h.Value(field))))
	}
	if f.texts == nil {
		f.texts = map[string][]string{}
	}
	f.texts[name] = values
	return values
}

// oneBlank makes one blank of each run of blanks and tabs: where a field is folded, and with what, is up to
// the program that wrote it.
func oneBlank(s string) string {
	if !strings.Contains(s, "\t") && !strings.Contains(s, "  ") {
		return s
	}
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == '\t' }), " ")
}

func (f *facts) first(name string) string {
	if v := f.header(name); len(v) > 0 {
		return v[0]
	}
	return ""
}

func (f *facts) client() string {
	if c := f.msg.Envelope.Client; c.IsValid() {
		return c.Unmap().String()
	}
	return ""
}

// hostAddr is the address of the host that the message comes from.
func (f *facts) hostAddr() netip.Addr {
	if !f.hostKnown {
		f.hostKnown, f.host = true, f.msg.Envelope.Client
		if f.hostOf != nil {
			f.host = f.hostOf(f.msg)
		}
	}
	return f.host
}

func (f *facts) hostText() string {
	if a := f.hostAddr(); a.IsValid() {
		return a.Unmap().String()
	}
	return ""
}

// base is the file name that a client makes of a name: without directories, blanks and dots
// at the end, which Windows drops, in lower case.
func base(name string) string {
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	return strings.ToLower(strings.TrimRight(name, ". \t\r\n\x00"))
}

// bases are the names of the part as patterns are compared with: each as it stands and in all
// readings by which some desktop opens it.
func (p *part) bases() []string {
	if p.named {
		return p.short
	}
	p.named = true
	for _, n := range p.Names {
		list := []string{base(n)}
		if p.facts.forms != nil {
			list = append(list, p.facts.forms(n)...)
		}
		for _, s := range list {
			if !slices.Contains(p.short, s) {
				p.short = append(p.short, s)
			}
		}
	}
	return p.short
}

// extensions are what follows the last dot of each name.
func (p *part) extensions() []string {
	if p.extsKnown {
		return p.exts
	}
	p.extsKnown = true
	for _, n := range p.Names {
		n = base(n)
		if e := path.Ext(n); len(e) > 1 {
			p.exts = append(p.exts, e[1:])
		}
	}
	return p.exts
}

// types is the path of the part.
func (p *part) types() []string {
	if p.path == nil {
		p.path = p.Path()
	}
	return p.path
}

// around are the parts that the part is in, the innermost first.
func (p *part) around() []*part {
	var out []*part
	for q := p.Parent; q != nil; q = q.Parent {
		out = append(out, p.facts.of(q))
	}
	return out
}

func (p *part) sha256() string {
	if !p.Leaf() {
		return ""
	}
	return hex.EncodeToString(p.SHA256[:])
}

// examinedBy reports whether one of these engines has examined the content, if there is any.
func (p *part) examinedBy(engines []string) bool {
	return !p.Leaf() || p.Size == 0 || slices.ContainsFunc(engines, func(e string) bool { return slices.Contains(p.engines, e) })
}

// is reports whether the content is of one of these types or groups.
func (p *part) is(words []string) bool { return slices.ContainsFunc(words, p.Is) }

// maxPathWords is how many words a pattern of a path has at most.
const maxPathWords = 40

// pathIs reports whether its path is like one of the patterns.
func (p *part) pathIs(patterns [][]string) (bool, error) {
	path := p.types()
	for _, words := range patterns {
		if err := p.facts.spend(perMatch * len(words) * len(path)); err != nil {
			return false, err
		}
		if pathMatches(words, path) {
			return true, nil
		}
	}
	return false, nil
}

// pathMatches compares word by word. What "**" stands for is made longer only from the last one on,
// so the cost is at most the product of the lengths.
func pathMatches(words, path []string) bool {
	w, star, next := 0, -1, 0
	for i := 0; i < len(path); {
		switch {
		case w < len(words) && words[w] == "**":
			star, next = w, i
			w++
		case w < len(words) && (words[w] == "*" || eml.TypeIs(path[i], words[w])):
			w++
			i++
		case star >= 0:
			next++
			w, i = star+1, next
		default:
			return false
		}
	}
	for w < len(words) && words[w] == "**" {
		w++
	}
	return w == len(words)
}
