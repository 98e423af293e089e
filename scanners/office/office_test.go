package office

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"rastel/sanitize/eml"
	"rastel/scanners/scannertest"
)

func TestScanner(t *testing.T) { scannertest.Run(t, Scanner{}) }

// member is a member of a container with that name and content.
func member(t testing.TB, name, content string) *eml.Part {
	t.Helper()
	s := eml.NewSpool(eml.SpoolOptions{})
	if _, err := io.WriteString(s, content); err != nil {
		t.Fatal(err)
	}
	s.CloseWrite(nil)
	m, err := eml.NewMember(scannertest.Part(t, nil), 1, []string{name}, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Release)
	return m
}

func scanned(t testing.TB, p *eml.Part) []string {
	t.Helper()
	list, err := Scanner{}.Scan(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range list {
		if f.Part != p || f.Unexamined {
			t.Errorf("finding %+v", f)
		}
		out = append(out, f.Check+": "+f.Detail)
	}
	slices.Sort(out)
	return out
}

const head = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>`

func relations(list string) string {
	return head + `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">` + list + `</Relationships>`
}

func relation(kind, target string) string {
	return `<Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/` + kind + `" Target="` + target + `" TargetMode="External"/>`
}

func TestSaysWhatPartsOfDocumentsDo(t *testing.T) {
	word := func(body string) string {
		return head + `<w:document xmlns:w="urn:w"><w:body><w:p>` + body + `</w:p></w:body></w:document>`
	}
	wide := func(s string) string {
		b := []byte("\xff\xfe")
		for _, u := range utf16.Encode([]rune(s)) {
			b = append(b, byte(u), byte(u>>8))
		}
		return string(b)
	}
	const rels = "word/_rels/settings.xml.rels"
	for _, tt := range []struct {
		why, name, content string
		want               []string
	}{
		{"a template on a server", rels, relations(relation("attachedTemplate", "http://example.net/a.dotm")), []string{`office/remote-template: word/_rels/settings.xml.rels: the template is loaded from "http://example.net/a.dotm"`}},
		{"in UTF-16", "a.rels", wide(relations(relation("attachedTemplate", "http://example.net/a.dotm"))), []string{`office/remote-template: a.rels: the template is loaded from "http://example.net/a.dotm"`}},
		{"with references", "a.rels", relations(strings.ReplaceAll(relation("attachedTemplate", "&#104;ttp://example.net/a"), `"External"`, `'&#x45;xternal'`)), []string{`office/remote-template: a.rels: the template is loaded from "http://example.net/a"`}},
		{"with a prefix", "a.rels", strings.ReplaceAll(relations(relation("attachedTemplate", "ftp://example.net/a")), "<Rel", "<x:Rel"), []string{`office/remote-template: a.rels: the template is loaded from "ftp://example.net/a"`}},
		{"on a share with an address", "a.rels", relations(relation("attachedTemplate", `file:///\\192.0.2.1\a\b.dotm`)), []string{`office/remote-template: a.rels: the template is loaded from "file:///\\192.0.2.1\a\b.dotm"`}},
		{"by WebDAV", "a.rels", relations(relation("attachedTemplate", `\\server@80\a\b.dotm`)), []string{`office/remote-template: a.rels: the template is loaded from "\\server@80\a\b.dotm"`}},
		{"of the neighbours", "a.rels", relations(relation("attachedTemplate", `file:///\\server\a\b.dotm`)), []string{`office/external: a.rels: the template is loaded from "file:///\\server\a\b.dotm"`}},
		{"on the disk", "a.rels", relations(relation("attachedTemplate", `file:///C:\Users\ann\Normal.dotm`)), nil},
		{"a link", "a.rels", relations(relation("hyperlink", "http://example.net/")), nil},
		{"a picture", "a.rels", relations(relation("image", "http://example.net/a.png")), []string{`office/external: a.rels: image: "http://example.net/a.png"`}},
		{"an object", "a.rels", relations(relation("oleObject", "mhtml:http://example.net/a!x-usc:http://example.net/a")), []string{`office/remote-object: a.rels: oleObject is loaded from "mhtml:http://example.net/a!x-usc:http://example.net/a"`}},
		{"an object on the disk", "a.rels", relations(relation("oleObject", `file:///C:\a.xlsx`)), []string{`office/external: a.rels: oleObject: "file:///C:\a.xlsx"`}},
		{"another workbook", "a.rels", relations(relation("externalLinkPath", "https://example.net/a.xlsx")), []string{`office/external: a.rels: externalLinkPath: "https://example.net/a.xlsx"`}},
		{"a frame", "a.rels", relations(relation("frame", "http://example.net/a.htm")), []string{`office/remote-object: a.rels: frame is loaded from "http://example.net/a.htm"`}},
		{"a sheet of macros", "xl/_rels/workbook.xml.rels", relations(`<Relationship Type="http://schemas.microsoft.com/office/2006/relationships/xlMacrosheet" Target="worksheets/a.xml"/>`), []string{`office/xlm: xl/_rels/workbook.xml.rels: a sheet of macros, "worksheets/a.xml"`}},
		{"what is in a sheet of macros", "xl/macrosheets/sheet1.xml", head + `<xm:macrosheet xmlns:xm="urn:x"/>`, []string{"office/xlm: xl/macrosheets/sheet1.xml: a sheet of macros"}},
		{"a name that runs", "xl/workbook.xml", head + `<workbook><definedNames><definedName name="_xlnm.Auto_Open" hidden="1">Macro1!$A$1</definedName></definedNames></workbook>`, []string{`office/xlm-autorun: xl/workbook.xml: the name "_xlnm.Auto_Open", which is hidden, is a macro that runs by itself`}},
		{"other names", "xl/workbook.xml", head + `<workbook><definedName name="_xlnm.Print_Area">auto_open</definedName></workbook>`, nil},
		{"a name that runs, binary", "xl/workbook.bin", "\x83\x01\x00\x27\x20" + wide("_xlnm.Auto_Open"), []string{`office/xlm-autorun: xl/workbook.bin: the name "_xlnm.Auto_Open" is a macro that runs by itself`}},
		{"a link to a program", "xl/externalLinks/externalLink1.xml", head + `<externalLink><ddeLink ddeService="cmd" ddeTopic="/c calc"/></externalLink>`, []string{`office/dde: xl/externalLinks/externalLink1.xml: a link to "cmd", topic "/c calc"`}},
		{"a field", "word/document.xml", word(`<w:fldSimple w:instr=" DDE cmd "/>`), []string{`office/dde: word/document.xml: a field DDE "cmd"`}},
		{"a field in runs", "word/document.xml", word(`<w:r><w:fldChar w:fldCharType="begin"/></w:r><w:r><w:instrText xml:space="preserve"> D</w:instrText></w:r><w:r><w:rPr/><w:instrText>DEAU</w:instrText></w:r><w:r><w:instrText><![CDATA[TO c:\\a]]></w:instrText></w:r><w:r><w:fldChar w:fldCharType="separate"/></w:r>`),
			[]string{`office/dde: word/document.xml: a field DDEAUTO "c:\\a"`}},
		{"a field in a field", "word/document.xml", word(`<w:fldChar w:fldCharType="begin"/><w:instrText>DDE </w:instrText><w:fldChar w:fldCharType="begin"/><w:instrText>QUOTE 67 77 68</w:instrText><w:fldChar w:fldCharType="end"/><w:instrText>x</w:instrText><w:fldChar w:fldCharType="end"/>`),
			[]string{`office/dde: word/document.xml: a field DDE "x"`}},
		{"a field without an end", "word/document.xml", word(`<w:instrText>DDE cmd</w:instrText>`), []string{`office/dde: word/document.xml: a field DDE "cmd"`}},
		{"other fields", "word/document.xml", word(`<w:fldChar w:fldCharType="begin"/><w:instrText>HYPERLINK "DDE x"</w:instrText><w:fldChar w:fldCharType="end"/>DDE DDEAUTO`), nil},
		{"a control", "word/activeX/activeX1.xml", head + `<ax:ocx ax:classid="{D7053240-CE69-11CD-A777-00DD01143C57}" xmlns:ax="urn:a"/>`, []string{`office/activex: word/activeX/activeX1.xml: the control "{D7053240-CE69-11CD-A777-00DD01143C57}"`}},
		{"Word 2003", "a.xml", head + `<?mso-application progid="Word.Document"?><w:wordDocument><w:attachedTemplate w:val="https://example.net/a"/></w:wordDocument>`, []string{`office/remote-template: a.xml: the template is loaded from "https://example.net/a"`}},
		{"Flat OPC", "a.xml", head + `<?mso-application progid="Word.Document"?><pkg:package><pkg:part pkg:name="/word/_rels/settings.xml.rels"><pkg:xmlData>` + strings.TrimPrefix(relations(relation("attachedTemplate", "http://example.net/a")), head) + `</pkg:xmlData></pkg:part></pkg:package>`,
			[]string{`office/remote-template: a.xml: the template is loaded from "http://example.net/a"`}},
		{"Basic", "Basic/Standard/Module1.xml", head + `<script:module xmlns:script="urn:s" script:name="Module1" script:language="StarBasic">Sub Main
Shell(&quot;calc&quot;)
End Sub</script:module>`, []string{"office/macro-suspicious: Basic/Standard/Module1.xml: starts programs (shell)", "office/macro: Basic/Standard/Module1.xml: macros in Module1"}},
		{"more Basic than is held", "Basic/Standard/Module1.xml", head + `<script:module xmlns:script="urn:s" script:name="Module1" script:language="StarBasic">` + strings.Repeat("x = 1\n", 20_000) + `Sub AutoOpen
End Sub</script:module>`, []string{"office/macro-autorun: Basic/Standard/Module1.xml: runs by itself: Module1.autoopen", "office/macro: Basic/Standard/Module1.xml: macros in Module1"}},
		{"an event of the document", "content.xml", head + `<office:event-listeners><script:event-listener script:language="ooo:script" script:event-name="dom:load" xlink:href="vnd.sun.star.script:Standard.Module1.Main?language=Basic&amp;location=document"/></office:event-listeners>`,
			[]string{`office/macro-autorun: content.xml: "vnd.sun.star.script:Standard.Module1.Main?language=Basic&location=document" runs at the event "dom:load"`}},
		{"an event of a button", "content.xml", head + `<script:event-listener script:event-name="dom:click" xlink:href="vnd.sun.star.script:a"/>`, []string{`office/macro: content.xml: "vnd.sun.star.script:a" runs at the event "dom:click"`}},
		{"a link of OpenDocument", "content.xml", head + `<table:dde-link><office:dde-source office:dde-application="soffice" office:dde-topic="a.ods" office:dde-item="A1"/></table:dde-link>`, []string{`office/dde: content.xml: a link to "soffice", topic "a.ods"`}},
		{"a table", "a.csv", "name,value\r\nann,1\r\n\"=cmd|' /C calc'!A0\",2\r\n", []string{`office/dde: a.csv: a cell "=cmd|' /C calc'!A0"`}},
		{"a table with a sum", "a.csv", "x;=2+5+cmd|' /C calc'!A0;-3\n", []string{`office/dde: a.csv: a cell "=2+5+cmd|' /C calc'!A0"`}},
		{"a table as there are many", "a.csv", "a|b!,-x|y!,- one | two!,=A1|B1,+49 30 1\n", nil},
		{"SYLK", "a.txt", "ID;P\r\nO;E\r\nNN;NAuto_open;ER101C1;KOut Flank;F\r\nC;X1;Y101;K0;EEXEC(\"calc\")\r\nE\r\n", []string{`office/xlm-autorun: a.txt: the name "NN;NAuto_open;ER101C1;KOut Flank;F" is a macro that runs by itself`, "office/xlm: a.txt: a sheet of macros in SYLK"}},
		{"a link in SYLK", "a.slk", "ID;P\nC;X1;Y1;K0;EMSEXCEL|'a'!B\n", []string{`office/dde: a.slk: a cell "MSEXCEL|'a'!B"`}},
		{"an honest SYLK", "a.slk", "ID;PWXL;N;E\nC;X1;Y1;K\"a|b!\"\n", nil},
	} {
		t.Run(tt.why, func(t *testing.T) {
			if got := scanned(t, member(t, tt.name, tt.content)); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", tt.want) {
				t.Errorf("%s\ngot  %q\nwant %q", tt.content, got, tt.want)
			}
		})
	}
}

// The text of the message itself is nothing that an office program opens.
func TestMessagesAreNotScanned(t *testing.T) {
	p := scannertest.Part(t, []byte("x"))
	p.Names, p.Type = nil, "text"
	if got := scanned(t, p); got != nil {
		t.Errorf("got %q", got)
	}
}

func TestBasic(t *testing.T) {
	for _, tt := range []struct{ source, autorun, suspicious string }{
		{"Sub Sum()\nEnd Sub", "", ""},
		{"Sub AutoOpen()\nEnd Sub", "autoopen", ""},
		{"Private  Sub _\r\n  Workbook_Open _\r\n()\nEnd Sub", "workbook_open", ""},
		{"' Sub AutoOpen()\nx = \"Sub AutoOpen\"\nrem", "", ""},
		{"Public Static Function InkPicture1_Painted(a)\n", "inkpicture1_painted", ""},
		{"Sub Main()", "", ""},
		{"x = Shell(\"cmd\", 0)", "", "starts programs (shell)"},
		{"Set s = CreateObject(\"WScript.Shell\")\nEnviron(\"temp\")", "", "starts programs (shell); uses (createobject, environ)"},
		{"Set s = CreateObject(\"Scripting.Dictionary\")\nu = CreateObject(\"WScript.Network\").UserName\nDeclare Sub Sleep Lib \"kernel32\"", "", ""},
		{"Set s = CreateObject(decode(\"x\"))", "", "hides what it does (an object by a computed name); uses (createobject)"},
		{"x = Chr(1) & Chr(2) & Chr$(3) & ChrW(4) & Chr(5)", "", "hides what it does (chains of Chr)"},
		{"x = StrReverse(\"llehs\")", "", "hides what it does (StrReverse)"},
		{"x = \"" + strings.Repeat("4d5a90", 40) + "\"", "", "hides what it does (a text of digits)"},
		{"Private Declare PtrSafe Function D Lib \"urlmon\" Alias \"URLDownloadToFileA\" (ByVal a)", "", "loads from the network (urldownloadtofilea); uses (declare)"},
		{"x = 1 ' Shell", "", ""},
	} {
		for _, size := range []int{1, 7, 1 << 20} {
			b := &Basic{}
			for chunk := range slices.Chunk([]byte(tt.source), size) {
				if _, err := b.Write(chunk); err != nil {
					t.Fatal(err)
				}
			}
			if b.Autorun() != tt.autorun || b.Suspicious() != tt.suspicious {
				t.Errorf("%q in pieces of %d: got %q and %q, want %q and %q", tt.source, size, b.Autorun(), b.Suspicious(), tt.autorun, tt.suspicious)
			}
		}
	}
	b := &Basic{}
	b.Module("AutoExec")
	_, _ = b.Write([]byte("Sub Main()\n"))
	if got := b.Autorun(); got != "AutoExec.main" {
		t.Errorf("got %q", got)
	}
}

func TestPlaces(t *testing.T) {
	for target, want := range map[string]place{
		"settings.xml": here, "../media/image1.png": here, "/word/a.xml": here, "": here, `C:\a\b`: here, "file:///C:/a": here, "file:///C:%5Ca": here, "about:blank": here,
		"file:///tmp/a": here, "file://localhost/a": here, "a/b:c": here, `\\?\C:\a`: here, "mailto:a@example.net": here,
		`\\server\a`: network, "file://server/a": network, `file:///\\server\a`: network, "file:////server/a": network, "//server/a": network,
		"http://example.net": remote, "HTTPS://x": remote, "h\tttp://x": remote, " http://x": remote, "ms-msdt:/id": remote, "mhtml:file://c:/a": remote,
		`\\192.0.2.1\a`: remote, `\\example.net\a`: remote, `\\server@SSL\a`: remote, "//[2001:db8::1]/a": remote, "%5C%5Cexample.net%5Ca": remote, "file://example.net/a": remote,
	} {
		if got := placeOf(target); got != want {
			t.Errorf("%q: got %d, want %d", target, got, want)
		}
	}
}

// FuzzXML: whatever comes before it, a field is found.
func FuzzXML(f *testing.F) {
	f.Add("<w:r><w:instrText>DDE</w:instrText>")
	f.Add("<![CDATA[x]")
	f.Add("<a b='\"")
	f.Add(relations(relation("attachedTemplate", "http://example.net/a.dotm")))
	f.Fuzz(func(t *testing.T, content string) {
		got := scanned(t, member(t, "a.xml", head+content+`]]><w:fldSimple w:instr="DDEAUTO fuzz"/>`))
		if !slices.Contains(got, `office/dde: a.xml: a field DDEAUTO "fuzz"`) && len(got) < maxFindings {
			t.Errorf("%q: got %q", content, got)
		}
		b := &Basic{}
		_, _ = b.Write([]byte(content + "\n\nSub AutoOpen()\n"))
		if !strings.Contains(b.Autorun(), "autoopen") && !strings.Contains(b.Autorun(), "more") {
			t.Errorf("%q: got %q", content, b.Autorun())
		}
	})
}
