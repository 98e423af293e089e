package archive

import (
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"strings"
)

const (
	// cpioEnd is the name of the entry that ends a cpio archive.
	cpioEnd = "TRAILER!!!"
	// maxCpioName is how long a name may be; that of Linux and of GNU cpio is a page.
	maxCpioName = 64 << 10
)

// A cpioEntry is what the header of one entry says.
type cpioEntry struct {
	mode       int64
	name       string
	data, size int64 // where in the part the content is
	next       int64 // where the next header is
}

// Of the mode of an entry (POSIX pax, octet-oriented cpio header).
const (
	cpioType      = 0o170000
	cpioDirectory = 0o040000
	cpioRegular   = 0o100000
)

// openCpio opens a cpio archive in any of its formats: "new ASCII" with or without checksum (the
// Linux kernel's buffer-format), octal (POSIX), and the binary one of old in both byte orders.
// Several may follow each other, as in images of Linux for its start; most programs read the first.
func openCpio(o *opening) error {
	for off, first := int64(0), true; off < o.p.Size; first = false {
		if !first {
			o.report(o.p, ambiguous, "another cpio behind the end")
		}
		end, whole, err := o.cpioAt(off)
		if err != nil || !whole {
			return err
		}
		if off, err = o.skipZeros(end); err != nil || off >= o.p.Size {
			return err
		}
		if o.cpioHeader(off) == nil {
			return o.trailer(off)
		}
	}
	return nil
}

// cpioAt yields the entries of the archive at off, and reports whether it came to its end, and where.
func (o *opening) cpioAt(off int64) (end int64, whole bool, fatal error) {
	for {
		read := o.cpioHeader(off)
		if read == nil {
			return off, false, o.failed(o.p, errCorrupt)
		}
		e, err := read(off)
		if err != nil {
			return off, false, o.failed(o.p, err)
		}
		if e.name == cpioEnd {
			return e.next, true, nil
		}
		if err := o.cpioMember(e); err != nil || o.tooDamaged() {
			return off, false, err
		}
		if off = e.next; off > o.p.Size {
			return off, false, nil // the member was reported
		}
	}
}

// cpioMember yields one entry. Links and devices have no content of their own.
func (o *opening) cpioMember(e *cpioEntry) error {
	var names nameSet
	names.addRaw(e.name, true)
	switch e.mode & cpioType {
	case cpioDirectory:
		return o.passed()
	case cpioRegular, 0:
		_, err := o.member(names, newChecked(o.input(e.data, min(e.size, max(o.p.Size-e.data, 0))), e.size, nil))
		return err
	}
	return o.closed(names, "", "")
}

// cpioHeader gives what reads the header at off; nil if there is none.
func (o *opening) cpioHeader(off int64) func(int64) (*cpioEntry, error) {
	var magic [6]byte
	n, _ := o.src.ReadAt(magic[:], off)
	switch m := string(magic[:n]); {
	case m == "070701", m == "070702":
		return o.cpioNew
	case m == "070707":
		return o.cpioOctal
	case strings.HasPrefix(m, "\xc7\x71"):
		return func(off int64) (*cpioEntry, error) { return o.cpioBinary(off, binary.LittleEndian) }
	case strings.HasPrefix(m, "\x71\xc7"):
		return func(off int64) (*cpioEntry, error) { return o.cpioBinary(off, binary.BigEndian) }
	}
	return nil
}

// digits reads numbers of fixed length out of a header; a bad one is remembered.
type digits struct {
	b    []byte
	base int
	bad  bool
}

func (d *digits) next(n int) int64 {
	v, err := strconv.ParseUint(string(d.b[:n]), d.base, 40)
	d.b = d.b[n:]
	d.bad = d.bad || err != nil
	return int64(v)
}

func (d *digits) skip(n int) { d.b = d.b[n:] }

func (o *opening) cpioNew(off int64) (*cpioEntry, error) {
	b, err := o.bytesAt(off, 110)
	if err != nil {
		return nil, err
	}
	d := &digits{b: b, base: 16}
	d.skip(6 + 8)
	e := &cpioEntry{mode: d.next(8)}
	d.skip(4 * 8)
	e.size = d.next(8)
	d.skip(4 * 8)
	name := d.next(8)
	return o.cpioEntry(e, d.bad, off+110, name, 4, off)
}

func (o *opening) cpioOctal(off int64) (*cpioEntry, error) {
	b, err := o.bytesAt(off, 76)
	if err != nil {
		return nil, err
	}
	d := &digits{b: b, base: 8}
	d.skip(6 + 12)
	e := &cpioEntry{mode: d.next(6)}
	d.skip(24 + 11)
	name := d.next(6)
	e.size = d.next(11)
	return o.cpioEntry(e, d.bad, off+76, name, 1, off)
}

func (o *opening) cpioBinary(off int64, order binary.ByteOrder) (*cpioEntry, error) {
	b, err := o.bytesAt(off, 26)
	if err != nil {
		return nil, err
	}
	e := &cpioEntry{mode: int64(order.Uint16(b[6:])), size: int64(order.Uint16(b[22:]))<<16 | int64(order.Uint16(b[24:]))}
	return o.cpioEntry(e, false, off+26, int64(order.Uint16(b[20:])), 2, off)
}

// cpioEntry reads the name of an entry, which has n bytes from at on, and works out where its content
// and the next header are: aligned, counted from the beginning of the archive's header.
func (o *opening) cpioEntry(e *cpioEntry, bad bool, at, n, align, start int64) (*cpioEntry, error) {
	if bad || n < 1 || n > maxCpioName {
		return nil, errCorrupt
	}
	name, err := o.bytesAt(at, int(n))
	if err != nil {
		return nil, err
	}
	e.name = strings.TrimRight(string(name), "\x00")
	up := func(off int64) int64 { return start + (off-start+align-1)/align*align }
	e.data = up(at + n)
	e.next = up(e.data + e.size)
	return e, nil
}

// bytesAt reads exactly n bytes, which are few.
func (o *opening) bytesAt(off int64, n int) ([]byte, error) {
	b := make([]byte, n)
	if k, err := o.src.ReadAt(b, off); k < n {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return b, nil
}
