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
	marks  []mark // by their places here
	work   int    // what it takes to read all of it
	pieced int    // how many bytes were put together to be read again
	limit  int    // for each of both; it is that of the page, which is smaller
	again  *page  // what is read again; it belongs to pages
	whole  bool   // it must be read as a whole to tell
}

// maxPieced is the longest piece of a page, in bytes, that is put together to be read again.
const maxPieced = 256 << 10

// newBrokenPages gives those of content that is HTML, if MTAs may break its lines. The caller must call
// done of each. There are none if the content is encoded: then a break may do away with more than a line.
func newBrokenPages(p *eml.Part, b []byte) []*brokenPage {
	if !p.HasLongLines() || p.Encoding != eml.Identity {
		return nil
	}
	var out []*brokenPage
	for _, by := range eml.Wrappings() {
		out = append(out, &brokenPage{by: by, breaks: eml.NewBreaks(b, by), limit: workLimit(len(b)), again: newPage(nil)})
	}
	return out
}

func (k *brokenPage) done() { k.again.done() }

// A construct is what was read of a page at one "<": the bytes on which it depends, and how many marks,
// charsets and how much work the page had before.
type construct struct {
	span
	marks, charsets, work int
}

// follow goes on to what was read of the page last.
func (k *brokenPage) follow(p *page, r construct) {
	if k.whole {
		return
	}
	at, added := k.breaks.After(r.start)
	if at < min(r.end, len(p.b)) {
		k.read(p, r, added)
	} else {
		k.add(p.marks[r.marks:], added, p.work-r.work)
	}
	k.whole = k.whole || len(k.marks) > maxMarks || k.work > k.limit || k.pieced > k.limit
}

// add takes over marks that stand so many bytes further on here.
func (k *brokenPage) add(marks []mark, further, work int) {
	for _, m := range marks {
		k.marks = append(k.marks, mark{m.at + further, m.check})
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
		k.again.reset(k.breaks.Append(k.again.piece[:0], r.start, end))
		k.again.piece = k.again.b
		k.pieced += len(k.again.b)
		if depends := k.again.markupAt(&k.again.tags, 0); depends <= len(k.again.b) || end == len(p.b) {
			break
		}
	}
	k.add(k.again.marks, r.start+added, k.again.work)
	room := min(len(k.again.charset), maxCharsets-r.charsets)
	k.whole = k.again.over || !slices.Equal(k.again.charset[:room], p.charset[r.charsets:])
}

// tally counts the marks as examine does. It reports false if the page must be read as a whole for that.
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
