package main

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"log/slog"
	"os"
	"strings"
	"testing"

	"rastel/policy"
	"rastel/policy/engine"
	"rastel/policy/exceptions"
	"rastel/scanners/office"
)

// zipOf is a zip archive of these members.
func zipOf(t *testing.T, members ...[2]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, m := range members {
		w, err := z.Create(m[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(m[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestExceptionOfMacros: the same macros in documents of several formats are let through by one exception, and others
// are not.
func TestExceptionOfMacros(t *testing.T) {
	text, err := os.ReadFile("../../testdata/cases/o-doc-autorun.case")
	if err != nil {
		t.Fatal(err)
	}
	_, encoded, _ := strings.Cut(string(text), "Content-Transfer-Encoding: base64\n\n")
	encoded, _, _ = strings.Cut(encoded, "\n--bb")
	doc, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(encoded, "\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := loadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	b := &built{cfg: cfg, log: slog.New(slog.DiscardHandler)}
	b.assemble(nil)
	if b.policy, err = policy.NewLive("", policyOptions(cfg), b.log); err != nil {
		t.Fatal(err)
	}
	decide := func(name string, content []byte, given policy.Given) (*policy.Verdict, []string) {
		m, report := reported(t, b, withDocument(name, content))
		var sums []string
		for _, f := range report.Findings {
			if f.Check == office.MacroHash {
				sums = append(sums, f.Detail)
			}
		}
		return b.policy.Load().DecideGiven(m, report, given), sums
	}
	plain, sums := decide("letter.doc", doc, policy.Given{})
	if plain.Action != policy.Quarantine || len(sums) != 1 {
		t.Fatalf("without an exception: %s by %q, hashes %q", plain.Action, plain.Rule, sums)
	}
	given := policy.Given{Exceptions: exceptions.NewSnapshot([]exceptions.Exception{
		{ID: "E", Scope: exceptions.Scope{Macros: sums[0]}, Owner: "o", Reason: "r", Until: "2999-12-31"},
	})}
	other := bytes.Clone(doc)
	other[8] ^= 1 // of the class, which nobody reads
	changed := bytes.Clone(doc)
	at := bytes.Index(changed, []byte("ttribut"))
	if at < 0 {
		t.Fatal("no source in the document")
	}
	changed[at] = 'T'
	in := func(project []byte, more ...[2]string) []byte {
		return zipOf(t, append([][2]string{
			{"[Content_Types].xml", `<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>`},
			{"word/document.xml", `<?xml version="1.0"?><w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"/>`},
			{"word/vbaProject.bin", string(project)},
		}, more...)...)
	}
	for _, tt := range []struct {
		what, name string
		content    []byte
		want       policy.Action
	}{
		{"the same document", "letter.doc", doc, policy.Accept},
		{"another document of Office 97", "other.xls", other, policy.Accept},
		{"a document of today", "letter.docm", in(other), policy.Accept},
		{"a changed byte of the source", "letter.doc", changed, policy.Quarantine},
		{"that in a document of today", "letter.docm", in(changed), policy.Quarantine},
		{"others besides", "letter.docm", in(doc, [2]string{"word/other.bin", string(changed)}), policy.Quarantine},
	} {
		before, _ := decide(tt.name, tt.content, policy.Given{})
		if v, sums := decide(tt.name, tt.content, given); v.Action != tt.want || before.Action != policy.Quarantine {
			t.Errorf("%s: %s by %q, want %s; without the exception %s by %q; hashes %q", tt.what, v.Action, v.Rule, tt.want, before.Action, before.Rule, sums)
		}
	}
}

func TestHashOfMacrosFromARecord(t *testing.T) {
	e := &engine.Evidence{Findings: []engine.EvidenceFinding{
		{Check: office.MacroHash, Part: "1.2", Detail: "a"}, {Check: office.Macro, Part: "1.4", Detail: "x"},
		{Check: office.MacroHash, Part: "1.3", Detail: "b"}, {Check: office.MacroHash, Part: "1.3", Detail: "c"},
	}}
	for part, want := range map[string]string{"1.2": "a", "1.3": "", "1.4": "", "1.5": ""} {
		if got, err := macrosOf(e, "ID", part); got != want || (err == nil) != (want != "") {
			t.Errorf("part %s: %q, %v; want %q", part, got, err, want)
		}
	}
}
