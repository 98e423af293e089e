package sanitize

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"rastel/sanitize/eml"
)

func notices(t *testing.T, c NoticeConfig) *Notices {
	t.Helper()
	n, err := NewNotices(c)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// raw parses a message in which "\n" stands for CRLF.
func raw(t *testing.T, text string) *eml.Message {
	t.Helper()
	s := eml.NewSpool(eml.SpoolOptions{})
	if _, err := io.WriteString(s, strings.ReplaceAll(text, "\n", "\r\n")); err != nil {
		t.Fatal(err)
	}
	s.CloseWrite(nil)
	m, _, err := eml.Parse(t.Context(), &eml.Envelope{}, s, eml.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close(); s.Close() })
	return m
}

// patched gives a message with edits.
func patched(t *testing.T, m *eml.Message, edits []eml.Edit) string {
	t.Helper()
	patch, err := eml.NewPatch(m, edits)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if _, err := patch.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(out.String(), "\r\n", "\n")
}

func text(t *testing.T, p *eml.Part) string {
	t.Helper()
	b, err := io.ReadAll(p.Content())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestEveryLanguageIsComplete fails if a text is missing, was not translated, or does not tell
// something that English tells.
func TestEveryLanguageIsComplete(t *testing.T) {
	n := notices(t, NoticeConfig{Contact: "CONTACT"})
	if want := strings.Fields("de en es fr it ja nl pt zh"); !slices.Equal(n.Languages(), want) {
		t.Fatalf("languages are %q, want %q", n.Languages(), want)
	}
	if want := strings.Fields("changed external suspicious"); !slices.Equal(n.BannerNames(), want) {
		t.Errorf("banners are %q, want %q", n.BannerNames(), want)
	}
	english := n.languages["en"]
	for tag, l := range n.languages {
		if len(l.found) != len(foundClasses) || len(l.banners) != len(english.banners) {
			t.Errorf("%s: %d words, %d banners", tag, len(l.found), len(l.banners))
		}
		texts := map[string]bool{}
		for class, words := range l.found {
			if texts[words] || tag != "en" && words == english.found[class] {
				t.Errorf("%s: %s is %q, as another is", tag, class, words)
			}
			texts[words] = true
		}
		for name, s := range l.banners {
			if tag != "en" && s == english.banners[name] {
				t.Errorf("%s: the banner %q is in English", tag, name)
			}
		}
		d := noticeData{
			Names: []string{"NAME1", "NAME2"}, More: 4711, Type: "TYPE", Size: "SIZE", Findings: []toldFinding{{"CHECK", "WORDS"}},
			Reason: []string{"REASON1", "REASON2"}, Item: "ITEM", Contact: "CONTACT",
		}
		kept, err := l.execute(noticeText, d)
		if err != nil {
			t.Fatal(err)
		}
		d.Item = ""
		gone, err := l.execute(noticeText, d)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range strings.Fields("NAME1 NAME2 4711 TYPE SIZE CHECK WORDS REASON1 REASON2 CONTACT") {
			if !strings.Contains(kept, s) || !strings.Contains(gone, s) {
				t.Errorf("%s: a notice does not tell %s:\n%s\n%s", tag, s, kept, gone)
			}
		}
		if !strings.Contains(kept, "\nITEM\n") || kept == gone {
			t.Errorf("%s: a notice does not tell the item on a line of its own:\n%s", tag, kept)
		}
		told, err := l.execute(renamedText, renamedData{Files: []renamedFile{{d.Names, "NEW", d.Reason}}, More: 4711, Item: "ITEM", Contact: "CONTACT"})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range strings.Fields("NAME1 NAME2 NEW REASON1 REASON2 4711 CONTACT") {
			if !strings.Contains(told, s) {
				t.Errorf("%s: the notice about new names does not tell %s:\n%s", tag, s, told)
			}
		}
		if first, _, _ := strings.Cut(told, "\n"); !strings.Contains(told, "\nITEM\n") || texts[first] || tag != "en" && strings.HasPrefix(first, "The") {
			t.Errorf("%s: the notice about new names:\n%s", tag, told)
		}
	}
}

// TestNoticesAreDocumented compares the fields with contrib/doc/notices.md.
func TestNoticesAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../contrib/doc/notices.md")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{noticeText, renamedText}
	for _, data := range []reflect.Type{reflect.TypeFor[noticeData](), reflect.TypeFor[renamedData](), reflect.TypeFor[renamedFile]()} {
		for f := range data.Fields() {
			want = append(want, "."+f.Name)
		}
	}
	for _, c := range foundClasses {
		want = append(want, foundPrefix+c)
	}
	n := notices(t, NoticeConfig{})
	for _, b := range n.BannerNames() {
		want = append(want, bannerPrefix+b)
	}
	want = append(want, n.Languages()...)
	for _, w := range want {
		if !bytes.Contains(doc, []byte("`"+w+"`")) {
			t.Errorf("contrib/doc/notices.md does not tell of `%s`", w)
		}
	}
}

func TestTextsOfADirectoryTakeThePlaceOfTheBuiltInOnes(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "de.txt", `{{define "found-macro"}}Makros{{end}}{{define "banner-house"}}Hausregel{{end}}`)
	write(t, dir, "nds.txt", strings.Replace(german(t), "Das Mail-Gateway hat einen Teil dieser Nachricht entfernt.", "En Deel vun disse Naricht is weg.", 1))
	n := notices(t, NoticeConfig{Directory: dir})
	if n.Words("de", "clamd/macro") != "Makros" || n.Words("de", "clamd/malware") != "Schadsoftware" || n.Words("nds", "clamd/malware") != "Schadsoftware" {
		t.Error("the texts are not those of the directory")
	}
	if !slices.Contains(n.Languages(), "nds") || n.banner("fr", "house") != "Hausregel\n" || n.banner("fr", "none") != "" {
		t.Errorf("languages are %q, banners %q", n.Languages(), n.BannerNames())
	}
	if got := n.bannerTexts(&Banner{Name: "house", Languages: []string{"fr", "de"}}); len(got) != 1 || got[0] != "Hausregel\n" {
		t.Error("a banner of one language is shown for others too, but once")
	}
}

func german(t *testing.T) string {
	t.Helper()
	b, err := noticeFiles.ReadFile("notices/de.txt")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedTextsAreNotLoaded(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"de.txt", "\n\n{{define \"found-macro\"}}", "de.txt:3: unexpected EOF"},
		{"de.txt", "\n{{define \"notice\"}}\n{{.Foo}}{{end}}", "de.txt:3:2: executing"},
		{"de.txt", "{{define \"notice\"}}x{{range .Names}}{{.Size}}{{end}}{{end}}", "de.txt:1:"},
		{"de.txt", "{{define \"banner-x\"}}{{.Names}}{{end}}", "de.txt:1:"},
		{"de.txt", "{{define \"banner-x\"}}" + strings.Repeat("x", maxBannerText) + "{{end}}", "banner-x is longer than 4000 bytes"},
		{"de.txt", "{{define \"notice\"}}{{with .Item}}x{{end}}{{end}}", `the text "notice" is empty`},
		{"de.txt", "{{define \"found-macro\"}}a\u202eb{{end}}", "does not print"},
		{"de.txt", "{{define \"notice\"}}{{range .Names}}{{printf \"%70000d\" 1}}{{end}}{{end}}", "more than is allowed"},
		{"de.txt", strings.Repeat("x", maxNoticeFile+1), "more than 65536 bytes"},
		{"xx.txt", "{{define \"notice\"}}x{{end}}", `there is no text "found-malware"`},
		{"German.txt", "", "German.txt: the name is not that of a language"},
		{"readme", "", "there are no files LANGUAGE.txt"},
	} {
		dir := t.TempDir()
		write(t, dir, tt.name, tt.text)
		if _, err := NewNotices(NoticeConfig{Directory: dir}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %.60q: %v, want %q", tt.name, tt.text, err, tt.want)
		}
	}
	if _, err := NewNotices(NoticeConfig{Directory: filepath.Join(t.TempDir(), "none")}); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("no directory: %v", err)
	}
	if _, err := NewNotices(NoticeConfig{Contact: "a\r\nb"}); err == nil {
		t.Error("a contact on two lines is taken")
	}
}

// hostileNames hold what could break out of a notice, or mislead in it.
var hostileNames = []string{
	"a\r\n--b--\r\nContent-Type: text/html\r\n\r\n<script>", "--b", "<img src=x onerror=alert(1)>", "gnp.\u202eexe", "a\u200b\u3164.exe", "\xff\xfe\x00",
	"</div></body><script>alert(1)</script>", strings.Repeat("é", 500), "=?utf-8?q?=0D=0A?=", "From me", ".", "Überweisung 送金.exe", "\x1b[31mred",
}

// TestNoticesHoldNothingHostile puts hostile names and reasons into notices of all languages, and
// looks at every form of them.
func TestNoticesHoldNothingHostile(t *testing.T) {
	n := notices(t, NoticeConfig{Contact: "help@example.org"})
	for _, body := range []string{"text/plain", "text/html"} {
		for _, tag := range append(n.Languages(), "") {
			for _, name := range hostileNames {
				m := raw(t, "Subject: s\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: "+body+"\n\none\n--b\nContent-Type: application/x-foo\n\nAAAA\n--b\n\nlast\n--b--\n")
				p := m.Root.Children[1]
				p.Names = []string{name}
				r := Removal{Reason: name, Item: "01BX5ZZKBKACTAV9WEVGEMMVRZ", Findings: []eml.Finding{{Check: "name/hidden", Part: p, Detail: name}}}
				if tag != "" {
					r.Languages = []string{tag}
				}
				edits, err := n.Strip(p, r)
				if err != nil {
					t.Fatal(err)
				}
				out := patched(t, m, edits)
				again := raw(t, out)
				checkNotice(t, out, again, body == "text/html", r.Item)
			}
		}
	}
}

func checkNotice(t *testing.T, out string, m *eml.Message, html bool, item string) {
	t.Helper()
	for line := range strings.Lines(out) {
		if len(line) > 77 {
			t.Errorf("a line of %d bytes: %q", len(line), line)
		}
		if i := strings.Index(line, "--"); i > 0 || i == 0 && line[2:4] != "b\n" && line[2:4] != "b-" && !strings.HasPrefix(line, "--=_rastel_notice_") {
			t.Errorf("this may be taken for a boundary: %q", line)
		}
	}
	if len(m.Root.Children) != 3 || text(t, m.Root.Children[2]) != "last" {
		t.Fatalf("the message has other parts:\n%s", out)
	}
	list := []*eml.Part{m.Root.Children[1]}
	if html {
		list = list[0].Children
	}
	if want := 1 + btoi(html); len(list) != want {
		t.Fatalf("%d forms, want %d:\n%s", len(list), want, out)
	}
	for _, p := range list {
		s := text(t, p)
		if len(p.Header.Fields) != 2 || !strings.Contains(s, item) {
			t.Errorf("the notice is\n%s\n%s", p.Header.Bytes(), s)
		}
		for _, r := range s {
			if isBidi(r) || isInvisible(r) || r < ' ' && r != '\r' && r != '\n' || r == 0xfffd {
				t.Errorf("%q in\n%s", r, s)
			}
		}
		markup := p.MediaType == "text/html" && (strings.Contains(s, "<script") || strings.Contains(s, "<img"))
		if f, err := (HTML{}).Scan(t.Context(), p); err != nil || len(f) > 0 || markup {
			t.Errorf("%v, %v in\n%s", f, err, s)
		}
	}
}

// TestNoticeHasTheFormThatIsShown strips one part of messages of several structures.
func TestNoticeHasTheFormThatIsShown(t *testing.T) {
	n := notices(t, NoticeConfig{})
	const alternative = "Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain\n\none\n--b\nContent-Type: text/html\n\n<p>two\n"
	for _, tt := range []struct {
		name, raw, id, want string
	}{
		{"text mail", "Content-Type: text/plain\n\nx\n", "1", "1 text/plain"},
		{"HTML mail", "Content-Type: text/html\n\nx\n", "1", "1 multipart/alternative 1.1 text/plain 1.2 text/html"},
		{"the HTML of two alternatives", alternative + "--b--\n", "1.2", "1 multipart/alternative 1.1 text/plain 1.2 text/html"},
		{"the text of two alternatives", alternative + "--b--\n", "1.1", "1 multipart/alternative 1.1 text/plain 1.2 text/html"},
		{"an invitation", alternative + "--b\nContent-Type: text/calendar\n\nx\n--b--\n", "1.3", "1 multipart/alternative 1.1 text/plain 1.2 text/html 1.3 application/octet-stream"},
		{"the picture of a page", "Content-Type: multipart/related; boundary=b\n\n--b\nContent-Type: text/html\n\nx\n--b\nContent-Type: image/png\n\nx\n--b--\n", "1.2", "1 multipart/related 1.1 text/html 1.2 multipart/alternative 1.2.1 text/plain 1.2.2 text/html"},
		{"a page that is attached", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b\nContent-Type: text/html\nContent-Disposition: attachment\n\nx\n--b--\n", "1.2", "1 multipart/mixed 1.1 text/plain 1.2 text/plain"},
		{"in an attached message of text", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\nx\n--b\nContent-Type: message/rfc822\n\nSubject: s\n\nx\n--b--\n", "1.2.1", "1 multipart/mixed 1.1 text/html 1.2 message/rfc822 1.2.1 text/plain"},
		{"around it a boundary with which any line begins", "Content-Type: multipart/mixed; boundary=\"=_rastel\"\n\n--=_rastel\nContent-Type: text/html\n\nx\n--=_rastel\nContent-Type: a/b\n\nx\n--=_rastel--\n", "1.2", "1 multipart/mixed 1.1 text/html 1.2 multipart/alternative 1.2.1 text/plain 1.2.2 text/html"},
	} {
		m := raw(t, tt.raw)
		edits, err := n.Strip(part(t, m, tt.id), Removal{Reason: "r", Languages: []string{"de", "ja"}})
		if err != nil {
			t.Fatal(err)
		}
		out := patched(t, m, edits)
		var got []string
		raw(t, out).Root.Walk(func(p *eml.Part) bool {
			got = append(got, p.ID, p.MediaType)
			return true
		})
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: became %s, want %s\n%s", tt.name, got, tt.want, out)
		}
	}
}

func part(t *testing.T, m *eml.Message, id string) *eml.Part {
	t.Helper()
	var found *eml.Part
	m.Root.Walk(func(p *eml.Part) bool {
		if p.ID == id {
			found = p
		}
		return true
	})
	if found == nil {
		t.Fatalf("there is no part %s", id)
	}
	return found
}
