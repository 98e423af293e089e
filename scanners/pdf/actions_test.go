package pdf

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"rastel/sanitize/eml"
)

// does are the findings about what the document does, "check: detail".
func (o opened) does() (list []string) {
	for _, f := range o.findings {
		if slices.Contains(doChecks, f.Check) {
			list = append(list, f.Check+": "+f.Detail)
		}
	}
	return list
}

// withObjects is a document of one page with more in its catalog, in its page, and more objects, which
// begin with number 4.
func withObjects(catalog, page string, objects ...string) string {
	b := newBuilder()
	b.object(1, "<</Type/Catalog/Pages 2 0 R "+catalog+">>")
	b.object(2, "<</Type/Pages/Kids[3 0 R]/Count 1>>")
	b.object(3, "<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Resources<<>>"+page+">>")
	for i, o := range objects {
		b.object(4+i, o)
	}
	return b.end("").String()
}

// deedCases are documents and what is to be said of them; nothing for those that are like any other.
var deedCases = []struct {
	why, content string
	want         []string
}{
	{"a script when it is opened", withObjects("/OpenAction<</S/JavaScript/JS(app.alert\\(1\\))>>", ""),
		[]string{"pdf/open-action: catalog, object 1: when the document is opened: JavaScript app.alert(1)", "pdf/javascript: catalog, object 1: app.alert(1)"}},
	{"the same in other objects", withObjects("/OpenAction 4 0 R", "", "<</S/JavaScript/JS 5 0 R>>", "(app.alert)"),
		[]string{"pdf/open-action: catalog, object 1: when the document is opened: JavaScript app.alert", "pdf/javascript: object 4: app.alert"}},
	{"behind something harmless", withObjects("/OpenAction<</S/Named/N/Print/Next[<</S/GoTo/D[3 0 R/Fit]>>4 0 R]>>", "", "<</S/JavaScript/JS(x)>>"),
		[]string{"pdf/open-action: catalog, object 1: when the document is opened: JavaScript x", "pdf/javascript: object 4: x"}},
	{"a chain that never ends", withObjects("/OpenAction 4 0 R", "", "<</S/Named/N/Print/Next 4 0 R>>"), nil},
	{"scripts of the document", withObjects("/Names<</JavaScript<</Names[(a)4 0 R]>>>>", "", "<</S/JavaScript/JS(x)>>"),
		[]string{"pdf/open-action: catalog, object 1: scripts of the document", "pdf/javascript: catalog, object 1: scripts of the document; object 4: x"}},
	{"a script of the page", withObjects("", "/AA 4 0 R", "<</O 5 0 R>>", "<</S/JavaScript/JS(x)>>"),
		[]string{"pdf/open-action: page, object 3: when the page is opened: JavaScript x", "pdf/javascript: object 5: x"}},
	{"a place in the document", withObjects("/OpenAction[3 0 R/Fit]", "/AA<</O<</S/GoTo/D[3 0 R/Fit]>>>>"), nil},
	{"a place in the document, in an action", withObjects("/OpenAction<</S/GoTo/D[3 0 R/Fit]>>", ""), nil},
	{"a named place", withObjects("/OpenAction 4 0 R", "", "[3 0 R/XYZ null null null]"), nil},
	{"a field that calculates", withObjects("/AcroForm<</Fields[4 0 R]>>", "", "<</FT/Tx/T(a)/AA<</C<</S/JavaScript/JS(AFSimple)>>>>>>"),
		[]string{"pdf/javascript: form field, object 4: AFSimple"}},
	{"a program", withObjects("/OpenAction<</S/Launch/Win<</F(cmd.exe)/P(/c calc)>>>>", ""),
		[]string{"pdf/launch: catalog, object 1: starts cmd.exe /c calc", "pdf/open-action: catalog, object 1: when the document is opened: Launch cmd.exe /c calc"}},
	{"a program by a click", withObjects("", "/Annots[4 0 R]", "<</Type/Annot/Subtype/Link/A<</S/Launch/F<</F(/c/windows/x.exe)>>>>>>"),
		[]string{"pdf/launch: link, object 4: starts /c/windows/x.exe"}},
	{"a chapter", withObjects("", "/Annots[4 0 R]", "<</Type/Annot/Subtype/Link/A<</S/Launch/F(chapter2.pdf)>>>>"),
		[]string{"pdf/remote-document: link, object 4: opens chapter2.pdf"}},
	{"a program in place of a document", withObjects("", "", "<</S/Launch/F(cmd.exe /c x.pdf)>>"), []string{"pdf/launch: object 4: starts cmd.exe /c x.pdf"}},
	{"a drawing, a folder", withObjects("", "", "<</S/Launch/F(parts/valve.dwg)>>", "<</S/Launch/F(parts/)>>"), []string{"pdf/remote-document: object 4: opens parts/valve.dwg; object 5: opens parts/"}},
	{"a page of the web", withObjects("", "", "<</S/Launch/F(https://example.org/x)>>"), []string{"pdf/remote-document: object 4: opens https://example.org/x"}},
	{"a kind that stands elsewhere", withObjects("/OpenAction 4 0 R", "", "<</S 5 0 R/F(x.exe)>>", "/Launch"),
		[]string{"pdf/launch: object 4: starts x.exe", "pdf/open-action: catalog, object 1: when the document is opened: Launch x.exe"}},
	{"a server (CVE-2018-4993)", withObjects("", "/AA<</O<</S/GoToE/F(\\\\\\\\203.0.113.9\\\\x)/D[0/Fit]>>>>"),
		[]string{`pdf/server: page, object 3: when the page is opened: GoToE \\203.0.113.9\x`, `pdf/open-action: page, object 3: when the page is opened: GoToE \\203.0.113.9\x`,
			`pdf/remote-document: page, object 3: opens \\203.0.113.9\x`}},
	{"a form", withObjects("", "/Annots[4 0 R]", "<</Subtype/Widget/A<</S/SubmitForm/F<</FS/URL/F(https://example.org/f)>>>>>>", "<</S/ImportData/F(a.fdf)>>"),
		[]string{"pdf/submit-form: form field, object 4: to https://example.org/f", "pdf/import-data: object 5: from a.fdf"}},
	{"links", withObjects("", "", "<</Type/Annot/Subtype/Link/A<</S/URI/URI(https://example.org/setup.exe?x=1)>>>>", "<</S/URI/URI(https://example.org/a.exe.html)>>",
		"<</S/URI/URI(https://example.com)>>", "<</S/URI/URI(mailto:a@example.org)>>", "<</S/URI/URI 9 0 R>>", "(search-ms:query=x)", "<</S/URI/URI(ja va\\nscript:x)>>"),
		[]string{"pdf/uri-executable: link, object 4: a program: https://example.org/setup.exe?x=1; object 8: a program of Windows: search-ms:query=x; object 10: a script: ja va script:x"}},
	{"files of others", withObjects("", "", "<</S/URI/URI(file://203.0.113.9/x)>>", "<</S/URI/URI(file:///C:/x.txt)>>", "<</S/GoToR/F(other.pdf)>>", "<</S/GoToE/T<</R/C>>>>"),
		[]string{"pdf/uri-executable: object 4: a file of a server: file://203.0.113.9/x; object 5: a file of the reader's own disk: file:///C:/x.txt",
			"pdf/remote-document: object 6: opens other.pdf"}},
	{"content elsewhere", "%PDF-1.4\n5 0 obj<</F(http://example.org/x)/Length 0>>stream\nendstream endobj", []string{"pdf/remote-document: object 5: has content from http://example.org/x"}},
	{"films", withObjects("", "", "<</Type/Annot/Subtype/RichMedia>>", "<</Type/Annot/Subtype/3D>>"), []string{"pdf/rich-media: annotation, object 4: RichMedia; annotation, object 5: 3D"}},
	{"XFA", withObjects("/AcroForm<</XFA 4 0 R>>", ""), []string{"pdf/xfa: catalog, object 1"}},
	{"disguise", withObjects("/Open#41ction<</S/J#61vaScript/#4aS(x)>>", "/Font<</F#20a 9 0 R>>/Resource#73<<>>"),
		[]string{"pdf/open-action: catalog, object 1: when the document is opened: JavaScript x", "pdf/javascript: catalog, object 1: x",
			"pdf/name-disguise: catalog, object 1: /Open#41ction; catalog, object 1: /J#61vaScript; catalog, object 1: /#4aS"}},
	{"many", withObjects("", "", slices.Repeat([]string{"<</S/JavaScript/JS(x)>>"}, 9)...),
		[]string{"pdf/javascript: object 4: x; object 5: x; object 6: x; object 7: x; object 8: x; and 4 more"}},
	{"an action without a script", withObjects("", "", "<</S/JavaScript>>"), []string{"pdf/javascript: object 4: an action without a script"}},
	{"a file", attached(nil).String(), []string{"pdf/open-action: catalog, object 1: scripts of the document", "pdf/javascript: catalog, object 1: scripts of the document; object 6: app.alert 1;",
		"pdf/embedded-file: object 5: letter.txt, tree.txt"}},
}

func TestTellsWhatDocumentsDo(t *testing.T) {
	for _, c := range deedCases {
		t.Run(c.why, func(t *testing.T) {
			if o := open(t, []byte(c.content)); o.err != nil || !slices.Equal(o.does(), c.want) {
				t.Errorf("got\n%s\nwant\n%s\nall%s", strings.Join(o.does(), "\n"), strings.Join(c.want, "\n"), o)
			}
		})
	}
}

func TestKnowsServers(t *testing.T) {
	for name, want := range map[string]bool{
		`\\host\x`: true, `//host/x`: true, "file://host/x": true, "FILE:\\\\host\\x": true, "file:////host/x": true, "smb://host/x": true, ` \\203.0.113.9@80\x`: true,
		`\\?\C:\x`: false, `\\.\pipe`: false, "file:///C:/x": false, "file://localhost/x": false, "/etc/x": false, "x.pdf": false, "http://host/x": false, "//": false, "": false,
	} {
		if got := isServer(name); got != want {
			t.Errorf("%q: got %v, want %v", name, got, want)
		}
	}
}

// apply makes the edits of all fixes of a document, or of one check.
func apply(t testing.TB, content []byte, findings []eml.Finding, checks ...string) []byte {
	t.Helper()
	out := slices.Clone(content)
	for _, f := range findings {
		if len(checks) > 0 && !slices.Contains(checks, f.Check) {
			continue
		}
		last := int64(0)
		for _, e := range f.Fix {
			if e.Start < last || e.End < e.Start || e.End > int64(len(out)) || int64(len(e.Text)) != e.End-e.Start || e.Region != eml.InContent {
				t.Fatalf("%s: edit of %d to %d with %d bytes after %d", f.Check, e.Start, e.End, len(e.Text), last)
			}
			last = e.End
			copy(out[e.Start:], e.Text)
		}
	}
	return out
}

// fixable are the checks that have a fix.
var fixable = slices.DeleteFunc(slices.Clone(doChecks), func(c string) bool { return c == embeddedFile })

func TestTakesOutWhatDocumentsDo(t *testing.T) {
	for _, c := range deedCases {
		t.Run(c.why, func(t *testing.T) {
			before := open(t, []byte(c.content))
			after := open(t, apply(t, []byte(c.content), before.findings))
			for _, f := range after.findings {
				if slices.Contains(fixable, f.Check) {
					t.Errorf("still there: %s: %s", f.Check, f.Detail)
				}
			}
			for _, f := range before.findings { // each alone
				if !slices.Contains(fixable, f.Check) {
					continue
				}
				if after := open(t, apply(t, []byte(c.content), before.findings, f.Check)); slices.ContainsFunc(after.findings, func(g eml.Finding) bool { return g.Check == f.Check }) {
					t.Errorf("%s is not gone by its own fix:%s", f.Check, after)
				}
			}
		})
	}
}

// TestTakesOutOfObjectStreams changes what is compressed in place, whether it is encrypted or not.
func TestTakesOutOfObjectStreams(t *testing.T) {
	in := map[int]string{4: "<</S/JavaScript/JS(app.alert\\(" + hexed(string(noise(60))) + "\\))>>", 5: "<</S/Launch/F(x.exe)>>", 7: "(" + strings.Repeat("a title ", 9) + ")"}
	for _, kind := range append([]string{""}, testLocks...) {
		t.Run(kind, func(t *testing.T) {
			b, trailer := newBuilder(), ""
			if kind != "" {
				b.lock = newLock(t, kind, "", "owner")
				b.skip[9] = true
				b.object(9, b.lock.dict)
				trailer = fmt.Sprintf("/Encrypt 9 0 R/ID[<%x><%x>]", testID, testID)
			}
			b.page("/OpenAction 4 0 R")
			dict, data := objStm(in)
			b.stream(6, dict+"/Filter/FlateDecode", deflated(data))
			content := b.end(trailer).Bytes()
			before := open(t, content)
			if got := len(before.does()); got != 3 {
				t.Fatalf("got%s", before)
			}
			for _, f := range before.findings {
				if len(f.Fix) == 0 {
					t.Errorf("%s has no fix: %s", f.Check, f.Detail)
				}
			}
			if after := open(t, apply(t, content, before.findings)); len(after.does()) > 0 || after.err != nil || len(after.checks()) > 0 {
				t.Errorf("got%s", after)
			}
		})
	}
}

func TestLeavesWhatIsSigned(t *testing.T) {
	for name, content := range map[string]string{
		"signature": withObjects("/OpenAction<</S/JavaScript/JS(x)>>", "", "<</Type/Sig/Filter/Adobe.PPKLite/ByteRange[0 1 2 3]/Contents<00>>>"),
		"seal":      strings.Replace(withObjects("/OpenAction<</S/JavaScript/JS(x)>>", ""), "/Size 100", "/Size 100/AuthCode<</MACLocation/Standalone>>", 1),
	} {
		o := open(t, []byte(content))
		if len(o.does()) != 2 {
			t.Errorf("%s: got%s", name, o)
		}
		for _, f := range o.findings {
			if len(f.Fix) > 0 || !strings.HasSuffix(f.Detail, "(cannot be taken out: the document is signed)") {
				t.Errorf("%s: %s has %d edits: %s", name, f.Check, len(f.Fix), f.Detail)
			}
		}
	}
}

// TestHasNoFixWhereItCannotChange makes sure that what cannot be changed says so.
func TestHasNoFixWhereItCannotChange(t *testing.T) {
	dict, data := objStm(map[int]string{4: "<</S/JavaScript/JS 5 0 R>>"})
	for filter, data := range map[string]string{"/Filter/AHx": hexed(data), "/Filter[/AHx/Fl]": hexed(deflated(data)), "/Filter/Fl/DecodeParms<</Predictor 12/Columns 8>>": deflated(pngRows(data, 8, 2))} {
		b := newBuilder()
		b.page("")
		b.stream(6, dict+filter, data)
		o := open(t, b.end("").Bytes())
		if len(o.does()) != 1 || len(o.findings[0].Fix) > 0 || !strings.Contains(o.findings[0].Detail, "cannot be taken out") {
			t.Errorf("%s: got%s", filter, o)
		}
	}
	b := newBuilder()
	b.page("")
	b.stream(6, dict, data) // not compressed, so there is room
	content := b.end("").Bytes()
	o := open(t, content)
	if after := open(t, apply(t, content, o.findings)); len(o.does()) != 1 || len(after.does()) > 0 {
		t.Errorf("got%s\nthen%s", o, after)
	}
}
