package lzh

const (
	maxCodeLength = 16
	literals      = 256
	minMatch      = 3
	symbols       = literals + 256 - minMatch + 1 // of literals and lengths
	lengthCodes   = maxCodeLength + 3             // of the code that the lengths of the other are in
	maxDistances  = 17
)

// A blocks decodes blocks with Huffman codes of their own, as LHA has since -lh4-.
type blocks struct {
	distances    int  // codes of distances
	distanceBits uint // of their number

	left             int // symbols of the block
	code, pointers   huffman
	lengths, sharing [symbols]uint8
}

func newBlocks(m Method) *blocks {
	switch m {
	case LH6:
		return &blocks{distances: 16, distanceBits: 5}
	case LH7, ARJ:
		return &blocks{distances: 17, distanceBits: 5}
	}
	return &blocks{distances: 14, distanceBits: 4}
}

func (b *blocks) next(w *window) error {
	if b.left == 0 {
		if b.left = w.bits.take(16); b.left == 0 {
			b.left = 1 << 16 // as the counter of the original comes to it
		}
		if err := b.tables(&w.bits); err != nil {
			return err
		}
	}
	b.left--
	c, err := b.code.decode(&w.bits)
	if err != nil {
		return err
	}
	if c < literals {
		w.literal(byte(c))
		return nil
	}
	d, err := b.pointers.decode(&w.bits)
	if err != nil {
		return err
	}
	if d > 1 {
		d = 1<<(d-1) + w.bits.take(uint(d-1))
	}
	w.match(d, c-literals+minMatch)
	return nil
}

// tables reads the codes of a block.
func (b *blocks) tables(bits *bitReader) error {
	if err := b.small(bits, lengthCodes, 5, 3); err != nil {
		return err
	}
	if err := b.large(bits); err != nil {
		return err
	}
	return b.small(bits, b.distances, b.distanceBits, -1)
}

// small reads the code of lengths or that of distances: lengths in three bits, more in ones. Behind
// the length at pause there may be zeros.
func (b *blocks) small(bits *bitReader, most int, width uint, pause int) error {
	n := bits.take(width)
	if n == 0 {
		return b.pointers.only(bits.take(width), most)
	}
	if n > most {
		return ErrCorrupt
	}
	lengths := b.sharing[:most]
	clear(lengths)
	for i := 0; i < n; {
		l := bits.take(3)
		for l >= 7 && bits.take(1) == 1 {
			if l++; l > maxCodeLength {
				return ErrCorrupt
			}
		}
		lengths[i] = uint8(l)
		if i++; i == pause {
			i += bits.take(2)
		}
	}
	return b.pointers.build(lengths)
}

// large reads the code of literals and lengths, whose lengths are in the code read before.
func (b *blocks) large(bits *bitReader) error {
	const width = 9
	n := bits.take(width)
	if n == 0 {
		return b.code.only(bits.take(width), symbols)
	}
	if n > symbols {
		return ErrCorrupt
	}
	clear(b.lengths[:])
	for i := 0; i < n; {
		l, err := b.pointers.decode(bits)
		switch {
		case err != nil:
			return err
		case l == 0:
			i++
		case l == 1:
			i += 3 + bits.take(4)
		case l == 2:
			i += 20 + bits.take(width)
		default:
			b.lengths[i] = uint8(l - 2)
			i++
		}
	}
	return b.code.build(b.lengths[:])
}

// A huffman is a canonical code: shorter codes first, then smaller symbols.
type huffman struct {
	single int                       // the only symbol, which takes no bits; -1 if there are more
	counts [maxCodeLength + 1]uint16 // of codes by length
	sorted [symbols]uint16           // symbols in the order of their codes
}

func (h *huffman) only(symbol, most int) error {
	if symbol >= most {
		return ErrCorrupt
	}
	h.single = symbol
	return nil
}

// build makes the code from the lengths of all symbols; it must be complete.
func (h *huffman) build(lengths []uint8) error {
	h.single = -1
	clear(h.counts[:])
	for _, l := range lengths {
		if l > maxCodeLength {
			return ErrCorrupt
		}
		h.counts[l]++
	}
	h.counts[0] = 0
	var at [maxCodeLength + 2]uint16
	used := 0
	for l := 1; l <= maxCodeLength; l++ {
		at[l+1] = at[l] + h.counts[l]
		used += int(h.counts[l]) << (maxCodeLength - l)
	}
	if used != 1<<maxCodeLength {
		return ErrCorrupt
	}
	for s, l := range lengths {
		if l > 0 {
			h.sorted[at[l]] = uint16(s)
			at[l]++
		}
	}
	return nil
}

func (h *huffman) decode(b *bitReader) (int, error) {
	if h.single >= 0 {
		return h.single, b.err
	}
	ahead := b.peek(maxCodeLength)
	code, first, index := 0, 0, 0
	for l := 1; l <= maxCodeLength; l++ {
		code |= ahead >> (maxCodeLength - l) & 1
		n := int(h.counts[l])
		if code-first < n {
			b.n -= uint(l)
			return int(h.sorted[index+code-first]), b.err
		}
		index += n
		first = (first + n) << 1
		code <<= 1
	}
	return 0, ErrCorrupt
}
