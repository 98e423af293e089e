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

// WithMessage is why an engine passes over a part that ScanMessage examines as a piece of the message.
const WithMessage = "with the message"

// ask has an engine examine a part, unless it passes that over, and notes what came of it. What is empty
// is nothing to examine.
func (r *Run) ask(name string, e Engine, p *eml.Part) {
	why := ""
	findings, err := r.call(name, p, func() ([]eml.Finding, error) {
		if p.Leaf() && p.Size > 0 {
			why = e.Passes(p)
		}
		if why != "" {
			return nil, nil
		}
		return e.Scan(r.ctx, p)
	})
	if !p.Leaf() || p.Size == 0 {
		return
	}
	l := Look{Part: p, Engine: name, Why: why}
	if why == "" {
		l.Examined, l.Why = examined(findings, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Looks = append(r.report.Looks, l)
}

// lookAtMessage notes what came of having an engine examine the message as a whole, which stands for its
// root.
func (r *Run) lookAtMessage(n *Named, root *eml.Part, findings []eml.Finding, err error) {
	if _, ok := n.Scanner.(Engine); !ok {
		return
	}
	l := Look{Part: root, Engine: n.Name}
	l.Examined, l.Why = examined(findings, err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.whole = append(r.whole, l)
}

// examined tells whether an engine has read all, by what came of asking it.
func examined(findings []eml.Finding, err error) (all bool, why string) {
	if err != nil {
		return false, err.Error()
	}
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
