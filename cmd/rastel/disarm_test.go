package main

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"rastel/policy"
	"rastel/policy/engine"
	"rastel/sanitize/eml"
)

// disarmingEngine has a policy that takes out what it can and delivers the rest.
func disarmingEngine(t *testing.T) *engine.Engine {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy.yaml")
	rules := "rules:\n  - {name: documents, when: 'has(\"office/macro*\", \"office/xlm*\", \"office/remote-*\", \"office/dde\")', do: [disarm]}\n"
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	return policyEngine(t, file)
}

// disarm sends a document through, and gives it as it is delivered.
func disarm(t *testing.T, e *engine.Engine, name string, content []byte) []byte {
	t.Helper()
	x, out := deliver(t, e, withDocument(name, content))
	if x.Verdict.Action != policy.Accept || x.Verdict.Patch.Empty() {
		t.Fatalf("%s, patched %t: %+v\n%+v", x.Verdict.Action, !x.Verdict.Patch.Empty(), x.Verdict.Trace, x.Report.Findings)
	}
	again, twice := deliver(t, e, out)
	if !bytes.Equal(out, twice) || again.Verdict.Action != policy.Accept {
		t.Errorf("a second pass gives %s, and other bytes: %t", again.Verdict.Action, !bytes.Equal(out, twice))
	}
	for _, f := range again.Report.Findings {
		if strings.HasPrefix(f.Check, "office/macro") || strings.HasPrefix(f.Check, "office/xlm") || strings.HasPrefix(f.Check, "office/remote") || strings.HasPrefix(f.Check, "archive/") {
			t.Errorf("there is still %s in %s: %s", f.Check, f.Part.ID, f.Detail)
		}
	}
	var part *eml.Part
	again.Message.Root.Walk(func(p *eml.Part) bool {
		if p.ID == "1.2" {
			part = p
		}
		return true
	})
	b, err := io.ReadAll(part.RawBody())
	if err != nil || part.Names[0] != name {
		t.Fatalf("%v, %q", err, part.Names)
	}
	return decodeBase64(t, b)
}

// TestCorpusIsDisarmed: the documents of the corpus that can be disarmed are, and all else in them stays as
// it is.
func TestCorpusIsDisarmed(t *testing.T) {
	e := disarmingEngine(t)
	n := 0
	for _, c := range officeCases(t) {
		ext := filepath.Ext(c.File)
		if !strings.HasSuffix(ext, "m") || len(ext) != 5 {
			continue
		}
		n++
		content, err := os.ReadFile(filepath.Join(officeCorpus, c.File))
		if err != nil {
			t.Fatal(err)
		}
		t.Run(c.File, func(t *testing.T) {
			was, now := packedMembers(t, content), packedMembers(t, disarm(t, e, filepath.Base(c.File), content))
			for name, b := range was {
				switch got, there := now[name]; {
				case strings.Contains(name, "vbaProject"), strings.Contains(name, "vbaData"):
					if there {
						t.Errorf("%s is still there", name)
					}
				case got != b && !strings.HasSuffix(name, ".rels") && name != "[Content_Types].xml":
					t.Errorf("%s is not as it was", name)
				}
			}
		})
	}
	if n < 5 {
		t.Errorf("%d documents", n)
	}
}

// packedMembers are the members of a zip archive as they are packed.
func packedMembers(t *testing.T, content []byte) map[string]string {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, f := range r.File {
		in, err := f.OpenRaw()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		out[f.Name] = fmt.Sprintf("%d %x %s", f.Method, f.CRC32, b)
	}
	return out
}

// TestDisarmedDocumentsOpen: LibreOffice opens disarmed documents and shows the same text.
func TestDisarmedDocumentsOpen(t *testing.T) {
	if os.Getenv("RASTEL_E2E") == "" {
		t.Skip("needs soffice and RASTEL_E2E=1")
	}
	dir := t.TempDir()
	e := disarmingEngine(t)
	write := func(name string, content []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("letter.rtf", []byte(`{\rtf1 Dear Ann,\par the \b text\b0  of the letter.\par}`))
	write("table.csv", []byte("name,value\nann,1\nbob,2\n"))
	convert(t, dir, "docx", "letter.rtf")
	convert(t, dir, "xlsx", "table.csv")
	write("note.rtf", []byte(`{\rtf1 A note\par about \i nothing\i0 .\par}`))
	convert(t, dir, "odt", "note.rtf")
	documents := map[string][]byte{
		"letter.docm": armed(t, readFile(t, dir, "letter.docx"), "word", "settings.xml"),
		"table.xlsm":  armed(t, readFile(t, dir, "table.xlsx"), "xl", "workbook.xml"),
		"note.odt":    withBasic(t, readFile(t, dir, "note.odt")),
	}
	for _, name := range []string{"document_SimpleMacro.docm", "spreadsheet_SimpleMacro.xlsm", "spreadsheet_testNames.xlsm"} {
		if b, err := os.ReadFile(filepath.Join(officeCorpus, "poi", name)); err == nil {
			documents[name] = b
		}
	}
	var texts, tables []string
	for name, content := range documents {
		write("before-"+name, content)
		write("after-"+name, disarm(t, e, name, content))
		if !strings.HasSuffix(name, ".xlsm") {
			texts = append(texts, "before-"+name, "after-"+name)
		} else {
			tables = append(tables, "before-"+name, "after-"+name)
		}
	}
	convert(t, dir, "txt:Text", texts...)
	convert(t, dir, "csv", tables...)
	for name := range documents {
		ext := ".txt"
		if strings.HasSuffix(name, ".xlsm") {
			ext = ".csv"
		}
		shown := strings.TrimSuffix(name, filepath.Ext(name)) + ext
		before, after := readFile(t, dir, "before-"+shown), readFile(t, dir, "after-"+shown)
		if !bytes.Equal(before, after) || len(bytes.TrimSpace(before)) == 0 {
			t.Errorf("%s: it was\n%s, is\n%s", name, before, after)
		}
	}
}

func readFile(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func convert(t *testing.T, dir, to string, names ...string) {
	t.Helper()
	args := []string{"-env:UserInstallation=file://" + dir + "/profile", "--headless", "--convert-to", to, "--outdir", dir}
	for _, name := range names {
		args = append(args, filepath.Join(dir, name))
	}
	if out, err := exec.CommandContext(t.Context(), "soffice", args...).CombinedOutput(); err != nil {
		t.Fatalf("soffice: %v\n%s", err, out)
	}
}

// armed puts macros into a document, and a template that is loaded from a server.
func armed(t *testing.T, content []byte, dir, part string) []byte {
	t.Helper()
	const kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"
	put := map[string]string{dir + "/vbaProject.bin": string(macroProject(t))}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for f, s := range filesOf(t, content) {
		if f.Name == dir+"/_rels/"+map[string]string{"word": "document", "xl": "workbook"}[dir]+".xml.rels" {
			s = strings.Replace(s, "</Relationships>", `<Relationship Id="rId901" Type="http://schemas.microsoft.com/office/2006/relationships/vbaProject" Target="vbaProject.bin"/></Relationships>`, 1)
		}
		if f.Name == dir+"/_rels/"+part+".rels" {
			s = strings.Replace(s, "</Relationships>", `<Relationship Id="rId902" Type="`+kind+`attachedTemplate" Target="http://192.0.2.1/a.dotm" TargetMode="External"/></Relationships>`, 1)
		}
		put[f.Name] = s
		addFile(t, w, f.Name, s)
	}
	if rels := dir + "/_rels/" + part + ".rels"; put[rels] == "" {
		addFile(t, w, rels, `<?xml version="1.0" encoding="UTF-8"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId902" Type="`+kind+`attachedTemplate" Target="http://192.0.2.1/a.dotm" TargetMode="External"/></Relationships>`)
	}
	addFile(t, w, dir+"/vbaProject.bin", put[dir+"/vbaProject.bin"])
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// withBasic puts a macro into a document of OpenDocument that runs when it is loaded.
func withBasic(t *testing.T, content []byte) []byte {
	t.Helper()
	const (
		head    = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"
		library = `xmlns:library="http://openoffice.org/2000/library" library:name="Standard" library:readonly="false" library:passwordprotected="false">`
		event   = `<office:scripts><office:event-listeners><script:event-listener script:language="ooo:script" script:event-name="dom:load" ` +
			`xlink:href="vnd.sun.star.script:Standard.Module1.Main?language=Basic&amp;location=document" xlink:type="simple"/></office:event-listeners></office:scripts>`
	)
	files := []struct{ name, content string }{
		{"Basic/script-lc.xml", head + `<library:libraries xmlns:library="http://openoffice.org/2000/library" xmlns:xlink="http://www.w3.org/1999/xlink"><library:library library:name="Standard" library:link="false"/></library:libraries>`},
		{"Basic/Standard/script-lb.xml", head + `<library:library ` + library + `<library:element library:name="Module1"/></library:library>`},
		{"Basic/Standard/Module1.xml", head + `<script:module xmlns:script="http://openoffice.org/2000/script" script:name="Module1" script:language="StarBasic">Sub Main
Shell(&quot;calc&quot;)
End Sub</script:module>`},
	}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for f, s := range filesOf(t, content) {
		switch f.Name {
		case "content.xml":
			was := s
			if s = strings.Replace(s, "<office:scripts/>", event, 1); s == was {
				t.Fatalf("no place for an event in %s", s)
			}
		case "META-INF/manifest.xml":
			for _, f := range files {
				s = strings.Replace(s, "</manifest:manifest>", ` <manifest:file-entry manifest:full-path="`+f.name+`" manifest:media-type="text/xml"/></manifest:manifest>`, 1)
			}
		}
		if !strings.HasSuffix(f.Name, "/") {
			addFile(t, w, f.Name, s)
		}
	}
	for _, f := range files {
		addFile(t, w, f.name, f.content)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// filesOf gives the files in an archive and what is in them.
func filesOf(t *testing.T, content []byte) iter.Seq2[*zip.File, string] {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	return func(yield func(*zip.File, string) bool) {
		for _, f := range r.File {
			in, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(in)
			if err != nil {
				t.Fatal(err)
			}
			if !yield(f, string(text)) {
				return
			}
		}
	}
}

func addFile(t *testing.T, w *zip.Writer, name, content string) {
	t.Helper()
	h := &zip.FileHeader{Name: name, CRC32: crc32.ChecksumIEEE([]byte(content)), CompressedSize64: uint64(len(content)), UncompressedSize64: uint64(len(content))}
	e, err := w.CreateRaw(h)
	if err == nil {
		_, err = io.WriteString(e, content)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// macroProject is a project of Visual Basic that runs by itself, out of one of the cases.
func macroProject(t *testing.T) []byte {
	t.Helper()
	c, err := readCase("../../testdata/cases/a20-ole-macro.case")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := bytes.Cut(c.Raw, []byte("name=letter.doc\r\nContent-Transfer-Encoding: base64\r\n\r\n"))
	body, _, _ = bytes.Cut(body, []byte("\r\n--bb"))
	return decodeBase64(t, body)
}

func decodeBase64(t *testing.T, b []byte) []byte {
	t.Helper()
	out, err := base64.StdEncoding.DecodeString(strings.NewReplacer("\r", "", "\n", "").Replace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return out
}
