package policy

import (
	"testing"

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
