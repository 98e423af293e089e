package disk

import (
	"encoding/binary"
	"sort"
	"strings"
)

// maxUDFContinues is how many further areas of allocation descriptors one file may have.
const maxUDFContinues = 4096

// A udfRun is where a partition is, in bytes of the image.
type udfRun struct{ start, n int64 }

// A udfVolume reads a logical volume.
type udfVolume struct {
	*udfDisc
	bs      int64
	parts   []udfMap
	visited map[int64]bool
	queue   []udfDirAt
}

// A udfMap says where the blocks of a partition are (UDF 2.60 section 2.2.8 and on).
type udfMap struct {
	udfRun
	number uint16
	// at is where a block is, and how many bytes follow it there; nil if the partition is one run.
	at func(block int64) (off, n int64)
}

// partitions reads the partition maps of a logical volume descriptor (ECMA-167 3/10.7).
func (v *udfVolume) partitions(b []byte, parts map[uint16]udfRun) error {
	maps := b[440:min(440+int64(binary.LittleEndian.Uint32(b[264:])), int64(len(b)))]
	type late struct {
		i int
		m []byte
	}
	var special []late
	for len(maps) >= 2 && int(maps[1]) <= len(maps) && maps[1] >= 6 {
		m := maps[:maps[1]]
		maps = maps[len(m):]
		at := 4
		if m[0] == 2 && len(m) >= 64 {
			at = 38
			special = append(special, late{len(v.parts), m})
		}
		id := binary.LittleEndian.Uint16(m[at:])
		v.parts = append(v.parts, udfMap{udfRun: parts[id], number: id})
	}
	for _, s := range special { // they lie in others, which had to be there first
		if err := v.special(s.i, s.m); err != nil {
			return err
		}
	}
	return nil
}

// special reads a partition map of type 2.
func (v *udfVolume) special(i int, m []byte) error {
	p := &v.parts[i]
	switch id := strings.TrimRight(string(m[5:28]), "\x00"); id {
	case "*UDF Virtual Partition":
		return v.virtual(p)
	case "*UDF Sparable Partition":
		return v.sparable(p, m)
	case "*UDF Metadata Partition":
		return v.metadata(p, m)
	default:
		return unsupportedf("UDF with %q", id)
	}
}

// metadata maps the blocks of a metadata partition: it is a file (UDF 2.60 section 2.2.10), of which
// there is a mirror.
func (v *udfVolume) metadata(p *udfMap, m []byte) error {
	physical := -1
	for i := range v.parts {
		if &v.parts[i] != p && v.parts[i].number == p.number && v.parts[i].at == nil {
			physical = i
		}
	}
	if physical < 0 {
		return damagedf("UDF without the partition of its metadata")
	}
	f, err := v.fileEntry(udfAddr{n: v.bs, lbn: int64(binary.LittleEndian.Uint32(m[40:])), part: uint16(physical)})
	if err != nil {
		f, err = v.fileEntry(udfAddr{n: v.bs, lbn: int64(binary.LittleEndian.Uint32(m[44:])), part: uint16(physical)})
	}
	if err != nil {
		return err
	}
	starts := make([]int64, 0, len(f.ext))
	end := int64(0)
	for _, x := range f.ext {
		starts = append(starts, end)
		end += x.n
	}
	p.at = func(block int64) (int64, int64) {
		off := block * v.bs
		i := sort.Search(len(starts), func(i int) bool { return starts[i] > off }) - 1
		if off < 0 || off >= end || i < 0 || f.ext[i].off < 0 {
			return -1, v.bs
		}
		return f.ext[i].off + off - starts[i], f.ext[i].n - (off - starts[i])
	}
	return nil
}

// sparable maps the blocks of a partition some packets of which are kept elsewhere (UDF 2.60 section
// 2.2.11).
func (v *udfVolume) sparable(p *udfMap, m []byte) error {
	packet := int64(binary.LittleEndian.Uint16(m[40:]))
	moved := map[int64]int64{}
	for i, n := 0, min(int(m[42]), 4); i < n && packet > 0; i++ {
		b := v.vol.peek(int64(binary.LittleEndian.Uint32(m[48+4*i:]))*v.bs, min(int64(binary.LittleEndian.Uint32(m[44:])), 1<<20))
		if len(b) < 56 {
			continue
		}
		for k := range min(int(binary.LittleEndian.Uint16(b[48:])), (len(b)-56)/8) {
			e := b[56+8*k:]
			if from := binary.LittleEndian.Uint32(e); from < 0xfffffff0 {
				moved[int64(from)] = int64(binary.LittleEndian.Uint32(e[4:]))
			}
		}
		break
	}
	if len(moved) == 0 {
		return nil
	}
	run := p.udfRun
	p.at = func(block int64) (int64, int64) {
		first := block / packet * packet
		if to, ok := moved[first]; ok {
			return (to + block - first) * v.bs, (packet - (block - first)) * v.bs
		}
		return run.start + block*v.bs, (packet - (block - first)) * v.bs
	}
	return nil
}

// virtual maps the blocks of a disc that is written once: the table that tells where they are is
// the last thing written (UDF 2.60 section 2.2.9).
func (v *udfVolume) virtual(p *udfMap) error {
	run := p.udfRun
	for last := v.vol.size/v.bs - 1; last > max(v.vol.size/v.bs-33, 0); last-- {
		f, err := v.entryAt(v.vol.peek(last*v.bs, v.bs), last*v.bs, run)
		if err != nil || f.kind != 248 && f.kind != 0 || f.size > 4<<20 {
			continue
		}
		b, err := f.ext.read(v.vol, 0, f.size)
		if err != nil || len(b) < 8 {
			continue
		}
		if f.kind == 248 {
			b = b[min(int(binary.LittleEndian.Uint16(b)), len(b)):]
		} else if b = b[:max(len(b)-36, 0)]; len(b) == 0 {
			continue
		}
		p.at = func(block int64) (int64, int64) {
			if block < 0 || block >= int64(len(b)/4) {
				return -1, v.bs
			}
			return run.start + int64(binary.LittleEndian.Uint32(b[4*block:]))*v.bs, v.bs
		}
		return nil
	}
	return damagedf("UDF without its virtual allocation table")
}

// locate appends where n bytes from a block on are.
func (v *udfVolume) locate(e *extents, a udfAddr) error {
	if a.kind != 0 {
		e.add(-1, a.n)
		return v.vol.w.spend(extentCost)
	}
	if int(a.part) >= len(v.parts) {
		return damagedf("UDF leads to partition %d", a.part)
	}
	p := &v.parts[a.part]
	for block, n := a.lbn, a.n; n > 0; {
		if err := v.vol.w.spend(extentCost); err != nil {
			return err
		}
		off, run := p.start+block*v.bs, n
		if p.at != nil {
			off, run = p.at(block)
			run = min(run, n)
		}
		if off < 0 || run <= 0 {
			return damagedf("UDF leads to a block that is not there")
		}
		e.add(off, run)
		block, n = block+(run+v.bs-1)/v.bs, n-run
	}
	return nil
}

// block reads one block, and tells where it is.
func (v *udfVolume) block(a udfAddr) ([]byte, int64, error) {
	var e extents
	if err := v.locate(&e, udfAddr{n: v.bs, lbn: a.lbn, part: a.part}); err != nil {
		return nil, 0, err
	}
	b, err := e.read(v.vol, 0, v.bs)
	return b, e[0].off, err
}

// A udfEntry is a file entry (ECMA-167 4/14.9 and 4/14.17).
type udfEntry struct {
	off     int64 // where it is
	kind    byte
	size    int64
	ext     extents
	streams udfAddr
}

// fileEntry reads the entry at an address. An indirect one leads to another (ECMA-167 4/14.7).
func (v *udfVolume) fileEntry(a udfAddr) (*udfEntry, error) {
	for range 16 {
		b, off, err := v.block(a)
		if err != nil {
			return nil, err
		}
		if udfTag(b, -1) == udfIndirect && len(b) >= 52 {
			a = udfLong(b[36:])
			continue
		}
		f, err := v.entryAt(b, off, udfRun{-1, int64(a.part)})
		if err != nil {
			return nil, err
		}
		return f, nil
	}
	return nil, damagedf("UDF with entries that lead in a circle")
}

// entryAt reads the entry in block b, which is at off. If run has a start, addresses are in it, and
// not in a partition; else its length is the number of the partition that short addresses are in.
func (v *udfVolume) entryAt(b []byte, off int64, run udfRun) (*udfEntry, error) {
	data := 176
	switch udfTag(b, -1) {
	case udfFile:
	case udfExtFile:
		data = 216
	default:
		return nil, damagedf("UDF without a file entry where one should be")
	}
	if len(b) < data {
		return nil, damagedf("a file entry of UDF")
	}
	f := &udfEntry{off: off, kind: b[27], size: int64(min(binary.LittleEndian.Uint64(b[56:]), 1<<62))}
	if data == 216 {
		f.streams = udfLong(b[152:])
	}
	start := int64(data) + int64(binary.LittleEndian.Uint32(b[data-8:]))
	n := int64(binary.LittleEndian.Uint32(b[data-4:]))
	if start > int64(len(b)) || n > int64(len(b))-start {
		return nil, damagedf("a file entry of UDF")
	}
	flags := binary.LittleEndian.Uint16(b[34:]) & 7
	if flags == 3 { // the content is where the addresses would be
		f.ext.add(off+start, n)
		return f, nil
	}
	return f, v.addresses(&f.ext, b[start:start+n], flags, run)
}

// addresses reads allocation descriptors (ECMA-167 4/14.14.1): short, long or extended ones.
func (v *udfVolume) addresses(e *extents, b []byte, kind uint16, run udfRun) error {
	width := []int{8, 16, 20}[min(kind, 2)]
	for more := 0; len(b) >= width; {
		var a udfAddr
		switch n := binary.LittleEndian.Uint32(b); width {
		case 8:
			a = udfAddr{int64(n &^ (3 << 30)), byte(n >> 30), int64(binary.LittleEndian.Uint32(b[4:])), uint16(run.n)}
		case 16:
			a = udfLong(b)
		default:
			a = udfLong(b[8:])
			a.n, a.kind = int64(n&^(3<<30)), byte(n>>30)
			a.lbn, a.part = int64(binary.LittleEndian.Uint32(b[12:])), binary.LittleEndian.Uint16(b[16:])
		}
		b = b[width:]
		if a.n == 0 {
			return nil
		}
		if a.kind == 3 {
			if more++; more > maxUDFContinues {
				return damagedf("a file of UDF without an end")
			}
			next, _, err := v.block(a)
			if err != nil {
				return err
			}
			if udfTag(next, -1) != udfAllocExt || len(next) < 24 {
				return damagedf("a file of UDF")
			}
			b = next[24:min(24+int64(binary.LittleEndian.Uint32(next[20:])), int64(len(next)))]
			continue
		}
		if run.start >= 0 { // the table of virtual blocks lies in the partition itself
			e.add(run.start+a.lbn*v.bs, a.n)
			if err := v.vol.w.spend(extentCost); err != nil {
				return err
			}
			continue
		}
		if err := v.locate(e, a); err != nil {
			return err
		}
	}
	return nil
}
