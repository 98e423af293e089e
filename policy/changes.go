package policy

import (
	"errors"
	"fmt"
	"slices"

	"rastel/sanitize/eml"
)

// changes collects what the rules change in a message, until it is known whether the message
// is delivered.
type changes struct {
	root    *eml.Part
	editor  Editor
	found   []eml.Edit             // by defang
	strips  []eml.Edit             // the edits that strip
	gone    map[*eml.Part]struct{} // entities that are stripped
	renamed map[*eml.Part]*renaming
	names   []*renaming // the same, in the order of the rules
	tags    []string
	fields  []change
	hold    bool
	failed  string // the first rule whose changes could not be made
	err     error  // and why
}

// A renaming is what rename or mangle does to an entity.
type renaming struct {
	kind  string // the change
	edits []eml.Edit
}

var errNoEditor = errors.New("there is no editor")

// make takes one change of a rule and tells what came of it. The parts are those that the
// rule acts on.
func (c *changes) make(r *rule, ch *change, parts []*part) string {
	switch ch.kind.name {
	case wordDefang:
		return c.defang(r, ch, parts)
	case wordStrip:
		return c.strip(r, ch, parts[0].Part)
	case wordRename, wordMangle:
		return c.rename(r, ch, parts[0].Part)
	case wordHeader:
		c.fields = append(c.fields, *ch)
	case wordTag:
		c.tags = append(c.tags, ch.text)
	case wordHold:
		c.hold = true
	}
	return ch.String()
}

// fail records the first change that could not be made.
func (c *changes) fail(r *rule, err error) {
	if c.err == nil {
		c.failed, c.err = r.name, err
	}
}

// defang applies the fixes of findings. A finding without one, or in a member, cannot be made
// harmless in place; then the entity that carries it is stripped.
func (c *changes) defang(r *rule, ch *change, parts []*part) string {
	patterns := ch.patterns
	if patterns == nil {
		patterns = r.condition.patterns
	}
	n, unfixed := 0, 0
	for _, p := range parts {
		for _, f := range p.findings {
			switch {
			case len(patterns) > 0 && !matchAny(patterns, f.Check):
			case p.ReadFrom() != nil && !p.ReadFrom().NoParts():
				// written anew if it is delivered, without what another reading makes of it
			case len(f.Fix) > 0 && !p.Member():
				c.found = append(c.found, f.Fix...)
				n += len(f.Fix)
			case !c.isStripped(p.Part):
				c.stripCarrier(r, ch, p.Part)
				unfixed++
			}
		}
	}
	if unfixed > 0 {
		return fmt.Sprintf("%s: %d edits, and stripped %d parts with findings that have no fix", ch, n, unfixed)
	}
	return fmt.Sprintf("%s: %d edits", ch, n)
}

// strip replaces a part by a notice; of a member the entity that carries it.
func (c *changes) strip(r *rule, ch *change, p *eml.Part) string {
	if c.isStripped(p) {
		return fmt.Sprintf("%s: %s is stripped already", ch, p.Carrier().ID)
	}
	c.stripCarrier(r, ch, p)
	return fmt.Sprintf("%s %s", ch, p.Carrier().ID)
}

func (c *changes) stripCarrier(r *rule, ch *change, p *eml.Part) {
	p = p.Carrier()
	if c.gone == nil {
		c.gone = map[*eml.Part]struct{}{}
	}
	c.gone[p] = struct{}{}
	if c.editor == nil {
		c.fail(r, errNoEditor)
		return
	}
	reason := r.name
	if ch.kind.name == wordStrip && ch.text != "" {
		reason = ch.text
	}
	edits, err := c.editor.Strip(p, reason)
	if err != nil {
		c.fail(r, err)
		return
	}
	c.strips = append(c.strips, edits...)
}

// rename gives an entity a harmless name; mangle, which is more, takes the place of an earlier
// rename. That of a member is inside its container, so the
// container is stripped.
func (c *changes) rename(r *rule, ch *change, p *eml.Part) string {
	if p.Member() {
		return fmt.Sprintf("%s: a name in an archive cannot be changed: %s", ch, c.strip(r, ch, p))
	}
	before := c.renamed[p]
	if before != nil && (before.kind == ch.kind.name || before.kind == wordMangle) {
		return fmt.Sprintf("%s: %s is renamed already", ch, p.ID)
	}
	if c.editor == nil {
		c.fail(r, errNoEditor)
		return ch.String()
	}
	name := c.editor.Rename
	if ch.kind.name == wordMangle {
		name = c.editor.Mangle
	}
	edits, err := name(p)
	if err != nil {
		c.fail(r, err)
		return ch.String()
	}
	if before == nil {
		before = &renaming{}
		c.names = append(c.names, before)
	}
	before.kind, before.edits = ch.kind.name, edits
	if c.renamed == nil {
		c.renamed = map[*eml.Part]*renaming{}
	}
	c.renamed[p] = before
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

// edits are all edits that the changes come to. Those of parts that are stripped are left
// out: they would change bytes that are not there any more. The header of the message itself
// stays when its body is stripped, so its edits do too, unless they are of the same fields.
func (c *changes) edits() []eml.Edit {
	out := append([]eml.Edit(nil), c.strips...)
	found := slices.Clone(c.found)
	for _, n := range c.names {
		found = append(found, n.edits...)
	}
	for _, e := range found {
		if e.Part == c.root && e.Region == eml.InHeader && !cutsInto(e, c.strips) || !c.isStripped(e.Part) {
			out = append(out, e)
		}
	}
	if len(c.tags) > 0 {
		out = tagSubject(c.root, c.tags, out)
	}
	for i := range c.fields {
		f := &c.fields[i]
		if e, ok := fieldEdit(c.root, f.name, f.value); ok {
			out = append(out, e)
		}
	}
	return out
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
