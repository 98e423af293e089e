package pdf

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tool runs a program, in a directory of its own, and gives what it printed.
func tool(t testing.TB, dir, input, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command("nice", append([]string{name}, args...)...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(input)
	out, err := cmd.Output()
	if err != nil && (cmd.ProcessState == nil || name != "qpdf" || cmd.ProcessState.ExitCode() != 3) { // 3: with warnings
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// needs skips a test without the programs that it needs.
func needs(t testing.TB, names ...string) string {
	t.Helper()
	if os.Getenv("RASTEL_E2E") == "" {
		t.Skipf("needs %q and RASTEL_E2E=1", names)
	}
	for _, n := range names {
		if _, err := exec.LookPath(n); err != nil {
			t.Fatalf("RASTEL_E2E needs %s: %v", n, err)
		}
	}
	return t.TempDir()
}

func write(t testing.TB, dir, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestQpdfOpensWhatTestsEncrypt makes sure that the documents of the tests are what others take them for.
func TestQpdfOpensWhatTestsEncrypt(t *testing.T) {
	dir := needs(t, "qpdf", "pdfdetach")
	for _, kind := range testLocks {
		write(t, dir, kind+".pdf", attached(newLock(t, kind, "us", "ow")).Bytes())
		for _, password := range []string{"us", "ow"} {
			if got := tool(t, dir, "", "qpdf", "--password="+password, "--show-attachment=tree.txt", kind+".pdf"); got != payload {
				t.Errorf("%s with %s: qpdf shows %q", kind, password, got)
			}
		}
		if got := tool(t, dir, "", "pdfdetach", "-upw", "us", "-list", kind+".pdf"); !strings.Contains(got, "letter.txt") {
			t.Errorf("%s: pdfdetach lists %q", kind, got)
		}
	}
}

func TestOpensWhatQpdfEncrypts(t *testing.T) {
	dir := needs(t, "qpdf")
	write(t, dir, "plain.pdf", attached(nil).Bytes())
	for _, how := range []string{"40", "128 --use-aes=n", "128 --use-aes=y", "128 --use-aes=n --force-V4", "256", "256 --force-R5", "256 --cleartext-metadata"} {
		for _, user := range []string{"", "geheim"} {
			for _, more := range []string{"--object-streams=generate", "--linearize", "--object-streams=disable"} {
				args := append([]string{"--allow-weak-crypto", more, "--encrypt", user, "owner"}, strings.Fields(how)...)
				tool(t, dir, "", "qpdf", append(args, "--", "plain.pdf", "out.pdf")...)
				want := []string(nil)
				if user != "" {
					want = []string{inMessage}
				}
				t.Run(how+user+more, func(t *testing.T) { open(t, read(t, dir, "out.pdf"), "geheim").want(t, inAttached, want...) })
			}
		}
	}
}

// TestPdfdetachFindsNoMore asks another reader which files are attached.
func TestPdfdetachFindsNoMore(t *testing.T) {
	dir := needs(t, "qpdf", "pdfdetach")
	write(t, dir, "a.pdf", attached(nil).Bytes())
	write(t, dir, "table.csv", []byte("a,b\n1,2\n"))
	tool(t, dir, "", "qpdf", "--add-attachment", "table.csv", "--filename=t\u00e4ble.csv", "--", "a.pdf", "b.pdf")
	tool(t, dir, "", "qpdf", "--object-streams=generate", "b.pdf", "c.pdf")
	tool(t, dir, "", "qpdf", "--linearize", "b.pdf", "d.pdf")
	tool(t, dir, "", "qpdf", "--empty", "--copy-attachments-from", "b.pdf", "--prefix=x", "--", "--copy-attachments-from", "a.pdf", "--", "e.pdf")
	names := []string{"a.pdf", "b.pdf", "c.pdf", "d.pdf", "e.pdf"}
	corpus, _ := filepath.Glob("../../../shared/corpus/office/*pdf/*.pdf")
	for _, name := range corpus {
		write(t, dir, filepath.Base(name), read(t, ".", name))
		names = append(names, filepath.Base(name))
	}
	files := 0
	for _, name := range names {
		out := filepath.Join(dir, "out-"+name)
		if err := os.Mkdir(out, 0o700); err != nil {
			t.Fatal(err)
		}
		// Its exit status tells nothing: it is 1 where there are none.
		_ = exec.Command("nice", "pdfdetach", "-saveall", "-o", out, filepath.Join(dir, name)).Run()
		list, err := os.ReadDir(out)
		if err != nil {
			t.Fatal(err)
		}
		o := open(t, read(t, dir, name))
		for _, f := range list {
			files++
			content := string(read(t, out, f.Name()))
			if !slices.ContainsFunc(o.members, func(m string) bool { return strings.HasSuffix(m, ": "+content) && strings.Contains(m, f.Name()) }) {
				t.Errorf("%s: %s is attached, got%s", name, f.Name(), o)
			}
		}
	}
	if files < 8 {
		t.Errorf("pdfdetach has found %d files", files)
	}
}

// TestInnocentDocuments makes documents with programs of all kinds: nothing is to be said of them.
func TestInnocentDocuments(t *testing.T) {
	dir := needs(t, "qpdf", "soffice", "groff", "gs", "python3")
	page := "<html><body><h1>Invoice</h1><p>Text <a href=\"https://example.org/\">link</a><table border=1><tr><td>1</table></body></html>"
	write(t, dir, "html.html", []byte(page))
	write(t, dir, "csv.csv", []byte("a,b\n1,2\n"))
	write(t, dir, "txt.txt", []byte("a text about %PDF-1.4 and MZ\n"))
	write(t, dir, "rtf.rtf", []byte("{\\rtf1 Hello \\b bold\\b0}"))
	office := func(filter, from string) {
		tool(t, dir, "", "soffice", "-env:UserInstallation=file://"+dir+"/profile", "--headless", "--convert-to", filter, "--outdir", dir, from)
	}
	for _, name := range []string{"html.html", "csv.csv", "txt.txt", "rtf.rtf"} {
		office("pdf", name)
	}
	for i, option := range []string{`"SelectPdfVersion":{"type":"long","value":"1"}`, `"SelectPdfVersion":{"type":"long","value":"2"}`, `"UseTaggedPDF":{"type":"boolean","value":"true"}`,
		`"RestrictPermissions":{"type":"boolean","value":"true"},"PermissionPassword":{"type":"string","value":"own"}`} {
		name := fmt.Sprintf("office%d", i)
		write(t, dir, name+".rtf", read(t, dir, "rtf.rtf"))
		office("pdf:writer_pdf_Export:{"+option+"}", name+".rtf")
	}
	const ms = ".TL\nTitle\n.PP\nHello.\n"
	write(t, dir, "groff.pdf", []byte(tool(t, dir, ms, "groff", "-ms", "-Tpdf")))
	write(t, dir, "a.ps", []byte(tool(t, dir, ms, "groff", "-ms", "-Tps")))
	for name, args := range map[string]string{
		"gs13": "pdfwrite -dCompatibilityLevel=1.3", "gs17": "pdfwrite -dCompatibilityLevel=1.7", "gsa": "pdfwrite -dPDFA=2", "gsimage": "pdfimage24",
		"gsenc": "pdfwrite -sOwnerPassword=a -dEncryptionR=3 -dKeyLength=128",
	} {
		list := append(strings.Fields("-q -sDEVICE="+args), "-o", name+".pdf", "a.ps")
		tool(t, dir, "", "gs", list...)
	}
	tool(t, dir, `import cairo
for v, n in ((cairo.PDF_VERSION_1_4, '14'), (cairo.PDF_VERSION_1_5, '15')):
    s = cairo.PDFSurface('cairo%s.pdf' % n, 300, 300)
    s.restrict_to_version(v)
    c = cairo.Context(s)
    c.move_to(20, 20)
    c.show_text('Hello')
    c.set_source_surface(cairo.ImageSurface(cairo.FORMAT_ARGB32, 50, 50), 0, 0)
    c.paint()
    c.show_page()
    s.finish()
`, "/usr/bin/python3")
	for name, args := range map[string]string{
		"qlin": "--linearize", "qobj": "--object-streams=generate", "qqdf": "--qdf", "qplain": "--stream-data=uncompress",
		"q40": "--allow-weak-crypto --encrypt  own 40 --", "qaes": "--encrypt  own 128 --use-aes=y --", "q256": "--object-streams=generate --encrypt  own 256 --",
	} {
		list := append(strings.Split(args, " "), "html.pdf", name+".pdf")
		tool(t, dir, "", "qpdf", list...)
	}
	tool(t, dir, "", "qpdf", "--empty", "--pages", "html.pdf", "groff.pdf", "gs17.pdf", "--", "merged.pdf")
	whole := read(t, dir, "html.pdf")
	write(t, dir, "cut.pdf", whole[:len(whole)/2])
	write(t, dir, "junk.pdf", append([]byte("HTTP/1.1 200 OK\r\nContent-Type: application/pdf\r\n\r\n"), append(whole, "\r\n<!-- served -->\r\n"...)...))
	files, _ := filepath.Glob(filepath.Join(dir, "*.pdf"))
	if len(files) < 24 {
		t.Errorf("made %d documents", len(files))
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) { open(t, read(t, "", name)).want(t, nil) })
	}
}
