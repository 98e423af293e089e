package dkim

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	"go.uber.org/goleak"

	"rastel/contrib/rig"
	"rastel/sanitize/eml"
	"rastel/scanners/scannertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const letter = "From: a@example.org\r\nSubject: hello\r\n\r\nSee you on Friday.\r\n"

// nameServer is one that knows a key, which is returned, of s._domainkey.example.org.
func nameServer(t *testing.T) (*rig.DNS, crypto.Signer) {
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
	d.Set("s._domainkey.example.org", "v=DKIM1; k=ed25519; p="+base64.StdEncoding.EncodeToString(public))
	return d, key
}

func sign(t *testing.T, key crypto.Signer, domain, selector, raw string) string {
	t.Helper()
	var out bytes.Buffer
	err := dkim.Sign(&out, strings.NewReader(raw), &dkim.SignOptions{
		Domain: domain, Selector: selector, Signer: key,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationSimple,
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func parse(t *testing.T, raw string) *eml.Message {
	t.Helper()
	s := eml.NewSpool(eml.SpoolOptions{})
	if _, err := s.Write([]byte(raw)); err != nil {
		t.Fatal(err)
	}
	s.CloseWrite(nil)
	m, _, err := eml.Parse(t.Context(), &eml.Envelope{}, s, eml.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close(); s.Close() })
	return m
}

// results are the checks and details of what is found.
func results(t *testing.T, ctx context.Context, s *Scanner, raw string) string {
	t.Helper()
	findings, err := s.ScanMessage(ctx, parse(t, raw))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range findings {
		out = append(out, strings.TrimPrefix(f.Check, area)+" "+f.Detail)
	}
	return strings.Join(out, "\n")
}

func TestResults(t *testing.T) {
	d, key := nameServer(t)
	d.Set("revoked._domainkey.example.org", "v=DKIM1; k=ed25519; p=")
	d.Set("long._domainkey.example.org", "v=DKIM1; n="+strings.Repeat("x", 1100)+"; p=")
	good := sign(t, key, "example.org", "s", letter)
	other := sign(t, key, "example.org", "nowhere", letter)
	for name, c := range map[string]struct{ raw, want string }{
		"no signature":       {letter, ""},
		"good":               {good, "pass d=example.org s=s"},
		"no empty line":      {strings.SplitAfter(good, "Subject: hello\r\n")[0], "permerror d=example.org s=s: failed to read header: EOF"},
		"body changed":       {good + "P.S.\r\n", "fail d=example.org s=s: body hash did not verify"},
		"header changed":     {strings.Replace(good, "hello", "hullo", 1), "fail d=example.org s=s: signature did not verify: dkim: invalid Ed25519 signature"},
		"no key":             {other, "permerror d=example.org s=nowhere: no key for signature: lookup nowhere._domainkey.example.org: no such record"},
		"revoked":            {sign(t, key, "example.org", "revoked", letter), "permerror d=example.org s=revoked: key revoked"},
		"two":                {sign(t, key, "example.org", "nowhere", good), "permerror d=example.org s=nowhere: no key for signature: lookup nowhere._domainkey.example.org: no such record\npass d=example.org s=s"},
		"more than verified": {sign(t, key, "example.org", "s", strings.Repeat("DKIM-Signature: x\r\n", 5)+letter), "pass d=example.org s=s\npermerror d=? s=?: malformed signature tags: dkim: malformed header params\npermerror d=? s=?: malformed signature tags: dkim: malformed header params"},
		"names with more":    {"DKIM-Signature: v=1; d=a\"b; s=x y\r\n" + letter, "permerror d=? s=xy: signature missing required tag"},
		"empty lines":        {good + strings.Repeat("\r\n", 40_000), "permerror d=example.org s=s: too many empty lines"},
		"long signature":     {"DKIM-Signature: v=1; d=a; s=b; h=" + strings.Repeat("a:", 10_000) + "\r\n" + letter, "permerror d=a s=b: the signature is too long"},
		"huge header":        {"DKIM-Signature: v=1; d=a; s=b\r\n" + strings.Repeat("A: b\r\n", 2000) + letter, "permerror d=a s=b: the header is too large"},
		"body length":        {strings.Replace(good, "v=1;", "l=5; v=1;", 1), "fail d=example.org s=s: message contains an insecure body length tag"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := results(t, t.Context(), New(Config{Resolver: d.Addr}), c.raw); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestVerifiesRSA(t *testing.T) {
	d, _ := nameServer(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	d.Set("r._domainkey.example.org", "v=DKIM1; k=rsa; p="+base64.StdEncoding.EncodeToString(der))
	if got := results(t, t.Context(), New(Config{Resolver: d.Addr}), sign(t, key, "example.org", "r", letter)); got != "pass d=example.org s=r" {
		t.Errorf("got %q", got)
	}
}

func TestKeysAreKept(t *testing.T) {
	d, key := nameServer(t)
	s := New(Config{Resolver: d.Addr})
	good, other := sign(t, key, "example.org", "s", letter), sign(t, key, "example.org", "nowhere", letter)
	for range 3 {
		results(t, t.Context(), s, good)
		results(t, t.Context(), s, other)
	}
	if n := d.Asked(); n != 2 {
		t.Errorf("DNS was asked %d times, want once for each key", n)
	}
}

// A look-up that fails is no reason to delay or refuse a message.
func TestDNSThatIsDownIsATemporaryResult(t *testing.T) {
	d, key := nameServer(t)
	d.Set("silent._domainkey.example.org", rig.Silence)
	closed, err := rig.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ server, selector string }{
		"silent": {d.Addr, "silent"}, "nobody there": {closed, "s"},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(Config{Resolver: c.server, Timeout: 200 * time.Millisecond})
			raw := sign(t, key, "example.org", c.selector, letter)
			for range 2 { // the second time it is known
				start := time.Now()
				got := results(t, t.Context(), s, raw)
				if !strings.HasPrefix(got, "temperror d=example.org s="+c.selector) {
					t.Errorf("got %q", got)
				}
				if took := time.Since(start); took > 30*time.Second {
					t.Errorf("took %v", took)
				}
			}
		})
	}
}

func TestEndsWithItsContext(t *testing.T) {
	d, key := nameServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	raw := sign(t, key, "example.org", "s", sign(t, key, "example.org", "s", letter))
	if got := results(t, ctx, New(Config{Resolver: d.Addr}), raw); !strings.HasPrefix(got, "temperror") {
		t.Errorf("got %q", got)
	}
}

func TestKeysAreBounded(t *testing.T) {
	k := newKeys("")
	for i := range 3 * maxKeys {
		k.keep(fmt.Sprint(i), answer{until: time.Now().Add(time.Duration(i%2) * time.Hour)})
	}
	if len(k.answers) > maxKeys {
		t.Errorf("%d answers are kept, want at most %d", len(k.answers), maxKeys)
	}
}

func TestRecord(t *testing.T) {
	s := New(Config{AuthservID: "mx.example.net"})
	m := parse(t, "Received: x\r\n"+
		"authentication-results: MX.example.net; dkim=pass header.d=bank.example\r\n"+
		"Authentication-Results: (a (b) \\) c) mx.example.net 1;\r\n spf=pass\r\n"+
		"Authentication-Results: \"mx.example.net\"; spf=pass\r\n"+
		"Authentication-Results: mx.example.net.evil.example; spf=pass\r\n"+letter)
	if edits := s.Record(m, []eml.Finding{{Check: "html/script", Part: m.Root}}); len(edits) != 0 {
		t.Errorf("got %v without a result", edits)
	}
	patch, err := eml.NewPatch(m, s.Record(m, []eml.Finding{
		{Check: area + pass, Part: m.Root, Detail: "d=example.org s=s"},
		{Check: area + fail, Part: m.Root, Detail: "d=? s=b: it \"\r\nBcc: x"},
		{Check: "spf/softfail", Part: m.Root, Detail: "smtp.mailfrom=example.org"},
		{Check: "dmarc/fail", Part: m.Root, Detail: "header.from=example.org: p=reject"},
		{Check: "dmarc/reject", Part: m.Root, Detail: "header.from=example.org"},
	}))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := patch.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	want := "Authentication-Results: mx.example.net;\r\n\tdkim=pass header.d=example.org header.s=s;\r\n" +
		"\tdkim=fail reason=\"it ???Bcc: x\" header.s=b;\r\n\tspf=softfail smtp.mailfrom=example.org;\r\n" +
		"\tdmarc=fail reason=\"p=reject\" header.from=example.org\r\nReceived: x\r\nAuthentication-Results: mx.example.net.evil.example; spf=pass\r\n" + letter
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	if f := patch.Fields(); f[len(f)-1].Op != eml.InsertField || f[len(f)-1].Index != 0 {
		t.Errorf("the field is not inserted at the top: %+v", f)
	}
}

func TestScannerKeepsItsContract(t *testing.T) { scannertest.Run(t, New(Config{})) }

func TestConfig(t *testing.T) {
	for _, c := range []Config{{Resolver: "127.0.0.1"}, {Timeout: time.Hour}, {Signatures: -1}, {AuthservID: "a b"}} {
		if c.Validate() == nil {
			t.Errorf("%+v is valid", c)
		}
	}
	if err := (Config{Resolver: "[::1]:53", Timeout: time.Second, Signatures: 5, AuthservID: "mx.example.net"}).Validate(); err != nil {
		t.Error(err)
	}
}
