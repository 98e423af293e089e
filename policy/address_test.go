package policy

import (
	"strings"
	"testing"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

func TestAddresses(t *testing.T) {
	label := strings.Repeat("a", maxLabel)
	for s, want := range map[string]bool{
		"ann@example.org": true, "a.b+c@x": true, "o'neil@a-b.example": true, `"ann b"@x.test`: true, `"a\"b"@x.test`: true,
		"a@[192.0.2.1]": true, "a@[IPv6:2001:db8::1]": true, strings.Repeat("a", maxLocal) + "@" + label + ".x": true,
		"": false, "ann": false, "@x": false, "ann@": false, "ann@@x": false, ".a@x": false, "a..b@x": false, "a.@x": false,
		"a b@x": false, "a@x y": false, "a@x>": false, "<a@x": false, "a@x\r\n": false, "a\x00@x": false, "ä@x": false, "a@ä": false,
		`"a@x`: false, `"a"b"@x`: false, `"a\"@x`: false, `""@x`: false, "a@-x": false, "a@x-": false, "a@x..y": false, "a@.x": false, "a@x.": false,
		"a@[2001:db8::1]": false, "a@[IPv6:192.0.2.1]": false, "a@[x]": false, "a@[192.0.2.1": false, "a@[IPv6:fe80::1%eth0]": false,
		"a,b@x": false, "a:b@x": false, "a@" + label + "a": false, strings.Repeat("a", maxLocal+1) + "@x": false,
		"a@" + strings.Repeat("a.", maxMailbox/2) + "a": false,
	} {
		if got := isAddress(s); got != want {
			t.Errorf("%.80q: got %v, want %v", s, got, want)
		}
	}
}

// spellings are addresses as MTAs take them, and plainly.
var spellings = map[string]string{
	"Ann@Example.ORG": "Ann@Example.ORG", "a.b-c_d+e=f@x": "a.b-c_d+e=f@x", `"ann"@x.`: "ann@x", `"a\"b@c"@x`: `"a\"b@c"@x`, `"a\nn"@x`: "ann@x",
	"@a,@b:ann@x": "ann@x", `@a:"ann b"@x`: `"ann b"@x`, "@a:@b:ann@x": "ann@x", "ann": "ann", "": "", "@x": "@x", `a."n".n@x`: "a.n.n@x", `"a@y"@x`: `"a@y"@x`,
	"ann(comment)@x": "ann@x", "(c)ann@x(d (e) f)": "ann@x", `ann(\)@y)@x`: "ann@x", " ann @ x ": "ann@x", `"ann (no)"@x`: `"ann (no)"@x`, "ann@x(@y)": "ann@x",
	"ann%y@x": "ann%y@x", "ann%x": "ann@x", "ann%y%x": "ann%y@x", "x!ann": "ann@x", "x!y!ann": "y!ann@x", "x!ann@y": "x!ann@y", "%x": "%x",
	"ann@[192.0.2.1]": "ann@[192.0.2.1]", "ann@[IPv6:2001:db8::1]": "ann@[IPv6:2001:db8::1]", "ärger@x": "ärger@x", "ann@x..": "ann@x", `"`: `""`, `"@x`: `"@x"`, `a\`: `"a\\"`,
}

func TestPlainAddress(t *testing.T) {
	for s, want := range spellings {
		if got := plainAddress(s); got != want {
			t.Errorf("%q: got %q, want %q", s, got, want)
		}
		if got := sameMailbox(s); got != strings.ToLower(want) {
			t.Errorf("%q: the mailbox is %q, want %q", s, got, strings.ToLower(want))
		}
	}
}

// FuzzPlainAddress: what is plain stays as it is, and an address that may be added is one mailbox with itself.
func FuzzPlainAddress(f *testing.F) {
	for s := range spellings {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once := plainAddress(s)
		if isAddress(s) && !isAddress(once) {
			t.Errorf("%q is an address, %q is none", s, once)
		}
		if twice := plainAddress(once); isAddress(s) && twice != once {
			t.Errorf("%q is plainly %q, and that %q", s, once, twice)
		}
	})
}

// TestRulesSeeRecipientsPlainly: both MTAs deliver all of these to the same mailbox.
func TestRulesSeeRecipientsPlainly(t *testing.T) {
	p := load(t, `rules:
- {name: early, stage: rcpt, when: 'recipient == "eve@desk.test" and recipient_domain == "desk.test"', then: reject}
- {name: all, when: 'recipients == ["eve@desk.test"]', do: [hold]}
- {name: r, for: recipient, when: 'recipient == "eve@desk.test" and recipient_domain == "desk.test"', then: quarantine}`)
	for _, s := range []string{"eve@desk.test", `"eve"@desk.test`, "eve(x)@desk.test", "eve@desk.test.", "@a:eve@desk.test", "eve@desk.test(x)", "eve%desk.test", "desk.test!eve", `"e\ve"@desk.test`, " eve@desk.test"} {
		m := messageTo(t, s)
		if v := p.Decide(m, scanners.Report{}); v.Action != Quarantine || !v.Hold {
			t.Errorf("%q: %s, held %v", s, v.Action, v.Hold)
		}
		if v := p.DecideAt(eml.AtRcpt, m.Envelope, s, nil); v.Action != Reject {
			t.Errorf("%q: %s at RCPT", s, v.Action)
		}
	}
}
