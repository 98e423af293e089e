package archive

import (
	"bufio"
	"compress/bzip2"
	"encoding/base64"
	"encoding/binary"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const (
	xarHeader = 28
	// maxXARTable is how many bytes the table of contents may have, and maxXARDepth how many files may
	// be in one another there.
	maxXARTable = 16 << 20
	maxXARDepth = 256
	// maxXARWord is how long a number or a type is at most.
	maxXARWord = 64
)

// A xar is an archive of that format, which packages of macOS are (xar's "xarformat"): a table of
// contents in XML, and a heap.
type xar struct {
	o     *opening
	heap  int64
	path  []string   // of elements
	files []*xarFile // that are open, each in the one before
	fatal error      // for which the expansion ends
}

// A xarFile is a file or directory of the table.
type xarFile struct {
	name, kind string
	encoded    bool // the name is in base64
	data       []xarData
}

// A xarData says where in the heap a content is, and how it is packed.
type xarData struct {
	offset, length, size, style string
}

// openXAR opens an archive of xar.
func openXAR(o *opening) error {
	b, err := o.bytesAt(0, xarHeader)
	if err != nil {
		return o.failed(o.p, err)
	}
	start, n := int64(binary.BigEndian.Uint16(b[4:])), int64(binary.BigEndian.Uint64(b[8:]))
	if n < 0 || n > o.p.Size-start {
		return o.failed(o.p, io.ErrUnexpectedEOF)
	}
	x := &xar{o: o, heap: start + n}
	table, err := zlib(bufio.NewReader(io.NewSectionReader(o.src, start, n)))
	if err != nil {
		return o.failed(o.p, noEOF(err))
	}
	err = x.table(&xarTable{x: x, r: table})
	if err == nil || x.fatal != nil {
		return x.fatal
	}
	return o.failed(o.p, err)
}

// xarTable reads the table, whose size counts.
type xarTable struct {
	x *xar
	r io.Reader
	n int64
}

func (t *xarTable) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if t.n += int64(n); t.n > maxXARTable {
		return 0, errTooMany
	}
	if budget := t.x.o.b.Take(int64(n)); budget != nil {
		t.x.fatal = budget
		return 0, budget
	}
	return n, err
}

// table reads the table of contents and yields each file at its end. The error is one of the table;
// see fatal.
func (x *xar) table(r io.Reader) error {
	d := xml.NewDecoder(&decoder{r: r})
	for x.fatal == nil && !x.o.tooDamaged() {
		token, err := d.Token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch t := token.(type) {
		case xml.StartElement:
			if x.path = append(x.path, t.Name.Local); len(x.path) > 4*maxXARDepth || len(x.files) > maxXARDepth {
				return errTooMany
			}
			x.begin(t)
		case xml.EndElement:
			if t.Name.Local == "file" {
				last := len(x.files) - 1
				x.fatal = x.file(x.files[last])
				x.files = x.files[:last]
			}
			x.path = x.path[:len(x.path)-1]
		case xml.CharData:
			x.text(string(t))
		}
	}
	return nil
}

// parent is the element around the one that is being read.
func (x *xar) parent() string {
	if len(x.path) < 2 {
		return ""
	}
	return x.path[len(x.path)-2]
}

func (x *xar) begin(t xml.StartElement) {
	if t.Name.Local == "file" {
		x.files = append(x.files, &xarFile{})
	}
	if len(x.files) == 0 {
		return
	}
	f := x.files[len(x.files)-1]
	switch name := t.Name.Local; {
	case name == "name" && x.parent() == "file":
		f.name, f.encoded = "", attribute(t, "enctype") == "base64"
	case (name == "data" || name == "ea") && x.parent() == "file":
		f.data = append(f.data, xarData{})
	case name == "encoding" && len(f.data) > 0:
		f.data[len(f.data)-1].style = attribute(t, "style")
	}
}

func attribute(t xml.StartElement, name string) string {
	for _, a := range t.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// text takes what stands in an element.
func (x *xar) text(s string) {
	if len(x.files) == 0 {
		return
	}
	f := x.files[len(x.files)-1]
	element, parent := x.path[len(x.path)-1], x.parent()
	if parent == "file" {
		switch element {
		case "name":
			f.name = clip(f.name + s)
		case "type":
			f.kind = word(f.kind, s)
		}
		return
	}
	if len(f.data) == 0 || parent != "data" && parent != "ea" {
		return
	}
	switch d := &f.data[len(f.data)-1]; element {
	case "offset":
		d.offset = word(d.offset, s)
	case "length":
		d.length = word(d.length, s)
	case "size":
		d.size = word(d.size, s)
	}
}

// word adds to a word, which does not become longer than words are.
func word(s, more string) string { return s + more[:min(len(more), max(maxXARWord-len(s), 0))] }

// plainName is the name of a file without its encoding.
func (f *xarFile) plainName() string {
	if b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(f.name)); err == nil && f.encoded {
		return string(b)
	}
	return f.name
}

// file yields a file, and what else is kept with it.
func (x *xar) file(f *xarFile) error {
	path := f.plainName()
	for i := len(x.files) - 2; i >= 0 && len(path) < maxName; i-- {
		path = x.files[i].plainName() + "/" + path
	}
	var names nameSet
	names.addRaw(path, true)
	if len(f.data) == 0 {
		if strings.TrimSpace(f.kind) == "directory" {
			return x.o.passed()
		}
		return x.o.closed(names, "", "")
	}
	for _, d := range f.data {
		if err := x.member(names, d); err != nil {
			return err
		}
	}
	return nil
}

// member yields one content.
func (x *xar) member(names nameSet, d xarData) error {
	off, err := strconv.ParseUint(strings.TrimSpace(d.offset), 10, 40)
	n, lengthErr := strconv.ParseUint(strings.TrimSpace(d.length), 10, 40)
	size, sizeErr := strconv.ParseUint(strings.TrimSpace(d.size), 10, 40)
	at := x.heap + int64(off)
	if err != nil || lengthErr != nil || sizeErr != nil || at > x.o.p.Size {
		x.o.damage++
		return x.o.closed(names, damaged, "its place in the heap is none")
	}
	in := bufio.NewReader(io.NewSectionReader(x.o.src, at, min(int64(n), x.o.p.Size-at)))
	late := &lateReader{open: func() (io.Reader, error) { return x.unpacked(in, d.style) }}
	defer late.close()
	_, err = x.o.member(names, newChecked(late, int64(size), nil))
	return err
}

// unpacked reads a content by its style.
func (x *xar) unpacked(in *bufio.Reader, style string) (io.Reader, error) {
	switch strings.TrimPrefix(style, "application/") {
	case "octet-stream", "":
		return in, nil
	case "x-gzip", "zlib":
		return zlib(in)
	case "x-bzip2":
		return bzip2.NewReader(in), nil
	case "x-lzma", "x-xz":
		if head, _ := in.Peek(6); string(head) == "\xfd7zXZ\x00" {
			return x.o.xz(in)
		}
		return x.o.lzmaAlone(in)
	}
	return nil, fmt.Errorf("%w: %q in an archive of xar", errUnsupported, style)
}
