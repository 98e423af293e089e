package policy

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

const networkRule = "rules: [{name: x, when: 'hostIn(\"mine\")', then: reject}]\n"

func TestNetworksMatchAddresses(t *testing.T) {
	for _, tt := range []struct {
		network, address string
		want             bool
	}{
		{"192.0.2.0/24", "192.0.2.255", true},
		{"192.0.2.0/24", "192.0.3.0", false},
		{"192.0.2.7/24", "192.0.2.1", true},
		{"192.0.2.7", "192.0.2.7", true},
		{"192.0.2.7", "192.0.2.8", false},
		{"192.0.2.0/24", "::ffff:192.0.2.9", true},
		{"::ffff:192.0.2.0/120", "192.0.2.9", true},
		{"2001:db8::/32", "2001:db8:ffff::1", true},
		{"2001:db8::/32", "2001:db9::1", false},
		{"2001:db8::/32", "192.0.2.1", false},
		{"192.0.2.0/24", "", false},
	} {
		text := fmt.Sprintf("networks: {mine: [%q]}\n", tt.network) + networkRule
		p, err := Load("x.yaml", []byte(text), Options{Host: func(*eml.Message) (a netip.Addr) {
			if tt.address != "" {
				a = netip.MustParseAddr(tt.address)
			}
			return a
		}})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Decide(parse(t, "\nx"), scanners.Report{}).Action == Reject; got != tt.want {
			t.Errorf("%s in %s: %v, want %v", tt.address, tt.network, got, tt.want)
		}
	}
}

// dropJSON is a list as Spamhaus has them.
const dropJSON = `{"cidr":"192.0.2.0/25","sblid":"SBL1","rir":"apnic"}
{"cidr":"2001:db8::/32","sblid":"SBL2","rir":"apnic"}
`

func TestNetworkFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"drop.txt":  "; Spamhaus DROP List 2024/01/01 - (c) 2024\n; Expires: x\n192.0.2.0/25 ; SBL1\r\n198.51.100.0/24;SBL2\n",
		"drop.json": dropJSON + `{"type":"metadata","timestamp":1700000000,"size":300,"records":2,"copyright":"x"}` + "\n",
		"plain":     "# ours\n\n  192.0.2.1 # a comment\n2001:db8::/32\n",
		"empty":     "",
		"half.json": dropJSON,
		"less.json": dropJSON + `{"type":"metadata","records":3}`,
		"bad.json":  dropJSON + "{\"cidr\":",
		"no.json":   `{"asn":1}`,
		"bad":       "192.0.2.0/24\nexample.org\n192.0.2.0/33\n0.0.0.0/0\n",
		"many":      strings.Repeat("192.0.2.1\n", maxNetworks+1),
	} {
		write(t, filepath.Join(dir, name), text)
	}
	at := "policy.yaml:1:26: " + dir
	for _, tt := range []struct {
		file, want string
		in         bool
	}{
		{"drop.txt", "", true}, {"drop.json", "", true}, {"plain", "", true}, {"empty", "", false},
		{"half.json", at + "/half.json: it is cut off", false},
		{"less.json", at + "/less.json: it has 2 networks and says that it has 3", false},
		{"bad.json", at + "/bad.json: line 3: no JSON", false},
		{"no.json", at + "/no.json: line 1: there is no \"cidr\" in it", false},
		{"bad", dir + "/bad:2:1: \"example.org\" is neither a network (192.0.2.0/24) nor an address\n" + dir + "/bad:3:1: \"192.0.2.0/33\" is neither", false},
		{"many", dir + "/many:500001:1: the lists have more than 500000 networks", false},
		{"none", "policy.yaml:1:26: stat " + dir + "/none: no such file", false},
	} {
		file := filepath.Join(dir, "policy.yaml")
		write(t, file, "networks: {mine: [{file: "+tt.file+"}]}\n"+networkRule)
		p, err := LoadFile(file, Options{})
		if tt.want != "" {
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("%s: got %v\nwant %s", tt.file, err, tt.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.file, err)
		} else if got := p.Decide(parse(t, "\nx"), scanners.Report{}).Action == Reject; got != tt.in {
			t.Errorf("%s: 192.0.2.1 is in it: %v, want %v", tt.file, got, tt.in)
		}
	}
}

func TestNetworksThatCannotBeMeant(t *testing.T) {
	for text, want := range map[string]string{
		"networks: [a]\n" + networkRule:                            `"networks" must be a mapping`,
		"networks: {mine: [a]}\n" + networkRule:                    `"a" is neither a network`,
		"networks: {mine: ['::/0']}\n" + networkRule:               "is every address there is",
		"networks: {mine: [192.0.2.1], 'a b': []}\n" + networkRule: "is no name of a list",
		"networks: {mein: [192.0.2.1]}\n" + networkRule:            `unknown list of networks "mine"; there are mein`,
		networkRule: `there is no list of networks "mine"`,
		"rules: [{name: x, when: 'clientIn(\"1.2.3\")', then: reject}]": `"1.2.3" is neither a network`,
	} {
		if _, err := Load("x.yaml", []byte(text), Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

func BenchmarkNetworks(b *testing.B) {
	n := &networks{}
	for i := range 1500 {
		n.table.Insert(netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(i >> 6), byte(i << 2)}), 16))
	}
	a := netip.MustParseAddr("23.252.1.1")
	for b.Loop() {
		n.contains(a)
	}
}
