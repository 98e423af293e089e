package policy

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

var update = flag.Bool("update", false, "write what is expected anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// knownChecks are the checks of these tests.
var knownChecks = func() []eml.Check {
	out := slices.Clone(eml.Checks())
	for _, id := range strings.Fields(`html/script html/form html/limit name/executable type/executable header/long
		clamd/malware clamd/pua archive/encrypted archive/limit scan/failed scan/limit`) {
		out = append(out, eml.Check{ID: id})
	}
	return out
}()

// builtinLists are the lists of these tests.
var builtinLists = []List{
	{Name: "programs", Patterns: []string{"*.exe", "evil.*"}},
	{Name: "pages", Patterns: []string{"*.htm", "text/h*"}},
	{Name: "none"},
}

// load loads a policy that must be right.
func load(t testing.TB, text string) *Policy {
	t.Helper()
	p, err := Load("test.yaml", []byte(text), Options{Checks: knownChecks, Editor: fakeEditor{}, Lists: builtinLists})
	if err != nil {
		t.Fatalf("%s\n%v", text, err)
	}
	return p
}

// A fakeEditor makes edits that are easily recognised. Package sanitize, which makes the real
// ones, is on the same floor; they meet in cmd/rastel.
type fakeEditor struct{ err error }

func (e fakeEditor) Strip(p *eml.Part, r Removal) ([]eml.Edit, error) {
	text := "[stripped: " + r.Reason
	if r.Item != "" {
		text += ", kept as " + r.Item
	}
	if len(r.Languages) > 0 {
		text += ", in " + strings.Join(r.Languages, "+")
	}
	return []eml.Edit{{Part: p, Region: eml.InBody, Start: 0, End: -1, Text: []byte(text + "]")}}, e.err
}

func (e fakeEditor) Rename(p *eml.Part) ([]eml.Edit, error) { return e.disposition(p, "renamed") }

func (e fakeEditor) Mangle(p *eml.Part) ([]eml.Edit, error) { return e.disposition(p, "mangled") }

func (e fakeEditor) disposition(p *eml.Part, word string) ([]eml.Edit, error) {
	for f := range p.Header.All("Content-Disposition") {
		return []eml.Edit{{Part: p, Region: eml.InHeader, Start: f.Start, End: f.End, Text: []byte("Content-Disposition: " + word + "\r\n")}}, e.err
	}
	return nil, errors.New("no name")
}

func (e fakeEditor) Banners(root *eml.Part, list []Banner, edits []eml.Edit) ([]eml.Edit, bool, error) {
	var text string
	for _, b := range list {
		if len(b.Renamed) > 0 {
			text += "[notice " + b.Item + " in " + strings.Join(b.Languages, "+")
			for _, r := range b.Renamed {
				text += fmt.Sprintf(": %s (%t) %s", r.Part.ID, r.Mangled, r.Reason)
			}
			text += "]"
			continue
		}
		text += "[banner: " + strings.TrimSpace(b.Text) + b.Name
		for _, p := range b.Keep {
			text += ", not in " + p.ID
		}
		text += "]"
	}
	return append(edits, eml.Edit{Part: root, Region: eml.InBody, Text: []byte(text)}), false, e.err
}

// Disarm knows documents by their label.
func (e fakeEditor) Disarm(p *eml.Part, list []eml.Finding) ([]eml.Edit, error) {
	if e.err == nil && p.MediaType != "application/octet-stream" {
		return nil, errors.New("no document")
	}
	text := "[without"
	for _, f := range list {
		text += fmt.Sprintf(" %s in %s", f.Check, f.Part.ID)
	}
	return []eml.Edit{{Part: p, Region: eml.InContent, Start: 0, End: -1, Text: []byte(text + "]")}}, e.err
}

// Rewrite knows pages by their label.
func (e fakeEditor) Rewrite(p *eml.Part, text bool) ([]eml.Edit, error) {
	if p.MediaType != "text/html" {
		return nil, e.err
	}
	return []eml.Edit{{Part: p, Region: eml.InBody, Start: 0, End: -1, Write: func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "[written anew, as text: %t]", text)
		return err
	}}}, e.err
}

// parse parses a message in which "\n" stands for CRLF.
func parse(t testing.TB, raw string) *eml.Message {
	t.Helper()
	s := eml.NewSpool(eml.SpoolOptions{})
	t.Cleanup(func() { s.Close() })
	if _, err := io.WriteString(s, strings.ReplaceAll(raw, "\n", "\r\n")); err != nil {
		t.Fatal(err)
	}
	s.CloseWrite(nil)
	env := &eml.Envelope{
		QueueID: "Q1", Client: netip.MustParseAddr("192.0.2.1"), ClientName: "mx.example.org", Helo: "helo.example.org",
		TLS: "TLSv1.3", AuthUser: "ann", Listener: "submission", Sender: "Ann@Example.ORG", Recipients: []string{"bob@example.net", "eve@example.com"},
	}
	m, _, err := eml.Parse(context.Background(), env, s, eml.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// threeParts is a text, a page and an attachment.
const threeParts = `Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=
From: Ann <ann@example.org>
X-List: one
X-List: two
Received: from a.example (a
	[192.0.2.1])
     by  mx.example
Content-Type: multipart/mixed; boundary=b

--b

hello
--b
Content-Type: text/html

<p>x<script>y</script></p>
--b
Content-Type: application/octet-stream; name=Setup.EXE
Content-Disposition: attachment; filename="docs/Setup.EXE"

MZ not really
--b--
`

// at gives the part with that ID.
func at(t testing.TB, m *eml.Message, id string) *eml.Part {
	t.Helper()
	var found *eml.Part
	m.Root.Walk(func(p *eml.Part) bool {
		if p.ID == id {
			found = p
		}
		return found == nil
	})
	if found == nil {
		t.Fatalf("there is no part %s", id)
	}
	return found
}

// member puts a member into the part with that ID.
func member(t testing.TB, m *eml.Message, id, name, content string) *eml.Part {
	t.Helper()
	s := eml.NewSpool(eml.SpoolOptions{})
	io.WriteString(s, content)
	s.CloseWrite(nil)
	carrier := at(t, m, id)
	p, err := eml.NewMember(carrier, len(carrier.Children)+1, []string{name}, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Release)
	carrier.Children = append(carrier.Children, p)
	return p
}

// report reads findings: "check part" each, with a "+" before what has a fix, and "?" or "!"
// before what was not examined, for now or for good.
func report(t testing.TB, m *eml.Message, findings ...string) scanners.Report {
	t.Helper()
	var r scanners.Report
	for _, s := range findings {
		check, id, _ := strings.Cut(s, " ")
		p := at(t, m, id)
		f := eml.Finding{Check: strings.TrimLeft(check, "+?!"), Part: p, Detail: "detail of " + check}
		switch check[0] {
		case '+':
			f.Fix = []eml.Edit{{Part: p, Region: eml.InContent, Start: 0, End: 3, Text: []byte("FIX")}}
		case '?', '!':
			r.Unexamined = append(r.Unexamined, eml.Unexamined{Part: p, Why: f.Check, Temporary: check[0] == '?'})
		}
		r.Findings = append(r.Findings, f)
	}
	return r
}

// delivered is the message as a verdict changes it, with "\n" for CRLF.
func delivered(t testing.TB, m *eml.Message, v *Verdict) string {
	t.Helper()
	var b bytes.Buffer
	var err error
	if v.Patch.Empty() {
		_, err = io.Copy(&b, io.NewSectionReader(m.Spool, 0, m.Size))
	} else {
		_, err = v.Patch.WriteTo(&b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(b.String(), "\r\n", "\n")
}

// traceOf is the trace of a verdict, one line a step.
func traceOf(v *Verdict) string {
	var b strings.Builder
	for _, s := range v.Trace {
		fmt.Fprintf(&b, "%s [%s] matched=%v final=%v did=%q why=%q\n", s.Rule, s.Part, s.Matched, s.Final, s.Did, s.Why)
	}
	return b.String()
}

// TestErrorsNameThePlace loads each policy of testdata/bad and compares all messages.
func TestErrorsNameThePlace(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no files: %v", err)
	}
	for _, file := range files {
		_, err := LoadFile(file, Options{Checks: knownChecks, Lists: builtinLists, Languages: []string{"de", "en"}, Banners: []string{"external"}})
		if err == nil {
			t.Errorf("%s is loaded", file)
			continue
		}
		golden(t, strings.TrimSuffix(file, ".yaml")+".err", err.Error()+"\n")
		var e *Error
		if !errors.As(err, &e) || e.File != filepath.Base(file) || e.Line < 1 || e.Column < 1 {
			t.Errorf("%s: the error is %#v, want an *Error with a place", file, err)
		}
	}
}

// golden compares with a file, or writes it.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s\ngot:\n%s\nwant:\n%s", file, got, want)
	}
}

func TestMissingFileIsAnError(t *testing.T) {
	if _, err := LoadFile(filepath.Join(t.TempDir(), "no.yaml"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want os.ErrNotExist", err)
	}
}

func TestLimitsOfAFile(t *testing.T) {
	rule := func(i int) string { return fmt.Sprintf("- {name: r%d, when: true, then: accept}\n", i) }
	many := "rules:\n"
	for i := range maxRules + 1 {
		many += rule(i)
	}
	for _, tt := range []struct{ name, text, want string }{
		{"bytes", "rules: [] #" + strings.Repeat("x", maxFile), "more than 262144 bytes"},
		{"rules", many, "from 1 to 1000 rules"},
		{"nesting", "rules: " + strings.Repeat("[", 100), "more than 16 lists"},
		{"nesting of entries", "rules: \n" + strings.Repeat("- ", 100), "more than 16 lists"},
		{"condition", "rules:\n- name: x\n  then: accept\n  when: " + strings.Repeat("x", maxCondition+1), "more than 8192 bytes"},
		{"nodes", "rules:\n- name: x\n  then: accept\n  when: " + strings.Repeat("true or ", maxNodes/2) + "true", "names, values and operators"},
		{"changes", "rules:\n- name: x\n  when: true\n  do: [" + strings.Repeat("hold,", maxChanges+1) + "]", "more than 50 changes"},
		{"errors", "rules:\n" + strings.Repeat("- {x: 1}\n", 500), "unknown key"},
		{"not text", "rules: \xff", "not in UTF-8"},
		{"NUL", "rules: \x00", "NUL"},
	} {
		_, err := Load("x.yaml", []byte(tt.text), Options{})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %.200v, want %q", tt.name, err, tt.want)
		}
		var list Errors
		if errors.As(err, &list) && len(list) > maxErrors {
			t.Errorf("%s: %d errors, want at most %d", tt.name, len(list), maxErrors)
		}
	}
}

func TestVersionIsThatOfTheFile(t *testing.T) {
	a := load(t, "rules: [{name: a, when: true, then: accept}]")
	b := load(t, "rules: [{name: a, when: true, then: accept}]")
	c := load(t, "rules: [{name: a, when: true, then: reject}]")
	if a.Version != b.Version || a.Version == c.Version || len(a.Version) != versionLength {
		t.Errorf("versions are %q, %q, %q", a.Version, b.Version, c.Version)
	}
}
