package disk

import (
	"encoding/binary"
	"fmt"
)

// The flags of a directory record (ECMA-119 section 9.1.6).
const (
	isoDir   = 0x02
	isoMulti = 0x80
)

// An isoTree reads one tree of directories.
type isoTree struct {
	*isoDisc
	isoRoot
	skip    int // bytes of system use that are not SUSP; negative if there is none of it
	visited map[int64]bool
	queued  map[int64]bool
	queue   []isoDirAt
	moved   []isoDirAt // directories that are shown elsewhere, if their own place is found
	pending *unionFile // a file with further extents
}

// An isoDirAt is a directory: where it is, and its path, which differs with Rock Ridge.
type isoDirAt struct {
	off, size int64
	plain, rr string
	depth     int
}

// An isoRecord is a directory record.
type isoRecord struct {
	off, size   int64
	flags       byte
	name, use   []byte
	interleaved bool
	rr          string // the name of Rock Ridge
	link, moved bool
	zisofs      bool
	child       int64 // where a directory is that was moved; 0 if none
}

// walk reads all directories in the queue, and those in them, each once; the first may be the root.
func (t *isoTree) walk(root bool) error {
	for len(t.queue)+len(t.moved) > 0 {
		if len(t.queue) == 0 {
			t.queue, t.moved = t.moved[:1:1], t.moved[1:]
			if t.visited[t.queue[0].off] {
				t.queue = nil
				continue
			}
		}
		d := t.queue[0]
		t.queue = t.queue[1:]
		if t.visited[d.off] {
			t.vol.w.v.Note(fmt.Errorf("%w: a directory is in more than one place", ErrAmbiguous))
			continue
		}
		t.visited[d.off] = true
		if err := t.directory(d, root); err != nil {
			return err
		}
		root = false
	}
	return nil
}

// pathTable reads a table of all directories (ECMA-119 section 6.9), whose place is in the volume
// descriptor vd. Windows finds directories by it, and Linux by the records of their parents: those
// that only it has are read too.
func (t *isoTree) pathTable(vd []byte, at int64, order binary.ByteOrder) error {
	if int64(len(vd)) < isoSector {
		return nil
	}
	size := min(int64(binary.LittleEndian.Uint32(vd[132:])), maxDirBytes)
	b := t.vol.peek(int64(order.Uint32(vd[at:]))*t.block, size)
	if len(b) < 10 || b[0] != 1 || b[8] != 0 { // it begins with the root; some writers leave one of the tables out
		return nil
	}
	for len(b) >= 8 {
		n := int(b[0])
		end := 8 + n + n&1
		if n == 0 || end > len(b) {
			return nil // what is behind the last
		}
		off, name := (int64(order.Uint32(b[2:]))+int64(b[1]))*t.block, b[8:8+n]
		b = b[end:]
		if t.visited[off] || off >= t.vol.size {
			continue
		}
		t.vol.w.v.Note(fmt.Errorf("%w: a directory is only in the table of directories", ErrAmbiguous))
		d := isoDirAt{off: off, size: t.sizeAt(off), plain: isoNames(name, t.joliet)[0], depth: 1}
		d.rr = d.plain
		t.queue = append(t.queue, d)
		if err := t.vol.w.passed(); err != nil {
			return err
		}
		if err := t.walk(false); err != nil {
			return err
		}
	}
	return nil
}

// directory reads the records of one directory, sector by sector: none crosses from one into the next.
func (t *isoTree) directory(d isoDirAt, root bool) error {
	if d.off < 0 || d.size == 0 || d.off >= t.vol.size {
		t.vol.w.v.Note(damagedf("a directory of ISO 9660 lies beyond the end"))
		return nil
	}
	size := min(d.size, t.vol.size-d.off)
	if size < d.size {
		t.vol.w.v.Note(damagedf("a directory of ISO 9660 lies beyond the end"))
	}
	for n, at := 0, int64(0); at < size; at += isoSector {
		b, err := t.vol.read(d.off+at, min(isoSector, size-at))
		if err != nil {
			return err
		}
		for len(b) > 33 && b[0] >= 34 {
			length := int(b[0])
			if length > len(b) {
				t.vol.w.v.Note(damagedf("a directory record of ISO 9660"))
				break
			}
			if err := t.record(d, b[:length], n, root); err != nil {
				return err
			}
			b, n = b[length:], n+1
		}
	}
	return t.flush()
}

// record reads a directory record; it is the nth of its directory.
func (t *isoTree) record(d isoDirAt, b []byte, n int, root bool) error {
	if err := t.vol.w.spend(recordCost); err != nil {
		return err
	}
	r, ok := t.parse(b)
	if !ok {
		t.vol.w.v.Note(damagedf("a directory record of ISO 9660"))
		return nil
	}
	if n == 0 && root {
		t.startSUSP(r.use)
	}
	if len(r.name) == 1 && r.name[0] <= 1 { // itself and its parent
		return nil
	}
	if t.skip >= 0 && !t.joliet {
		if err := t.rockRidge(&r); err != nil {
			return err
		}
	}
	if r.flags&isoDir != 0 || r.child > 0 {
		return t.enqueue(d, r)
	}
	return t.entry(d, r)
}

// parse reads the fields of a record.
func (t *isoTree) parse(b []byte) (isoRecord, bool) {
	nameLen := int(b[32])
	if 33+nameLen > len(b) {
		return isoRecord{}, false
	}
	r := isoRecord{
		off:   (int64(binary.LittleEndian.Uint32(b[2:])) + int64(b[1])) * t.block,
		size:  int64(binary.LittleEndian.Uint32(b[10:])),
		flags: b[25], name: b[33 : 33+nameLen], interleaved: b[26] != 0 || b[27] != 0,
	}
	if t.hs {
		r.flags = b[24]
	}
	if use := 33 + nameLen + 1 - nameLen&1; use < len(b) {
		r.use = b[use:]
	}
	return r, true
}

func (t *isoTree) enqueue(d isoDirAt, r isoRecord) error {
	if d.depth >= maxDirDepth {
		return fmt.Errorf("%w: directories deeper than %d", ErrLimit, maxDirDepth)
	}
	next := isoDirAt{off: r.off, size: r.size, depth: d.depth + 1, plain: under(d.plain, isoNames(r.name, t.joliet)[0])}
	if t.skip >= 0 {
		name := r.rr
		if name == "" {
			name = base(next.plain)
		}
		next.rr = under(d.rr, name)
	}
	if r.child > 0 {
		next.off, next.size = r.child, t.sizeAt(r.child)
	}
	if r.child > 0 && (t.visited[next.off] || t.queued[next.off]) {
		return nil
	}
	if r.moved {
		t.moved = append(t.moved, next)
	} else {
		t.queue, t.queued[next.off] = append(t.queue, next), true
	}
	return t.vol.w.passed()
}

// sizeAt is the size that a directory gives for itself in its first record.
func (t *isoTree) sizeAt(off int64) int64 {
	b := t.vol.peek(off, 34)
	if len(b) < 34 || b[32] != 1 || b[33] != 0 {
		return isoSector
	}
	return int64(binary.LittleEndian.Uint32(b[10:]))
}

// entry adds a file. One that has several extents is several records (ECMA-119 section 6.5.1).
func (t *isoTree) entry(d isoDirAt, r isoRecord) error {
	var names []string
	for _, name := range isoNames(r.name, t.joliet) {
		names = addName(names, under(d.plain, name))
	}
	if r.rr != "" {
		names = addName(names, under(d.rr, r.rr))
	}
	if t.pending != nil && t.pending.names[0] != names[0] {
		if err := t.flush(); err != nil {
			return err
		}
	}
	if t.pending == nil {
		t.pending = &unionFile{names: names, link: r.link}
	}
	f := t.pending
	if r.size > 0 {
		f.ext.add(r.off, r.size)
	}
	f.size += r.size
	switch {
	case r.interleaved:
		f.err = unsupportedf("an interleaved file")
	case r.zisofs:
		t.vol.w.v.Note(unsupportedf("a file that Linux unpacks (zisofs)"))
	}
	if r.flags&isoMulti != 0 {
		return nil
	}
	return t.flush()
}

// flush adds the file whose extents were collected.
func (t *isoTree) flush() error {
	if t.pending == nil {
		return nil
	}
	f := *t.pending
	t.pending = nil
	return t.u.add(f)
}

// startSUSP looks for the System Use Sharing Protocol in the first record of the root (SUSP 1.12
// section 5.3).
func (t *isoTree) startSUSP(use []byte) {
	for _, skip := range []int{0, 14} { // 14: behind the attributes of CD-ROM XA
		if len(use) >= skip+7 && string(use[skip:skip+2]) == "SP" && use[skip+4] == 0xbe && use[skip+5] == 0xef {
			t.skip = int(use[skip+6])
		}
	}
	if t.skip < 0 && !t.joliet && len(use) >= 5 && (string(use[:2]) == "RR" || string(use[:2]) == "PX") {
		t.skip = 0 // old writers leave it out, and Linux does not mind
	}
}

// rockRidge reads the entries of Rock Ridge (RRIP 1.12 section 4.1).
func (t *isoTree) rockRidge(r *isoRecord) error {
	use := r.use
	use = use[min(t.skip, len(use)):]
	for areas := 0; ; {
		next, err := t.area(r, use)
		if err != nil || next == nil {
			return err
		}
		if areas++; areas > 64 {
			t.vol.w.v.Note(damagedf("system use areas without an end"))
			return nil
		}
		use = next
	}
}

// area reads one area of entries, and gives the one that continues it.
func (t *isoTree) area(r *isoRecord, use []byte) (next []byte, err error) {
	for len(use) >= 4 {
		n := int(use[2])
		if n < 4 || n > len(use) {
			break
		}
		e := use[:n]
		use = use[n:]
		switch sig := string(e[:2]); {
		case sig == "NM" && n >= 5 && e[4]&6 == 0 && len(r.rr) < 1024:
			r.rr += string(e[5:])
		case sig == "SL":
			r.link = true
		case sig == "RE":
			r.moved = true
		case sig == "CL" && n >= 12:
			r.child = int64(binary.LittleEndian.Uint32(e[4:])) * t.block
		case sig == "ZF":
			r.zisofs = true
		case sig == "CE" && n >= 28:
			off := int64(binary.LittleEndian.Uint32(e[4:]))*t.block + int64(binary.LittleEndian.Uint32(e[12:]))
			next, err = t.vol.read(off, min(int64(binary.LittleEndian.Uint32(e[20:])), isoSector))
			if err != nil {
				t.vol.w.v.Note(err)
				return nil, nil
			}
		case sig == "ST":
			return next, nil
		}
	}
	return next, nil
}
