package flatxml

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"rastel/sanitize/eml"
	"rastel/scanners"
	"rastel/scanners/scannertest"
)

var limits = scanners.BudgetLimits{Bytes: 1 << 20, Members: 200}

func expand(t testing.TB, content string) (members []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s := eml.NewSpool(eml.SpoolOptions{})
	if _, err := s.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	s.CloseWrite(nil)
	p, err := eml.NewMember(&eml.Part{ID: "1"}, 1, []string{"a.xml"}, s)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Release()
	size := int64(0)
	list, err := Scanner{}.Expand(ctx, p, scanners.NewBudget(limits, eml.SpoolOptions{}), func(m *eml.Part) error {
		defer m.Release()
		b, err := io.ReadAll(m.Content())
		if err != nil {
			t.Fatal(err)
		}
		size += m.Size
		members = append(members, fmt.Sprintf("%q %s", m.Names, b))
		return nil
	})
	if err != nil && !errors.Is(err, scanners.ErrBudget) || len(list) > 0 {
		t.Errorf("got %v and %v, want no error but that of the budget", list, err)
	}
	if size > limits.Bytes || len(members) > limits.Members {
		t.Errorf("%d members, %d bytes", len(members), size)
	}
	return members
}

func wide(s string, mark string) string {
	b := []byte(mark)
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u), byte(u>>8))
	}
	return string(b)
}

const word = `<?xml version="1.0"?><w:wordDocument xmlns:w="x"><w:binData w:name="a.mso">Y29udGVudA==</w:binData></w:wordDocument>`

func TestOpensFlatDocuments(t *testing.T) {
	in := func(s string) string { return `<?xml version="1.0"?><x><w:binData>` + s + `</w:binData></x>` }
	for name, test := range map[string]struct {
		content string
		want    []string
	}{
		"Flat OPC": {`<?xml version="1.0"?><?mso-application progid="Word.Document"?><pkg:package xmlns:pkg="p"><pkg:part pkg:name="/a.xml"><pkg:xmlData><x/></pkg:xmlData></pkg:part>` +
			`<pkg:part pkg:name="/word/vbaProject.bin" pkg:contentType="b"><pkg:binaryData>Y29u` + "\r\n" + `dGVudA==</pkg:binaryData></pkg:part></pkg:package>`, []string{`["/word/vbaProject.bin"] content`}},
		"Word 2003":           {word, []string{`["a.mso"] content`}},
		"no declaration":      {word[strings.Index(word, "<w:"):], []string{`["a.mso"] content`}},
		"UTF-16":              {wide(word, "\xff\xfe"), []string{`["a.mso"] content`}},
		"UTF-16, no mark":     {wide(word, ""), []string{`["a.mso"] content`}},
		"OpenDocument":        {`<?xml version="1.0"?><office:document><draw:image><office:binary-data>Y29udGVudA==</office:binary-data></draw:image></office:document>`, []string{"[] content"}},
		"Visio":               {`<VisioDocument><VBProjectData>Y29udGVudA==</VBProjectData><ForeignData ForeignType='Object'>Y29udGVudA</ForeignData></VisioDocument>`, []string{"[] content", "[] content"}},
		"XDP":                 {`<xdp:xdp><pdf><document><chunk>Y29udGVudA==</chunk></document></pdf></xdp:xdp>`, []string{"[] content"}},
		"any chunk":           {`<x><chunk>Y29udGVudA==</chunk></x>`, nil},
		"any element":         {`<x><y dt:dt="bin.base64">Y29udGVudA==</y></x>`, []string{"[] content"}},
		"two":                 {`<x><binData name='a'>YQ==</binData><binData name="b">Yg</binData></x>`, []string{`["a"] a`, `["b"] b`}},
		"a name with tags":    {`<x><binData q="a>b" w:name = "&lt;&#x61;>.exe">YQ==</binData></x>`, []string{`["<a>.exe"] a`}},
		"a quote before":      {`<x><p a='>it's</p><binData>YQ==</binData></x>`, []string{"[] a"}},
		"other text":          {in("Y2-9u\x01dG_Vu dA=="), []string{"[] content"}},
		"padding within":      {in("Yw==b250ZW50"), []string{"[] content"}},
		"a comment":           {in("Y29<!-- abc -- <x> --->udGVudA==<?abc?>"), []string{"[] content"}},
		"CDATA":               {in("Y29<![CDATA[udGV]]>udA=="), []string{"[] content"}},
		"references":          {in("Y2&#57;u&#x64;G&#0000000000086;udA&equals;&foo;="), []string{"[] content"}},
		"a reference, no end": {in("Y29udGVudA==&" + strings.Repeat("#", 100)), []string{"[] content"}},
		"no end":              {`<x><binData>Y29udGVudA==`, []string{"[] content"}},
		"no content":          {`<x><binData name="a"/><binData name="b"></binData></x>`, []string{`["b"] `}},
		"a long way":          {"<x>" + strings.Repeat("text ", 20_000) + strings.Repeat("<y>", 1000) + `<binData>YQ==</binData>`, []string{"[] a"}},
		"a tag without end":   {"<x " + strings.Repeat("y", 2*maxTag) + `<binData>YQ==</binData>`, []string{"[] a"}},
		"zeros":               {"<x>" + strings.Repeat("\x00", 200*window) + `<binData>YQ==</binData>`, []string{"[] a"}},
		"no document":         {"text <binData>YQ==</binData>", nil},
		"nothing in it":       {"<html><p>hello</p></html>", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := expand(t, test.content); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestFlatDocumentsKeepTheirContract(t *testing.T) { scannertest.Run(t, Scanner{}) }

// FuzzFlatXML holds every document to the contract of Expand; what is in one comes out.
func FuzzFlatXML(f *testing.F) {
	f.Add(word, "content")
	f.Add("<x><binData>Y&#57;<!-- --><![CDATA[YQ]]></binData><part name='b'/><binary-data", "x")
	f.Fuzz(func(t *testing.T, document, content string) {
		expand(t, document)
		expand(t, "<binData>"+document)
		if len(content) > 16<<10 {
			return
		}
		got := expand(t, `<x><pkg:part name="a"><binaryData>`+base64.StdEncoding.EncodeToString([]byte(content))+`</binaryData></pkg:part></x>`)
		if want := fmt.Sprintf("%q %s", []string{"a"}, content); len(got) != 1 || got[0] != want {
			t.Errorf("%q gave %q", content, got)
		}
	})
}
