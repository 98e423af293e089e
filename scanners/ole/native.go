package ole

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"rastel/scanners/office"
)

// A packed is a file that was packed into a document (MS-OLEDS 2.3.6, and what Windows writes behind).
type packed struct {
	names []string
	start int64 // of the content
	size  int64 // of it, as it says
	end   int64 // of all of it

	embedded bool // it says so, and is no link
}

const (
	// maxPackedName is how many bytes a name of a packed file may have: Windows has paths of 32 767
	// characters.
	maxPackedName = 64 << 10
	// keptName is how many bytes of a name are kept, from its end.
	keptName = 4 << 10
)

// native yields the file that is packed in a stream \1Ole10Native, and what is there where it is none.
func (f *file) native(n *node, names []string) error {
	s, whole := f.c.section(n)
	if !whole {
		f.damaged("the sectors of an object")
	}
	var size [4]byte
	if _, err := s.ReadAt(size[:], 0); err != nil {
		return nil //nolint:nilerr // nothing is in it, and the sectors were told of
	}
	return f.nativeData(io.NewSectionReader(s, 4, s.Size()-4), names)
}

// nativeData yields the file that is packed in the data of an object, or the data itself.
func (o *output) nativeData(s *io.SectionReader, names []string) error {
	p, ok := readPacked(o.read(io.NewSectionReader(s, 0, s.Size())))
	if !ok || p.size > s.Size()-p.start && !p.embedded {
		return o.part(names, s)
	}
	if len(p.names) == 0 {
		p.names = names
	}
	if len(p.names) > 0 {
		o.report(office.Package, "the file "+office.Quoted(p.names[0]))
	}
	left := s.Size() - p.start
	if p.size > left {
		o.report(damaged, "a packed file is cut off")
	}
	size := min(p.size, left)
	if err := o.part(p.trailer(s), io.NewSectionReader(s, p.start, size)); err != nil {
		return err
	}
	if p.end < s.Size() { // more than anybody writes
		return o.part(nil, io.NewSectionReader(s, p.end, s.Size()-p.end))
	}
	return nil
}

// part yields a piece of the part in which all that is to be read was checked to be there.
func (o *output) part(names []string, s *io.SectionReader) error {
	if s.Size() == 0 && len(names) == 0 {
		return nil
	}
	bad, err := o.member(names, "", s)
	if bad != nil {
		o.report(damaged, fmt.Sprintf("an object: %v", bad))
	}
	return err
}

// readPacked reads what comes before the content of a packed file: two labels, where it comes from,
// and its path. It reports whether that is what r has.
func readPacked(r io.Reader) (*packed, bool) {
	in := bufio.NewReader(r)
	p := &packed{}
	u16 := func() (v uint16, ok bool) {
		var b [2]byte
		_, err := io.ReadFull(in, b[:])
		p.start += 2
		return binary.LittleEndian.Uint16(b[:]), err == nil
	}
	u32 := func() (uint32, bool) {
		low, _ := u16()
		high, ok := u16()
		return uint32(high)<<16 | uint32(low), ok
	}
	text := func() bool {
		s, err := readName(in, &p.start)
		p.add(s)
		return err == nil
	}
	version, ok := u16()
	if !ok || !text() || !text() { // the label and the file name
		return nil, false
	}
	kind, _ := u32()
	p.embedded = kind == 3<<16
	n, ok := u32()
	if !ok || version != 2 && !p.embedded || n > maxPackedName {
		return nil, false
	}
	path := make([]byte, n)
	if _, err := io.ReadFull(in, path); err != nil {
		return nil, false
	}
	p.start += int64(n)
	p.add(strings.TrimRight(string(path), "\x00"))
	size, ok := u32()
	p.size = int64(size)
	return p, ok
}

// readName reads a name that ends in a zero, and counts what it reads.
func readName(in *bufio.Reader, at *int64) (string, error) {
	var name []byte
	for {
		c, err := in.ReadByte()
		if err != nil {
			return "", err
		}
		*at++
		if c == 0 {
			return string(name), nil
		}
		if len(name) == maxPackedName {
			return "", errors.New("a name without an end")
		}
		name = append(name, c)
	}
}

// add adds a name, as UTF-8 whatever it is in.
func (p *packed) add(name string) {
	name = name[max(len(name)-keptName, 0):]
	if !utf8.ValidString(name) {
		var b strings.Builder
		for i := range len(name) {
			b.WriteRune(rune(name[i]))
		}
		name = b.String()
	}
	if name != "" && !slices.Contains(p.names, name) {
		p.names = append(p.names, name)
	}
}

// trailer adds the names in Unicode that come behind the content, and finds the end of them.
func (p *packed) trailer(s *io.SectionReader) []string {
	at := p.start + p.size
	p.end = min(at, s.Size())
	for range 3 {
		var b [4]byte
		if _, err := s.ReadAt(b[:], at); err != nil {
			break
		}
		n := int64(binary.LittleEndian.Uint32(b[:])) * 2
		if n > maxPackedName || n > s.Size()-at-4 {
			break
		}
		name := make([]byte, n)
		if _, err := s.ReadAt(name, at+4); err != nil {
			break
		}
		p.add(strings.TrimRight(utf16String(name), "\x00"))
		at += 4 + n
		p.end = at
	}
	return p.names
}

// utf16String is the text in UTF-16 that b has.
func utf16String(b []byte) string {
	units := make([]uint16, 0, len(b)/2)
	for ; len(b) >= 2; b = b[2:] {
		units = append(units, binary.LittleEndian.Uint16(b))
	}
	return string(utf16.Decode(units))
}
