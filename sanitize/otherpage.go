package sanitize

import (
	"bytes"
	"slices"

	"rastel/sanitize/eml"
)

// An otherPage is a page as it is for others, where an MTA has broken its long lines, in UTF-7, or both. It
// is read along with the page: what begins at a "<" reads the same here unless there is a change within the
// bytes on which it depends, and only then it is read again. No change takes a "<" away; what begins at one
// that is put in is read besides.
type otherPage struct {
	b       []byte // the page itself
	changes eml.Changes
	utf7    bool
	marks   []mark // by their places here
	charset []string
	places  int // how many marks were found; some of them twice, so there are no more
	work    int // what it takes to read all of it
	pieced  int // how many bytes were put together to be read again
	limit   int // for each of both
	again   *page
	ahead   eml.Changes  // those behind what was read again last
	aheadAt int          // where that ends; 0 if another change was passed since
	found   []eml.Change // those in it that put in a "<"
	text    []byte       // that of a change
	over    bool         // no more of it is read, as of a page that is over a limit
	whole   bool         // it must be read as a whole to tell
}

// maxPieced is the longest piece of a page, in bytes, that is put together to be read again: a tag with a
// picture in it.
const maxPieced = 4 << 20

// A construct is what was read of a page at one "<": the bytes on which it depends, and what came of it.
type construct struct {
	span
	marks, charsets span // of those of the page
	work            int
	drawing, drawn  bool // whether a drawing had begun before, and whether one has behind it
	over, limited   bool // no more of the page is read; that is because of all that was read, not of this
	quiet           span // the content of a style element in which nothing is active
	reads           int  // how often that was read
}

// follow goes on to what was read of the page last.
func (k *otherPage) follow(p *page, r construct) {
	k.passTo(r.start, r.drawing)
	if k.whole || k.over {
		return
	}
	at, added := k.changes.Next()
	switch {
	case at >= min(r.end, len(k.b)):
		k.add(p.marks[r.marks.start:r.marks.end], added, r.work)
		k.declare(p.charset[r.charsets.start:r.charsets.end])
		k.over, k.whole = r.over, k.whole || r.limited
	case k.utf7 || !k.readStyle(p, r, added):
		k.read(r, added)
	}
	k.check()
}

// check looks at the limits.
func (k *otherPage) check() {
	k.whole = k.whole || k.places > maxMarks || k.work > k.limit || k.pieced > k.limit
}

// passTo passes the changes up to byte i, and reads what begins in them; a drawing may have begun before.
func (k *otherPage) passTo(i int, drawing bool) {
	if k.whole || k.over {
		return
	}
	if k.aheadAt > 0 && i >= k.aheadAt {
		k.changes, k.aheadAt = k.ahead, 0
		k.found = k.changes.Found
		for i := range k.found {
			k.readChange(&k.found[i], drawing)
		}
	}
	if !k.utf7 { // an MTA puts in nothing that begins anything
		k.changes.After(i)
		return
	}
	for at, added := k.changes.Next(); at <= i && at < len(k.b) && !k.whole && !k.over; at, added = k.changes.Next() {
		k.aheadAt = 0
		c := eml.Change{Place: at + added, Changes: k.changes}
		c.Changes.Found = nil
		k.text, c.End = c.Changes.Pass(k.text[:0])
		c.Text = k.text
		k.readChange(&c, drawing)
		k.changes = c.Changes
	}
}

// readChange reads what begins in the text of a change.
func (k *otherPage) readChange(c *eml.Change, drawing bool) {
	for n := 0; n < len(c.Text) && !k.whole && !k.over; n++ {
		i := bytes.IndexByte(c.Text[n:], '<')
		if i < 0 {
			return
		}
		n += i
		k.readWithin(c, n, drawing)
	}
}

// add takes over marks that stand so many bytes further on here.
func (k *otherPage) add(marks []mark, further, work int) {
	k.places += len(marks)
	for _, m := range marks {
		if k.utf7 || m.check < checkRemoteImage { // by breaks only that matters
			k.marks = append(k.marks, mark{m.at + further, m.check})
		}
	}
	k.work += work
}

// declare takes over charsets that the page says it is in.
func (k *otherPage) declare(charsets []string) {
	for _, c := range charsets {
		if len(k.charset) < maxCharsets {
			k.charset = append(k.charset, c)
		}
	}
}

// read reads once more what was read of the page last, which may end at another place here.
func (k *otherPage) read(r construct, added int) {
	for end := min(r.end, len(k.b)); k.mayPiece(r.start, end); end = min(len(k.b), end+end-r.start) {
		c := k.changes
		c.Found = k.found[:0]
		piece := c.Append(slices.Grow(k.again.piece[:0], (end-r.start)*101/100+64), r.start, end)
		if !k.readPiece(piece, end, r.drawing) {
			continue
		}
		if k.utf7 && len(c.Found) < cap(c.Found) {
			k.ahead, k.aheadAt = c, end
		}
		k.takePiece(r.start+added, r.drawn)
		return
	}
}

// readWithin reads what begins at byte n of the text of a change.
func (k *otherPage) readWithin(change *eml.Change, n int, drawing bool) {
	for more := 256; ; more *= 2 {
		end := min(len(k.b), change.End+more)
		if !k.mayPiece(change.End, end) {
			return
		}
		c := change.Changes
		piece := c.Append(append(k.again.piece[:0], change.Text[n:]...), change.End, end)
		if k.readPiece(piece, end, drawing) {
			k.takePiece(change.Place+n, drawing)
			return
		}
	}
}

// mayPiece reports whether the bytes [start, end) of the page may be put together to be read again.
func (k *otherPage) mayPiece(start, end int) bool {
	k.whole = k.whole || end-start > maxPieced || k.pieced > k.limit
	return !k.whole
}

// readPiece reads what begins in a piece that goes up to byte end of the page. It reports false if that depends
// on what follows.
func (k *otherPage) readPiece(piece []byte, end int, drawing bool) bool {
	k.again.piece = piece
	k.again.reset(piece)
	k.again.drawing = drawing
	k.pieced += len(k.again.b)
	return k.again.markupAt(&k.again.tags, 0) <= len(k.again.b) || end == len(k.b)
}

// takePiece takes over what was read in a piece that begins at byte at here, behind which a drawing has begun or not.
func (k *otherPage) takePiece(at int, drawn bool) {
	p := k.again
	k.add(p.marks, at, p.work)
	k.declare(p.charset)
	k.over = p.over
	k.whole = k.whole || p.limited() || p.drawing != drawn
	k.check()
}

// limited reports whether the page is over one of the limits for all of it.
func (p *page) limited() bool {
	return p.over && (p.work > p.limit || len(p.marks) == maxMarks)
}

// finish goes on to the end of the page.
func (k *otherPage) finish(p *page) {
	if p.over {
		k.whole = k.whole || !k.over
	}
	k.passTo(len(k.b), p.drawing)
	k.check()
	if len(p.charset) == maxCharsets && (p.alien || slices.ContainsFunc(k.charset, unreadable)) {
		k.whole = true // there may be others that were not noted
	}
	if k.utf7 && !k.whole {
		at, added := k.changes.Next()
		if k.work > workLimit(at+added) {
			_, added = k.changes.After(len(k.b))
			k.whole = k.work > workLimit(len(k.b)+added)
		}
	}
	k.marks = sorted(k.marks)
}

// tally counts the marks as examine does.
func (k *otherPage) tally() (marks tally) {
	for _, m := range k.marks {
		marks[m.check]++
	}
	if k.over {
		marks[checkLimit]++
	}
	return marks
}
