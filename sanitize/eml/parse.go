package eml

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A parser reads a message, or an entity of it, once, from its first byte to its last, and keeps
// the entities that are open on a stack; so its time is linear and its depth needs no recursion.
type parser struct {
	ctx      context.Context //nolint:containedctx // a parser lives as long as one call of Parse
	lim      Limits
	leaf     func(*Part)
	msg      *Message
	findings []Finding

	win      *window
	open     []level // multipart entities and encapsulated messages around us, outermost first
	cur      *Part   // the leaf we are in; nil in a preamble or an epilogue
	unclosed []level // those that have ended without their closing delimiter
	gap      int64   // where the preamble or epilogue began that we are in
	over     bool    // the limit of parts was reached: what follows is not examined

	how    how      // how lines are read
	of     *reading // what is read; nil for the first reading of a message
	others *others
	said   map[said]uint8 // how often

	undecoded bool // leaves are left as they are: to measure what the structure alone costs
}

// said is a check that was reported for a part.
type said struct {
	part  *Part
	check string
}

// A level is an open entity that holds others.
type level struct {
	part     *Part
	boundary string
	dashes   int  // that the boundary begins with
	bounded  bool // boundary is known; it is not for an encapsulated message, and for one to be guessed
	guess    bool // the boundary is missing; the first line that looks like a delimiter tells it
	closed   bool // its closing delimiter was seen
}

// bound gives a level its boundary.
func (lv *level) bound(boundary string, bounded bool) {
	lv.boundary, lv.bounded = boundary, bounded
	lv.dashes = len(boundary) - len(strings.TrimLeft(boundary, "-"))
}

// A delimiter is a line that ends an entity (RFC 2046 section 5.1.1).
type delimiter struct {
	level      int
	closing    bool
	start, end int64 // of the line
	brk        int64 // bytes of the line break before it, which belongs to it
}

// newParser makes the parser of a message or, for a container, of what it holds.
func newParser(ctx context.Context, root *Part, s *Spool, lim Limits, leaf func(*Part)) *parser {
	return &parser{
		ctx: ctx, lim: lim, leaf: leaf, others: &others{},
		msg: &Message{Spool: s, Root: root},
	}
}

// run reads a message and then all other ways to read it.
func (p *parser) run() error {
	p.win = newWindow(p.msg.Spool)
	defer p.win.close()
	if err := p.entity(p.msg.Root); err != nil {
		return err
	}
	if err := p.parts(); err != nil {
		return err
	}
	size, err := p.win.drain()
	if err != nil {
		return err
	}
	p.msg.Size = size
	if err := p.end(size); err != nil {
		return err
	}
	return p.readOthers()
}

// parts reads from delimiter to delimiter.
func (p *parser) parts() error {
	for !p.over {
		d, ok := p.next()
		if err := p.ctx.Err(); err != nil {
			return err
		}
		if !ok {
			return p.win.err
		}
		if err := p.delimited(d); err != nil {
			return err
		}
	}
	return nil
}

// end ends all that is open.
func (p *parser) end(size int64) error {
	if err := p.endLeaf(size, false); err != nil {
		return err
	}
	p.closeTo(-1, size)
	return nil
}

// delimited ends what the delimiter ends and begins the entity after it.
func (p *parser) delimited(d delimiter) error {
	if err := p.endLeaf(d.start-d.brk, d.level == len(p.open)-1); err != nil {
		return err
	}
	p.closeTo(d.level, d.start-d.brk)
	lv := &p.open[d.level]
	p.gap = d.end
	if d.closing {
		lv.closed = true
		return nil
	}
	part, ok := p.child(lv.part)
	if !ok {
		return nil
	}
	if lv.closed {
		part.Reading = "after the closing boundary"
		p.ambiguous(lv.part, "mime/ambiguous-boundary", "a part after the closing boundary")
	}
	return p.entity(part)
}

// child makes the next child of an entity; it reports false when there are too many parts.
func (p *parser) child(parent *Part) (*Part, bool) {
	limit := p.lim.Parts
	if p.of != nil {
		limit *= 4 // all readings together
	}
	if p.others.parts >= limit {
		p.over = true
		p.limit(parent, "mime/limit-parts", fmt.Sprintf("more than %d parts", p.lim.Parts))
		return nil, false
	}
	part := &Part{
		ID: parent.ID + "." + strconv.Itoa(len(parent.Children)+1), Parent: parent,
		src: parent.src, member: parent.member, Depth: parent.Depth, Reading: parent.Reading,
	}
	parent.Children = append(parent.Children, part)
	return part, true
}

// entity reads the header of an entity that begins here, and opens it.
func (p *parser) entity(part *Part) error {
	for part != nil {
		part.start = p.win.off
		p.header(part)
		if p.win.err != nil {
			return p.win.err
		}
		part.body = p.win.off
		as := p.classify(part)
		p.bodyStart(part, as)
		part = p.openBody(part, as)
	}
	return nil
}

// openBody begins the body of an entity. It returns the entity that begins there, if one does.
func (p *parser) openBody(part *Part, as kind) *Part {
	p.others.parts++
	if as != kindLeaf && len(p.open) >= p.lim.Depth {
		p.limit(part, "mime/limit-depth", fmt.Sprintf("more than %d entities within each other", p.lim.Depth))
		as = kindLeaf
	}
	if as == kindLeaf {
		p.cur = part
		return nil
	}
	p.open = append(p.open, p.level(part, as))
	p.gap = p.win.off
	if as == kindMultipart {
		return nil
	}
	inner, ok := p.child(part)
	if !ok {
		return nil
	}
	inner.Depth++
	return inner
}

// level opens an entity that holds others, and says what is odd about its boundary.
func (p *parser) level(part *Part, as kind) level {
	lv := level{part: part}
	if as == kindMessage {
		return lv
	}
	// Blanks at its end are not part of a boundary, and nor are those behind a delimiter.
	boundary := strings.TrimRight(part.Params["boundary"], " \t")
	lv.bound(boundary, boundary != "")
	switch {
	case !lv.bounded:
		lv.guess = true
		p.ambiguous(part, "mime/ambiguous-boundary", "no boundary is declared")
		p.otherwise(reading{part: part, why: "with an empty boundary", as: kindMultipart, mediaType: part.MediaType, bounded: true})
	case len(lv.boundary) > maxBoundary:
		p.ambiguous(part, "mime/ambiguous-boundary", "the boundary is longer than clients compare")
	}
	for _, o := range p.open {
		switch {
		case !o.bounded || !lv.bounded:
		case o.boundary == lv.boundary:
			p.ambiguous(part, "mime/ambiguous-boundary", "the boundary is that of an entity around it")
			p.again(o.part, outerFirst, "delimiters taken for those of the outermost entity")
		case strings.HasPrefix(lv.boundary, o.boundary):
			// Not unusual, and only a client that compares no more than the outer one is fooled.
			p.again(o.part, outerFirst|prefixMatch, "delimiters compared up to the length of the outer boundary")
		}
	}
	return lv
}

// maxBoundary is the longest boundary that clients can be relied on to compare to its end; RFC
// 2046 section 5.1.1 allows 70 characters.
const maxBoundary = 200

// next finds the next delimiter line. It reports false at the end of the message.
func (p *parser) next() (delimiter, bool) {
	if len(p.open) == 0 {
		return delimiter{}, false // nothing can end but the message
	}
	last := byte('\n') // the byte before the window
	for {
		b := p.win.bytes()
		i := bytes.Index(b, dashes)
		if i < 0 {
			keep := min(len(b), maxIndent+4) // what may stand before a delimiter
			if len(b) > keep {
				last = b[len(b)-keep-1]
				p.win.skip(len(b) - keep)
			}
			if p.ctx.Err() != nil || !p.win.fill() {
				return delimiter{}, false
			}
			continue
		}
		at := lineStart(b[:i], last)
		p.win.skip(i)
		if d, ok := p.delimiterAt(at); ok {
			return d, true
		}
		b = p.win.bytes()
		n := len(b) - len(bytes.TrimLeft(b, "-"))
		if d, ok := p.inLine(n, at); ok {
			return d, true
		}
		p.win.skip(n)
		last = '-'
	}
}

var dashes = []byte("--")

// maxIndent is how many blanks before a delimiter are looked at.
const maxIndent = 8

// A start is what stands between the end of a line and "--".
type start struct {
	end    byte // the last byte of the line before; no line ends there if it is neither CR nor LF
	brk    int64
	indent int // blanks, and NUL, which some clients pass over
}

// lineStart looks at the bytes before "--"; last is the byte before those.
func lineStart(before []byte, last byte) start {
	n := len(before)
	for n > 0 && len(before)-n < maxIndent && (before[n-1] == ' ' || before[n-1] == '\t' || before[n-1] == 0) {
		n--
	}
	s := start{end: last, indent: len(before) - n}
	if n > 0 {
		s.end, s.brk = before[n-1], 1
	}
	if n > 1 && s.end == '\n' && before[n-2] == '\r' {
		s.brk = 2
	}
	return s
}

// delimiterAt tries whether there is a delimiter at "--", which is before us.
func (p *parser) delimiterAt(at start) (delimiter, bool) {
	if at.end != '\n' && at.end != '\r' {
		return delimiter{}, false
	}
	loneCR := at.end == '\r' && p.how&crEndsLine == 0
	indented := at.indent > 0 && p.how&prefixMatch == 0
	limit := maxDelimiter
	if loneCR {
		limit = maxBoundary // there may be thousands before the line ends
	}
	line := p.win.line(limit)
	d, ok := p.match(line, !loneCR && !indented)
	switch {
	case !ok:
		return d, false
	case loneCR:
		p.ambiguous(p.open[d.level].part, "mime/ambiguous-boundary", "a delimiter behind a bare CR")
		p.again(p.open[d.level].part, crEndsLine, "with a bare CR as the end of a line")
		return d, false
	case indented:
		p.ambiguous(p.open[d.level].part, "mime/ambiguous-boundary", "blanks or NUL before a delimiter")
		p.again(p.open[d.level].part, prefixMatch, "with lines that look like delimiters as such")
		return d, false
	}
	d.start, d.brk = p.win.off-int64(at.indent), at.brk
	p.win.skip(len(line))
	d.end = p.win.off
	return d, true
}

// inLine tries whether a delimiter is where some clients look for one too: anywhere in a line. N is
// how many dashes are before us.
func (p *parser) inLine(n int, at start) (delimiter, bool) {
	for i := len(p.open) - 1; i >= 0; i-- {
		lv := &p.open[i]
		off := n - lv.dashes - len(dashes)
		starts := off == 0 && (at.end == '\n' || at.end == '\r') // match has looked at it
		if !lv.bounded || lv.boundary == "" || off < 0 || starts || !p.standsAt(off+len(dashes), lv.boundary) {
			continue
		}
		if p.how&midLine == 0 {
			p.again(lv.part, midLine, "with delimiters within lines")
			continue
		}
		d := delimiter{level: i, start: p.win.off + int64(off)}
		p.win.skip(off)
		line := p.win.line(maxDelimiter)
		d.closing = bytes.HasPrefix(line[min(len(line), len(dashes)+len(lv.boundary)):], dashes)
		p.win.skip(len(line))
		d.end = p.win.off
		return d, true
	}
	return delimiter{}, false
}

// standsAt reports whether text is before us behind so many bytes.
func (p *parser) standsAt(off int, text string) bool {
	b := p.win.peek(off + len(text))
	return len(b) == off+len(text) && string(b[off:]) == text
}

// match compares a line that begins with "--" with the boundaries around us, innermost first.
// Plain says that it stands where a delimiter should.
func (p *parser) match(line []byte, plain bool) (delimiter, bool) {
	text := bytes.TrimRight(line[2:], " \t\r\n")
	near := -1
	for i := range p.open {
		k := len(p.open) - 1 - i
		if p.how&outerFirst != 0 {
			k = i
		}
		lv := &p.open[k]
		if !lv.bounded {
			continue
		}
		rest, ok := bytes.CutPrefix(text, []byte(lv.boundary))
		if !ok {
			if rest, ok = p.otherCase(lv, text); !ok {
				continue
			}
		}
		switch {
		case len(rest) == 0:
			return delimiter{level: k}, true
		case string(rest) == "--":
			return delimiter{level: k, closing: true}, true
		case lv.boundary == "":
		case p.how&prefixMatch != 0:
			return delimiter{level: k, closing: bytes.HasPrefix(rest, dashes)}, true
		case near < 0:
			near = k
		}
	}
	if near >= 0 {
		return p.nearMatch(near, text)
	}
	p.left(text)
	return p.guess(text, plain)
}

// otherCase is CutPrefix for clients that do not tell capital letters in a boundary from small ones.
func (p *parser) otherCase(lv *level, text []byte) (rest []byte, ok bool) {
	n := len(lv.boundary)
	if len(text) < n || !strings.EqualFold(string(text[:n]), lv.boundary) {
		return nil, false
	}
	p.ambiguous(lv.part, "mime/ambiguous-boundary", "a delimiter with other letters, capital or small")
	p.again(lv.part, prefixMatch, "with lines that look like delimiters as such")
	return text[n:], p.how&prefixMatch != 0
}

// left looks whether the text behind "--" is a boundary of an entity that was left without its
// closing delimiter, because one of an entity around it came first. A client that minds only the
// innermost boundary is still in there.
func (p *parser) left(text []byte) {
	for i, lv := range p.unclosed {
		if rest, ok := bytes.CutPrefix(text, []byte(lv.boundary)); ok && (len(rest) == 0 || string(rest) == "--") {
			p.ambiguous(lv.part, "mime/ambiguous-boundary", "a delimiter behind the end of the entity")
			p.unclosed = slices.Delete(p.unclosed, i, i+1)
			return
		}
	}
}

// leave notes a level that ends.
func (p *parser) leave(lv level) {
	if !lv.bounded || lv.boundary == "" || lv.closed {
		return
	}
	if len(p.unclosed) == maxUnclosed {
		p.ambiguous(lv.part, "mime/ambiguous-boundary", "many entities have no closing delimiter")
		return
	}
	p.unclosed = append(p.unclosed, lv)
}

// maxUnclosed is how many entities may have no closing delimiter.
const maxUnclosed = 64

// nearMatch is for a line that only begins like a delimiter. Some clients compare no more
// than that; those that we follow first want at least a blank or the closing "--" behind it.
func (p *parser) nearMatch(k int, text []byte) (delimiter, bool) {
	lv := &p.open[k]
	p.ambiguous(lv.part, "mime/ambiguous-boundary", "a line only begins like the boundary")
	p.again(lv.part, prefixMatch, "with lines that look like delimiters as such")
	rest := text[len(lv.boundary):]
	if i := bytes.IndexByte(rest, '\r'); i >= 0 {
		p.again(lv.part, crEndsLine, "with a bare CR as the end of a line")
	}
	if p.how&exactMatch != 0 {
		return delimiter{}, false
	}
	switch {
	case rest[0] == ' ' || rest[0] == '\t':
		p.again(lv.part, exactMatch, "without delimiters that have something behind them")
		return delimiter{level: k}, true
	case bytes.HasPrefix(rest, []byte("-- ")):
		p.again(lv.part, exactMatch, "without delimiters that have something behind them")
		return delimiter{level: k, closing: true}, true
	}
	return delimiter{}, false
}

// guess takes the first line that looks like a delimiter for one where none is declared.
func (p *parser) guess(text []byte, plain bool) (delimiter, bool) {
	k := len(p.open) - 1
	if k < 0 || !plain {
		return delimiter{}, false
	}
	lv := &p.open[k]
	if !lv.guess || p.cur != nil || len(text) == 0 || bytes.ContainsAny(text, " \t") {
		return delimiter{}, false
	}
	lv.guess = false
	lv.bound(string(text), true)
	return delimiter{level: k}, true
}

// endLeaf ends the leaf that we are in, or the text between parts; own says that a delimiter of the
// innermost entity does.
func (p *parser) endLeaf(end int64, own bool) error {
	part := p.cur
	if part == nil {
		p.endGap(end, own)
		return nil
	}
	p.cur = nil
	part.end = max(end, part.body)
	if p.undecoded {
		p.leaf(part)
		return nil
	}
	damage, err := part.finishLeaf(p.lim.Spool)
	if err != nil {
		return fmt.Errorf("decode part %s: %w", part.ID, err)
	}
	if damage != "" {
		if own || damage != withoutPadding || !part.returned() {
			p.ambiguous(part, "mime/ambiguous-content", damage)
		}
		p.otherContents(part)
	}
	if p.leaf != nil {
		p.leaf(part)
	}
	return nil
}

// closeTo closes all levels above k.
func (p *parser) closeTo(k int, end int64) {
	for len(p.open)-1 > k {
		lv := p.open[len(p.open)-1]
		lv.part.end = max(end, lv.part.body)
		p.leave(lv)
		p.open = p.open[:len(p.open)-1]
		most := func(c *Part) bool { return c.Reading == lv.part.Reading } // not behind the closing delimiter
		if !slices.ContainsFunc(lv.part.Children, most) && !p.over {
			p.withoutParts(lv.part)
		}
	}
}

func (p *parser) found(part *Part, check, detail string) {
	p.findings = append(p.findings, Finding{Check: check, Part: part, Detail: detail})
}

// maxSame is how often one check is reported for a part; a message of nothing but oddities
// must not cost more than one that has them once.
const maxSame = 3

func (p *parser) ambiguous(part *Part, check, detail string) {
	p.msg.Ambiguous = true
	if p.says(part, check, maxSame) {
		p.found(part, check, detail)
	}
}

// limit reports, once for a part, that something was left unread because there was too much of it.
func (p *parser) limit(part *Part, check, detail string) {
	p.msg.Ambiguous = true
	if p.says(part, check, 1) {
		p.findings = append(p.findings, Finding{Check: check, Part: part, Detail: detail, Unexamined: true})
	}
}

// says counts the reports of a check for a part, and tells whether there is to be another one.
func (p *parser) says(part *Part, check string, most uint8) bool {
	if p.said == nil {
		p.said = map[said]uint8{}
	}
	key := said{part, check}
	n := p.said[key]
	if n >= most {
		return false
	}
	p.said[key] = n + 1
	return true
}
