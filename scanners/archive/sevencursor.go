package archive

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"strings"
)

// A szCursor reads a 7z header (7zFormat.txt), in the same order and as tolerantly as package
// sevenzip does, so that what is bounded here is bounded there. The first error stays; all that
// is read after it is zero.
type szCursor struct {
	b   []byte
	err error
}

func (c *szCursor) fail(what string) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: %s in the header", errCorrupt, what)
	}
	c.b = nil
}

func (c *szCursor) bytes(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.fail("unexpected end")
		return nil
	}
	b := c.b[:n]
	c.b = c.b[n:]
	return b
}

func (c *szCursor) byte() byte {
	if b := c.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

// number reads a number in the encoding of 7z: the leading ones of the first byte tell how many
// bytes follow.
func (c *szCursor) number() uint64 {
	first := c.byte()
	n := bits.LeadingZeros8(^first)
	var b [8]byte
	copy(b[:], c.bytes(n))
	v := binary.LittleEndian.Uint64(b[:])
	if n < 7 {
		v |= uint64(first&(1<<(8-n)-1)) << (8 * n)
	}
	return v
}

// count reads a number of which most and no more are allowed.
func (c *szCursor) count(most int) int {
	n := c.number()
	if n > uint64(most) {
		if c.err == nil {
			c.err = fmt.Errorf("%d in the header: %w", n, errTooMany)
		}
		c.b = nil
		return 0
	}
	return int(n)
}

func (c *szCursor) numbers(n int) []uint64 {
	if n > len(c.b) { // each takes a byte at least
		c.fail("unexpected end")
		return nil
	}
	out := make([]uint64, n)
	for i := range out {
		out[i] = c.number()
	}
	return out
}

// expect reads a property ID that must be there.
func (c *szCursor) expect(id, got byte) {
	if id != got {
		c.fail(fmt.Sprintf("property %d instead of %d", got, id))
	}
}

// crcs passes over checksums of n streams.
func (c *szCursor) crcs(n int) {
	defined := n
	if c.byte() == 0 {
		defined = 0
		for _, b := range c.bytes((n + 7) / 8) {
			defined += bits.OnesCount8(b)
		}
		defined = min(defined, n)
	}
	c.bytes(4 * defined)
}

// header reads the header proper, as far as the number of files.
func (c *szCursor) header() *szHeader {
	h := &szHeader{}
	c.expect(szHeaderID, c.byte())
	id := c.byte()
	if id == szArchiveProperties || id == szAdditionalStreams {
		c.err = fmt.Errorf("property %d of the header is %w", id, errUnsupported)
		return h
	}
	if id == szMainStreams {
		h.folders = c.streams().folders
		id = c.byte()
	}
	switch id {
	case szFiles:
		h.files = c.count(maxSzItems)
	case szEnd:
	default:
		c.fail("unexpected property")
	}
	if h.files == 0 && slices.ContainsFunc(h.folders, szFolder.holdsData) {
		c.fail("no members for the data")
	}
	return h
}

// holdsData reports whether a method of the folder gives anything.
func (f szFolder) holdsData() bool {
	return slices.ContainsFunc(f.sizes, func(n uint64) bool { return n > 0 })
}

func (c *szCursor) streams() *szStreams {
	s := &szStreams{}
	id := c.byte()
	if id == szPackInfo {
		c.packInfo(s)
		id = c.byte()
	}
	if id == szUnpackInfo {
		c.unpackInfo(s)
		id = c.byte()
	}
	if id == szSubStreams {
		if len(s.folders) == 0 {
			c.fail("members without folders")
		}
		c.subStreams(s)
		id = c.byte()
	}
	c.expect(szEnd, id)
	return s
}

func (c *szCursor) packInfo(s *szStreams) {
	s.at = c.number()
	n := c.count(maxSzItems)
	id := c.byte()
	if id == szSize {
		s.sizes = c.numbers(n)
		id = c.byte()
	}
	if id == szCRC {
		c.crcs(n)
		id = c.byte()
	}
	c.expect(szEnd, id)
}

func (c *szCursor) unpackInfo(s *szStreams) {
	c.expect(szFolderID, c.byte())
	n := c.count(maxSzFolders)
	if c.byte() != 0 {
		c.fail("external folders")
	}
	for range n {
		if c.err != nil {
			return
		}
		s.folders = append(s.folders, c.folder())
	}
	c.expect(szUnpackSize, c.byte())
	for i := range s.folders {
		s.folders[i].sizes = c.numbers(s.folders[i].out)
	}
	id := c.byte()
	if id == szCRC {
		c.crcs(n)
		id = c.byte()
	}
	c.expect(szEnd, id)
}

func (c *szCursor) folder() (f szFolder) {
	in := 0
	for range c.count(maxSzCoders) {
		flags := c.byte()
		coder := szCoder{id: methodID(c.bytes(int(flags & 0xf)))}
		if flags&0x10 != 0 {
			in += c.count(maxSzCoders)
			f.out += c.count(maxSzCoders)
		} else {
			in++
			f.out++
		}
		if flags&0x20 != 0 {
			coder.props = c.bytes(c.count(len(c.b)))
		}
		f.coders = append(f.coders, coder)
	}
	if f.out < 1 || in < f.out || in > 2*maxSzCoders {
		c.fail("streams of a folder")
		return f
	}
	f.binds = c.numbers(2 * (f.out - 1))
	if packed := in - (f.out - 1); packed != 1 {
		c.numbers(packed)
	}
	return f
}

func (c *szCursor) subStreams(s *szStreams) {
	id := c.byte()
	streams := make([]int, len(s.folders))
	total := 0
	for i := range streams {
		streams[i] = 1
		if id == szNumUnpackStream {
			streams[i] = c.count(maxSzItems)
		}
		if total += streams[i]; total > maxSzItems {
			c.err = fmt.Errorf("members: %w", errTooMany)
			return
		}
	}
	if id == szNumUnpackStream {
		id = c.byte()
	}
	if id == szSize {
		for _, n := range streams {
			c.numbers(max(n-1, 0))
		}
		id = c.byte()
	}
	if id == szCRC {
		c.crcs(total)
		id = c.byte()
	}
	c.expect(szEnd, id)
}

// containsWord reports whether a list of words, each between blanks, has that word.
func containsWord(list, word string) bool { return strings.Contains(list, " "+word+" ") }
