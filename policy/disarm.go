package policy

import (
	"fmt"
	"strings"

	"rastel/sanitize/eml"
)

// A disarming is a document that findings are taken out of: an entity, whatever in it they are about.
type disarming struct {
	part     *eml.Part
	rule     string // the first that says so
	findings []eml.Finding
}

// disarm notes what is to be taken out of documents. A finding with a fix of its own is fixed by that;
// of all others the editor is asked, for each document once.
func (c *changes) disarm(r *rule, ch *change, parts []*part) string {
	patterns := ch.patterns
	if patterns == nil {
		patterns = r.condition.patterns
	}
	n, docs := 0, []string(nil)
	for _, p := range parts {
		for _, f := range p.findings {
			switch {
			case len(patterns) > 0 && !matchAny(patterns, f.Check), c.isStripped(p.Part):
			case p.ReadFrom() != nil && !p.ReadFrom().NoParts():
				// written anew if it is delivered, without what another reading makes of it
			case len(f.Fix) > 0 && !p.Member():
				c.found = append(c.found, f.Fix...)
				n += len(f.Fix)
			default:
				if d, added := c.disarming(r, p.Carrier()); d.add(f.Finding) && added {
					docs = append(docs, d.part.ID)
				}
			}
		}
	}
	if len(docs) == 0 {
		return fmt.Sprintf("%s: %d edits", ch, n)
	}
	return fmt.Sprintf("%s: %d edits, and all of it in %s", ch, n, strings.Join(docs[:min(len(docs), maxTraced)], ", "))
}

// disarming gives that of an entity, and reports whether it is a new one.
func (c *changes) disarming(r *rule, p *eml.Part) (d *disarming, added bool) {
	for _, d := range c.arms {
		if d.part == p {
			return d, false
		}
	}
	d = &disarming{part: p, rule: r.name}
	c.arms = append(c.arms, d)
	if c.editor == nil {
		c.fail(r.name, errNoEditor)
	}
	return d, true
}

// add adds a finding, once.
func (d *disarming) add(f *eml.Finding) bool {
	for i := range d.findings {
		if g := &d.findings[i]; g.Check == f.Check && g.Part == f.Part && g.Detail == f.Detail {
			return false
		}
	}
	d.findings = append(d.findings, *f)
	return true
}

// disarmed makes the edits of all documents that are disarmed and delivered. What cannot be taken out
// fails: the message must not go on with it.
func (c *changes) disarmed() (edits []eml.Edit) {
	for _, d := range c.arms {
		if c.isStripped(d.part) || c.err != nil {
			continue
		}
		list, err := c.editor.Disarm(d.part, d.findings)
		if err != nil {
			c.fail(d.rule, fmt.Errorf("disarm part %s: %w", d.part.ID, err))
		}
		edits = append(edits, list...)
	}
	return edits
}
