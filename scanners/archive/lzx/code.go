package lzx

import "encoding/binary"

// bits reads words of 16 bits, the first byte the lower one, from the highest bit on. Behind the end
// there are zeros, see over.
type bits struct {
	src []byte
	at  int    // of the next byte in src
	buf uint64 // the next bits, from the top
	n   uint   // how many
	pad uint   // zeros behind the end that were put into buf
}

func (b *bits) fill() {
	for b.n <= 48 {
		var w uint64
		switch len(b.src) - b.at {
		case 0:
			b.pad += 16
		case 1:
			w = uint64(b.src[b.at])
			b.at++
			b.pad += 8
		default:
			w = uint64(binary.LittleEndian.Uint16(b.src[b.at:]))
			b.at += 2
		}
		b.buf |= w << (48 - b.n)
		b.n += 16
	}
}

// take gives the next n bits, at most 17.
func (b *bits) take(n uint) uint32 {
	if b.n < n {
		b.fill()
	}
	v := uint32(b.buf >> (64 - n))
	b.buf <<= n
	b.n -= n
	return v
}

// over reports whether more was taken than there is.
func (b *bits) over() bool { return b.n < b.pad }

// rest is what follows the next whole word, of which at least one bit was not taken.
func (b *bits) rest() []byte {
	drop := b.n % 16
	if drop == 0 {
		drop = 16
	}
	b.take(drop)
	if b.over() {
		return nil
	}
	return b.src[b.at-int(b.n-b.pad)/8:]
}

const (
	maxSymbols = literals + 8*maxSlots
	maxLength  = 16 // of a code word
	fastBits   = 10
)

// A code is a canonical Huffman code.
type code struct {
	fast    [1 << fastBits]uint16 // symbol and length of short words, by the bits that come
	count   [maxLength + 1]int    // words of a length
	symbols [maxSymbols]uint16    // by length
	max     int                   // the longest
}

// build takes the length of the word of each symbol, and reports whether there is such a code. A code
// that leaves words unused is one.
func (c *code) build(lens []uint8) bool {
	clear(c.count[:])
	clear(c.fast[:])
	for _, l := range lens {
		c.count[l]++
	}
	c.count[0], c.max = 0, 0
	var next [maxLength + 2]int
	room := 1 << maxLength
	for l := 1; l <= maxLength; l++ {
		next[l+1] = next[l] + c.count[l]
		if room -= c.count[l] << (maxLength - l); room < 0 {
			return false
		}
		if c.count[l] > 0 {
			c.max = l
		}
	}
	for sym, l := range lens {
		if l > 0 {
			c.symbols[next[l]] = uint16(sym)
			next[l]++
		}
	}
	c.short()
	return true
}

// short fills the table of short words.
func (c *code) short() {
	at, i := 0, 0
	for l := 1; l <= fastBits; l++ {
		for range c.count[l] {
			for n := 1 << (fastBits - l); n > 0; n-- {
				c.fast[at] = c.symbols[i]<<4 | uint16(l)
				at++
			}
			i++
		}
	}
}

// next reads a symbol; negative if what comes is no word.
func (c *code) next(b *bits) int {
	if b.n < maxLength {
		b.fill()
	}
	if e := c.fast[b.buf>>(64-fastBits)]; e != 0 {
		b.buf <<= e & 15
		b.n -= uint(e & 15)
		return int(e >> 4)
	}
	first, i := 0, 0
	for l := 1; l <= c.max; l++ {
		word := int(b.buf >> (64 - l))
		if word-first < c.count[l] {
			b.take(uint(l))
			return int(c.symbols[i+word-first])
		}
		i += c.count[l]
		first = (first + c.count[l]) << 1
	}
	return -1
}
