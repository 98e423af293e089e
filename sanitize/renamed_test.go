package sanitize

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"rastel/sanitize/eml"
)

// mangled gives the message with its parts of that type mangled, and the notice about it.
func mangled(t *testing.T, n *Notices, m *eml.Message, media string, b Banner) string {
	t.Helper()
	var edits []eml.Edit
	m.Root.Walk(func(p *eml.Part) bool {
		if p.MediaType == media {
			edits = append(edits, Mangle(p)...)
			b.Renamed = append(b.Renamed, Renaming{Part: p, Mangled: true, Reason: b.Text})
		}
		return true
	})
	b.Text = ""
	edits, untold, err := n.PutBanners(m.Root, []Banner{{Name: "external"}, b}, edits)
	if err != nil || untold {
		t.Fatalf("untold %v, %v", untold, err)
	}
	return patched(t, m, edits)
}

// TestNoticeAboutNewNamesHoldsNothingHostile puts hostile names into notices of all languages, in a text
// and a page that are not encoded, and in a part of its own: no line begins with what a sender chose, and
// the message has the parts that it had.
func TestNoticeAboutNewNamesHoldsNothingHostile(t *testing.T) {
	n := notices(t, NoticeConfig{Contact: "help@example.org"})
	long := strings.Repeat("x", 60)
	names := append(slices.Clone(hostileNames), "--b", "--b--", long+" --b--", long+"\r\n--b", "begin 644 a.exe", long+" begin 644 a.exe", "a       b",
		strings.Repeat("\x00", 500), strings.Repeat("--b ", 50), "\u2800--b", "a\u2800b", "=ybegin line=128 size=1 name=a")
	for _, body := range []string{"text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit", "text/plain", "text/html", "image/png"} {
		for _, tag := range []string{"fr", "ja"} {
			for _, name := range names {
				m := raw(t, "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: "+body+"\n\none\n--b\nContent-Type: application/x-foo\n\nAAAA\n--b\nContent-Type: c/d\n\nlast\n--b--\n")
				p := m.Root.Children[1]
				p.Names = []string{name}
				out := mangled(t, n, m, "application/x-foo", Banner{Languages: []string{tag}, Text: "No.\n"})
				again := raw(t, out)
				list := again.Root.Children
				if extra := btoi(strings.HasPrefix(body, "image/")); len(list) != 3+extra && !slices.Contains(p.Names, MangledName(p.Names)) {
					t.Fatalf("%s, %q: the message has %d parts:\n%s", body, name, len(list), out)
				}
				if got := text(t, list[len(list)-1]); !strings.HasSuffix(got, "last") {
					t.Errorf("%s, %q: the last part is %q", body, name, got)
				}
				for line := range strings.Lines(text(t, list[0])) {
					odd := strings.HasPrefix(line, "--") || strings.HasPrefix(line, "begin ") || strings.HasPrefix(line, "=ybegin") || len(line) > 998
					if odd || strings.Contains(line, "<script") && strings.Contains(body, "html") || strings.ContainsFunc(line, isInvisible) {
						t.Errorf("%s, %q: the line %q", body, name, line)
					}
				}
			}
		}
	}
}

func TestNoticeAboutNewNamesListsParts(t *testing.T) {
	n := notices(t, NoticeConfig{})
	var b strings.Builder
	b.WriteString("Content-Type: multipart/mixed; boundary=b\n\n--b\n\nhello\n")
	for i := range maxRenamedFiles + 3 {
		fmt.Fprintf(&b, "--b\nContent-Type: a/b; name=\"%d.pl\"\n\nx\n", i)
	}
	b.WriteString("--b\nContent-Type: a/b; name=\"DEFANGED-a.DEFANGED-pl\"\n\nx\n--b\nContent-Type: a/b\n\nx\n--b--\n")
	m := raw(t, b.String())
	got := text(t, raw(t, mangled(t, n, m, "a/b", Banner{Item: "ITEM", Text: "Why.\nSo."})).Root.Children[0])
	if strings.Count(got, "New name: ") != maxRenamedFiles || !strings.Contains(got, "and 4 more\r\n") || strings.Contains(got, "Name: DEFANGED") {
		t.Errorf("got\n%s", got)
	}
	if !strings.Contains(got, "Name: 0.pl\r\nNew name: DEFANGED-0.DEFANGED-pl\r\nReason: Why.\r\nReason: So.\r\n\r\nName: 1.pl") || !strings.Contains(got, "\r\nITEM\r\n") {
		t.Errorf("got\n%s", got)
	}
	if !strings.HasPrefix(got, "This message comes from outside") || !strings.HasSuffix(got, "hello") {
		t.Errorf("it does not stand between the banner and the text:\n%s", got)
	}
}

// TestNoticeStandsBehindBannersThatAreThere so that those are known when the message comes again.
func TestNoticeStandsBehindBannersThatAreThere(t *testing.T) {
	n := notices(t, NoticeConfig{})
	external := n.banner("en", "external")
	for _, body := range []string{"text/plain\n\n" + strings.ReplaceAll(textBanner(external), "\r\n", "\n") + "hello", "text/html\n\n<body>" + strings.ReplaceAll(htmlBanner(external), "\r\n", "\n") + "hello"} {
		m := raw(t, "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: "+body+"\n--b\nContent-Type: a/b; name=a.pl\n\nx\n--b--\n")
		out := mangled(t, n, m, "a/b", Banner{Text: "x"})
		at, of := strings.Index(out, "This message comes from outside"), strings.Index(out, "The mail gateway")
		if at < 0 || of < at || strings.Count(out, "This message comes") != 1 {
			t.Errorf("got\n%s", out)
		}
		m = raw(t, out)
		if edits, _, err := n.PutBanners(m.Root, []Banner{{Name: "external"}}, nil); err != nil || len(edits) > 0 {
			t.Errorf("again: %v, %v", edits, err)
		}
	}
}

// TestNoticeInAPartOfItsOwn shows what becomes of messages without a text.
func TestNoticeInAPartOfItsOwn(t *testing.T) {
	n := notices(t, NoticeConfig{})
	for _, tt := range []struct {
		name, raw, tree string
		kept            string // as it stood
	}{
		{
			"attachments", "Subject: x\nContent-Type: multipart/mixed; boundary=\"b c\"\n\npreamble\n--b c  \nContent-Type: a/b; name=a.pl\n\nx\n--b c\nContent-Type: c/d\n\ny\n--b c--\nepilogue\n",
			"1 multipart/mixed 1.1 text/plain 1.2 application/octet-stream 1.3 c/d", "\n--b c\nContent-Type: c/d\n\ny\n--b c--\nepilogue\n",
		},
		{
			"one without a header", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: image/png\n\nx\n--b\nContent-Type: a/b\n\ny\n--b--\n",
			"1 multipart/mixed 1.1 text/plain 1.2 image/png 1.3 application/octet-stream", "\n--b\nContent-Type: image/png\n\nx\n--b",
		},
		{
			"other than mixed", "Subject: x\nContent-Type: multipart/related; boundary=b\nContent-Language: de\n\n--b\nContent-Type: a/b; name=a.pl\n\nx\n--b--\n",
			"1 multipart/mixed 1.1 text/plain 1.2 multipart/related 1.2.1 application/octet-stream", "Content-Type: multipart/related; boundary=b\nContent-Language: de\n\n--b\n",
		},
		{
			"one file", "Content-Transfer-Encoding: 8bit\nSubject: x\nContent-Type: a/b;\n\tname=a.pl\nX-A: b\n\n\n--b\n\xe4\n\n",
			"1 multipart/mixed 1.1 text/plain 1.2 application/octet-stream", "\n\n\n--b\n\xe4\n\n\n--",
		},
	} {
		m := raw(t, tt.raw)
		out := mangled(t, n, m, "a/b", Banner{Text: "x"})
		again := raw(t, out)
		var tree []string
		again.Root.Walk(func(p *eml.Part) bool {
			tree = append(tree, p.ID, p.MediaType)
			return true
		})
		if got := strings.Join(tree, " "); got != tt.tree || !strings.Contains(out, tt.kept) {
			t.Errorf("%s: became %s, want %s:\n%s", tt.name, got, tt.tree, out)
		}
		if got := text(t, again.Root.Children[0]); !strings.HasPrefix(got, "This message comes from outside") || !strings.Contains(got, "New name: DEFANGED-") {
			t.Errorf("%s: the notice is\n%s", tt.name, got)
		}
		for _, f := range m.Root.Header.Fields {
			if !isContentField(f.Name) && !strings.Contains(out, strings.ReplaceAll(string(m.Root.Header.Raw(f)), "\r\n", "\n")) {
				t.Errorf("%s: %s is gone:\n%s", tt.name, f.Name, out)
			}
		}
	}
}

// TestNoticeWithoutAPlace: where the message is written anew, or ends in its header, nothing is added.
func TestNoticeWithoutAPlace(t *testing.T) {
	n := notices(t, NoticeConfig{})
	for _, anew := range []bool{false, true} {
		m := raw(t, "Content-Type: a/b; name=a.pl\n")
		list := []Banner{{Renamed: []Renaming{{Part: m.Root, Mangled: true}}}}
		if anew {
			m = raw(t, "Content-Type: a/b; name=a.pl\n\nx\n")
			list[0].Renamed[0].Part, list[0].Anew = m.Root, []*eml.Part{m.Root}
		}
		if edits, untold, err := n.PutBanners(m.Root, list, nil); err != nil || !untold || len(edits) > 0 {
			t.Errorf("anew %v: %v, %v, %v", anew, edits, untold, err)
		}
	}
}
