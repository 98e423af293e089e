// Package lzxtest encodes LZX for tests of what decodes it: with codes that are always the same, so
// that it packs little, and blocks of all kinds.
package lzxtest

import (
	"bytes"
	"encoding/binary"
)

// Kinds of blocks.
const (
	Verbatim     = 1
	Aligned      = 2
	Uncompressed = 3
)

// An Encoder encodes one stream, one block for each frame.
type Encoder struct {
	Window int   // the exponent of its size
	Kind   int   // of the next blocks
	WIM    bool  // as images of Windows have it
	E8     int32 // translates the targets of calls, for a file of that size

	begun    bool
	history  []byte
	recent   [3]int
	last     map[[3]byte]int // where three bytes were last
	main     []int           // lengths of codes, as the last block has told them
	length   []int
	out      []byte
	acc      uint64
	n        uint
	mainCode []word
	lenCode  []word
}

type word struct{ code, n int }

// slots is how many position slots each size of window has.
var slots = map[int]int{15: 30, 16: 32, 17: 34, 18: 36, 19: 38, 20: 42, 21: 50}

// Frame encodes a frame, which is not empty.
func (e *Encoder) Frame(content []byte) []byte {
	e.out, e.acc, e.n = nil, 0, 0
	e.begin()
	if e.E8 != 0 {
		content = e.calls(content)
	}
	e.put(e.Kind, 3)
	switch {
	case e.WIM && len(content) == 32<<10:
		e.put(1, 1)
	case e.WIM:
		e.put(0, 1)
		e.put(len(content), 16)
	default:
		e.put(len(content)>>8, 16)
		e.put(len(content)&0xff, 8)
	}
	if e.Kind == Uncompressed {
		return e.uncompressed(content)
	}
	if e.Kind == Aligned {
		for range 8 {
			e.put(3, 3)
		}
	}
	mains := 256 + 8*slots[e.Window]
	e.main, e.mainCode = e.tree(e.main, mains, 256)
	e.length, e.lenCode = e.tree(e.length, 249, 249)
	e.tokens(content)
	e.flush()
	return e.out
}

// Stream encodes content in frames of 32 KB and gives them one by one.
func (e *Encoder) Stream(content []byte) (frames [][]byte) {
	for len(content) > 0 {
		n := min(len(content), 32<<10)
		frames = append(frames, e.Frame(content[:n]))
		content = content[n:]
	}
	return frames
}

// Reset begins a new stream.
func (e *Encoder) Reset() { *e = Encoder{Window: e.Window, Kind: e.Kind, WIM: e.WIM, E8: e.E8} }

func (e *Encoder) begin() {
	if e.begun {
		return
	}
	e.begun, e.recent = true, [3]int{1, 1, 1}
	switch {
	case e.WIM:
	case e.E8 != 0:
		e.put(1, 1)
		e.put(int(uint32(e.E8)>>16), 16)
		e.put(int(e.E8&0xffff), 16)
	default:
		e.put(0, 1)
	}
}

// calls makes the targets of calls absolute.
func (e *Encoder) calls(content []byte) []byte {
	b := bytes.Clone(content)
	for i := 0; i < len(b)-10; i++ {
		if b[i] != 0xe8 {
			continue
		}
		here, rel := int32(len(e.history)+i), int32(binary.LittleEndian.Uint32(b[i+1:]))
		switch {
		case rel >= -here && rel < e.E8-here:
			binary.LittleEndian.PutUint32(b[i+1:], uint32(rel+here))
		case rel >= e.E8-here && rel < e.E8:
			binary.LittleEndian.PutUint32(b[i+1:], uint32(rel-e.E8))
		}
		i += 4
	}
	return b
}

func (e *Encoder) put(v, n int) {
	for n--; n >= 0; n-- {
		e.acc = e.acc<<1 | uint64(v>>n&1)
		if e.n++; e.n == 16 {
			e.out = append(e.out, byte(e.acc), byte(e.acc>>8))
			e.acc, e.n = 0, 0
		}
	}
}

func (e *Encoder) flush() {
	for e.n != 0 {
		e.put(0, 1)
	}
}

func (e *Encoder) uncompressed(content []byte) []byte {
	e.put(0, 1) // at least one bit
	e.flush()
	for _, r := range e.recent {
		e.out = binary.LittleEndian.AppendUint32(e.out, uint32(r))
	}
	e.out = append(e.out, content...)
	if len(content)%2 == 1 {
		e.out = append(e.out, 0)
	}
	e.history = append(e.history, content...)
	return e.out
}

// tree writes a code in which all words have one of two lengths: its first part, and the rest.
func (e *Encoder) tree(old []int, symbols, part int) ([]int, []word) {
	long := 1
	for 1<<long < symbols {
		long++
	}
	lens, codes := make([]int, symbols), make([]word, symbols)
	short := 1<<long - symbols
	for i := range lens {
		lens[i] = long
		codes[i] = word{2*short + i - short, long}
		if i < short {
			lens[i], codes[i] = long-1, word{i, long - 1}
		}
	}
	if old == nil {
		old = make([]int, symbols)
	}
	e.lengths(old[:part], lens[:part])
	if part < symbols {
		e.lengths(old[part:], lens[part:])
	}
	return lens, codes
}

// lengths writes the lengths of codes with a code of five words: one for each difference there
// is.
func (e *Encoder) lengths(old, lens []int) {
	pre := map[int]word{0: {0, 2}, 7: {6, 3}, 8: {1, 2}, 9: {2, 2}, 10: {7, 3}}
	for sym := range 20 {
		e.put(pre[sym].n, 4)
	}
	for i := range lens {
		w := pre[(old[i]-lens[i]+17)%17]
		e.put(w.code, w.n)
	}
}

// tokens writes content as literals and matches.
func (e *Encoder) tokens(content []byte) {
	base := len(e.history)
	e.history = append(e.history, content...)
	if e.last == nil {
		e.last = map[[3]byte]int{}
	}
	for at := base; at < len(e.history); {
		n := e.match(at)
		if n == 0 {
			n = 1
			w := e.mainCode[e.history[at]]
			e.put(w.code, w.n)
		}
		for ; n > 0; n-- {
			if at+3 <= len(e.history) {
				e.last[[3]byte(e.history[at:])] = at
			}
			at++
		}
	}
}

// match writes a match for what is at that place, if there is one, and gives its length.
func (e *Encoder) match(at int) int {
	if at+3 > len(e.history) {
		return 0
	}
	from, ok := e.last[[3]byte(e.history[at:])]
	if !ok || at-from > 1<<e.Window-3 {
		return 0
	}
	n := 3
	for n < 257 && at+n < len(e.history) && e.history[from+n] == e.history[at+n] {
		n++
	}
	slot, extra, rest := e.slot(at - from)
	w := e.mainCode[256+slot<<3+min(n-2, 7)]
	e.put(w.code, w.n)
	if n-2 >= 7 {
		w := e.lenCode[n-2-7]
		e.put(w.code, w.n)
	}
	if e.Kind == Aligned && extra >= 3 {
		e.put(rest>>3, extra-3)
		rest, extra = rest&7, 3
	}
	e.put(rest, extra)
	return n
}

// slot gives the slot of an offset, how many bits follow, and what they are.
func (e *Encoder) slot(offset int) (slot, extra, rest int) {
	for i, r := range e.recent {
		if r == offset {
			e.recent[0], e.recent[i] = r, e.recent[0]
			return i, 0, 0
		}
	}
	e.recent = [3]int{offset, e.recent[0], e.recent[1]}
	v := offset + 2
	for slot = 3; ; slot++ {
		base, bits := slot, 0
		switch {
		case slot >= 36:
			base, bits = (slot-34)<<17, 17
		case slot >= 4:
			bits = slot/2 - 1
			base = (2 + slot%2) << bits
		}
		if v < base+1<<bits {
			return slot, bits, v - base
		}
	}
}
