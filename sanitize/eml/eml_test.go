package eml

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// spoolOf holds b, completely written.
func spoolOf(t testing.TB, b []byte) *Spool {
	t.Helper()
	s := NewSpool(SpoolOptions{})
	t.Cleanup(func() { s.Close() })
	if _, err := s.Write(b); err != nil {
		t.Fatal(err)
	}
	s.CloseWrite(nil)
	return s
}

// parse parses raw, in which "\n" stands for CRLF.
func parse(t testing.TB, raw string) (*Message, []Finding) {
	t.Helper()
	return parseBytes(t, []byte(strings.ReplaceAll(raw, "\n", "\r\n")), Limits{})
}

func parseBytes(t testing.TB, raw []byte, lim Limits) (*Message, []Finding) {
	t.Helper()
	m, findings, err := Parse(context.Background(), &Envelope{}, spoolOf(t, raw), lim, nil)
	if err != nil {
		t.Fatalf("Parse(%q): %v", raw, err)
	}
	t.Cleanup(m.Close)
	return m, findings
}

// outline tells the tree in one line: IDs, media types, and the content of leaves.
func outline(m *Message) string {
	var b strings.Builder
	m.Root.Walk(func(p *Part) bool {
		fmt.Fprintf(&b, "%s %s", p.ID, p.MediaType)
		if p.Leaf() {
			fmt.Fprintf(&b, " %q", content(p))
		}
		if p.Reading != "" {
			fmt.Fprintf(&b, " (%s)", p.Reading)
		}
		b.WriteString("; ")
		return true
	})
	return strings.TrimSuffix(b.String(), "; ")
}

func content(p *Part) string {
	b, err := io.ReadAll(p.Content())
	if err != nil {
		return "error: " + err.Error()
	}
	return string(b)
}

func checksOf(findings []Finding) string {
	var out []string
	for _, f := range findings {
		out = append(out, f.Check)
	}
	return strings.Join(out, " ")
}

func TestParseTellsTheTree(t *testing.T) {
	for _, tt := range []struct{ name, raw, want, checks string }{
		{"plain", "Subject: x\n\nhello\n", `1 text/plain "hello\r\n"`, ""},
		{"empty", "", `1 text/plain ""`, ""},
		{"header only", "Subject: x\n", `1 text/plain ""`, ""},
		{"no header", "\nhello", `1 text/plain "hello"`, ""},
		{
			"mixed", "Content-Type: multipart/mixed; boundary=b\n\npre\n--b\n\none\n--b\nContent-Type: text/html\n\ntwo\n\n--b--\nepi\n",
			`1 multipart/mixed; 1.1 text/plain "one"; 1.2 text/html "two\r\n"`, "",
		},
		{
			"nested, prefix boundaries", "Content-Type: multipart/mixed; boundary=bb\n\n--bb\nContent-Type: multipart/alternative; boundary=bbx\n\n--bbx\n\n1\n--bbx--\n--bb\n\n2\n--bb--\n",
			`1 multipart/mixed; 1.1 multipart/alternative; 1.1.1 text/plain "1"; 1.2 text/plain "2"`, "",
		},
		{
			"outer delimiter ends inner parts", "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n1\n--a\n\n2\n--a--\n",
			`1 multipart/mixed; 1.1 multipart/mixed; 1.1.1 text/plain "1"; 1.2 text/plain "2"`, "",
		},
		{
			"forwarded message", "Content-Type: message/rfc822\n\nSubject: in\nContent-Type: text/html\n\n<p>\n",
			`1 message/rfc822; 1.1 text/html "<p>\r\n"`, "",
		},
		{
			"digest", "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: in\n\nx\n--b--\n",
			`1 multipart/digest; 1.1 message/rfc822; 1.1.1 text/plain "x"`, "",
		},
		{"base64", "Content-Transfer-Encoding: BASE64\n\naGVs\nbG8=\n", `1 text/plain "hello"`, ""},
		{"quoted-printable", "Content-Transfer-Encoding: quoted-printable\n\na=3Db =\nc  \nd=3d\n", `1 text/plain "a=b c\r\nd=\r\n"`, ""},
		{"uuencode", "Content-Transfer-Encoding: x-uuencode\n\nbegin 644 a\n#86)C\n`\nend\n", `1 text/plain "abc"`, ""},
		{"not closed", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n", `1 multipart/mixed; 1.1 text/plain "one\r\n"`, ""},
		{"delimiter in header", "Content-Type: multipart/mixed; boundary=b\n\n--b\nX: y\n--b\n\n2\n--b--\n", `1 multipart/mixed; 1.1 text/plain ""; 1.2 text/plain "2"`, ""},
		{"empty part", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--b--\n", `1 multipart/mixed; 1.1 text/plain ""`, ""},
		{"blank behind delimiter", "Content-Type: multipart/mixed; boundary=b\n\n--b \t\n\n1\n--b-- \n", `1 multipart/mixed; 1.1 text/plain "1"`, ""},
		{"quoted boundary with blank", "Content-Type: multipart/mixed; boundary=\"a b\"\n\n--a b\n\n1\n--a b--\n", `1 multipart/mixed; 1.1 text/plain "1"`, ""},
		{"mbox separator", "From a@b Mon\nSubject: x\n\n1", `1 text/plain "1"`, ""},

		{
			"part after the end", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n1\n--b--\n--b\n\n2\n",
			`1 multipart/mixed; 1.1 text/plain "1"; 1.2 text/plain "2\r\n" (after the closing boundary)`, "mime/ambiguous-boundary",
		},
		{"two boundaries", "Content-Type: multipart/mixed; boundary=a; boundary=b\n\n--a\n\n1\n--a--\n", `1 multipart/mixed; 1.1 text/plain "1"`, "mime/ambiguous-boundary"},
		{"junk behind the delimiter", "Content-Type: multipart/mixed; boundary=b\n\n--b junk\n\n1\n--b--\n", `1 multipart/mixed; 1.1 text/plain "1"`, "mime/ambiguous-boundary"},
		{"boundary to be guessed", "Content-Type: multipart/mixed\n\n--q\n\n1\n--q--\n", `1 multipart/mixed; 1.1 text/plain "1"`, "mime/ambiguous-boundary"},
		{"inner boundary is the outer", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n1\n", `1 multipart/mixed; 1.1 multipart/mixed; 1.1.1 text/plain "1\r\n"`, "mime/ambiguous-boundary"},
		{"two types", "Content-Type: text/plain\nContent-Type: text/html\n\n1", `1 text/plain "1"; 1~1 text/html "1" (as text/html in plain form)`, "mime/ambiguous-type"},
		{"type without slash", "Content-Type: html\n\n1", `1 text/plain "1"; 1~1 html "1" (as html in plain form)`, "mime/ambiguous-type"},
		{"boundary on text", "Content-Type: text/plain; boundary=b\n\n--b", `1 text/plain "--b"`, "mime/ambiguous-type"},
		{"two encodings", "Content-Transfer-Encoding: 7bit\nContent-Transfer-Encoding: base64\n\naGVsbG8=", `1 text/plain "hello"; 1~1 text/plain "aGVsbG8=" (as text/plain in plain form)`, "mime/ambiguous-encoding"},
		{"decorated encoding", "Content-Transfer-Encoding: \"base64\"\n\naGVsbG8=", `1 text/plain "hello"; 1~1 text/plain "aGVsbG8=" (as text/plain in plain form)`, "mime/ambiguous-encoding"},
		{"unknown encoding", "Content-Transfer-Encoding: foo\n\nx", `1 text/plain "x"`, "mime/ambiguous-encoding"},
		{"encoded multipart", "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: base64\n\nLS1i", `1 multipart/mixed; 1~1 text/plain "LS1i" (as text); 1~2 text/plain "--b" (as one file)`, "mime/ambiguous-encoding mime/ambiguous-boundary"},
		{"base64 with junk", "Content-Transfer-Encoding: base64\n\naGV*sbG8=", `1 text/plain "hello"`, "mime/ambiguous-content"},
		{"base64 after padding", "Content-Transfer-Encoding: base64\n\naGU=bGxv", `1 text/plain "hello"; 1~1 text/plain "he" (decoded by a strict decoder); 1~2 text/plain "he\x1b\x1b\x1b" (decoded by a strict decoder)`, "mime/ambiguous-content"},
		{"base64 in pairs", "Content-Transfer-Encoding: base64\n\naA==ZQ==", `1 text/plain "he"; 1~1 text/plain "h" (decoded by a strict decoder); 1~2 text/plain "h\x06P" (decoded by a strict decoder)`, "mime/ambiguous-content"},
		{"base64 unpadded", "Content-Transfer-Encoding: base64\n\naGU", `1 text/plain "he"`, "mime/ambiguous-content"},
		{"invalid escape", "Content-Transfer-Encoding: quoted-printable\n\na=ZZb=", `1 text/plain "a=ZZb"; 1~1 text/plain "aZZb" (decoded by a strict decoder)`, "mime/ambiguous-content"},
		{"line without colon", "Subject: x\nfoo\nX: y\n\nbody", `1 text/plain "body"; 1~1 text/plain "foo\r\nX: y\r\n\r\nbody" (with a header that ends where no field is)`, "mime/ambiguous-header"},
		{"blank before colon", "Content-Type : text/html\n\nbody", `1 text/html "body"; 1~1 text/plain "Content-Type : text/html\r\n\r\nbody" (with a header that ends where no field is)`, "mime/ambiguous-header"},
		{"fragment", "Content-Type: message/partial; id=a\n\nA: b\n\nx", `1 message/partial; 1.1 text/plain "x"`, "mime/partial"},
		{"elsewhere", "Content-Type: message/external-body; access-type=x\n\nA: b\n\nx", `1 message/external-body; 1.1 text/plain "x"`, "mime/external-body"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, findings := parse(t, tt.raw)
			if got := outline(m); got != tt.want {
				t.Errorf("tree of %q:\n got %s\nwant %s", tt.raw, got, tt.want)
			}
			if got := checksOf(findings); got != tt.checks {
				t.Errorf("findings of %q: got %q, want %q", tt.raw, got, tt.checks)
			}
		})
	}
}

func TestNamesHoldEveryCandidate(t *testing.T) {
	for _, tt := range []struct{ header, want string }{
		{"Content-Disposition: attachment; filename=a.exe", `["a.exe"]`},
		{`Content-Disposition: attachment; filename="a b.exe"`, `["a b.exe"]`},
		{"Content-Disposition: attachment; filename=a b.exe", `["a b.exe" "a"]`},
		{`Content-Disposition: attachment; filename="a.exe" "b.txt"`, `["a.exe\"b.txt\"" "a.exe" "a.exe\" \"b.txt"]`},
		{`Content-Disposition: attachment; filename='a.exe'`, `["'a.exe'" "a.exe"]`},
		{`Content-Disposition: attachment; filename=a%2eexe`, `["a%2eexe" "a.exe"]`},
		{"Content-Disposition: attachment; filename=\"\xe4.exe\"", `["\xe4.exe" "ä.exe"]`},
		{`Content-Disposition: attachment; filename*=utf-7''a+AC4-exe`, `["a.exe"]`},
		{`Content-Disposition: attachment; filename="=?utf-8?B?YS5leGU?="`, `["a.exe"]`},
		{`Content-Disposition: attachment; filename="=?utf-8?Q?a b.exe?="`, `["a b.exe"]`},
		{`Content-Disposition: attachment; filename="=?utf-8*en?Q?a.exe?="`, `["a.exe"]`},
		{`Content-Disposition: attachment; filename="=?unicode-1-1-utf-7?Q?a+AC4-e?= =?unicode-1-1-utf-7?Q?x+-e?="`, `["a.ex+e"]`},
		{`Content-Disposition: attachment; filename="=?x-unknown?Q?a=2Eexe?="`, `["a.exe"]`},
		{`Content-Disposition: attachment; filename="=?iso-2022-jp?B?GyRCJUYlOSVIGyhCLmV4ZQ?="`, `["テスト.exe"]`},
		{`Content-Disposition: attachment; filename="=?utf-8?Q?=C3?= =?utf-8?Q?=A4.exe?= b"`, `["ä.exe b"]`},
		{`Content-Disposition: attachment; filename*0="=?utf-8?Q?a."; filename*1="exe?="`, `["a.exe"]`},
		{"Content-Location: http://x/a.exe?b", `["a.exe"]`},
		{"Content-Description: a.exe", `["a.exe"]`},
		{`Content-Disposition: attachment; filename="a.exe`, `["a.exe"]`},
		{"Content-Type: x/y; name=a.txt\nContent-Disposition: attachment; filename=b.exe", `["b.exe" "a.txt"]`},
		{"Content-Disposition: attachment; filename=a.txt; filename=b.exe", `["a.txt" "b.exe"]`},
		{"Content-Disposition: inline; filename*=utf-8''%61.exe", `["a.exe"]`},
		{"Content-Disposition: inline; filename*=iso-8859-1''%e4.exe; filename=a.txt", `["a.txt" "ä.exe"]`},
		{"Content-Disposition: inline; filename*0=a.e; filename*1=xe", `["a.exe"]`},
		{"Content-Disposition: inline; filename*1=xe; filename*0=a.e; filename*3=zz", `["a.exe" "a.exezz" "xea.ezz"]`},
		{`Content-Disposition: inline; filename*0*="''attached%2E"; filename*1*="%62"; filename*2=at`, `["attached.bat"]`},
		{`Content-Type: x/y; name="=?utf-8?B?YS5leGU=?="`, `["a.exe"]`},
		{`Content-Disposition: inline; filename="a\.exe"`, `["a.exe" "a\\.exe"]`},
		{"Content-Disposition: inline (x; filename=q.exe) ; filename=b.txt", `["b.txt" "q.exe" "q.exe)"]`},
		{"Content-Type: application/octet-stream;\n name=\"x.rar\"", `["x.rar"]`},
	} {
		m, _ := parse(t, tt.header+"\n\nx")
		if got := fmt.Sprintf("%q", m.Root.Names); got != tt.want {
			t.Errorf("names of %s: got %s, want %s", tt.header, got, tt.want)
		}
	}
}

func TestLimitsAreFindings(t *testing.T) {
	deep := strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 10)
	many := "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\nx\r\n", 50)
	for _, tt := range []struct {
		name, raw string
		lim       Limits
		want      string
	}{
		{"depth", deep, Limits{Depth: 5}, "mime/limit-depth"},
		{"parts", many, Limits{Parts: 20}, "mime/limit-parts"},
		{"fields", strings.Repeat("A: b\r\n", 30) + "\r\nx", Limits{Fields: 10}, "mime/limit-fields"},
		{"header", "A: " + strings.Repeat("b", 1000) + "\r\n\r\nx", Limits{Header: 100}, "mime/limit-header"},
		{"parameters", "Content-Type: a/b" + strings.Repeat("; a=b", 30) + "\r\n\r\nx", Limits{Params: 10}, "mime/limit-parameters"},
		{"parameters of many fields", strings.Repeat("Content-Type: a/b"+strings.Repeat("; a=b", 30)+"\r\n", 9) + "\r\nx", Limits{Params: 10}, "mime/limit-parameters"},
		{"names", "Content-Disposition: x; name=a; name=b; name=c; name=d\r\n\r\nx", Limits{Names: 3}, "mime/limit-names"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, findings := parseBytes(t, []byte(tt.raw), tt.lim)
			if got := checksOf(findings); got != tt.want {
				t.Fatalf("got findings %q, want %q", got, tt.want)
			}
			if !findings[0].Unexamined {
				t.Errorf("%s does not count as unexamined", tt.want)
			}
		})
	}
}

func TestLongHeaderLineIsOneField(t *testing.T) {
	long := strings.Repeat("x", 3*windowSize)
	m, findings := parseBytes(t, []byte("X-Long: "+long+"\r\nSubject: s\r\n\r\nbody"), Limits{})
	if len(findings) != 0 || m.Root.Header.Get("X-Long") != long || m.Root.Header.Get("Subject") != "s" {
		t.Errorf("got %d fields, findings %q", len(m.Root.Header.Fields), checksOf(findings))
	}
}

func TestParseWaitsForTheWriter(t *testing.T) {
	raw := []byte("Content-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\n\r\none\r\n--bb\r\n\r\ntwo\r\n--bb--\r\n")
	s := NewSpool(SpoolOptions{Memory: 20}) // goes to a file on the way
	defer s.Close()
	go func() {
		for i := range raw {
			s.Write(raw[i : i+1])
		}
		s.CloseWrite(nil)
	}()
	leaves := 0
	m, _, err := Parse(context.Background(), &Envelope{}, s, Limits{}, func(*Part) { leaves++ })
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if want := `1 multipart/mixed; 1.1 text/plain "one"; 1.2 text/plain "two"`; outline(m) != want || leaves != 2 {
		t.Errorf("got %s with %d leaves, want %s", outline(m), leaves, want)
	}
}

func TestParseReportsTheWritersError(t *testing.T) {
	gone := errors.New("gone")
	for _, raw := range []string{"", "Subject: x", "Subject: x\r\n\r\nbody", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx"} {
		s := NewSpool(SpoolOptions{})
		s.Write([]byte(raw))
		s.CloseWrite(gone)
		if _, _, err := Parse(context.Background(), &Envelope{}, s, Limits{}, nil); !errors.Is(err, gone) {
			t.Errorf("Parse of %q that ended with an error: got %v, want %v", raw, err, gone)
		}
		s.Close()
	}
}

func TestSkeletonHoldsTextDecodedAndLeavesTheRestOut(t *testing.T) {
	m, _ := parse(t, "Subject: s\nContent-Type: multipart/mixed; boundary=b\n\npre\n--b\nContent-Transfer-Encoding: base64\nX: y\n\naGVsbG8=\n"+
		"--b\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\niVBORw0KGgo=\n--b\n\nplain\n--b--\nepi\n")
	var got bytes.Buffer
	if err := m.Skeleton(&got); err != nil {
		t.Fatal(err)
	}
	want := "Subject: s\nContent-Type: multipart/mixed; boundary=b\n\npre\n--b\nX: y\n\nhello\n" +
		"--b\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\n\n--b\n\nplain\n--b--\nepi\n"
	if got.String() != strings.ReplaceAll(want, "\n", "\r\n") {
		t.Errorf("got  %q\nwant %q", got.String(), want)
	}
}

func TestSniffTellsContentFromItsBytes(t *testing.T) {
	pe := make([]byte, 256)
	copy(pe, "MZ\x90\x00")
	pe[0x3c] = 0x80
	copy(pe[0x80:], "PE\x00\x00")
	for _, tt := range []struct{ in, want string }{
		{"", "empty"}, {"hello", "text"}, {"MZ is a name\r\n", "text"}, {string(pe), "pe"}, {"\x7fELF\x02", "elf"},
		{"PK\x03\x04....", "zip"}, {"#!/bin/sh\n", "script"}, {"<html>", "html"}, {"  \n<!DOCTYPE HTML>", "html"},
		{"\xff\xfe<\x00h\x00t\x00m\x00l\x00>\x00", "html"}, {"<?xml version='1.0'?><svg>", "svg"}, {"<?xml version='1.0'?><a>", "xml"},
		{"text before <script>alert(1)</script>", "html"}, {"\xca\xfe\xba\xbe\x00\x00\x00\x34", "java-class"}, {"\xca\xfe\xba\xbe\x00\x00\x00\x02", "macho"},
		{"Received: a\r\nFrom: b\r\nTo: c\r\n\r\n", "mail"}, {"From: me\r\n\r\nhi", "text"}, {"\x00\x01\x02", "data"},
		{"junk\n%PDF-1.4", "pdf"}, {"{\\rt", "rtf"}, {"L\x00\x00\x00\x01\x14\x02\x00", "lnk"}, {"\x89PNG\r\n\x1a\n", "png"},
		{"begin 644 x.com\n", "uuencode"}, {"begin 5 minutes\n", "text"}, {"=ybegin line=128 size=1 name=x\n\xff\x01", "yenc"}, {"Hi\n(This file must be converted with BinHex 4.0)\n:", "binhex"},
		{"\x00\x05\x16\x00", "applesingle"}, {"\x00\x05\x16\x07", "appledouble"}, {"\x78\x9f\x3e\x22", "tnef"}, {"begin 644 <script>\n", "html"},
	} {
		if got := sniff(strings.NewReader(tt.in), int64(len(tt.in))); got != tt.want {
			t.Errorf("sniff(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
	for _, m := range append(magics, farMagics...) {
		if _, ok := Types[m.word]; !ok {
			t.Errorf("%q is no word of Types", m.word)
		}
	}
}

// corpus is third-party test data that may stand beside the project.
const corpus = "../../../shared/corpus/mime"

func corpusFiles(t testing.TB) [][]byte {
	var out [][]byte
	filepath.WalkDir(corpus, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasSuffix(path, ".jsonl") {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, b)
		}
		return nil
	})
	return out
}
