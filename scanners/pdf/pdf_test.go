package pdf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rastel/sanitize/eml"
	"rastel/scanners"
	"rastel/scanners/scannertest"
)

const payload = "RASTEL HARMLESS TEST PAYLOAD 5d1f8c72"

func TestSuite(t *testing.T) { scannertest.Run(t, Documents{}) }

// An opened is what came out of a document.
type opened struct {
	members  []string // "name, name: content"
	findings []eml.Finding
	err      error
}

func (o opened) String() string {
	var s strings.Builder
	for _, m := range o.members {
		fmt.Fprintf(&s, "\n  member %.200q", m)
	}
	for _, f := range o.findings {
		fmt.Fprintf(&s, "\n  %s: %s", f.Check, f.Detail)
	}
	return s.String() + fmt.Sprintf("\n  error: %v", o.err)
}

// checks are those about what could be examined; those about what the document does have tests of their
// own.
func (o opened) checks() (list []string) {
	for _, f := range o.findings {
		if !slices.Contains(doChecks, f.Check) {
			list = append(list, f.Check)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// want fails unless there is exactly that: members, and checks.
func (o opened) want(t *testing.T, members []string, checks ...string) {
	t.Helper()
	got := slices.Clone(o.members)
	slices.Sort(got)
	members = slices.Clone(members)
	slices.Sort(members)
	if o.err != nil || !slices.Equal(got, members) || !slices.Equal(o.checks(), checks) {
		t.Errorf("want %q and checks %q, got%s", members, checks, o)
	}
}

func open(t testing.TB, content []byte, words ...string) opened {
	t.Helper()
	return openWithin(t, content, scanners.BudgetLimits{}, words...)
}

func openWithin(t testing.TB, content []byte, lim scanners.BudgetLimits, words ...string) (o opened) {
	t.Helper()
	b := scanners.NewBudget(lim, eml.SpoolOptions{})
	b.SetWords(func(context.Context) scanners.Words { return scanners.Words{Message: words} })
	o.findings, o.err = Documents{}.Expand(t.Context(), scannertest.Part(t, content), b, func(m *eml.Part) error {
		defer m.Release()
		c, err := io.ReadAll(m.Content())
		o.members = append(o.members, strings.Join(m.Names, ", ")+": "+string(c))
		return err
	})
	return o
}

// TestCorpus opens all documents that others have collected: of those that need a password this is said,
// and of the others nothing.
func TestCorpus(t *testing.T) {
	const corpus = "../../../shared/corpus/office"
	files, _ := filepath.Glob(corpus + "/*pdf/*.pdf")
	if len(files) == 0 {
		t.Skip("needs ../shared/corpus")
	}
	passwords := map[string][]string{ // those that need one, as qpdf says too
		"qpdf-enc-R2,V1,U=view,O=master.pdf": {"view", "master"}, "qpdf-enc-XI-R6,V5,U=view,O=master.pdf": {"view", "master"},
		"qpdf-enc-XI-R6,V5,U=attachment,encrypted-attachments.pdf": {"attachment"},
		"qpdf-unfilterable-with-crypt.pdf":                         nil, "qpdf-encrypted-40-bit-R3.pdf": nil,
	}
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		list, closed := passwords[filepath.Base(name)]
		var want []string
		if closed {
			want = []string{encrypted}
		}
		if o := open(t, content); o.err != nil || !slices.Equal(o.checks(), want) {
			t.Errorf("%s: got%s", name, o)
		}
		for _, p := range list {
			if o := open(t, content, p); o.err != nil || !slices.Equal(o.checks(), []string{inMessage}) {
				t.Errorf("%s with password %s: got%s", name, p, o)
			}
		}
	}
}

func TestFindsFilesAndScripts(t *testing.T) {
	open(t, attached(nil).Bytes()).want(t, inAttached)
}

func TestDecryptsWithoutAsking(t *testing.T) {
	for _, kind := range testLocks {
		t.Run(kind, func(t *testing.T) {
			open(t, attached(newLock(t, kind, "", "owner")).Bytes()).want(t, inAttached)
		})
	}
}

func TestDecryptsWithThePasswordOfTheMessage(t *testing.T) {
	for _, kind := range testLocks {
		content := attached(newLock(t, kind, "geheim7", "owner8")).Bytes()
		for _, password := range []string{"geheim7", "owner8"} {
			t.Run(kind+password, func(t *testing.T) { open(t, content, "Dear", password).want(t, inAttached, inMessage) })
		}
		t.Run(kind, func(t *testing.T) { open(t, content, "wrong").want(t, nil, encrypted) })
	}
}

// TestLockOpens holds the exported function to its word.
func TestLockOpens(t *testing.T) {
	for _, kind := range testLocks {
		l := *newLock(t, kind, "us\u00e9r", "owner").l
		l.key = nil
		if l.Opens("") || l.Opens("user") || l.key != nil {
			t.Errorf("%s: opens with a wrong password", kind)
		}
		if !l.Opens("us\u00e9r") || !l.Opens("owner") || l.key == nil {
			t.Errorf("%s: does not open with its passwords", kind)
		}
	}
}

func TestFilters(t *testing.T) {
	long := strings.Repeat(payload+"\n", 100)
	for filter, data := range map[string]string{
		"": long, "/Filter/FlateDecode": deflated(long), "/Filter/Fl": deflated(long), "/Filter[/Fl]": deflated(long), "/Filter/Flate#44ecode": deflated(long),
		"/Filter/ASCIIHexDecode": hexed(long), "/Filter/AHx": hexed(long), "/Filter/ASCII85Decode": ascii85ed(long), "/Filter/A85": ascii85ed(long),
		"/Filter/RunLengthDecode": runs(long), "/Filter/RL": runs(long),
		"/Filter/LZWDecode/DecodeParms<</EarlyChange 0>>": lzwed(long),
		"/Filter/LZW":                          lzwEarly(long),
		"/Filter[/ASCIIHexDecode/FlateDecode]": hexed(deflated(long)),
		"/Filter[/A85 /LZW /RL]/DecodeParms[null<</EarlyChange 0>>]":           ascii85ed(lzwed(runs(long))),
		"/Filter[/Fl/Fl/Fl/Fl/Fl/Fl/AHx/A85]":                                  deflated(deflated(deflated(deflated(deflated(deflated(hexed(ascii85ed(long)))))))),
		"/Filter/FlateDecode/DecodeParms<</Predictor 10/Columns 38>>":          deflated(pngRows(long, 38, 0)),
		"/Filter/FlateDecode/DecodeParms[<</Predictor 11/Columns 38>>]":        deflated(pngRows(long, 38, 1)),
		"/Filter[/FlateDecode]/DecodeParms<</Predictor 12/Columns 38>>":        deflated(pngRows(long, 38, 2)),
		"/Filter/FlateDecode/DecodeParms<</Predictor 15/Columns 38/Colors 1>>": deflated(pngRows(long, 38, 3)),
		"/Filter/FlateDecode/DP<</Predictor 15/Columns 38>>":                   deflated(pngRows(long, 38, 4)),
		"/Filter/FlateDecode/DecodeParms<</Predictor 2/Columns 3800>>":         deflated(tiffRow(long)),
		"/Filter[/Crypt/FlateDecode]":                                          deflated(long),
		"/Filter 8 0 R":                                                        deflated(long),
	} {
		b := newBuilder()
		b.stream(5, "/Type/EmbeddedFile"+filter, data)
		b.object(8, "[/FlateDecode]")
		b.page("")
		t.Run(filter, func(t *testing.T) { open(t, b.end("").Bytes()).want(t, []string{": " + long}) })
	}
}

func TestGivesWhatCameOfDamagedStreams(t *testing.T) {
	whole := deflated(payload + string(noise(3000)))
	for name, data := range map[string]string{"cut": whole[:2000], "no checksum": whole[:len(whole)-4], "bad checksum": whole[:len(whole)-1] + "x"} {
		b := newBuilder()
		b.stream(5, "/Type/EmbeddedFile/Filter/FlateDecode", data)
		o := open(t, b.end("").Bytes())
		if len(o.members) != 1 || !strings.Contains(o.members[0], payload) || slices.Contains(o.checks(), damaged) != (name == "cut") {
			t.Errorf("%s: got%s", name, o)
		}
	}
	b := newBuilder()
	b.stream(5, "/Filter/FlateDecode", whole[:100]) // of a page, which nobody looks at
	open(t, b.end("").Bytes()).want(t, nil)
}

func noise(n int) []byte {
	b, x := make([]byte, n), uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// file is a stream with a file, as all readers find it by its type.
func file(content string) string {
	return fmt.Sprintf("<</Type/EmbeddedFile/Length %d>>stream\n%s\nendstream\n", len(content), content)
}

func TestFindsWhatAnyReaderWouldSee(t *testing.T) {
	spec := "<</EF<</F 5 0 R>>/F(a.txt)>>"
	revised := newBuilder()
	revised.page("/AF[4 0 R]")
	revised.object(4, spec)
	revised.stream(5, "", "old")
	revised.end("")
	revised.stream(5, "", "new")
	revised.end("")
	gone := newBuilder()
	gone.page("")
	gone.stream(5, "/Type/EmbeddedFile", "deleted")
	gone.end("")
	gone.WriteString("xref\n5 1\n0000000000 00001 f \ntrailer<</Root 1 0 R>>startxref\n" + fmt.Sprint(gone.Len()) + "\n%%EOF\n")
	objects := func(typ string) string {
		b := newBuilder()
		dict, data := objStm(map[int]string{4: spec, 7: "<</S/JavaScript/JS(in.it)>>"})
		b.stream(6, strings.Replace(dict, "/Type/ObjStm", typ, 1)+"/Filter/FlateDecode", deflated(data))
		b.stream(5, "", "by a stream")
		return b.end("").String()
	}
	inComment := "%PDF-1.4\n% 5 0 obj<</JS(in a comment)>>endobj\n"
	xrefTo := func(head string) string {
		at := strings.Index(head, "5 0 obj")
		return head + fmt.Sprintf("xref\n0 1\n0000000000 65535 f \n5 1\n%010d 00000 n \ntrailer<</Root 1 0 R>>\nstartxref\n%d\n%%%%EOF", at, len(head))
	}
	inString := "%PDF-1.4\n1 0 obj (\n5 0 obj<</JS<612e62>>>endobj\n) endobj\n"
	long := "x\nendstream endobj 7 0 obj<</JS(behind an end)>>endobj y"
	alias := newBuilder()
	alias.object(4, spec)
	alias.stream(3, "", "under another number")
	alias.offs[5] = alias.offs[3]
	for name, c := range map[string]struct {
		content string
		want    []string
	}{
		"revisions":               {revised.String(), []string{"a.txt: old", "a.txt: new"}},
		"deleted":                 {gone.String(), []string{": deleted"}},
		"object stream":           {objects("/Type/ObjStm"), []string{"a.txt: by a stream", ": in.it\n"}},
		"object stream, untyped":  {objects(""), []string{"a.txt: by a stream", ": in.it\n"}},
		"no table":                {"%PDF-1.4\n5 0 obj" + file("x") + "endobj", []string{": x"}},
		"no endobj":               {"%PDF-1.4\n4 0 obj " + spec + "5 0 obj<</Length 1>>stream\nx\nendstream 6 0 obj<</JS(y)>>", []string{"a.txt: x", ": y\n"}},
		"no endstream":            {"%PDF-1.4\n5 0 obj<</Type/EmbeddedFile/Length 3>>stream\nabc", []string{": abc"}},
		"glued":                   {"%PDF-1.4\n4 0 obj<</JS(y)>>endobj5 0 obj" + file("x") + "endobj6 0 obj 7endobj", []string{": x", ": y\n"}},
		"carriage returns":        {strings.ReplaceAll("%PDF-1.4\n5 0 obj"+file("x")+"endobj", "\n", "\r"), []string{": x"}},
		"header further in":       {strings.Repeat("\n", 1000) + "%PDF-1.4\n5 0 obj" + file("x"), []string{": x"}},
		"zeros":                   {"%PDF-1.4\n5\x000\x00obj\x00" + file("x"), []string{": x"}},
		"escaped names":           {"%PDF-1.4\n5 0 obj<</Ty#70e/Embedded#46ile/L#65ngth 1>>stream\nx\nendstream 6 0 obj<</J#53(y)>>", []string{": x", ": y\n"}},
		"wrong length":            {"%PDF-1.4\n5 0 obj<</Type/EmbeddedFile/Length 99999999999999999999>>stream\nx\nendstream", []string{": x"}},
		"length elsewhere":        {"%PDF-1.4\n5 0 obj<</Type/EmbeddedFile/Length 6 0 R>>stream\nx endstream y\nendstream 6 0 obj 13 endobj", []string{": x endstream y"}},
		"length of itself":        {"%PDF-1.4\n5 0 obj<</Type/EmbeddedFile/Length 5 0 R>>stream\nx\nendstream", []string{": x"}},
		"in a comment":            {inComment, nil},
		"in a comment, by table":  {xrefTo(inComment), []string{": in a comment\n"}},
		"in a string":             {inString, nil},
		"in a string, by table":   {xrefTo(inString), []string{": a.b\n"}},
		"in a stream":             {"%PDF-1.4\n5 0 obj" + file(long) + "endobj", []string{": " + long, ": behind an end\n"}},
		"table with other number": {alias.end("").String(), []string{"a.txt: under another number"}},
		"unbalanced":              {"%PDF-1.4\n1 0 obj (((\n5 0 obj" + file("x") + "endobj", []string{": x"}},
		"one bracket short":       {"%PDF-1.4\n1 0 obj <</A[1 2 /B<</JS(x)>>\nendobj 5 0 obj" + file("x") + "endobj", []string{": x", ": x\n"}},
		"program in a stream":     {"%PDF-1.4\n5 0 obj<</Length 9>>stream\n#!/bin/sh\nendstream", []string{": #!/bin/sh"}},
		"script stream":           {"%PDF-1.4\n1 0 obj<</S/JavaScript/JS 5 0 R>> 5 0 obj<</Length 6>>stream\n\xfe\xff\x00a\x00b\nendstream", []string{": ab\n"}},
		"form":                    {"%PDF-1.4\n1 0 obj<</XFA[(a)5 0 R(b)6 0 R]>> 5 0 obj<</Length 1>>stream\nx\nendstream endobj 6 0 obj<</Length 1>>stream\ny\nendstream", []string{"a.xml: x", "b.xml: y"}},
		"form in one":             {"%PDF-1.4\n1 0 obj<</XFA 5 0 R>> 5 0 obj<</Length 1>>stream\nx\nendstream", []string{"form.xml: x"}},
		"EF elsewhere":            {"%PDF-1.4\n1 0 obj<</EF 2 0 R/UF 3 0 R>> 2 0 obj<</UF 5 0 R>> 3 0 obj(n.txt) 5 0 obj<</Length 1>>stream\nx\nendstream", []string{"n.txt: x"}},
		"related files":           {"%PDF-1.4\n1 0 obj<</EF<<>>/F(m)/RF<</F[(r.txt)5 0 R]>>>> 5 0 obj<</Length 1>>stream\nx\nendstream", []string{"r.txt, m: x"}},
		"names":                   {"%PDF-1.4\n1 0 obj<</EF<</F 5 0 R>>/F(a)/UF<FEFF00E9>/DOS(c)/Unix(d)/Mac(e)/Desc(f)>> 5 0 obj<</Length 1>>stream\nx\nendstream", []string{"a, \u00e9, c, d, e: x"}},
		"rich media":              {"%PDF-1.4\n1 0 obj<</Assets<</Names[(a.swf)<</EF<</F 5 0 R>>/F(b.swf)>>]>>>> 5 0 obj<</Length 1>>stream\nx\nendstream", []string{"b.swf: x"}},
	} {
		t.Run(name, func(t *testing.T) { open(t, []byte(c.content)).want(t, c.want) })
	}
}

// TestHybrid opens a document whose table leads to a cross-reference stream, which alone knows of an
// object in a comment.
func TestHybrid(t *testing.T) {
	b := newBuilder()
	b.page("")
	at := b.Len() + 2
	b.WriteString("% 5 0 obj<</JS(hybrid)>>endobj\n")
	stream := b.Len()
	row := string([]byte{1, byte(at >> 8), byte(at), 0})
	b.stream(8, "/Type/XRef/W[1 2 1]/Index[5 1]/Size 9", row)
	b.end(fmt.Sprintf("/XRefStm %d", stream))
	open(t, b.Bytes()).want(t, []string{": hybrid\n"})
}

// TestOpensDocumentsInDisguise opens what is something else by its first bytes.
func TestOpensDocumentsInDisguise(t *testing.T) {
	content := attached(nil).String()
	for name, head := range map[string]string{"picture": "\xff\xd8\xff\xe0\x00\x10JFIF", "program": "MZ\x90\x00\x03\x00\x00\x00\x04", "text": "GIF89a"} {
		t.Run(name, func(t *testing.T) { open(t, []byte(head+content)).want(t, inAttached) })
	}
	open(t, []byte("PK\x03\x04"+content)).want(t, nil)
	if !(Documents{}).Opens(&eml.Part{Type: "pdf"}) {
		t.Error("a document is not opened")
	}
}

func TestTooManyFilters(t *testing.T) {
	b := newBuilder()
	b.stream(5, "/Type/EmbeddedFile/Filter["+strings.Repeat("/AHx", 9)+"]", "00>")
	open(t, b.end("").Bytes()).want(t, nil, limit)
}

func TestBudgetHoldsForFilters(t *testing.T) {
	bomb := strings.Repeat(" ", 50<<20)
	for _, filter := range []string{"[/Fl/AHx]", "[/Fl/Fl]"} {
		data := deflated(bomb)
		if filter == "[/Fl/Fl]" {
			data = deflated(data)
		}
		b := newBuilder()
		b.stream(5, "/Type/EmbeddedFile/Filter"+filter, data)
		if o := openWithin(t, b.end("").Bytes(), scanners.BudgetLimits{Bytes: 1 << 20}); !errors.Is(o.err, scanners.ErrBudget) {
			t.Errorf("%s: got%s", filter, o)
		}
	}
}
