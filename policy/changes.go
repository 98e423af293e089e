package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"rastel/sanitize/eml"
)

// changes collects what the rules change in a message, until it is known whether the message
// is delivered.
type changes struct {
	root      *eml.Part
	editor    Editor
	found     []eml.Edit             // by defang
	mends     []eml.Edit             // by defang, of findings about header fields
	arms      []*disarming           // documents that are disarmed, in their order
	gone      map[*eml.Part]*removal // entities that are stripped
	removed   []*removal             // the same, in their order
	strips    []eml.Edit             // the edits that strip them, once it is known whether the original is kept
	item      string                 // what the original is called in quarantine, once that is known
	renamed   map[*eml.Part]*renaming
	names     []*renaming          // the same, in the order of the rules
	langs     []string             // of the policy
	texts     []string             // of all its banners
	written   map[*eml.Part]string // entities that are written anew, and how
	rewrote   []eml.Edit           // by clean and text
	tags      []string
	banners   []banner
	fields    []change
	hold      bool
	route     route
	class     string        // of what is held
	retention time.Duration // of what is held
	notices   []Notification
	mtaHold   string // why the MTA is to keep it
	failed    string // the first rule whose changes could not be made
	err       error  // and why
}

// A renaming is what rename or mangle does to an entity.
type renaming struct {
	Renaming
	kind   string // the change
	edits  []eml.Edit
	rule   *rule
	told   bool // to the reader
	signed bool // also in what is signed
}

// unsafeHTML are the checks of what clean and text would take out.
var unsafeHTML = []*pattern{{text: "html/*", glob: true}}

var errNoEditor = errors.New("there is no editor")

// A removal is an entity that is stripped, and why.
type removal struct {
	Removal
	part *eml.Part
	rule string
}

// A banner is one that is to be put in.
type banner struct {
	Banner
	rule   string
	signed bool // also into what is signed
}

// make takes one change of a rule and tells what came of it. The parts are those that the
// rule acts on.
func (c *changes) make(r *rule, ch *change, parts []*part) string {
	switch ch.kind.name {
	case wordDefang:
		return c.defang(r, ch, parts)
	case wordDisarm:
		return c.disarm(r, ch, parts)
	case wordStrip:
		return c.strip(r, ch, parts[0])
	case wordRename, wordMangle:
		return c.rename(r, ch, parts[0])
	case wordClean, wordText:
		return c.rewrite(r, ch, parts[0])
	case wordHeader, wordSetHeader, wordRemoveHeader:
		c.fields = append(c.fields, *ch)
	case wordTag:
		c.tags = append(c.tags, ch.text)
	case wordBanner:
		c.addBanner(r, ch)
	case wordHold:
		c.hold = true
		c.class, c.retention = cmp.Or(c.class, r.class), cmp.Or(c.retention, r.retention)
	case wordRedirect, wordAddRecipient, wordRemoveRecipient:
		c.route.change(ch)
	case wordMTAHold:
		c.mtaHold = cmp.Or(c.mtaHold, ch.text, r.name)
	case wordNotify:
		return c.addNotice(r, ch)
	}
	return ch.String()
}

// fail records the first change that could not be made.
func (c *changes) fail(rule string, err error) {
	if c.err == nil {
		c.failed, c.err = rule, err
	}
}

// defang applies the fixes of findings. A finding without one, or in a member, cannot be made
// harmless in place; then the entity that carries it is stripped.
func (c *changes) defang(r *rule, ch *change, parts []*part) string {
	patterns := ch.patterns
	if patterns == nil {
		patterns = r.condition.patterns
	}
	n, unfixed := 0, map[*eml.Part]bool{}
	for _, p := range parts {
		for _, f := range p.findings {
			switch {
			case len(patterns) > 0 && !matchAny(patterns, f.Check):
			case p.ReadFrom() != nil && !p.ReadFrom().NoParts():
				// written anew if it is delivered, without what another reading makes of it
			case len(f.Fix) > 0 && !p.Member():
				if strings.HasPrefix(f.Check, "header/") {
					c.mends = append(c.mends, f.Fix...)
				} else {
					c.found = append(c.found, f.Fix...)
				}
				n += len(f.Fix)
			case !c.isStripped(p.Part) || unfixed[p.Carrier()]:
				c.stripCarrier(r, ch, p.Part, *f.Finding)
				unfixed[p.Carrier()] = true
			}
		}
	}
	if len(unfixed) > 0 {
		return fmt.Sprintf("%s: %d edits, and stripped %d parts with findings that have no fix", ch, n, len(unfixed))
	}
	return fmt.Sprintf("%s: %d edits", ch, n)
}

// strip replaces a part by a notice; of a member the entity that carries it.
func (c *changes) strip(r *rule, ch *change, p *part) string {
	var asked, all []eml.Finding
	for _, f := range p.findings {
		if all = append(all, *f.Finding); matchAny(r.condition.patterns, f.Check) {
			asked = append(asked, *f.Finding)
		}
	}
	if len(asked) == 0 {
		asked = all
	}
	already := c.isStripped(p.Part)
	if _, ok := c.gone[p.Carrier()]; ok || !already {
		c.stripCarrier(r, ch, p.Part, asked...)
	}
	if already {
		return fmt.Sprintf("%s: %s is stripped already", ch, p.Carrier().ID)
	}
	return fmt.Sprintf("%s %s", ch, p.Carrier().ID)
}

// maxToldFindings is how many findings a notice may be given; it tells fewer.
const maxToldFindings = 100

// stripCarrier notes that an entity is stripped; the first rule that says so gives the reason, and
// all of them the findings.
func (c *changes) stripCarrier(r *rule, ch *change, p *eml.Part, why ...eml.Finding) {
	p = p.Carrier()
	s := c.gone[p]
	if s == nil {
		s = &removal{part: p, rule: r.name}
		s.Reason, s.Languages = r.name, c.languages(r)
		if ch.text != "" { // of rename and mangle too, which cannot change a name in an archive
			s.Reason = ch.text
		}
		if c.gone == nil {
			c.gone = map[*eml.Part]*removal{}
		}
		c.gone[p] = s
		c.removed = append(c.removed, s)
	}
	s.Findings = append(s.Findings, why[:min(len(why), maxToldFindings-len(s.Findings))]...)
	if c.editor == nil {
		c.fail(r.name, errNoEditor)
	}
}

// addBanner notes a banner, each text once.
func (c *changes) addBanner(r *rule, ch *change) {
	b := banner{ch.banner, r.name, ch.signed}
	b.Languages = c.languages(r)
	for _, o := range c.banners {
		if o.Text == b.Text && o.Name == b.Name {
			return
		}
	}
	c.banners = append(c.banners, b)
	if c.editor == nil {
		c.fail(r.name, errNoEditor)
	}
}

// putBanners puts the banners in. What is signed is told by its findings.
func (c *changes) putBanners(edits []eml.Edit, parts []*part, anew []*eml.Part) (all []eml.Edit, untold bool) {
	var signed, gone []*eml.Part
	for _, p := range parts {
		if slices.ContainsFunc(p.findings, func(f *finding) bool { return f.Check == "signed/smime" || f.Check == "signed/pgp" }) {
			signed = append(signed, p.Part)
		}
	}
	for _, s := range c.removed {
		gone = append(gone, s.part)
	}
	banners := slices.Clone(c.banners)
	if b := c.renamedNotice(); len(b.Renamed) > 0 {
		banners = append(banners, b)
	}
	if len(banners) == 0 {
		return edits, false
	}
	list := make([]Banner, len(banners))
	for i, b := range banners {
		list[i] = b.Banner
		list[i].Others, list[i].Anew = c.texts, anew
		if list[i].Keep = gone; !b.signed {
			list[i].Keep = slices.Concat(gone, signed)
		}
	}
	all, untold, err := c.editor.Banners(c.root, list, edits)
	if err != nil {
		c.fail(banners[0].rule, err)
	}
	return all, untold
}

// renamedNotice is the notice about all parts that get another name, in the languages of all rules that
// give them one.
func (c *changes) renamedNotice() banner {
	b := banner{}
	for _, n := range c.names {
		if !n.told || c.isStripped(n.Part) || !slices.ContainsFunc(n.edits, c.stays) {
			continue
		}
		if len(b.Renamed) == 0 {
			b.rule, b.Item = n.rule.name, c.item
		}
		b.Renamed = append(b.Renamed, n.Renaming)
		b.signed = b.signed || n.signed
		for _, l := range c.languages(n.rule) {
			if !slices.Contains(b.Languages, l) {
				b.Languages = append(b.Languages, l)
			}
		}
	}
	return b
}

// languages are those of the notices and banners of a rule.
func (c *changes) languages(r *rule) []string {
	if len(r.languages) > 0 {
		return r.languages
	}
	return c.langs
}

// makeStrips makes the edits of all that is stripped. The item is what the original is called in
// quarantine; empty if it is not kept.
func (c *changes) makeStrips(item string) {
	c.item = item
	for _, s := range c.removed {
		if c.err != nil {
			return
		}
		s.Item = item
		edits, err := c.editor.Strip(s.part, s.Removal)
		if err != nil {
			c.fail(s.rule, err)
		}
		c.strips = append(c.strips, edits...)
	}
}

// rename gives an entity a harmless name; mangle, which is more, takes the place of an earlier
// rename. That of a member is inside its container, so the
// container is stripped.
func (c *changes) rename(r *rule, ch *change, of *part) string {
	p := of.Part
	if p.Member() {
		return fmt.Sprintf("%s: a name in an archive cannot be changed: %s", ch, c.strip(r, ch, of))
	}
	before := c.renamed[p]
	if before != nil && (before.kind == ch.kind.name || before.kind == wordMangle) {
		return fmt.Sprintf("%s: %s is renamed already", ch, p.ID)
	}
	if c.editor == nil {
		c.fail(r.name, errNoEditor)
		return ch.String()
	}
	name := c.editor.Rename
	if ch.kind.name == wordMangle {
		name = c.editor.Mangle
	}
	edits, err := name(p)
	if err != nil {
		c.fail(r.name, err)
		return ch.String()
	}
	if before == nil {
		before = &renaming{rule: r}
		before.Part, before.Reason = p, r.name
		c.names = append(c.names, before)
	}
	before.kind, before.edits, before.Mangled = ch.kind.name, edits, ch.kind.name == wordMangle
	before.signed = before.signed || ch.signed
	if ch.notice && !before.told {
		before.told, before.rule, before.Reason = true, r, cmp.Or(ch.text, r.name)
	}
	if c.renamed == nil {
		c.renamed = map[*eml.Part]*renaming{}
	}
	c.renamed[p] = before
	return fmt.Sprintf("%s %s", ch, p.ID)
}

// rewrite writes an HTML part anew. Where that is not possible, what was found in it is defanged.
func (c *changes) rewrite(r *rule, ch *change, p *part) string {
	if how, done := c.written[p.Part]; done {
		return fmt.Sprintf("%s: %s is written anew already (%s)", ch, p.ID, how)
	}
	if how := c.written[p.Carrier()]; p.Member() && how == wordText {
		return fmt.Sprintf("%s: %s is gone, with all that was encoded in %s", ch, p.ID, p.Carrier().ID)
	}
	var edits []eml.Edit
	if !p.Member() && p.ReadFrom() == nil {
		if c.editor == nil {
			c.fail(r.name, errNoEditor)
			return ch.String()
		}
		var err error
		if edits, err = c.editor.Rewrite(p.Part, ch.kind.name == wordText); err != nil {
			c.fail(r.name, err)
			return ch.String()
		}
	}
	if edits == nil {
		return fmt.Sprintf("%s: %s is no HTML that can be written anew: %s", ch, p.ID, c.defang(r, &change{kind: find(changeKinds, wordDefang, changeName), patterns: unsafeHTML}, []*part{p}))
	}
	if c.written == nil {
		c.written = map[*eml.Part]string{}
	}
	c.written[p.Part] = ch.kind.name
	c.rewrote = append(c.rewrote, edits...)
	return fmt.Sprintf("%s %s", ch, p.ID)
}

// isStripped reports whether nothing of a part is delivered: it, or something that holds it,
// is stripped.
func (c *changes) isStripped(p *eml.Part) bool {
	for ; p != nil && len(c.gone) > 0; p = p.Parent {
		if _, ok := c.gone[p]; ok {
			return true
		}
	}
	return false
}

// edits are all edits that the changes come to, if those entities are written anew. Edits of parts
// that are stripped are left out: they would change bytes that are not there any more. The second
// result reports that the reader could not be told of new names.
func (c *changes) edits(parts []*part, anew []*eml.Part) (out []eml.Edit, untold bool) {
	out = append(out, c.strips...)
	for _, e := range c.rewrote {
		if !c.isStripped(e.Part) {
			out = append(out, e)
		}
	}
	found := c.disarmed()
	for _, n := range c.names {
		if !c.isStripped(n.Part) { // the notice in its place has a type and no name
			found = append(found, n.edits...)
		}
	}
	found = append(append(found, c.found...), c.mends...) // last: a new name wins over mending the field of the old one
	for _, e := range found {
		if c.stays(e) {
			out = append(out, e)
		}
	}
	out, untold = c.putBanners(out, parts, anew)
	if len(c.tags) > 0 {
		out = tagSubject(c.root, c.tags, out)
	}
	return headerEdits(c.root, c.fields, out), untold
}

// stays reports whether what an edit changes is still there after strips and rewriting. The header of
// the message itself stays when its body is stripped, so its edits do too, unless they are of the same
// fields.
func (c *changes) stays(e eml.Edit) bool {
	if _, written := c.written[e.Part]; written && (e.Region != eml.InHeader || cutsInto(e, c.rewrote)) {
		return false
	}
	return e.Part == c.root && e.Region == eml.InHeader && !cutsInto(e, c.strips) || !c.isStripped(e.Part)
}

// cutsInto reports whether an edit of a header changes bytes that one of the others changes.
func cutsInto(e eml.Edit, others []eml.Edit) bool {
	for _, o := range others {
		if o.Part == e.Part && o.Region == e.Region && (o.End == -1 || e.Start < o.End) && (e.End == -1 || o.Start < e.End) {
			return true
		}
	}
	return false
}
