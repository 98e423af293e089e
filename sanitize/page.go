package sanitize

import (
	"bytes"
	"slices"
	"strings"
)

// A page is HTML under examination. Every "<" in it is read as the beginning of a tag, whatever
// is around it: a comment, a raw text element, a value in quotes. Which of these a client is in
// is what attacks on sanitizers turn on (mutation XSS), and it does not matter here: a tag that
// is unsafe is defanged wherever it stands.
type page struct {
	b       []byte
	marks   []mark
	charset []string // what the page says of itself
	shown   bool     // a namespace of it is one of those that a browser shows
	work    int      // bytes that were read so far
	over    bool     // it costs more to read, or to defang, than the limits
	css     cssText
}

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

const (
	// workFactor bounds the cost of a page: how often each of its bytes may be read. Tags within
	// tags are what costs, and styles within styles; a real page reads each byte about once.
	workFactor = 8
	// freeWork is what the smallest page may cost, in bytes.
	freeWork = 64 << 10
	// maxMarks is how many places of a page may be unsafe: each costs an edit.
	maxMarks = 50_000
)

// examine finds all marks.
func (p *page) examine() {
	r := newTagReader(p.b)
	for i := 0; !p.over; i++ {
		n := bytes.IndexByte(p.b[i:], '<')
		if n < 0 {
			break
		}
		i += n
		p.markupAt(r, i)
	}
	slices.SortFunc(p.marks, func(a, b mark) int { return a.at - b.at })
	p.marks = slices.Compact(p.marks)
}

// spend accounts for n bytes that are read.
func (p *page) spend(n int) {
	p.work += n
	p.over = p.over || p.work > workFactor*len(p.b)+freeWork
}

// markupAt examines the tag or declaration whose "<" is at byte i, if there is one.
func (p *page) markupAt(r *tagReader, i int) {
	name := i + 1
	for name < len(p.b) && p.b[name] == 0 {
		name++ // old clients drop NUL
	}
	p.spend(name - i)
	switch {
	case name >= len(p.b):
	case p.b[name] == '!':
		p.declaration(name + 1)
	case isLetter(p.b[name]), hasPrefixFold(p.b[name:], "?xml-stylesheet"): // closing tags hold nothing that runs
		p.tagAt(r, i, name)
	}
}

// tagAt examines the tag whose "<" is at byte i, and whose name is at byte name.
func (p *page) tagAt(r *tagReader, i, name int) {
	if r.read(name) {
		p.spend(r.tag.end - i)
		p.tag(&r.tag)
		return
	}
	p.spend(len(p.b) - i)
	if r.has('>', i) && len(r.tag.attrs) == maxAttrs {
		p.over = true
		return
	}
	p.unclosed(&r.tag)
}

// unclosed is a tag that the page does not end. Clients drop it, or close it with what comes
// after the page. Its fix makes text of it.
func (p *page) unclosed(t *tag) {
	_, unsafe := elements[p.local(t.name)]
	if unsafe || bytes.IndexByte(p.b[t.name.end:], '=') >= 0 {
		p.mark(checkMalformed, t.name.start)
	}
}

func (p *page) tag(t *tag) {
	name := p.local(t.name)
	if check, ok := elements[name]; ok {
		p.mark(check, t.name.start)
	}
	if f, ok := rules[name]; ok {
		f(p, t)
	}
	for _, a := range t.attrs {
		p.attr(a)
	}
	if name == "style" {
		p.style(span{t.end, p.styleEnd(t.end)})
	}
}

// styleEnd is where the content of a style element ends that begins at byte i.
func (p *page) styleEnd(i int) int {
	for {
		n := indexFold(p.b[i:], "</style")
		if n < 0 {
			return len(p.b)
		}
		at := i + n
		i = at + len("</style")
		if i == len(p.b) || isBlank(p.b[i]) || p.b[i] == '/' || p.b[i] == '>' {
			return at
		}
	}
}

func (p *page) attr(a attr) {
	name := p.attrName(a)
	head := p.lower(span{a.name.start, min(a.name.end, a.name.start+len(defanged))}, maxAttrName)
	if strings.HasPrefix(head, "xmlns") {
		p.namespace(a)
	}
	switch {
	case head == "defanged_":
		return // nobody knows it
	case strings.HasPrefix(name, "on") && len(name) > 2, strings.HasPrefix(head, "on") && len(head) > 2:
		p.mark(checkHandler, a.name.start) // whatever follows: old clients end a name at any odd character
		return
	case name == "srcdoc":
		p.mark(checkFrame, a.name.start)
	case name == "formaction":
		p.mark(checkForm, a.name.start)
	case name == "style":
		p.style(a.value)
		return
	}
	if a.value.len() > 0 && !textAttrs[name] && dangerousURL(p.b[a.value.start:a.value.end]) != "" {
		p.mark(checkURL, a.value.start)
	}
}

// namespace looks at the name of a namespace of XML: those of XHTML, SVG and XSLT make of data a
// page. An entity may stand for one of them.
func (p *page) namespace(a attr) {
	name := p.word(a)
	for _, s := range []string{"/xhtml", "/svg", "/xsl/transform", "&"} {
		p.shown = p.shown || strings.Contains(name, s)
	}
}

// style examines CSS.
func (p *page) style(s span) {
	p.spend(s.len())
	if p.over || !mayBeActive(p.b[s.start:s.end]) {
		return
	}
	p.css.load(p.b, s)
	p.css.findActive(func(at int, _ string) { p.mark(checkStyle, at) })
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
	if charset != "" {
		p.charset = append(p.charset, charset)
	}
}

// local is the name of an element in lower case, without NUL and without the prefix of an XML
// namespace; empty if it is too long to matter.
func (p *page) local(s span) string { return p.lower(p.unprefixed(s), maxElement) }

// attrName is the name of an attribute likewise.
func (p *page) attrName(a attr) string { return p.lower(p.unprefixed(a.name), maxAttrName) }

// unprefixed is a name without the prefix of an XML namespace, which may be of any length.
func (p *page) unprefixed(s span) span {
	s.start += bytes.LastIndexByte(p.b[s.start:s.end], ':') + 1
	return s
}

// lower gives bytes of the page in lower case, without NUL; empty if they are more than limit.
func (p *page) lower(s span, limit int) string {
	if s.len() > 4*limit {
		return ""
	}
	var buf [4 * maxAttrName]byte
	out := buf[:0]
	for _, c := range p.b[s.start:s.end] {
		switch {
		case c == 0:
			continue
		case c >= 'A' && c <= 'Z':
			c |= 0x20
		}
		out = append(out, c)
	}
	if len(out) > limit {
		return ""
	}
	return string(out)
}

// maxWord is how much of a value is told where it is one of few words.
const maxWord = 256

// word is the value of an attribute as one of few words: character references decoded, in lower
// case, trimmed. A character reference may have any number of zeros, so all of the value is read.
func (p *page) word(a attr) string {
	v := p.b[a.value.start:a.value.end]
	out := make([]byte, 0, min(len(v), maxWord))
	for i := 0; i < len(v) && len(out) < maxWord; {
		r, n := rune(v[i]), 1
		if r == '&' {
			r, n = decodeEntity(v[i:])
		}
		i += n
		if r != 0 && r < 0x80 && (r > ' ' || len(out) > 0) {
			out = append(out, byte(r))
		}
	}
	return strings.ToLower(strings.TrimSpace(string(out)))
}

// charsetOf is the charset in the value of a Content-Type.
func charsetOf(v string) string {
	_, rest, ok := strings.Cut(v, "charset=")
	if !ok {
		return ""
	}
	rest, _, _ = strings.Cut(rest, ";")
	return strings.Trim(rest, `"' `)
}

// hasPrefixFold reports whether b begins with s, whatever the case.
func hasPrefixFold(b []byte, s string) bool {
	return len(b) >= len(s) && strings.EqualFold(string(b[:len(s)]), s)
}

// indexFold finds s, which is in lower case, whatever the case of b.
func indexFold(b []byte, s string) int {
	for i := 0; ; i++ {
		n := bytes.IndexByte(b[i:], s[0])
		if n < 0 {
			return -1
		}
		if i += n; hasPrefixFold(b[i:], s) {
			return i
		}
	}
}
