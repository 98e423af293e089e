package policy

import (
	"fmt"
	"strings"
	"testing"

	"rastel/scanners"
)

// forRecipients is a policy of 200 rules for messages and parts, and so many for recipients.
func forRecipients(b *testing.B, n int) *Policy {
	b.Helper()
	var rules strings.Builder
	rules.WriteString(manyRules(200))
	for i := range n {
		fmt.Fprintf(&rules, "- {name: for %d, for: recipient, when: 'recipient startsWith \"u%d.\"', do: [{tag_subject: '[%d]'}]}\n", i, i, i)
	}
	return load(b, rules.String())
}

// BenchmarkDecideForRecipients is 200 rules for messages and parts, and 20 for recipients, over a message of
// 20 parts to 100 recipients, of whom each twentieth has the same outcome.
func BenchmarkDecideForRecipients(b *testing.B) {
	p := forRecipients(b, 20)
	m, r := twentyParts(b)
	m.Envelope.Recipients = nil
	for i := range 100 {
		m.Envelope.Recipients = append(m.Envelope.Recipients, fmt.Sprintf("u%d.%d@example.net", i%20, i))
	}
	b.ReportAllocs()
	for b.Loop() {
		if v := p.Decide(m, r); len(v.Others) != 19 {
			b.Fatal(len(v.Others))
		}
	}
}

// BenchmarkDecideForTheSameRecipients is what rules for recipients cost that hold for none of 100.
func BenchmarkDecideForTheSameRecipients(b *testing.B) {
	p := forRecipients(b, 20)
	m, r := twentyParts(b)
	m.Envelope.Recipients = nil
	for i := range 100 {
		m.Envelope.Recipients = append(m.Envelope.Recipients, fmt.Sprintf("x%d@example.net", i))
	}
	b.ReportAllocs()
	for b.Loop() {
		if v := p.Decide(m, r); len(v.Others) != 0 {
			b.Fatal(len(v.Others))
		}
	}
}

// BenchmarkDecideForRecipientsHostile is the most groups there are, and a message of as many parts as there may be.
func BenchmarkDecideForRecipientsHostile(b *testing.B) {
	p := forRecipients(b, maxGroups-1)
	m := parse(b, "Content-Type: multipart/mixed; boundary=b\n\n"+strings.Repeat("--b\nContent-Disposition: attachment; filename=x.pdf\n\nx\n", 1990)+"--b--\n")
	m.Envelope.Recipients = nil
	for i := range maxGroups {
		m.Envelope.Recipients = append(m.Envelope.Recipients, fmt.Sprintf("u%d.@example.net", i))
	}
	b.ReportAllocs()
	for b.Loop() {
		b.Log(tellVerdict(p.Decide(m, scanners.Report{})))
	}
}
