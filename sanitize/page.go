package sanitize

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// A page is HTML under examination. Every "<" in it is read as the beginning of a tag, whatever
// is around it: a comment, a raw text element, a value in quotes. Which of these a client is in
// is what attacks on sanitizers turn on (mutation XSS), and it does not matter here: a tag that
// is unsafe is defanged wherever it stands.
type page struct {
	b       []byte
	marks   []mark
	charset []string   // what the page says of itself
	alien   bool       // one of these, noted or not, is unreadable
	shown   bool       // a namespace of it is one of those that a browser shows
	styled  bool       // and one that has style elements
	spaces  []string   // of data, the prefixes that stand for one of the latter, "" for none
	xml     bool       // a client may read it as XML
	data    bool       // no client takes it for a page unless it is shown
	disk    bool       // it may be opened from the disk
	drawing bool       // a drawing or a formula began in it
	work    int        // bytes that were read so far
	limit   int        // how many may be
	over    bool       // it costs more to read, or to defang, than the limits
	along   *alongside // what it is for others, which is read along; nil if it is the same
	quiet   span       // the style element that was read last, if nothing in it is active
	reads   int        // how often it was read
	piece   []byte     // room for b, where it is a piece of a page
	noted   []noted    // room for what is kept in mind of another page
	tags    tagReader
	css     cssText
	image   image
	name    [maxName]byte // of the element or attribute that is looked at
	words   [maxWord]byte // its value, where that is one of few words
}

// pages are used again: what they hold while they work is larger than most of what they examine.
var pages = sync.Pool{New: func() any { return new(page) }}

// newPage gives a page that the caller puts back into pages when it is done with it.
func newPage(b []byte) *page {
	p := pages.Get().(*page)
	p.xml, p.disk, p.data, p.noted = false, false, false, p.noted[:0]
	p.reset(b)
	return p
}

// reset makes a page of other bytes of it, with the room it has, which are read in the same way.
func (p *page) reset(b []byte) {
	*p = page{b: b, limit: workLimit(len(b)), xml: p.xml, disk: p.disk, data: p.data, piece: p.piece, noted: p.noted, marks: p.marks[:0], css: cssText{text: p.css.text, start: p.css.start, end: p.css.end}, image: image{sources: p.image.sources}, tags: tagReader{tag: tag{attrs: p.tags.tag.attrs}}}
	p.tags.b = b
}

// done puts the page back.
func (p *page) done() {
	p.b, p.tags.b, p.css.page, p.along = nil, nil, nil, nil
	if cap(p.piece) > maxKept {
		p.piece = nil
	}
	pages.Put(p)
}

// maxKept is how much room for a piece a page keeps when it is put back.
const maxKept = 256 << 10

// A mark is a place at which defanged is inserted.
type mark struct {
	at    int
	check htmlCheck
}

// defanged is put before a name, by which a client does not know it any more; with a blank, before
// that of a tag which is not to be one.
const (
	defanged = "DEFANGED_"
	asText   = " " + defanged
)

// The same as the text of edits, which nobody changes.
var defangedBytes, asTextBytes = []byte(defanged), []byte(asText)

const (
	// workFactor bounds the cost of a page: how often each of its bytes may be read. Tags within
	// tags are what costs, and styles within styles; a real page reads each byte about once.
	workFactor = 8
	// freeWork is what the smallest page may cost, in bytes.
	freeWork = 64 << 10
	// maxMarks is how many places of a page may be unsafe: each costs an edit.
	maxMarks = 50_000
	// maxName is longer than any name in the tables.
	maxName = 40
)

// examine finds all marks. It returns the error of ctx if that ends before.
func (p *page) examine(ctx context.Context) error {
	r := &p.tags
	next := 0
	for i := 0; !p.over; i++ {
		n := bytes.IndexByte(p.b[i:], '<')
		if n < 0 {
			break
		}
		i += n
		if p.along != nil {
			p.along.follow(p, i)
		} else {
			p.markupAt(r, i)
		}
		if p.work >= next {
			if err := ctx.Err(); err != nil {
				return err
			}
			next = p.work + 1<<20
		}
	}
	if p.along != nil {
		p.along.finish(p)
	}
	p.marks = sorted(p.marks)
	return nil
}

// construct reads what begins at the "<" at byte i.
func (p *page) construct(i int) construct {
	last := construct{span: span{start: i}, marks: span{start: len(p.marks)}, charsets: span{start: len(p.charset)}, work: p.work, drawing: p.drawing}
	p.quiet = span{}
	last.end = p.markupAt(&p.tags, i)
	last.marks.end, last.charsets.end, last.work = len(p.marks), len(p.charset), p.work-last.work
	last.drawn, last.over, last.limited, last.quiet, last.reads = p.drawing, p.over, p.limited(), p.quiet, p.reads
	return last
}

// sorted sorts marks by their places, each once.
func sorted(marks []mark) []mark {
	slices.SortFunc(marks, func(a, b mark) int {
		if a.at == b.at {
			return int(a.check) - int(b.check)
		}
		return a.at - b.at
	})
	return slices.Compact(marks)
}

// spend accounts for n bytes that are read.
func (p *page) spend(n int) {
	p.work += n
	p.over = p.over || p.work > p.limit
}

// workLimit is what a page of that size may cost.
func workLimit(size int) int { return workFactor*size + freeWork }

// markupAt examines the tag or declaration whose "<" is at byte i, if there is one. It gives the end of
// the bytes on which what it found depends; one more than there are if it depends on where the page ends.
func (p *page) markupAt(r *tagReader, i int) (end int) {
	name := i + 1
	for name < len(p.b) && p.b[name] == 0 {
		name++ // old clients drop NUL
	}
	p.spend(name - i)
	switch {
	case name >= len(p.b):
		return len(p.b) + 1
	case isLetter(p.b[name]), p.b[name] >= 0x80 && isFolded(p.b[name:]): // closing tags hold nothing that runs
		return p.tagAt(r, i, name)
	case p.b[name] == '!':
		return p.declaration(name + 1)
	case hasPrefixFold(p.b[name:], "?xml-stylesheet"), hasPrefixFold(p.b[name:], "?import"):
		return p.tagAt(r, i, name)
	case p.b[name] == '/':
		return p.endTag(name + 1)
	case hasPrefixFold(p.b[name:], "?xml") && name+4 < len(p.b) && isBlank(p.b[name+4]):
		return p.tagAt(r, i, name)
	}
	return name + len("?xml-stylesheet")
}

// endTag renames the end of an element in XML as its beginning is, so that a browser shows the rest. It
// gives what markupAt gives.
func (p *page) endTag(name int) (end int) {
	if !p.xml {
		return name
	}
	s := span{name, name}
	for s.end < len(p.b) && s.len() <= maxEndTag && p.b[s.end] != '>' && !isBlank(p.b[s.end]) {
		s.end++
	}
	if e := p.element(s); e.refused {
		p.mark(e.check, p.unprefixed(s).start)
	}
	return s.end + 1
}

// maxEndTag is the longest name, with its prefix, of an element whose end is renamed.
const maxEndTag = 200

// tagAt examines the tag whose "<" is at byte i, and whose name is at byte name. It gives what
// markupAt gives.
func (p *page) tagAt(r *tagReader, i, name int) (end int) {
	if r.read(name) {
		p.spend(r.tag.end - i)
		return p.tag(&r.tag)
	}
	p.spend(len(p.b) - i)
	if r.has('>', i) && len(r.tag.attrs) == maxAttrs {
		p.over = true
		return len(p.b) + 1
	}
	p.unclosed(&r.tag)
	return len(p.b) + 1
}

// unclosed is a tag that the page does not end. Clients drop it, or close it with what comes
// after the page. Its fix makes text of it.
func (p *page) unclosed(t *tag) {
	e := p.element(t.name)
	if e.refused || bytes.IndexByte(p.b[t.name.end:], '=') >= 0 {
		p.mark(checkMalformed, t.name.start)
	}
}

// An element is what the tables say about the name of a tag.
type element struct {
	safe    bool      // mail may have it
	refused bool      // it may not, by the check
	plain   bool      // none of both, and a name that a specification may have some day
	check   htmlCheck // why it is refused
	img     bool      // shows an image: img
	rule    func(*page, []byte, attr)
	whole   func(*page, *tag)
}

// element looks up the name of a tag.
func (p *page) element(s span) element {
	name := p.local(s)
	if e := elements.find(name); e != nil {
		return *e
	}
	if n := bytes.IndexFunc(name, isOldBlank); n > 0 {
		if e := elements.find(name[:n]); e != nil && e.refused {
			return *e
		}
	}
	return element{plain: p.plain(s)}
}

// isOldBlank tells what old clients took for blanks, so that it ended the name of a tag: control
// characters, and the no-break space in whatever charset.
func isOldBlank(r rune) bool { return r < ' ' || r == 0xa0 || r == utf8.RuneError }

// plain reports whether a name that no table has is one that a specification may have some day:
// letters and digits. One with a hyphen is the author's own, one with a colon that of an XML
// vocabulary, and anything else is no name.
func (p *page) plain(s span) bool {
	for _, c := range p.b[s.start:s.end] {
		if !isLetter(c) && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// tag examines a tag, and the style behind it if it begins one. It gives what markupAt gives.
func (p *page) tag(t *tag) (end int) {
	e := p.element(t.name)
	if e.refused {
		p.mark(e.check, p.unprefixed(t.name).start)
	}
	if e.whole != nil {
		e.whole(p, t)
	}
	p.image.reset(&e)
	for _, a := range t.attrs {
		p.attr(&e, a)
	}
	p.images()
	name := p.local(t.name)
	p.drawing = p.drawing || string(name) == "svg" || string(name) == "math"
	if !e.safe || string(name) != "style" || p.data && !p.isStyled(t.name) { // the last as Word has them, by the thousand
		return t.end
	}
	end, plain := p.styleEnd(t.end)
	css := span{t.end, end}
	if !p.styleElement(css) && plain {
		p.quiet = css
	}
	if css.end = p.dividedStyle(t, css.start, css.end); p.over {
		return len(p.b) + 1 // it may have looked further
	}
	return min(css.end+len("</style>"), len(p.b)+1) // or what it has for a ">"
}

// styleEnd is where the content of a style element ends that begins at byte i. It is plain if nothing in it begins
// like its end, which a break may make of it.
func (p *page) styleEnd(i int) (end int, plain bool) {
	for plain = true; ; plain = false {
		n := indexFold(p.b[i:], "</style")
		if n < 0 {
			return len(p.b), plain
		}
		at := i + n
		i = at + len("</style")
		if i == len(p.b) || isBlank(p.b[i]) || p.b[i] == '/' || p.b[i] == '>' {
			return at, plain
		}
	}
}

// attr examines an attribute of an element.
func (p *page) attr(e *element, a attr) {
	if c := p.b[a.name.start]; c|0x20 == 'x' && p.namespace(a) {
		return
	}
	local := p.unprefixed(a.name)
	if local != a.name && hasHandlerName(p.b[a.name.start:a.name.end]) {
		p.mark(checkHandler, a.name.start) // old clients end a name at any odd character
		return
	}
	name := p.lower(local)
	info := attrInfoOf(name)
	if info.kind == attrUnknown && !p.strangeAttr(e, a, local, name) {
		return
	}
	if e.rule != nil {
		e.rule(p, name, a)
	}
	if e.img && string(name) == "hidden" {
		p.image.hidden = true
	}
	if a.value.len() > 0 || info.kind == attrRefused {
		p.value(e, a, local, name, info)
	}
}

// hasHandlerName reports whether the name of an attribute begins like that of an event handler.
func hasHandlerName(b []byte) bool {
	b = bytes.TrimLeft(b[:min(len(b), 64)], "\x00")
	if len(b) < 3 || b[0]|0x20 != 'o' {
		return false
	}
	b = bytes.TrimLeft(b[1:], "\x00")
	return len(b) > 1 && b[0]|0x20 == 'n'
}

// strangeAttr examines an attribute that the tables do not have. It reports whether there is more
// to look at.
func (p *page) strangeAttr(e *element, a attr, local span, name []byte) bool {
	raw := p.b[local.start:local.end]
	switch {
	case hasHandlerName(raw):
		p.mark(checkHandler, local.start)
		return false
	case hasPrefixFold(raw, defanged):
		return false // nobody knows it
	case len(name) == 0 || a.value.len() == 0 || local != a.name || !e.safe && !e.plain || !p.plain(local):
		return true
	}
	if v := p.b[a.value.start:a.value.end]; isRemote(v) || hidesMarkup(v) {
		p.mark(checkAttribute, local.start)
		return false
	}
	return true
}

// hidesMarkup reports whether a value has a "<" as a character reference, so that it may be a page
// of its own, as that of srcdoc is.
func hidesMarkup(v []byte) bool {
	for i := 0; i < len(v); i++ {
		n := bytes.IndexByte(v[i:], '&')
		if n < 0 {
			return false
		}
		i += n
		if r, _ := decodeEntity(v[i:]); r == '<' || hasPrefixFold(v[i:], "&lt") {
			return true
		}
	}
	return false
}

// value examines the value of an attribute.
func (p *page) value(e *element, a attr, local span, name []byte, info attrInfo) {
	v := p.b[a.value.start:a.value.end]
	switch info.kind {
	case attrRefused:
		p.mark(info.check, local.start)
		if dangerousURL(v) != "" {
			p.mark(checkURL, a.value.start)
		}
		return
	case attrText:
		return
	case attrStyle:
		p.style(a.value)
		p.image.noteStyle(v)
		return
	case attrImages:
		for _, at := range refusedCandidates(v) {
			p.mark(checkURL, a.value.start+at)
		}
		if p.disk {
			for at := range candidates(v) {
				if isNetworkPath(v[at:]) {
					p.mark(checkURL, a.value.start+at)
				}
			}
		}
		if e.safe && anyRemote(v) {
			p.image.add(local.start, v)
		}
		return
	case attrURL, attrImage:
		if e.plain {
			p.mark(checkAttribute, local.start) // of an element that nobody knows yet
		}
		if refusedURL(v, info.kind == attrImage || e.img) != "" || p.disk && isNetworkPath(v) {
			p.mark(checkURL, a.value.start)
		}
		if info.kind == attrImage || e.img {
			p.image.source(local.start, v)
		}
		return
	}
	if dangerousURL(v) != "" {
		p.mark(checkURL, a.value.start)
	}
	if bytes.IndexByte(v, '(') >= 0 || bytes.IndexByte(v, '&') >= 0 && e.safe {
		p.css.local = true // the attributes of drawings are styles too (SVG, section 6.5)
		p.style(a.value)
		p.css.local = false
	}
	if n := bytes.Index(v, []byte("&{")); n >= 0 && !bytes.HasPrefix(v[n:], []byte("&{{")) {
		p.mark(checkHandler, local.start) // a script entity of Netscape
	}
	p.image.note(name, v)
}

// namespace looks at the name of a namespace of XML: those of XHTML, SVG, MathML and XSLT make of data
// a page. An entity may stand for one of them. It reports whether the attribute is such a one.
func (p *page) namespace(a attr) bool {
	if !strings.HasPrefix(string(p.lower(span{a.name.start, min(a.name.end, a.name.start+5)})), "xmlns") {
		return false
	}
	if p.shown && p.styled && !p.data {
		return true
	}
	name := p.word(a)
	for _, s := range shownNamespaces {
		if bytes.Contains(name, s) {
			p.shown = true
			if string(s) != mathML {
				p.styled = true
				p.addSpace(a.name)
			}
		}
	}
	return true
}

// anySpace stands in spaces for all prefixes.
const anySpace = "*"

// maxSpaces is how many prefixes are told apart, and how many bytes of one are looked at.
const maxSpaces = 40

// addSpace notes the prefix that a declaration such as xmlns:a is of.
func (p *page) addSpace(declaration span) {
	_, prefix, _ := bytes.Cut(p.b[declaration.start:declaration.end], []byte(":"))
	switch {
	case slices.Contains(p.spaces, string(prefix)):
	case len(p.spaces) >= maxSpaces || len(prefix) > maxSpaces:
		p.spaces = append(p.spaces[:0], anySpace)
	default:
		p.spaces = append(p.spaces, string(prefix))
	}
}

// isStyled reports whether an element of data may be in a namespace that has style elements: its prefix
// stands for one somewhere, or something may make a page of anything.
func (p *page) isStyled(name span) bool {
	if !p.styled || len(p.spaces) == 0 || slices.Contains(p.spaces, anySpace) {
		return p.styled
	}
	prefix, local, ok := bytes.Cut(p.b[name.start:name.end], []byte(":"))
	if !ok {
		prefix = nil
	}
	return bytes.IndexByte(local, ':') >= 0 || slices.Contains(p.spaces, string(prefix))
}

// shownAs notes that something may make any page of data.
func (p *page) shownAs(page bool) {
	if page {
		p.shown, p.styled, p.spaces = true, true, append(p.spaces[:0], anySpace)
	}
}

// mathML has no style elements; all documents of OpenDocument declare it.
const mathML = "/mathml"

var shownNamespaces = [][]byte{[]byte("/xhtml"), []byte("/svg"), []byte(mathML), []byte("/xsl/transform"), []byte("&")}

// styleElement examines the content of a style element, which has character references in SVG and in XML,
// and in HTML has none. It reports what style reports.
func (p *page) styleElement(s span) bool {
	p.css.raw = true
	closely := p.style(s)
	p.css.raw = false
	p.reads = 1
	if bytes.IndexByte(p.b[s.start:s.end], '&') < 0 {
		return closely
	}
	p.reads = 2
	if closely || p.hasReferences(s) {
		p.style(s)
		return true
	}
	p.spend(s.len())
	return p.over
}

// hasReferences reports whether there are character references in a style by which it may be another one.
func (p *page) hasReferences(s span) bool {
	b := p.b[s.start:s.end]
	for i := 0; ; i++ {
		n := bytes.IndexByte(b[i:], '&')
		if n < 0 {
			return false
		}
		if i += n; isReference(b[i:]) {
			return true
		}
	}
}

// style examines CSS. It reports whether it had to look closely, or could not look at all.
func (p *page) style(s span) bool {
	p.spend(s.len())
	if !p.over && !p.mayBeActive(s) {
		return false
	}
	if !p.over {
		p.css.examine(p, s)
	}
	return true
}

func (p *page) mark(check htmlCheck, at int) {
	if len(p.marks) == maxMarks {
		p.over = true
		return
	}
	p.marks = append(p.marks, mark{at, check})
}

// declare notes a charset that the page says it is in.
func (p *page) declare(charset string) {
	p.alien = p.alien || unreadable(charset)
	if charset != "" && len(p.charset) < maxCharsets {
		p.charset = append(p.charset, charset)
	}
}

// maxCharsets is how many charsets of a page are noted.
const maxCharsets = 16
