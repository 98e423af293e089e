package archive

import (
	"encoding/binary"
	"strings"
)

const (
	// rarBlockHead is how much of a block is read: more than all fields up to the name of a
	// service have.
	rarBlockHead = 128
	// maxRARBlocks is how many blocks of one archive are looked at.
	maxRARBlocks = 100_000
)

// A rarBlockHeader is what must be known of a block: how long it is, whether it is the last, and
// whether it is a data stream that WinRAR writes beside a file.
type rarBlockHeader struct {
	size         int64 // of header and data; 0 if there is no block
	last, stream bool
}

// rarEnd is where the archive at off ends, which rardecode has read to its end; 0 if that is not
// known. It reports data streams of NTFS: rardecode passes them over, and WinRAR has written
// them wherever their names lead (CVE-2025-8088).
func (o *opening) rarEnd(off int64) int64 {
	var b [rarBlockHead]byte
	n, _ := o.src.ReadAt(b[:8], off)
	read, at := rar4Block, off+7
	if n == 8 && b[6] == 1 {
		read, at = rar5Block, off+8
	}
	for range maxRARBlocks {
		if at >= o.p.Size {
			return o.p.Size // old archives have no last block
		}
		n, _ = o.src.ReadAt(b[:], at)
		block := read(b[:n])
		if block.size <= 0 || block.size > o.p.Size-at {
			return 0
		}
		if block.stream {
			o.report(o.p, unsupported, "a data stream beside a file in a rar archive")
		}
		at += block.size
		if block.last {
			return at
		}
	}
	o.report(o.p, limit, "more than the limit of blocks in a rar archive")
	return 0
}

// rar4Block reads a block of the format before RAR 5 (technote of RAR 3).
func rar4Block(b []byte) (k rarBlockHeader) {
	if len(b) < 7 {
		return k
	}
	kind, flags := b[2], binary.LittleEndian.Uint16(b[3:])
	k.size, k.last = int64(binary.LittleEndian.Uint16(b[5:])), kind == 0x7b
	if flags&0x8000 != 0 && len(b) >= 11 {
		k.size += int64(binary.LittleEndian.Uint32(b[7:]))
	}
	switch {
	case kind == 0x77 && len(b) >= 13:
		k.stream = binary.LittleEndian.Uint16(b[11:]) == 0x102
	case kind == 0x7a && flags&0x100 != 0 && len(b) >= 40:
		k.size += int64(binary.LittleEndian.Uint32(b[32:])) << 32
		k.stream = strings.HasPrefix(string(b[40:]), "STM")
	case kind == 0x7a && len(b) >= 32:
		k.stream = strings.HasPrefix(string(b[32:]), "STM")
	case kind == 0x74 && flags&0x100 != 0 && len(b) >= 36:
		k.size += int64(binary.LittleEndian.Uint32(b[32:])) << 32
	}
	return k
}

// rar5Block reads a block of RAR 5 (RAR 5.0 archive format).
func rar5Block(b []byte) (k rarBlockHeader) {
	f := rarFields{b: b[min(4, len(b)):]}
	before := len(f.b)
	header := f.number()
	header += int64(4 + before - len(f.b))
	kind, flags := f.number(), f.number()
	if flags&1 != 0 {
		f.number() // size of the extra area
	}
	data := int64(0)
	if flags&2 != 0 {
		data = f.number()
	}
	stream := kind == 3 && f.service() == "STM"
	if f.bad {
		return k
	}
	return rarBlockHeader{size: header + data, last: kind == 5, stream: stream}
}

// rarFields reads the fields of a block of RAR 5.
type rarFields struct {
	b   []byte
	bad bool
}

// number reads a number of variable length; 0 if it is larger than any file.
func (f *rarFields) number() int64 {
	v, n := binary.Uvarint(f.b)
	if n <= 0 || v > 1<<50 {
		f.bad = true
		return 0
	}
	f.b = f.b[n:]
	return int64(v)
}

func (f *rarFields) bytes(n int64) []byte {
	b := f.b[:min(n, int64(len(f.b)))]
	f.b = f.b[len(b):]
	return b
}

// service is the name of a service, which is where that of a file is.
func (f *rarFields) service() string {
	flags := f.number()
	f.number() // unpacked size
	f.number() // attributes
	for _, bit := range []int64{2, 4} {
		if flags&bit != 0 {
			f.bytes(4) // time, checksum
		}
	}
	f.number() // method
	f.number() // system
	return string(f.bytes(f.number()))
}
