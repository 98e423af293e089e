package office

import (
	"archive/zip"
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"path"
	"slices"
	"strings"
	"testing"

	"rastel/sanitize/eml"
	"rastel/scanners"
	"rastel/scanners/archive"
	"rastel/scanners/scannertest"
)

// A file is an entry of a zip archive to be made.
type file struct{ name, content string }

// zipOf makes a document of files, every other of them compressed, and with sizes behind the data.
func zipOf(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate}
		var err error
		var e io.Writer
		if i%2 == 1 { // as Office does it
			h.Method, h.CRC32 = zip.Store, crc32.ChecksumIEEE([]byte(f.content))
			h.CompressedSize64, h.UncompressedSize64 = uint64(len(f.content)), uint64(len(f.content))
			e, err = w.CreateRaw(h)
		} else {
			e, err = w.CreateHeader(h)
		}
		if err == nil {
			_, err = io.WriteString(e, f.content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const (
	docTypes = head + `<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="bin" ContentType="application/vnd.ms-office.vbaProject"/>` +
		`<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>` +
		`<Override PartName="/word/document.xml" ContentType="application/vnd.ms-word.document.macroEnabled.main+xml"/>` +
		`<Override PartName="/word/vbaData.xml" ContentType="application/vnd.ms-word.vbaData+xml"></Override></Types>`
	vbaRelation = `<Relationship Id="rId7" Type="http://schemas.microsoft.com/office/2006/relationships/vbaProject" Target="vbaProject.bin"/>`
)

// docm is a document with macros and a template on a server.
func docm() []file {
	return []file{
		{"[Content_Types].xml", docTypes},
		{"_rels/.rels", relations(`<Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/>`)},
		{"word/document.xml", head + "<w:document>the text</w:document>"},
		{"word/_rels/document.xml.rels", relations(`<Relationship Id="rId1" Type="x/styles" Target="styles.xml"/>` + vbaRelation + relation("hyperlink", "http://example.net/"))},
		{"word/vbaProject.bin", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 macros"},
		{"word/_rels/vbaProject.bin.rels", relations(`<Relationship Id="rId1" Type="http://schemas.microsoft.com/office/2006/relationships/wordVbaData" Target="vbaData.xml"/>`)},
		{"word/vbaData.xml", head + "<wne:vbaSuppData/>"},
		{"word/settings.xml", head + `<w:settings><w:attachedTemplate r:id="rId1"/></w:settings>`},
		{"word/_rels/settings.xml.rels", relations(relation("attachedTemplate", "http://example.net/a.dotm?b=1&amp;c=2"))},
		{"word/styles.xml", head + "<w:styles/>"},
	}
}

// ods is a document of OpenDocument with macros, and events that run them.
func ods() []file {
	return []file{
		{"mimetype", "application/vnd.oasis.opendocument.spreadsheet"},
		{"content.xml", head + `<office:document-content xmlns:office="o" xmlns:script="s" xmlns:xlink="x"><office:event-listeners><script:event-listener script:event-name="dom:load" xlink:href="vnd.sun.star.script:Standard.Module1.Main"/></office:event-listeners>text</office:document-content>`},
		{"Basic/Standard/Module1.xml", head + `<script:module xmlns:script="s" script:name="Module1" script:language="StarBasic">Sub Main
End Sub</script:module>`},
		{"Scripts/python/a.py", "import os"},
		{"META-INF/manifest.xml", head + `<manifest:manifest xmlns:manifest="m"><manifest:file-entry manifest:full-path="Basic/Standard/Module1.xml"/><manifest:file-entry manifest:full-path="content.xml"/><manifest:file-entry manifest:full-path="Scripts/python/a.py"/></manifest:manifest>`},
		{"styles.xml", head + "<office:document-styles/>"},
	}
}

func xlsm() []file {
	return []file{
		{"[Content_Types].xml", head + `<Types><Override PartName="/xl/workbook.xml" ContentType="application/vnd.ms-excel.sheet.macroEnabled.main+xml"/>` +
			`<Override PartName="/xl/macrosheets/sheet1.xml" ContentType="application/vnd.ms-excel.macrosheet+xml"/></Types>`},
		{"xl/workbook.xml", head + `<workbook><sheets><sheet name="Macro1" sheetId="2" state="veryHidden" r:id="rId2"/></sheets><definedNames><definedName name="_xlnm.Auto_Open">Macro1!$A$1</definedName><definedName name="other">Macro1!$A$1</definedName></definedNames></workbook>`},
		{"xl/_rels/workbook.xml.rels", relations(`<Relationship Id="rId2" Type="http://schemas.microsoft.com/office/2006/relationships/xlMacrosheet" Target="macrosheets/sheet1.xml"/>`)},
		{"xl/macrosheets/sheet1.xml", head + `<xm:macrosheet xmlns:xm="urn:xm"><sheetData><row><c><f>EXEC("calc")</f></c></row></sheetData></xm:macrosheet>`},
		{"xl/worksheets/sheet1.xml", head + `<worksheet>1</worksheet>`},
	}
}

// findingsOf are what would be found in a document: by the names of its members, and by Scan.
func findingsOf(t testing.TB, doc *eml.Part, members map[string]string) (out []eml.Finding) {
	t.Helper()
	i := 0
	for _, name := range sorted(members) {
		s := eml.NewSpool(eml.SpoolOptions{})
		_, _ = io.WriteString(s, members[name])
		s.CloseWrite(nil)
		i++
		m, err := eml.NewMember(doc, i, []string{name}, s)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Release)
		if strings.HasPrefix(members[name], "\xd0\xcf\x11\xe0") {
			out = append(out, eml.Finding{Check: Macro, Part: m}, eml.Finding{Check: MacroAutorun, Part: m})
		}
		list, err := Scanner{}.Scan(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, list...)
	}
	return out
}

func sorted(m map[string]string) (names []string) {
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// membersOf reads a zip archive with the standard library, which must agree with all others.
func membersOf(t testing.TB, content []byte) (members map[string]string, raw map[string]string) {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatalf("%v\n%q", err, content)
	}
	members, raw = map[string]string{}, map[string]string{}
	for _, f := range r.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(in)
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		p, err := f.OpenRaw()
		if err != nil {
			t.Fatal(err)
		}
		packed, _ := io.ReadAll(p)
		members[f.Name], raw[f.Name] = string(b), fmt.Sprintf("%d %v %q %q %q", f.Method, f.Modified, packed, f.Extra, f.Comment)
	}
	return members, raw
}

// applied carries edits of the content out, which are in no order.
func applied(content []byte, edits []eml.Edit) []byte {
	slices.SortFunc(edits, func(a, b eml.Edit) int { return int(a.Start - b.Start) })
	var out []byte
	at := int64(0)
	for _, e := range edits {
		out = append(append(out, content[at:e.Start]...), e.Text...)
		at = e.End
	}
	return append(out, content[at:]...)
}

// opened is what our own opener finds wrong with an archive.
func opened(t testing.TB, content []byte) []eml.Finding {
	t.Helper()
	list, err := archive.New(archive.Config{}).Expand(t.Context(), scannertest.Part(t, content), scanners.NewBudget(scanners.BudgetLimits{}, eml.SpoolOptions{}), func(m *eml.Part) error {
		m.Release()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestDisarm(t *testing.T) {
	for _, tt := range []struct {
		why     string
		files   []file
		gone    []string
		changed map[string]string // and what must not be in it any more
		stays   map[string]string // what is in it still
	}{
		{"a document with macros and a template", docm(),
			[]string{"word/vbaProject.bin", "word/_rels/vbaProject.bin.rels", "word/vbaData.xml"},
			map[string]string{"[Content_Types].xml": "vbaData", "word/_rels/document.xml.rels": "vbaProject", "word/_rels/settings.xml.rels": "example.net"},
			map[string]string{"[Content_Types].xml": "macroEnabled", "word/_rels/document.xml.rels": "styles.xml", "word/_rels/settings.xml.rels": `Target="Normal.dotm"`}},
		{"a workbook with sheets of macros", xlsm(), nil,
			map[string]string{"[Content_Types].xml": "macrosheet+xml", "xl/workbook.xml": "Auto_Open", "xl/_rels/workbook.xml.rels": "xlMacrosheet", "xl/macrosheets/sheet1.xml": "EXEC"},
			map[string]string{"xl/workbook.xml": `<definedName name="other">`, "xl/macrosheets/sheet1.xml": "<sheetData/>"}},
		{"an object on a server", []file{{"[Content_Types].xml", head + "<Types/>"}, {"word/_rels/document.xml.rels", relations(relation("oleObject", "http://example.net/a") + relation("image", "http://example.net/b"))}}, nil,
			map[string]string{"word/_rels/document.xml.rels": "example.net"}, map[string]string{"word/_rels/document.xml.rels": "about:blank"}},
		{"OpenDocument", ods(), []string{"Basic/Standard/Module1.xml", "Scripts/python/a.py"},
			map[string]string{"content.xml": "Module1", "META-INF/manifest.xml": "Basic"}, map[string]string{"content.xml": ">text<", "META-INF/manifest.xml": "content.xml"}},
		{"macros by another name", []file{{"[Content_Types].xml", head + "<Types/>"}, {"a/_rels/b.xml.rels", relations(strings.ReplaceAll(vbaRelation, "vbaProject.bin", "/c/Odd.Name"))}, {"c/odd.name", "\xd0\xcf\x11\xe0"}},
			[]string{"c/odd.name"}, map[string]string{"a/_rels/b.xml.rels": "Odd"}, nil},
		{"macros that nothing leads to", []file{{"[Content_Types].xml", head + `<Types><Override PartName="/a.bin" ContentType="application/vnd.ms-office.vbaProject"/></Types>`}, {"a.bin", "\xd0\xcf\x11\xe0"}},
			[]string{"a.bin"}, map[string]string{"[Content_Types].xml": "a.bin"}, nil},
	} {
		t.Run(tt.why, func(t *testing.T) {
			content := zipOf(t, tt.files...)
			doc := scannertest.Part(t, content)
			before, rawBefore := membersOf(t, content)
			edits, err := Disarm(doc, findingsOf(t, doc, before))
			if err != nil {
				t.Fatal(err)
			}
			out := applied(content, edits)
			after, raw := membersOf(t, out)
			for name := range before {
				now, there := after[name]
				bad, changed := tt.changed[name]
				switch {
				case slices.Contains(tt.gone, name) != !there:
					t.Errorf("%s is there: %t", name, there)
				case changed && (strings.Contains(now, bad) || now == before[name]):
					t.Errorf("%s is still %s", name, now)
				case there && !changed && raw[name] != rawBefore[name]:
					t.Errorf("%s was\n%s, is\n%s", name, rawBefore[name], raw[name])
				case !strings.Contains(now, tt.stays[name]):
					t.Errorf("%s is %s", name, now)
				}
			}
			if list := findingsOf(t, doc, after); len(list) > 0 {
				t.Errorf("there is still %+v", list)
			}
			if list := opened(t, out); len(list) > 0 {
				t.Errorf("the archive is not as it should be: %+v", list)
			}
			again := scannertest.Part(t, out)
			if edits, err := Disarm(again, nil); err != nil || edits != nil {
				t.Errorf("a second time: %d edits, %v", len(edits), err)
			}
			if list, _ := Disarm(doc, findingsOf(t, doc, before)); !bytes.Equal(applied(content, list), out) {
				t.Error("it is not the same each time")
			}
		})
	}
}

// otherName gives the first file another name in Unicode, which some programs go by (APPNOTE.TXT 4.6.9).
func otherName(t testing.TB, files ...file) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i, f := range files {
		h := &zip.FileHeader{Name: f.name}
		if i == 0 {
			h.Extra = []byte("\x75\x70\x06\x00\x01abcdx")
		}
		e, err := w.CreateHeader(h)
		if err == nil {
			_, err = io.WriteString(e, f.content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What cannot be taken out wholly, or not for certain, is an error, and nothing is changed.
func TestDisarmFails(t *testing.T) {
	types := file{"[Content_Types].xml", head + "<Types/>"}
	rels := file{"word/_rels/document.xml.rels", relations(vbaRelation)}
	project := file{"word/vbaProject.bin", "\xd0\xcf\x11\xe0"}
	good := zipOf(t, types, rels, project)
	replaced := func(old, new string, n int) []byte { return bytes.Replace(good, []byte(old), []byte(new), n) }
	for why, content := range map[string][]byte{
		"a document in a document":             zipOf(t, types, file{"word/embeddings/a.xlsm", "\xd0\xcf\x11\xe0"}, rels, project),
		"no list of types":                     zipOf(t, rels, project),
		"no manifest":                          zipOf(t, ods()[0], ods()[2]),
		"another type":                         zipOf(t, file{"mimetype", "application/epub+zip"}, ods()[2], ods()[4]),
		"a field of OpenDocument":              zipOf(t, ods()[0], ods()[4], file{"content.xml", head + `<text:dde-connection-decl office:dde-application="a"/>`}),
		"a template that is read in two ways":  zipOf(t, types, file{"a.rels", head + "<!-- " + relation("attachedTemplate", "http://example.net/a") + " --><a/>"}),
		"an event that is read in two ways":    zipOf(t, ods()[0], ods()[4], file{"content.xml", head + `<a><!-- <script:event-listener script:event-name="dom:load" xlink:href="a"/> --></a>`}),
		"a field that talks to other programs": zipOf(t, types, file{"word/document.xml", head + `<w:fldSimple w:instr="DDE a"/>`}),
		"a macro sheet of xlsb":                zipOf(t, types, file{"xl/_rels/workbook.bin.rels", relations(`<Relationship Type="x/xlMacrosheet" Target="macrosheets/sheet1.bin"/>`)}, file{"xl/macrosheets/sheet1.bin", "x"}),
		"definitions":                          zipOf(t, types, file{rels.name, strings.Replace(rels.content, "?>", `?><!DOCTYPE a [<!ENTITY b "c">]>`, 1)}, project),
		"not well-formed":                      zipOf(t, types, file{rels.name, rels.content + "</x>"}, project),
		"something before":                     append([]byte("junk"), good...),
		"something behind":                     append(slices.Clone(good), "junk"...),
		"two directories":                      append(slices.Clone(good), good...),
		"a name twice":                         zipOf(t, types, rels, project, file{"WORD/vbaproject.bin", "x"}),
		"another name besides":                 otherName(t, types, rels, project),
		"a name that leads elsewhere":          zipOf(t, types, rels, project, file{"word/../a", "x"}),
		"another name in its header":           replaced("word/vbaProject.bin", "word/vbaProject.bim", 1),
		"another name in the relationship":     zipOf(t, types, file{rels.name, strings.ReplaceAll(rels.content, "vbaProject.bin", "gone.bin")}, project),
		"a checksum that is wrong":             replaced("<Relationships", "<relationships", 1),
		"cut off":                              good[:len(good)-3],
		"no zip at all":                        []byte("PK\x03\x04"),
		"empty":                                nil,
	} {
		t.Run(why, func(t *testing.T) {
			doc := scannertest.Part(t, content)
			list := findingsOf(t, doc, map[string]string{"word/vbaProject.bin": project.content})
			if r, err := zip.NewReader(bytes.NewReader(content), int64(len(content))); err == nil && !strings.Contains(why, "checksum") && !strings.Contains(why, "name in its") {
				_ = r
				members, _ := membersOf(t, content)
				list = findingsOf(t, doc, members)
			}
			if edits, err := Disarm(doc, list); err == nil {
				t.Errorf("%d edits for %+v", len(edits), list)
			} else {
				t.Log(err)
			}
		})
	}
	if _, err := Disarm(member(t, "a.docm", string(good)), nil); err == nil {
		t.Error("a member is disarmed")
	}
}

// FuzzDisarm: what comes out is an archive that all read alike, with nothing in it any more that was to be
// taken out, and all else as it was.
func FuzzDisarm(f *testing.F) {
	f.Add(zipOf(f, docm()...))
	f.Add(zipOf(f, xlsm()...))
	f.Add(zipOf(f, ods()...))
	f.Add(append(zipOf(f, docm()[:5]...), "\r\n"...))
	f.Fuzz(func(t *testing.T, content []byte) {
		doc := scannertest.Part(t, content)
		if p, err := openPack(doc.Content(), doc.Size); err != nil || len(p.entries) > 50 {
			return
		}
		if r, err := zip.NewReader(bytes.NewReader(content), int64(len(content))); err != nil || slices.ContainsFunc(r.File, func(f *zip.File) bool { return f.UncompressedSize64 > 1<<20 || !readable(f) }) {
			return
		}
		before, rawBefore := membersOf(t, content)
		list, told := findingsOf(t, doc, before), map[string]bool{}
		edits, err := Disarm(doc, list)
		if err != nil || edits == nil {
			return
		}
		for _, f := range list {
			told[f.Part.Names[0]] = true
		}
		out := applied(content, edits)
		after, raw := membersOf(t, out)
		for name, was := range rawBefore {
			if now, there := raw[name]; there && now != was && path.Base(name) != "workbook.xml" && name != odfManifest && !told[name] && !strings.HasSuffix(strings.ToLower(name), ".rels") &&
				!strings.EqualFold(name, contentTypes) && after[name] != emptySheet {
				t.Errorf("%q was\n%s, is\n%s", name, was, now)
			}
		}
		if list := findingsOf(t, doc, after); len(list) > 0 {
			t.Errorf("there is still %+v", list)
		}
		if was, now := opened(t, content), opened(t, out); len(was) == 0 && len(now) > 0 {
			t.Errorf("the archive is not as it should be: %+v", now)
		}
	})
}

func readable(f *zip.File) bool {
	r, err := f.Open()
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, r)
	return err == nil
}
