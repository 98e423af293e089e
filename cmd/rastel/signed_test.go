package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"rastel/policy"
	"rastel/policy/engine"
)

// proposed is a line of a rule that default.yaml proposes, but for the comment sign.
var proposed = regexp.MustCompile(`(?m)^  # (- name: |  (?:for|when|then): )`)

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
		{"encrypted", string(encrypted.raw), "accept", "quarantine by encrypted mail"},
		{"signed text", string(innocent.raw), "accept", "accept"},
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
