// Package lzx decodes LZX as cabinets, help files (CHM) and images of Windows (WIM) have it, and
// XPRESS Huffman, which images have too. It knows nothing of mail.
//
// What is decoded is hostile: no frame gives more than was asked for, nothing is allocated but the
// window, and every loop ends with the input or the output.
package lzx

import (
	"encoding/binary"
	"errors"
)

// ErrDamaged is the error for all that is not LZX or XPRESS.
var ErrDamaged = errors.New("damaged")

const (
	// MinWindow and MaxWindow are how large a window may be: a power of two with that exponent.
	MinWindow, MaxWindow = 15, 21
	// Frame is how many bytes each frame of a stream has but the last; the input begins anew with each.
	Frame = 32 << 10

	literals      = 256
	lengthSymbols = 249
	minMatch      = 2
	// maxE8 is up to where in a stream the targets of calls are translated.
	maxE8 = 1 << 30
	// wimE8 is what images have for the size of the file, always.
	wimE8 = 12_000_000
)

// Kinds of blocks.
const (
	verbatim     = 1
	aligned      = 2
	uncompressed = 3
)

// slots is how many position slots a window has, by its exponent less MinWindow ([MS-PATCH] 2.3).
var slots = [...]int{30, 32, 34, 36, 38, 42, 50}

const maxSlots = 50

// position gives the first offset of a slot and how many bits follow ([MS-PATCH] 2.6).
func position(slot int) (base uint32, extra uint) {
	switch {
	case slot < 4:
		return uint32(slot), 0
	case slot < 36:
		extra = uint(slot/2 - 1)
		return uint32(2+slot%2) << extra, extra
	}
	return uint32(slot-34) << 17, 17
}

// A Decoder decodes one stream of LZX, frame after frame. One goroutine uses it.
type Decoder struct {
	window []byte // a ring
	pos    int    // in the window
	have   int    // bytes of the stream in the window
	total  int64  // bytes since the beginning of the stream
	wim    bool
	mains  int // symbols of the main tree

	in      bits
	begun   bool
	e8      int32 // the size of the file for the targets of calls; 0 if they are as they were
	kind    int   // of the block
	left    int   // bytes of the block
	last    bool  // a match may go on behind the end
	odd     bool  // a byte of padding follows the block
	recent  [3]uint32
	mainLen [literals + 8*maxSlots]uint8
	lenLen  [lengthSymbols]uint8

	main, length, align, pre code
}

// New makes a Decoder with a window of 1<<window bytes, which it allocates; the exponent must be
// between MinWindow and MaxWindow.
func New(window int) *Decoder {
	d := &Decoder{window: make([]byte, 1<<window), mains: literals + 8*slots[window-MinWindow]}
	d.Reset()
	return d
}

// NewWIM makes a Decoder for the chunks of an image, of at most 1<<window bytes. Each chunk is a
// stream of one frame.
func NewWIM(window int) *Decoder {
	d := New(window)
	d.wim = true
	return d
}

// Reset begins a new stream.
func (d *Decoder) Reset() {
	d.pos, d.have, d.total, d.begun, d.left, d.odd, d.e8 = 0, 0, 0, false, 0, false, 0
	d.recent = [3]uint32{1, 1, 1}
	clear(d.mainLen[:])
	clear(d.lenLen[:])
}

// DecodeLast decodes the last frame, which may go on behind the end of dst: help files fill it up with
// what is not told.
func (d *Decoder) DecodeLast(dst, src []byte) error {
	d.last = true
	err := d.Decode(dst, src)
	d.last = false
	return err
}

// Decode decodes the next frame, all of src, to dst, which is no longer than the window. After an
// error, dst holds nothing and the stream cannot be gone on with.
func (d *Decoder) Decode(dst, src []byte) error {
	if len(dst) > len(d.window) {
		return ErrDamaged
	}
	d.in = bits{src: src}
	d.begin()
	start := d.pos
	for n := len(dst); n > 0; {
		if d.left == 0 {
			if err := d.block(); err != nil {
				return err
			}
			continue
		}
		run := min(n, d.left)
		if err := d.run(run); err != nil {
			return err
		}
		n -= run
		d.have = min(d.have+run, len(d.window))
		d.left -= run
	}
	k := copy(dst, d.window[start:])
	copy(dst[k:], d.window)
	if d.e8 != 0 && d.total < maxE8 {
		translate(dst, int32(d.total), d.e8)
	}
	d.total += int64(len(dst))
	return nil
}

// begin reads what is before the first block ([MS-PATCH] 2.2).
func (d *Decoder) begin() {
	if d.begun {
		return
	}
	d.begun = true
	switch {
	case d.wim:
		d.e8 = wimE8
	case d.in.take(1) == 1:
		high := d.in.take(16)
		d.e8 = int32(high<<16 | d.in.take(16))
	}
}

// block reads the header of a block.
func (d *Decoder) block() error {
	if d.odd {
		d.in.src, d.odd = d.in.src[min(1, len(d.in.src)):], false // at the beginning of a frame
	}
	d.kind = int(d.in.take(3))
	d.left = d.blockSize()
	if d.in.over() || d.left == 0 {
		return ErrDamaged
	}
	switch d.kind {
	case verbatim:
		return d.trees()
	case aligned:
		var lens [8]uint8
		for i := range lens {
			lens[i] = uint8(d.in.take(3))
		}
		if !d.align.build(lens[:]) {
			return ErrDamaged
		}
		return d.trees()
	case uncompressed:
		return d.offsets()
	}
	return ErrDamaged
}

func (d *Decoder) blockSize() int {
	switch {
	case !d.wim:
		high := d.in.take(16)
		return int(high<<8 | d.in.take(8))
	case d.in.take(1) == 1:
		return Frame
	}
	size := d.in.take(16)
	if len(d.window) > Frame {
		size = size<<8 | d.in.take(8)
	}
	return int(size)
}

// trees reads the codes of a block, which are told by how they differ from those of the last.
func (d *Decoder) trees() error {
	if !d.lengths(d.mainLen[:literals]) || !d.lengths(d.mainLen[literals:d.mains]) || !d.lengths(d.lenLen[:]) ||
		!d.main.build(d.mainLen[:d.mains]) || !d.length.build(d.lenLen[:]) {
		return ErrDamaged
	}
	return nil
}

// lengths reads the lengths of codes, with a code of their own ([MS-PATCH] 2.5).
func (d *Decoder) lengths(lens []uint8) bool {
	var pre [20]uint8
	for i := range pre {
		pre[i] = uint8(d.in.take(4))
	}
	if !d.pre.build(pre[:]) {
		return false
	}
	for i := 0; i < len(lens); {
		sym, n, value := d.pre.next(&d.in), 1, uint8(0)
		switch sym {
		case 17:
			n = 4 + int(d.in.take(4))
		case 18:
			n = 20 + int(d.in.take(5))
		case 19:
			n = 4 + int(d.in.take(1))
			sym = d.pre.next(&d.in)
			fallthrough
		default:
			if sym > maxLength {
				return false // a run within a run
			}
			value = uint8((int(lens[i]) - sym + 17) % 17)
		}
		if sym < 0 || d.in.over() {
			return false
		}
		for n = min(n, len(lens)-i); n > 0; n-- {
			lens[i] = value
			i++
		}
	}
	return true
}

// offsets reads what begins an uncompressed block: bits up to a whole word, at least one of them, and
// the recent offsets.
func (d *Decoder) offsets() error {
	rest := d.in.rest()
	if len(rest) < 12 {
		return ErrDamaged
	}
	for i := range d.recent {
		d.recent[i] = binary.LittleEndian.Uint32(rest[4*i:])
	}
	d.in = bits{src: rest[12:]}
	d.odd = d.left%2 == 1
	return nil
}

// run decodes n bytes of the block.
func (d *Decoder) run(n int) error {
	if d.kind == uncompressed {
		return d.raw(n)
	}
	mask, end := len(d.window)-1, d.have+n
	for n > 0 {
		sym := d.main.next(&d.in)
		switch {
		case sym < 0 || d.in.over():
			return ErrDamaged
		case sym < literals:
			d.window[d.pos] = byte(sym)
			d.pos = (d.pos + 1) & mask
			n--
			continue
		}
		length := (sym - literals) & 7
		if length == 7 {
			more := d.length.next(&d.in)
			if more < 0 {
				return ErrDamaged
			}
			length += more
		}
		if length += minMatch; d.last {
			length = min(length, n)
		}
		offset := int(d.offset((sym - literals) >> 3))
		if length > n || offset <= 0 || offset > min(end-n, len(d.window)) || d.in.over() {
			return ErrDamaged
		}
		n -= length
		for ; length > 0; length-- {
			d.window[d.pos] = d.window[(d.pos-offset)&mask]
			d.pos = (d.pos + 1) & mask
		}
	}
	return nil
}

// raw takes n bytes of an uncompressed block.
func (d *Decoder) raw(n int) error {
	if len(d.in.src) < n {
		return ErrDamaged
	}
	k := copy(d.window[d.pos:], d.in.src[:n])
	copy(d.window, d.in.src[k:n])
	d.pos = (d.pos + n) & (len(d.window) - 1)
	d.in.src = d.in.src[n:]
	if n == d.left && d.odd && len(d.in.src) > 0 {
		d.in.src, d.odd = d.in.src[1:], false
	}
	return nil
}

// offset reads how far back a match is, and keeps it with the recent ones ([MS-PATCH] 2.6).
func (d *Decoder) offset(slot int) uint32 {
	if slot < len(d.recent) {
		d.recent[0], d.recent[slot] = d.recent[slot], d.recent[0]
		return d.recent[0]
	}
	base, extra := position(slot)
	offset := base - 2
	switch {
	case d.kind == aligned && extra >= 3:
		offset += d.in.take(extra-3) << 3
		low := d.align.next(&d.in)
		if low < 0 {
			return 0
		}
		offset += uint32(low)
	default:
		offset += d.in.take(extra)
	}
	d.recent[2], d.recent[1], d.recent[0] = d.recent[1], d.recent[0], offset
	return offset
}

// translate makes the targets of calls of x86 relative again ([MS-PATCH] 2.2.1); at is where in the
// stream the frame begins.
func translate(b []byte, at, size int32) {
	for i := 0; i < len(b)-10; i++ {
		if b[i] != 0xe8 {
			continue
		}
		here, target := at+int32(i), int32(binary.LittleEndian.Uint32(b[i+1:]))
		switch {
		case target >= 0 && target < size:
			binary.LittleEndian.PutUint32(b[i+1:], uint32(target-here))
		case target < 0 && target >= -here:
			binary.LittleEndian.PutUint32(b[i+1:], uint32(target+size))
		}
		i += 4
	}
}
