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

// active is a document of two pages with text and all that can be taken out.
func active() []byte {
	b := newBuilder()
	b.object(1, "<</Type/Catalog/Pages 2 0 R/OpenAction 10 0 R/Names<</JavaScript<</Names[(a)10 0 R]>>>>/AA<</WC 11 0 R>>/AcroForm<</Fields[8 0 R]/DR<<>>>>>>")
	b.object(2, "<</Type/Pages/Kids[3 0 R 4 0 R]/Count 2/Resources<</Font<</F1 7 0 R>>>>/MediaBox[0 0 300 300]>>")
	b.object(3, "<</Type/Page/Parent 2 0 R/Contents 5 0 R/AA<</O<</S/JavaScript/JS 12 0 R>>>>/Annots[8 0 R 9 0 R]>>")
	b.object(4, "<</Type/Page/Parent 2 0 R/Contents 6 0 R>>")
	b.stream(5, "", "BT /F1 24 Tf 50 200 Td (The first page) Tj ET")
	b.stream(6, "", "BT /F1 24 Tf 50 200 Td (The second page) Tj ET")
	b.object(7, "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>")
	b.object(8, "<</Type/Annot/Subtype/Widget/FT/Tx/T(sum)/Rect[50 50 150 80]/F 4/AA<</C<</S/JavaScript/JS(AFSimple_Calculate\\(\"SUM\", [\"a\"]\\);)>>>>/A<</S/SubmitForm/F<</FS/URL/F(https://example.org/f)>>>>>>")
	b.object(9, "<</Type/Annot/Subtype/Link/Rect[50 90 150 120]/F 4/A<</S/Launch/F(cmd.exe)/Win<</F(cmd.exe)/P(/c calc)>>>>>>")
	b.object(10, "<</S/JavaScript/JS(app.alert\\('a harmless script of some length'\\);)>>")
	b.object(11, "<</S/URI/URI(\\\\\\\\203.0.113.9\\\\x)>>")
	b.stream(12, "", "app.alert('of the page');")
	return b.end("").Bytes()
}

// variants are what qpdf makes of a document.
var variants = map[string][]string{
	"plain":                        nil,
	"object streams":               {"--object-streams=generate"},
	"linear":                       {"--linearize", "--object-streams=generate"},
	"uncompressed":                 {"--qdf", "--object-streams=disable"},
	"uncompressed, object streams": {"--stream-data=uncompress", "--compress-streams=n", "--object-streams=generate"},
	"RC4":                          {"--allow-weak-crypto", "--encrypt", "", "owner", "128", "--use-aes=n", "--"},
	"RC4, object streams":          {"--allow-weak-crypto", "--object-streams=generate", "--encrypt", "", "owner", "128", "--use-aes=n", "--"},
	"AES-128, object streams":      {"--allow-weak-crypto", "--object-streams=generate", "--encrypt", "", "owner", "128", "--use-aes=y", "--"},
	"AES-256, object streams":      {"--object-streams=generate", "--encrypt", "", "owner", "256", "--"},
	"AES-256":                      {"--encrypt", "", "owner", "256", "--"},
}

// look is what programs make of a document: its text, its number of pages, and what they have against it.
func look(t *testing.T, dir, name string) string {
	t.Helper()
	info := tool(t, dir, "", "pdfinfo", name)
	_, pages, _ := strings.Cut(info, "Pages:")
	pages, _, _ = strings.Cut(pages, "\n")
	return fmt.Sprintf("text %q\npages %s\nqpdf %s\nghostscript %s", tool(t, dir, "", "pdftotext", name, "-"), strings.TrimSpace(pages),
		strings.ReplaceAll(tool(t, dir, "", "qpdf", "--check", name), name, "it"), strings.ReplaceAll(tool(t, dir, "", "gs", "-q", "-dBATCH", "-dNOPAUSE", "-sDEVICE=txtwrite", "-sOutputFile=-", name), name, "it"))
}

// TestOthersOpenWhatIsTakenOut makes sure that what was changed is the same document for other programs.
func TestOthersOpenWhatIsTakenOut(t *testing.T) {
	dir := needs(t, "qpdf", "pdftotext", "pdfinfo", "gs")
	write(t, dir, "active.pdf", active())
	for name, args := range variants {
		t.Run(name, func(t *testing.T) {
			tool(t, dir, "", "qpdf", append(slices.Clone(args), "active.pdf", "in.pdf")...)
			takenOut(t, dir, true)
		})
	}
	corpus, _ := filepath.Glob("../../../shared/corpus/office/*pdf/*.pdf")
	if len(corpus) == 0 {
		t.Log("without ../shared/corpus, which is not here")
	}
	for _, name := range corpus {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(filepath.Base(name), func(t *testing.T) {
			write(t, dir, "in.pdf", content)
			takenOut(t, dir, false)
		})
	}
}

// takenOut compares in.pdf before and after.
func takenOut(t *testing.T, dir string, must bool) {
	t.Helper()
	content := read(t, dir, "in.pdf")
	before := open(t, content)
	changed := apply(t, content, before.findings)
	if string(changed) == string(content) {
		if must {
			t.Fatalf("nothing is taken out:%s", before)
		}
		return
	}
	after := open(t, changed)
	for _, f := range after.findings {
		if slices.Contains(fixable, f.Check) {
			t.Errorf("still there: %s: %s", f.Check, f.Detail)
		}
	}
	if again := apply(t, changed, after.findings); string(again) != string(changed) {
		t.Error("a second time changes it again")
	}
	if !must && exec.Command("qpdf", "--check", filepath.Join(dir, "in.pdf")).Run() != nil {
		t.Log("qpdf does not open it, before or after")
		return
	}
	write(t, dir, "out.pdf", changed)
	if was, is := look(t, dir, "in.pdf"), look(t, dir, "out.pdf"); was != is {
		t.Errorf("got\n%s\nwant\n%s", is, was)
	}
	t.Logf("%d findings, %d left", len(before.findings), len(after.findings))
}
