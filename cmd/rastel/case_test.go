package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rastel/policy"
	"rastel/policy/engine"
	"rastel/sanitize/eml"
	"rastel/scanners"
)

// A testCase is a case file: a header that says what is expected and why, an empty line, and a
// raw message to the end of the file. Line ends of the message are CRLF, or all LF, which
// stands for CRLF.
//
//	why: the attack, and its source
//	policy: procmail-sanitizer   one of contrib/policy or testdata/policies; without it, or "default": the one built in
//	expect: accept, patched      the action; "patched", "unchanged", "held"
//	rule: malware                the rule that decides
//	finding: html/script 1.2     must be found there; may be repeated; without a part: anywhere
//	same: 1.1 header             these bytes come out as they went in: header, body or all
//	gone: text                   is not in what is delivered
//	stays: text                  is in what is delivered
type testCase struct {
	file                             string
	why, policy, rule                string
	expect, finding, same, gone, has []string
	raw                              []byte
}

func readCase(name string) (*testCase, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	c := &testCase{file: filepath.Base(name)}
	r := bufio.NewReader(bytes.NewReader(data))
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("%s: no message: %w", name, err)
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			break
		}
		if err := c.set(line); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if c.why == "" || len(c.expect) == 0 {
		return nil, fmt.Errorf("%s: why and expect are needed", name)
	}
	c.raw, err = io.ReadAll(r)
	if !bytes.Contains(c.raw, []byte("\r\n")) {
		c.raw = bytes.ReplaceAll(c.raw, []byte("\n"), []byte("\r\n"))
	}
	return c, err
}

func (c *testCase) set(line string) error {
	key, value, ok := strings.Cut(line, ": ")
	if !ok {
		return fmt.Errorf("line %q is not key: value", line)
	}
	switch key {
	case "why":
		c.why = value
	case "policy":
		c.policy = value
	case "rule":
		c.rule = value
	case "expect":
		c.expect = strings.Split(value, ", ")
	case "finding":
		c.finding = append(c.finding, value)
	case "same":
		c.same = append(c.same, value)
	case "gone":
		c.gone = append(c.gone, value)
	case "stays":
		c.has = append(c.has, value)
	default:
		return fmt.Errorf("unknown key %q", key)
	}
	return nil
}

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
	engines := map[string]*engine.Engine{}
	for _, name := range files {
		c, err := readCase(name)
		if err != nil {
			t.Fatal(err)
		}
		e := engines[c.policy]
		if e == nil {
			e = policyEngine(t, c.policyFile())
			engines[c.policy] = e
		}
		t.Run(strings.TrimSuffix(c.file, ".case"), func(t *testing.T) { c.run(t, e) })
	}
}

// policyFile is the file of the policy that a case names; empty for the one that is built in.
func (c *testCase) policyFile() string {
	if c.policy == "" || c.policy == "default" {
		return ""
	}
	own := "../../testdata/policies/" + c.policy + ".yaml"
	if _, err := os.Stat(own); err == nil {
		return own
	}
	return "../../contrib/policy/" + c.policy + ".yaml"
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

func (c *testCase) run(t *testing.T, e *engine.Engine) {
	x, out := deliver(t, e, c.raw)
	var found []string
	for _, f := range x.Report.Findings {
		found = append(found, f.Check+" "+f.Part.ID)
	}
	got := []string{x.Verdict.Action.String()}
	if x.Verdict.Patch.Empty() {
		got = append(got, "unchanged")
	} else {
		got = append(got, "patched")
	}
	if x.Verdict.Hold {
		got = append(got, "held")
	}
	for _, want := range c.expect {
		if !slices.Contains(got, want) {
			t.Errorf("%s\ngot %v by rule %q, want %v; findings %q", c.why, got, x.Verdict.Rule, c.expect, found)
		}
	}
	if c.rule != "" && c.rule != x.Verdict.Rule {
		t.Errorf("%s\nrule %q decides, want %q", c.why, x.Verdict.Rule, c.rule)
	}
	for _, want := range c.finding {
		if !slices.ContainsFunc(found, func(f string) bool { return f == want || strings.HasPrefix(f, want+" ") }) {
			t.Errorf("%s\nfindings %q lack %q", c.why, found, want)
		}
	}
	c.checkDelivered(t, e, x, out)
}

// checkDelivered checks what would be delivered, and that it is not changed a second time.
func (c *testCase) checkDelivered(t *testing.T, e *engine.Engine, x *engine.Examination, out []byte) {
	for _, s := range c.gone {
		if bytes.Contains(out, []byte(s)) {
			t.Errorf("%s\n%q is still delivered:\n%s", c.why, s, out)
		}
	}
	for _, s := range c.has {
		if !bytes.Contains(out, []byte(s)) {
			t.Errorf("%s\n%q is not delivered:\n%s", c.why, s, out)
		}
	}
	if x.Verdict.Action != policy.Accept {
		return
	}
	again, twice := deliver(t, e, out)
	if !bytes.Equal(out, twice) || again.Verdict.Action != policy.Accept {
		t.Errorf("%s\na second pass gives %s and changes\n%s\nto\n%s", c.why, again.Verdict.Action, out, twice)
	}
	for _, s := range c.same {
		id, what, _ := strings.Cut(s, " ")
		if before, after := bytesOf(x.Message, id, what), bytesOf(again.Message, id, what); !bytes.Equal(before, after) {
			t.Errorf("%s\n%s became %q, was %q", c.why, s, after, before)
		}
	}
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

func bytesOf(m *eml.Message, id, what string) []byte {
	var b []byte
	m.Root.Walk(func(p *eml.Part) bool {
		if p.ID != id {
			return true
		}
		switch what {
		case "header":
			b = p.Header.Bytes()
		case "body":
			b, _ = io.ReadAll(p.RawBody())
		default:
			b, _ = io.ReadAll(p.Raw())
		}
		return false
	})
	return b
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
			_, once := deliver(t, e, c.raw)
			x, twice := deliver(t, e, once)
			if !bytes.Equal(once, twice) {
				t.Errorf("%s: %s twice makes\n%s\nof\n%s", c.file, mode, twice, once)
			}
			for _, f := range x.Report.Findings {
				if strings.HasPrefix(f.Check, "html/") && f.Check != "html/charset" && (len(f.Fix) > 0 || f.Check == "html/smuggling") && f.Part.ReadFrom() == nil {
					t.Errorf("%s: after %s there is %s in %s: %q", c.file, mode, f.Check, f.Part.ID, f.Detail)
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
