package sanitize

import (
	"bytes"
	"iter"
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
	over    bool     // it costs more to read than the limit
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

// workFactor bounds the cost of a page: how often each of its bytes may be read. Tags within
// tags are what costs; a real page reads each byte about once.
const workFactor = 32

// examine finds all marks.
func (p *page) examine() {
	r := newTagReader(p.b)
	work := 0
	for i := 0; ; i++ {
		n := bytes.IndexByte(p.b[i:], '<')
		if n < 0 {
			break
		}
		i += n
		work += p.tagAt(r, i)
		if work > workFactor*len(p.b)+1<<16 {
			p.over = true
			break
		}
	}
	slices.SortFunc(p.marks, func(a, b mark) int { return a.at - b.at })
	p.marks = slices.Compact(p.marks)
}

// tagAt examines the tag whose "<" is at byte i, if there is one, and tells how many bytes it read.
func (p *page) tagAt(r *tagReader, i int) int {
	name := i + 1
	for name < len(p.b) && p.b[name] == 0 {
		name++ // old clients drop NUL
	}
	if name >= len(p.b) || !isLetter(p.b[name]) {
		return 0 // closing tags hold nothing that runs
	}
	if !r.read(i, name, false) {
		if r.has('>', i) && len(r.tag.attrs) == maxAttrs {
			p.over = true
			return len(p.b) - i
		}
		p.unclosed(&r.tag)
		return len(p.b) - i
	}
	p.tag(&r.tag)
	return r.tag.end - i
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
		end := len(p.b)
		if n := indexFold(p.b[t.end:], "</style"); n >= 0 {
			end = t.end + n
		}
		p.style(span{t.end, end})
	}
}

func (p *page) attr(a attr) {
	name, ok := p.attrName(a)
	head := p.lower(span{a.name.start, min(a.name.end, a.name.start+len(defanged))}, maxAttrName)
	switch {
	case head == "defanged_":
		return // nobody knows it
	case startsWith(name, "on") && len(name) > 2, startsWith(head, "on") && len(head) > 2:
		p.mark(checkHandler, a.name.start) // whatever follows: old clients end a name at any odd character
		return
	case !ok:
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

// style examines CSS.
func (p *page) style(s span) {
	if !mayBeActive(p.b[s.start:s.end]) {
		return
	}
	p.css.load(p.b, s)
	p.css.findActive(func(at int, _ string) { p.mark(checkStyle, at) })
}

func (p *page) mark(check htmlCheck, at int) { p.marks = append(p.marks, mark{at, check}) }

// declare notes a charset that the page says it is in.
func (p *page) declare(charset string) {
	if charset != "" {
		p.charset = append(p.charset, charset)
	}
}

// local is the name of an element in lower case, without NUL and without the prefix of an XML
// namespace; empty if it is too long to matter.
func (p *page) local(s span) string {
	name := p.lower(s, maxElement)
	return name[lastColon(name)+1:]
}

// attrName is the name of an attribute likewise; it reports false if it is too long to matter.
func (p *page) attrName(a attr) (string, bool) {
	name := p.lower(a.name, maxAttrName)
	return name[lastColon(name)+1:], name != ""
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

// maxWordValue is how much of a value is looked at where it is one of few words.
const maxWordValue = 256

// word is the value of an attribute as one of few words: character references decoded, in lower
// case, trimmed.
func (p *page) word(a attr) string {
	v := p.b[a.value.start:min(a.value.end, a.value.start+maxWordValue)]
	out := make([]byte, 0, len(v))
	for i := 0; i < len(v); {
		r, n := rune(v[i]), 1
		if r == '&' {
			r, n = decodeEntity(v[i:])
		}
		i += n
		if r != 0 && r < 0x80 {
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

func startsWith(s, prefix string) bool { return strings.HasPrefix(s, prefix) }

func lastColon(s string) int { return strings.LastIndexByte(s, ':') }

func fieldsSeq(s string) iter.Seq[string] { return strings.FieldsSeq(s) }

// indexFold finds s, which is in lower case, whatever the case of b.
func indexFold(b []byte, s string) int {
	for i := 0; ; i++ {
		n := bytes.IndexByte(b[i:], s[0])
		if n < 0 {
			return -1
		}
		if i += n; len(b)-i < len(s) {
			return -1
		}
		if bytes.EqualFold(b[i:i+len(s)], []byte(s)) {
			return i
		}
	}
}
