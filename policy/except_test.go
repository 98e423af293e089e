package policy

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"rastel/policy/exceptions"
	"rastel/sanitize/eml"
	"rastel/scanners"
)

// exceptRules are the rules of the tests of exceptions.
const exceptRules = `rules:
- {name: malware, when: 'has("clamd/malware", "hash/malware", "icap/blocked")', then: reject}
- {name: program, for: part, when: 'part.named("*.exe")', then: quarantine}
- {name: script, when: 'has("html/script")', then: tempfail}
- {name: closed, when: 'has("archive/encrypted", "html/form")', then: quarantine}
- {name: any of it, when: 'any(findings, .check startsWith "name/") or unexamined()', then: quarantine}
- {name: form, for: part, when: 'any(part.findings, .check == "html/form")', do: [strip]}
`

var exceptChecks = []eml.Check{
	{ID: "clamd/malware"}, {ID: "hash/malware"}, {ID: "icap/blocked"}, {ID: "html/script"}, {ID: "html/form"}, {ID: "archive/encrypted"}, {ID: "name/long"},
	{ID: "signed/dkim-pass"}, {ID: "dmarc/pass"}, {ID: "spf/pass"}, {ID: "scan/failed"}, {ID: "header/long"}, {ID: "office/macro"}, {ID: "office/macro-autorun"}, {ID: "office/macro-hidden"}, {ID: "office/vba-hash"}, {ID: "office/xlm"},
}

var exceptNow = time.Date(2026, 11, 25, 12, 0, 0, 0, time.Local)

func exceptPolicy(t testing.TB, text string) *Policy {
	t.Helper()
	p, err := Load("p.yaml", []byte(text), Options{Checks: exceptChecks, Editor: fakeEditor{}, Now: func() time.Time { return exceptNow }})
	if err != nil {
		t.Fatalf("%s\n%v", text, err)
	}
	return p
}

// exceptFrom makes exceptions of lines such as "sender=example.org rule=program".
func exceptFrom(t testing.TB, m *eml.Message, lines ...string) *exceptions.Snapshot {
	t.Helper()
	var list []exceptions.Exception
	for i, line := range lines {
		e := exceptions.Exception{ID: exceptID(i, len(lines)), Owner: "o", Reason: "r", Until: "2026-12-31"}
		for f := range strings.FieldsSeq(line) {
			name, value, _ := strings.Cut(f, "=")
			switch name {
			case "sender":
				e.Sender = value
			case "recipient":
				e.Recipient = value
			case "rule":
				e.Rule = strings.ReplaceAll(value, "_", " ")
			case "check":
				e.Check = value
			case "until":
				e.Until = value
			case "macros":
				e.Macros = value
			case "part": // of the message
				p := at(t, m, value)
				e.SHA256 = hex.EncodeToString(p.SHA256[:])
			default:
				t.Fatalf("%q", f)
			}
		}
		list = append(list, e)
	}
	return exceptions.NewSnapshot(list)
}

// exceptID is in the order of the lines.
func exceptID(i, of int) string {
	if of < 10 {
		return fmt.Sprintf("E%d", i)
	}
	return fmt.Sprintf("E%04d", i)
}

// exceptReport is a report whose findings of who a message comes from have details.
func exceptReport(t testing.TB, m *eml.Message, findings ...string) scanners.Report {
	t.Helper()
	details := map[string]string{"signed/dkim-pass": "d=example.org s=a", "dmarc/pass": "header.from=example.org", "spf/pass": "smtp.mailfrom=example.org"}
	var r scanners.Report
	for _, s := range findings {
		s, detail, _ := strings.Cut(s, "=>")
		one := report(t, m, s)
		for i := range one.Findings {
			f := &one.Findings[i]
			f.Detail = "x"
			if d := details[f.Check]; d != "" {
				f.Detail = d
			}
			if detail != "" {
				f.Detail = detail
			}
			f.Unexamined = len(one.Unexamined) > 0
		}
		for i := range one.Unexamined {
			one.Unexamined[i].Why += ": x"
		}
		r.Findings, r.Unexamined = append(r.Findings, one.Findings...), append(r.Unexamined, one.Unexamined...)
	}
	return r
}

func TestExceptions(t *testing.T) {
	const dkim = "signed/dkim-pass 1"
	for _, tt := range []struct {
		findings   string
		exceptions string
		want       string // action, rule and the exceptions that made a difference
	}{
		// By rule, for a sender who is proved.
		{"", "", "quarantine program"},
		{dkim, "sender=example.org rule=program", "accept  E0"},
		{"dmarc/pass 1", "sender=example.org rule=program", "accept  E0"},
		{"spf/pass 1", "sender=example.org rule=program", "accept  E0"},
		{"", "sender=example.org rule=program", "quarantine program"},
		{"signed/dkim-pass 1=>d=evil.example s=a", "sender=example.org rule=program", "quarantine program"},
		{"signed/dkim-pass 1=>d=org s=a", "sender=example.org rule=program", "quarantine program"},
		{"signed/dkim-pass 1=>d=mail.example.org s=a", "sender=example.org rule=program", "quarantine program"},
		{"signed/dkim-pass 1.1", "sender=example.org rule=program", "quarantine program"}, // of an attached message
		{"spf/pass 1=>smtp.helo=example.org", "sender=example.org rule=program", "quarantine program"},
		{"spf/pass 1=>smtp.mailfrom=evil.example", "sender=example.org rule=program", "quarantine program"},
		{"dmarc/pass 1=>header.from=evil.example", "sender=example.org rule=program", "quarantine program"},
		{dkim, "sender=*.example.org rule=program", "quarantine program"},
		{dkim, "sender=example.net rule=program", "quarantine program"},
		{dkim, "sender=example.org rule=script", "quarantine program"},
		{dkim, "sender=example.org rule=program until=2026-11-24", "quarantine program"},
		{dkim, "sender=example.org rule=program until=2026-11-25", "accept  E0"},
		// For one of the recipients.
		{"", "recipient=bob@example.net rule=program", "accept  E0"},
		{"", "recipient=@example.org rule=program", "quarantine program"},
		// By check.
		{dkim + ", html/script 1.2", "sender=example.org rule=program; sender=example.org check=html/script", "accept  E0 E1"},
		{dkim + ", html/script 1.2", "sender=example.org rule=program; sender=example.org check=html/*", "accept  E0 E1"},
		{dkim + ", html/script 1.2", "sender=example.org rule=program; sender=example.org check=name/*", "tempfail script E0"},
		{dkim + ", html/form 1.2", "sender=example.org rule=program; sender=example.org check=html/form rule=closed", "accept  E0 E1 patched"},
		{dkim + ", html/form 1.2", "sender=example.org rule=program; sender=example.org check=html/form", "accept  E0 E1"},
		{dkim + ", name/long 1.3", "sender=example.org rule=program; sender=example.org check=name/long", "accept  E0 E1"},
		{dkim + ", name/long 1.3", "sender=example.org rule=program; sender=example.org rule=any_of_it", "accept  E0 E1"},
		// What is known as malware: none without a hash, whatever it is about.
		{dkim + ", clamd/malware 1.3", "sender=example.org rule=malware", "reject malware"},
		{dkim + ", clamd/malware 1.3", "sender=example.org check=clamd/*", "reject malware"},
		{dkim + ", icap/blocked 1.3", "sender=example.org check=icap/*", "reject malware"},
		{dkim + ", hash/malware 1.3, html/script 1.2", "sender=example.org check=html/script rule=malware", "reject malware"},
		// What was not examined: nor that.
		{dkim + ", !archive/encrypted 1.3", "sender=example.org rule=program; sender=example.org check=archive/*; sender=example.org rule=closed", "quarantine closed E0"},
		{dkim + ", ?scan/failed 1.3", "sender=example.org rule=program; sender=example.org check=scan/*; sender=example.org rule=any_of_it", "quarantine any of it E0"},
		// By hash: whatever it is.
		{"clamd/malware 1.3", "part=1.3", "accept  E0"},
		{"clamd/malware 1.3, clamd/malware 1.2", "part=1.3", "reject malware E0"},
		{"clamd/malware 1", "part=1.3", "reject malware E0"}, // of the message as a whole
		{"clamd/malware 1.3", "part=1.2", "reject malware E0"},
		{"clamd/malware 1.3", "part=1.3 check=clamd/malware", "quarantine program E0"},
		{"clamd/malware 1.3", "part=1.3 rule=malware", "quarantine program E0"},
		{"clamd/malware 1.3", "part=1.3 rule=program", "reject malware"},
		{"clamd/malware 1.3", "part=1.3 rule=malware; part=1.3 rule=program", "accept  E0 E1"},
		{"!archive/encrypted 1.3", "part=1.3", "accept  E0"},
		{"!archive/encrypted 1.3", "part=1.3 check=archive/encrypted rule=closed; part=1.3 rule=program; part=1.3 rule=any_of_it", "quarantine  E0 E1 E2"}, // for these rules, but nobody has examined it
		{"?scan/failed 1.3, !archive/encrypted 1.3", "part=1.3 check=scan/failed; part=1.3 rule=program", "quarantine closed E0 E1"},
		{dkim, "part=1.3 sender=example.org", "accept  E0"},
		{"", "part=1.3 sender=example.org", "quarantine program"},
		{"header/long 1.3", "part=1.3", "accept  E0"},
		// With a hash for the malware, those without one hold for the rest.
		{dkim + ", clamd/malware 1.3, html/script 1.2", "part=1.3; sender=example.org check=html/script", "accept  E0 E1"},
		{dkim + ", clamd/malware 1.3, html/script 1.2", "part=1.2; sender=example.org rule=malware", "reject malware E0"},
	} {
		m := parse(t, threeParts)
		var list []string
		if tt.findings != "" {
			list = strings.Split(tt.findings, ", ")
		}
		r := exceptReport(t, m, list...)
		before := fmt.Sprint(r)
		var lines []string
		if tt.exceptions != "" {
			lines = strings.Split(tt.exceptions, "; ")
		}
		v := exceptPolicy(t, exceptRules).DecideGiven(m, r, Given{Exceptions: exceptFrom(t, m, lines...)})
		got := strings.TrimSpace(fmt.Sprintf("%s %s %s", v.Action, v.Rule, strings.Join(v.Exceptions, " ")))
		if !v.Patch.Empty() {
			got += " patched"
		}
		if got != strings.TrimSpace(tt.want) {
			t.Errorf("%s; %s:\ngot %q, want %q\n%s", tt.findings, tt.exceptions, got, tt.want, traceOf(v))
		}
		for _, id := range v.Exceptions {
			if !strings.Contains(traceOf(v), "exception "+id+": ") {
				t.Errorf("%s; %s: the trace does not name %s\n%s", tt.findings, tt.exceptions, id, traceOf(v))
			}
		}
		if fmt.Sprint(r) != before {
			t.Errorf("%s: the report was changed", tt.findings)
		}
	}
}

// TestExceptionsForRecipients: one that is for some of them is for none of the others.
func TestExceptionsForRecipients(t *testing.T) {
	for _, tt := range []struct{ recipients, exception, want string }{
		{"bob@example.net", "recipient=bob@example.net rule=program", "accept"},
		{"Bob@Example.NET", "recipient=bob@example.net rule=program", "accept"},
		{"bob@example.net", "recipient=@example.net rule=program", "accept"},
		{"bob@a.example.net", "recipient=@example.net rule=program", "quarantine"},
		{"xbob@example.net", "recipient=bob@example.net rule=program", "quarantine"},
		{"bob@example.net eve@example.net", "recipient=@example.net rule=program", "accept"},
		{"", "recipient=@example.net rule=program", "quarantine"},
	} {
		m := parse(t, threeParts)
		m.Envelope.Recipients = strings.Fields(tt.recipients)
		v := exceptPolicy(t, exceptRules).DecideGiven(m, scanners.Report{}, Given{Exceptions: exceptFrom(t, m, tt.exception)})
		if v.Action.String() != tt.want {
			t.Errorf("%s; %s: got %v, want %s\n%s", tt.recipients, tt.exception, v.Action, tt.want, traceOf(v))
		}
	}
}

// TestExceptionsTellRecipientsApart: who has none fares as without it, also if there are rules for recipients.
func TestExceptionsTellRecipientsApart(t *testing.T) {
	const bob, eve = "bob@example.net", "eve@example.com"
	for _, tt := range []struct{ findings, exceptions, rules, want string }{
		{"", "recipient=bob@example.net rule=program", exceptRules, "accept for [bob@example.net], quarantine for [eve@example.com]"},
		{"", "recipient=@example.com rule=program", exceptRules, "accept for [eve@example.com], quarantine for [bob@example.net]"},
		{"", "recipient=@example.com rule=program; recipient=bob@example.net rule=program", exceptRules, "accept for []"},
		{"", "recipient=bob@example.net part=1.3", exceptRules, "accept for [bob@example.net], quarantine for [eve@example.com]"},
		{"html/script 1.2", "recipient=bob@example.net rule=program", exceptRules, "tempfail for []"}, // for one is for all
		{"clamd/malware 1.3", "recipient=bob@example.net rule=malware", exceptRules, "reject for []"},
		{"", "recipient=bob@example.net sender=example.org rule=program", exceptRules, "quarantine for []"},
		{"signed/dkim-pass 1", "recipient=bob@example.net sender=example.org rule=program", exceptRules, "accept for [bob@example.net], quarantine for [eve@example.com]"},
		{"", "recipient=bob@example.net rule=not_for_eve", `rules: [{name: not for eve, for: recipient, when: 'recipient startsWith "e"', then: quarantine}]`, "accept for [bob@example.net], quarantine for [eve@example.com]"},
		{"", "recipient=eve@example.com rule=not_for_eve", `rules: [{name: not for eve, for: recipient, when: 'recipient startsWith "e"', then: quarantine}]`, "accept for []"},
	} {
		m := parse(t, threeParts)
		m.Envelope.Recipients = []string{bob, eve}
		var list []string
		if tt.findings != "" {
			list = []string{tt.findings}
		}
		v := exceptPolicy(t, tt.rules).DecideGiven(m, exceptReport(t, m, list...), Given{Exceptions: exceptFrom(t, m, strings.Split(tt.exceptions, "; ")...)})
		got := fmt.Sprintf("%s for %s", v.Action, v.Recipients)
		for _, o := range v.Others {
			got += fmt.Sprintf(", %s for %s", o.Action, o.Recipients)
		}
		if got != tt.want {
			t.Errorf("%s: got %s, want %s\n%s", tt.exceptions, got, tt.want, traceOf(v))
		}
	}
}

// TestTooManyGroupsOfRecipients: then exceptions that are for some of them hold for none, and the message is decided about.
func TestTooManyGroupsOfRecipients(t *testing.T) {
	m := parse(t, threeParts)
	m.Envelope.Recipients = nil
	var lines []string
	for i := range 200 {
		m.Envelope.Recipients = append(m.Envelope.Recipients, fmt.Sprintf("u%d@example.net", i))
		lines = append(lines, fmt.Sprintf("recipient=u%d@example.net check=html/*", i))
	}
	v := exceptPolicy(t, exceptRules).DecideGiven(m, exceptReport(t, m, "html/form 1.2"), Given{Exceptions: exceptFrom(t, m, lines...)})
	if v.Action != Quarantine || v.Rule != "program" || len(v.Others) > 0 {
		t.Errorf("got %v by %q, %d others", v.Action, v.Rule, len(v.Others))
	}
}

// TestTooManyExceptionsForAMessage: the first ones hold, and the trace tells it.
func TestTooManyExceptionsForAMessage(t *testing.T) {
	m := parse(t, threeParts)
	var lines []string
	for range maxExcepted {
		lines = append(lines, "sender=example.org check=html/*")
	}
	r := exceptReport(t, m, "signed/dkim-pass 1", "html/form 1.2")
	v := exceptPolicy(t, exceptRules).DecideGiven(m, r, Given{Exceptions: exceptFrom(t, m, append(lines, "sender=example.org rule=program")...)})
	if v.Action != Quarantine || v.Rule != "program" || !strings.Contains(traceOf(v), "101 exceptions are for this message; only the first 100 hold") {
		t.Errorf("got %v by %q\n%s", v.Action, v.Rule, traceOf(v))
	}
}

// TestExceptionIsForWhatIsInAPart: a hash is for the members of an archive with it; that of a member for no more.
func TestExceptionIsForWhatIsInAPart(t *testing.T) {
	for _, tt := range []struct{ part, want string }{{"1.3", "accept"}, {"1.3/1", "reject"}, {"1.3/2", "quarantine"}} {
		m := parse(t, threeParts)
		member(t, m, "1.3", "a.exe", "one")
		member(t, m, "1.3", "b.txt", "two")
		r := exceptReport(t, m, "clamd/malware 1.3/2")
		v := exceptPolicy(t, exceptRules).DecideGiven(m, r, Given{Exceptions: exceptFrom(t, m, "part="+tt.part)})
		if v.Action.String() != tt.want {
			t.Errorf("%s: got %v, want %s\n%s", tt.part, v.Action, tt.want, traceOf(v))
		}
	}
}

// TestSenderIsWhoIsProved: the field alone, or two of them, prove nothing.
func TestSenderIsWhoIsProved(t *testing.T) {
	for from, want := range map[string]string{
		"From: a@example.org":                              "example.org",
		"From: A <a@EXAMPLE.org>":                          "example.org",
		"From: a@sub.example.org":                          "sub.example.org", // example.org signs for it
		"From: a@example.org, b@example.org":               "example.org",
		"From: a@example.org, b@other.example":             "",
		"From: a@example.org\nFrom: b@other.example":       "",
		"From: a@other.example":                            "",
		"From: \"a@example.org\" <b@other.example>":        "",
		"From: a@notexample.org":                           "",
		"From: ":                                           "",
		"Sender: a@example.org":                            "",
		"From: " + strings.Repeat("a@example.org, ", 1000): "",
	} {
		m := parse(t, from+"\nSubject: x\n\nx")
		d := &decision{facts: newFacts(m, exceptReport(t, m, "signed/dkim-pass 1"), exceptPolicy(t, exceptRules))}
		if got := d.facts.provenSender(); got != want {
			t.Errorf("%.80q: got %q, want %q", from, got, want)
		}
	}
}

// TestExceptionsAreNamed: an unknown rule or check is told with the nearest one.
func TestExceptionsAreNamed(t *testing.T) {
	p := exceptPolicy(t, exceptRules+"- {name: early, stage: mail, when: true, then: reject}\n")
	for _, tt := range []struct {
		scope exceptions.Scope
		want  string
	}{
		{exceptions.Scope{Rule: "program", Check: "html/*"}, ""},
		{exceptions.Scope{Rule: "progam"}, `unknown rule "progam"; did you mean "program"?`},
		{exceptions.Scope{Rule: "early"}, `stage "mail"`},
		{exceptions.Scope{Check: "html/scrip"}, `did you mean "html/script"?`},
		{exceptions.Scope{Check: "htm/*"}, `did you mean "html/*"?`},
	} {
		if err := p.CheckScope(tt.scope); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: got %v, want %q", tt.scope, err, tt.want)
		}
	}
}

// TestNoExceptionLetsMalwareThrough: whatever rules, findings and exceptions without a hash there are, a message with
// what is known as malware fares as without exceptions, and what was not examined is never taken for examined: a
// message that is accepted with it is accepted by a rule that could see it.
func TestNoExceptionLetsMalwareThrough(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 1))
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	conditions := []string{
		`has("clamd/malware")`, `has("*/malware")`, `has("html/script")`, `not has("html/form")`, `has("html/script") and has("clamd/*")`, `unexamined()`,
		`not unexamined()`, `has("archive/encrypted", "html/form")`, `any(findings, .check == "hash/malware")`, `count("html/*") > 1`, `len(findings) < 3`,
		`any(parts, .named("*.exe"))`, `sender_domain == "example.org"`, `has("name/long") or size > 100`, `not has("name/long")`, `none(parts, .has("icap/*"))`,
	}
	found := []string{"clamd/malware 1.3", "hash/malware 1.3", "icap/blocked 1.2", "html/script 1.2", "html/form 1.2", "!archive/encrypted 1.3", "?scan/failed 1.2", "name/long 1.3"}
	scopes := []string{"rule=r0", "rule=r1", "rule=r2", "check=html/*", "check=html/script", "check=clamd/*", "check=hash/*", "check=icap/*", "check=archive/*", "check=scan/*",
		"check=name/long rule=r0", "check=html/* rule=r1", "check=clamd/* rule=r2"}
	differ := 0
	for range 1500 {
		var rules strings.Builder
		rules.WriteString("rules:\n")
		for i := range 3 {
			fmt.Fprintf(&rules, "- {name: r%d, when: '(%s) or size > %d', then: %s}\n", i, pick(conditions...), 1_000_000+i, pick("accept", "reject", "quarantine", "tempfail"))
		}
		p := exceptPolicy(t, rules.String())
		m := parse(t, threeParts)
		m.Envelope.Recipients = []string{"bob@example.net"}
		list, lines := []string{"dmarc/pass 1"}, []string{}
		for range rng.IntN(4) {
			list = append(list, pick(found...))
		}
		for range 1 + rng.IntN(3) {
			lines = append(lines, pick("sender=example.org ", "sender=example.org ", "recipient=@example.net ")+pick(scopes...))
		}
		r := exceptReport(t, m, list...)
		given := Given{Exceptions: exceptFrom(t, m, lines...)}
		plain, v := p.Decide(m, r), p.DecideGiven(m, r, given)
		malware := slices.ContainsFunc(r.Findings, func(f eml.Finding) bool { return exceptions.Protected(f.Check) })
		if (malware || len(v.Exceptions) == 0) && (v.Action != plain.Action || v.Rule != plain.Rule) {
			t.Fatalf("%s%q; %q: got %v by %q, without exceptions %v by %q\n%s", rules.String(), list, lines, v.Action, v.Rule, plain.Action, plain.Rule, traceOf(v))
		}
		if malware && len(v.Exceptions) > 0 {
			t.Fatalf("%q; %q: %q made a difference", list, lines, v.Exceptions)
		}
		if len(r.Unexamined) > 0 && v.Action == Accept && v.Rule == "" {
			t.Fatalf("%s%q; %q: accepted though not examined\n%s", rules.String(), list, lines, traceOf(v))
		}
		if v.Action != plain.Action {
			differ++
		}
	}
	if t.Logf("%d of the messages fared otherwise", differ); differ < 50 {
		t.Errorf("only %d of the messages fared otherwise with exceptions: the test shows nothing", differ)
	}
}

// TestNamesThatTellNothing: a name that is not among the narrow ones may show a condition what was found.
func TestNamesThatTellNothing(t *testing.T) {
	for when, wide := range map[string]bool{
		`has("html/script")`: false, `count("html/*") > 1`: false, `part.named("*.exe") and part.depth > 0`: false, `any(parts, .has("html/*"))`: false,
		`unexamined()`: true, `any(findings, .fixable)`: true, `part.examinedBy("x")`: true, `any(part.findings, true)`: true, `any(parts, .unexamined())`: true,
		`count(findings, true) > 1`: true, `len(part.around) > 1 and header("X") == "y"`: false,
	} {
		p := exceptPolicy(t, fmt.Sprintf("rules: [{name: x, for: part, when: '%s', then: accept}]", when))
		if got := p.rules[0].condition.wide; got != wide {
			t.Errorf("%s: wide is %v, want %v", when, got, wide)
		}
	}
	for name := range narrow {
		known := find(messageFacts, name, factName) != nil || find(messageFunctions, name, functionName) != nil || find(partFacts, name, factName) != nil || find(partFunctions, name, functionName) != nil
		if !known && name != "part" {
			t.Errorf("%q is no name", name)
		}
	}
}

// TestManyExceptionsAreNotAskedAgainAndAgain: not for each rule and each finding, and not for each recipient. It took minutes.
func TestManyExceptionsAreNotAskedAgainAndAgain(t *testing.T) {
	checks := []eml.Check{{ID: "signed/dkim-pass"}}
	for i := range 200 {
		checks = append(checks, eml.Check{ID: fmt.Sprintf("html/c%d", i)})
	}
	m := parse(t, "From: a@example.org\r\n\r\nx")
	m.Envelope.Recipients = nil
	for i := range 1000 {
		m.Envelope.Recipients = append(m.Envelope.Recipients, fmt.Sprintf("r%d@x.example", i))
	}
	r := scanners.Report{Findings: []eml.Finding{{Check: "signed/dkim-pass", Part: m.Root, Detail: "d=example.org s=s"}}}
	for i := range 20_000 {
		r.Findings = append(r.Findings, eml.Finding{Check: fmt.Sprintf("html/c%d", i%100), Part: m.Root})
	}
	var rules strings.Builder
	rules.WriteString("rules:\n")
	for i := range 1000 {
		fmt.Fprintf(&rules, "- {name: r%d, when: 'has(\"html/c%d\") or size > %d', do: [hold]}\n", i, 100+i%100, 1_000_000+i)
	}
	p, err := Load("p.yaml", []byte(rules.String()), Options{Checks: checks, Now: func() time.Time { return exceptNow }})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, line string
		count      int
	}{{"findings", "sender=example.org check=html/c1%02d", 100}, {"one recipient", "recipient=r%d@x.example rule=r0", 20}, {"all recipients", "recipient=@x.example rule=r%d", exceptions.Max}} {
		var lines []string
		for i := range tt.count {
			lines = append(lines, fmt.Sprintf(tt.line, i%1000))
		}
		start := time.Now()
		if v := p.DecideGiven(m, r, Given{Exceptions: exceptFrom(t, m, lines...)}); v.Action != Accept || v.Hold || len(v.Exceptions) > 0 {
			t.Errorf("%s: %v, %v, exceptions %v", tt.name, v.Action, v.Hold, v.Exceptions)
		}
		t.Logf("%s: %v", tt.name, time.Since(start))
	}
}

// BenchmarkExceptions is what many exceptions cost for a message that none is for.
func BenchmarkExceptions(b *testing.B) {
	var list []exceptions.Exception
	for i := range exceptions.Max {
		e := exceptions.Exception{ID: fmt.Sprint(i), Owner: "o", Reason: "r", Until: "2026-12-31"}
		switch i % 3 {
		case 0:
			e.Sender, e.Rule = fmt.Sprintf("d%d.example", i), "program"
		case 1:
			e.Recipient, e.Rule = fmt.Sprintf("u%d@example.net", i), "program"
		default:
			e.SHA256 = fmt.Sprintf("%064x", i)
		}
		list = append(list, e)
	}
	p, m := exceptPolicy(b, exceptRules), parse(b, threeParts)
	given := Given{Exceptions: exceptions.NewSnapshot(list)}
	b.ReportAllocs()
	for b.Loop() {
		p.DecideGiven(m, scanners.Report{}, given)
	}
}
