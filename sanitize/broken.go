package sanitize

import (
	"context"
	"fmt"
	"slices"

	"rastel/sanitize/eml"
)

// A brokenPage is a page as it is where an MTA has broken its long lines. It is read along with the
// page: what begins at a "<" reads the same here unless there is a break within the bytes on which it
// depends, and only then it is read again. What the MTA puts in holds no "<", ">" or quote, so there
// are as many places to read from, and where the last of those bytes is stays as it is.
type brokenPage struct {
	by     eml.Wrapping
	breaks eml.Breaks
	marks  []mark // by their places here; of what is active only
	places int    // how many were found, the others too; some of them twice, so there are no more
	work   int    // what it takes to read all of it
	pieced int    // how many bytes were put together to be read again
	limit  int    // for each of both; it is that of the page, which is smaller
	again  *page  // what is read again; one for all
	whole  bool   // it must be read as a whole to tell
}

// maxPieced is the longest piece of a page, in bytes, that is put together to be read again: a tag with a
// picture in it.
const maxPieced = 4 << 20

// newBrokenPages gives those of content that is HTML, if MTAs may break its lines. The caller must call
// doneWith them. There are none if the content is encoded: then a break may do away with more than a line.
func newBrokenPages(p *eml.Part, b []byte) []*brokenPage {
	if !p.HasLongLines() || p.Encoding != eml.Identity {
		return nil
	}
	var out []*brokenPage
	again := newPage(nil)
	again.xml, again.disk = mayBeXML(p), isFile(p)
	for _, by := range eml.Wrappings() {
		out = append(out, &brokenPage{by: by, breaks: eml.NewBreaks(b, by), limit: workLimit(len(b)), again: again})
	}
	return out
}

// doneWith puts back what they are read with.
func doneWith(pages []*brokenPage) {
	if len(pages) > 0 {
		pages[0].again.done()
	}
}

// A construct is what was read of a page at one "<": the bytes on which it depends, and how many marks
// and how much work the page had before.
type construct struct {
	span
	marks, work int
	drawing     bool // and whether a drawing had begun in it
	quiet       span // the content of a style element in which nothing is active
}

// follow goes on to what was read of the page last.
func (k *brokenPage) follow(p *page, r construct) {
	if k.whole {
		return
	}
	at, added := k.breaks.After(r.start)
	if at < min(r.end, len(p.b)) {
		k.whole = p.divided
		if !k.readStyle(p, r, added) {
			k.read(p, r, added)
		}
	} else {
		k.add(p.marks[r.marks:], added, p.work-r.work)
	}
	k.whole = k.whole || k.places > maxMarks || k.work > k.limit || k.pieced > k.limit
}

// add takes over marks that stand so many bytes further on here.
func (k *brokenPage) add(marks []mark, further, work int) {
	k.places += len(marks)
	for _, m := range marks {
		if m.check < checkRemoteImage {
			k.marks = append(k.marks, mark{m.at + further, m.check})
		}
	}
	k.work += work
}

// read reads once more what was read last, which may end at another place here.
func (k *brokenPage) read(p *page, r construct, added int) {
	for end := min(r.end, len(p.b)); ; end = min(len(p.b), end+end-r.start) {
		if end-r.start > maxPieced || k.pieced > k.limit {
			k.whole = true
			return
		}
		k.again.piece = slices.Grow(k.again.piece[:0], (end-r.start)*101/100+64) // more than what is put in
		k.again.reset(k.breaks.Append(k.again.piece, r.start, end))
		k.again.drawing = r.drawing
		k.pieced += len(k.again.b)
		if depends := k.again.markupAt(&k.again.tags, 0); depends <= len(k.again.b) || end == len(p.b) {
			break
		}
	}
	k.add(k.again.marks, r.start+added, k.again.work)
	k.whole = k.whole || k.again.over || k.again.divided || k.again.alien || k.again.drawing != p.drawing
}

// tally counts the marks of what is active as examine does. It reports false if the page must be read as a whole for that.
func (k *brokenPage) tally() (marks tally, ok bool) {
	if k.whole {
		return marks, false
	}
	for _, m := range sorted(k.marks) {
		marks[m.check]++
	}
	return marks, true
}

// wrapped examines a page also as it is where an MTA has broken its long lines, which may divide
// "xonerror=" so that "onerror=" is left. The fix changes nothing but the encoding, in which no
// lines are long. The pages are those that were read along, if any were.
func wrapped(ctx context.Context, out []eml.Finding, p *eml.Part, marks tally, pages []*brokenPage) ([]eml.Finding, error) {
	for i, by := range eml.Wrappings() {
		var now tally
		ok := false
		if pages != nil {
			now, ok = pages[i].tally()
		}
		if !ok {
			var err error
			if now, err = tallyWrapped(ctx, p, by); err != nil {
				return nil, err
			}
		}
		for check, n := range now {
			if n > marks[check] && check < int(checkRemoteImage) {
				fix := []eml.Edit{{Part: p, Region: eml.InContent}}
				return append(out, eml.Finding{Check: htmlChecks[checkBroken].ID, Part: p, Detail: htmlChecks[check].ID + " where an MTA breaks a line", Fix: fix}), nil
			}
		}
	}
	return out, nil
}

// tallyWrapped reads such a page as a whole.
func tallyWrapped(ctx context.Context, p *eml.Part, by eml.Wrapping) (marks tally, err error) {
	s := eml.NewSpool(eml.SpoolOptions{})
	defer s.Close()
	if err := p.WriteWrapped(s, by); err != nil {
		return marks, fmt.Errorf("read HTML: %w", err)
	}
	s.CloseWrite(nil)
	b, release, err := s.View()
	if err != nil {
		return marks, fmt.Errorf("read HTML: %w", err)
	}
	defer release()
	_, marks, err = examine(ctx, p, b, true, nil)
	return marks, err
}
