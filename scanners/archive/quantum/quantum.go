// Package quantum decodes Quantum as cabinets have it: matches and literals behind an arithmetic coder
// whose models learn. It knows nothing of mail.
//
// What is decoded is hostile: no frame gives more than was asked for, nothing is allocated but the
// window, and every loop ends with the input or the output.
package quantum

import "errors"

// ErrDamaged is the error for all that is not Quantum.
var ErrDamaged = errors.New("damaged")

const (
	// MinWindow and MaxWindow are how large a window may be: a power of two with that exponent.
	MinWindow, MaxWindow = 10, 21

	// Of the models: what a symbol gains each time, when all are halved, and after how many halvings
	// they are sorted, the first time and later.
	gain        = 8
	maxTotal    = 3800
	firstSort   = 4
	laterSort   = 50
	maxSymbols  = 64
	lengthCodes = 27
	// ahead is how many bits the coder may be ahead of the end.
	ahead = 32
)

// A model gives each of its symbols a share of the range. Shares are cumulated from the end.
type model struct {
	symbols   [maxSymbols]uint8
	share     [maxSymbols + 1]uint32
	n         int
	untilSort int
}

func (m *model) reset(first, n int) {
	*m = model{n: n, untilSort: firstSort}
	for i := range n {
		m.symbols[i], m.share[i] = uint8(first+i), uint32(n-i)
	}
}

// halve makes all shares smaller, none of them nothing.
func (m *model) halve() {
	if m.untilSort--; m.untilSort == 0 {
		m.sort()
		return
	}
	for i := m.n - 1; i >= 0; i-- {
		m.share[i] = max(m.share[i]>>1, m.share[i+1]+1)
	}
}

// sort puts frequent symbols first. Which of two that are as frequent comes first is part of the
// format, so it is this way of sorting and no other.
func (m *model) sort() {
	m.untilSort = laterSort
	for i := range m.n {
		m.share[i] = (m.share[i] - m.share[i+1] + 1) >> 1
	}
	for i := range m.n {
		for j := i + 1; j < m.n; j++ {
			if m.share[i] < m.share[j] {
				m.share[i], m.share[j] = m.share[j], m.share[i]
				m.symbols[i], m.symbols[j] = m.symbols[j], m.symbols[i]
			}
		}
	}
	for i := m.n - 1; i >= 0; i-- {
		m.share[i] += m.share[i+1]
	}
}

// A Decoder decodes one stream, frame after frame. One goroutine uses it.
type Decoder struct {
	window []byte // a ring
	bits   int    // its size
	pos    int
	have   int // bytes of the stream in the window

	selector model
	literal  [4]model
	slot     [3]model // of matches of 3 bytes, of 4, of more
	length   model

	high, low, code uint32 // of the coder; 16 bits
	src             []byte
	at              int // bits of src taken
}

// New makes a Decoder with a window of 1<<window bytes, which it allocates; the exponent must be
// between MinWindow and MaxWindow.
func New(window int) *Decoder {
	d := &Decoder{window: make([]byte, 1<<window), bits: window}
	d.Reset()
	return d
}

// Reset begins a new stream.
func (d *Decoder) Reset() {
	d.pos, d.have = 0, 0
	d.selector.reset(0, 7)
	for i := range d.literal {
		d.literal[i].reset(64*i, 64)
	}
	for i, most := range []int{24, 36, 42} {
		d.slot[i].reset(0, min(2*d.bits, most))
	}
	d.length.reset(0, lengthCodes)
}

// Decode decodes the next frame, all of src, to dst. After an error, dst holds nothing and the stream
// cannot be gone on with.
func (d *Decoder) Decode(dst, src []byte) error {
	d.src, d.at = src, 0
	d.high, d.low, d.code = 0xffff, 0, d.take(16)
	for n := 0; n < len(dst); {
		sel := d.next(&d.selector)
		if sel < 4 {
			d.put(dst, &n, byte(d.next(&d.literal[sel])))
		} else {
			length, offset := d.match(sel)
			if length > len(dst)-n || offset > d.have {
				return ErrDamaged
			}
			for ; length > 0; length-- {
				d.put(dst, &n, d.window[(d.pos-offset)&(len(d.window)-1)])
			}
		}
		if d.at > 8*len(src)+ahead { // the coder is ahead of what it has decoded
			return ErrDamaged
		}
	}
	return nil
}

func (d *Decoder) put(dst []byte, n *int, c byte) {
	dst[*n] = c
	*n++
	d.window[d.pos] = c
	d.pos = (d.pos + 1) & (len(d.window) - 1)
	d.have = min(d.have+1, len(d.window))
}

// match reads a match, by its selector.
func (d *Decoder) match(sel int) (length, offset int) {
	length = sel - 1
	if sel == 6 {
		base, extra := lengthOf(d.next(&d.length))
		length = 5 + base + int(d.take(extra))
	}
	slot := d.next(&d.slot[sel-4])
	if slot < 2 {
		return length, slot + 1
	}
	extra := uint(slot/2 - 1)
	return length, (2+slot%2)<<extra + int(d.take(extra)) + 1
}

// lengthOf gives the shortest length of a code, less 5, and how many bits follow.
func lengthOf(code int) (base int, extra uint) {
	switch {
	case code < 6:
		return code, 0
	case code == lengthCodes-1:
		return 254, 0
	}
	extra = uint(code-2) / 4
	return (4+(code-2)%4)<<extra - 2, extra
}

// next decodes a symbol of a model, which learns from it.
func (d *Decoder) next(m *model) int {
	width := (d.high-d.low)&0xffff + 1
	at := ((d.code-d.low+1)*m.share[0] - 1) / width & 0xffff
	i := 1
	for i < m.n && m.share[i] > at {
		i++
	}
	sym, total := m.symbols[i-1], m.share[0]
	width = d.high - d.low + 1
	d.high = (d.low + m.share[i-1]*width/total - 1) & 0xffff
	d.low = (d.low + m.share[i]*width/total) & 0xffff
	for k := range i {
		m.share[k] += gain
	}
	if m.share[0] > maxTotal {
		m.halve()
	}
	d.shift()
	return int(sym)
}

// shift takes in as many bits as the last symbol has used up.
func (d *Decoder) shift() {
	for {
		if (d.low^d.high)&0x8000 != 0 {
			if d.low&0x4000 == 0 || d.high&0x4000 != 0 {
				return
			}
			d.code ^= 0x4000
			d.low &= 0x3fff
			d.high |= 0x4000
		}
		d.low = d.low << 1 & 0xffff
		d.high = (d.high<<1 | 1) & 0xffff
		d.code = (d.code<<1 | d.take(1)) & 0xffff
	}
}

// take gives the next n bits; behind the end, zeros.
func (d *Decoder) take(n uint) (v uint32) {
	for ; n > 0; n-- {
		v <<= 1
		if i := d.at / 8; i < len(d.src) {
			v |= uint32(d.src[i]>>(7-d.at%8)) & 1
		}
		d.at++
	}
	return v
}
