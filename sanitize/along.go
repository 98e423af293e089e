package sanitize

import (
	"bytes"

	"rastel/sanitize/eml"
)

// alongside is what a page is for others, all of it read along with the page: as each kind of MTA leaves it that
// breaks long lines, and each of these and the page itself in UTF-7, once it says that it is in that.
type alongside struct {
	b     []byte
	again *page        // what is read again; one for all
	wraps []*otherPage // by their eml.Wrapping; none if no lines are broken, or not in a way that can be read along
	utf7  []*otherPage // the page in UTF-7, then wraps in it; none if nothing in it is, or it does not say so
	may   bool         // it may say so
}

// maxConstructs is how many constructs of a page that may be in UTF-7 are kept in mind before it says so. One that says so
// later is read as a whole once more.
const maxConstructs = 16 << 10

// newAlongside gives what can be read along with a page; nil if nothing can. There is nothing as MTAs leave it if the
// content is encoded: then a break may do away with more than a line. The caller must call done.
func newAlongside(p *eml.Part, b []byte) *alongside {
	wrapped := p.HasLongLines() && p.Encoding == eml.Identity
	utf7 := len(b) <= maxRecoded/8*7 && bytes.IndexByte(b, '+') >= 0 // and so is what MTAs make of it
	if !wrapped && !utf7 {
		return nil
	}
	a := &alongside{b: b, again: newPage(nil), may: utf7}
	a.again.xml, a.again.disk = mayBeXML(p), isFile(p)
	if wrapped {
		for _, by := range eml.Wrappings() {
			a.wraps = append(a.wraps, a.other(eml.NewChanges(b, true, by, false), false))
		}
	}
	return a
}

func (a *alongside) other(c eml.Changes, utf7 bool) *otherPage {
	limit, found := workLimit(len(a.b)), []eml.Change(nil)
	if utf7 {
		limit, found = workLimit(2*len(a.b)), make([]eml.Change, 0, 9) // until it is known how long it is
	}
	return &otherPage{b: a.b, changes: c, utf7: utf7, limit: limit, found: found, again: a.again}
}

// done puts back what is read with.
func (a *alongside) done() {
	if a != nil {
		a.again.done()
	}
}

// follow goes on to what begins at the "<" at byte i of the page, and reads that.
func (a *alongside) follow(p *page, i int) {
	if len(a.wraps) == 0 && len(a.utf7) == 0 {
		a.note(p, i, p.markupAt(&p.tags, i))
		return
	}
	r := p.construct(i)
	for _, k := range a.wraps {
		k.follow(p, r)
	}
	if len(a.utf7) > 0 {
		a.followUTF7(p, r)
		return
	}
	a.note(p, i, r.end)
}

// note keeps in mind what was read of the page last, which begins at byte i.
func (a *alongside) note(p *page, i, end int) {
	switch {
	case !a.may:
	case len(a.again.noted) == maxConstructs:
		a.may = false
	default:
		a.again.noted = append(a.again.noted, noted{int32(i), int32(end), int32(len(p.marks)), int32(p.work), uint8(len(p.charset)), p.drawing}) //nolint:gosec // of a page below maxRecoded
		if p.alien && saysUTF7(p.charset) {
			a.start(p)
		}
	}
}

// A noted is a construct that was read, and what there was of the page behind it.
type noted struct {
	start, end, marks, work int32
	charsets                uint8
	drawing                 bool
}

// saysUTF7 reports whether UTF-7 is one of the charsets.
func saysUTF7(charsets []string) bool {
	for _, c := range charsets {
		if eml.IsUTF7(c) && unreadable(c) {
			return true
		}
	}
	return false
}

// start begins to read the page in UTF-7.
func (a *alongside) start(p *page) {
	if !a.may {
		return
	}
	a.utf7 = append(a.utf7, a.other(eml.NewChanges(a.b, false, 0, true), true))
	for i := range a.wraps {
		a.utf7 = append(a.utf7, a.other(eml.NewChanges(a.b, true, eml.Wrappings()[i], true), true))
	}
	var last noted
	for i, n := range a.again.noted {
		r := construct{span: span{int(n.start), int(n.end)}, work: int(n.work - last.work), drawing: last.drawing, drawn: n.drawing}
		r.marks, r.charsets = span{int(last.marks), int(n.marks)}, span{int(last.charsets), int(n.charsets)}
		if i == len(a.again.noted)-1 {
			r.over, r.limited = p.over, p.limited()
		}
		a.followUTF7(p, r)
		last = n
	}
	a.again.noted = a.again.noted[:0]
}

func (a *alongside) followUTF7(p *page, r construct) {
	for _, k := range a.utf7 {
		k.follow(p, r)
	}
}

// finish goes on to the end of the page, of which all is read that will be.
func (a *alongside) finish(p *page) {
	for _, list := range [][]*otherPage{a.wraps, a.utf7} {
		for _, k := range list {
			k.finish(p)
		}
	}
}

// unread notes that the page was not read in the form in which it is.
func (a *alongside) unread() {
	a.wraps, a.utf7, a.may = nil, nil, false
}

// decoded is the page in UTF-7; nil if it must be read as a whole for that.
func (a *alongside) decoded() *otherPage {
	if a == nil || len(a.utf7) == 0 || a.utf7[0].whole {
		return nil
	}
	return a.utf7[0]
}

// tally counts the marks of what is active as examine does, of the page as an MTA leaves it, which is in that charset
// by its label. It reports false if that must be read as a whole to tell.
func (a *alongside) tally(by int, charset string) (marks tally, ok bool) {
	if a == nil || by >= len(a.wraps) || a.wraps[by].whole {
		return marks, false
	}
	k := a.wraps[by]
	marks = k.tally()
	times, ok := a.timesInUTF7(k.charset, charset)
	if !ok || times == 0 {
		return marks, ok
	}
	if len(a.utf7) == 0 || a.utf7[1+by].whole {
		return marks, false
	}
	for check, n := range a.utf7[1+by].tally() {
		marks[check] += times * n
	}
	return marks, true
}

// timesInUTF7 is how often examine reads a page in UTF-7 that names these charsets, if it is in that one by its label. It
// reports false if it reads the page in another charset too.
func (a *alongside) timesInUTF7(charsets []string, label string) (times int, ok bool) {
	encoded := bytes.IndexByte(a.b, '+') >= 0
	how := ""
	for i, c := range append([]string{label}, charsets...) {
		if !unreadable(c) {
			continue
		}
		if !eml.IsUTF7(c) || len(a.b) > maxRecoded/8*7 {
			return 0, false
		}
		if encoded && (i == 0 || how != c && times+1 < maxTexts) {
			times++
		}
		how = c
	}
	return times, true
}
