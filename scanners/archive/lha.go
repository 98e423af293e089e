package archive

import (
	"encoding/binary"
	"io"
	"strings"
	"unicode/utf16"

	"rastel/scanners/archive/lzh"
)

const (
	// maxLHAHeader is how long the headers of one file may be, all together.
	maxLHAHeader = 1 << 20
	// The types of headers behind the first.
	lhaFileName, lhaDirectory        = 0x01, 0x02
	lhaLargeSizes                    = 0x42
	lhaUnicodeName, lhaUnicodeDir    = 0x44, 0x45
	lhaPrefixLen, lhaLevel, lhaNames = 2, 20, 21
)

// lhaMethods are those that are opened; "" is stored.
var lhaMethods = map[string]lzh.Method{"-lh1-": lzh.LH1, "-lh4-": lzh.LH4, "-lh5-": lzh.LH5, "-lh6-": lzh.LH6, "-lh7-": lzh.LH7}

// An lhaEntry is what the headers of one file say.
type lhaEntry struct {
	method       string
	packed, size int64
	crc          uint16
	names        nameSet
	dirs         nameSet
	data         int64
}

// openLHA opens an archive of LHA, with headers of level 0 to 3.
func openLHA(o *opening) error {
	for off := int64(0); off < o.p.Size; {
		if end, err := o.bytesAt(off, 1); err != nil || end[0] == 0 {
			if err != nil {
				return o.failed(o.p, err)
			}
			return o.trailer(off + 1)
		}
		e, err := o.lhaEntry(off)
		if err != nil {
			return o.failed(o.p, err)
		}
		if err := o.lhaMember(e); err != nil || o.tooDamaged() {
			return err
		}
		off = e.data + e.packed
	}
	return nil // without a mark of the end, which programs do not need
}

func (o *opening) lhaMember(e *lhaEntry) error {
	names := e.names
	for _, dir := range e.dirs {
		for _, n := range e.names {
			names.add(dir + "/" + n)
		}
	}
	if e.method == "-lhd-" {
		return o.passed()
	}
	in := o.input(e.data, min(e.packed, max(o.p.Size-e.data, 0)))
	var r io.Reader
	switch method, ok := lhaMethods[e.method]; {
	case ok:
		r = lzh.New(in, method, e.size)
	case e.method == "-lh0-" || e.method == "-lz4-":
		r = in
	default:
		return o.closed(names, unsupported, "method "+printable(e.method))
	}
	_, err := o.member(names, &crc16Reader{r: r, size: e.size, want: e.crc})
	return err
}

// printable keeps what a message may hold of a word that the sender wrote.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

// lhaEntry reads the headers at off.
func (o *opening) lhaEntry(off int64) (*lhaEntry, error) {
	b, err := o.bytesAt(off, lhaNames+1)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(string(b[lhaPrefixLen:]), "-l") && !strings.HasPrefix(string(b[lhaPrefixLen:]), "-p") {
		return nil, errCorrupt
	}
	e := &lhaEntry{
		method: string(b[lhaPrefixLen : lhaPrefixLen+5]),
		packed: int64(binary.LittleEndian.Uint32(b[7:])), size: int64(binary.LittleEndian.Uint32(b[11:])),
	}
	switch b[lhaLevel] {
	case 0, 1:
		return e, o.lhaOld(e, off, b)
	case 2:
		if b, err = o.bytesAt(off, 24); err != nil {
			return nil, err
		}
		e.crc = binary.LittleEndian.Uint16(b[21:])
		e.data = off + int64(binary.LittleEndian.Uint16(b))
		return e, o.lhaExtensions(e, off+24, 2, e.data)
	case 3:
		if b, err = o.bytesAt(off, 32); err != nil {
			return nil, err
		}
		e.crc = binary.LittleEndian.Uint16(b[21:])
		e.data = off + int64(binary.LittleEndian.Uint32(b[24:]))
		return e, o.lhaExtensions(e, off+28, 4, e.data)
	}
	return nil, errUnsupported
}

// lhaOld reads a header of level 0 or 1, whose length has one byte.
func (o *opening) lhaOld(e *lhaEntry, off int64, b []byte) error {
	size, n := int64(b[0])+2, int64(b[lhaNames])
	if lhaNames+1+n+2 > size {
		return errCorrupt
	}
	b, err := o.bytesAt(off, int(size))
	if err != nil {
		return err
	}
	e.addName(string(b[lhaNames+1 : lhaNames+1+n]))
	e.crc = binary.LittleEndian.Uint16(b[lhaNames+1+n:])
	e.data = off + size
	if b[lhaLevel] == 0 {
		return nil
	}
	// The other headers count as part of the content.
	start, end := off+size-2, e.data+min(e.packed, maxLHAHeader)
	if err := o.lhaExtensions(e, start, 2, end); err != nil {
		return err
	}
	return nil
}

// lhaExtensions reads the headers behind the first: the length of each stands before it, in width
// bytes. For level 1 it moves the beginning of the content behind them.
func (o *opening) lhaExtensions(e *lhaEntry, at int64, width int, end int64) error {
	if end-at > maxLHAHeader {
		return errTooMany
	}
	moves := e.data == at+int64(width)
	for {
		b, err := o.bytesAt(at, width)
		if err != nil {
			return err
		}
		n := int64(binary.LittleEndian.Uint16(b))
		if width == 4 {
			n = int64(binary.LittleEndian.Uint32(b))
		}
		at += int64(width)
		if n == 0 {
			break
		}
		if n < int64(width)+1 || at+n > end+int64(width) {
			return errCorrupt
		}
		if b, err = o.bytesAt(at, int(n)-width); err != nil {
			return err
		}
		e.extension(b[0], b[1:])
		at += n - int64(width)
	}
	if moves {
		e.packed -= at - e.data
		e.data = at
	}
	if e.packed < 0 {
		return errCorrupt
	}
	return nil
}

func (e *lhaEntry) extension(kind byte, b []byte) {
	switch kind {
	case lhaFileName:
		e.addName(string(b))
	case lhaDirectory:
		e.dirs.addRaw(strings.TrimSuffix(strings.ReplaceAll(string(b), "\xff", "/"), "/"), false)
	case lhaUnicodeName:
		e.names.add(littleUTF16(b))
	case lhaUnicodeDir:
		e.dirs.add(strings.TrimSuffix(strings.ReplaceAll(littleUTF16(b), "\uffff", "/"), "/"))
	case lhaLargeSizes:
		if len(b) >= 16 {
			e.packed, e.size = int64(binary.LittleEndian.Uint64(b)&(1<<62-1)), int64(binary.LittleEndian.Uint64(b[8:])&(1<<62-1))
		}
	}
}

// addName adds a name; on the Amiga a comment follows behind a zero.
func (e *lhaEntry) addName(raw string) { e.names.addRaw(strings.ReplaceAll(raw, "\xff", "/"), false) }

func littleUTF16(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}

// A crc16Reader compares size and checksum (CRC-16 of IBM) once it has come to the end.
type crc16Reader struct {
	r       io.Reader
	n, size int64
	crc     uint16
	want    uint16
}

func (c *crc16Reader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	for _, b := range p[:n] {
		c.crc = c.crc>>8 ^ crc16Table[byte(c.crc)^b]
	}
	c.n += int64(n)
	if err == io.EOF && (c.n != c.size || c.crc != c.want) {
		err = errChecksum
	}
	return n, err
}

var crc16Table = func() (t [256]uint16) {
	for i := range t {
		crc := uint16(i)
		for range 8 {
			if crc&1 != 0 {
				crc = crc>>1 ^ 0xa001
			} else {
				crc >>= 1
			}
		}
		t[i] = crc
	}
	return t
}()
