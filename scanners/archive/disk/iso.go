package disk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

const (
	isoSector = 2048
	// isoFirst is the sector at which the volume descriptors begin (ECMA-119 section 6.2), counted from
	// the beginning of the session.
	isoFirst = 16
	// isoDescriptors is how many descriptors systems look through (Linux).
	isoDescriptors = 100
	// maxSessions is how many sessions of a disc are read.
	maxSessions = 32
)

// An isoDisc reads the trees of an ISO 9660 file system (ECMA-119, with Joliet, SUSP and Rock Ridge).
type isoDisc struct {
	vol   volume
	u     *union
	seen  map[isoRoot]bool
	boots []int64 // sectors of boot catalogs
}

// An isoRoot is where a tree begins, and how it is read.
type isoRoot struct {
	off, size, block int64
	joliet, hs       bool
}

// isoDescriptor reports whether a volume descriptor is at off: of ECMA-119, or of High Sierra, which
// came before it.
func isoDescriptor(vol volume, off int64) (is, hs bool) {
	b := vol.peek(off, 14)
	switch {
	case len(b) < 14:
		return false, false
	case string(b[1:6]) == "CD001":
		return true, false
	}
	return string(b[9:14]) == "CDROM", true
}

// isISO reports whether there is a descriptor where systems look for one.
func isISO(vol volume) bool {
	for i := int64(isoFirst); i < isoFirst+isoDescriptors; i++ {
		if is, _ := isoDescriptor(vol, i*isoSector); is && isoSane(vol, i*isoSector) {
			return true
		}
	}
	return false
}

// isoSane tells a volume descriptor from bytes that look like one. What is not the first may be in
// a file, so it takes a root that is a directory.
func isoSane(vol volume, off int64) bool {
	b := vol.peek(off, isoSector)
	return off < (isoFirst+4)*isoSector || len(b) == isoSector && b[0] == 1 && b[6] == 1 && b[156] >= 34 && b[181]&isoDir != 0
}

// iso collects the files of all sessions of a disc.
func iso(vol volume, u *union) error {
	d := &isoDisc{vol: vol, u: u, seen: map[isoRoot]bool{}}
	if err := d.session(0, ""); err != nil {
		return err
	}
	if len(d.seen) == 0 {
		vol.w.v.Note(damagedf("ISO 9660 without a volume descriptor that can be read"))
	}
	if err := d.sessions(); err != nil {
		return err
	}
	for _, at := range d.boots {
		if err := d.bootImages(at); err != nil {
			return err
		}
	}
	return nil
}

// sessions looks for what was written before or after the session that the image begins with:
// systems show one of them, the last on a disc and the first in a file.
func (d *isoDisc) sessions() error {
	found := 0
	if err := d.vol.w.spend(64 * (d.vol.size / isoSector)); err != nil {
		return err
	}
	for sector := int64(isoFirst + 1); sector*isoSector < d.vol.size; sector++ {
		off := sector * isoSector
		var b [7]byte
		if n, err := d.vol.ReadAt(b[:], off); n < len(b) {
			return readError(err)
		}
		if string(b[:]) != "\x01CD001\x01" || d.isKnown(off) {
			continue
		}
		if err := d.vol.w.spend(int64(16 * len(d.u.list))); err != nil {
			return err
		}
		if d.u.covers(off) {
			continue // in a file, for instance another image
		}
		if found++; found > maxSessions {
			return fmt.Errorf("%w: more than %d sessions", ErrLimit, maxSessions)
		}
		if err := d.session(sector-isoFirst, fmt.Sprintf(" of the session at sector %d", sector-isoFirst)); err != nil {
			return err
		}
	}
	return nil
}

// isKnown reports whether the tree of the descriptor at off was read.
func (d *isoDisc) isKnown(off int64) bool {
	root, ok := d.root(off, false)
	return ok && d.seen[root]
}

// session reads all trees of the session that begins at a sector.
func (d *isoDisc) session(start int64, where string) error {
	for i := int64(isoFirst); i < isoFirst+isoDescriptors; i++ {
		off := (start + i) * isoSector
		is, hs := isoDescriptor(d.vol, off)
		if !is && start > 0 {
			return nil
		}
		if !is || start == 0 && !isoSane(d.vol, off) {
			continue // Linux goes on to the end, others do not
		}
		b, err := d.vol.read(off, isoSector)
		if err != nil {
			return err
		}
		kind := b[0]
		if hs {
			kind = b[8]
		}
		switch kind {
		case 0:
			if bytes.HasPrefix(b[7:], []byte("EL TORITO SPECIFICATION")) {
				d.boots = append(d.boots, int64(binary.LittleEndian.Uint32(b[71:])))
			}
		case 1, 2:
			err = d.tree(off, hs, where)
		case 255:
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// root reads where the tree of a volume descriptor begins (ECMA-119 section 8.4).
func (d *isoDisc) root(off int64, hs bool) (isoRoot, bool) {
	b := d.vol.peek(off, isoSector)
	if len(b) < isoSector {
		return isoRoot{}, false
	}
	block, rec := int64(binary.LittleEndian.Uint16(b[128:])), b[156:190]
	if hs {
		block, rec = int64(binary.LittleEndian.Uint16(b[136:])), b[180:214]
	}
	if block < 512 || block > isoSector || block&(block-1) != 0 {
		block = isoSector
	}
	esc := string(b[88:91])
	joliet := !hs && b[0] == 2 && (esc == "%/@" || esc == "%/C" || esc == "%/E")
	lba := int64(binary.LittleEndian.Uint32(rec[2:])) + int64(rec[1])
	return isoRoot{lba * block, int64(binary.LittleEndian.Uint32(rec[10:])), block, joliet, hs}, true
}

func (d *isoDisc) tree(off int64, hs bool, where string) error {
	root, ok := d.root(off, hs)
	if !ok || d.seen[root] {
		return nil
	}
	d.seen[root] = true
	name := "ISO 9660"
	if root.joliet {
		name = "Joliet"
	}
	if err := d.u.view(name + where); err != nil {
		return err
	}
	t := &isoTree{isoDisc: d, isoRoot: root, skip: -1, visited: map[int64]bool{}, queued: map[int64]bool{}}
	t.queue = []isoDirAt{{off: root.off, size: root.size}}
	if err := t.walk(true); err != nil || hs {
		return err
	}
	for _, table := range []struct {
		at    int64
		order binary.ByteOrder
	}{{140, binary.LittleEndian}, {148, binary.BigEndian}} {
		if err := t.pathTable(d.vol.peek(off, isoSector), table.at, table.order); err != nil {
			return err
		}
	}
	return nil
}

// bootImages adds the images that a computer starts from (El Torito 1.0, section 2).
func (d *isoDisc) bootImages(sector int64) error {
	cat := d.vol.peek(sector*isoSector, isoSector)
	for n, at := 1, 32; at+32 <= len(cat); at += 32 {
		e := cat[at:]
		if e[0] != 0x88 && e[0] != 0 || binary.LittleEndian.Uint32(e[8:]) == 0 {
			continue
		}
		off := int64(binary.LittleEndian.Uint32(e[8:])) * isoSector
		size := int64(binary.LittleEndian.Uint16(e[6:])) * 512
		if floppy := map[byte]int64{1: 1200, 2: 1440, 3: 2880}[e[1]&0xf]; floppy > 0 {
			size = floppy << 10
		}
		if e[1]&0xf == 4 { // a hard disk, whose size is in its partition table
			size = max(size, diskEnd(d.vol.part(off, d.vol.size)))
		}
		if off >= d.vol.size || size == 0 || d.u.covers(off) {
			continue
		}
		size = min(size, d.vol.size-off)
		f := extents{{off, size}}.fileOf(d.vol, []string{fmt.Sprintf("boot-%d.img", n)}, size)
		n++
		if err := d.vol.w.file(f); err != nil {
			return err
		}
	}
	return nil
}

// isoNames are what systems make of the name in a directory record: all leave out the version,
// some the dot of an empty suffix.
func isoNames(raw []byte, joliet bool) []string {
	name := string(raw)
	if joliet {
		name = utf16Of(raw, binary.BigEndian)
	}
	if at := strings.LastIndexByte(name, ';'); at > 0 {
		name = name[:at]
	}
	if name == "" {
		name = unnamed
	}
	names := []string{name}
	if short := strings.TrimRight(name, "."); short != "" {
		names = addName(names, short)
	}
	return names
}
