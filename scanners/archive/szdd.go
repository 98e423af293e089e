package archive

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"path"
	"strings"
)

// Of what COMPRESS.EXE of MS-DOS and Windows writes, and of what it wrote at first and QuickBASIC had.
const (
	szddMagic   = "SZDD\x88\xf0\x27\x33"
	szddHeader  = 14
	basicMagic  = "SZ \x88\xf0\x27\x33\xd1"
	basicHeader = 12

	lzssWindow = 4096
	// Where in the window the first byte goes.
	szddStart  = lzssWindow - 16
	basicStart = lzssWindow - 18
)

// openSZDD opens a file of COMPRESS.EXE, whose name ends in "_" for a letter that is in its header.
func openSZDD(o *opening) error {
	head := o.p.Head(szddHeader)
	var names nameSet
	header, start, letter := int64(szddHeader), szddStart, byte(0)
	if bytes.HasPrefix(head, []byte(basicMagic)) {
		header, start = basicHeader, basicStart
	}
	if int64(len(head)) < header {
		return o.failed(o.p, io.ErrUnexpectedEOF)
	}
	if header == szddHeader {
		letter = head[9]
	}
	size := int64(binary.LittleEndian.Uint32(head[header-4:]))
	for _, n := range o.p.Names {
		names.add(withLetter(n, letter))
	}
	for _, n := range o.p.Names {
		names.add(n)
	}
	r := newLZSS(o.input(header, o.p.Size-header), start)
	_, err := o.member(names, newChecked(r, size, nil))
	return err
}

// withLetter puts a letter where "_" stands for it, at the end of a name.
func withLetter(name string, letter byte) string {
	if cut, ok := strings.CutSuffix(strings.TrimRight(name, " ."), "_"); ok && letter > ' ' && letter < 0x7f {
		return cut + string(rune(letter))
	}
	return name
}

// lzss decodes literals and matches in groups of eight, with a window that is full of blanks.
type lzss struct {
	in      *bufio.Reader
	window  [lzssWindow]byte
	pos     int
	flags   int // of what is left of the group, with a bit above them
	from, n int // of a match
}

func newLZSS(in *bufio.Reader, start int) *lzss {
	l := &lzss{in: in, pos: start, flags: 1}
	for i := range l.window {
		l.window[i] = ' '
	}
	return l
}

func (l *lzss) Read(p []byte) (int, error) {
	for i := range p {
		if l.n == 0 {
			if err := l.next(); err != nil {
				return i, err
			}
		}
		p[i] = l.window[l.from]
		l.window[l.pos] = p[i]
		l.from, l.pos, l.n = (l.from+1)%lzssWindow, (l.pos+1)%lzssWindow, l.n-1
	}
	return len(p), nil
}

// next reads what comes next: a literal is a match with itself.
func (l *lzss) next() error {
	if l.flags == 1 {
		c, err := l.in.ReadByte()
		if err != nil {
			return err
		}
		l.flags = int(c) | 0x100
	}
	c, err := l.in.ReadByte()
	if err != nil {
		return err
	}
	literal := l.flags&1 == 1
	if l.flags >>= 1; literal {
		l.window[l.pos], l.from, l.n = c, l.pos, 1
		return nil
	}
	d, err := l.in.ReadByte()
	if err != nil {
		return err
	}
	l.from, l.n = int(c)|int(d&0xf0)<<4, int(d&0xf)+3
	return nil
}

// Of the format KWAJ, which setup programs of Microsoft had.
const (
	kwajMagic  = "KWAJ\x88\xf0\x27\xd1"
	kwajHeader = 14

	kwajStored = 0
	kwajXOR    = 1
	kwajLZSS   = 2
	kwajMSZip  = 4

	kwajHasSize = 0x01
)

// openKWAJ opens a file of that format.
func openKWAJ(o *opening) error {
	head := o.p.Head(kwajHeader)
	if len(head) < kwajHeader {
		return o.failed(o.p, io.ErrUnexpectedEOF)
	}
	method, data, flags := binary.LittleEndian.Uint16(head[8:]), int64(binary.LittleEndian.Uint16(head[10:])), binary.LittleEndian.Uint16(head[12:])
	size, names, err := o.kwajOptional(flags)
	if err != nil {
		return o.failed(o.p, err)
	}
	in := o.input(min(data, o.p.Size), o.p.Size-min(data, o.p.Size))
	var r io.Reader = in
	switch method {
	case kwajStored:
	case kwajXOR:
		r = inverted{in}
	case kwajLZSS:
		r = newLZSS(in, basicStart)
	case kwajMSZip:
		r = &kwajBlocks{in: in}
	default:
		return o.closed(names, unsupported, fmt.Sprintf("method %d of KWAJ", method))
	}
	_, err = o.member(names, newChecked(r, size, nil))
	return err
}

// kwajOptional reads what the flags say is behind the header: the size of the content, and its name.
func (o *opening) kwajOptional(flags uint16) (size int64, names nameSet, err error) {
	size = -1
	in := o.input(kwajHeader, o.p.Size-kwajHeader)
	var b [4]byte
	if flags&kwajHasSize != 0 {
		if _, err := io.ReadFull(in, b[:]); err != nil {
			return 0, nil, noEOF(err)
		}
		size = int64(binary.LittleEndian.Uint32(b[:]))
	}
	if flags&0x02 != 0 {
		if _, err := in.Discard(2); err != nil {
			return 0, nil, noEOF(err)
		}
	}
	if flags&0x04 != 0 {
		if _, err := io.ReadFull(in, b[:2]); err != nil {
			return 0, nil, noEOF(err)
		}
		if _, err := in.Discard(int(binary.LittleEndian.Uint16(b[:]))); err != nil {
			return 0, nil, noEOF(err)
		}
	}
	var name, extension string
	if flags&0x08 != 0 {
		if name, err = readName(in); err != nil {
			return 0, nil, err
		}
	}
	if flags&0x10 != 0 {
		if extension, err = readName(in); err != nil {
			return 0, nil, err
		}
		extension = "." + extension
	}
	if name+extension != "" {
		names.addRaw(name+extension, false)
	}
	for _, n := range o.p.Names {
		if extension != "" {
			names.add(strings.TrimSuffix(n, path.Ext(n)) + extension)
		}
		names.add(n)
	}
	return size, names, nil
}

// inverted reads with all bits inverted.
type inverted struct{ r io.Reader }

func (v inverted) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	for i := range p[:n] {
		p[i] ^= 0xff
	}
	return n, err
}

// kwajBlocks reads blocks of MSZIP, each with its length before it, until one of none.
type kwajBlocks struct {
	in      *bufio.Reader
	inflate io.ReadCloser
	history []byte
	out     []byte
}

func (k *kwajBlocks) Read(p []byte) (int, error) {
	if len(k.out) == 0 {
		if err := k.block(); err != nil {
			return 0, err
		}
	}
	n := copy(p, k.out)
	k.out = k.out[n:]
	return n, nil
}

func (k *kwajBlocks) block() error {
	var head [2]byte
	if _, err := io.ReadFull(k.in, head[:]); err != nil {
		return noEOF(err)
	}
	n := int(binary.LittleEndian.Uint16(head[:]))
	if n == 0 {
		return io.EOF
	}
	packed := make([]byte, n)
	if _, err := io.ReadFull(k.in, packed); err != nil {
		return noEOF(err)
	}
	if !bytes.HasPrefix(packed, []byte("CK")) {
		return errCorrupt
	}
	if r := bytes.NewReader(packed[2:]); k.inflate == nil {
		k.inflate = flate.NewReaderDict(r, k.history)
	} else if err := k.inflate.(flate.Resetter).Reset(r, k.history); err != nil {
		return err
	}
	out, err := io.ReadAll(io.LimitReader(k.inflate, cabBlock))
	if err != nil {
		return noEOF(err)
	}
	k.history, k.out = out, out
	return nil
}
