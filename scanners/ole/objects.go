package ole

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"rastel/scanners/office"
)

// Classes of objects, as files have them (MS-DTYP 2.3.4.2).
var (
	classEquation   = [16]byte{0x02, 0xce, 0x02, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46}
	classMathType   = [16]byte{0x03, 0xce, 0x02, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46}
	classEquation2  = [16]byte{0x00, 0x17, 0x02, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46}
	classURLMoniker = [16]byte{0xe0, 0xc9, 0xea, 0x79, 0xf9, 0xba, 0xce, 0x11, 0x8c, 0x82, 0x00, 0xaa, 0x00, 0x4b, 0xa9, 0x0b}
	classComposite  = [16]byte{0x09, 0x03, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46}
	classNewMoniker = [16]byte{0xc6, 0xaf, 0xab, 0xec, 0x19, 0x7f, 0xd2, 0x11, 0x97, 0x8e, 0, 0, 0xf8, 0x75, 0x7e, 0x2a}
	classScript     = [16]byte{0xd3, 0x0b, 0x29, 0x06, 0xaa, 0x48, 0xd2, 0x11, 0x84, 0x32, 0, 0x60, 0x08, 0xc3, 0xfb, 0xfc}
)

// classString is a class as the registry has it.
func classString(c [16]byte) string {
	return fmt.Sprintf("{%08X-%04X-%04X-%X-%X}", binary.LittleEndian.Uint32(c[:]), binary.LittleEndian.Uint16(c[4:]), binary.LittleEndian.Uint16(c[6:]), c[8:10], c[10:])
}

// object tells what a storage is, if that matters: a formula, a control, or a document of Word with a
// template.
func (f *file) object(n *node) {
	if main := n.find("WordDocument"); main != nil && !main.storage {
		f.template(n, main)
	}
	native := n.find("Equation Native")
	if native == nil && (n.class == classEquation || n.class == classEquation2 || n.class == classMathType) {
		native = n.find("\x01Ole10Native")
	}
	switch {
	case native != nil && !native.storage:
		s, _ := f.c.section(native) // that sectors are missing is told where the stream is read
		f.equation(s)
	case n.find("\x03OCXNAME") != nil || n.find("\x03OCXDATA") != nil:
		f.report(office.ActiveX, "the control "+classString(n.class))
	}
}

const (
	// headOfEquation is how much of a formula is looked at: what overflows comes first.
	headOfEquation = 4 << 10
	// maxFontName is how long the name of a font may be. The editor has room for 32 bytes.
	maxFontName = 40
	recordFont  = 8 // of MTEF: typeface, style, name that ends in a zero
)

// equation tells of a formula (MTEF 3), and whether it has the name of a font that is too long. All
// others have zeros in them every few bytes.
func (o *output) equation(s *io.SectionReader) {
	o.report(office.Equation, "a formula for the equation editor")
	b := make([]byte, min(headOfEquation, s.Size()))
	n, _ := s.ReadAt(b, 0)
	b = b[:n]
	for i := 0; i+3 < len(b); i++ {
		if b[i] != recordFont {
			continue
		}
		if end := bytes.IndexByte(b[i+3:], 0); end > maxFontName {
			o.report(office.EquationExploit, "a font whose name is longer than the equation editor has room for")
			return
		}
	}
}

// maxLink is how much of a stream \1Ole is looked at.
const maxLink = 64 << 10

// link looks at where a linked object is (MS-OLEDS 2.3.3): Windows loads what a moniker of these classes
// names when the link is updated, and runs it if it is a script (CVE-2017-0199, CVE-2017-8570).
func (f *file) link(n *node) error {
	b, err := io.ReadAll(io.LimitReader(f.read(f.c.content(n)), maxLink))
	if err != nil && isFatal(f.ctx, err) {
		return err
	}
	switch at := bytes.Index(b, classURLMoniker[:]); {
	case at >= 0:
		f.report(office.RemoteObject, "a link to "+office.Quoted(wideText(b[min(at+20, len(b)):])))
	case bytes.Contains(b, classScript[:]), bytes.Contains(b, classNewMoniker[:]), bytes.Contains(b, classComposite[:]) && bytes.Contains(b, []byte("s\x00c\x00t\x00")):
		f.report(office.RemoteObject, "a link to a script")
	}
	return nil
}

// wideText is the text in UTF-16 that b begins with, to its zero.
func wideText(b []byte) string {
	for i := 0; i+1 < len(b); i += 2 {
		if b[i] == 0 && b[i+1] == 0 {
			b = b[:i]
		}
	}
	return utf16String(b)
}

// maxCode is how much of the code of a field is looked at.
const maxCode = 512

// Where a document of Word says where its template is: among the texts that are associated with it, as the
// second of them (MS-DOC 2.5.6 and 2.9.272).
const (
	fibFlags     = 0x0a
	fibTable1    = 0x0200
	fibAssoc     = 0x9a + 32*8
	assocDot     = 1
	maxAssoc     = 64 << 10
	assocHeader  = 6
	assocUnicode = 0xffff
)

// template looks at where the template of a document is; n is its main stream, in a storage.
func (f *file) template(storage, n *node) {
	main, _ := f.c.section(n)
	var fib [fibAssoc + 8]byte
	if k, _ := main.ReadAt(fib[:], 0); k < len(fib) {
		return
	}
	name := "0Table"
	if binary.LittleEndian.Uint16(fib[fibFlags:])&fibTable1 != 0 {
		name = "1Table"
	}
	table := storage.find(name)
	if table == nil || table.storage {
		return
	}
	s, _ := f.c.section(table)
	b := make([]byte, min(int64(binary.LittleEndian.Uint32(fib[fibAssoc+4:])), maxAssoc))
	k, _ := s.ReadAt(b, int64(binary.LittleEndian.Uint32(fib[fibAssoc:])))
	if b = b[:k]; len(b) < assocHeader || binary.LittleEndian.Uint16(b) != assocUnicode {
		return
	}
	b = b[assocHeader:]
	for i := 0; len(b) >= 2; i++ {
		n := min(int(binary.LittleEndian.Uint16(b))*2, len(b)-2)
		if i == assocDot {
			if told, remote := office.PlaceOfTemplate(utf16String(b[2 : 2+n])); remote {
				f.report(office.RemoteTemplate, told)
			}
			return
		}
		b = b[2+n:]
	}
}

// fields looks for fields of Word that talk to other programs: the code of one begins behind a character
// 0x13 (MS-DOC 2.8.25), in text of one byte or two a character.
func (f *file) fields(n *node) error {
	s, _ := f.c.section(n)
	return f.search(s, []byte{0x13}, func(at int64) error {
		b := make([]byte, maxCode)
		k, _ := s.ReadAt(b, at+1)
		b = b[:k]
		wide := len(b) > 0 && b[0] == 0
		if wide {
			b = b[1:]
			if i := bytes.Index(b, []byte{0x14, 0}); i >= 0 {
				b = b[:i]
			}
			b = []byte(utf16String(b))
		}
		if i := bytes.IndexAny(b, "\x13\x14\x15\x00"); i >= 0 {
			b = b[:i]
		}
		if command, ok := office.DDECode(string(b)); ok {
			f.report(office.DDE, "a field "+command)
		}
		return nil
	})
}
