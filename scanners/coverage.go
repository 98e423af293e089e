package scanners

import (
	"cmp"
	"slices"
	"strings"

	"rastel/sanitize/eml"
)

// A Look tells whether an engine has examined the content of a part.
type Look struct {
	Part     *eml.Part
	Engine   string // as in Named
	Examined bool
	Why      string // if not: why not; if so: how, where that is not plain
}

// WithMessage is what a Partial says of a part that ScanMessage examines as a piece of the message.
const WithMessage = "with the message"

// Partial is an Engine that tells why it does not examine a part that has content: for people, such as
// its type, or WithMessage. Empty if there is nothing to tell.
type Partial interface {
	Engine
	Passes(p *eml.Part) (why string)
}

// look notes what came of asking an engine about a leaf. What is empty is nothing to examine.
func (r *Run) look(n *Named, p *eml.Part, findings []eml.Finding, err error) {
	e, ok := n.Scanner.(Engine)
	if !ok || !p.Leaf() || p.Size == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	l := Look{Part: p, Engine: n.Name}
	switch {
	case err != nil:
		l.Why = err.Error()
	case !e.Examines(p):
		l.Why = "not asked"
		if e, ok := e.(Partial); ok {
			l.Why = cmp.Or(e.Passes(p), l.Why)
		}
	default:
		l.Examined, l.Why = unread(findings)
	}
	r.report.Looks = append(r.report.Looks, l)
}

// lookAtMessage notes the same of the message as a whole, which stands for its root.
func (r *Run) lookAtMessage(n *Named, root *eml.Part, findings []eml.Finding, err error) {
	if _, ok := n.Scanner.(Engine); !ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	l := Look{Part: root, Engine: n.Name}
	if l.Examined, l.Why = unread(findings); err != nil {
		l.Examined, l.Why = false, err.Error()
	}
	r.whole = append(r.whole, l)
}

// unread tells whether an engine has read all, by what it found.
func unread(findings []eml.Finding) (read bool, why string) {
	for _, f := range findings {
		if f.Unexamined {
			return false, f.Check + ": " + f.Detail
		}
	}
	return true, ""
}

// settleLooks has what is examined with the message share what came of that, and sorts.
func (r *Run) settleLooks() {
	for i := range r.report.Looks {
		l := &r.report.Looks[i]
		if l.Examined || l.Why != WithMessage {
			continue
		}
		for _, w := range r.whole {
			if w.Engine == l.Engine {
				l.Examined = w.Examined
				if !w.Examined {
					l.Why = WithMessage + ": " + w.Why
				}
			}
		}
	}
	slices.SortStableFunc(r.report.Looks, func(a, b Look) int {
		return cmp.Or(compareIDs(a.Part.ID, b.Part.ID), strings.Compare(a.Engine, b.Engine))
	})
}
