package procmail

import (
	"path"
	"strings"
	"testing"
)

func TestFilespecs(t *testing.T) {
	l, err := filespecs(File{"list", []byte("\ufeff# names\r\n\r\n*.EXE\r\n*.exe\r\n  love*.t?t  \r\nRe[1].exe\r\n[a-c]x.com\r\n[.com\r\na\\b.com\r\nf\u00fcr.pif\r\na/b.com\r\n**\r\n" + strings.Repeat("x", 256) + "\r\n")})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"*.exe", "love*.t?t", `re\[1].exe`, "re[1].exe", `\[a-c]x.com`, "[a-c]x.com", `\[.com`, `a\\b.com`, "für.pif"}
	if got := strings.Join(l.patterns, " "); got != strings.Join(want, " ") {
		t.Errorf("got  %s\nwant %s", got, strings.Join(want, " "))
	}
	for _, p := range l.patterns {
		if !isPattern(p) {
			t.Errorf("%q is no pattern", p)
		}
	}
	if l.brackets != 2 {
		t.Errorf("%d filespecs with brackets", l.brackets)
	}
	var lines []string
	for _, r := range l.rejected {
		lines = append(lines, r.at.String()+" "+r.why)
	}
	if got := strings.Join(lines, "|"); got != `list:11 "a/b.com" holds a slash, but names are compared without directories|list:12 "**" is like any name|list:13 "`+strings.Repeat("x", 40)+`"... has more than 255 bytes` {
		t.Errorf("rejected %s", got)
	}
	if _, err := filespecs(File{"list", []byte("\xff\x00")}); err == nil || err.Error() != "list: no text: it holds a NUL" {
		t.Errorf("NUL: %v", err)
	}
}

// TestFilespecsAreLikeTheSameNames holds the wildcards to path.Match.
func TestFilespecsAreLikeTheSameNames(t *testing.T) {
	for _, tt := range []struct{ spec, name string }{
		{"*.exe", "a.exe"}, {"a?c", "abc"}, {"a[1].exe", "a[1].exe"}, {"a[1].exe", "a1.exe"}, {`a\b*`, `a\bc`}, {"a[^b]c", "a[^b]c"},
	} {
		patterns, wrong := filespec(tt.spec)
		any := false
		for _, p := range patterns {
			ok, err := path.Match(p, tt.name)
			any = any || ok && err == nil
		}
		if !any || wrong != "" {
			t.Errorf("%q (%q) is not like %q: %s", tt.spec, patterns, tt.name, wrong)
		}
	}
}

func TestExtensions(t *testing.T) {
	for _, tt := range []struct{ expr, want, wrong string }{
		{"", "", ""},
		{"exe", "*.exe", ""},
		{"EXE|exe|com||", "*.exe *.com", ""},
		{"html?", "*.html *.htm", ""},
		{"vb[se]?", "*.vbs *.vbe *.vb", ""},
		{"(pif|sc(r|f))", "*.pif *.scr *.scf", ""},
		{"(a|b)(c|d)?", "*.ac *.ad *.a *.bc *.bd *.b", ""},
		{"(a)|(b)", "*.a *.b", ""},
		{"(?:a|b)c", "*.ac *.bc", ""},
		{"r[0-2x]", "*.r0 *.r1 *.r2 *.rx", ""},
		{`r\d`, "*.r0 *.r1 *.r2 *.r3 *.r4 *.r5 *.r6 *.r7 *.r8 *.r9", ""},
		{`\.exe|x\-y`, "*.exe *.x-y", ""},
		{"x.z|x.*|y.+|z.?", "*.x?z *.x* *.y?* *.z *.z?", ""},
		{"x[^a-c]", "*.x[^a-c]", ""},
		{`\*\?\[`, `*.\*\?\[`, ""},
		{"^exe$", "*.exe", ""},
		{"für?", "*.für *.fü", ""},
		{"exe|do[ct]+|com", "*.exe *.com", `"do[ct]+": what may be repeated has no list of extensions`},
		{"a{2}|b*|+", "", `"a{2}": what may be repeated has no list of extensions|"b*": what may be repeated has no list of extensions|"+": what may be repeated has no list of extensions`},
		{"a(b|c", "", `"a(b|c": the parentheses do not match`},
		{"a)|b", "", `"a)|b": the parentheses do not match`},
		{"a[bc|d", "", `"a[bc|d": the brackets do not match`},
		{"a[", "", `"a[": the brackets do not match`},
		{"[z-a]|[a\\]]|[^]|\\", "", ""},
		{`\w|a/b|a b`, "", `"\\w": not understood|"a/b": not understood|"a b": not understood`},
		{strings.Repeat("(", 12) + "a" + strings.Repeat(")", 12) + "b", "", `"((((((((((((a))))))))))))b": more than 10 groups in one another`},
		{strings.Repeat("[a-z]", 3), "", `"[a-z][a-z][a-z]": it comes to more than 5000 extensions`},
		{"[a-z][a-z][0-5]|[a-z][a-z]x[0-9]", "", "it comes to more than 5000 extensions"},
		{strings.Repeat("a", 300), "", `"` + strings.Repeat("a", 60) + `": longer than 255 bytes`},
	} {
		patterns, errs := extensions(tt.expr)
		var wrong []string
		for _, err := range errs {
			wrong = append(wrong, err.Error())
		}
		for _, p := range patterns {
			if !isPattern(p) {
				t.Errorf("%q: %q is no pattern", tt.expr, p)
			}
		}
		if strings.HasPrefix(tt.expr, "[") { // what matters is that it ends
			continue
		}
		if got := strings.Join(patterns, " "); got != tt.want || strings.Join(wrong, "|") != tt.wrong {
			t.Errorf("%q\ngot  %s; %s\nwant %s; %s", tt.expr, got, strings.Join(wrong, "|"), tt.want, tt.wrong)
		}
	}
}
