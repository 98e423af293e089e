package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

func TestFirstFinalActionDecides(t *testing.T) {
	m := parse(t, threeParts)
	for _, action := range finals {
		p := load(t, `rules:
- {name: no, when: sender == "x", then: reject}
- {name: yes, when: sender != "x", then: `+action.name+`}
- {name: later, when: true, then: discard}`)
		v := p.Decide(m, scanners.Report{})
		if v.Action.String() != action.name || v.Rule != "yes" || v.Policy != p.Version {
			t.Errorf("%s: got %s by %q of %q", action.name, v.Action, v.Rule, v.Policy)
		}
		want := fmt.Sprintf(`no [] matched=false final=false did=[] why="not true: sender == \"x\""
yes [] matched=true final=true did=[%q] why="true: sender != \"x\""
later [] matched=false final=false did=[] why="not reached: decided by yes"
`, action.name)
		if got := traceOf(v); got != want {
			t.Errorf("%s: trace is\n%swant\n%s", action.name, got, want)
		}
	}
}

func TestReplies(t *testing.T) {
	m := parse(t, "\nx")
	for _, tt := range []struct {
		rule string
		want Reply
	}{
		{"then: reject", Reply{}},
		{"then: tempfail", Reply{}},
		{"then: reject, reply: {}", Reply{550, "5.7.1", ""}},
		{"then: tempfail, reply: {}", Reply{451, "4.7.1", ""}},
		{"then: reject, reply: {text: No programs}", Reply{550, "5.7.1", "No programs"}},
		{"then: reject, reply: {code: 554, enhanced: 5.6.0, text: 100% sure}", Reply{554, "5.6.0", "100% sure"}},
		{"then: tempfail, reply: {code: 450, enhanced: 4.3.2}", Reply{450, "4.3.2", ""}},
	} {
		v := load(t, "rules: [{name: x, when: true, "+tt.rule+"}]").Decide(m, scanners.Report{})
		if v.Reply != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.rule, v.Reply, tt.want)
		}
	}
}

// TestWithoutARuleUnclearIsNotClean: what no rule is about is accepted only if all of it was
// examined.
func TestWithoutARuleUnclearIsNotClean(t *testing.T) {
	p := load(t, `rules: [{name: never, when: false, then: accept}]`)
	for _, tt := range []struct {
		findings string
		want     Action
	}{
		{"", Accept},
		{"html/script 1.2", Accept},
		{"?scan/failed 1.3", TempFail},
		{"!scan/limit 1.3", Quarantine},
		{"!scan/limit 1.1,?scan/failed 1.3", TempFail},
	} {
		m := parse(t, threeParts)
		var list []string
		if tt.findings != "" {
			list = strings.Split(tt.findings, ",")
		}
		v := p.Decide(m, report(t, m, list...))
		last := v.Trace[len(v.Trace)-1]
		if v.Action != tt.want || v.Rule != "" || last.Rule != stepDefault || !last.Final {
			t.Errorf("%s: got %s by %q, want %s\n%s", tt.findings, v.Action, v.Rule, tt.want, traceOf(v))
		}
	}
}

func TestWhatWasStrippedNeedNotBeExamined(t *testing.T) {
	p := load(t, `rules: [{name: take out, for: part, when: part.unexamined(), do: [strip]}]`)
	m := parse(t, threeParts)
	member(t, m, "1.3", "a.zip", "PK")
	v := p.Decide(m, report(t, m, "!archive/encrypted 1.3/1", "?scan/failed 1.1"))
	if v.Action != Accept || v.Patch.Empty() {
		t.Errorf("got %s\n%s", v.Action, traceOf(v))
	}
	// What is beside it still counts.
	p = load(t, `rules: [{name: take out, for: part, when: part.member, do: [strip]}]`)
	if v := p.Decide(m, report(t, m, "!archive/encrypted 1.3/1", "?scan/failed 1.1")); v.Action != TempFail {
		t.Errorf("got %s, want tempfail\n%s", v.Action, traceOf(v))
	}
}

func TestZeroPolicyTempfails(t *testing.T) {
	m := parse(t, "\nx")
	var none *Policy
	for _, p := range []*Policy{none, {}} {
		if v := p.Decide(m, scanners.Report{}); v.Action != TempFail || len(v.Trace) != 1 {
			t.Errorf("%v: got %s", p, v.Action)
		}
	}
}

// TestRuleThatCannotBeEvaluatedIsNotPassedOver: it might have decided anything. Only a
// quarantine, which neither loses nor delivers, stands.
func TestRuleThatCannotBeEvaluatedIsNotPassedOver(t *testing.T) {
	for _, tt := range []struct {
		scope, then string
		want        Action
	}{
		{"message", "accept", TempFail},
		{"message", "reject", TempFail},
		{"message", "discard", TempFail},
		{"message", "tempfail", TempFail},
		{"message", "quarantine", Quarantine},
		{"part", "accept", TempFail},
	} {
		p := load(t, `rules:
- {name: broken, for: `+tt.scope+`, when: int(subject) > 3, then: accept, do: [hold]}
- {name: next, when: true, then: `+tt.then+`, do: [{tag_subject: "[X]"}]}`)
		v := p.Decide(parse(t, threeParts), scanners.Report{})
		if v.Action != tt.want || !v.Patch.Empty() || v.Hold || v.Reply != (Reply{}) {
			t.Errorf("%s: got %s, patch %v, want %s\n%s", tt.then, v.Action, v.Patch, tt.want, traceOf(v))
		}
		if s := v.Trace[0]; s.Matched || !strings.Contains(s.Why, "could not be evaluated") {
			t.Errorf("%s: the first step is %+v", tt.then, s)
		}
		if n := strings.Count(traceOf(v), "final=true"); n != 1 {
			t.Errorf("%s: %d steps are final\n%s", tt.then, n, traceOf(v))
		}
		if wantRule := map[bool]string{true: "next", false: "broken"}[tt.want == Quarantine]; v.Rule != wantRule {
			t.Errorf("%s: the rule is %q, want %q", tt.then, v.Rule, wantRule)
		}
	}
}

// TestTraceHoldsNothingThatATerminalObeys: an expression's error quotes what the sender wrote.
func TestTraceHoldsNothingThatATerminalObeys(t *testing.T) {
	m := parse(t, "Subject: \x1b[2J\n\nx")
	v := load(t, `rules: [{name: x, when: int(subject) > 3, then: accept}]`).Decide(m, scanners.Report{})
	for _, s := range v.Trace {
		if strings.ContainsRune(s.Why, 0x1b) {
			t.Errorf("why is %q", s.Why)
		}
	}
}

func TestPartRulesTellOfEachPart(t *testing.T) {
	m := parse(t, threeParts)
	member(t, m, "1.3", "x.js", "x")
	p := load(t, `rules:
- {name: html, for: part, when: 'part.has("html/*", "clamd/malware")', do: [hold]}
- {name: program, for: part, when: 'part.has("clamd/*")', then: quarantine}
- {name: none, for: part, when: 'part.size > 1000', then: quarantine}`)
	v := p.Decide(m, report(t, m, "html/script 1.2", "html/form 1.2", "clamd/malware 1.3", "clamd/pua 1.3/1"))
	want := `html [1.2] matched=true final=false did=["hold"] why="html/script in 1.2, html/form in 1.2"
html [1.3] matched=true final=false did=["hold"] why="clamd/malware in 1.3"
program [1.3] matched=true final=false did=[] why="clamd/malware in 1.3"
program [1.3/1] matched=true final=true did=["quarantine"] why="clamd/pua in 1.3/1"
none [] matched=false final=false did=[] why="not reached: decided by program"
`
	if got := traceOf(v); got != want || v.Action != Quarantine || !v.Hold {
		t.Errorf("got %s, hold %v\n%swant\n%s", v.Action, v.Hold, got, want)
	}
}

func TestTraceIsBounded(t *testing.T) {
	m := parse(t, "Content-Type: multipart/mixed; boundary=b\n\n"+strings.Repeat("--b\n\nx\n", 500))
	var findings []string
	for i := range 50 {
		findings = append(findings, fmt.Sprintf("clamd/pua 1.%d", i+1))
	}
	p := load(t, `rules:
- {name: all, for: part, when: true, do: [hold]}
- {name: found, when: has("clamd/pua"), then: accept}`)
	v := p.Decide(m, report(t, m, findings...))
	if len(v.Trace) != maxTraced+2 || !strings.Contains(traceOf(v), "and for 481 more parts") {
		t.Errorf("%d steps\n%s", len(v.Trace), traceOf(v))
	}
	if last := v.Trace[len(v.Trace)-1]; strings.Count(last.Why, "clamd/pua") != maxWhy || !strings.HasSuffix(last.Why, "...") {
		t.Errorf("the last step is %+v", last)
	}
}

func TestFinalActionOfAPartRuleComesAfterAllItsParts(t *testing.T) {
	m := parse(t, threeParts)
	p := load(t, `rules: [{name: x, for: part, when: 'part.id in ["1.1", "1.3"]', do: [strip], then: accept}]`)
	got := delivered(t, m, p.Decide(m, scanners.Report{}))
	if n := strings.Count(got, "[stripped: x]"); n != 2 {
		t.Errorf("%d parts are stripped, want 2\n%s", n, got)
	}
}

// TestOnlyDeliveredMessagesArePatched also sees that a message that comes again is not held at
// every attempt.
func TestOnlyDeliveredMessagesArePatched(t *testing.T) {
	for _, action := range finals {
		m := parse(t, threeParts)
		p := load(t, `rules: [{name: x, when: true, do: [{tag_subject: "[X]"}, hold], then: `+action.name+`}]`)
		v := p.Decide(m, scanners.Report{})
		if got, want := !v.Patch.Empty(), action.name == "accept"; got != want || v.Hold != (action.name != "tempfail") {
			t.Errorf("%s: patched %v, want %v; hold %v", action.name, got, want, v.Hold)
		}
	}
}

// TestChangeThatCannotBeMadeQuarantines: what it was to take out must not be delivered.
func TestChangeThatCannotBeMadeQuarantines(t *testing.T) {
	for _, tt := range []struct {
		name, do string
		editor   Editor
	}{
		{"no editor", "strip", nil},
		{"no editor", "rename", nil},
		{"editor fails", "strip", fakeEditor{errors.New("cannot")}},
		{"editor fails", "rename", fakeEditor{errors.New("cannot")}},
		{"no editor", "{disarm: html/form}", nil},
		{"editor fails", "{disarm: html/form}", fakeEditor{errors.New("cannot")}},
		{"no document", "{disarm: html/script}", fakeEditor{}},
		{"no fix, no editor", "defang", nil},
		{"edits overlap", "{defang: html/script}", nil},
	} {
		m := parse(t, threeParts)
		r := report(t, m, "html/form 1.3")
		if tt.name == "no document" {
			r = report(t, m, "html/script 1.2")
		}
		if tt.name == "edits overlap" {
			page := at(t, m, "1.2")
			r.Findings = []eml.Finding{{Check: "html/script", Part: page, Fix: []eml.Edit{
				{Part: page, Region: eml.InContent, Start: 0, End: 3}, {Part: page, Region: eml.InContent, Start: 2, End: 5},
			}}}
		}
		p, err := Load("x", []byte(`rules: [{name: x, for: part, when: 'part.id == "1.3" or part.has("html/*")', do: [`+tt.do+`]}, {name: y, when: true, then: accept}]`), Options{Editor: tt.editor})
		if err != nil {
			t.Fatal(err)
		}
		v := p.Decide(m, r)
		if v.Action != Quarantine || !v.Patch.Empty() || !strings.Contains(traceOf(v), "could not be carried out") {
			t.Errorf("%s: %s: got %s, patch %v\n%s", tt.name, tt.do, v.Action, v.Patch, traceOf(v))
		}
	}
}

// TestDecideIsTheSameEveryTime also runs it at once, for the race detector.
func TestDecideIsTheSameEveryTime(t *testing.T) {
	m, r := testFacts(t)
	p := load(t, manyChanges)
	want := verdictText(t, p.Decide(m, r))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				if got := verdictText(t, p.Decide(m, r)); got != want {
					t.Errorf("got  %s\nwant %s", got, want)
				}
			}
		})
	}
	all.Wait()
}

// manyChanges is a policy that uses most of the language.
const manyChanges = `rules:
- {name: a, for: part, when: 'part.has("html/*") and subject != "" and any(parts, .member)', do: [defang, {tag_subject: "[X]"}]}
- {name: b, for: part, when: 'part.named("*.exe")', do: [rename, {add_header: {name: X-A, value: b}}]}
- {name: c, for: part, when: 'part.unexamined()', do: [strip, hold]}
- {name: d, when: 'count("clamd/*") > 5', then: reject}`

func verdictText(t *testing.T, v *Verdict) string {
	b, err := json.Marshal(struct {
		V *Verdict
		E int
	}{&Verdict{Action: v.Action, Reply: v.Reply, Hold: v.Hold, Rule: v.Rule, Policy: v.Policy, Trace: v.Trace}, len(v.Patch.Edits())})
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

// TestTraceTellsTheClauseThatWasNotTrue: the first one, or in a rule for parts that of the part for which
// most were true.
func TestTraceTellsTheClauseThatWasNotTrue(t *testing.T) {
	m := parse(t, threeParts)
	r := report(t, m, "+html/script 1.2", "clamd/pua 1.3")
	for _, tt := range []struct{ scope, when, part, why string }{
		{"message", `size < 0`, "", `not true: size < 0`},
		{"message", `size   <   0 or size == 0`, "", `not true: size < 0 or size == 0`},
		{"message", `size < 0 and has("html/*")`, "", `not true: size < 0`},
		{"message", `has("html/*") && (size > 10 and sender == "x") and size < 0`, "", `not true: sender == "x"`},
		{"message", `has("html/*") and (size < 0 or not has("clamd/*") or size == 1)`, "", `not true: size < 0 or not has("clamd/*") or size == 1`},
		{"message", `has("html/*") and not (size > 0)`, "", `not true: not (size > 0)`},
		{"message", `has("html/*") and sender != "Ann@Example.ORG"`, "", `not true: sender != "Ann@Example.ORG"`},
		{"message", `any(parts, .size > 3 and .member)`, "", `not true: any(parts, .size > 3 and .member)`},
		{"part", `part.member`, "", `not true: part.member`},
		{"part", `part.member and part.has("html/*")`, "", `not true: part.member`},
		{"part", `part.has("html/*") and part.size > 1000`, "1.2", `not true: part.size > 1000`},
		{"part", `part.size > 3 and part.has("clamd/*") and part.type == "pe"`, "1.3", `not true: part.type == "pe"`},
		{"part", `part.size > 3 and part.has("mime/*")`, "1.1", `not true: part.has("mime/*")`},
		{"part", `has("html/*") and part.text contains "nothing"`, "1", `not true: part.text contains "nothing"`},
	} {
		p := load(t, fmt.Sprintf("rules:\n- name: x\n  for: %s\n  then: discard\n  when: |\n    %s\n", tt.scope, tt.when))
		v := p.Decide(m, r)
		if s := v.Trace[0]; s.Rule != "x" || s.Matched || s.Failed || s.Part != tt.part || s.Why != tt.why {
			t.Errorf("%s: got %q of part %q, want %q of %q", tt.when, s.Why, s.Part, tt.why, tt.part)
		}
	}
}
