package policy

import (
	"strings"
	"testing"
	"time"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

const signaturesFile = `
signatures:
  - {match: "Win.Packed.*", as: ignore, owner: alice@example.org, reason: our installer, until: 2026-12-31}
  - {match: "Heuristics.Phishing.*", as: clamd/pua, owner: bob, reason: newsletters of the bank, until: 2026-12-31}
  - {match: Old.Thing-1, as: ignore, owner: carol, reason: was wrong for a week, until: 2026-11-24}
rules:
  - name: malware
    when: has("clamd/malware", "clamd/phishing")
    then: reject
  - name: unwanted
    when: has("clamd/pua") and not unexamined()
    then: discard
`

func TestSignaturesCountAsThePolicySays(t *testing.T) {
	opt := Options{Now: func() time.Time { return time.Date(2026, 11, 25, 12, 0, 0, 0, time.Local) }}
	for _, c := range []string{"clamd/malware", "clamd/phishing", "clamd/pua", "clamd/all", "clamd/ignored", "clamd/limit", "icap/malware"} {
		opt.Checks = append(opt.Checks, eml.Check{ID: c})
	}
	p, err := Load("p.yaml", []byte(signaturesFile), opt)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ findings, action, trace string }{
		{"clamd/malware Win.Trojan", "reject", ""},
		{"clamd/malware Win.Packed.X", "quarantine", "not examined any further"}, // it may hide another
		{"clamd/malware Win.Packed.X, clamd/all 1", "accept", "Win.Packed.* as ignore (alice@example.org, until 2026-12-31)"},
		{"clamd/malware Win.Packed.X.UNOFFICIAL, clamd/all 1", "accept", "alice"},
		{"clamd/malware Win.Packed.X(44d8:68), clamd/all 1", "accept", "alice"},
		{"clamd/malware Win.Packed.X/Y, clamd/all 1", "accept", "alice"},
		{"clamd/malware Win.Packed.X, clamd/malware Win.Trojan, clamd/all 2", "reject", "alice"},
		{"clamd/malware win.packed.x, clamd/all 1", "reject", ""},
		{"clamd/malware A.Win.Packed.X, clamd/all 1", "reject", ""},
		{"icap/malware Win.Packed.X, clamd/all 1", "accept", ""}, // no rule is for it, and no exception
		{"clamd/limit Win.Packed.X, clamd/all 1", "quarantine", ""},
		{"clamd/phishing Heuristics.Phishing.Email, clamd/all 1", "discard", "as clamd/pua (bob"},
		{"clamd/phishing Heuristics.Phishing.Email", "quarantine", "not examined any further"},
		{"clamd/malware Old.Thing-1, clamd/all 1", "reject", "does not hold any more: Old.Thing-1 as ignore (carol, until 2026-11-24)"},
	} {
		m := parse(t, "Subject: s\r\n\r\ntext\r\n")
		var r scanners.Report
		for f := range strings.SplitSeq(tt.findings, ", ") {
			check, detail, _ := strings.Cut(f, " ")
			x := eml.Finding{Check: check, Part: m.Root, Detail: detail, Unexamined: check == "clamd/limit"}
			r.Findings = append(r.Findings, x)
			if x.Unexamined {
				r.Unexamined = append(r.Unexamined, eml.Unexamined{Part: m.Root, Why: check})
			}
		}
		before := r.Findings[0]
		v := p.Decide(m, r)
		if v.Action.String() != tt.action {
			t.Errorf("%s: got %v, want %s; %+v", tt.findings, v.Action, tt.action, v.Trace)
		}
		var trace string
		for _, s := range v.Trace {
			if s.Rule == stepSignatures {
				trace += s.Why
			}
		}
		if !strings.Contains(trace, tt.trace) || (trace == "") != (tt.trace == "") {
			t.Errorf("%s: trace %q, want %q in it", tt.findings, trace, tt.trace)
		}
		if r.Findings[0].Check != before.Check || r.Findings[0].Unexamined != before.Unexamined {
			t.Errorf("%s: the report was changed", tt.findings)
		}
	}
	if got := p.Expired(opt.Now()); len(got) != 1 || !strings.HasPrefix(got[0], "Old.Thing-1") {
		t.Errorf("expired: %q, want Old.Thing-1", got)
	}
	if got := p.Expired(time.Date(2026, 12, 31, 23, 59, 0, 0, time.Local)); len(got) != 1 {
		t.Errorf("expired on the last day: %q", got)
	}
	if got := p.Expired(time.Date(2027, 1, 1, 0, 0, 0, 0, time.Local)); len(got) != 3 {
		t.Errorf("expired after it: %q", got)
	}
}
