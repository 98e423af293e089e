package disk

import (
	"encoding/binary"
	"fmt"
)

// list reads the index of a record that is a directory: the names that Windows shows. The file has
// them too, but need not have the same.
func (v *ntfsVolume) list(n uint64) error {
	r, _ := v.at(n) // an error is noted when its files are yielded
	if r == nil || !r.dir || r.base != 0 {
		return nil
	}
	if err := v.extend(r); err != nil {
		v.vol.w.v.Note(err)
	}
	size := int64(0)
	var ext extents
	for _, a := range r.attrs {
		switch {
		case a.name != "$I30":
		case a.kind == ntfsRootOf && a.resident && len(a.value) >= 32:
			size = int64(binary.LittleEndian.Uint32(a.value[8:]))
			if err := v.indexEntries(n, a.value[16:]); err != nil {
				return err
			}
		case a.kind == ntfsIndex && !a.resident:
			var err error
			if ext, err = v.runs(ext, a.runs); err != nil {
				v.vol.w.v.Note(err)
			}
		}
	}
	if size < 512 || size > 64<<10 {
		return nil
	}
	total := ext.within(ext.total(), v.vol.size)
	for at := int64(0); at+size <= total; at += size {
		b, err := ext.read(v.vol, at, size)
		if err != nil {
			return err
		}
		if string(b[:4]) != "INDX" || !ntfsFixup(b) {
			continue // not in use
		}
		if err := v.indexEntries(n, b[24:]); err != nil {
			return err
		}
	}
	return nil
}

// indexEntries reads the entries of one node of the index of directory n; b begins with its header.
func (v *ntfsVolume) indexEntries(n uint64, b []byte) error {
	at, end := int(binary.LittleEndian.Uint32(b)), int(binary.LittleEndian.Uint32(b[4:]))
	for end = min(end, len(b)); at >= 16 && at+16 <= end; {
		e := b[at:end]
		size, key := int(binary.LittleEndian.Uint16(e[8:])), int(binary.LittleEndian.Uint16(e[10:]))
		if e[12]&2 != 0 || size < 16 || size > len(e) { // the last has no name
			return nil
		}
		at += size
		if key < 66 || 16+key > size || 66+2*int(e[16+64]) > key {
			continue
		}
		if err := v.vol.w.spend(recordCost); err != nil {
			return err
		}
		if v.entries++; v.entries > 2*maxUnion {
			return fmt.Errorf("%w: more than %d names in directories", ErrLimit, 2*maxUnion)
		}
		ref := binary.LittleEndian.Uint64(e) & (1<<48 - 1)
		name := utf16Of(e[16+66:16+66+2*int(e[16+64])], binary.LittleEndian)
		if len(v.listed[ref]) < maxNTFSNames {
			v.listed[ref] = append(v.listed[ref], ntfsEntry{n, name})
		}
	}
	return nil
}
