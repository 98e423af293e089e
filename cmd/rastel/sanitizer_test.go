package main

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rastel/policy/policytest"
	"rastel/policy/procmail"
)

// ownTests is what the file has besides.
const ownTests = "\n# Its own tests. They are copied with this file, or this line is taken out.\ntests: procmail-sanitizer/*.case\n"

const contribPolicy = "../../contrib/policy/procmail-sanitizer.yaml"

// TestContribPolicyIsWhatAnEmptyRCFileMakes: one text serves both, so that what is tested with the one
// holds for the other.
func TestContribPolicyIsWhatAnEmptyRCFileMakes(t *testing.T) {
	want, err := procmail.Empty(checkIDs())
	if err != nil {
		t.Fatal(err)
	}
	if err := soundPolicy(want); err != nil {
		t.Fatal(err)
	}
	want = append(want, ownTests...)
	if *update {
		if err := os.WriteFile(contribPolicy, want, 0o644); err != nil { //nolint:gosec // an example for everybody
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(contribPolicy)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what is made of an empty rc file; run: go test ./cmd/rastel -run ContribPolicy -update\n%s",
			contribPolicy, differentLines(string(got), string(want)))
	}
}

// withRules is the text of the contrib policy with other rules: each in the place of the one of that
// name, or before all others.
func withRules(t *testing.T, rules string) string {
	t.Helper()
	data, err := os.ReadFile(contribPolicy)
	if err != nil {
		t.Fatal(err)
	}
	const begin = "\n  - name: "
	all := strings.Split(strings.TrimSuffix(string(data), ownTests), begin)
	for i, rule := range strings.Split("\n"+rules, begin) {
		if i == 0 {
			continue // what is before the first rule
		}
		name, _, _ := strings.Cut(rule, "\n")
		at := slices.IndexFunc(all, func(s string) bool { return strings.HasPrefix(s, name+"\n") })
		if at < 0 {
			all = slices.Insert(all, 1, rule)
		} else {
			all[at] = rule
		}
	}
	return strings.Join(all, begin)
}

// examples are the rules in the page about the Sanitizer, in their order.
func examples(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../../contrib/doc/sanitizer.md")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range strings.Split(string(page), "```yaml\n")[1:] {
		block, _, _ := strings.Cut(s, "```")
		out = append(out, block)
	}
	return out
}

// policyFileOf writes a policy for the test.
func policyFileOf(t *testing.T, text []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// The messages that settings and examples are tried with.
var (
	partner  = "Received: from mail.partner.example (mail.partner.example [192.0.2.7]) by mx.example.org with ESMTP\n"
	forged   = "Received: from elsewhere.example (x [192.0.2.9]) by mx.example.org with ESMTP\n"
	fromThem = "From: Ann <ann@Partner.example>\n"
	webBug   = "Content-Type: text/html\n\n<p>hello<img src=\"https://www.example.org/i?u=1\" width=1 height=1></p>\n"
	page     = "Content-Type: text/html\n\n<p onclick=\"x()\" style=\"width:expression(y())\">hello</p>\n"
)

// attached is a message with one attachment of that name.
func attached(name string, content []byte) string {
	return "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nhello\n--b\n" +
		"Content-Type: application/octet-stream\nContent-Disposition: attachment; filename=\"" + name + "\"\n" +
		"Content-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString(content) + "\n--b--\n"
}

// zipped is a ZIP archive with one member of that name.
func zipped(t *testing.T, name string) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create(name)
	if err == nil {
		_, err = w.Write([]byte("harmless"))
	}
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return attached("files.zip", b.Bytes())
}

// A trial is a message, and what is to become of it.
type trial struct{ raw, expect, rule, stays, gone string }

func (tr trial) run(t *testing.T, name string, r *testRunner) {
	t.Helper()
	head := "why: trial " + strings.ReplaceAll(name, "\n", " ") + "\nexpect: " + tr.expect + "\n"
	for key, value := range map[string]string{"rule": tr.rule, "stays": tr.stays, "gone": tr.gone} {
		if value != "" {
			head += key + ": " + value + "\n"
		}
	}
	c, err := policytest.Parse("trial", []byte(head+"\nSubject: x\n"+tr.raw))
	if err != nil {
		t.Fatal(err)
	}
	r.run(t, c)
}

// TestSanitizerExamples runs the rules of contrib/doc/sanitizer.md.
func TestSanitizerExamples(t *testing.T) {
	trials := [][]trial{
		{ // another list for a sender (row 25)
			{raw: partner + fromThem + zipped(t, "tool.exe"), expect: "accept, unchanged"},
			{raw: partner + fromThem + zipped(t, "tool.scr"), expect: "quarantine", rule: "poisoned in an archive of our partner"},
			{raw: forged + fromThem + zipped(t, "tool.exe"), expect: "quarantine", rule: "poisoned in an archive"},
			{raw: partner + zipped(t, "tool.exe"), expect: "quarantine", rule: "poisoned in an archive"},
			{raw: partner + fromThem + attached("tool.exe", []byte("harmless")), expect: "quarantine", rule: "poisoned attachment"},
		},
		{{raw: page, expect: "accept, patched", stays: "DEFANGED_onclick"}}, // row 36; the client of tests is another one
		{ // everything but a list (row 24)
			{raw: attached("a.xyz", []byte("x")), expect: "accept, unchanged, held"},
			{raw: attached("a.pdf", []byte("x")), expect: "accept, unchanged"},
		},
		{ // ZIPPED_WARNING (row 37)
			{raw: zipped(t, "tool.exe"), expect: "accept, patched, held", stays: "There was a program in the archive.", gone: "files.zip\""},
		},
		{{raw: attached("tool.exe", []byte("harmless")), expect: "reject", rule: "poisoned attachment"}},
		{ // notices (row 39)
			{raw: attached("tool.exe", []byte("harmless")), expect: "quarantine, notified", rule: "poisoned attachment"},
			{raw: attached("tool.pdf", []byte("harmless")), expect: "accept, unchanged"},
		},
	}
	list := examples(t)
	if len(list) != len(trials) {
		t.Fatalf("%d examples, trials of %d", len(list), len(trials))
	}
	for i, rules := range list {
		e := newTestRunner(t, policyFileOf(t, []byte(withRules(t, rules))))
		for _, tr := range trials[i] {
			tr.run(t, rules, e)
		}
	}
}

// TestImportedSettings: each setting that is carried over does what it says.
func TestImportedSettings(t *testing.T) {
	lists := procmail.Options{Checks: checkIDs(), Read: func(name string) (procmail.File, error) {
		return procmail.File{Name: name, Data: []byte(strings.ReplaceAll(filepath.Base(name), "_", "\n"))}, nil
	}}
	tnef, err := readCase("../../testdata/cases/innocent-tnef.case")
	if err != nil {
		t.Fatal(err)
	}
	winmail := strings.ReplaceAll(string(tnef.Raw), "\r\n", "\n")
	for _, tt := range []struct {
		rc     string
		trials []trial
	}{
		{"POISONED_EXECUTABLES=/x/*.aaa_b?.c", []trial{
			{raw: attached("1.AAA", nil), expect: "quarantine", rule: "poisoned attachment"},
			{raw: attached("b2.c", nil), expect: "quarantine", rule: "poisoned attachment"},
			{raw: attached("b22.c", nil), expect: "accept, unchanged"},
			{raw: zipped(t, "1.aaa"), expect: "quarantine", rule: "poisoned in an archive"}, // the default of ZIPPED_EXECUTABLES
			{raw: zipped(t, "tool.exe"), expect: "accept, unchanged"},
			{raw: zipped(t, "inner.zip"), expect: "accept, unchanged"},
		}},
		{"POISONED_EXECUTABLES=/x/*.aaa\nZIPPED_EXECUTABLES=/x/*.zip_*.bbb", []trial{
			{raw: zipped(t, "1.aaa"), expect: "accept, unchanged"},
			{raw: zipped(t, "1.bbb"), expect: "quarantine", rule: "poisoned in an archive"},
			{raw: zipped(t, "1.zip"), expect: "quarantine", rule: "poisoned in an archive"},
			{raw: attached("1.bbb", nil), expect: "accept, unchanged"},
		}},
		{"POISONED_EXECUTABLES=/x/*.aaa\nRARRED_EXECUTABLES=/x/*.bbb", []trial{
			{raw: zipped(t, "1.bbb"), expect: "accept, unchanged"},
			{raw: zipped(t, "1.aaa"), expect: "quarantine", rule: "poisoned in an archive"},
			{raw: attached("a.rar", rarWith("1.bbb")), expect: "quarantine", rule: "poisoned in a RAR archive"},
			{raw: attached("a.rar", rarWith("1.aaa")), expect: "accept, unchanged"},
		}},
		{"POISONED_EXECUTABLES=/x/*.aaa\nDISABLE_ZIP_SCAN=YES", []trial{
			{raw: zipped(t, "1.aaa"), expect: "accept, unchanged"},
			{raw: attached("1.aaa", nil), expect: "quarantine", rule: "poisoned attachment"},
		}},
		{"STRIPPED_EXECUTABLES=/x/*.aaa", []trial{
			{raw: attached("1.aaa", []byte("content")), expect: "accept, patched", stays: "Attachments of this kind", gone: "Y29udGVudA"},
			{raw: zipped(t, "1.aaa"), expect: "accept, unchanged"},
		}},
		{"MANGLE_EXTENSIONS='aa[ab]|c?d'", []trial{
			{raw: attached("1.aab", []byte("content")), expect: "accept, patched", stays: "DEFANGED-1.DEFANGED-aab", gone: `"1.aab`},
			{raw: attached("1.d", []byte("content")), expect: "accept, patched", stays: "DEFANGED-1.DEFANGED-d"},
			{raw: attached("1.html", []byte("content")), expect: "accept, unchanged"},
			{raw: zipped(t, "1.aab"), expect: "accept, unchanged"},
		}},
		{"SECURITY_TRUST_HTML=YES", []trial{{raw: page, expect: "accept, unchanged"}}},
		{"SECURITY_TRUST_STYLE_TAGS=YES", []trial{{raw: page, expect: "accept, patched", stays: `style="width:expression(y())"`, gone: ` onclick`}}},
		{"DEFANG_WEBBUGS=YES", []trial{
			{raw: webBug, expect: "accept, patched", stays: "X-Security: ", gone: `<img src=`},
			{raw: page, expect: "accept, patched", gone: ` onclick`},
		}},
		{"DEFANG_WEBBUGS=YES\nSECURITY_TRUST_WEBBUGS=YES", []trial{{raw: webBug, expect: "accept, unchanged"}}},
		{"", []trial{
			{raw: webBug, expect: "accept, unchanged"},
			{raw: page, expect: "accept, patched", stays: "X-Security: ", gone: ` onclick`},
			{raw: winmail, expect: "accept, unchanged"},
		}},
		{"SECURITY_NOTIFY='a@example.org, b@example.org'\nSECURITY_NOTIFY_RECIPIENT=YES\nSECURITY_NOTIFY_VERBOSE=c@example.org", []trial{
			{raw: attached("tool.exe", []byte("harmless")), expect: "quarantine, notified", rule: "poisoned attachment"},
			{raw: attached("tool.pdf", []byte("harmless")), expect: "accept, unchanged"},
		}},
		{"SECURITY_STRIP_MSTNEF=YES", []trial{{raw: winmail, expect: "accept, patched", stays: "in the format of Outlook (winmail.dat)"}}},
	} {
		r, err := procmail.Import(procmail.File{Name: "rc", Data: []byte(tt.rc)}, nil, lists)
		if err != nil {
			t.Fatalf("%q: %v", tt.rc, err)
		}
		e := newTestRunner(t, policyFileOf(t, r.Policy))
		for _, tr := range tt.trials {
			tr.run(t, tt.rc, e)
		}
	}
}

// rarWith is a RAR 4 archive with one stored member (technote.txt of UnRAR).
func rarWith(name string) []byte {
	content := "harmless"
	block := func(kind byte, flags uint16, body []byte) []byte {
		h := []byte{kind}
		h = binary.LittleEndian.AppendUint16(h, flags)
		h = append(binary.LittleEndian.AppendUint16(h, uint16(7+len(body))), body...)
		return append(binary.LittleEndian.AppendUint16(nil, uint16(crc32.ChecksumIEEE(h))), h...)
	}
	le := binary.LittleEndian
	file := le.AppendUint32(nil, uint32(len(content)))
	file = append(le.AppendUint32(file, uint32(len(content))), 3) // Unix
	file = le.AppendUint32(file, crc32.ChecksumIEEE([]byte(content)))
	file = append(le.AppendUint32(file, 0x5a790000), 20, 0x30) // time, version, stored
	file = le.AppendUint16(file, uint16(len(name)))
	file = append(le.AppendUint32(file, 0o100644), name...)
	out := append([]byte("Rar!\x1a\x07\x00"), block(0x73, 0, make([]byte, 6))...)
	out = append(append(out, block(0x74, 0x8000, file)...), content...)
	return append(out, block(0x7b, 0x4000, nil)...)
}
