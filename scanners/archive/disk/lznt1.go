package disk

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
)

// memory is a file whose content is here.
func memory(names []string, b []byte) *File {
	return &File{Names: names, Size: int64(len(b)), r: bytes.NewReader(b)}
}

// zerosFrom are extents of size bytes, of which those from a place on are zeros.
func (e extents) zerosFrom(from, size int64) (out extents) {
	left := from
	for _, x := range e {
		out.add(x.off, min(x.n, left))
		left -= min(x.n, left)
	}
	out.add(-1, size-from)
	return out
}

// A lznt1Reader reads a file that NTFS packed, unit by unit: a unit that has all its clusters is not
// packed, one that has none is zeros.
type lznt1Reader struct {
	vol  volume
	ext  extents
	unit int64
	left int64
	b    []byte // what is unpacked and not read
}

func (r *lznt1Reader) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, io.EOF
	}
	if len(r.b) == 0 {
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p[:min(int64(len(p)), r.left)], r.b)
	r.b, r.left = r.b[n:], r.left-int64(n)
	return n, nil
}

// next unpacks a unit.
func (r *lznt1Reader) next() error {
	var here extents
	stored, total := int64(0), int64(0)
	for total < r.unit && len(r.ext) > 0 {
		x := &r.ext[0]
		n := min(x.n, r.unit-total)
		if x.off >= 0 {
			here.add(x.off, n)
			stored += n
			x.off += n
		}
		total += n
		if x.n -= n; x.n == 0 {
			r.ext = r.ext[1:]
		}
	}
	if total == 0 {
		return damagedf("a file ends before its size")
	}
	b, err := here.read(r.vol, 0, stored)
	if err != nil {
		return err
	}
	switch {
	case stored == 0:
		b = make([]byte, r.unit)
	case stored < r.unit && stored < total:
		if b, err = lznt1(b, int(r.unit)); err != nil {
			return err
		}
		b = slices.Concat(b, make([]byte, r.unit-int64(len(b))))
	}
	r.b = b
	return nil
}

// lznt1 unpacks blocks of 4096 bytes (MS-XCA 2.5) until size bytes are there.
func lznt1(in []byte, size int) (out []byte, err error) {
	for len(in) >= 2 && len(out) < size {
		h := binary.LittleEndian.Uint16(in)
		if h == 0 {
			break
		}
		n := int(h&0xfff) + 1
		if n+2 > len(in) {
			return nil, damagedf("a packed file of NTFS")
		}
		block := in[2 : 2+n]
		in = in[2+n:]
		if h&0x8000 == 0 {
			out = append(out, block...)
		} else if out, err = lznt1Block(out, block); err != nil {
			return nil, err
		}
		// A block that is not the last gives 4096 bytes.
		if rest := len(out) % 4096; rest != 0 && len(in) >= 2 && binary.LittleEndian.Uint16(in) != 0 {
			out = append(out, make([]byte, 4096-rest)...)
		}
	}
	return out[:min(len(out), size)], nil
}

// lznt1Block appends what one block unpacks to. How many bits of a copy are its length depends on
// how much of the block is there.
func lznt1Block(out, b []byte) ([]byte, error) {
	start := len(out)
	for len(b) > 0 {
		flags := b[0]
		b = b[1:]
		for bit := 0; bit < 8 && len(b) > 0; bit++ {
			if flags>>bit&1 == 0 {
				out, b = append(out, b[0]), b[1:]
				continue
			}
			if len(b) < 2 {
				return nil, damagedf("a packed file of NTFS")
			}
			c := int(binary.LittleEndian.Uint16(b))
			b = b[2:]
			bits := 12
			for n := len(out) - start - 1; n >= 16; n >>= 1 {
				bits--
			}
			far, n := c>>bits+1, c&(1<<bits-1)+3
			if far > len(out)-start || len(out)-start+n > 4096 {
				return nil, damagedf("a packed file of NTFS")
			}
			for range n {
				out = append(out, out[len(out)-far])
			}
		}
	}
	return out, nil
}
