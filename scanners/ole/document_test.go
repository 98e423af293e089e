package ole

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rastel/sanitize/eml"
	"rastel/scanners"
	"rastel/scanners/office"
)

// packedFile is a file as the packager of Windows puts it into a document.
func packedFile(label, name, path, content string, wide ...string) string {
	b := []byte{2, 0}
	b = append(b, label+"\x00"+name+"\x00\x00\x00\x03\x00"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(path)+1))
	b = append(b, path+"\x00"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(content)))
	b = append(b, content...)
	for _, w := range wide {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(utf16le(w))/2))
		b = append(b, utf16le(w)...)
	}
	return string(b)
}

// sized is data behind its size, as the stream \1Ole10Native has it.
func sized(data string) string {
	return string(binary.LittleEndian.AppendUint32(nil, uint32(len(data)))) + data
}

// compress is source as Visual Basic may compress it: with no copies in it.
func compress(source string) string {
	out := []byte{1}
	for chunk := range slices.Chunk([]byte(source), chunkSize-512) {
		var b []byte
		for eight := range slices.Chunk(chunk, 8) {
			b = append(append(b, 0), eight...)
		}
		out = binary.LittleEndian.AppendUint16(out, uint16(len(b)-1)|0xb000)
		out = append(out, b...)
	}
	return string(out)
}

func field(id uint16, data string) string {
	b := binary.LittleEndian.AppendUint16(nil, id)
	return string(b) + sized(data)
}

// macros is a project with one module, whose source begins behind what the program made of it.
func macros(name, stream, source string) dir {
	list := field(1, "\x01\x00\x00\x00") + "\x09\x00\x04\x00\x00\x00\x01\x00\x00\x00\x02\x00" +
		field(0x19, name) + field(0x1a, stream) + field(0x32, utf16le(stream)) + field(0x31, "\x07\x00\x00\x00") + field(0x2b, "") + field(0x10, "")
	return dir{"dir": compress(list), "_VBA_PROJECT": "x", "__SRP_0": "x", stream: "program" + compress(source)}
}

// record is one of PowerPoint.
func record(version byte, kind uint16, data string) string {
	b := binary.LittleEndian.AppendUint16([]byte{version, 0}, kind)
	return string(b) + sized(data)
}

func deflated(s string) string {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	return b.String()
}

// msiName is a name as an installer has it.
func msiName(name string) string {
	var b strings.Builder
	for len(name) > 0 {
		first := strings.IndexByte(msiDigits, name[0])
		if len(name) == 1 {
			b.WriteRune(rune(msiOne + first))
			break
		}
		b.WriteRune(rune(msiPair + first + strings.IndexByte(msiDigits, name[1])<<6))
		name = name[2:]
	}
	return b.String()
}

const source = "Attribute VB_Name = \"Module1\"\r\nSub AutoOpen()\r\nEnd Sub\r\n"

func TestOpensDocuments(t *testing.T) {
	inner := string(compoundFile(dir{"\x01Ole10Native": sized(packedFile("l", "n", "p", "deep"))}))
	for name, test := range map[string]struct {
		file dir
		want []string
	}{
		"a packed file": {dir{"ObjectPool": dir{"_1": dir{"\x01Ole10Native": sized(packedFile("label.txt", "a.exe", `C:\b.exe`, "content", `C:\ü.exe`, "l.exe", "n.exe")), "\x01CompObj": "x"}}},
			[]string{`["label.txt" "a.exe" "C:\\b.exe" "C:\\ü.exe" "l.exe" "n.exe"]  content`}},
		"a packed file without Unicode": {dir{"\x01Ole10Native": sized(packedFile("l", "a.exe", "p", "content"))}, []string{`["l" "a.exe" "p"]  content`}},
		"data that is no packed file":   {dir{"\x01Ole10Native": sized("\x1c\x00\x00\x00 equation")}, []string{"[]  \x1c\x00\x00\x00 equation"}},
		"data behind a packed file":     {dir{"\x01Ole10Native": sized(packedFile("l", "a.exe", "p", "content", "w", "w", "w") + "behind")}, []string{`["l" "a.exe" "p" "w"]  content`, "[]  behind"}},
		"other objects": {dir{"Workbook": "\x09\x08\x04\x00aaaa\x0a\x00\x00\x00", "MBD1": dir{"Package": "PK", "sub": dir{"CONTENTS": "%PDF"}}},
			[]string{`["CONTENTS"]  %PDF`, `["Package"]  PK`}},
		"macros":            {dir{"Macros": dir{"VBA": macros("Module1", "Module1", source), "PROJECT": "x"}}, []string{`["Module1.vba"]  Attribute VB_Name = `, "[\"dir\"]  \x01\x00\x04\x00\x00\x00\x01\x00\x00\x00\t\x00\x04\x00\x00\x00\x01\x00\x00\x00"}},
		"macros by no name": {dir{"x": macros("Other", "Module1", source)}, []string{`["Module1.vba" "Other.vba"]  Attribute VB_Name = `, "[\"dir\"]  \x01\x00\x04\x00\x00\x00\x01\x00\x00\x00\t\x00\x04\x00\x00\x00\x01\x00\x00\x00"}},
		"macros not listed": {dir{"VBA": dir{"dir": compress("x"), "Module2": "garbage" + compress(source)}}, []string{`["Module2.vba"]  Attribute VB_Name = `, `["dir"]  x`}},
		"a form":            {dir{"UserForm1": dir{"f": "form", "o": "objects"}}, []string{`["f"]  form`, `["o"]  objects`}},
		"an installer":      {dir{msiName("Binary.a.exe"): "program", msiName("disk1.cab"): "MSCF", "\u4840" + msiName("File"): "table", "\u4840" + msiName("_StringData"): "texts"}, []string{`["Binary.a.exe" "a.exe"]  program`, `["_StringData"]  texts`, `["disk1.cab"]  MSCF`}},
		"a name of an installer beside an object": {dir{"\u3f00": "x", "\x01Ole10Native": sized(packedFile("l", "a.exe", "p", "content"))}, []string{`["0S"]  x`, `["l" "a.exe" "p"]  content`}},
		"slides": {dir{"PowerPoint Document": record(0xf, 1000, record(0, 1, "x")+record(0x10, typeObject, sized(deflated(inner)))) + record(0, typeObject, inner)},
			[]string{fmt.Sprintf("[]  %.20s", inner), fmt.Sprintf("[]  %.20s", inner)}},
		"an object without an end": {dir{"PowerPoint Document": record(0x10, typeObject, string(binary.LittleEndian.AppendUint32(nil, 6))+deflated("object")[:len(deflated("object"))-4])}, []string{"[]  object"}},
		"a damaged picture":        {dir{"Pictures": record(0, 0xf01a, strings.Repeat("x", 48)+"\x00\xfe"+deflated("metafile")[:8])}, []string{"[]  metaf"}},
		"pictures": {dir{"Pictures": record(0, 0xf01e, "0123456789abcdef\xffpicture") + record(0x10, 0xf01d, strings.Repeat("0123456789abcdef", 2)+"\xffMZ") + "\x00\x00" + record(0, 0xf01a, strings.Repeat("x", 48)+"\x00\xfe"+deflated("metafile"))},
			[]string{"[]  MZ", "[]  metafile", "[]  picture"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, findings := expand(t, compoundFile(test.file))
			slices.Sort(got)
			slices.Sort(test.want)
			if len(findings) > 0 || fmt.Sprintf("%q", got) != fmt.Sprintf("%q", test.want) {
				t.Errorf("got %q and %q, want %q", got, findings, test.want)
			}
		})
	}
}

func TestEncryptedDocuments(t *testing.T) {
	for name, test := range map[string]struct {
		file dir
		kind string
	}{
		"package":       {dir{"EncryptionInfo": "info", "EncryptedPackage": "secret"}, KindPackage},
		"in an object":  {dir{"ObjectPool": dir{"_1": dir{"EncryptionInfo": "info", "EncryptedPackage": "secret"}}}, KindPackage},
		"workbook":      {dir{"Workbook": "\x09\x08\x04\x00aaaa\x86\x00\x00\x00\x2f\x00\x02\x00\x00\x00"}, KindWorkbook},
		"word":          {dir{"WordDocument": "\xec\xa5\xc1\x00abcdef\x00\x01"}, KindWord},
		"slides":        {dir{"Current User": "\x00\x00\xf6\x0f\x14\x00\x00\x00\x14\x00\x00\x00\xdf\xc4\xd1\xf3"}, KindSlides},
		"not: workbook": {dir{"Workbook": "\x09\x08\x04\x00aaaa\x85\x00\x00\x00\x2f\x00\x02\x00\x00\x00"}, ""},
		"not: word":     {dir{"WordDocument": "\xec\xa5\xc1\x00abcdef\xff\xfe"}, ""},
		"not: slides":   {dir{"Current User": "\x00\x00\xf6\x0f\x14\x00\x00\x00\x14\x00\x00\x00\x5f\xc0\x91\xe3"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			content := compoundFile(test.file)
			if _, findings := expand(t, content); (len(findings) == 1) != (test.kind != "") {
				t.Errorf("findings %q", findings)
			}
			list, err := Encrypted(bytes.NewReader(content), int64(len(content)))
			if err != nil || test.kind == "" && len(list) > 0 || test.kind != "" && (len(list) != 1 || list[0].Kind != test.kind) {
				t.Fatalf("got %v, %v, want %q", list, err, test.kind)
			}
			if test.kind == KindPackage {
				b, _ := io.ReadAll(list[0].Stream("EncryptedPackage"))
				if string(b) != "secret" || list[0].Stream("nothing") != nil {
					t.Errorf("stream %q", b)
				}
			}
		})
	}
}

func TestDamagedDocuments(t *testing.T) {
	packed := packedFile("l", "a.exe", "p", strings.Repeat("content", 1000))
	list := string(compoundFile(dir{"VBA": macros("Module1", "Module1", source)}))
	for name, content := range map[string][]byte{
		"nothing behind the magic": []byte(magic),
		"a packed file cut off":    compoundFile(dir{"\x01Ole10Native": sized(packed[:3000])}),
		"source that is damaged":   []byte(strings.ReplaceAll(list, "\x00e VB_Nam", "\xff\xff\xffVB_Nam")),
		"a compressed object":      compoundFile(dir{"PowerPoint Document": record(0x10, typeObject, sized(deflated(packed)[:40]))}),
		"a stream without sectors": compoundFile(dir{"CONTENTS": strings.Repeat("x", 9000)})[:6000],
	} {
		t.Run(name, func(t *testing.T) {
			if _, findings := expand(t, content); len(findings) == 0 {
				t.Error("no finding")
			}
		})
	}
}

// A copy in compressed source refers to what came before, with as many bits as that needs: the example
// of MS-OVBA 3.2.3.
func TestExpandsSource(t *testing.T) {
	packed := []byte{0x01, 0x03, 0xb0, 0x02, 0x61, 0x45, 0x00}
	got, err := io.ReadAll(expandSource(bytes.NewReader(packed)))
	if want := strings.Repeat("a", 73); err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	long := strings.Repeat("a long source\r\n", 2000)
	if got, err := io.ReadAll(expandSource(strings.NewReader(compress(long)))); err != nil || string(got) != long {
		t.Errorf("got %d bytes, %v, want %d", len(got), err, len(long))
	}
}

// The corpus says what the source of some macros is, and which documents are encrypted or nothing.
func TestCorpusOfDocuments(t *testing.T) {
	const corpus = "../../../shared/corpus/office"
	b, err := os.ReadFile(filepath.Join(corpus, "expect.jsonl"))
	if err != nil {
		t.Skip("the corpus is not here")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	for {
		var e struct {
			File, VBA_Source string //nolint:revive // as the file has it
			Benign           bool
			Expect           []string
		}
		if err := d.Decode(&e); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(filepath.Join(corpus, e.File))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(content, []byte(magic)) {
			continue
		}
		t.Run(e.File, func(t *testing.T) {
			sources := 0
			list, err := Files{}.Expand(t.Context(), part(t, content, e.File), scanners.NewBudget(scanners.BudgetLimits{}, eml.SpoolOptions{}), func(m *eml.Part) error {
				defer m.Release()
				b, _ := io.ReadAll(m.Content())
				if len(m.Names) > 0 && strings.HasSuffix(m.Names[0], moduleExtension) && bytes.Contains(b, []byte("Attribute VB_")) {
					sources++
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			secret := slices.ContainsFunc(list, func(f eml.Finding) bool { return slices.Contains([]string{encrypted, known, byDefault}, f.Check) })
			macro := slices.ContainsFunc(list, func(f eml.Finding) bool { return f.Check == office.Macro })
			if macro != (sources > 0) {
				t.Errorf("findings %+v, %d modules", list, sources)
			}
			for _, f := range list {
				if strings.HasPrefix(f.Check, "office/") {
					t.Logf("%s: %s", f.Check, f.Detail)
				}
			}
			list = withoutOffice(t, list)
			if secret != slices.Contains(e.Expect, "encrypted") || len(list) > 1 || len(list) == 1 && !secret {
				t.Errorf("findings %+v", list)
			}
			if slices.Contains(e.Expect, "macro-vba") != (sources > 0) {
				t.Errorf("%d modules, expected %q", sources, e.Expect)
			}
		})
	}
}

// FuzzDocument holds every compound file to the contract of Expand; what is packed comes out.
func FuzzDocument(f *testing.F) {
	f.Add(compoundFile(dir{"VBA": macros("Module1", "Module1", source), "Pictures": record(0, 0xf01e, "0123456789abcdef\xffpicture")}))
	f.Add(compoundFile(dir{"PowerPoint Document": record(0x10, typeObject, sized(deflated("x"))), "Workbook": "\x09\x08\x04\x00aaaa\x2f\x00\x02\x00\x00\x00"}))
	f.Add([]byte(packedFile("l", "a.exe", "p", "content", "w", "w", "w")))
	f.Add([]byte(biffRecord(0x809, bof8) + sheet("Macro1", 2, 1) + definedName(0x21, "\x01") + supBook("cmd\x03/c calc")))
	f.Add([]byte(compress(source)))
	f.Fuzz(func(t *testing.T, content []byte) {
		expand(t, content)
		if _, err := Encrypted(bytes.NewReader(content), int64(len(content))); err != nil {
			t.Error(err)
		}
		if len(content) > 16<<10 {
			return
		}
		s := string(content)
		expand(t, compoundFile(dir{"\x01Ole10Native": s, "Pictures": s, "PowerPoint Document": s, "Workbook": s, "VBA": dir{"dir": s, "a": s}, "\x01Ole": s, "Equation Native": s}))
		expand(t, compoundFile(dir{"WordDocument": s, "1Table": s, "0Table": s}))
		got, findings := expand(t, compoundFile(dir{"\x01Ole10Native": sized(packedFile("l", "a.exe", "p", s))}))
		if want := fmt.Sprintf("%q %s %.20s", []string{"l", "a.exe", "p"}, "", s); len(got) != 1 || got[0] != want || len(findings) > 0 {
			t.Errorf("%q gave %q and %q", content, got, findings)
		}
		if got, err := io.ReadAll(expandSource(strings.NewReader(compress(s)))); err != nil || string(got) != s {
			t.Errorf("%q gave %q, %v", s, got, err)
		}
	})
}
