package pdf

import (
	"io"
	"slices"

	"rastel/sanitize/eml"
)

// maxIndex is how many bytes of the table at the beginning of an object stream are read.
const maxIndex = 4 << 20

// objectStreams decodes all object streams, and adds the objects in them (7.5.7). What is in one of
// them can be no stream, so it is no object stream either.
func (o *opening) objectStreams() error {
	d := o.d
	n := len(d.entries)
	for i := 0; i < n; i++ {
		if e := d.entries[i]; e.has(isObjects) && e.has(hasStream) {
			if err := o.objectStream(&e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *opening) objectStream(e *entry) error {
	d := o.d
	if o.keptText[e.data] { // the same under another number
		return nil
	}
	if o.keptText == nil {
		o.keptText = map[int64]bool{}
	}
	o.keptText[e.data] = true
	obj := new(object)
	if err := d.load(e, obj); err != nil {
		return err
	}
	dict := obj.value()
	var at [2]value
	for i, key := range []string{"N", "First"} {
		v, err := d.deref(dict.get(key))
		if err != nil {
			return err
		}
		at[i] = v
	}
	n, first := at[0].int(0), at[1].int(0)
	if n <= 0 || first <= 0 {
		return nil
	}
	start, size, err := o.keepText(e, dict)
	if err != nil {
		if e.has(isHidden) || !dict.get("Type").is("ObjStm") {
			return fatal(err)
		}
		if err := o.broken("an object stream", err); err != nil {
			return err
		}
	}
	if size == 0 {
		return nil
	}
	return o.objectsAt(start, size, n, first)
}

// keepText decodes a stream to the text of all object streams. It gives where that begins and how long
// it is; with an error so much as could be decoded.
func (o *opening) keepText(e *entry, dict value) (start, size int64, err error) {
	r, err := o.decoded(e, dict, o.lock, false)
	if err != nil {
		return 0, 0, err
	}
	if o.texts == nil {
		o.texts = o.b.Spool()
	}
	start = o.texts.Size()
	size, err = o.copy(o.texts, r)
	if list, e2 := o.d.filters(dict); err == nil && e2 == nil {
		s := objectStream{start: start, size: size, e: *e, filters: list}
		if o.lock != nil {
			s.method = o.lock.method(dict, list, false)
		}
		o.objStreams = append(o.objStreams, s)
	}
	if _, e := o.texts.Write([]byte("\n")); e != nil && err == nil {
		err = e
	}
	return start, size, err
}

// copy copies what r gives to a spool.
func (o *opening) copy(s *eml.Spool, r io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{s}, struct{ io.Reader }{o.b.Reader(o.ctx, o.p, r)}, o.buf[:])
}

// objectsAt adds the objects in the text of an object stream.
func (o *opening) objectsAt(start, size, n, first int64) error {
	d := o.d
	if d.texts == nil {
		d.texts = newCursor(o.texts, 0)
	}
	c := d.texts
	c.size = start + size + 1 // with the line break behind it
	offs := o.numbers(start, min(first, size, maxIndex), n)
	for _, at := range offs {
		if at[1] < 0 || at[1] >= size-first {
			continue // a reader finds nothing there
		}
		e := entry{num: uint32(clamp(at[0], 1<<32-1)), off: start + first + at[1], flags: inObjects}
		c.seek(e.off)
		d.obj.parse(c, true)
		if err := d.spend(c, e.off); err != nil {
			return err
		}
		d.classify(&e, false)
		if !d.add(e) {
			return nil
		}
	}
	return o.tick()
}

// numbers reads the table of an object stream: numbers of objects, and where they begin.
func (o *opening) numbers(start, size, n int64) [][2]int64 {
	c := o.d.texts
	c.seek(start)
	var list [][2]int64
	var text []byte
	for c.off() < start+size && int64(len(list)) < min(n, maxObjects) {
		num, off := c.token(&text, maxKeyword), c.token(&text, maxKeyword)
		if num.kind != tokenInt || off.kind != tokenInt {
			break
		}
		list = append(list, [2]int64{num.num, off.num})
	}
	slices.SortStableFunc(list, func(a, b [2]int64) int { return int(max(min(a[1]-b[1], 1), -1)) })
	return slices.Compact(list)
}
