package policy

import (
	"fmt"
	"strings"
	"testing"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// messageConditions are asked of threeParts with the findings of testFacts. Between them
// they use every fact, function and operator, which TestEveryNameIsTested sees to.
var messageConditions = []struct {
	when string
	want bool
}{
	{`sender == "Ann@Example.ORG"`, true},
	{`sender_domain == "example.org"`, true},
	{`recipients == ["bob@example.net", "eve@example.com"]`, true},
	{`"bob@example.net" in recipients`, true},
	{`any(recipients, # endsWith "@example.com")`, true},
	{`client == "192.0.2.1"`, true},
	{`host == "192.0.2.1"`, true},
	{`clientIn("192.0.2.0/24")`, true},
	{`clientIn("198.51.100.1", "2001:db8::/32")`, false},
	{`hostIn("192.0.2.1")`, true},
	{`client_name == "mx.example.org"`, true},
	{`helo startsWith "helo."`, true},
	{`tls == "TLSv1.3"`, true},
	{`auth_user == "ann"`, true},
	{`authenticated`, true},
	{`listener == "submission"`, true},
	{`direction == "out"`, true},
	{`direction in ["in", "internal"]`, false},
	{`spf == ""`, true},
	{`spf_domain == ""`, true},
	{`len(dkim_domains) == 0`, true},
	{`dmarc in ["fail", "reject"]`, false},
	{`dmarc_domain == ""`, true},
	{`date > "2026-01-01"`, true},
	{`time >= "00:00" and time < "24:00"`, true},
	{`hour >= 0 and hour < 24`, true},
	{`weekday in ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]`, true},
	{`addressIn(sender, "people")`, true},
	{`addressIn(header("From"), "none", "people")`, true},
	{`any(recipients, addressIn(#, "people"))`, true},
	{`addressIn(recipients[1], "none")`, false},
	{`hashIn("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", "hello")`, true},
	{`any(parts, hashIn(.sha256, "hello"))`, true},
	{`textIn(subject, "words")`, true},
	{`textIn(helo, "words")`, false},
	{`domain(sender) == "example.org" and domain(from) == "example.org" and domain(helo) == ""`, true},
	{`queue_id == "Q1"`, true},
	{`subject == "Grüße"`, true},
	{`subject matches "(?i)^grü"`, true},
	{`from contains "ann@"`, true},
	{`size > 300 and size < 1000`, true},
	{`header("x-list") == "one"`, true},
	{`header("X-None") == ""`, true},
	{`headers("X-List") == ["one", "two"]`, true},
	{`len(headers("X-None")) == 0`, true},
	{`header("Received") == "from a.example (a [192.0.2.1]) by mx.example"`, true},
	{`has("clamd/malware")`, true},
	{`has("name/executable")`, false},
	{`has("name/executable", "html/script")`, true},
	{`has("clamd/*")`, true},
	{`has("mime/*")`, false},
	{`has("*")`, true},
	{`has("*/script")`, true},
	{`count("html/*") == 2`, true},
	{`all(filter(parts, not .member), .examinedBy("clamd", "other") or .unexamined())`, true},
	{`all(parts, .examinedBy("clamd"))`, false},
	{`count("html/form") == 0`, true},
	{`count(parts, .has("html/script")) == 1`, true},
	{`unexamined()`, true},
	{`unexamined("any")`, true},
	{`unexamined("temporary")`, true},
	{`unexamined("permanent")`, true},
	{`len(parts) == 5`, true},
	{`parts[0].id == "1"`, true},
	{`any(parts, .member and .depth == 1)`, true},
	{`one(parts, .type == "html")`, true},
	{`all(parts, .size < 100)`, true},
	{`none(parts, .is("archive"))`, true},
	{`len(findings) == 6`, true},
	{`any(findings, .check == "clamd/malware" and .detail contains "detail of clamd")`, true},
	{`any(findings, .part.media_type == "text/html")`, true},
	{`count(findings, .fixable) == 1`, true},
	{`filter(parts, .type == "html")[0].id == "1.2"`, true},
	{`find(parts, .type == "html").id == "1.2"`, true},
	{`sum(parts, .size) > 30`, true},
	{`map(parts, .id) == ["1", "1.1", "1.2", "1.3", "1.3/1"]`, true},
	{`lower(sender) == "ann@example.org" and upper(helo) == "HELO.EXAMPLE.ORG"`, true},
	{`trim(" a ") == "a"`, true},
	{`join(split("a,b", ","), "+") == "a+b"`, true},
	{`replace("abab", "a", "") == "bb"`, true},
	{`indexOf("abc", "c") == 2`, true},
	{`int("7") == max(3, 7) and min(3, 7) == abs(-3)`, true},
	{`sender == "" ? false : true`, true},
	{`not has("mime/*") && !(1 + 2 * 3 - 4 / 2 == 0 || 7 % 3 != 1) and 1 <= 2 and 2 >= 1`, true},
	{`sender_domain not in ["example.net"]`, true},
	{`recipients | any(# == "eve@example.com")`, true},
}

// partConditions are asked of each part of threeParts; want names those for which they hold.
var partConditions = []struct{ when, want string }{
	{`part.id == "1.2"`, "1.2"},
	{`part.type == "html"`, "1.2"},
	{`part.type in ["html", "png"]`, "1.2"},
	{`part.media_type == "text/html"`, "1.2"},
	{`part.disposition == "attachment"`, "1.3"},
	{`"docs/Setup.EXE" in part.names`, "1.3"},
	{`part.ext == ["exe", "exe"]`, "1.3"},
	{`"js" in part.ext`, "1.3/1"},
	{`part.size == 5`, "1.1"},
	{`part.depth > 0`, "1.3/1"},
	{`part.member`, "1.3/1"},
	{`part.sha256 == "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"`, "1.1"},
	{`part.sha256 == ""`, "1"},
	{`hashIn(part.sha256, "hello")`, "1.1"},
	{`part.encrypted`, "1.3/1"},
	{`part.text contains "script"`, "1.2"},
	{`map(part.around, .id) == ["1.3", "1"]`, "1.3/1"},
	{`any(part.around, .has("clamd/malware"))`, "1.3/1"},
	{`none(part.around, true)`, "1"},
	{`any(part.findings, .detail contains "malware")`, "1.3"},
	{`part.has("html/*")`, "1.2"},
	{`part.has("html/*", "clamd/malware")`, "1.2 1.3"},
	{`part.count("html/*") == 2`, "1.2"},
	{`part.unexamined()`, "1.1 1.3/1"},
	{`part.unexamined("temporary")`, "1.1"},
	{`part.unexamined("permanent")`, "1.3/1"},
	{`part.examinedBy("clamd")`, "1 1.2"},
	{`part.examinedBy("clamd", "other")`, "1 1.2 1.3"},
	{`part.path endsWith "text/text"`, "1.3/1"},
	{`part.pathIs("*")`, "1.1 1.2 1.3"},
	{`part.pathIs("text/text/**", "html")`, "1.2 1.3/1"},
	{`part.is("text")`, "1.1 1.2 1.3 1.3/1"},
	{`part.is("html", "png")`, "1.2"},
	{`part.is("active")`, "1.2"},
	{`part.named("setup.*")`, "1.3"},
	{`part.named("*.EXE")`, "1.3"},
	{`part.named("a.txt", "*.js")`, "1.3/1"},
	{`part.named("*")`, "1.3 1.3/1"},
	{`part.inList("programs")`, "1.3 1.3/1"},
	{`part.inList("pages", "none")`, "1.2"},
	{`part.inList("none")`, ""},
	{`part.member and any(parts, .has("clamd/*"))`, "1.3/1"},
}

// testLists are the lists of these conditions.
const testLists = `
addresses: {people: [ann@example.org, .example.com], none: []}
hashes: {hello: [2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824]}
texts: {words: ["gr*"]}
`

// testFacts is threeParts with a member in its attachment and findings of all sorts.
func testFacts(t testing.TB) (*eml.Message, scanners.Report) {
	m := parse(t, threeParts)
	member(t, m, "1.3", `dir\evil.js. `, "evil()")
	r := report(t, m, "+html/script 1.2", "html/script 1.2", "clamd/malware 1.3", "?scan/failed 1.1", "!archive/encrypted 1.3/1", "clamd/pua 1.3")
	m.Root.Walk(func(p *eml.Part) bool {
		if p.Leaf() {
			r.Looks = append(r.Looks, scanners.Look{Part: p, Engine: "clamd", Examined: p.ID == "1.2"}, scanners.Look{Part: p, Engine: "other", Examined: p.ID == "1.3"})
		}
		return true
	})
	return m, r
}

func TestConditionsAboutMessages(t *testing.T) {
	m, r := testFacts(t)
	for _, tt := range messageConditions {
		p := load(t, fmt.Sprintf("%srules:\n- name: x\n  then: discard\n  when: |\n    %s\n", testLists, tt.when))
		v := p.Decide(m, r)
		if got := v.Rule == "x"; got != tt.want || strings.Contains(traceOf(v), "could not be evaluated") {
			t.Errorf("%s: got %v, want %v\n%s", tt.when, got, tt.want, traceOf(v))
		}
	}
}

func TestConditionsAboutParts(t *testing.T) {
	m, r := testFacts(t)
	for _, tt := range partConditions {
		p := load(t, fmt.Sprintf("%srules:\n- name: x\n  for: part\n  do: [hold]\n  when: |\n    %s\n", testLists, tt.when))
		v := p.Decide(m, r)
		var got []string
		for _, s := range v.Trace {
			if s.Rule == "x" && s.Matched {
				got = append(got, s.Part)
			}
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s: holds for %q, want %q\n%s", tt.when, s, tt.want, traceOf(v))
		}
	}
}

func TestEveryNameIsTested(t *testing.T) {
	var text strings.Builder
	for _, tt := range messageConditions {
		text.WriteString(tt.when + "\n")
	}
	messages := text.String()
	for _, name := range append(allNames(messageFacts, messageFunctions), builtinNames()...) {
		if f := find(messageFacts, name, factName); f != nil && f.only {
			continue // see TestStages
		}
		if !strings.Contains(messages, name) {
			t.Errorf("no condition of messageConditions has %s", name)
		}
	}
	for _, name := range allNames(findingFacts, nil) {
		if !strings.Contains(messages, "."+name) {
			t.Errorf("no condition of messageConditions has .%s", name)
		}
	}
	text.Reset()
	for _, tt := range partConditions {
		text.WriteString(tt.when + "\n")
	}
	for _, name := range allNames(partFacts, partFunctions) {
		if !strings.Contains(text.String(), "part."+name) {
			t.Errorf("no condition of partConditions has part.%s", name)
		}
	}
}

func TestFactsThatTheEnvelopeDoesNotHave(t *testing.T) {
	m := parse(t, "\nhello")
	m.Envelope = &eml.Envelope{}
	p := load(t, `rules: [{name: x, then: discard, when: 'client == "" and sender_domain == "" and subject == "" and len(recipients) == 0 and tls == ""'}]`)
	if v := p.Decide(m, scanners.Report{}); v.Action != Discard {
		t.Errorf("got %s\n%s", v.Action, traceOf(v))
	}
}

// TestFindingsOutsideTheTreeCount: an expander may report a part that was never linked to its
// container; it must not be invisible to rules for parts.
func TestFindingsOutsideTheTreeCount(t *testing.T) {
	m := parse(t, threeParts)
	lost := member(t, m, "1.3", "lost.exe", "MZ")
	at(t, m, "1.3").Children = nil
	r := scanners.Report{Findings: []eml.Finding{{Check: "clamd/malware", Part: lost}, {Check: "clamd/pua"}}}
	for _, when := range []string{`part.member and part.has("clamd/malware")`, `part.id == "1" and part.has("clamd/pua")`} {
		p := load(t, "rules: [{name: x, for: part, then: quarantine, when: '"+when+"'}]")
		if v := p.Decide(m, r); v.Action != Quarantine {
			t.Errorf("%s: got %s\n%s", when, v.Action, traceOf(v))
		}
	}
}

func TestConditionsThatCostTooMuchFail(t *testing.T) {
	m := parse(t, threeParts)
	loop := "true"
	for range 12 {
		loop = "none(parts, not (" + loop + "))" // 4 to the power of 12 rounds
	}
	for _, tt := range []struct{ when, want string }{
		{loop, "go round more than"},
		{"len(map(1..2000000, #)) > 0", "memory budget"},
		{"len(1..2000000) > 0", "memory budget"},
	} {
		p := load(t, "rules: [{name: x, then: accept, when: '"+tt.when+"'}]")
		v := p.Decide(m, scanners.Report{})
		if v.Action != TempFail || !strings.Contains(traceOf(v), tt.want) {
			t.Errorf("%.60s: got %s, want tempfail because of %q\n%s", tt.when, v.Action, tt.want, traceOf(v))
		}
	}
}

// TestRoundsAreCountedForAllRules: thousands of parts times a loop over them is what a
// message can make of a harmless rule.
func TestRoundsAreCountedForAllRules(t *testing.T) {
	m := parse(t, "Content-Type: multipart/mixed; boundary=b\n\n"+strings.Repeat("--b\n\nx\n", 1800))
	p := load(t, `rules: [{name: x, for: part, do: [hold], when: 'any(parts, .id == part.id + ".1" and .size > 1000)'}]`)
	v := p.Decide(m, scanners.Report{})
	if v.Action != TempFail || !strings.Contains(traceOf(v), "go round more than") {
		t.Errorf("got %s\n%s", v.Action, traceOf(v))
	}
}

func TestUnknownChecksAreTakenWithoutAList(t *testing.T) {
	p, err := Load("x", []byte(`rules: [{name: x, then: reject, when: 'has("new/check") or any(findings, .check == "new/other")'}]`), Options{})
	if err != nil {
		t.Fatal(err)
	}
	m := parse(t, "\nx")
	if v := p.Decide(m, scanners.Report{Findings: []eml.Finding{{Check: "new/other", Part: m.Root}}}); v.Action != Reject {
		t.Errorf("got %s", v.Action)
	}
}
