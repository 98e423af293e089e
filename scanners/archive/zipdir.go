package archive

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"rastel/scanners"
)

const (
	zipEndLen   = 22 // the end record without its comment
	zipEnd64Len = 56
	zipLoc64Len = 20
	// maxZipEnds is how many end records of one file are followed.
	maxZipEnds = 16
	// maxZipMarks is how many signatures of one file are looked at.
	maxZipMarks = 200_000
	// scanChunk is how much of a file is searched at a time.
	scanChunk = 64 << 10
)

// zipMarks are the offsets at which there is a signature, in order.
type zipMarks struct{ locals, ends []int64 }

// zipMarks searches the whole part.
func (o *opening) zipMarks() (m zipMarks, err error) {
	err = o.search(o.p.Size, "PK", 2, func(off int64, next []byte) bool {
		switch string(next) {
		case "\x03\x04":
			m.locals = append(m.locals, off)
		case "\x05\x06":
			m.ends = append(m.ends, off)
		}
		return len(m.locals)+len(m.ends) < maxZipMarks
	})
	if len(m.locals)+len(m.ends) >= maxZipMarks {
		o.report(o.p, limit, "more than the limit of headers in a zip archive")
	}
	return m, err
}

// search calls found for each place in the first n bytes of the part where sig is, with as many
// bytes as more says that follow it, until found returns false.
func (o *opening) search(n int64, sig string, more int, found func(off int64, next []byte) bool) error {
	n = min(n, o.p.Size)
	buf := make([]byte, min(scanChunk, n))
	want := len(sig) + more
	for start := int64(0); start+int64(want) <= n; {
		k, err := o.src.ReadAt(buf[:min(int64(len(buf)), n-start)], start)
		if k < want {
			return o.searchEnd(err)
		}
		for i := 0; ; {
			j := bytes.Index(buf[i:k], []byte(sig))
			if j < 0 || i+j+want > k {
				break
			}
			i += j + 1
			if at := i - 1; !found(start+int64(at), buf[at+len(sig):at+want]) {
				return nil
			}
		}
		start += int64(k - want + 1)
	}
	return nil
}

func (o *opening) searchEnd(err error) error {
	if fatal := o.fatal(); fatal != nil || err == io.EOF {
		return fatal
	}
	return err
}

// A zipEndRecord is what an end record, or the one of zip64 before it, says.
type zipEndRecord struct {
	disk, dirDisk uint32
	count         uint64
	size, offset  uint64 // of the directory
	at            int64  // of the record
}

// directory reads the directory that the end record at that offset leads to, and reports
// whether there is one.
func (z *zipFile) directory(end int64) (bool, error) {
	var b [zipEndLen]byte
	if n, _ := z.o.src.ReadAt(b[:], end); n < len(b) {
		return false, z.o.fatal()
	}
	r := zipEndRecord{
		disk: uint32(binary.LittleEndian.Uint16(b[4:])), dirDisk: uint32(binary.LittleEndian.Uint16(b[6:])),
		count: uint64(binary.LittleEndian.Uint16(b[10:])), size: uint64(binary.LittleEndian.Uint32(b[12:])),
		offset: uint64(binary.LittleEndian.Uint32(b[16:])), at: end,
	}
	found := false
	for _, r := range z.endRecords(r) {
		ok, err := z.follow(r)
		if err != nil {
			return false, err
		}
		found = found || ok
	}
	if found {
		z.readComment(end+zipEndLen, int64(binary.LittleEndian.Uint16(b[20:])))
		z.end = max(z.end, min(end+zipEndLen+int64(binary.LittleEndian.Uint16(b[20:])), z.o.p.Size))
	}
	return found, nil
}

// endRecords are r and those of zip64 before it: where r leaves nothing to those, programs follow
// the one or the other.
func (z *zipFile) endRecords(r zipEndRecord) []zipEndRecord {
	big := z.ends64(r)
	same := func(a, b, max uint64) bool { return a == b || a == max }
	for _, b := range big {
		if !same(r.count, b.count, math.MaxUint16) || !same(r.size, b.size, math.MaxUint32) || !same(r.offset, b.offset, math.MaxUint32) {
			big = append(big, r)
			break
		}
	}
	switch len(big) {
	case 0:
		return []zipEndRecord{r}
	case 1:
		return big
	}
	z.o.report(z.o.p, ambiguous, "the end records of a zip archive disagree")
	return big
}

// ends64 reads the end records of zip64: that by its locator and that right before the locator,
// by which some programs go because a prefix may have moved it. They are one unless somebody
// wants programs to differ.
func (z *zipFile) ends64(r zipEndRecord) (out []zipEndRecord) {
	var loc [zipLoc64Len]byte
	if n, _ := z.o.src.ReadAt(loc[:], max(r.at-zipLoc64Len, 0)); n < len(loc) || string(loc[:4]) != "PK\x06\x07" {
		return nil
	}
	offset := int64(binary.LittleEndian.Uint64(loc[8:]))
	for _, at := range []int64{offset, r.at - zipLoc64Len - zipEnd64Len} {
		var b [zipEnd64Len]byte
		if at < 0 || at > z.o.p.Size || len(out) > 0 && at == offset {
			continue
		}
		if n, _ := z.o.src.ReadAt(b[:], at); n < len(b) || string(b[:4]) != "PK\x06\x06" {
			continue
		}
		out = append(out, zipEndRecord{
			disk: binary.LittleEndian.Uint32(b[16:]), dirDisk: binary.LittleEndian.Uint32(b[20:]),
			count: binary.LittleEndian.Uint64(b[32:]), size: binary.LittleEndian.Uint64(b[40:]),
			offset: binary.LittleEndian.Uint64(b[48:]), at: at,
		})
	}
	return out
}

// follow reads the directory that r describes: where its size leads back to, and where its
// offset leads, if those are two places. It reports whether there is one.
func (z *zipFile) follow(r zipEndRecord) (bool, error) {
	if r.disk != 0 && r.disk != math.MaxUint16 || r.dirDisk != 0 && r.dirDisk != math.MaxUint16 {
		z.o.report(z.o.p, multivolume, "last volume of a split zip archive")
	}
	if r.count > uint64(max(z.o.b.Members(), 0)) && r.count*zipCentralLen <= uint64(z.o.p.Size) {
		return false, fmt.Errorf("%w: zip archive of %d members", scanners.ErrBudget, r.count)
	}
	if r.size == 0 && r.count == 0 {
		return true, nil
	}
	byOffset := int64(-1)
	if r.offset < uint64(r.at) {
		byOffset = int64(r.offset)
	}
	bySize := int64(-1)
	if r.size <= uint64(r.at) {
		bySize = r.at - int64(r.size)
	}
	a, err := z.list(r, bySize, bySize-int64(r.offset))
	if err != nil || byOffset == bySize {
		return a, err
	}
	b, err := z.list(r, byOffset, 0)
	if b && !a {
		z.o.report(z.o.p, damaged, "the end record of a zip archive gives a wrong size of the central directory")
	}
	if a && b {
		z.o.report(z.o.p, ambiguous, "the end record of a zip archive leads to two central directories")
	}
	return a || b, err
}

// list reads the directory at start. Offsets in it count from base, or from the start of the
// part.
func (z *zipFile) list(r zipEndRecord, start, base int64) (bool, error) {
	if start < 0 || start >= r.at {
		return false, nil
	}
	in := z.o.input(start, r.at-start)
	n := uint64(0)
	for ; ; n++ {
		h, err := z.o.readCentral(in)
		if err != nil {
			return false, z.o.fatal()
		}
		if h == nil {
			break
		}
		if base != 0 && z.isLocal(h.at+base) {
			h.at += base
		}
		if err := z.add(h); err != nil {
			return false, err
		}
	}
	if n > 0 && n&math.MaxUint16 != r.count&math.MaxUint16 {
		z.o.report(z.o.p, ambiguous, "the end record of a zip archive counts other members than there are")
	}
	return n > 0, z.o.fatal()
}

// isLocal reports whether there is a local header at that offset.
func (z *zipFile) isLocal(at int64) bool {
	var b [4]byte
	n, _ := z.o.src.ReadAt(b[:], max(at, 0))
	return at >= 0 && string(b[:n]) == "PK\x03\x04"
}

// readCentral reads one entry of a directory; nil if there is no more.
func (o *opening) readCentral(in io.Reader) (*zipHeader, error) {
	var b [zipCentralLen]byte
	if _, err := io.ReadFull(in, b[:]); err != nil || string(b[:4]) != "PK\x01\x02" {
		return nil, nil //nolint:nilerr // whatever it is, the directory ends there
	}
	nameLen, extraLen := int(binary.LittleEndian.Uint16(b[28:])), int(binary.LittleEndian.Uint16(b[30:]))
	rest := o.room(nameLen + extraLen + int(binary.LittleEndian.Uint16(b[32:])))
	if _, err := io.ReadFull(in, rest); err != nil {
		return nil, noEOF(err)
	}
	h := &zipHeader{
		flags: binary.LittleEndian.Uint16(b[8:]), method: binary.LittleEndian.Uint16(b[10:]),
		time: binary.LittleEndian.Uint16(b[12:]), crc: binary.LittleEndian.Uint32(b[16:]), name: string(clip(rest[:nameLen])),
		packed: int64(binary.LittleEndian.Uint32(b[20:])), size: int64(binary.LittleEndian.Uint32(b[24:])),
		at: int64(binary.LittleEndian.Uint32(b[42:])), central: true,
	}
	h.extra(rest[nameLen : nameLen+extraLen])
	return h, nil
}

// readComment reads some of the comment of n bytes at that offset.
func (z *zipFile) readComment(at, n int64) {
	b := make([]byte, min(n, maxComment))
	k, _ := z.o.src.ReadAt(b, at) // what cannot be read has no words
	z.comment += string(b[:k]) + "\n"
}
