package disk

import (
	"encoding/binary"
	"fmt"
	"slices"
	"unicode/utf16"
)

// An hfsVolume reads HFS+ and HFSX (Apple Technical Note TN1150).
type hfsVolume struct {
	vol   volume
	block int64
	over  map[hfsFork][]hfsRun
	dirs  map[uint32]hfsDir
	files []hfsFile
	bytes int64
}

// An hfsFork tells a fork of a file, and hfsRun blocks of it.
type hfsFork struct {
	id   uint32
	kind byte // 0 data, 0xff resources
}
type hfsRun struct{ first, start, n int64 }

type hfsDir struct {
	parent uint32
	name   string
}

type hfsFile struct {
	hfsDir
	id             uint32
	data, resource []byte // descriptions of its forks
	packed, link   bool
}

func isHFSPlus(vol volume) bool {
	return vol.has(1024, "H+\x00\x04") || vol.has(1024, "HX\x00\x05")
}

// hfsPlus yields all files that the leaves of the catalog have.
func hfsPlus(vol volume) error {
	h, err := vol.read(1024, 512)
	if err != nil {
		return err
	}
	v := &hfsVolume{vol: vol, block: int64(binary.BigEndian.Uint32(h[40:])), over: map[hfsFork][]hfsRun{}, dirs: map[uint32]hfsDir{}}
	if v.block < 512 || v.block > 1<<20 || v.block&(v.block-1) != 0 {
		return damagedf("HFS+ with blocks of %d bytes", v.block)
	}
	if err := v.leaves(h[192:272], 3, v.overflow); err != nil {
		return err
	}
	catalogErr := v.leaves(h[272:352], 4, v.catalog)
	for i := range v.files {
		if err := v.file(&v.files[i]); err != nil {
			return err
		}
	}
	return catalogErr
}

// fork reads where a fork is: eight runs, and more in the file of overflows.
func (v *hfsVolume) fork(b []byte, id hfsFork) (extents, int64) {
	var ext extents
	size := exSizeBE(b)
	have := int64(0)
	for i := 16; i+8 <= 80; i += 8 {
		start, n := int64(binary.BigEndian.Uint32(b[i:])), int64(binary.BigEndian.Uint32(b[i+4:]))
		ext.add(start*v.block, n*v.block)
		have += n
	}
	for _, r := range v.over[id] { // they are in order of their first block
		if r.first == have {
			ext.add(r.start*v.block, r.n*v.block)
			have += r.n
		}
	}
	return ext, size
}

func exSizeBE(b []byte) int64 { return int64(min(binary.BigEndian.Uint64(b), 1<<62)) }

// leaves calls visit for each record of the leaves of a B-tree, from the first leaf on. All nodes
// are looked at, so that no leaf can be hidden by links that leave it out.
func (v *hfsVolume) leaves(fork []byte, id uint32, visit func(key, data []byte) error) error {
	ext, size := v.fork(fork, hfsFork{id: id})
	size = min(size, ext.within(size, v.vol.size))
	h, err := ext.read(v.vol, 0, 512)
	if err != nil || len(h) < 512 {
		return damagedf("HFS+ without its catalog")
	}
	node := int64(binary.BigEndian.Uint16(h[32:]))
	if node < 512 || node&(node-1) != 0 {
		return damagedf("HFS+ with nodes of %d bytes", node)
	}
	for at := node; at+node <= size; at += node {
		b, err := ext.read(v.vol, at, node)
		if err != nil {
			return err
		}
		if b[8] != 0xff || b[9] != 1 { // not a leaf
			continue
		}
		if err := v.node(b, visit); err != nil {
			return err
		}
	}
	return nil
}

// node reads the records of one leaf; their places are at its end.
func (v *hfsVolume) node(b []byte, visit func(key, data []byte) error) error {
	for i := range int(binary.BigEndian.Uint16(b[10:])) {
		place := len(b) - 2*(i+1)
		if place < 14 {
			break
		}
		at := int(binary.BigEndian.Uint16(b[place:]))
		if at < 14 || at+2 > place {
			continue
		}
		n := int(binary.BigEndian.Uint16(b[at:]))
		data := at + 2 + n + n&1
		if n < 6 || data >= place {
			continue
		}
		if err := visit(b[at+2:at+2+n], b[data:place]); err != nil {
			return err
		}
	}
	return nil
}

// overflow reads further runs of a fork.
func (v *hfsVolume) overflow(key, data []byte) error {
	if len(key) < 10 || len(data) < 64 {
		return nil
	}
	id, first := hfsFork{binary.BigEndian.Uint32(key[2:]), key[0]}, int64(binary.BigEndian.Uint32(key[6:]))
	for i := 0; i < 64; i += 8 {
		n := int64(binary.BigEndian.Uint32(data[i+4:]))
		if n > 0 {
			v.over[id] = append(v.over[id], hfsRun{first, int64(binary.BigEndian.Uint32(data[i:])), n})
			first += n
		}
	}
	return v.vol.w.spend(8 * extentCost)
}

// catalog reads a record of the catalog: a directory or a file.
func (v *hfsVolume) catalog(key, data []byte) error {
	if len(key) < 6 || len(data) < 12 {
		return nil
	}
	n := 2 * int(binary.BigEndian.Uint16(key[4:]))
	if 6+n > len(key) {
		return nil
	}
	d := hfsDir{binary.BigEndian.Uint32(key), hfsName(key[6 : 6+n])}
	id := binary.BigEndian.Uint32(data[8:])
	if v.bytes += int64(len(d.name)) + 256; v.bytes > 2*maxUnionNames || len(v.files) >= maxUnion {
		return fmt.Errorf("%w: more than %d files", ErrLimit, maxUnion)
	}
	switch binary.BigEndian.Uint16(data) {
	case 1:
		v.dirs[id] = d
		return v.vol.w.passed()
	case 2:
		if len(data) < 248 {
			return nil
		}
		forks := slices.Clone(data[88:248]) // the node is not kept
		f := hfsFile{hfsDir: d, id: id, data: forks[:80], resource: forks[80:]}
		f.packed = data[41]&0x20 != 0 // UF_COMPRESSED among the flags of BSD
		f.link = string(data[48:52]) == "slnk" || string(data[48:52]) == "hlnk"
		v.files = append(v.files, f)
	}
	return v.vol.w.spend(256)
}

// hfsName decodes a name, in which a slash may be.
func hfsName(b []byte) string {
	u := make([]uint16, 0, len(b)/2)
	for i := 0; i+1 < len(b); i += 2 {
		u = append(u, binary.BigEndian.Uint16(b[i:]))
	}
	return string(utf16.Decode(u))
}

// file yields both forks of a file.
func (v *hfsVolume) file(f *hfsFile) error {
	name := f.name
	for depth, at := 0, f.parent; at > 2 && depth < maxDirDepth; depth++ {
		d, ok := v.dirs[at]
		if !ok {
			break
		}
		name, at = under(d.name, name), d.parent
	}
	if ext, size := v.fork(f.resource, hfsFork{f.id, 0xff}); size > 0 {
		r := ext.fileOf(v.vol, []string{name + "/..namedfork/rsrc"}, size)
		if err := v.vol.w.file(r); err != nil {
			return err
		}
	}
	ext, size := v.fork(f.data, hfsFork{id: f.id})
	data := ext.fileOf(v.vol, []string{name}, size)
	data.Link = f.link && size < 4096
	if f.packed {
		data = &File{Names: []string{name}, Err: unsupportedf("a file that macOS unpacks")}
	}
	return v.vol.w.file(data)
}
