package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rastel/scanners"
)

// guard is how long a hostile condition may take on a machine that is busy. It is for tests that would
// not end otherwise; what is tested is that something is counted.
const guard = time.Minute

// TestHostileConditionsEnd: whatever a condition does, it comes to an end by something that is counted, or
// is not loaded.
func TestHostileConditionsEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	m := parse(t, "Subject: "+strings.Repeat("a ", 450)+"\n"+strings.TrimPrefix(threeParts, "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n"))
	nested := func(n int, open, inner, end string) string {
		return strings.Repeat(open, n) + inner + strings.Repeat(end, n)
	}
	doubled := nested(60, "map([", "subject", "], # + #)[0]")
	for _, tt := range []struct{ name, when, want string }{
		{"loops in loops", nested(12, "none(parts, not (", "true", "))"), errRounds.Error()},
		{"a loop over numbers", `any(1..900000, any(1..900000, # < 0))`, "memory budget"},
		{"a loop over parts", `any(1..900000, any(parts, .size < 0))`, errRounds.Error()},
		{"a long list", `len(1..2000000) > 0`, "memory budget"},
		{"long lists in a loop", `any(1..100000, len(1..900000) == 0)`, "memory budget"},
		{"lists in lists", `len(map(1..2000, map(1..2000, #))) > 0`, errRounds.Error() + "|memory budget"},
		{"a text that doubles", `len(` + doubled + `) > 0`, errMade.Error()},
		{"a text that is multiplied by replacing", `len(` + nested(12, "replace(", "subject", `, "", "xxxxxxxxxxxxxxxxxxxx")`) + `) > 0`, errMade.Error()},
		{"a text that is multiplied by joining", `len(` + nested(12, `join(split(`, "subject", `, ""), "xxxxxxxxxxxxxxxxxxxx")`) + `) > 0`, errMade.Error()},
		{"many texts", `len(map(1..1900000, upper(subject))) > 0`, errMade.Error() + "|memory budget"},
		{"many pieces", `len(map(1..100000, split(subject, ""))) > 0`, errMade.Error()},
		{"a text that is searched again and again", `any(1..999000, any(parts, subject contains "b"))`, errRead.Error() + "|" + errRounds.Error()},
		{"a regular expression again and again", `any(1..999000, subject matches "(a| )*(a|a )*(a | )*b$")`, errRead.Error()},
		{"a large regular expression", `any(1..999000, subject matches "(a?){500}(a ?){500}b")`, errRead.Error()},
		{"a list that is searched again and again", `any(1..999000, subject in map(1..1000, "x"))`, "memory budget|" + errRounds.Error()},
		{"pieces that are searched again and again", `any(1..999000, "b" in split(subject, "a"))`, errMade.Error() + "|" + errRead.Error()},
		{"texts that are compared again and again", `any(1..999000, subject == trim(subject, "x") + "y")`, errMade.Error() + "|" + errRead.Error()},
		{"trimming with many letters", `any(1..999000, trim(subject, subject) == "x")`, errRead.Error()},
		{"the largest of many", `any(1..999000, max(1..900) == 0)`, "memory budget|" + errRead.Error()},
		{"the sum of many", `any(1..999000, sum(map(1..900, #)) == 0)`, "memory budget|" + errRounds.Error()},
		{"slices of a text", `any(1..999000, len(subject[1:800]) == 0)`, errRead.Error()},
		{"a list that is too deep for the parser", `[` + nested(3000, "[", "1", "]") + `] == []`, "not loaded"},
		{"not a thousand times", nested(1990, "!", "(size < 0)", ""), ""},
		{"brackets", nested(4000, "(", "size < 0", ")"), ""},
		{"a long list of texts", `subject in ["x"` + strings.Repeat(`,"y"`, 1900) + `]`, ""},
		{"a check in a long list", `any(1..999000, has("hidden/*"` + strings.Repeat(`,"clamd/*"`, 199) + `))`, errRead.Error()},
		{"paths in a long list", `any(1..999000, any(parts, .pathIs("**/zip/**/zip/**/pe"` + strings.Repeat(`,"**/zip/**/zip/**/rar"`, 199) + `)))`, errRead.Error()},
		{"types in a long list", `any(1..999000, any(parts, .is("pe"` + strings.Repeat(`,"elf"`, 199) + `)))`, errRead.Error()},
		{"networks in a long list", `any(1..999000, any(parts, hostIn("203.0.113.1"` + strings.Repeat(`,"203.0.113.2"`, 199) + `)))`, errRead.Error()},
		{"lists again and again", `any(1..999000, any(parts, .inList("none"` + strings.Repeat(`,"none"`, 199) + `)))`, errRead.Error()},
		{"hashes again and again", `any(1..999000, any(parts, hashIn(.sha256, "none"` + strings.Repeat(`,"none"`, 199) + `)))`, errRead.Error()},
		{"addresses again and again", `any(1..999000, any(parts, addressIn(subject, "none"` + strings.Repeat(`,"none"`, 199) + `)))`, errRead.Error()},
		{"results again and again", `any(1..999000, any(parts, spf == "pass" or dmarc == "pass" or "x" in dkim_domains))`, errRead.Error() + "|" + errRounds.Error()},
		{"names", `any(1..999000, any(parts, .named("*a*b*c*d*")))`, errCompared.Error() + "|" + errRounds.Error()},
		{"division by nothing", `1 % (size - size) == 0`, "divide by zero"},
		{"a number that is none", `int(subject) == 1`, "invalid"},
		{"an item that is not there", `parts[100000].size > 1`, "out of range"},
		{"a range that overflows", `len(-9223372036854775807..9223372036854775807) > 1`, ""},
		{"powers", `2 ** 1000000 < 0`, ""},
		{"sorting", `sortBy(parts, .size)[0].id == "1"`, "not loaded"},
		{"repeating", `repeat("a", 1000000) == "b"`, "not loaded"},
		{"reducing", `reduce(1..100, # + #acc) == 1`, "not loaded"},
		{"a variable", `let x = subject + subject; x == ""`, "not loaded"},
	} {
		start := time.Now()
		got := howItEnds(t, tt.when, func(p *Policy) *Verdict {
			return p.Decide(m, report(t, m, "+html/script 1.2", "html/form 1.2", "header/long 1"))
		})
		took := time.Since(start)
		ok := false
		for want := range strings.SplitSeq(tt.want, "|") {
			ok = ok || want == got || want != "" && strings.Contains(got, want)
		}
		if !ok || took > guard {
			t.Errorf("%s: %.80s: took %v and ended with %.300q, want %q", tt.name, tt.when, took, got, tt.want)
		}
		t.Logf("%-45s %-10v %.100s", tt.name, took.Round(time.Millisecond), got)
	}
}

// howItEnds is what the trace says if the condition could not be evaluated; empty if it could.
func howItEnds(t *testing.T, when string, decide func(*Policy) *Verdict) string {
	t.Helper()
	text := "addresses: {none: []}\nhashes: {none: []}\nrules:\n- name: x\n  then: accept\n  when: |\n    " + when + "\n"
	p, err := Load("x.yaml", []byte(text), Options{Editor: fakeEditor{}, Lists: builtinLists})
	if err != nil {
		return "not loaded: " + err.Error()
	}
	for _, s := range decide(p).Trace {
		if s.Failed {
			return s.Why
		}
	}
	return ""
}

// TestHostileMessagesEnd: what a harmless rule costs for a message that was made to make it costly.
func TestHostileMessagesEnd(t *testing.T) {
	many := parse(t, "Subject: "+strings.Repeat("a", 900)+"\nContent-Type: multipart/mixed; boundary=b\n\n"+strings.Repeat("--b\n\nx\n", 1800))
	var r scanners.Report
	for _, p := range many.Root.Children {
		for range 10 {
			r.Findings = append(r.Findings, report(t, many, "html/script "+p.ID).Findings...)
		}
	}
	for _, tt := range []struct{ name, when string }{
		{"parts with a subject", `subject matches "(?i)(a|b)*c$"`},
		{"parts with all findings", `part.size > 100000 or count("clamd/*") > 1`},
		{"parts with all parts", `any(parts, .size > 100000)`},
	} {
		start := time.Now()
		p := load(t, "rules:\n- name: x\n  for: part\n  do: [hold]\n  when: |\n    "+tt.when)
		v := p.Decide(many, r)
		took := time.Since(start)
		if took > guard {
			t.Errorf("%s: took %v", tt.name, took)
		}
		t.Logf("%s: %v, %s, %s", tt.name, took, v.Action, v.Trace[0].Why)
	}
}

func TestSizesOfRegularExpressions(t *testing.T) {
	for pattern, want := range map[string][2]int{"a": {2, 10}, "(?i)invoice": {8, 30}, "(a?){1000}": {1000, 5000}, "(": {1, 1}} {
		if got := patternSize(pattern); got < want[0] || got > want[1] {
			t.Errorf("%s: %d, want from %d to %d", pattern, got, want[0], want[1])
		}
	}
}

// TestTextFunctions: ours give what those of the language do.
func TestTextFunctions(t *testing.T) {
	m := parse(t, threeParts)
	for when, want := range map[string]bool{
		`split("a,b,c", ",") == ["a", "b", "c"]`:                    true,
		`split("a,b,c", ",", 2) == ["a", "b,c"]`:                    true,
		`split("äb", "") == ["ä", "b"]`:                             true,
		`len(split("", ",")) == 1`:                                  true,
		`join(["a", "b"]) == "ab"`:                                  true,
		`join(map(parts, .id), "+") == "1+1.1+1.2+1.3"`:             true,
		`join(recipients, " ") contains "eve@"`:                     true,
		`replace("aaa", "a", "b", 2) == "bba"`:                      true,
		`replace("aä", "", "-") == "-a-ä-"`:                         true,
		`trim("xxaxx", "x") == "a" and trim("\t a ") == "a"`:        true,
		`sender + "/" + helo == "Ann@Example.ORG/helo.example.org"`: true,
		`map(["a"], # + "b")[0] == "ab"`:                            true,
		`map([1], # + 2)[0] == 3`:                                   true,
		`lower("Ä") + upper("ä") == "äÄ"`:                           true,
		`subject[0:2] == "Gr"`:                                      true,
		`sum(map(parts, .size)) == sum(parts, .size)`:               true,
		`min(map(parts, .size)) == 0 and max(1, 2, 3) == 3`:         true,
		`indexOf(subject, "ü") == 2 and len(subject) == 5`:          true,
		`"eve@example.com" in recipients`:                           true,
		`"x" in map(recipients, lower(#))`:                          false,
		`recipients == map(recipients, #)`:                          true,
		`len(filter(parts, .size > 1)) == count(parts, .size > 1)`:  true,
		`sender < helo and sender != helo`:                          true,
	} {
		p := load(t, fmt.Sprintf("rules:\n- name: x\n  then: discard\n  when: |\n    %s\n", when))
		v := p.Decide(m, scanners.Report{})
		if got := v.Action == Discard; got != want || strings.Contains(traceOf(v), "could not be") {
			t.Errorf("%s: %v, want %v\n%s", when, got, want, traceOf(v))
		}
	}
}
