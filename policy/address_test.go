package policy

import (
	"strings"
	"testing"
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

func TestSameMailbox(t *testing.T) {
	for s, want := range map[string]string{
		"Ann@Example.ORG": "ann@example.org", `"ann"@x.`: "ann@x", `"a\"b@c"@x`: `a"b@c@x`, "@a,@b:ann@x": "ann@x", "ann": "ann", "": "", `"@x`: `"@x`, "@x": "@x",
	} {
		if got := sameMailbox(s); got != want {
			t.Errorf("%q: got %q, want %q", s, got, want)
		}
	}
}
