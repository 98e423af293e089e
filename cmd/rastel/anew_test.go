package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rastel/policy"
	"rastel/policy/engine"
)

// lenientRules defang pages, strip programs and are content with all else.
const lenientRules = `
  - {name: program, for: part, when: 'part.has("name/executable")', do: [strip]}
  - {name: page, for: part, when: 'part.has("html/*")', do: [defang]}
`

func lenientEngine(t *testing.T) *engine.Engine {
	t.Helper()
	return engineWith(t, lenientRules, slog.New(slog.DiscardHandler))
}

// engineWith has these rules and no clamd.
func engineWith(t *testing.T, rules string, log *slog.Logger) *engine.Engine {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, []byte("rules:\n"+rules), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := loadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	b := &built{cfg: cfg, log: log}
	b.assemble(nil)
	if b.policy, err = policy.NewLive(file, policyOptions(cfg), b.log); err != nil {
		t.Fatal(err)
	}
	return b.engine(nil)
}

// TestAmbiguousMailIsDeliveredInOneReading: a policy may let through what clients may read in
// several ways. Then it arrives in one that was judged, with all changes made in it.
func TestAmbiguousMailIsDeliveredInOneReading(t *testing.T) {
	e := lenientEngine(t)
	for _, tt := range []struct{ name, raw, stays, gone string }{
		{
			"two boundaries, a page in the first reading",
			"Content-Type: multipart/mixed; boundary=a; boundary=b\n\n--a\nContent-Type: text/html\n\n<p>hello<script>bad()</script>\n--a--\n",
			"hello", "<script",
		},
		{
			"two boundaries, a page in the other reading",
			"Content-Type: multipart/mixed; boundary=a; boundary=b\n\n--a\n\nhello\n--a--\n--b\nContent-Type: text/html\n\n<script>bad()</script>\n--b--\n",
			"hello", "<script",
		},
		{
			"two boundaries, a program in the first reading",
			"Content-Type: multipart/mixed; boundary=a; boundary=b\n\n--a\n\nhello\n--a\nContent-Type: x/y; name=a.exe\n\nbad()\n--a--\n",
			"hello", "bad()",
		},
		{
			"a boundary in the value of another parameter",
			"Content-Type: multipart/mixed; x=\"; boundary=evil; y=\"; boundary=a\n\n--a\n\nhello\n--a--\n",
			"hello", "evil",
		},
		{
			"a page behind the closing boundary",
			"Content-Type: multipart/mixed; boundary=a\n\n--a\n\nhello\n--a--\n--a\nContent-Type: text/html\n\n<script>bad()</script>\n--a--\n",
			"hello", "bad()",
		},
		{
			"a program in a message whose header holds what is no field",
			"Content-Type: multipart/mixed; boundary=a\n\n--a\n\nhello\n--a\nContent-Type: message/rfc822\n\nSubject: s\nno field\nContent-Type: x/y; name=a.exe\n\nbad()\n--a--\n",
			"hello", "no field",
		},
		{
			"two types",
			"Content-Type: text/html\nContent-Type: text/plain\n\n<p>hello<script>bad()</script>\n",
			"hello", "<script",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x, out := deliver(t, e, []byte(strings.ReplaceAll("Subject: s\n"+tt.raw, "\n", "\r\n")))
			if x.Verdict.Action != policy.Accept || !bytes.Contains(out, []byte(tt.stays)) || bytes.Contains(out, []byte(tt.gone)) {
				t.Fatalf("%s, delivered\n%s", x.Verdict.Action, out)
			}
			again, twice := deliver(t, e, out)
			if again.Message.Ambiguous || !bytes.Equal(out, twice) {
				t.Errorf("a second pass changes\n%s\nto\n%s", out, twice)
			}
		})
	}
}
