package archive

import (
	"encoding/binary"
	"math"
)

// Lengths of fixed parts of records, without what follows them (APPNOTE.TXT 4.3).
const (
	zipLocalLen   = 30
	zipCentralLen = 46
)

// Flags of a member (APPNOTE.TXT 4.4.4).
const (
	zipEncrypted  = 1 << 0
	zipLZMAEnd    = 1 << 1 // LZMA: the stream has an end marker
	zipDescriptor = 1 << 3 // sizes and checksum follow the data
	zipStrong     = 1 << 6 // encrypted by other methods (APPNOTE.TXT 7)
	zipUTF8       = 1 << 11
	zipMasked     = 1 << 13 // the directory is encrypted and local headers lie
)

// IDs of extra fields (APPNOTE.TXT 4.5.2, 4.6.9).
const (
	zipExtra64   = 0x0001
	zipExtraPath = 0x7075
)

// maxZipReadings is how many directory entries for the same local header are looked at.
const maxZipReadings = 4

// A zipHeader is what one header, local or central, says about a member.
type zipHeader struct {
	flags, method uint16
	time          uint16 // of MS-DOS
	crc           uint32
	packed, size  int64 // negative if unknown
	name          string
	path          string // of the Unicode path field; empty if there is none
	at            int64  // of the local header; for central ones
	next          int64  // for local ones of unknown size: bytes up to the next header
	central       bool
	aes           zipLock
}

// zipEntryAt reads the local header at that offset of the part.
func (o *opening) zipEntryAt(at int64) *zipEntry {
	e := &zipEntry{at: at, data: -1}
	var b [zipLocalLen]byte
	if n, _ := o.src.ReadAt(b[:], at); n < len(b) || string(b[:4]) != "PK\x03\x04" {
		return e
	}
	nameLen, extraLen := int(binary.LittleEndian.Uint16(b[26:])), int(binary.LittleEndian.Uint16(b[28:]))
	rest := o.room(nameLen + extraLen)
	if n, _ := o.src.ReadAt(rest, at+zipLocalLen); n < len(rest) {
		return e
	}
	h := &zipHeader{
		flags: binary.LittleEndian.Uint16(b[6:]), method: binary.LittleEndian.Uint16(b[8:]),
		time: binary.LittleEndian.Uint16(b[10:]), crc: binary.LittleEndian.Uint32(b[14:]), name: string(clip(rest[:nameLen])),
		packed: int64(binary.LittleEndian.Uint32(b[18:])), size: int64(binary.LittleEndian.Uint32(b[22:])),
	}
	h.extra(rest[nameLen:])
	if h.flags&zipDescriptor != 0 && h.packed == 0 && h.size == 0 {
		h.packed, h.size = -1, -1
	}
	e.local, e.data = h, at+zipLocalLen+int64(len(rest))
	return e
}

// room is a buffer of n bytes, until it is asked for again. Headers that lie over one another
// can each have names and extra fields of 128 KiB.
func (o *opening) room(n int) []byte {
	if n > cap(o.scratch) {
		o.scratch = make([]byte, max(n, 4<<10))
	}
	return o.scratch[:n]
}

// extra reads the extra fields that matter.
func (h *zipHeader) extra(b []byte) {
	for len(b) >= 4 {
		id, n := binary.LittleEndian.Uint16(b), int(binary.LittleEndian.Uint16(b[2:]))
		b = b[4:]
		n = min(n, len(b))
		switch id {
		case zipExtra64:
			h.extra64(b[:n])
		case zipExtraAES:
			if n >= 7 {
				h.aes = zipLock{aes: true, version: binary.LittleEndian.Uint16(b), strength: b[4], method: binary.LittleEndian.Uint16(b[5:])}
			}
		case zipExtraPath:
			if n > 5 { // version and checksum of the name, which not all programs check
				h.path = string(clip(b[5:n]))
			}
		}
		b = b[n:]
	}
}

// extra64 has those values that do not fit into their fields, in a fixed order.
func (h *zipHeader) extra64(b []byte) {
	for _, v := range []*int64{&h.size, &h.packed, &h.at} {
		if *v == math.MaxUint32 && len(b) >= 8 {
			*v = int64(min(binary.LittleEndian.Uint64(b), math.MaxInt64/4))
			b = b[8:]
		}
	}
}

func (h *zipHeader) addNames(s *nameSet) {
	if h.path != "" {
		s.addRaw(h.path, true)
	}
	s.addRaw(h.name, h.flags&zipUTF8 != 0)
}

// looksLocal tells a local header from four bytes that happen to look like one: it has a name,
// and a method that some program knows. It is asked often, so it reads little.
func (o *opening) looksLocal(at int64) bool {
	var b [zipLocalLen]byte
	if n, _ := o.src.ReadAt(b[:], at); n < len(b) {
		return false
	}
	method, nameLen := binary.LittleEndian.Uint16(b[8:]), binary.LittleEndian.Uint16(b[26:])
	return nameLen > 0 && (method <= 20 || method >= 92 && method <= 99)
}

// sameData reports whether two headers say the same about the data of a member. What a local
// header leaves to the descriptor is no difference.
func (h *zipHeader) sameData(g *zipHeader) bool {
	open := func(a *zipHeader) bool { return !a.central && a.flags&zipDescriptor != 0 }
	same := func(a, b int64) bool { return a == b || a <= 0 && open(h) || b <= 0 && open(g) }
	return h.method == g.method && (h.flags^g.flags)&zipEncrypted == 0 && same(h.packed, g.packed) &&
		same(h.size, g.size) && same(int64(h.crc), int64(g.crc))
}

// headers are all headers of the entry, the central ones first.
func (e *zipEntry) headers() []*zipHeader {
	if e.local == nil {
		return e.central
	}
	return append(e.central[:len(e.central):len(e.central)], e.local)
}

// readings are the headers that say something different about the data.
func (e *zipEntry) readings() (out []*zipHeader) {
next:
	for _, h := range e.headers() {
		for _, seen := range out {
			if seen.sameData(h) {
				continue next
			}
		}
		out = append(out, h)
	}
	return out
}

// namesDiffer reports whether the headers give different names.
func (e *zipEntry) namesDiffer() bool {
	all := e.headers()
	for _, h := range all[1:] {
		if h.name != all[0].name {
			return true
		}
	}
	return false
}

// end is where the data of the entry ends by any header, within the part.
func (e *zipEntry) end(size int64) int64 {
	end := e.data
	for _, h := range e.headers() {
		end = max(end, e.data+min(h.packed, size-e.data))
	}
	return end
}
