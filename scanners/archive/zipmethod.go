package archive

import (
	"bufio"
	"compress/bzip2"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/flate"
)

// Compression methods (APPNOTE.TXT 4.4.5).
const (
	zipStore   = 0
	zipDeflate = 8
	zipBzip2   = 12
	zipLZMA    = 14
	zipZstd    = 93
	zipXZ      = 95
	zipAES     = 99
)

// zipMember yields one reading of a member, whose data begins at that offset of the part.
func (o *opening) zipMember(names []string, data int64, h *zipHeader) error {
	if h.method == zipAES || h.flags&zipMasked != 0 {
		return o.zipLocked(names, data, h)
	}
	if h.flags&zipEncrypted != 0 {
		if !o.zipPlain(data, h) {
			return o.zipLocked(names, data, h)
		}
		o.report(o.p, ambiguous, "a member of a zip archive is marked as encrypted but is not")
	}
	n := h.extent(o.p.Size - data)
	late := o.zipData(data, n, h)
	defer late.close()
	var want *uint32
	if h.packed >= 0 {
		want = &h.crc
	}
	ok, err := o.member(names, newChecked(late, h.size, want))
	if ok && h.method == zipDeflate && h.packed >= 0 && o.consumed() < data+n {
		o.report(o.p, ambiguous, "data behind the end of a member of a zip archive")
	}
	return err
}

// extent is how many bytes at most the data takes, of those that there are.
func (h *zipHeader) extent(rest int64) int64 {
	switch {
	case h.packed >= 0:
		return min(h.packed, rest)
	case h.next > 0 && h.method == zipStore:
		return min(h.next, rest)
	}
	return rest
}

// zipData reads the n bytes of packed data at off, unpacked.
func (o *opening) zipData(off, n int64, h *zipHeader) *lateReader {
	in := o.input(off, n)
	return &lateReader{open: func() (io.Reader, error) { return o.zipReader(in, n, h) }}
}

func (o *opening) zipReader(in *bufio.Reader, n int64, h *zipHeader) (io.Reader, error) {
	switch h.method {
	case zipStore:
		return in, nil
	case zipDeflate:
		return o.deflate(in)
	case zipBzip2:
		return bzip2.NewReader(in), nil
	case zipLZMA:
		return o.zipLZMA(in, n, h)
	case zipZstd:
		return o.zstd(in)
	case zipXZ:
		return o.xz(in)
	}
	return nil, fmt.Errorf("zip method %d is %w", h.method, errUnsupported)
}

// deflate reuses the decoder of the member before: its window is most of what a small member
// costs.
func (o *opening) deflate(in io.Reader) (io.Reader, error) {
	if again, ok := o.inflate.(flate.Resetter); ok {
		return struct{ io.Reader }{o.inflate}, again.Reset(in, nil)
	}
	o.inflate = flate.NewReader(in)
	return struct{ io.Reader }{o.inflate}, nil
}

// zipLZMA reads the header that method 14 has (APPNOTE.TXT 5.8.8).
func (o *opening) zipLZMA(in *bufio.Reader, n int64, h *zipHeader) (io.Reader, error) {
	var head [9]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, err
	}
	if binary.LittleEndian.Uint16(head[2:]) != 5 {
		return nil, fmt.Errorf("%w: properties of LZMA", errCorrupt)
	}
	s := lzmaStream{props: head[4], dict: binary.LittleEndian.Uint32(head[5:]), size: unknownSize, packed: n}
	if h.flags&zipLZMAEnd == 0 {
		s.size = h.size
	}
	return o.lzma(in, s)
}

// zipPlain reports whether a member that is marked as encrypted is not: some programs do not
// look at the mark where a password would be pointless. What ZipCrypto makes is not of the
// right size and checksum.
func (o *opening) zipPlain(data int64, h *zipHeader) bool {
	if h.size <= 0 {
		return false
	}
	late := o.zipData(data, h.extent(o.p.Size-data), h)
	defer late.close()
	sum := crc32.NewIEEE()
	r := o.b.Reader(o.ctx, o.p, &decoder{r: late})
	n, err := io.Copy(sum, io.LimitReader(r, h.size+1))
	return err == nil && n == h.size && sum.Sum32() == h.crc
}
