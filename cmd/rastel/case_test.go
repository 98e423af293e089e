package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rastel/policy"
	"rastel/policy/engine"
	"rastel/policy/policytest"
	"rastel/sanitize/eml"
	"rastel/scanners"
)

// readCase reads a case file of ours.
func readCase(name string) (*policytest.Case, error) { return policytest.Read(name) }

// caseName is the name of its file.
func caseName(c *policytest.Case) string { return filepath.Base(c.File) }

// A payload is a scanner that stands in for clamd, which the end-to-end tests use, with a
// signature for the same text. It is what the cases about hidden parts hide.
type payload struct{}

const payloadText = "RASTEL HARMLESS TEST PAYLOAD 5d1f8c72"

func (payload) Checks() []eml.Check { return nil } // those of clamd are known

func (payload) Scan(_ context.Context, p *eml.Part) ([]eml.Finding, error) {
	b, err := io.ReadAll(p.Content())
	if err == nil && bytes.Contains(b, []byte(payloadText)) {
		return []eml.Finding{{Check: "clamd/malware", Part: p, Detail: "payload"}}, nil
	}
	return nil, err
}

// TestCases runs every file in testdata/cases through the engine with the policy it names.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("../../testdata/cases/*.case")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	runners := map[string]*testRunner{}
	for _, name := range files {
		c, err := readCase(name)
		if err != nil {
			t.Fatal(err)
		}
		r := runners[c.Policy]
		if r == nil {
			r = newTestRunner(t, policyFileFor(c))
			runners[c.Policy] = r
		}
		t.Run(strings.TrimSuffix(caseName(c), ".case"), func(t *testing.T) { r.run(t, c) })
	}
}

// A testRunner runs cases by one policy, with the payload instead of clamd.
type testRunner struct {
	policytest.Runner
	policy *policy.Policy
}

func newTestRunner(t *testing.T, file string) *testRunner {
	t.Helper()
	cfg, err := loadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	p, err := loadPolicy(file, policyOptions(cfg))
	if err != nil {
		t.Fatal(err)
	}
	return &testRunner{policytest.Runner{Engine: policyEngine(t, file), Twice: true}, p}
}

func (r *testRunner) run(t *testing.T, c *policytest.Case) {
	t.Helper()
	failures, err := r.Run(t.Context(), r.policy, c)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range failures {
		t.Errorf("%s\n%s", c.Why, f)
	}
}

// policyFileFor is the file of the policy that a case names, one of contrib/policy or testdata/policies;
// empty for the one that is built in, which is for cases that name none.
func policyFileFor(c *policytest.Case) string {
	if c.Policy == "" || c.Policy == "default" {
		return ""
	}
	own := "../../testdata/policies/" + c.Policy + ".yaml"
	if _, err := os.Stat(own); err == nil {
		return own
	}
	return "../../contrib/policy/" + c.Policy + ".yaml"
}

// defaultEngine is the engine as scan has it, with the payload instead of clamd, and more scanners.
func defaultEngine(t *testing.T, more ...scanners.Named) *engine.Engine {
	t.Helper()
	return policyEngine(t, "", more...)
}

// policyEngine is the same with the policy of a file.
func policyEngine(t *testing.T, file string, more ...scanners.Named) *engine.Engine {
	t.Helper()
	cfg, err := loadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	b := &built{cfg: cfg, log: slog.New(slog.DiscardHandler)}
	list := append(builtin(cfg), scanners.Named{Name: "payload", Scanner: payload{}})
	list = append(list, more...)
	b.set = scanners.NewSet(scanners.Options{Budget: b.cfg.budget(), Spool: b.cfg.spool()}, list...)
	if b.policy, err = policy.NewLive(file, policyOptions(cfg), b.log); err != nil {
		t.Fatal(err)
	}
	return b.engine(nil)
}

// deliver examines raw and gives what would be delivered; nothing if it is not accepted.
func deliver(t *testing.T, e *engine.Engine, raw []byte) (*engine.Examination, []byte) {
	t.Helper()
	x, done, err := examine(context.Background(), e, &scanOptions{deadline: 1e12}, bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(done)
	if x.Verdict.Action != policy.Accept {
		return x, nil
	}
	if x.Verdict.Patch.Empty() {
		return x, raw
	}
	var out bytes.Buffer
	if _, err := x.Verdict.Patch.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	return x, out.Bytes()
}

// TestPagesWrittenAnew runs every case with policies that write all pages anew: what is delivered is
// not changed a second time, and nothing active is left in it.
func TestPagesWrittenAnew(t *testing.T) {
	files, err := filepath.Glob("../../testdata/cases/*.case")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, mode := range []string{"clean", "text"} {
		name := filepath.Join(t.TempDir(), mode+".yaml")
		rules := "rules:\n- {name: mode, for: part, when: true, do: [" + mode + "]}\n- {name: rest, when: true, then: accept}\n"
		if err := os.WriteFile(name, []byte(rules), 0o600); err != nil {
			t.Fatal(err)
		}
		e := policyEngine(t, name)
		for _, name := range files {
			c, err := readCase(name)
			if err != nil {
				t.Fatal(err)
			}
			_, once := deliver(t, e, c.Raw)
			x, twice := deliver(t, e, once)
			if !bytes.Equal(once, twice) {
				t.Errorf("%s: %s twice makes\n%s\nof\n%s", caseName(c), mode, twice, once)
			}
			for _, f := range x.Report.Findings {
				if strings.HasPrefix(f.Check, "html/") && f.Check != "html/charset" && (len(f.Fix) > 0 || f.Check == "html/smuggling") && f.Part.ReadFrom() == nil {
					t.Errorf("%s: after %s there is %s in %s: %q", caseName(c), mode, f.Check, f.Part.ID, f.Detail)
				}
			}
		}
	}
}

// TestTextLeavesNothingThatWasEncoded: what is found in something that is encoded within a page is
// gone when the page is text, so the page is not stripped for it.
func TestTextLeavesNothingThatWasEncoded(t *testing.T) {
	name := filepath.Join(t.TempDir(), "text.yaml")
	if err := os.WriteFile(name, []byte("rules: [{name: mode, for: part, when: true, do: [text]}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	svg := "<svg xmlns=\"http://www.w3.org/2000/svg\"><script>x</script>" + strings.Repeat("<path d='M0 0'/>", 50) + "</svg>"
	raw := "MIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n<p>Hello<img src=\"data:image/svg+xml;base64,\r\n" +
		base64.StdEncoding.EncodeToString([]byte(svg))[:900] + "\r\n\">\r\n"
	x, out := deliver(t, policyEngine(t, name), []byte(raw))
	inner := slices.ContainsFunc(x.Report.Findings, func(f eml.Finding) bool { return f.Check == "html/script" && f.Part.ID == "1/1" })
	if !inner || !bytes.HasSuffix(out, []byte("\r\n\r\nHello\r\n")) {
		t.Errorf("findings %v; delivered\n%s", x.Report.Findings, out)
	}
}
