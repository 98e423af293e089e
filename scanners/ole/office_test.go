package ole

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"rastel/sanitize/eml"
	"rastel/scanners"
	"rastel/scanners/office"
)

// withoutOffice are the findings that do not tell what a document does, which tests of their own ask for.
func withoutOffice(t testing.TB, list []eml.Finding) (out []eml.Finding) {
	t.Helper()
	for _, f := range list {
		if !strings.HasPrefix(f.Check, "office/") {
			out = append(out, f)
		} else if f.Unexamined != (f.Check == office.MacroHidden) || f.Part == nil || f.Detail == "" {
			t.Errorf("finding %+v", f)
		}
	}
	return out
}

// does is what is said that a document does: "check: detail" each, sorted.
func does(t *testing.T, e scanners.Expander, content []byte, name string) []string {
	t.Helper()
	var out []string
	list, err := e.Expand(t.Context(), part(t, content, name), scanners.NewBudget(scanners.BudgetLimits{}, eml.SpoolOptions{}), func(m *eml.Part) error {
		m.Release()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if f.Check != office.MacroHash { // see TestHashOfMacros
			out = append(out, f.Check+": "+f.Detail)
		}
	}
	slices.Sort(out)
	return out
}

// biffRecord is a record of a workbook.
func biffRecord(kind uint16, data string) string {
	b := binary.LittleEndian.AppendUint16(nil, kind)
	return string(binary.LittleEndian.AppendUint16(b, uint16(len(data)))) + data
}

func sheet(name string, state, kind byte) string {
	return biffRecord(0x85, "\x00\x00\x00\x00"+string([]byte{state, kind, byte(len(name)), 0})+name)
}

const bof8 = "\x00\x06\x05\x00aaaabbbbcccc"

func definedName(flags byte, name string) string {
	return biffRecord(0x18, string([]byte{flags, 0, 0, byte(len(name)), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})+name)
}

func supBook(path string) string {
	return biffRecord(0x1ae, "\x00\x00"+string([]byte{byte(len(path)), 0, 0})+path)
}

// rawClass is what a storage is, written into the entry of the directory that has that name.
func rawClass(file []byte, name string, class [16]byte) []byte {
	i := strings.Index(string(file), utf16le(name)+"\x00\x00")
	copy(file[i+80:], class[:])
	return file
}

// wordWith is a document of Word with a template.
func wordWith(template string) []byte {
	fib := make([]byte, 0x300)
	copy(fib, "\xec\xa5\xc1\x00")
	binary.LittleEndian.PutUint16(fib[0x0a:], 0x0200)
	assoc := "\xff\xff\x12\x00\x00\x00\x00\x00" + string([]byte{byte(len(template)), 0}) + utf16le(template) + "\x00\x00"
	binary.LittleEndian.PutUint32(fib[0x19a:], 5)
	binary.LittleEndian.PutUint32(fib[0x19e:], uint32(len(assoc)))
	return compoundFile(dir{"WordDocument": string(fib), "1Table": "12345" + assoc})
}

func TestSaysWhatDocumentsDo(t *testing.T) {
	list := strings.Repeat("\x02\x84a\x00", 20)
	for _, tt := range []struct {
		name    string
		content []byte
		want    []string
	}{
		{"a macro that does nothing by itself", compoundFile(dir{"VBA": macros("Module1", "Module1", "Attribute VB_Name = \"Module1\"\r\nSub Sum()\r\nx = 1\r\nEnd Sub\r\n")}),
			[]string{"office/macro: macros in Module1"}},
		{"a module without code", compoundFile(dir{"VBA": macros("Sheet1", "Sheet1", "Attribute VB_Name = \"Sheet1\"\r\n")}),
			[]string{"office/macro: macros in Sheet1, without any code"}},
		{"a macro that starts a program", compoundFile(dir{"Macros": dir{"VBA": macros("ThisDocument", "ThisDocument", "Attribute VB_Name = \"ThisDocument\"\r\nPrivate Sub Document_Open()\r\nCreateObject(\"WScript.Shell\").Run \"calc\"\r\nEnd Sub\r\n")}}),
			[]string{"office/macro-autorun: runs by itself: ThisDocument.document_open", "office/macro-suspicious: starts programs (shell); uses (createobject)", "office/macro: macros in ThisDocument"}},
		{"a macro whose source is gone", compoundFile(dir{"VBA": dir{"dir": macros("M", "M", "x")["dir"], "M": "program"}}),
			[]string{`office/macro-hidden: the module "M" has no source`, "office/macro: macros in M, without any code"}},
		{"macros of Excel 4.0", compoundFile(dir{"Workbook": biffRecord(0x809, bof8) + sheet("Sheet1", 0, 0) + sheet("Macro1", 2, 1) + definedName(0x21, "\x01")}),
			[]string{`office/xlm-autorun: the name "Auto_Open" is a macro that runs by itself`, `office/xlm: the sheet of macros "Macro1", which is hidden so that Excel does not show that it is there`}},
		{"a name that begins so", compoundFile(dir{"Workbook": biffRecord(0x809, bof8) + sheet("Macro1", 0, 1) + definedName(0, "auto_open2")}),
			[]string{`office/xlm-autorun: the name "auto_open2" is a macro that runs by itself`, `office/xlm: the sheet of macros "Macro1"`}},
		{"a name without a sheet of macros", compoundFile(dir{"Workbook": biffRecord(0x809, bof8) + sheet("Sheet1", 0, 0) + definedName(0x20, "\x01")}), nil},
		{"an encrypted workbook", compoundFile(dir{"Workbook": biffRecord(0x809, bof8) + biffRecord(0x2f, "\x00\x00\x01\x00\x02\x00") + sheet("Macro1", 0, 1)}),
			[]string{"ole/encrypted: xor"}},
		{"a link to another program", compoundFile(dir{"Workbook": biffRecord(0x809, bof8) + supBook("cmd\x03/c calc") + biffRecord(0x23, "\x02\x00\x00\x00")}),
			[]string{`office/dde: a link to "cmd|/c calc"`}},
		{"a linked object", compoundFile(dir{"Workbook": biffRecord(0x809, bof8) + supBook("Word.Document\x03\x01a.doc") + biffRecord(0x23, "\x12\x00\x00\x00")}),
			[]string{`office/external: an object linked to "Word.Document|` + "\x01" + `a.doc"`}},
		{"another workbook", compoundFile(dir{"Workbook": biffRecord(0x809, bof8) + supBook("\x01a.xls")}), nil},
		{"a field of Word", compoundFile(dir{"WordDocument": "\xec\xa5\xc1\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00text\x13 DDEAUTO c:\\\\windows\\\\cmd.exe \"/k calc\" \x14x\x15"}),
			[]string{`office/dde: a field DDEAUTO "c:\\windows\\cmd.exe "/k calc""`}},
		{"a field of Word in Unicode", compoundFile(dir{"WordDocument": "\xec\xa5" + utf16le("text\x13 dde excel sheet1 \x14x\x15")}),
			[]string{`office/dde: a field DDE "excel sheet1"`}},
		{"another field of Word", compoundFile(dir{"WordDocument": "\xec\xa5" + utf16le("text\x13 HYPERLINK \"dde\" \x14x\x15") + " DDE "}), nil},
		{"a template on a server", wordWith("http://example.net/a.dotm"), []string{`office/remote-template: the template is loaded from "http://example.net/a.dotm"`}},
		{"a template on the disk", wordWith(`C:\Office\Letter.dot`), nil},
		{"a packed file", compoundFile(dir{"ObjectPool": dir{"_1": dir{"\x01Ole10Native": sized(packedFile("report.pdf", "a.exe", "p", "x"))}}}),
			[]string{`office/package: the file "report.pdf"`}},
		{"a formula", compoundFile(dir{"_1": dir{"Equation Native": "\x1c\x00\x00\x00" + strings.Repeat("\x00", 24) + "\x03\x01\x01\x03\x0a\x08\x01\x02Times New Roman\x00" + list}}),
			[]string{"office/equation: a formula for the equation editor"}},
		{"a formula that overflows", compoundFile(dir{"_1": dir{"Equation Native": "\x1c\x00\x00\x00" + strings.Repeat("\x00", 24) + "\x03\x01\x01\x03\x0a\x08\x5a\x5a" + strings.Repeat("A", 44) + "\x12\x0c\x43\x00"}}),
			[]string{"office/equation-exploit: a font whose name is longer than the equation editor has room for", "office/equation: a formula for the equation editor"}},
		{"a formula by its class", rawClass(compoundFile(dir{"_1": dir{"\x01Ole10Native": sized(list)}}), "_1", classEquation),
			[]string{"office/equation: a formula for the equation editor"}},
		{"a control", rawClass(compoundFile(dir{"_1": dir{"\x03OCXNAME": utf16le("Button1"), "contents": "x"}}), "_1", [16]byte{0x40, 0x32, 5, 0xd7, 0x69, 0xce, 0xcd, 0x11, 0xa7, 0x77, 0, 0xdd, 1, 0x14, 0x3c, 0x57}),
			[]string{"office/activex: the control {D7053240-CE69-11CD-A777-00DD01143C57}"}},
		{"a link that is loaded", compoundFile(dir{"\x01Ole": "\x01\x00\x00\x02" + string(classURLMoniker[:]) + "\x20\x00\x00\x00" + utf16le("http://example.net/a.hta\x00")}),
			[]string{`office/remote-object: a link to "http://example.net/a.hta"`}},
		{"a link to a script", compoundFile(dir{"\x01Ole": "\x01\x00\x00\x02" + string(classScript[:])}), []string{"office/remote-object: a link to a script"}},
		{"no link", compoundFile(dir{"\x01Ole": "\x01\x00\x00\x02\x00\x00\x00\x00"}), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := slices.DeleteFunc(does(t, Files{}, tt.content, "a.doc"), func(s string) bool { return tt.name == "an encrypted workbook" && strings.HasPrefix(s, "ole/") })
			want := slices.DeleteFunc(tt.want, func(s string) bool { return strings.HasPrefix(s, "ole/") })
			if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

func TestSaysWhatRTFDoes(t *testing.T) {
	equation := func(native string) string {
		data := "\x01\x05\x00\x00\x02\x00\x00\x00" + sized("Equation.3\x00") + sized("") + sized("") + sized(native)
		return fmt.Sprintf(`{\rtf1{\object\objemb{\*\objdata %x}}}`, data)
	}
	for _, tt := range []struct {
		name, content string
		want          []string
	}{
		{"a template on a server", `{\rtf1{\*\template http://example.net/a.dotm}}`, []string{`office/remote-template: the template is loaded from "http://example.net/a.dotm"`}},
		{"a template in escapes", `{\rtf1{\*\template \'68ttp:\u47?/{example.net}/a}}`, []string{`office/remote-template: the template is loaded from "http:/?/example.net/a"`}},
		{"a template on a share", `{\rtf1{\*\template \\\\192.0.2.1\\a\\b.dot}}`, []string{`office/remote-template: the template is loaded from "\\192.0.2.1\a\b.dot"`}},
		{"a template of the neighbours", `{\rtf1{\*\template \\\\server\\a\\b.dot}}`, nil},
		{"a template on the disk", `{\rtf1{\*\template C:\\Users\\ann\\Normal.dotm}}`, nil},
		{"a field", `{\rtf1{\field{\*\fldinst {\b DDE}{AUTO} cmd "/c calc"}{\fldrslt x}}}`, []string{`office/dde: a field DDEAUTO "cmd "/c calc""`}},
		{"another field", `{\rtf1{\field{\*\fldinst HYPERLINK "http://example.net/dde"}{\fldrslt DDE x}}}`, nil},
		{"a formula", equation("\x1c\x00\x00\x00\x08\x01\x02Symbol\x00"), []string{"office/equation: a formula for the equation editor"}},
		{"a formula that overflows", equation("\x1c\x00\x00\x00\x08\x01\x02" + strings.Repeat("A", 50) + "\x00"),
			[]string{"office/equation-exploit: a font whose name is longer than the equation editor has room for", "office/equation: a formula for the equation editor"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := does(t, RTF{}, []byte(tt.content), "a.rtf"); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", tt.want) {
				t.Errorf("%s\ngot  %q\nwant %q", tt.content, got, tt.want)
			}
		})
	}
}
