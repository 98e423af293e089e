package lzx

import "encoding/binary"

const (
	xpressSymbols  = 512
	xpressMinMatch = 3
)

// Xpress decodes one chunk of XPRESS Huffman, all of src, to dst ([MS-XCA] 2.2).
func Xpress(dst, src []byte) error {
	if len(src) < xpressSymbols/2 {
		return ErrDamaged
	}
	var lens [xpressSymbols]uint8
	for i, b := range src[:xpressSymbols/2] {
		lens[2*i], lens[2*i+1] = b&15, b>>4
	}
	var c code
	if !c.build(lens[:]) {
		return ErrDamaged
	}
	x := &xpress{bits{src: src[xpressSymbols/2:]}}
	for n := 0; n < len(dst); {
		x.words()
		sym := c.next(&x.bits)
		switch {
		case sym < 0 || x.over():
			return ErrDamaged
		case sym < literals:
			dst[n] = byte(sym)
			n++
			continue
		}
		length, offset := x.match(sym - literals)
		if offset > n || length > len(dst)-n || x.over() {
			return ErrDamaged
		}
		for ; length > 0; length-- {
			dst[n] = dst[n-offset]
			n++
		}
	}
	return nil
}

// xpress reads bits in words of 16, and whole bytes between them: a word is taken when less than one
// is left, and not before, for that says where the bytes are.
type xpress struct{ bits }

func (x *xpress) words() {
	for ; x.n < 16; x.n += 16 {
		if len(x.src)-x.at < 2 {
			x.pad += 16
			continue
		}
		x.buf |= uint64(binary.LittleEndian.Uint16(x.src[x.at:])) << (48 - x.n)
		x.at += 2
	}
}

// bytes takes n whole bytes; if they are not there, more than there is was taken.
func (x *xpress) bytes(n int) (v int) {
	if len(x.src)-x.at < n {
		x.pad += 64
		return 0
	}
	for i := range n {
		v |= int(x.src[x.at+i]) << (8 * i)
	}
	x.at += n
	return v
}

// match reads the rest of a match.
func (x *xpress) match(sym int) (length, offset int) {
	x.words()
	offset = 1<<(sym>>4) | int(x.take(uint(sym>>4)))
	if length = sym & 15; length == 15 {
		if length += x.bytes(1); length == 15+255 {
			length = x.bytes(2)
		}
	}
	return length + xpressMinMatch, offset
}
