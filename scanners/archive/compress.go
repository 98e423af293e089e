package archive

import (
	"bufio"
	"errors"
	"io"
)

// Of the format of compress (.Z): the third byte has the length of the longest code, and whether code
// 256 empties the table.
const (
	compressHeader  = 3
	compressMaxBits = 16
	compressMinBits = 9
	compressClear   = 256
)

func openCompress(o *opening) error {
	_, err := o.stream(innerNames(o.p.Names), newCompress)
	return err
}

// A compressReader decodes what the program compress has packed (LZW with codes of a growing length).
// It takes some 400 KB.
type compressReader struct {
	in      *bufio.Reader
	maxBits uint
	block   bool // code 256 empties the table

	prefix [1 << compressMaxBits]uint16
	suffix [1 << compressMaxBits]byte
	free   int // the next entry of the table
	bits   uint
	old    int // the last code; -1 before the first
	first  byte

	group    [compressMaxBits]byte // codes come in groups of eight
	have, at uint                  // bits of the group that may begin a code, and where the next begins
	stack    []byte                // decoded, in reverse
}

var errCompress = errors.New("no code of compress")

func newCompress(in *bufio.Reader) (io.Reader, error) {
	var head [compressHeader]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, err
	}
	c := &compressReader{in: in, maxBits: uint(head[2] & 0x1f), block: head[2]&0x80 != 0, bits: compressMinBits, old: -1}
	if c.maxBits < compressMinBits || c.maxBits > compressMaxBits {
		return nil, errUnsupported
	}
	for i := range 256 {
		c.suffix[i] = byte(i)
	}
	c.free = 256
	if c.block {
		c.free++
	}
	return c, nil
}

func (c *compressReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(c.stack) == 0 {
			if err := c.decode(); err != nil {
				if n > 0 && err == io.EOF {
					return n, nil
				}
				return n, err
			}
		}
		for len(c.stack) > 0 && n < len(p) {
			p[n] = c.stack[len(c.stack)-1]
			c.stack = c.stack[:len(c.stack)-1]
			n++
		}
	}
	return n, nil
}

// decode puts what the next code stands for on the stack.
func (c *compressReader) decode() error {
	code, err := c.code()
	if err == nil && code == compressClear && c.block && c.old >= 0 {
		c.free, c.bits, c.have = compressClear, compressMinBits, 0
		code, err = c.code()
	}
	if err != nil {
		return err
	}
	if c.old < 0 {
		if code > 255 {
			return errCompress
		}
		c.old, c.first = code, byte(code)
		c.stack = append(c.stack, c.first)
		return nil
	}
	now := code
	if code >= c.free {
		if code > c.free {
			return errCompress
		}
		c.stack = append(c.stack, c.first)
		code = c.old
	}
	for ; code > 255; code = int(c.prefix[code]) {
		c.stack = append(c.stack, c.suffix[code])
	}
	c.first = byte(code)
	c.stack = append(c.stack, c.first)
	if c.free < 1<<c.maxBits {
		c.prefix[c.free], c.suffix[c.free] = uint16(c.old), c.first
		c.free++
	}
	c.old = now
	return nil
}

// code reads the next code. When codes become longer, or short again, what is left of their group of
// eight is passed over, as by the program.
func (c *compressReader) code() (int, error) {
	if c.free > 1<<c.bits-1 && c.bits < c.maxBits {
		c.bits++
		c.have = 0
	}
	if c.at >= c.have {
		n, err := io.ReadFull(c.in, c.group[:c.bits])
		if n == 0 {
			return 0, err
		}
		if uint(n)*8 < c.bits {
			return 0, io.EOF // bits that fill up the last byte
		}
		c.at, c.have = 0, uint(n)*8-c.bits+1
	}
	v, i := uint32(0), c.at/8
	for k := uint(0); k < 3 && i+k < uint(len(c.group)); k++ {
		v |= uint32(c.group[i+k]) << (8 * k)
	}
	v = v >> (c.at % 8) & (1<<c.bits - 1)
	c.at += c.bits
	return int(v), nil
}
