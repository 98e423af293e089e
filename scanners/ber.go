package scanners

import (
	"bufio"
	"errors"
	"io"
	"math"
)

// errBER is what is wrong with BER, whatever it is.
var errBER = errors.New("no valid BER")

// maxBERDepth is how many elements may lie in one another. That of OpenSSL is 30.
const maxBERDepth = 64

// maxBERLength is how many bytes a length may have; all but the last eight must be 0.
const maxBERLength = 32

// A berReader reads BER (ITU-T X.690), which DER is a part of, from its first byte to its last. It
// keeps nothing but the ends of the elements that it is in, so that no length that the sender
// claims costs memory, and no depth costs a stack.
type berReader struct {
	r    *bufio.Reader
	off  int64 // bytes read
	open []berOpen
}

// A berOpen is an element that we are in.
type berOpen struct {
	end        int64 // where it ends at the latest, from the first byte
	indefinite bool  // it ends with the octets for that (X.690 section 8.1.5)
}

// A berElement is the beginning of an element.
type berElement struct {
	class       byte // 0 universal, 2 context-specific
	tag         uint32
	constructed bool
	length      int64 // of its content; -1: indefinite
}

// Universal tags (X.680 section 8.6).
const (
	berInteger  = 2
	berOctets   = 4
	berOID      = 6
	berSequence = 16
)

func (e berElement) is(class byte, tag uint32) bool { return e.class == class && e.tag == tag }

func (e berElement) isSequence() bool { return e.is(0, berSequence) && e.constructed }

// isContext reports whether it is a constructed [tag].
func (e berElement) isContext(tag uint32) bool { return e.is(2, tag) && e.constructed }

func newBERReader(r io.Reader) *berReader { return &berReader{r: bufio.NewReaderSize(r, 4<<10)} }

// end is where the elements around us end at the latest.
func (b *berReader) end() int64 {
	if n := len(b.open); n > 0 {
		return b.open[n-1].end
	}
	return math.MaxInt64
}

// next reads the beginning of the next element. It reports false at the end of the element that we
// are in, which it leaves.
func (b *berReader) next() (berElement, bool, error) {
	n := len(b.open)
	if n > 0 && !b.open[n-1].indefinite && b.off >= b.end() {
		b.open = b.open[:n-1]
		return berElement{}, false, nil
	}
	e, err := b.header()
	switch {
	case err != nil:
		return e, false, err
	case e == berElement{}: // end of contents
		if n == 0 || !b.open[n-1].indefinite {
			return e, false, errBER
		}
		b.open = b.open[:n-1]
		return e, false, nil
	case b.off > b.end() || e.length > b.end()-b.off || e.length < 0 && !e.constructed:
		return e, false, errBER
	}
	return e, true, nil
}

// header reads identifier and length (X.690 sections 8.1.2 and 8.1.3).
func (b *berReader) header() (e berElement, err error) {
	c, err := b.byte()
	if err != nil {
		return e, err
	}
	e.class, e.constructed, e.tag = c>>6, c&0x20 != 0, uint32(c&0x1f)
	if e.tag == 0x1f {
		if e.tag, err = b.longTag(); err != nil {
			return e, err
		}
	}
	c, err = b.byte()
	switch {
	case err != nil:
		return e, err
	case c == 0x80:
		e.length = -1
		return e, nil
	case c < 0x80:
		e.length = int64(c)
		return e, nil
	case c&0x7f > maxBERLength:
		return e, errBER
	}
	for range c & 0x7f {
		c, err := b.byte()
		if err != nil {
			return e, err
		}
		if e.length > math.MaxInt64>>8 {
			return e, errBER
		}
		e.length = e.length<<8 | int64(c)
	}
	return e, nil
}

// longTag reads a tag of more than five bits; one of more than 28 is none.
func (b *berReader) longTag() (tag uint32, err error) {
	for range 4 {
		c, err := b.byte()
		if err != nil {
			return 0, err
		}
		if tag = tag<<7 | uint32(c&0x7f); c < 0x80 {
			return tag, nil
		}
	}
	return 0, errBER
}

// byte reads one byte, of which there must be one.
func (b *berReader) byte() (byte, error) {
	c, err := b.r.ReadByte()
	if err != nil {
		return 0, noEOF(err)
	}
	b.off++
	return c, nil
}

// noEOF turns the end of the input where it must not be into an error.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// enter goes into an element whose beginning was read.
func (b *berReader) enter(e berElement) error {
	if len(b.open) >= maxBERDepth {
		return errBER
	}
	o := berOpen{end: b.end(), indefinite: e.length < 0}
	if e.length >= 0 {
		o.end = b.off + e.length
	}
	b.open = append(b.open, o)
	return nil
}

// skip goes over an element whose beginning was read.
func (b *berReader) skip(e berElement) error {
	if e.length >= 0 {
		return b.discard(e.length)
	}
	around := len(b.open)
	if err := b.enter(e); err != nil {
		return err
	}
	for len(b.open) > around {
		e, ok, err := b.next()
		switch {
		case err != nil:
			return err
		case !ok:
		case e.length < 0:
			err = b.enter(e)
		default:
			err = b.discard(e.length)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *berReader) discard(n int64) error {
	for n > 0 {
		k, err := b.r.Discard(int(min(n, 1<<30)))
		b.off += int64(k)
		n -= int64(k)
		if err != nil {
			return noEOF(err)
		}
	}
	return nil
}

// maxOID is how long an object identifier may be; those that we know are shorter.
const maxOID = 64

// oid reads an object identifier: the bytes of its content, as a string.
func (b *berReader) oid() (string, error) {
	e, ok, err := b.next()
	if err != nil {
		return "", err
	}
	if !ok || !e.is(0, berOID) || e.constructed || e.length > maxOID {
		return "", errBER
	}
	id := make([]byte, e.length)
	n, err := io.ReadFull(b.r, id)
	b.off += int64(n)
	return string(id), noEOF(err)
}

// octets gives the content of an OCTET STRING whose beginning was read. It may come in pieces,
// which may come in pieces (X.690 section 8.7.3).
func (b *berReader) octets(e berElement) (io.Reader, error) {
	o := &octetReader{b: b, around: len(b.open)}
	if !e.constructed {
		o.left = e.length
		return o, nil
	}
	return o, b.enter(e)
}

// An octetReader is the content of an OCTET STRING.
type octetReader struct {
	b      *berReader
	around int   // elements around the string
	left   int64 // bytes of the present piece
}

func (o *octetReader) Read(p []byte) (int, error) {
	for o.left == 0 {
		if len(o.b.open) <= o.around {
			return 0, io.EOF
		}
		e, ok, err := o.b.next()
		switch {
		case err != nil:
			return 0, err
		case !ok:
		case !e.is(0, berOctets):
			return 0, errBER
		case !e.constructed:
			o.left = e.length
		default:
			if err := o.b.enter(e); err != nil {
				return 0, err
			}
		}
	}
	n, err := o.b.r.Read(p[:min(int64(len(p)), o.left)])
	o.left -= int64(n)
	o.b.off += int64(n)
	return n, noEOF(err)
}
