package eml

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
)

// A parser reads a message once, from its first byte to its last, and keeps the entities that
// are open on a stack; so its time is linear and its depth needs no recursion.
type parser struct {
	ctx      context.Context //nolint:containedctx // a parser lives as long as one call of Parse
	lim      Limits
	leaf     func(*Part)
	msg      *Message
	findings []Finding

	win   *window
	open  []level // multipart entities and encapsulated messages around us, outermost first
	cur   *Part   // the leaf we are in; nil in a preamble or an epilogue
	parts int
	first string // the ID of the root
	over  bool   // the limit of parts was reached: what follows is not examined
}

// A level is an open entity that holds others.
type level struct {
	part     *Part
	boundary string // empty for an encapsulated message, and for one to be guessed
	guess    bool   // the boundary is missing; the first line that looks like a delimiter tells it
	closed   bool   // its closing delimiter was seen
}

// A delimiter is a line that ends an entity (RFC 2046 section 5.1.1).
type delimiter struct {
	level      int
	closing    bool
	start, end int64 // of the line
	brk        int64 // bytes of the line break before it, which belongs to it
}

func newParser(ctx context.Context, env *Envelope, s *Spool, lim Limits, leaf func(*Part)) *parser {
	return &parser{
		ctx: ctx, lim: lim, leaf: leaf, first: "1",
		msg: &Message{Envelope: env, Spool: s, Root: &Part{src: s, ID: "1"}},
	}
}

func (p *parser) run() error {
	p.win = newWindow(p.msg.Spool)
	defer p.win.close()
	root := p.msg.Root
	root.ID = p.first
	if err := p.entity(root); err != nil {
		return err
	}
	for !p.over {
		d, ok := p.next()
		if err := p.ctx.Err(); err != nil {
			return err
		}
		if !ok {
			break
		}
		if err := p.delimited(d); err != nil {
			return err
		}
	}
	size, err := p.win.drain()
	if err != nil {
		return err
	}
	p.msg.Size = size
	if err := p.endLeaf(size); err != nil {
		return err
	}
	p.closeTo(-1, size)
	return nil
}

// delimited ends what the delimiter ends and begins the entity after it.
func (p *parser) delimited(d delimiter) error {
	if err := p.endLeaf(d.start - d.brk); err != nil {
		return err
	}
	p.closeTo(d.level, d.start-d.brk)
	lv := &p.open[d.level]
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
		p.ambiguous(part, "mime/ambiguous-boundary", "a part after the closing boundary")
	}
	return p.entity(part)
}

// child makes the next child of an entity; it reports false when there are too many parts.
func (p *parser) child(parent *Part) (*Part, bool) {
	if p.parts >= p.lim.Parts {
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
	for {
		p.parts++
		part.start = p.win.off
		p.header(part)
		if p.win.err != nil {
			return p.win.err
		}
		part.body = p.win.off
		kind := p.classify(part)
		if kind != kindLeaf && len(p.open) >= p.lim.Depth {
			p.limit(part, "mime/limit-depth", fmt.Sprintf("more than %d entities within each other", p.lim.Depth))
			kind = kindLeaf
		}
		if kind == kindLeaf {
			p.cur = part
			return nil
		}
		p.open = append(p.open, p.level(part, kind))
		if kind == kindMultipart {
			return nil
		}
		inner, ok := p.child(part)
		if !ok {
			return nil
		}
		inner.Depth++
		part = inner
	}
}

// level opens an entity that holds others, and says what is odd about its boundary.
func (p *parser) level(part *Part, kind kind) level {
	lv := level{part: part}
	if kind == kindMessage {
		return lv
	}
	lv.boundary = part.Params["boundary"]
	switch {
	case lv.boundary == "":
		lv.guess = true
		p.ambiguous(part, "mime/ambiguous-boundary", "no boundary is declared")
	case len(lv.boundary) > 200:
		p.ambiguous(part, "mime/ambiguous-boundary", "the boundary is longer than clients compare")
	}
	for _, o := range p.open {
		if o.boundary != "" && o.boundary == lv.boundary {
			p.ambiguous(part, "mime/ambiguous-boundary", "the boundary is that of an entity around it")
		}
	}
	return lv
}

// next finds the next delimiter line. It reports false at the end of the message.
func (p *parser) next() (delimiter, bool) {
	if len(p.open) == 0 {
		return delimiter{}, false // nothing can end but the message
	}
	atLine, brk := true, int64(0)
	for {
		b := p.win.bytes()
		if !atLine || !bytes.HasPrefix(b, []byte("--")) {
			if atLine && len(b) < 2 && p.win.fill() {
				continue
			}
			i := bytes.Index(b, []byte("\n--"))
			if i < 0 {
				keep := min(len(b), 3) // "\r\n-" may be the beginning of one
				p.win.skip(len(b) - keep)
				atLine = atLine && len(b) == keep
				if p.ctx.Err() != nil || !p.win.fill() {
					return delimiter{}, false
				}
				continue
			}
			brk = 1
			if i > 0 && b[i-1] == '\r' {
				brk = 2
			}
			p.win.skip(i + 1)
		}
		line := p.win.line(maxDelimiter)
		if d, ok := p.match(line); ok {
			d.start, d.brk = p.win.off, brk
			p.win.skip(len(line))
			d.end = p.win.off
			return d, true
		}
		p.win.skip(2)
		atLine = false
	}
}

// match compares a line that begins with "--" with the boundaries around us, innermost first.
func (p *parser) match(line []byte) (delimiter, bool) {
	text := bytes.TrimRight(line[2:], " \t\r\n")
	near := -1
	for k := len(p.open) - 1; k >= 0; k-- {
		lv := &p.open[k]
		if lv.boundary == "" {
			continue
		}
		rest, ok := bytes.CutPrefix(text, []byte(lv.boundary))
		switch {
		case !ok:
		case len(rest) == 0:
			return delimiter{level: k}, true
		case string(rest) == "--":
			return delimiter{level: k, closing: true}, true
		default:
			near = k
		}
	}
	if near >= 0 {
		return p.nearMatch(near, text)
	}
	return p.guess(text)
}

// nearMatch is for a line that only begins like a delimiter. Some clients compare no more
// than that; those that we follow want at least a blank or the closing "--" behind it.
func (p *parser) nearMatch(k int, text []byte) (delimiter, bool) {
	lv := &p.open[k]
	p.ambiguous(lv.part, "mime/ambiguous-boundary", "a line only begins like the boundary")
	rest := text[len(lv.boundary):]
	switch {
	case rest[0] == ' ' || rest[0] == '\t':
		return delimiter{level: k}, true
	case bytes.HasPrefix(rest, []byte("-- ")):
		return delimiter{level: k, closing: true}, true
	}
	return delimiter{}, false
}

// guess takes the first line that looks like a delimiter for one where none is declared.
func (p *parser) guess(text []byte) (delimiter, bool) {
	k := len(p.open) - 1
	if k < 0 {
		return delimiter{}, false
	}
	lv := &p.open[k]
	if !lv.guess || p.cur != nil || len(text) == 0 || bytes.ContainsAny(text, " \t") {
		return delimiter{}, false
	}
	lv.guess, lv.boundary = false, string(text)
	return delimiter{level: k}, true
}

// endLeaf ends the leaf that we are in.
func (p *parser) endLeaf(end int64) error {
	part := p.cur
	if part == nil {
		return nil
	}
	p.cur = nil
	part.end = max(end, part.body)
	damage, err := part.finishLeaf(p.lim.Spool)
	if err != nil {
		return fmt.Errorf("decode part %s: %w", part.ID, err)
	}
	if damage != "" {
		p.ambiguous(part, "mime/ambiguous-content", damage)
	}
	if p.leaf != nil {
		p.leaf(part)
	}
	return nil
}

// closeTo closes all levels above k.
func (p *parser) closeTo(k int, end int64) {
	for len(p.open)-1 > k {
		part := p.open[len(p.open)-1].part
		part.end = max(end, part.body)
		p.open = p.open[:len(p.open)-1]
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
	same := 0
	for i := len(p.findings) - 1; i >= 0 && i >= len(p.findings)-maxSame; i-- {
		f := p.findings[i]
		if f.Part == part && f.Check == check {
			same++
		}
	}
	if same < maxSame {
		p.found(part, check, detail)
	}
}

// limit reports that something was left unread because there was too much of it.
func (p *parser) limit(part *Part, check, detail string) {
	p.msg.Ambiguous = true
	p.findings = append(p.findings, Finding{Check: check, Part: part, Detail: detail, Unexamined: true})
}
