package pdf

import (
	"io"
	"sort"
)

// Objects that the scan finds are known whatever the tables say. They are followed for objects that it
// cannot find, because they are in comments, strings or streams.

// follow reads all tables, and adds the objects that only they know of.
func (d *document) follow(open func(*entry) (io.Reader, error), tick func() error) error {
	f := &follower{d: d, c: newCursor(d.file.r, d.file.size), open: open, seen: map[int64]bool{}, tick: tick}
	for i := range d.trailers {
		if err := f.trailer(d.trailers[i].off); err != nil {
			return err
		}
	}
	for i := 0; i < len(d.entries); i++ {
		if d.entries[i].has(isTable) {
			if err := f.stream(i); err != nil {
				return err
			}
		}
	}
	for i := 0; i < len(d.starts); i++ { // there may be more of them then
		if err := f.at(d.starts[i]); err != nil {
			return err
		}
	}
	return nil
}

// A follower reads tables.
type follower struct {
	d    *document
	c    *cursor // for tables; that of the document goes where they lead
	open func(*entry) (io.Reader, error)
	tick func() error
	seen map[int64]bool // where tables were read
	n    int            // entries
}

// trailer reads the dictionary at an offset.
func (f *follower) trailer(off int64) error {
	f.d.file.seek(off)
	f.d.obj.parse(f.d.file, true)
	f.next(f.d.obj.value())
	return f.d.spend(f.d.file, off)
}

// next notes what tables a trailer leads to.
func (f *follower) next(dict value) {
	for _, key := range []string{"Prev", "XRefStm"} {
		if off := dict.get(key).int(-1); off >= 0 {
			f.d.begins(off)
		}
	}
}

// at reads the table that is said to begin at an offset, which some count from the header.
func (f *follower) at(off int64) error {
	if err := f.table(off); err != nil || f.d.start == 0 {
		return err
	}
	return f.table(off + f.d.start)
}

func (f *follower) table(off int64) error {
	d := f.d
	if off < 0 || off >= d.file.size || f.seen[off] {
		return nil
	}
	f.seen[off] = true
	if len(f.seen) > maxTables {
		d.limit("more than 1000 cross-reference tables")
		return nil
	}
	f.c.seek(off)
	var text []byte
	t := f.c.token(&text, maxKeyword)
	if t.kind == tokenKeyword && hasPrefix(text, "xref") {
		f.c.seek(t.off + int64(len("xref")))
		return f.sections(t.off)
	}
	i, err := f.object(off, -1)
	if err != nil || i < 0 || !d.entries[i].has(isTable) {
		return err
	}
	return f.stream(i)
}

// sections reads the sections of a table, and its trailer (7.5.4).
func (f *follower) sections(off int64) error {
	d := f.d
	var text []byte
	for {
		first, count := f.c.token(&text, maxKeyword), f.c.token(&text, maxKeyword)
		if first.kind == tokenKeyword && hasPrefix(text, "trailer") {
			f.c.seek(first.off + int64(len("trailer")))
			break
		}
		if first.kind != tokenInt || count.kind != tokenInt {
			return d.spend(f.c, off)
		}
		for i := int64(0); i < count.num; i++ {
			more, err := f.line(first.num + i)
			if err != nil {
				return err
			}
			if !more {
				break
			}
		}
		text = text[:0]
	}
	at := f.c.off()
	if err := d.spend(f.c, off); err != nil {
		return err
	}
	if len(d.trailers) < maxTrailers && !d.knowsTrailer(at) {
		d.trailers = append(d.trailers, trailer{off: at})
	}
	return f.trailer(at)
}

func (d *document) knowsTrailer(off int64) bool {
	for _, t := range d.trailers {
		if t.off == off {
			return true
		}
	}
	return false
}

// line reads one line of a table: an offset, a generation, and n for an object. Of anything else it
// takes nothing.
func (f *follower) line(num int64) (bool, error) {
	c := f.c
	var text []byte
	off := c.token(&text, maxKeyword)
	if off.kind != tokenInt {
		c.seek(off.off)
		return false, nil
	}
	c.token(&text, maxKeyword)
	kind := c.token(&text, maxKeyword)
	if kind.kind != tokenKeyword || len(text) == 0 {
		c.seek(off.off)
		return false, nil
	}
	if text[0] != 'n' {
		return true, nil
	}
	return true, f.place(off.num, num)
}

// place takes note of an object that is said to be at an offset.
func (f *follower) place(off, num int64) error {
	if f.n++; f.n%1024 == 0 {
		if err := f.tick(); err != nil {
			return err
		}
	}
	if _, err := f.object(off, num); err != nil || f.d.start == 0 {
		return err
	}
	_, err := f.object(off+f.d.start, num)
	return err
}

// object is the index of the object at an offset, which may be a new one; below 0 if there is none. A
// reader that does not compare numbers takes it for the object num, so it is known as that one too.
func (f *follower) object(off, num int64) (int, error) {
	d := f.d
	if off < 0 || off >= d.file.size {
		return -1, nil
	}
	if i := d.known(off); i >= 0 {
		return d.alias(i, num), nil
	}
	c := d.file
	c.seek(off)
	var text []byte
	before := [2]token{c.token(&text, maxKeyword), c.token(&text, maxKeyword)}
	word := c.token(&text, maxKeyword)
	if before[0].kind != tokenInt || before[1].kind != tokenInt || word.kind != tokenKeyword || !hasPrefix(text, "obj") {
		return -1, d.spend(c, off)
	}
	if i := d.known(before[0].off); i >= 0 {
		return d.alias(i, num), d.spend(c, off)
	}
	c.seek(word.off + int64(len("obj")))
	e, end, err := d.read(before)
	if err != nil {
		return -1, err
	}
	if end == endStream {
		d.data(&e)
		if e.length >= 0 && e.length <= c.size-e.data && d.ends(e.data+e.length) {
			e.end = e.data + e.length
		}
	}
	i := len(d.entries)
	if !d.add(e) {
		return -1, nil
	}
	d.alias(i, num)
	return i, d.spend(c, e.off)
}

// known is the index of the object that begins at an offset, -1 if the scan has not found one. Of the
// others, those that were added last are looked at.
func (d *document) known(off int64) int {
	i := sort.Search(d.scanned, func(i int) bool { return d.entries[i].off >= off })
	if i < d.scanned && d.entries[i].off == off {
		return i
	}
	if i, ok := d.extra[off]; ok {
		return i
	}
	return -1
}

// alias makes an object known by another number, and gives its index.
func (d *document) alias(i int, num int64) int {
	if d.extra == nil {
		d.extra = map[int64]int{}
	}
	off := d.entries[i].off
	if i >= d.scanned {
		if _, ok := d.extra[off]; !ok {
			d.extra[off] = i
		}
	}
	if num < 0 || num > 1<<32-1 || uint32(num) == d.entries[i].num {
		return i
	}
	key := [2]int64{off, num}
	if d.aliases == nil {
		d.aliases = map[[2]int64]bool{}
	}
	if !d.aliases[key] {
		d.aliases[key] = true
		e := d.entries[i]
		e.alias, e.num = e.num, uint32(num)
		d.add(e)
	}
	return i
}

// stream reads a cross-reference stream (7.5.8).
func (f *follower) stream(i int) error {
	d := f.d
	e := d.entries[i]
	if f.seen[-1-e.off] {
		return nil
	}
	f.seen[-1-e.off] = true
	var o object
	if err := d.load(&e, &o); err != nil {
		return err
	}
	f.next(o.value())
	width, index := layout(o.value())
	if width[0]+width[1]+width[2] == 0 {
		return nil
	}
	r, err := f.open(&e)
	if err != nil {
		return fatal(err)
	}
	for ; len(index) >= 2; index = index[2:] {
		if more, err := f.rows(r, width, index[0], index[1]); err != nil || !more {
			return err
		}
	}
	return nil
}

// layout is how a cross-reference stream is divided: the widths of its fields, and which objects are in
// it. The widths are 0 if it does not say.
func layout(dict value) (width [3]int, index []int64) {
	n := 0
	for w := range dict.get("W").items {
		if n < 3 {
			width[n] = int(clamp(w.int(0), 8))
			n++
		}
	}
	if n < 3 {
		width = [3]int{}
	}
	for v := range dict.get("Index").items {
		index = append(index, v.int(0))
	}
	if len(index) < 2 {
		index = []int64{0, clamp(dict.get("Size").int(0), 1<<32-1)}
	}
	return width, index
}

// rows reads the rows of count objects from the first one on. It reports whether there are more.
func (f *follower) rows(r io.Reader, width [3]int, first, count int64) (bool, error) {
	row := make([]byte, width[0]+width[1]+width[2])
	for k := int64(0); k < count; k++ {
		if _, err := io.ReadFull(r, row); err != nil {
			return false, fatal(err)
		}
		kind := int64(1)
		if width[0] > 0 {
			kind = field(row[:width[0]])
		}
		if kind != 1 {
			continue
		}
		if err := f.place(field(row[width[0]:width[0]+width[1]]), first+k); err != nil {
			return false, err
		}
	}
	return true, nil
}

// field is a number of several bytes.
func field(b []byte) int64 {
	n := uint64(0)
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return int64(min(n, 1<<62))
}
