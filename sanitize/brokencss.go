package sanitize

import (
	"bytes"

	"rastel/sanitize/eml"
)

// readStyle reads a style element once more of which mayBeActive found that nothing in it is active.
// Such CSS has no escapes and no comment without an end, so each "}" outside comments ends all that
// mayBeActive and cssText know of what came before; and neither looks beyond the next. So only what is between
// two of them is read again, where there is a break. It reports false if that does not tell.
func (k *otherPage) readStyle(p *page, r construct, added int) bool {
	css := r.quiet
	walk := k.changes
	at, _ := walk.After(r.start)
	if css.len() == 0 || at < css.start {
		return false
	}
	known, work := len(k.marks), k.work
	k.add(p.marks[r.marks.start:r.marks.end], added, r.work)
	if !k.readRules(p, css, &walk) {
		k.marks, k.work = k.marks[:known], work
		return false
	}
	at, after := walk.After(css.end - 1)
	k.work += (after - added) * r.reads
	if at < min(r.end, len(p.b)) { // it divides the tag that ends the style
		k.marks, k.work = k.marks[:known], work
		return false
	}
	return true
}

// readRules reads those of the rules of a style once more that a break is in.
func (k *otherPage) readRules(p *page, css span, walk *eml.Changes) bool {
	s := styleWalk{b: p.b[:css.end], pos: css.start, reset: css.start - 1}
	for {
		at, _ := walk.After(s.reset)
		if at >= css.end {
			return true
		}
		end := s.around(at)
		if end-s.reset > maxPieced {
			return false
		}
		_, added := walk.After(s.reset)
		k.again.piece = walk.Append(k.again.piece[:0], s.reset, end)
		k.again.b, k.again.marks, k.again.over, k.again.work, k.again.limit = k.again.piece, k.again.marks[:0], false, 0, workLimit(len(k.again.piece))
		k.pieced += len(k.again.b)
		if !k.again.rule() {
			return false
		}
		k.add(k.again.marks, s.reset+added, 0)
		s.pos, s.reset = max(s.pos, end), end-1
	}
}

// A styleWalk goes from rule to rule.
type styleWalk struct {
	b     []byte // the page up to the end of the style
	pos   int    // behind the last comment that was passed
	reset int    // the last byte behind which nothing is known of what came before
}

// around finds the rules that byte at is in: it moves reset to the end of those before, and gives their own.
func (s *styleWalk) around(at int) (end int) {
	for s.pos < at {
		n := bytes.Index(s.b[s.pos:min(at+1, len(s.b))], []byte("/*"))
		if n < 0 {
			break
		}
		s.brace(s.pos + n)
		s.comment(s.pos + n)
	}
	s.brace(at)
	for i := max(s.pos, at); ; i = s.pos {
		n := bytes.IndexByte(s.b[i:], '}')
		if n < 0 {
			return len(s.b)
		}
		c := bytes.Index(s.b[i:i+n], []byte("/*"))
		if c < 0 {
			return i + n + 1
		}
		s.comment(i + c)
	}
}

// brace moves reset to the last "}" before byte end, if there is one behind the last comment.
func (s *styleWalk) brace(end int) {
	if s.pos < end {
		if n := bytes.LastIndexByte(s.b[s.pos:end], '}'); n >= 0 {
			s.reset = s.pos + n
		}
	}
}

// comment passes the comment that begins at byte i.
func (s *styleWalk) comment(i int) {
	s.pos = len(s.b)
	if n := bytes.Index(s.b[i+2:], []byte("*/")); n >= 0 {
		s.pos = i + 2 + n + 2
	}
}

// rule reads the page as CSS from its second byte on, as styleElement does. It reports false if what comes of it may
// depend on what is around.
func (p *page) rule() bool {
	s := span{1, len(p.b)}
	p.css.raw = true
	ok := p.ruleAs(s)
	p.css.raw = false
	return ok && (bytes.IndexByte(p.b, '&') < 0 || p.ruleAs(s))
}

// ruleAs reads it in one way.
func (p *page) ruleAs(s span) bool {
	if !p.mayBeActive(s) {
		return true
	}
	if len(p.b) > cssAhead {
		return false
	}
	p.css.examine(p, s)
	return !p.css.open && !bytes.Contains(p.css.text, []byte("alphaimageloader"))
}
