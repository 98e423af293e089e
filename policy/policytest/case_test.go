package policytest

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

const head = "why: x\nexpect: accept\n"

func TestWrongCasesAreToldWithFileAndLine(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"why: x\nexpcet: accept\n\nx", `a.case:2: unknown key "expcet"; did you mean "expect"?`},
		{"why: x\nzzzzzzzz: accept\n\nx", `a.case:2: unknown key "zzzzzzzz"; there are why, policy`},
		{"why: x\nexpect: accept, patchd\n\nx", `a.case:2: unknown value "patchd"; did you mean "patched"?`},
		{"why: x\nexpect: accept,patched\n\nx", `a.case:2: unknown value`},
		{"why: x\nexpect: bounce\n\nx", `a.case:2: unknown value "bounce"; there are accept, quarantine`},
		{"why x\n\n", `a.case:1: "why x" is not "key: value"`},
		{"why: x\nwhy: y\n\n", `a.case:2: this key is there twice`},
		{"expect: accept\n\nx", `a.case:1: a case needs "why"`},
		{"why: x\n\nx", `a.case:1: a case needs "why"`},
		{"why: x\nexpect: accept\n", `a.case:3: there is no empty line before a message`},
		{"", `a.case:1: there is no empty line`},
		{strings.Repeat("finding: html/script\n", maxLines+1) + "\nx", `a.case:2001: there is no empty line`},
		{head + "client: 1.2.3\n\nx", `a.case:3: `},
		{head + "time: yesterday\n\nx", `a.case:3: "yesterday" is no time like`},
		{head + "given: malware\n\nx", `a.case:3: "malware" is no check like`},
		{head + "unexamined: clamd\n\nx", `a.case:3: "clamd" does not begin with a part`},
		{head + "unexamined: 1 temporaryx\n\nx", `a.case:3: `},
		{head + "same: 1.1 heade\n\nx", `a.case:3: unknown value "heade"; did you mean "header"?`},
		{head + "same: header\n\nx", `a.case:3: "header" does not begin with a part`},
		{head + "outcome: bob@example.net\n\nx", `a.case:3: "bob@example.net" is not`},
		{head + "outcome: bob@example.net bounce\n\nx", `a.case:3: unknown value "bounce"`},
		{head + "rule: \n\nx", `a.case:3: there is no value`},
		{strings.Repeat("x", MaxFile+1), `a.case has more than 4194304 bytes`},
	} {
		_, err := Parse("a.case", []byte(tt.text))
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%.60q\ngot  %v\nwant %s", tt.text, err, tt.want)
		}
	}
}

func TestLineEndsOfTheMessageAreCRLF(t *testing.T) {
	for text, want := range map[string]string{
		head + "\na: b\n\nc\n":                        "a: b\r\n\r\nc\r\n",
		"why: x\r\nexpect: accept\r\n\r\na: b\r\n\nc": "a: b\r\n\nc", // it has CRLF, so all is as it stands
		head + "\n": "",
	} {
		c, err := Parse("a.case", []byte(text))
		if err != nil || string(c.Raw) != want {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestOnlyRegularFilesAreRead(t *testing.T) {
	if _, err := Read(t.TempDir()); err == nil || !strings.HasSuffix(err.Error(), "is no regular file") {
		t.Errorf("a directory: %v", err)
	}
	name := filepath.Join(t.TempDir(), "a.case")
	if err := os.WriteFile(name, []byte(head+"\nx"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := Read(name); err != nil || c.File != name || c.Why != "x" {
		t.Errorf("got %+v, %v", c, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(head + "\nx"))
	f.Add([]byte("why: x\nclient: 192.0.2.1\nsender: <>\ngiven: a/b 1.2 c\nunexamined: 1 temporary c\noutcome: a@b accept, held\n\nx"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("a.case", data)
		if err == nil && (c.Why == "" || len(c.wants) == 0 || !bytes.Contains(data, []byte("\n"))) {
			t.Errorf("%q is a case: %+v", data, c)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "a.case") {
			t.Errorf("%q: %v", data, err)
		}
	})
}

// TestPageHasAllKeys writes the table of keys in contrib/doc/policytest.md.
func TestPageHasAllKeys(t *testing.T) {
	const page, begin, end = "../../contrib/doc/policytest.md", "<!-- keys -->\n", "<!-- end -->\n"
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for keys", page)
	}
	var b strings.Builder
	b.WriteString("| what is given | |\n|---|---|\n")
	for i, k := range Keys() {
		if k.Wants() && !Keys()[i-1].Wants() {
			b.WriteString("\n| what is wanted | |\n|---|---|\n")
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", k.Name, k.Doc)
	}
	want := before + begin + b.String() + end + after
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil { //nolint:gosec // a page for everybody
			t.Fatal(err)
		}
	} else if want != string(data) {
		t.Errorf("%s does not have the keys that there are; run: go test ./policy/policytest -update", page)
	}
}
