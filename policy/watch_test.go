package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// TestWatchingRulesChangeNothing: with a rule that watches a message fares as without it.
func TestWatchingRulesChangeNothing(t *testing.T) {
	m := parse(t, threeParts)
	r := report(t, m, "+html/script 1.2", "name/executable 1.3")
	for _, tt := range []struct{ rule, did string }{
		{"when: true, then: reject", "reject"},
		{"when: true, then: quarantine", "quarantine"},
		{"when: true, then: accept", "accept"},
		{"when: true, then: tempfail, reply: {text: Later}", "tempfail 451 4.7.1 Later"},
		{`for: part, when: part.has("name/executable"), do: [strip, hold]`, "strip|hold"},
		{`for: part, when: part.has("html/*"), do: [defang], then: discard`, "defang|discard"},
		{`when: has("html/*"), do: [defang, {tag_subject: "[x]"}, {banner: careful}, {add_header: {name: X-A, value: b}}, hold]`, `defang|tag_subject "[x]"|banner|add_header X-A|hold`},
		{"when: int(subject) > 1, then: reject", "tempfail"}, // it cannot be evaluated
		{"when: false, then: reject", ""},
	} {
		rest := `- {name: html, for: part, when: 'part.has("html/*")', do: [clean]}`
		plain := load(t, "rules:\n"+rest).Decide(m, r)
		v := load(t, "rules:\n- {name: new, mode: watch, "+tt.rule+"}\n"+rest).Decide(m, r)
		if v.Action != plain.Action || v.Rule != plain.Rule || v.Hold || delivered(t, m, v) != delivered(t, m, plain) {
			t.Errorf("%s: got %v by %q, %q\n%s", tt.rule, v.Action, v.Rule, delivered(t, m, v), traceOf(v))
		}
		var want []Watched
		if tt.did != "" {
			want = []Watched{{Rule: "new", Did: strings.Split(tt.did, "|")}}
		}
		if fmt.Sprint(v.Watched) != fmt.Sprint(want) {
			t.Errorf("%s: watched %q, want %q", tt.rule, v.Watched, want)
		}
		for _, s := range v.Trace {
			if s.Rule == "new" && (s.Final || slices.ContainsFunc(s.Did, func(d string) bool { return !strings.HasPrefix(d, wouldHave) })) {
				t.Errorf("%s: trace says %+v", tt.rule, s)
			}
		}
		enforced := load(t, "rules:\n- {name: new, mode: enforce, "+tt.rule+"}").Decide(m, r)
		if len(enforced.Watched) > 0 {
			t.Errorf("%s: in force it has watched %q", tt.rule, enforced.Watched)
		}
	}
}

// TestWatchingPolicyAcceptsAll: whatever the verdict would have been, and whatever was not examined.
func TestWatchingPolicyAcceptsAll(t *testing.T) {
	m := parse(t, threeParts)
	for _, tt := range []struct{ rules, findings, watched, why string }{
		{"{name: a, when: true, then: reject}", "", "a reject", "reject by a"},
		{"{name: a, when: true, do: [hold], then: discard}", "", "a hold discard", "discard, with a copy held by a"},
		{`{name: a, for: part, when: 'part.has("html/*")', do: [clean]}`, "html/script 1.2", "a clean 1.2", "accept, changed"},
		{"{name: a, when: false, then: reject}", "", "", "accept"},
		{"{name: a, when: false, then: reject}", "?scan/failed 1.3", "(default) tempfail", "tempfail"},
		{"{name: a, when: false, then: reject}", "!scan/limit 1.3", "(default) quarantine", "quarantine"},
		{"{name: a, when: int(subject) > 1, then: reject}", "", "(default) tempfail", "tempfail by a"},
		{"{name: w, mode: watch, when: true, then: reject}, {name: a, when: true, then: quarantine}", "", "w reject, a quarantine", "quarantine by a"},
	} {
		p := load(t, "mode: watch\nrules: ["+tt.rules+"]")
		var list []string
		if tt.findings != "" {
			list = []string{tt.findings}
		}
		v := p.Decide(m, report(t, m, list...))
		var got []string
		for _, w := range v.Watched {
			got = append(got, w.Rule+" "+strings.Join(w.Did, " "))
		}
		last := v.Trace[len(v.Trace)-1]
		if v.Action != Accept || v.Rule != "" || v.Hold || !v.Patch.Empty() || v.Reply != (Reply{}) || strings.Join(got, ", ") != tt.watched {
			t.Errorf("%s: got %v by %q, watched %q; want %q", tt.rules, v.Action, v.Rule, got, tt.watched)
		}
		if last.Rule != stepWatch || !last.Final || !strings.HasSuffix(last.Why, wouldHave+tt.why) {
			t.Errorf("%s: last step %+v, want %q", tt.rules, last, tt.why)
		}
		if n := len(slices.DeleteFunc(slices.Clone(v.Trace), func(s Step) bool { return !s.Final })); n != 1 {
			t.Errorf("%s: %d final steps\n%s", tt.rules, n, traceOf(v))
		}
	}
	if !load(t, "mode: watch\nrules: [{name: a, when: true, then: reject}]").Watches() || Default().Watches() || (*Policy)(nil).Watches() {
		t.Error("Watches is wrong")
	}
}

func TestWatchingAtStages(t *testing.T) {
	for _, text := range []string{
		"rules: [{name: a, mode: watch, stage: mail, when: true, then: reject}]",
		"mode: watch\nrules: [{name: a, stage: mail, when: true, then: reject}]",
	} {
		v := load(t, text).DecideAt(eml.AtMail, stageEnvelope(), "", nil)
		if v.Action != Accept || v.Rule != "" || len(v.Watched) != 1 || v.Watched[0].Rule != "a" || v.Watched[0].Did[0] != "reject" {
			t.Errorf("%s: got %v by %q, %q", text, v.Action, v.Rule, v.Watched)
		}
	}
}

// TestWatchingPolicyTellsOfAllRecipients: also of those that would have fared otherwise.
func TestWatchingPolicyTellsOfAllRecipients(t *testing.T) {
	m := parse(t, threeParts)
	v := load(t, `mode: watch
rules:
- {name: w, mode: watch, for: recipient, when: 'recipient startsWith "eve"', then: reject}
- {name: bob, for: recipient, when: 'recipient startsWith "bob"', then: quarantine}
- {name: rest, when: size > 1, do: [hold], then: accept}
`).Decide(m, scanners.Report{})
	var got []string
	for _, w := range v.Watched {
		got = append(got, w.Rule+" "+strings.Join(w.Did, " "))
	}
	slices.Sort(got)
	if want := []string{"bob quarantine", "rest hold accept", "w reject"}; v.Action != Accept || v.Recipients != nil || len(v.Others) > 0 || v.Hold || !slices.Equal(got, want) {
		t.Errorf("got %v for %q, %d others, watched %q; want %q\n%s", v.Action, v.Recipients, len(v.Others), got, want, traceOf(v))
	}
}

// TestManyPartsAreWatchedOnce: one that watches a thousand parts does not make the verdict huge.
func TestManyPartsAreWatchedOnce(t *testing.T) {
	m := parse(t, "Content-Type: multipart/mixed; boundary=b\n\n"+strings.Repeat("--b\n\nx\n", 500)+"--b--\n")
	v := load(t, "rules: [{name: a, mode: watch, for: part, when: true, do: [strip], then: reject}]").Decide(m, scanners.Report{})
	if len(v.Watched) != 1 || fmt.Sprint(v.Watched[0].Did) != "[strip reject]" || len(v.Trace) > maxTraced+3 {
		t.Errorf("watched %q, %d steps", v.Watched, len(v.Trace))
	}
}

// TestShares: of many messages about that share is asked for, a retry like the first time, and whoever is in a small
// share is in a larger one.
func TestShares(t *testing.T) {
	const n = 2000
	policies := map[string]*Policy{}
	for _, percent := range []string{"0.5%", "10%", "50%", "100%"} {
		policies[percent] = load(t, "rules: [{name: a, share: "+percent+", when: true, then: reject}]")
	}
	in := func(percent, raw string) bool {
		v := policies[percent].Decide(parse(t, raw), scanners.Report{})
		if v.Action == Accept && !strings.Contains(traceOf(v), "not in its share of "+percent) {
			t.Errorf("trace:\n%s", traceOf(v))
		}
		return v.Action == Reject
	}
	counts := map[string]int{}
	for i := range n {
		raw := fmt.Sprintf("Message-ID: <%d@example.org>\n\nx", i)
		if i%2 == 0 {
			raw = fmt.Sprintf("Subject: without\n\n%d", i)
		}
		before := false
		for _, percent := range []string{"0.5%", "10%", "50%", "100%"} {
			now := in(percent, raw)
			if before && !now {
				t.Errorf("%q is not in %s", raw, percent)
			}
			if before = now; now {
				counts[percent]++
			}
		}
		if i < 200 && in("50%", raw) != in("50%", "Received: from a by b\n"+raw) {
			t.Errorf("%q: a retry is treated otherwise", raw)
		}
	}
	for percent, want := range map[string]float64{"0.5%": n * .005, "10%": n * .1, "50%": n * .5, "100%": n} {
		if got := float64(counts[percent]); got < want*.7-5 || got > want*1.3+5 {
			t.Errorf("%s: %v of %d messages", percent, got, n)
		}
	}
}
