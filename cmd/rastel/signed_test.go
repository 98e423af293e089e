package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"rastel/contrib/rig"
	"rastel/policy"
	"rastel/policy/engine"
)

// proposed is a line of a rule that default.yaml proposes, but for the comment sign.
var proposed = regexp.MustCompile(`(?m)^  # (- name: |  (?:for|when|then|do): )`)

// proposedEngine has the rules that default.yaml proposes in comments.
func proposedEngine(t *testing.T) *engine.Engine {
	t.Helper()
	text, err := os.ReadFile("../../policy/default.yaml")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(name, proposed.ReplaceAll(text, []byte("  $1")), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := loadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	b := &built{cfg: cfg, log: slog.New(slog.DiscardHandler)}
	b.assemble(nil)
	if b.policy, err = policy.NewLive(name, policyOptions(cfg), b.log); err != nil {
		t.Fatal(err)
	}
	return b.engine(nil)
}

const signedHTML = "From: a@example.org\r\nMIME-Version: 1.0\r\nContent-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=bb\r\n\r\n" +
	"--bb\r\nContent-Type: multipart/mixed; boundary=cc\r\n\r\n--cc\r\nContent-Type: text/html\r\n\r\n<b onclick=x>hello</b>\r\n--cc--\r\n\r\n" +
	"--bb\r\nContent-Type: application/pgp-signature\r\n\r\n-----BEGIN PGP SIGNATURE-----\r\n\r\niQEz\r\n-----END PGP SIGNATURE-----\r\n--bb--\r\n"

func TestProposedRulesHoldWhatIsSignedOrEncrypted(t *testing.T) {
	ours := proposedEngine(t)
	encrypted, err := readCase("../../testdata/cases/innocent-smime-encrypted.case")
	if err != nil {
		t.Fatal(err)
	}
	innocent, err := readCase("../../testdata/cases/innocent-signed.case")
	if err != nil {
		t.Fatal(err)
	}
	unsigned := strings.Replace(signedHTML, "multipart/signed", "multipart/mixed", 1)
	for _, c := range []struct{ name, raw, byDefault, proposed string }{
		{"signed HTML that would be changed", signedHTML, "accept, changed", "quarantine by signed, and would be changed"},
		{"the same without a signature", unsigned, "accept, changed", "accept, changed"},
		{"encrypted", string(encrypted.Raw), "accept", "quarantine by encrypted mail"},
		{"signed text", string(innocent.Raw), "accept", "accept"},
	} {
		if got := fateOf(t, defaultEngine(t), c.raw); got != c.byDefault {
			t.Errorf("%s: by default %q, want %q", c.name, got, c.byDefault)
		}
		if got := fateOf(t, ours, c.raw); got != c.proposed {
			t.Errorf("%s: by the rules proposed %q, want %q", c.name, got, c.proposed)
		}
	}
}

func fateOf(t *testing.T, e *engine.Engine, raw string) string {
	x, _ := deliver(t, e, []byte(raw))
	switch {
	case x.Verdict.Action != policy.Accept:
		return x.Verdict.Action.String() + " by " + x.Verdict.Rule
	case !x.Verdict.Patch.Empty():
		return "accept, changed"
	}
	return "accept"
}

// TestPolicyKnowsDKIM: a policy can hold what has a good signature, if signatures are verified. Scan
// does so only if told: it works without a network.
func TestPolicyKnowsDKIM(t *testing.T) {
	dns, err := rig.StartDNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dns.Stop() })
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dns.Set("s._domainkey.example.org", "v=DKIM1; k=ed25519; p="+base64.StdEncoding.EncodeToString(public))
	var raw bytes.Buffer
	html := "From: a@example.org\r\nMIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n<b onclick=x>hello</b>\r\n"
	if err := dkim.Sign(&raw, strings.NewReader(html), &dkim.SignOptions{Domain: "example.org", Selector: "s", Signer: key}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	rules := filepath.Join(dir, "policy.yaml")
	writeTo(t, rules, "rules:\n- name: signed\n  for: part\n  when: part.has(\"html/*\") and any(findings, .check == \"signed/dkim-pass\" and .detail startsWith \"d=example.org \")\n  then: quarantine\n"+
		"- name: html\n  for: part\n  when: part.has(\"html/*\")\n  do: [defang]\n")
	for config, want := range map[string]string{
		"dkim: {enabled: true, resolver: \"" + dns.Addr + "\"}\n": "quarantine by signed",
		"": "accept, changed",
	} {
		name := filepath.Join(dir, "rastel.yaml")
		writeTo(t, name, config+"policy: "+rules+"\n")
		cfg, err := loadConfig(name)
		if err != nil {
			t.Fatal(err)
		}
		b := &built{cfg: cfg, log: slog.New(slog.DiscardHandler)}
		b.assemble(nil)
		if b.policy, err = policy.NewLive(cfg.Policy, policyOptions(cfg), b.log); err != nil {
			t.Fatal(err)
		}
		if got := fateOf(t, b.engine(nil), raw.String()); got != want {
			t.Errorf("with %q: %q, want %q", config, got, want)
		}
	}
}

// TestSignedMailIsLeftAlone: whatever comes of its signatures, the policy that is built in does not
// act on innocent mail for them.
func TestSignedMailIsLeftAlone(t *testing.T) {
	dns, err := rig.StartDNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dns.Stop() })
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dns.Set("s._domainkey.example.org", "v=DKIM1; k=ed25519; p="+base64.StdEncoding.EncodeToString(public))
	dns.Set("silent._domainkey.example.org", rig.Silence)
	name := filepath.Join(t.TempDir(), "rastel.yaml")
	writeTo(t, name, "dkim: {enabled: true, timeout: 100ms, resolver: \""+dns.Addr+"\"}\n")
	cfg, err := loadConfig(name)
	if err != nil {
		t.Fatal(err)
	}
	b := &built{cfg: cfg, log: slog.New(slog.DiscardHandler)}
	b.assemble(nil)
	if b.policy, err = policy.NewLive("", policyOptions(cfg), b.log); err != nil {
		t.Fatal(err)
	}
	for selector, want := range map[string]string{"s": "pass", "nowhere": "permerror", "silent": "temperror"} {
		var raw bytes.Buffer
		if err := dkim.Sign(&raw, strings.NewReader("From: a@example.org\r\n\r\nSee you on Friday.\r\n"), &dkim.SignOptions{Domain: "example.org", Selector: selector, Signer: key}); err != nil {
			t.Fatal(err)
		}
		x, out := deliver(t, b.engine(nil), raw.Bytes())
		if len(x.Report.Findings) != 1 || x.Report.Findings[0].Check != "signed/dkim-"+want || len(x.Report.Unexamined) > 0 {
			t.Errorf("%s: got %+v, want signed/dkim-%s alone", selector, x.Report, want)
		}
		if !bytes.Equal(out, raw.Bytes()) {
			t.Errorf("%s: %s, and became %q", selector, x.Verdict.Action, out)
		}
	}
}

func writeTo(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
