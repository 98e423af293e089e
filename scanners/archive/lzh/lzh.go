// Package lzh decodes what LHA and ARJ pack: LZ77 with Huffman codes in blocks (-lh4- to -lh7-, and
// methods 1 to 3 of ARJ), with an adaptive Huffman code (-lh1-), and method 4 of ARJ.
//
// Decoders take some 70 KB, give exactly the size that they are told, and fail on damage.
package lzh

import (
	"errors"
	"io"
)

// ErrCorrupt is what reading damaged input fails with, besides io.ErrUnexpectedEOF.
var ErrCorrupt = errors.New("lzh: damaged")

// A Method is a way to pack.
type Method int

const (
	LH1 Method = iota
	LH4
	LH5
	LH6
	LH7
	ARJ  // methods 1 to 3
	ARJ4 // method 4
)

// New decodes size bytes of what r has.
func New(r io.ByteReader, m Method, size int64) io.Reader {
	w := &window{bits: bitReader{r: r}, left: size}
	for i := range w.ring {
		w.ring[i] = ' ' // what packers take to stand before the beginning
	}
	switch m {
	case LH1:
		w.next = newAdaptive().next
	case ARJ4:
		w.next = nextFast
	default:
		w.next = newBlocks(m).next
	}
	return w
}

// windowSize is the largest distance of all methods.
const windowSize = 1 << 16

// A window is what was decoded last, and the reader of it.
type window struct {
	bits bitReader
	next func(w *window) error // puts at least one byte

	ring [windowSize]byte
	put  int   // where the next byte comes, modulo windowSize
	left int64 // bytes that are to come, of which
	have int   // are in the ring before put, not read yet
	err  error
}

func (w *window) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if w.have == 0 {
			switch {
			case w.err != nil:
				return n, w.err
			case w.left == 0:
				w.err = io.EOF
				continue
			}
			if w.err = w.next(w); w.err == nil {
				w.err = w.bits.err
			}
			continue
		}
		p[n] = w.ring[(w.put-w.have)&(windowSize-1)]
		n++
		w.have--
	}
	return n, nil
}

// literal appends a byte.
func (w *window) literal(c byte) {
	if w.left == 0 {
		return
	}
	w.ring[w.put] = c
	w.put = (w.put + 1) & (windowSize - 1)
	w.have++
	w.left--
}

// match appends n bytes that stand that far behind; 0 is the last byte.
func (w *window) match(distance, n int) {
	from := w.put - distance - 1
	for i := range n {
		w.literal(w.ring[(from+i)&(windowSize-1)])
	}
}

// A bitReader reads bits, the highest of a byte first. Behind the end there are zeros, of which a
// decoder may look at some.
type bitReader struct {
	r    io.ByteReader
	acc  uint64
	n    uint // bits in acc
	over int  // bytes behind the end
	err  error
}

// maxOver is how many bytes behind the end are read as zeros.
const maxOver = 4

// fill sees to it that there are n bits, at most 32.
func (b *bitReader) fill(n uint) {
	for b.n < n {
		c, err := b.r.ReadByte()
		if err != nil {
			c = 0
			if b.over++; b.over > maxOver && b.err == nil {
				b.err = err
				if err == io.EOF {
					b.err = io.ErrUnexpectedEOF
				}
			}
		}
		b.acc = b.acc<<8 | uint64(c)
		b.n += 8
	}
}

// peek gives the next n bits without taking them.
func (b *bitReader) peek(n uint) int {
	b.fill(n)
	return int(b.acc >> (b.n - n) & (1<<n - 1))
}

// take gives the next n bits.
func (b *bitReader) take(n uint) int {
	if n == 0 {
		return 0
	}
	v := b.peek(n)
	b.n -= n
	return v
}

// nextFast decodes one step of method 4 of ARJ: lengths and distances in a code of fixed form.
func nextFast(w *window) error {
	n := w.unary(0, 7)
	if n == 0 {
		w.literal(byte(w.bits.take(8)))
		return nil
	}
	w.match(w.unary(9, 13), n+2)
	return nil
}

// unary is a number whose length in bits, from least to most, comes first as a row of ones.
func (w *window) unary(least, most uint) int {
	width, base := least, 0
	for ; width < most && w.bits.take(1) == 1; width++ {
		base += 1 << width
	}
	return base + w.bits.take(width)
}
