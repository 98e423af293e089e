package policy

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// BenchmarkDecide is what the policy that is built in costs for a message without findings.
func BenchmarkDecide(b *testing.B) {
	p, m := Default(), parse(b, threeParts)
	b.ReportAllocs()
	for b.Loop() {
		if v := p.Decide(m, scanners.Report{}); v.Action != Accept {
			b.Fatal(v.Action)
		}
	}
}

// BenchmarkDecideFindings is the same for a message of which something is found in each part.
func BenchmarkDecideFindings(b *testing.B) {
	p, m := Default(), parse(b, threeParts)
	r := report(b, m, "header/long 1", "+html/script 1.2", "name/long 1.3")
	b.ReportAllocs()
	for b.Loop() {
		p.Decide(m, r)
	}
}

// manyRules is a policy with n rules as administrators write them, none of which decides.
func manyRules(n int) string {
	kinds := []string{
		`when: 'has("clamd/malware") and sender_domain == "host%d.example.org"', then: quarantine`,
		`for: part, when: 'part.has("html/form") and part.named("*.x%d")', do: [defang]`,
		`for: part, when: 'not part.member and part.named("*.x%d", "invoice-%d*")', do: [defang]`,
		`for: part, when: 'part.is("executable") and part.size > %d', then: quarantine`,
		`when: 'subject contains "offer %d" and not has("clamd/malware")', do: [{tag_subject: "[offer]"}]`,
		`for: part, when: 'part.type == "pe" and part.depth > 0 and part.size != %d', then: quarantine`,
		`when: 'any(recipients, # == "user%d@example.net") and size > 1000', do: [hold]`,
		`for: part, when: 'part.has("archive/*") or part.pathIs("zip/**/pe") and part.size > %d', then: quarantine`,
		`when: 'subject matches "(?i)invoice %d"', do: [hold]`,
		`for: part, when: '"x%d" in part.ext and part.disposition == "attachment"', do: [rename]`,
	}
	var b strings.Builder
	b.WriteString("rules:\n")
	for i := range n {
		fmt.Fprintf(&b, "- {name: rule %d, %s}\n", i, strings.ReplaceAll(kinds[i%len(kinds)], "%d", strconv.Itoa(i)))
	}
	return b.String()
}

// twentyParts is a message with twenty parts, and what a scanner found in it.
func twentyParts(t testing.TB) (*eml.Message, scanners.Report) {
	var b strings.Builder
	b.WriteString("Subject: The minutes of our meeting\nFrom: ann@example.org\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nhello\n--b\nContent-Type: text/html\n\n<p>x<script>y</script></p>\n")
	for i := range 17 {
		fmt.Fprintf(&b, "--b\nContent-Type: application/octet-stream; name=\"document %d.pdf\"\nContent-Disposition: attachment; filename=\"document %d.pdf\"\n\n%%PDF-1.4 %d\n", i, i, i)
	}
	m := parse(t, b.String()+"--b--\n")
	return m, report(t, m, "header/long 1", "+html/script 1.2", "name/long 1.3", "clamd/pua 1.4")
}

// BenchmarkDecideManyRules is 200 rules over a message of 20 parts. It must take less than 1 ms.
func BenchmarkDecideManyRules(b *testing.B) {
	p := load(b, manyRules(200))
	m, r := twentyParts(b)
	b.ReportAllocs()
	for b.Loop() {
		if v := p.Decide(m, r); v.Action != Accept || len(v.Trace) < 200 {
			b.Fatal(traceOf(v))
		}
	}
}

// BenchmarkDecidePartRules is the same with rules for parts only.
func BenchmarkDecidePartRules(b *testing.B) {
	var text strings.Builder
	text.WriteString("rules:\n")
	for i := range 200 {
		fmt.Fprintf(&text, "- {name: rule %d, for: part, when: 'part.type == \"pe\" and part.size > %d or part.has(\"archive/*\", \"clamd/malware\") and not part.member', then: quarantine}\n", i, i)
	}
	p := load(b, text.String())
	m, r := twentyParts(b)
	b.ReportAllocs()
	for b.Loop() {
		if v := p.Decide(m, r); v.Action != Accept || len(v.Trace) < 200 {
			b.Fatal(traceOf(v))
		}
	}
}

// BenchmarkLoadManyRules loads a policy of 1,000 rules. It must take less than 1 s.
func BenchmarkLoadManyRules(b *testing.B) {
	text := []byte(manyRules(1000))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load("x.yaml", text, Options{Checks: knownChecks, Editor: fakeEditor{}, Lists: builtinLists}); err != nil {
			b.Fatal(err)
		}
	}
}
