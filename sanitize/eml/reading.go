package eml

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"sync/atomic"
)

// A reading is one more way in which a mail client may read an entity. The first reading of a
// message, that of its tree, is the one that most clients share; the others are read when that
// has been read to its end, each from where the entity begins, and what is found in them is
// examined like all else. What two readings agree on is examined once.
type reading struct {
	part *Part
	why  string // for people: what this client does
	how  how    // how lines are read

	// Either the header is read again, or these say what the body is.
	header    bool
	as        kind
	mediaType string
	boundary  string
	bounded   bool       // boundary is known, even if it is empty
	encoding  Encoding   // of the body; of an entity that holds others it is decoded first
	strict    strictness // of a leaf
	doubt     string     // for people: why the message is ambiguous if there are parts in this reading

	from, to int64 // the bytes that are read; both 0: those of the entity
}

// how says in which ways a client reads lines otherwise than RFC 5322 and RFC 2046 say.
type how uint16

const (
	prefixMatch    how = 1 << iota // a line that only begins like a delimiter, blanks before it aside, is one
	exactMatch                     // a delimiter with something behind it is none
	outerFirst                     // a delimiter of several entities is that of the outermost
	crEndsLine                     // a bare CR ends a line, and NUL is passed over
	junkEndsHeader                 // what is no field begins the body
	junkContinues                  // what is no field belongs to the field before it
	emptyContinues                 // the header goes on behind the first empty line
	blankEnds                      // a line of blanks ends a header
	midLine                        // a delimiter may stand anywhere in a line
)

// unsuspicious are the ways that are tried for what is in sound mail too, so that it is not called
// ambiguous.
const unsuspicious = blankEnds | midLine

// Limits of other readings. A message that needs more of them is not examined to its end.
const (
	maxReadings      = 40
	maxReadingFactor = 12       // times the size of the message, all readings together
	readingFree      = 64 << 10 // bytes that a reading may always have

	// Of a message that is found in a reading alone, times the size of the whole and readings that are
	// free: each line of blanks in a header gives one, which has the next in it, and at each line all
	// of them double. What is beyond that is told.
	maxInnerFactor = 2
	maxInnerFree   = 4
)

// An allowance bounds what the messages within a message may cost by their other readings, all
// together: if each had its own, a mail in a mail in a mail would be read in some twenty ways to the
// power of its depth.
type allowance struct {
	s     *Spool // the whole message
	used  atomic.Int64
	inner atomic.Int64 // by messages that only another reading has
}

// allowanceOf is that of the message which the part is in, or in a container of; nil if there is
// no message.
func allowanceOf(p *Part) *allowance {
	for p.Parent != nil {
		p = p.Parent
	}
	return p.allowed
}

// take accounts for n bytes that are read, of a message that only another reading has or of another,
// and reports false if they must not be.
func (a *allowance) take(n int64, inner bool) bool {
	if a == nil {
		return true
	}
	size := a.s.Size()
	if inner && a.inner.Add(n) > max(size*maxInnerFactor, readingFree*maxInnerFree) {
		return false
	}
	return a.used.Add(n) <= max(size*maxReadingFactor, readingFree*maxReadings)
}

// inReading reports whether the part, or one that it is in, was found by another reading.
func (p *Part) inReading() bool {
	for ; p != nil; p = p.Parent {
		if p.member && p.Reading != "" {
			return true
		}
	}
	return false
}

// others collects readings while a message is parsed. All parsers of one message share it.
type others struct {
	list  []reading
	known map[readingKey]bool
	parts int   // entities in all readings
	bytes int64 // read in all readings but the first
	over  bool

	allowed *allowance // nil for the outermost message, which has room of its own
	inner   bool       // the message was found by another reading
}

// A readingKey is what tells readings apart.
type readingKey struct {
	reading
	part string // its ID
}

// add notes a reading, unless it was noted before.
func (o *others) add(r reading) {
	if o.over {
		return // none is noted any more, and a message may consist of nothing but what is odd
	}
	key := readingKey{r, r.part.ID}
	key.reading.part, key.why, key.doubt = nil, "", ""
	switch {
	case o.known[key]:
		return
	case len(o.list) == maxReadings:
		o.over = true
		return
	case o.known == nil:
		o.known = map[readingKey]bool{}
	}
	o.known[key] = true
	o.list = append(o.list, r)
}

// otherwise notes that clients may read an entity in another way.
func (p *parser) otherwise(r reading) {
	r.how |= p.how
	if p.of != nil && r.part == p.msg.Root && r.part.src == p.of.part.src && r.from == r.to {
		r.part = p.of.part // it is read there
	}
	p.others.add(r)
}

// again notes that clients may read the lines of an entity in another way.
func (p *parser) again(part *Part, h how, why string) {
	r := reading{part: part, header: true}
	const compare = prefixMatch | exactMatch
	switch {
	case p.of != nil && p.of.doubt != "" && h&compare != 0: // the boundary is doubtful enough
		return
	case p.how&h == h, p.how&compare != 0 && h&compare != 0, part.noted&h == h:
		return // cheap: a message may consist of nothing but what is odd
	case p.of != nil && part == p.msg.Root:
		r = *p.of
	}
	part.noted |= h
	r.how, r.why = p.how|h, why
	p.others.add(r)
}

// otherContents notes what strict decoders make of a damaged leaf.
func (p *parser) otherContents(part *Part) {
	if part.strict != lenient {
		return
	}
	r := reading{part: part, why: "decoded by a strict decoder", mediaType: part.MediaType, encoding: part.Encoding}
	if kindOf(part.MediaType) == kindMessage {
		p.otherwise(reading{part: part, why: "as a message that is not encoded", as: kindMessage, mediaType: part.MediaType})
	}
	if part.Encoding == UUEncode {
		r.why, r.encoding = "as text", Identity
		p.otherwise(r)
		return
	}
	for r.strict = lenient + 1; r.strict < strictnesses; r.strict++ {
		p.otherwise(r)
	}
}

// returned reports whether the part is in a message that comes back because it could not be delivered
// (RFC 3462). Of a long one only the beginning does.
func (p *Part) returned() bool {
	for ; p.Parent != nil; p = p.Parent {
		if kindOf(p.MediaType) == kindMessage && p.Parent.MediaType == "multipart/report" {
			return true
		}
	}
	return false
}

// withoutParts is for an entity that should hold parts and has none: clients find some that we
// do not, or show the whole of it.
func (p *parser) withoutParts(part *Part) {
	if part.isBlank() || p.of != nil && part == p.msg.Root {
		return
	}
	p.ambiguous(part, "mime/ambiguous-boundary", "no part begins with the boundary")
	p.otherwise(reading{part: part, why: "with the first delimiter that is there", as: kindMultipart, mediaType: part.MediaType})
	p.otherwise(reading{part: part, why: "as text", mediaType: "text/plain"})
	if part.Encoding != Identity {
		p.otherwise(reading{part: part, why: "as one file", mediaType: "text/plain", encoding: part.Encoding})
	}
}

// isBlank reports whether nothing is in the raw body but a few blanks and line breaks: that is how
// the header of a message comes back that could not be delivered.
func (p *Part) isBlank() bool {
	var b [16]byte
	n := p.end - p.body
	return n <= int64(len(b)) && readFull(p.src, b[:n], p.body) && len(bytes.TrimSpace(b[:n])) == 0
}

const (
	// maxGap is the longest text before and behind the parts that may tell a reader of old
	// that this is MIME, or who runs a list.
	maxGap = 1000
	// gapHead is how much of a text between parts is looked at.
	gapHead = 4 << 10
)

// endGap ends the text before the first part or behind the last one. No client shows it that
// knows MIME, but some decode what they find there.
func (p *parser) endGap(end int64, own bool) {
	if len(p.open) == 0 || end <= p.gap || p.over { // behind the last part that may be is no gap
		return
	}
	part := p.open[len(p.open)-1].part
	if !own && len(part.Children) == 0 {
		return // there are no parts: see withoutParts
	}
	head := make([]byte, min(end-p.gap, gapHead))
	n, _ := part.src.ReadAt(head, p.gap) // of an error the end of the message tells
	head = head[:n]
	r := reading{part: part, why: "with the text between parts as one", mediaType: "text/plain", from: p.gap, to: end}
	at := headerWithin(head)
	switch {
	case at >= 0:
		r.header, r.from = true, p.gap+int64(at)
		p.ambiguous(part, "mime/ambiguous-boundary", "a part before the first delimiter or behind the last")
	case emptied(part):
		// Several clients take no notice of a closing delimiter right behind another: what follows
		// is a part to them.
	case end-p.gap <= maxGap && !bytes.Contains(head, []byte("begin ")) && !bytes.Contains(head, []byte("begin-")) && !bytes.Contains(head, []byte("=ybegin ")) && !bytes.Contains(head, []byte("BinHex")):
		return
	}
	p.otherwise(r)
}

// emptied reports whether the last part of an entity ends where it begins, without even a header.
func emptied(part *Part) bool {
	if len(part.Children) == 0 {
		return false
	}
	last := part.Children[len(part.Children)-1]
	return last.start == last.body && last.body == last.end
}

// headerWithin is where in a text a header of MIME begins; -1 if there is none.
func headerWithin(text []byte) int {
	at, begin := 0, 0
	for line := range bytes.Lines(text) {
		for piece := range bytes.SplitSeq(line, []byte("\r")) { // a bare CR ends a line too
			if looksLikeField(bytes.TrimLeft(piece, " \t")) {
				return begin
			}
		}
		at += len(line)
		if len(bytes.TrimSpace(line)) == 0 || bytes.HasPrefix(line, dashes) {
			begin = at
		}
	}
	return -1
}

// readOthers reads the message in all other ways that were noted, and in those that are noted
// on the way.
func (p *parser) readOthers() error {
	if len(p.others.list) == 0 {
		return nil
	}
	seen := examined{}
	seen.addAll(p.msg.Root)
	room := max(p.msg.Size*maxReadingFactor, readingFree*maxReadings)
	members := map[*Part]int{}
	var roots []*Part
	for i := 0; i < len(p.others.list); i++ {
		r := p.others.list[i]
		n := r.part.end - r.part.start
		if p.others.bytes += n; p.others.bytes > room || !p.others.allowed.take(n, p.others.inner) {
			p.others.over = true
			break
		}
		root, err := p.read(&r, members[r.part]+1, seen)
		if err != nil {
			return err
		}
		if root != nil {
			members[r.part]++
			roots = append(roots, root)
		}
	}
	if p.others.over {
		p.limit(p.msg.Root, "mime/limit-readings", "mail clients may read this in more ways than were examined")
	}
	// Not before all are read: until then an entity must have the children of its first reading.
	for _, root := range roots {
		root.Parent.Children = append(root.Parent.Children, root)
	}
	return nil
}

// read reads an entity in another way. The part that it returns is a member of the entity; nil
// if there is nothing in it that was not examined before.
func (p *parser) read(r *reading, n int, seen examined) (*Part, error) {
	e := r.part
	root := &Part{
		ID: e.ID + "~" + strconv.Itoa(n), Parent: e, Depth: e.Depth, member: true, Reading: r.why,
		Header: e.Header, MediaType: r.mediaType, Params: e.Params, Disposition: e.Disposition, Names: e.Names,
		Encoding: r.encoding, strict: r.strict, src: e.src, start: e.start, body: e.body, end: e.end,
	}
	if r.from < r.to {
		root.start, root.body, root.end = r.from, r.from, r.to
	}
	q := &parser{ctx: p.ctx, lim: p.lim, how: r.how, of: r, others: p.others}
	news := false
	q.leaf = func(leaf *Part) {
		if !seen.add(leaf, r.doubt != "" || r.how&unsuspicious != 0) {
			p.msg.owner().keep(leaf.content)
			return
		}
		news = true
		if p.leaf != nil {
			p.leaf(leaf)
		}
	}
	if r.as != kindLeaf && r.encoding != Identity {
		if err := p.decode(root); err != nil {
			return nil, err
		}
	}
	q.msg = &Message{Envelope: p.msg.Envelope, Spool: root.src, Root: root}
	err := q.section(root)
	for _, f := range q.findings {
		if f.Unexamined || f.Check == "mime/partial" || f.Check == "mime/external-body" {
			p.findings, news = append(p.findings, f), true
		}
	}
	if err != nil || !news {
		return nil, err
	}
	if r.doubt != "" && len(root.Children) > 0 {
		p.ambiguous(e, "mime/ambiguous-boundary", r.doubt)
	}
	return root, nil
}

// section reads the bytes of one entity.
func (p *parser) section(root *Part) error {
	p.win = newWindow(root.src)
	defer p.win.close()
	end := root.end
	p.win.off, p.win.end = root.body, end
	p.win.crEndsLine = p.how&crEndsLine != 0
	if err := p.begin(root); err != nil {
		return err
	}
	if err := p.parts(); err != nil {
		return err
	}
	return p.end(end)
}

// begin opens the entity that is read in another way.
func (p *parser) begin(root *Part) error {
	if p.of.header {
		p.win.off = root.start
		root.Header, root.Names = Header{}, nil
		return p.entity(root)
	}
	inner := p.openBody(root, p.of.as)
	if inner != nil {
		return p.entity(inner)
	}
	if p.of.as == kindMultipart && len(p.open) > 0 { // else the limit of depth is 0
		lv := &p.open[0]
		lv.bound(p.of.boundary, p.of.bounded)
		lv.guess = !p.of.bounded
	}
	return nil
}

// decode makes the decoded body of an entity the raw bytes of the part.
func (p *parser) decode(part *Part) error {
	s := NewSpool(p.lim.Spool)
	p.msg.owner().keep(s)
	buf := getBuffer()
	defer putBuffer(buf)
	raw := io.NewSectionReader(part.src, part.body, part.end-part.body)
	if err := decodeTo(s, raw, newDecoder(part.Encoding, lenient), buf); err != nil {
		return fmt.Errorf("decode part %s: %w", part.ID, err)
	}
	s.CloseWrite(nil)
	part.src, part.start, part.body, part.end = s, 0, 0, s.Size()
	part.Encoding = Identity
	return nil
}

// examined are leaves that have been given to scanners, by all that they are judged by, and by that
// and where their raw bytes are.
type examined map[looks]bool

// looks are what a leaf is judged by, and, if src is not nil, where its raw bytes begin.
type looks struct {
	mediaType, charset, names, kind string
	sum                             [32]byte
	src                             *Spool
	body                            int64
}

// add reports whether the leaf must be examined. Copies says that this is so too if it is the same as
// one at another place, because what is done to that one is not done to it: the message is not
// written anew only because of the reading that it is in.
func (e examined) add(p *Part, copies bool) bool {
	if p.Size == 0 && len(p.Names) == 0 {
		return false
	}
	key := looks{mediaType: p.MediaType, charset: p.Charset(), names: fmt.Sprintf("%q", p.Names), kind: p.Type, sum: p.SHA256}
	place := key
	place.src, place.body = p.src, p.body
	known := e[key] && (!copies || e[place])
	e[key], e[place] = true, true
	return !known
}

func (e examined) addAll(root *Part) {
	root.Walk(func(p *Part) bool {
		if p.leaf {
			e.add(p, false)
		}
		return true
	})
}

// looksLikeField reports whether a line of a body is a field that belongs to a header of MIME.
func looksLikeField(line []byte) bool {
	name, _, ok := bytes.Cut(line, []byte(":"))
	name = bytes.TrimRight(name, " \t")
	return ok && (bytes.EqualFold(name, []byte("Content-Type")) || bytes.EqualFold(name, []byte("Content-Transfer-Encoding")) ||
		bytes.EqualFold(name, []byte("Content-Disposition")))
}
