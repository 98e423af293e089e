package main

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"rastel/cmd/rastel/api"
	"rastel/policy"
	"rastel/policy/engine"
	"rastel/policy/quarantine"
	"rastel/sanitize/eml"
	"rastel/scanners"
)

// evidenceOf is the record of the message of an item; nil if there is none.
func evidenceOf(ctx context.Context, client *api.Client, id string) (*engine.Evidence, error) {
	e, err := client.Evidence(ctx, id)
	var none *api.Error
	if errors.As(err, &none) && none.Status == http.StatusNotFound {
		err = nil // what an older version has held has none
	}
	return e, err
}

// recall adds to a report what is on record of scanners that do not run now, so that it counts as it did.
func (r *replay) recall(m *oldMessage, msg *eml.Message, report *scanners.Report) {
	parts := map[string]*eml.Part{}
	msg.Root.Walk(func(p *eml.Part) bool { parts[p.ID] = p; return true })
	// A part that is not there any more was in what is not opened now, so what was found is about the message.
	part := func(id string) *eml.Part {
		if p := parts[id]; p != nil {
			return p
		}
		return msg.Root
	}
	running := map[string]bool{}
	for _, l := range report.Looks {
		running[l.Engine] = true
	}
	var found []eml.Finding
	for _, f := range m.findings() {
		if !slices.Contains(r.checks, f.Check) {
			found = append(found, eml.Finding{Check: f.Check, Part: part(f.Part), Detail: f.Detail, Unexamined: engine.CountsAsUnexamined(f.Check)})
		}
	}
	if m.evidence != nil {
		for _, e := range m.evidence.Engines {
			if !running[e.Engine] {
				report.Looks = append(report.Looks, looks(&e, msg)...)
				found = append(found, failures(&e, m.evidence, part, report)...)
			}
		}
	}
	report.Merge(found)
}

// findings are those on record.
func (m *oldMessage) findings() []quarantine.Finding {
	if m.evidence == nil {
		return m.item.Findings
	}
	out := make([]quarantine.Finding, len(m.evidence.Findings))
	for i, f := range m.evidence.Findings {
		out[i] = quarantine.Finding{Check: f.Check, Part: f.Part, Detail: f.Detail}
	}
	return out
}

// looks are what an engine has examined. If not all that it has not examined is on record, nobody knows of any part
// that it has.
func looks(e *engine.EvidenceEngine, m *eml.Message) (out []scanners.Look) {
	gaps := map[string]string{}
	for _, g := range e.Gaps {
		gaps[g.Part] = g.Why
	}
	all := e.Parts-e.Examined <= len(e.Gaps)
	m.Root.Walk(func(p *eml.Part) bool {
		if why, gap := gaps[p.ID]; p.Leaf() && p.Size > 0 {
			out = append(out, scanners.Look{Part: p, Engine: e.Engine, Examined: all && !gap, Why: why})
		}
		return true
	})
	return out
}

// failures are what an engine could not examine. What it could not for now, it could not for now then.
func failures(e *engine.EvidenceEngine, ev *engine.Evidence, part func(string) *eml.Part, report *scanners.Report) (out []eml.Finding) {
	for _, u := range ev.Unexamined {
		for _, check := range []string{"scan/failed", "scan/limit"} {
			detail, ok := strings.CutPrefix(u.Why, check+": ")
			if !ok || !strings.HasPrefix(detail, e.Engine+": ") {
				continue
			}
			out = append(out, eml.Finding{Check: check, Part: part(u.Part), Detail: detail})
			report.Unexamined = append(report.Unexamined, eml.Unexamined{Part: part(u.Part), Why: u.Why, Temporary: u.Temporary})
		}
	}
	return out
}

// thenFate is what is on record of what was decided then. What is not, is not compared.
func (m *oldMessage) thenFate() replayFate {
	it := m.item
	f := replayFate{"action": policy.Quarantine.String(), "rule": ruleName(it.Rule)}
	if it.Held {
		f["action"] = policy.Accept.String()
	}
	if it.Class != quarantine.SampleClass {
		f["class"] = it.Class
	}
	if v := m.verdict(); v != nil {
		f["action"], f["rule"], f["class"] = v.Action, ruleName(v.Rule), v.Class
	}
	return f
}

// verdict is that of the record for the recipients of the item; nil if there is none.
func (m *oldMessage) verdict() *engine.EvidenceVerdict {
	if m.evidence == nil {
		return nil
	}
	for i := range m.evidence.Verdicts {
		v := &m.evidence.Verdicts[i]
		if len(v.Recipients) == 0 || len(m.item.Recipients) > 0 && slices.Contains(v.Recipients, m.item.Recipients[0]) {
			return v
		}
	}
	return nil
}
