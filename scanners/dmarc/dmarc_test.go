package dmarc

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"net/netip"
	"strings"
	"testing"
	"time"

	msgdkim "github.com/emersion/go-msgauth/dkim"
	"go.uber.org/goleak"

	"rastel/contrib/rig"
	"rastel/sanitize/eml"
	"rastel/scanners/dkim"
	"rastel/scanners/network"
	"rastel/scanners/scannertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const relay = "192.0.2.1"

// A world is a name server, and a key that it knows for example.org.
type world struct {
	dns *rig.DNS
	key crypto.Signer
}

func newWorld(t *testing.T) world {
	t.Helper()
	d, err := rig.StartDNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Stop() })
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"s._domainkey.example.org":   "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public),
		"s._domainkey.other.example": "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public),
		"example.org":                "v=spf1 ip4:203.0.113.0/25 ip6:2001:db8::/32 ~all",
		"sub.example.org":            "v=spf1 ip4:203.0.113.0/25 -all",
		"other.example":              "v=spf1 include:example.org -all",
		"hard.example":               "v=spf1 a mx -all",
		"neutral.example":            "v=spf1 ?all",
		"broken.example":             "v=spf1 nonsense",
		"loop.example":               "v=spf1 include:loop.example -all",
		"mx.sender.example":          "v=spf1 a -all",
		"silent.example":             rig.Silence,
		"_dmarc.example.org":         "v=DMARC1; p=reject; sp=quarantine",
		"_dmarc.hard.example":        "v=DMARC1; p=reject; aspf=s; adkim=s",
		"_dmarc.other.example":       "v=DMARC1; p=reject; pct=20",
		"_dmarc.watching.example":    "v=DMARC1; p=none",
		"_dmarc.broken.example":      "v=DMARC1; p=perhaps",
		"_dmarc.silent.example":      rig.Silence,
		"_dmarc.later.example":       "v=DMARC1; p=reject",
		"later.example":              rig.Silence,
	} {
		d.Set(name, text)
	}
	if err := d.Add("hard.example. 60 IN A 203.0.113.7", "hard.example. 60 IN MX 10 mx.hard.example.", "mx.hard.example. 60 IN A 203.0.113.8",
		"mx.sender.example. 60 IN A 203.0.113.9"); err != nil {
		t.Fatal(err)
	}
	return world{d, key}
}

func (w world) scanner(t *testing.T) *Scanner {
	t.Helper()
	r, err := network.NewResolver(network.Config{Resolver: w.dns.Addr, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	relays, err := network.ParseRelays([]string{relay})
	if err != nil {
		t.Fatal(err)
	}
	return New(Config{Timeout: maxTimeout}, r, relays, dkim.New(dkim.Config{Resolver: w.dns.Addr}))
}

// sign signs a message in the name of a domain.
func (w world) sign(t *testing.T, domain, raw string) string {
	t.Helper()
	var out bytes.Buffer
	err := msgdkim.Sign(&out, strings.NewReader(raw), &msgdkim.SignOptions{Domain: domain, Selector: "s", Signer: w.key, HeaderKeys: []string{"From", "Subject"}})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func parse(t *testing.T, env *eml.Envelope, raw string) *eml.Message {
	t.Helper()
	s := eml.NewSpool(eml.SpoolOptions{})
	if _, err := s.Write([]byte(raw)); err != nil {
		t.Fatal(err)
	}
	s.CloseWrite(nil)
	m, _, err := eml.Parse(t.Context(), env, s, eml.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close(); s.Close() })
	return m
}

func results(t *testing.T, ctx context.Context, s *Scanner, m *eml.Message) string {
	t.Helper()
	findings, err := s.ScanMessage(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range findings {
		if f.Part != m.Root {
			t.Errorf("%s has no part", f.Check)
		}
		if !strings.HasPrefix(f.Check, "signed/") {
			out = append(out, f.Check+" "+f.Detail)
		}
	}
	return strings.Join(out, "\n")
}

func from(domain string) string {
	return "From: Ann <ann@" + domain + ">\r\nSubject: x\r\n\r\nhello\r\n"
}

func TestResults(t *testing.T) {
	w := newWorld(t)
	good, bad := "203.0.113.1", "198.51.100.1"
	for name, c := range map[string]struct{ client, sender, raw, want string }{
		"aligned SPF":          {good, "a@example.org", from("example.org"), "spf/pass smtp.mailfrom=example.org\ndmarc/pass header.from=example.org"},
		"IPv6":                 {"2001:db8::1", "a@example.org", from("example.org"), "spf/pass smtp.mailfrom=example.org\ndmarc/pass header.from=example.org"},
		"relaxed":              {good, "a@sub.example.org", from("example.org"), "spf/pass smtp.mailfrom=sub.example.org\ndmarc/pass header.from=example.org"},
		"relaxed, below":       {good, "a@example.org", from("deep.sub.example.org"), "spf/pass smtp.mailfrom=example.org\ndmarc/pass header.from=deep.sub.example.org"},
		"strict":               {"203.0.113.7", "a@hard.example", from("hard.example"), "spf/pass smtp.mailfrom=hard.example\ndmarc/pass header.from=hard.example"},
		"by MX":                {"203.0.113.8", "a@hard.example", from("hard.example"), "spf/pass smtp.mailfrom=hard.example\ndmarc/pass header.from=hard.example"},
		"strict, other host":   {good, "a@hard.example", from("hard.example"), "spf/fail smtp.mailfrom=hard.example\ndmarc/fail header.from=hard.example: p=reject\ndmarc/reject header.from=hard.example"},
		"not aligned":          {good, "a@other.example", from("example.org"), "spf/pass smtp.mailfrom=other.example\ndmarc/fail header.from=example.org: p=reject\ndmarc/reject header.from=example.org"},
		"subdomain":            {bad, "a@other.example", from("sub.example.org"), "spf/fail smtp.mailfrom=other.example\ndmarc/fail header.from=sub.example.org: p=quarantine\ndmarc/quarantine header.from=sub.example.org"},
		"a part of it":         {bad, "a@example.org", from("other.example"), "spf/softfail smtp.mailfrom=example.org\ndmarc/fail header.from=other.example: p=quarantine\ndmarc/quarantine header.from=other.example"},
		"only watching":        {bad, "a@neutral.example", from("watching.example"), "spf/neutral smtp.mailfrom=neutral.example\ndmarc/fail header.from=watching.example: p=none"},
		"signature":            {bad, "a@other.example", w.sign(t, "example.org", from("example.org")), "spf/fail smtp.mailfrom=other.example\ndmarc/pass header.from=example.org"},
		"signature of another": {bad, "a@nothing.example", w.sign(t, "other.example", from("example.org")), "spf/none smtp.mailfrom=nothing.example\ndmarc/fail header.from=example.org: p=reject\ndmarc/reject header.from=example.org"},
		"broken signature":     {bad, "a@nothing.example", w.sign(t, "example.org", from("example.org")) + "P.S.\r\n", "spf/none smtp.mailfrom=nothing.example\ndmarc/fail header.from=example.org: p=reject\ndmarc/reject header.from=example.org"},
		"no policy":            {bad, "a@nothing.example", from("nothing.example"), "spf/none smtp.mailfrom=nothing.example\ndmarc/none header.from=nothing.example"},
		"broken records":       {bad, "a@broken.example", from("broken.example"), "spf/permerror smtp.mailfrom=broken.example: unknown field\ndmarc/permerror header.from=broken.example: invalid policy for parameter 'p'"},
		"endless":              {bad, "a@loop.example", from("nothing.example"), "spf/permerror smtp.mailfrom=loop.example: lookup limit reached\ndmarc/none header.from=nothing.example"},
		"silent":               {bad, "a@silent.example", from("silent.example"), "spf/temperror smtp.mailfrom=silent.example: lookup silent.example: no answer in time\ndmarc/temperror header.from=silent.example: no answer"},
		"SPF later":            {bad, "a@later.example", from("later.example"), "spf/temperror smtp.mailfrom=later.example: lookup later.example: no answer in time\ndmarc/temperror header.from=later.example: SPF or a signature could not be checked for now"},
		"bounce":               {"203.0.113.9", "", from("mx.sender.example"), "spf/pass smtp.helo=mx.sender.example\ndmarc/none header.from=mx.sender.example"},
		"odd sender":           {bad, `"a@b"@exa mple`, from("nothing.example"), "spf/none smtp.mailfrom=?\ndmarc/none header.from=nothing.example"},
		"no domain":            {bad, "root", from("nothing.example"), "spf/none smtp.mailfrom=?\ndmarc/none header.from=nothing.example"},
		"two From":             {good, "a@example.org", "From: a@example.org\r\n" + from("example.org"), "spf/pass smtp.mailfrom=example.org\ndmarc/permerror header.from=?: there is not one From field"},
		"two domains":          {good, "a@example.org", "From: a@example.org, b@other.example\r\n\r\nx", "spf/pass smtp.mailfrom=example.org\ndmarc/permerror header.from=?: From does not name one domain"},
		"no From":              {good, "a@example.org", "Subject: x\r\n\r\nx", "spf/pass smtp.mailfrom=example.org\ndmarc/permerror header.from=?: there is not one From field"},
		"unreadable From":      {good, "a@example.org", "From: <<a\r\n\r\nx", "spf/pass smtp.mailfrom=example.org\ndmarc/permerror header.from=?: From cannot be read"},
		"other alphabet":       {bad, "a@bücher.example", from("nothing.example"), "spf/none smtp.mailfrom=xn--bcher-kva.example\ndmarc/none header.from=nothing.example"},
		"behind a relay":       {relay, "a@example.org", "Received: from h (n [203.0.113.1]) by relay; x\r\n" + from("example.org"), "spf/pass smtp.mailfrom=example.org\ndmarc/pass header.from=example.org"},
		"relay itself":         {relay, "a@example.org", from("example.org"), ""},
		"from inside":          {"10.0.0.1", "a@example.org", from("example.org"), ""},
		"no address":           {"", "a@example.org", from("example.org"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			env := &eml.Envelope{Helo: "mx.sender.example", Sender: c.sender}
			if c.client != "" {
				env.Client = netip.MustParseAddr(c.client)
			}
			if got := results(t, t.Context(), w.scanner(t), parse(t, env, c.raw)); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// Whoever has authenticated may send from where he is.
func TestUsersAreNotAskedAbout(t *testing.T) {
	w := newWorld(t)
	env := &eml.Envelope{Client: netip.MustParseAddr("198.51.100.1"), AuthUser: "ann", Sender: "a@example.org"}
	if got := results(t, t.Context(), w.scanner(t), parse(t, env, from("example.org"))); got != "" || w.dns.Asked() != 0 {
		t.Errorf("got %q after %d questions", got, w.dns.Asked())
	}
}

func TestEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	env := &eml.Envelope{Client: netip.MustParseAddr("198.51.100.1"), Sender: "a@silent.example"}
	want := "spf/temperror smtp.mailfrom=silent.example: no answer in time\ndmarc/temperror header.from=silent.example: no answer"
	if got := results(t, ctx, w.scanner(t), parse(t, env, from("silent.example"))); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestScannerKeepsItsContract(t *testing.T) { scannertest.Run(t, newWorld(t).scanner(t)) }

func TestConfig(t *testing.T) {
	for _, c := range []Config{{Timeout: -1}, {Timeout: time.Hour}} {
		if c.Validate() == nil {
			t.Errorf("%+v is valid", c)
		}
	}
}
