package sanitize

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"rastel/sanitize/eml"
)

func found(findings []eml.Finding) string {
	var out []string
	for _, f := range findings {
		out = append(out, f.Check)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestNamesAreJudgedByWhatADesktopMakesOfThem(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"report.pdf", ""}, {"photo.jpeg", ""}, {"archive.tar.gz", ""}, {"notes.txt", ""}, {"no extension", ""}, {"Müller & Söhne.docx", ""},
		{"setup.exe", "name/executable"}, {"SETUP.EXE", "name/executable"}, {"a.eXe", "name/executable"}, {".exe", "name/executable"},
		{"a.scr", "name/executable"}, {"a.lnk", "name/executable"}, {"a.js", "name/executable"}, {"a.ps1", "name/executable"}, {"a.hta", "name/executable"},
		{"a.exe.", "name/executable"}, {"a.exe ", "name/executable"}, {"a.exe . .", "name/executable"}, {"a.exe\t", "name/executable"},
		{"a.exe/", "name/executable"}, {`d\a.exe\. `, "name/executable"},
		{"a.pdf\u2800\u2800.hta", "name/double-extension name/executable"},
		{"a%2Eexe", "name/executable"}, {"a.exe::$DATA", "name/executable"}, {"a.exe:x.txt", "name/executable"}, {"a.exe\x00.txt", "name/control name/executable"},
		{"a．ｅｘｅ", "name/executable"}, {"a.e\u200bxe", "name/executable name/hidden"}, {"a.ex\u00ade", "name/executable name/hidden"},
		{"invoice.pdf.exe", "name/double-extension name/executable"}, {"invoice.pdf      .exe", "name/double-extension name/executable"},
		{"invoice\u202efdp.exe", "name/executable name/hidden"},
		{"a.{00020820-0000-0000-C000-000000000046}", "name/clsid"},
		{"../../etc/passwd", "name/path"}, {`..\..\Startup\a.lnk`, "name/executable name/path"}, {`\\host\share\x.txt`, "name/path"},
		{"CON", "name/reserved"}, {"aux.txt", "name/reserved"},
		{strings.Repeat("x", 300) + ".pdf", "name/long"},
	} {
		m := message(t, "Content-Type: application/octet-stream", "x")
		p := m.Root
		p.Names = []string{tt.name}
		findings, err := Names{}.Scan(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if got := found(findings); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.name, got, tt.want)
		}
		safe := SafeName(p.Names)
		p.Names = []string{safe}
		again, _ := Names{}.Scan(t.Context(), p)
		if len(again) > 0 || SafeName(p.Names) != safe {
			t.Errorf("%q is renamed to %q, which is %q, and then to %q", tt.name, safe, found(again), SafeName(p.Names))
		}
	}
}

func TestTypesAreJudgedByContentAgainstTheLabel(t *testing.T) {
	pe := make([]byte, 256)
	copy(pe, "MZ\x90")
	pe[0x3c] = 0x80
	copy(pe[0x80:], "PE\x00\x00")
	for _, tt := range []struct{ header, content, want string }{
		{"Content-Type: image/png; name=a.png", "\x89PNG\r\n\x1a\n", ""},
		{"Content-Type: application/octet-stream; name=a.png", "\x89PNG\r\n\x1a\n", ""},
		{"Content-Type: image/jpeg; name=a.jpg", "\x89PNG\r\n\x1a\n", ""},
		{"Content-Type: text/plain", "hello", ""},
		{"Content-Type: application/octet-stream; name=a.exe", string(pe), "type/executable"},
		{"Content-Type: image/png; name=a.png", string(pe), "type/executable type/mismatch"},
		{"Content-Type: audio/mpeg; name=a", string(pe), "type/executable type/mismatch"},
		{"Content-Type: video/mp4", string(pe), "type/executable type/mismatch"},
		{"Content-Type: application/pdf; name=a.pdf", "PK\x03\x04....", "type/mismatch"},
		{"Content-Type: image/png; name=a.png", "<html><script>x</script>", "type/mismatch"},
	} {
		findings, err := Types{}.Scan(t.Context(), message(t, tt.header, tt.content).Root)
		if err != nil || found(findings) != tt.want {
			t.Errorf("%s with %.20q: got %q, %v; want %q", tt.header, tt.content, found(findings), err, tt.want)
		}
	}
}

func TestRenameReachesEveryForm(t *testing.T) {
	for _, header := range []string{
		"Content-Type: application/x-msdownload; name=a.exe\r\nContent-Disposition: attachment; filename=a.exe",
		"Content-Type: application/octet-stream; name*=utf-8''a.exe",
		"Content-Disposition: attachment; filename*0=a.e; filename*1=xe; filename=a.exe",
		"Content-Disposition: attachment; filename=b.txt\r\nContent-Disposition: attachment; filename=a.exe",
		"Content-Type: text/plain; charset=utf-8; name=\"=?utf-8?B?YS5leGU=?=\"",
		"Content-Type: application/octet-stream; file=a.exe",
	} {
		m := message(t, header, "x")
		findings, err := Names{}.Scan(t.Context(), m.Root)
		if err != nil || found(findings) == "" {
			t.Errorf("%s: found %q, %v", header, found(findings), err)
			continue
		}
		patch, err := eml.NewPatch(m, findings[0].Fix)
		if err != nil {
			t.Fatalf("%s: %v", header, err)
		}
		again := reparse(t, patch)
		if got := fmt.Sprint(again.Root.Names); got != "[DEFANGED-a.DEFANGED-exe]" {
			t.Errorf("%s: the names became %s", header, got)
		}
	}
}

// TestRenamedPartsKeepTheirNames: a fixed finding is gone, and to rename twice is to rename once,
// also where a name is not ASCII and so has a second one that is.
func TestRenamedPartsKeepTheirNames(t *testing.T) {
	for _, name := range []string{"a.exe", "Fr%C3%B6sche.txt", "Fr%C3%B6sche.exe", "setup.%D0%B5x%D0%B5"} {
		m := message(t, "Content-Type: text/x; name*=utf-8''"+name, "x")
		patch, err := eml.NewPatch(m, Rename(m.Root, SafeName(m.Root.Names)))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		again := reparse(t, patch)
		findings, err := Names{}.Scan(t.Context(), again.Root)
		if err != nil || len(findings) > 0 {
			t.Errorf("%s became %q, found %q, %v", name, again.Root.Names, found(findings), err)
		}
		if edits := Rename(again.Root, SafeName(again.Root.Names)); len(edits) > 0 {
			t.Errorf("%s became %q, and is renamed once more: %q", name, again.Root.Names, edits[0].Text)
		}
	}
}

func reparse(t *testing.T, patch *eml.Patch) *eml.Message {
	t.Helper()
	s := eml.NewSpool(eml.SpoolOptions{})
	if _, err := patch.WriteTo(s); err != nil {
		t.Fatal(err)
	}
	s.CloseWrite(nil)
	m, _, err := eml.Parse(context.Background(), &eml.Envelope{}, s, eml.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close(); s.Close() })
	return m
}

func TestStripLeavesANoticeAndTheRest(t *testing.T) {
	raw := "Subject: s\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: application/x-foo; name=x\r\nContent-Transfer-Encoding: base64\r\nContent-ID: <1>\r\n\r\nAAAA\r\n--b--\r\n"
	s := eml.NewSpool(eml.SpoolOptions{})
	s.Write([]byte(raw))
	s.CloseWrite(nil)
	m, _, err := eml.Parse(t.Context(), &eml.Envelope{}, s, eml.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, p := range []*eml.Part{m.Root.Children[1], m.Root} {
		p.Names = append(p.Names, "evil\r\nname")
		edits, err := notices(t, NoticeConfig{}).Strip(p, Removal{Reason: "test\r\n--b\r\nX: y"})
		if err != nil {
			t.Fatal(err)
		}
		patch, err := eml.NewPatch(m, edits)
		if err != nil {
			t.Fatal(err)
		}
		again := reparse(t, patch)
		q := again.Root
		if p != m.Root {
			if len(q.Children) != 2 {
				t.Fatalf("the message has %d parts", len(q.Children))
			}
			if one, _ := io.ReadAll(q.Children[0].Content()); string(one) != "one" {
				t.Errorf("the other part became %q", one)
			}
			q = q.Children[1]
		}
		text, _ := io.ReadAll(q.Content())
		if q.MediaType != "text/plain" || !bytes.Contains(text, []byte("Reason: test")) || !bytes.Contains(text, []byte(`evil\r\nname`)) || len(q.Names) > 0 {
			t.Errorf("part %s became %s %q named %q", p.ID, q.MediaType, text, q.Names)
		}
		if again.Root.Header.Get("Subject") != "s" {
			t.Error("the Subject is gone")
		}
	}
}
