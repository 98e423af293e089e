package policy

import (
	"fmt"
	"strings"
	"testing"
)

// TestExceptionsOfMacros: the hash of macros takes away that they are there, in parts that have no others, and nothing
// else.
func TestExceptionsOfMacros(t *testing.T) {
	const rules = `rules:
- {name: malware, when: 'has("clamd/malware")', then: reject}
- {name: macros, when: 'has("office/macro*", "office/vba-*")', then: quarantine}
- {name: sheet, when: 'has("office/xlm")', then: quarantine}
- {name: script, when: 'has("html/script")', then: tempfail}
- {name: closed, when: 'has("archive/encrypted")', then: quarantine}
`
	a, b := strings.Repeat("a", 64), strings.Repeat("b", 64)
	known := "office/macro 1.3, office/macro-autorun 1.3, office/vba-hash 1.3=>" + a
	for _, tt := range []struct{ findings, exceptions, want string }{
		{known, "", "quarantine macros"},
		{known, "macros=" + a, "accept  E0"},
		{known, "macros=" + b, "quarantine macros"},
		{known, "macros=" + a + " until=2026-11-24", "quarantine macros"},
		{known, "macros=" + a + " rule=macros", "accept  E0"},
		{known, "macros=" + a + " rule=script", "quarantine macros"},
		{known, "macros=" + a + " check=office/macro", "quarantine macros E0"},
		{known, "macros=" + a + " check=office/*", "accept  E0"},
		{known, "macros=" + a + " sender=example.org", "quarantine macros"},
		{known + ", dmarc/pass 1", "macros=" + a + " sender=example.org", "accept  E0"},
		{known, "macros=" + a + " recipient=bob@example.net", "accept  E0"},
		{known, "macros=" + a + " recipient=eve@example.net", "quarantine macros"},
		// A part with others too, a part without a hash.
		{known + ", office/vba-hash 1.3=>" + b, "macros=" + a, "quarantine macros"},
		{known + ", office/vba-hash 1.3=>" + b, "macros=" + a + "; macros=" + b, "quarantine macros"},
		{known + ", office/macro 1.2", "macros=" + a, "quarantine macros E0"},
		{known + ", office/macro 1.2, office/vba-hash 1.2=>" + b, "macros=" + a, "quarantine macros E0"},
		{known + ", office/macro 1.2, office/vba-hash 1.2=>" + b, "macros=" + a + "; macros=" + b, "accept  E0 E1"},
		// Nothing else.
		{known + ", !office/macro-hidden 1.3", "macros=" + a, "quarantine macros"},
		{known + ", office/xlm 1.3", "macros=" + a, "quarantine sheet E0"},
		{known + ", html/script 1.3", "macros=" + a, "tempfail script E0"},
		{known + ", html/script 1.3", "macros=" + a + " rule=script", "quarantine macros"},
		{known + ", html/script 1.3", "macros=" + a + "; macros=" + a + " check=html/script", "tempfail script E0"},
		{known + ", clamd/malware 1.3", "macros=" + a, "reject malware"},
		{known + ", clamd/malware 1.3", "macros=" + a + " rule=malware", "reject malware"},
		{known + ", clamd/malware 1.2", "macros=" + a, "reject malware"},
		{known + ", hash/malware 1.2", "macros=" + a, "quarantine macros"},
		{known + ", !archive/encrypted 1.3", "macros=" + a, "quarantine macros"},
		{known + ", !archive/encrypted 1.2", "macros=" + a, "quarantine closed E0"},
	} {
		m := parse(t, threeParts)
		m.Envelope.Recipients = []string{"bob@example.net"}
		r := exceptReport(t, m, strings.Split(tt.findings, ", ")...)
		var lines []string
		if tt.exceptions != "" {
			lines = strings.Split(tt.exceptions, "; ")
		}
		v := exceptPolicy(t, rules).DecideGiven(m, r, Given{Exceptions: exceptFrom(t, m, lines...)})
		if got := strings.TrimSpace(fmt.Sprintf("%s %s %s", v.Action, v.Rule, strings.Join(v.Exceptions, " "))); got != tt.want {
			t.Errorf("%s; %s:\ngot %q, want %q\n%s", tt.findings, tt.exceptions, got, tt.want, traceOf(v))
		}
	}
}
