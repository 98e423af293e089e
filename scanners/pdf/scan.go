package pdf

import (
	"cmp"
	"errors"
	"slices"
	"sort"
)

const (
	// maxObjects is how many objects, in all revisions, are looked at.
	maxObjects = 500_000
	// maxTables is how many cross-reference tables are followed, and maxTrailers how many trailers.
	maxTables, maxTrailers = 1000, 1000
	// maxVersions is how many versions of an object are looked at where another one needs its value.
	maxVersions = 4
	// maxDeref is how many references to references are followed.
	maxDeref = 8
	// workFactor is how many times its size of a file is read for objects, and workFree how many bytes
	// more. Objects that overlap, or that others point into, are read again and again.
	workFactor, workFree = 16, 8 << 20
	// objectWork is what any object counts at least.
	objectWork = 32
)

// errWork says that a file wants its bytes read too often.
var errWork = errors.New("its objects overlap too often")

// What an object may be of interest for.
const (
	hasStream   uint32 = 1 << iota
	hasEF              // a file specification with an embedded file
	hasJS              // a script
	hasXFA             // a form
	hasNames           // a leaf of a name tree
	isFile             // an embedded file
	isObjects          // an object stream
	isTable            // a cross-reference stream
	isHidden           // within a stream, so that most readers do not see it
	inObjects          // within an object stream
	withoutData        // there is no "endstream"
	hasAction          // something that may happen: an action, a form, a film
	hasEscape          // a name that is written with #
	isSignature        // a signature of the document
)

// An entry is one version of an object.
type entry struct {
	num        uint32
	gen        uint16
	flags      uint32
	off        int64 // of its number in the file, or of its value in the text of all object streams
	data, end  int64 // where the bytes of the stream begin, and where they end by the next "endstream"
	length     int64 // as the stream says; -1: not known
	lengthFrom uint32
	alias      uint32 // the number that it has itself, where a table gives it another; 0: none
}

func (e *entry) has(flag uint32) bool { return e.flags&flag != 0 }

// A trailer is a dictionary that says where the objects are, and how they are encrypted.
type trailer struct {
	off    int64
	hidden bool
}

// A document is what is known of a file: where all its objects are, whoever would see them.
type document struct {
	file     *cursor
	texts    *cursor // of all object streams; nil: there are none
	start    int64   // of "%PDF-"
	work     int64
	entries  []entry // those of the file in its order, then others
	scanned  int     // how many of them the scan has found
	trailers []trailer
	starts   []int64 // where tables are said to begin
	sealed   bool    // it has a seal that any change breaks (ISO/TS 32004)
	byNum    []int32 // indices of entries by number, the newest last
	noEnd    int64   // from there on there is no "endstream"; 0: not known
	over     map[string]bool
	obj      object            // for scanning
	extra    map[int64]int     // objects that only tables know of, by their offset
	aliases  map[[2]int64]bool // offsets, and numbers that tables give to what is there
}

// limit notes a limit that was reached.
func (d *document) limit(what string) {
	if d.over == nil {
		d.over = map[string]bool{}
	}
	d.over[what] = true
}

// spend accounts for what was read of objects since off.
func (d *document) spend(c *cursor, off int64) error {
	d.work += max(c.off()-off, 0) + objectWork
	size := d.file.size
	if d.texts != nil {
		size += d.texts.size
	}
	if d.work > workFactor*size+workFree {
		return errWork
	}
	if c.err != nil {
		return c.err
	}
	return nil
}

// scan finds all objects of the file, from its first byte to its last.
func (d *document) scan(tick func() error) error {
	c := d.file
	c.seek(0)
	d.start = max(c.find("%PDF-"), 0)
	c.seek(0)
	var before [2]token // the last two, if they are numbers
	var word []byte
	for n := 0; ; n++ {
		if n%1024 == 0 {
			if err := tick(); err != nil {
				return err
			}
		}
		c.skipSpace()
		b, ok := c.peek()
		if !ok {
			d.scanned = len(d.entries)
			return c.err
		}
		if isDelimiter(b) {
			c.pos++
			before = [2]token{}
			continue
		}
		off := c.off()
		word = c.word(word[:0], maxKeyword)
		if num, ok := integer(word); ok {
			before = [2]token{before[1], {kind: tokenInt, num: num, off: off}}
			continue
		}
		if err := d.statement(string(word), off, before); err != nil {
			return err
		}
		before = [2]token{}
	}
}

// statement handles a word that is outside of all objects.
func (d *document) statement(word string, off int64, before [2]token) error {
	c := d.file
	switch {
	case hasWord(word, "obj") && before[0].kind == tokenInt && before[1].kind == tokenInt:
		c.seek(off + int64(len("obj")))
		return d.object(before)
	case word == "trailer":
		return d.trailer(c.off())
	case word == "startxref":
		return d.startxref()
	case word == "xref":
		d.begins(off)
	default:
		for _, known := range []string{"endobj", "endstream"} {
			if hasWord(word, known) { // "endobj5 0 obj"
				c.seek(off + int64(len(known)))
			}
		}
	}
	return nil
}

func (d *document) trailer(off int64) error {
	if len(d.trailers) >= maxTrailers {
		d.limit("more than 1000 trailers")
		return nil
	}
	d.trailers = append(d.trailers, trailer{off: off})
	return nil // what is in it is read later; there are no objects in it
}

func (d *document) startxref() error {
	var text []byte
	c := d.file
	off := c.off()
	if t := c.token(&text, maxKeyword); t.kind == tokenInt {
		d.begins(t.num)
		return nil
	}
	c.seek(off)
	return nil
}

// begins notes where a table is said to begin.
func (d *document) begins(off int64) {
	if len(d.starts) >= 2*maxTables {
		d.limit("more than 1000 cross-reference tables")
		return
	}
	d.starts = append(d.starts, off)
}

// object reads an object behind its "obj".
func (d *document) object(before [2]token) error {
	c := d.file
	begin := c.off()
	e, end, err := d.read(before)
	if err != nil {
		return err
	}
	if !d.add(e) {
		return nil
	}
	switch end {
	case endBroken, endFile:
		c.seek(begin) // there may be others in it
	case endStream:
		d.stream(&d.entries[len(d.entries)-1])
	}
	return nil
}

// add adds an entry.
func (d *document) add(e entry) bool {
	if len(d.entries) >= maxObjects {
		d.limit("more than 500000 objects")
		return false
	}
	d.entries = append(d.entries, e)
	return true
}

// read reads an object of the file whose number and generation were read.
func (d *document) read(before [2]token) (entry, ending, error) {
	c := d.file
	begin := c.off()
	end := d.obj.parse(c, false)
	if err := d.spend(c, begin); err != nil {
		return entry{}, 0, err
	}
	e := entry{num: uint32(clamp(before[0].num, 1<<32-1)), gen: uint16(clamp(before[1].num, 1<<16-1)), off: before[0].off}
	d.classify(&e, end == endStream)
	return e, end, nil
}

func clamp(n, limit int64) int64 { return max(min(n, limit), 0) }

// classify notes what an object is of interest for.
func (d *document) classify(e *entry, stream bool) {
	o := &d.obj
	if o.over {
		d.limit("an object is too large or too deep")
	}
	for at := range o.nodes {
		if n := o.nodes[at]; n.kind == kindName {
			name := o.text[n.start:n.end]
			e.flags |= interest(name)
			if len(name) == 1 && name[0] == 'S' && n.next != 0 && o.nodes[n.next].kind == kindRef {
				e.flags |= hasAction // what kind it is stands elsewhere
			}
		}
	}
	if o.escape {
		e.flags |= hasEscape
	}
	if !stream {
		e.flags &^= isFile
		return
	}
	e.flags |= hasStream
	dict := o.value()
	if dict.get("First").kind() != kindNull && dict.get("N").kind() != kindNull {
		e.flags |= isObjects // also without its type, which not all readers ask for
	}
	if dict.get("Type").is("XRef") {
		e.flags |= isTable
	}
	if dict.get("F").kind() != kindNull {
		e.flags |= hasAction // its content is in another file
	}
	e.length = -1
	switch l := dict.get("Length"); l.kind() {
	case kindInt:
		e.length = l.int(0)
	case kindRef:
		e.lengthFrom = uint32(clamp(l.node().num, 1<<32-1))
	}
}

// interest is what a name in an object says of it.
func interest(name []byte) uint32 {
	switch string(name) {
	case "EF":
		return hasEF
	case "JS", "OnInstantiate": // the latter in 3D streams
		return hasJS
	case "XFA":
		return hasXFA
	case "Names":
		return hasNames
	case "EmbeddedFile":
		return isFile
	case "JavaScript", "OpenAction", "AA", "Launch", "URI", "SubmitForm", "ImportData", "GoToR", "GoToE", "RichMedia", "3D":
		return hasAction
	case "ByteRange":
		return isSignature
	}
	return 0
}

// stream notes where the bytes of a stream are, behind its "stream", and goes behind the next
// "endstream".
func (d *document) stream(e *entry) {
	d.data(e)
	if d.file.seek(e.end); e.has(withoutData) {
		d.file.seek(e.data)
	}
}

// data notes where the bytes of a stream are: behind its keyword and one line break (7.3.8.1).
func (d *document) data(e *entry) {
	c := d.file
	for b, ok := c.peek(); ok && (b == ' ' || b == '\t'); b, ok = c.peek() {
		c.pos++
	}
	if b, _ := c.peek(); b == '\r' {
		c.pos++
	}
	if b, _ := c.peek(); b == '\n' {
		c.pos++
	}
	e.data = c.off()
	if d.noEnd == 0 || e.data < d.noEnd {
		if at := c.find("endstream"); at >= 0 {
			e.end = d.beforeBreak(e.data, at)
			return
		}
		d.noEnd = max(e.data, 1)
	}
	e.flags |= withoutData
	e.end = c.size
}

// beforeBreak is the end of the bytes of a stream with the line break before "endstream" off.
func (d *document) beforeBreak(data, end int64) int64 {
	var b [2]byte
	at := max(end-2, data)
	n, _ := d.file.r.ReadAt(b[:end-at], at)
	switch tail := string(b[:n]); {
	case tail == "\r\n":
		return end - 2
	case tail != "" && (tail[len(tail)-1] == '\n' || tail[len(tail)-1] == '\r'):
		return end - 1
	}
	return end
}

// ends reports whether a stream may end at an offset: what comes next says so.
func (d *document) ends(off int64) bool {
	if off > d.file.size {
		return false
	}
	var b [16]byte
	n, _ := d.file.r.ReadAt(b[:min(int64(len(b)), d.file.size-off)], off)
	rest := b[:n]
	for len(rest) > 0 && isSpace(rest[0]) {
		rest = rest[1:]
	}
	return hasPrefix(rest, "endstream") || hasPrefix(rest, "endobj")
}

func hasPrefix(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix
}

// measure decides where streams end whose lengths are in other objects, and which objects are within
// the bytes of another one.
func (d *document) measure() error {
	hideTo, t := int64(0), 0
	for i := range d.entries[:d.scanned] {
		e := &d.entries[i]
		for ; t < len(d.trailers) && d.trailers[t].off < e.off; t++ {
			d.trailers[t].hidden = d.trailers[t].off < hideTo
		}
		if e.off < hideTo {
			e.flags |= isHidden
		}
		if !e.has(hasStream) {
			continue
		}
		if err := d.setEnd(e); err != nil {
			return err
		}
		if !e.has(withoutData) {
			hideTo = max(hideTo, e.end)
		}
	}
	for ; t < len(d.trailers); t++ {
		d.trailers[t].hidden = d.trailers[t].off < hideTo
	}
	return nil
}

// setEnd sets the end of a stream by its length, if that is right.
func (d *document) setEnd(e *entry) error {
	if e.lengthFrom != 0 && e.length < 0 {
		for v, err := range d.versions(e.lengthFrom) {
			if err != nil {
				return err
			}
			if n := v.int(-1); n >= 0 && d.ends(e.data+min(n, d.file.size)) {
				e.length = n
				break
			}
		}
	}
	if e.length < 0 || e.length > d.file.size-e.data {
		return nil
	}
	if d.ends(e.data+e.length) || e.has(withoutData) && e.length > 0 {
		e.end = e.data + e.length
	}
	return nil
}

// index makes the table by which objects are found.
func (d *document) index() {
	d.byNum = make([]int32, len(d.entries))
	for i := range d.byNum {
		d.byNum[i] = int32(i)
	}
	slices.SortStableFunc(d.byNum, func(a, b int32) int { return cmp.Compare(d.entries[a].num, d.entries[b].num) })
}

// all are all versions of an object, as indices of entries, in the order of the file.
func (d *document) all(num uint32) []int32 {
	first := sort.Search(len(d.byNum), func(i int) bool { return d.entries[d.byNum[i]].num >= num })
	last := first + sort.Search(len(d.byNum)-first, func(i int) bool { return d.entries[d.byNum[first+i]].num > num })
	return d.byNum[first:last]
}

// load reads an object anew.
func (d *document) load(e *entry, o *object) error {
	c := d.file
	if e.has(inObjects) {
		c = d.texts
		c.seek(e.off)
		o.parse(c, true)
		return d.spend(c, e.off)
	}
	c.seek(e.off)
	var text []byte
	for range 3 { // the number, the generation, "obj"
		t := c.token(&text, maxKeyword)
		if t.kind == tokenKeyword && hasPrefix(text, "obj") {
			c.seek(t.off + int64(len("obj")))
		}
	}
	o.parse(c, false)
	return d.spend(c, e.off)
}

// versions are the values of an object in all its versions, as far as maxVersions allows, the newest
// first.
func (d *document) versions(num uint32) func(yield func(value, error) bool) {
	return func(yield func(value, error) bool) {
		list := d.all(num)
		for i := len(list) - 1; i >= max(len(list)-maxVersions, 0); i-- {
			o := new(object)
			err := d.load(&d.entries[list[i]], o)
			if !yield(o.value(), err) || err != nil {
				return
			}
		}
	}
}

// deref is what a value stands for: the newest version of the object that it refers to.
func (d *document) deref(v value) (value, error) {
	for range maxDeref {
		if v.kind() != kindRef {
			return v, nil
		}
		next := value{}
		for found, err := range d.versions(uint32(clamp(v.node().num, 1<<32-1))) {
			if err != nil {
				return value{}, err
			}
			next = found
			break
		}
		v = next
	}
	return value{}, nil
}
