package policy

import (
	"slices"
	"strings"
	"testing"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// noticesOf are the notices of a verdict: rule, recipients, and whether they are full.
func noticesOf(v *Verdict) string {
	var out []string
	for _, n := range v.Notices {
		s := n.Rule + ":" + strings.Join(n.To, ",")
		if n.Full {
			s += " full"
		}
		if n.Text != "" {
			s += " " + n.Text
		}
		out = append(out, s)
	}
	return strings.Join(out, "; ")
}

func TestNotices(t *testing.T) {
	m := parse(t, threeParts)
	m.Envelope.AuthUser, m.Envelope.Recipients = "", []string{"b@example.net", "a@example.net"}
	for _, tt := range []struct{ rules, want string }{
		{`{name: x, when: true, then: quarantine, do: [{notify: p@example.org}]}`, "x:p@example.org"},
		{`{name: x, when: true, then: reject, do: [{notify: [q@example.org, p@example.org]}]}`, "x:p@example.org,q@example.org"},
		{`{name: x, when: true, then: discard, do: [{notify: {to: p@example.org, full: yes, text: Look.}}]}`, "x:p@example.org full Look."},
		{`{name: x, when: true, do: [{notify: {to: [recipients, a@example.net]}}]}`, "x:a@example.net,b@example.net"},
		{`{name: x, for: part, when: true, do: [{notify: p@example.org}]}`, "x:p@example.org"}, // once, not for each part
		{`{name: x, when: true, do: [{notify: p@example.org}, {notify: {to: p@example.org, full: yes}}]}`, "x:p@example.org; x:p@example.org full"},
		{`{name: x, when: true, do: [{notify: p@example.org}]}, {name: y, when: true, do: [{notify: p@example.org}]}`, "x:p@example.org; y:p@example.org"},
		{`{name: x, when: true, then: tempfail, do: [{notify: p@example.org}]}`, ""},
		{`{name: x, when: false, do: [{notify: p@example.org}]}`, ""},
		{`{name: x, when: true, do: [{notify: sender}]}`, ""},
		{`{name: x, when: true, do: [{notify: [sender, p@example.org]}]}`, "x:p@example.org"},
	} {
		if got := noticesOf(load(t, "rules: ["+tt.rules+"]").Decide(m, scanners.Report{})); got != tt.want {
			t.Errorf("%s: notices %q, want %q", tt.rules, got, tt.want)
		}
	}
}

// Nobody is told in the name of a sender who may be forged, and programs are not answered (RFC 3834).
func TestSenderIsToldOnlyWhereItIsCertainWhoThatIs(t *testing.T) {
	p := load(t, `rules: [{name: x, when: true, do: [{notify: sender}]}]`)
	pass := func(domain string) []eml.Finding {
		return []eml.Finding{{Check: "dmarc/pass", Detail: "header.from=" + domain}}
	}
	for _, tt := range []struct {
		name, sender, user, fields string
		findings                   []eml.Finding
		want                       bool
	}{
		{"nothing is known", "a@example.org", "", "From: a@example.org\n", nil, false},
		{"authenticated", "a@example.org", "ann", "", nil, true},
		{"DMARC", "a@example.org", "", "From: b@example.org\n", pass("example.org"), true},
		{"DMARC, in capitals", "a@Example.ORG", "", "", pass("example.org"), true},
		{"DMARC of another domain", "victim@example.net", "", "From: b@example.org\n", pass("example.org"), false},
		{"DMARC of a domain that ends alike", "a@ample.org", "", "", pass("example.org"), false},
		{"SPF alone", "a@example.org", "", "", []eml.Finding{{Check: "spf/pass", Detail: "header.from=example.org"}}, false},
		{"null sender", "", "ann", "", pass(""), false},
		{"no domain", "ann", "", "", pass(""), false},
		{"a list", "a@example.org", "ann", "List-Id: <x.example.org>\n", nil, false},
		{"bulk", "a@example.org", "ann", "Precedence: Bulk\n", nil, false},
		{"a program", "a@example.org", "ann", "Auto-Submitted: auto-replied; x=y\n", nil, false},
		{"a person who says so", "a@example.org", "ann", "Auto-Submitted: no\n", nil, true},
	} {
		m := parse(t, tt.fields+"Subject: x\n\nx")
		m.Envelope.Sender, m.Envelope.AuthUser = tt.sender, tt.user
		v := p.Decide(m, scanners.Report{Findings: tt.findings})
		if got := noticesOf(v) != ""; got != tt.want {
			t.Errorf("%s: notices %q, want one: %v", tt.name, noticesOf(v), tt.want)
		}
		if why := slices.ContainsFunc(v.Trace, func(s Step) bool { return strings.HasPrefix(s.Why, "the sender gets no notice: ") }); why == tt.want {
			t.Errorf("%s: the trace is %s", tt.name, traceOf(v))
		}
	}
}
