package sanitize

import (
	"bytes"
	"encoding/binary"
	"slices"
	"unicode/utf8"
)

// A cssText is a window on CSS as a browser understands it: character references and escapes
// decoded, comments dropped, in lower case, runs of blanks as one. It remembers where each of its
// bytes came from.
type cssText struct {
	text       []byte
	start, end []int32 // of the source of each byte of text, from the start of the page

	page      []byte
	pos, stop int  // what of the page is to be read
	open      bool // a comment is not closed: it goes on to the end, or is none, and so are all others
	block     cssBlock
	raw       bool // character references are not decoded: it is a style element of HTML
	local     bool // it may name what is in the page, and no drawing from elsewhere
}

// A cssBlock is what was seen of the declarations of one block.
type cssBlock struct {
	absolute bool // it is taken out of the flow
	small    bool // and of no size, as text for screen readers is
	clear    int  // where it is made invisible; 0 if it is not
}

const (
	// cssWindow is how much CSS is in memory at once.
	cssWindow = 64 << 10
	// cssAhead is how much behind a place is looked at, in the window; cssBehind how much before it.
	cssAhead, cssBehind = 4 << 10, 256
)

// examine marks what is active in the bytes of a page in s.
func (t *cssText) examine(p *page, s span) {
	t.page, t.pos, t.stop, t.open, t.block = p.b, s.start, s.end, false, cssBlock{}
	t.text, t.start, t.end = t.text[:0], t.start[:0], t.end[:0]
	for from := 0; ; {
		t.fill()
		if t.pos == t.stop {
			t.findActive(p, from, len(t.text))
			t.endBlock(p)
			return
		}
		to := len(t.text) - cssAhead
		t.findActive(p, from, to)
		t.forget(to - cssBehind)
		from = cssBehind
	}
}

// forget drops the first n bytes of the window.
func (t *cssText) forget(n int) {
	t.text = t.text[:copy(t.text, t.text[n:])]
	t.start = t.start[:copy(t.start, t.start[n:])]
	t.end = t.end[:copy(t.end, t.end[n:])]
}

// fill reads until the window is full, or all is read.
func (t *cssText) fill() {
	for t.pos < t.stop && len(t.text) < cssWindow {
		if t.fillPlain() {
			continue
		}
		at := t.pos
		r, n := t.char(at)
		switch {
		case r == '/' && !t.open && t.comment(at+n):
			continue
		case r == '\\':
			r, n = t.escape(at, n)
		case n > 1 && r >= utf8.RuneSelf:
			r = 0 // by no character reference to a letter of other alphabets a word becomes another
		}
		t.pos += n
		t.add(r, at)
	}
}

// cssPlain gives what add makes of a byte that stands for itself, whatever is around it; 0 for all others.
var cssPlain = func() (table [256]byte) {
	for i := range table {
		switch c := byte(i); {
		case c <= ' ' || c == 0x7f || c == '`' || c == '/' || c == '\\' || c == '&':
		case c >= utf8.RuneSelf:
			table[i] = utf8.RuneSelf
		case c >= 'A' && c <= 'Z':
			table[i] = c | 0x20
		default:
			table[i] = c
		}
	}
	return table
}()

// fillPlain reads the bytes that come next and stand for themselves. It reports false if there is none.
func (t *cssText) fillPlain() bool {
	src := t.page[t.pos:min(t.stop, t.pos+cssWindow-len(t.text))]
	n := 0
	for n < len(src) && cssPlain[src[n]] != 0 {
		n++
	}
	if n == 0 {
		return false
	}
	have, at := len(t.text), int32(t.pos) //nolint:gosec // pages are smaller than maxHTMLSize
	t.text = slices.Grow(t.text, n)[:have+n]
	t.start, t.end = slices.Grow(t.start, n)[:have+n], slices.Grow(t.end, n)[:have+n]
	text, start, end := t.text[have:], t.start[have:], t.end[have:]
	for i, c := range src[:n] {
		text[i], start[i] = cssPlain[c], at+int32(i) //nolint:gosec // likewise
		end[i] = start[i] + 1
	}
	t.pos += n
	return true
}

// char decodes the character at byte i: an attribute has its character references decoded before
// anybody looks for CSS in it. In a style element that only SVG does.
func (t *cssText) char(i int) (rune, int) {
	if c := t.page[i]; c != '&' || t.raw {
		return rune(c), 1
	}
	return decodeEntity(t.page[i:t.stop])
}

// comment passes over a comment whose "*" may be at byte i, and reports whether there is one.
func (t *cssText) comment(i int) bool {
	if i >= t.stop {
		return false
	}
	r, n := t.char(i)
	if r != '*' {
		return false
	}
	for i += n; i < t.stop; i += n {
		if r, n = t.char(i); r != '*' || i+n >= t.stop {
			continue
		}
		if r, k := t.char(i + n); r == '/' {
			t.pos = i + n + k
			return true
		}
	}
	t.open = true
	return false
}

// escape decodes the escape whose backslash is the n bytes at byte i, and tells how many bytes it
// has. It (CSS Syntax Module, section 4.3.7) is up to six hexadecimal digits and one blank, or any
// other character.
func (t *cssText) escape(i, n int) (rune, int) {
	at, r, digits := i+n, rune(0), 0
	for ; at < t.stop && digits < 6; digits++ {
		c, k := t.char(at)
		if c >= utf8.RuneSelf || !isHex(byte(c)) {
			break
		}
		r = r<<4 | rune(hexValue(byte(c)))
		at += k
	}
	if at >= t.stop {
		if digits == 0 {
			return '\\', n
		}
		return r, at - i
	}
	c, k := t.char(at)
	switch {
	case digits == 0 && (c == '\n' || c == '\r' || c == '\f'):
		return 0, at + k - i // a line break in a string, which is dropped
	case digits == 0:
		return c, at + k - i
	case c < utf8.RuneSelf && isBlank(byte(c)):
		at += k
	}
	return r, at - i
}

// add appends the character that begins at byte at and ends where the next one is read; 0 stands
// for none.
func (t *cssText) add(r rune, at int) {
	switch {
	case r == 0:
		return
	case r >= 'A' && r <= 'Z':
		r |= 0x20
	case r >= utf8.RuneSelf:
		r = utf8.RuneSelf // a letter like any other
	case r <= ' ' || r == '`' || r == 0x7f: // what URLs are read without
		if n := len(t.text); n > 0 && (t.text[n-1] == byte(r) || r <= ' ' && t.text[n-1] <= ' ') {
			return
		}
	}
	t.text = append(t.text, byte(r))                                         //nolint:gosec // at most 0x80
	t.start, t.end = append(t.start, int32(at)), append(t.end, int32(t.pos)) //nolint:gosec // pages are smaller than maxHTMLSize
}

// cssTriggers are the bytes at which mayBeActive looks.
var cssTriggers = func() (t [256]bool) {
	for _, c := range []byte("\\&@\x00/(:}") {
		t[c] = true
	}
	return t
}()

// mayBeActive is a quick look at CSS as it stands: false says that cssText would find nothing in it
// but remote images, which are marked. Most style attributes end here.
func (p *page) mayBeActive(s span) bool {
	b := p.b[s.start:s.end]
	var block cssBlock
	for i := 0; i < len(b); i++ {
		c := b[i]
		if !cssTriggers[c] {
			continue
		}
		switch c {
		case '\\', 0:
			return true
		case '&':
			if !p.css.raw && isReference(b[i:]) {
				return true
			}
		case '@':
			if hasPrefixFold(b[i+1:], "import") && !p.plainImport(b, i+1+len("import"), s.start) {
				return true
			}
		case '/':
			end, active := plainComment(b, i)
			if active {
				return true
			}
			i = end
		case '(':
			if !p.plainCall(b, i, s.start) {
				return true
			}
		case ':':
			if !isOtherProperty(b, i) && !block.plainProperty(b, i) {
				return true
			}
		case '}':
			block = cssBlock{}
		}
	}
	return false
}

// isReference reports whether b begins with a character reference that matters.
func isReference(b []byte) bool {
	r, n := decodeEntity(b)
	return n > 1 && matters(r)
}

// matters reports whether a character that stands in CSS as a character reference makes a difference
// to what is looked for.
func matters(r rune) bool {
	return r < utf8.RuneSelf && r != '"' && r != '\'' && r != '&' && r != '<' && r != '>' && r != '|'
}

// plainImport reports whether the URL of an @import at byte i is an usual one.
func (p *page) plainImport(b []byte, i, base int) bool {
	i = skipBlank(b, i)
	if hasPrefixFold(b[i:], "url(") {
		i += len("url(")
	}
	i = skipBlank(b, i)
	v := b[i:]
	if !bytes.HasPrefix(v, []byte("http")) || !plainURL(v) {
		return false
	}
	p.mark(checkRemoteStyle, base+i)
	return true
}

// skipBlank gives the first byte from i on that is neither blank nor a quote.
func skipBlank(b []byte, i int) int {
	for i < len(b) && (isBlank(b[i]) || b[i] == '"' || b[i] == '\'') {
		i++
	}
	return i
}

// plainComment gives the last byte of the comment that may begin at byte i, and whether it could
// divide or join words that matter.
func plainComment(b []byte, i int) (int, bool) {
	if i+1 == len(b) || b[i+1] != '*' {
		return i, false
	}
	n := bytes.Index(b[i+2:], []byte("*/"))
	if n < 0 || i > 0 && (isWordByte(b[i-1]) || b[i-1] == '@' || b[i-1] == ':') {
		return i, true
	}
	end := i + 2 + n + 1
	rest := trimLeft(b[end+1 : min(len(b), end+64)])
	return end, len(rest) == 0 && end+64 < len(b) || len(rest) > 0 && (rest[0] == '(' || rest[0] == ':')
}

// plainCall reports whether the function whose parenthesis is at byte i, from byte base of the page,
// is none of those that matter, or has an usual URL.
func (p *page) plainCall(b []byte, i, base int) bool {
	switch {
	case endsInWord(b[:i], "url"):
		at := skipBlank(b, i+1)
		v := b[at:]
		if len(v) > 1 && v[0] == '/' && v[1] == '*' || !plainURL(v) || (p.disk || p.css.local) && !bytes.HasPrefix(v, []byte("#")) {
			return false
		}
		if isRemote(v) && !endsInWord(trimBlank(b[:i])[:len(trimBlank(b[:i]))-3], "@import") {
			p.mark(checkRemoteImage, base+at)
		}
		return true
	case i == 0:
		return true
	}
	switch b[i-1] | 0x20 {
	case 'n', 'c', 't', 'x', 'r', ' ', '\t' | 0x20, '\n' | 0x20, '\r' | 0x20, '\f' | 0x20:
		return !endsInWord(b[:i], "expression", "src", "image-set", "url-prefix", "alphaimageloader")
	}
	return true
}

// plainProperty reports whether the property whose colon is at byte i is none of those that matter,
// or has a harmless value.
func (k *cssBlock) plainProperty(b []byte, i int) bool {
	if i == 0 {
		return true
	}
	if endsInWord(b[:i], bindingProperties...) {
		return false
	}
	v := trimLeft(b[i+1 : min(len(b), i+64)])
	switch {
	case endsInWholeWord(b[:i], "position"):
		k.absolute = k.absolute || hasPrefixFold(v, "absolute")
		return !(k.absolute && k.clear > 0) && hasAnyPrefixFold(v, "absolute", "relative", "static", "initial", "inherit", "unset")
	case endsInWholeWord(b[:i], "opacity") && isClear(v):
		k.clear = 1
		return !k.absolute
	}
	return true
}

// bindingProperties are the ends of those by which old clients run or load code.
var bindingProperties = []string{"behavior", "behaviour", "-binding", "-link", "-link-source"}

// propertyLetters are four letters of each property that matters, those before its last: those of most others
// are none of them, which is seen at once.
var propertyLetters = func() (table [64]uint32) {
	for _, name := range append([]string{"position", "opacity"}, bindingProperties...) {
		letters := lettersBefore([]byte(name), len(name))
		slot := &table[letters*lettersFactor>>(32-6)]
		if *slot != 0 && *slot != letters {
			panic("sanitize: another lettersFactor is needed")
		}
		*slot = letters
	}
	return table
}()

const lettersFactor = 0x85ebca6b

// lettersBefore are the four letters in lower case before the one that ends before byte i, which is not less than 5.
// Other characters become something else.
func lettersBefore(b []byte, i int) uint32 {
	return binary.LittleEndian.Uint32(b[i-5:]) | 0x20202020
}

// isOtherProperty reports whether the property whose colon is at byte i is seen at once to be none of those that
// matter.
func isOtherProperty(b []byte, i int) bool {
	if i < 5 || isBlank(b[i-1]) {
		return i > 0 && !isBlank(b[i-1])
	}
	letters := lettersBefore(b, i)
	return propertyLetters[letters*lettersFactor>>(32-6)] != letters
}

// endsInWholeWord reports whether b, without blanks, ends in a word that is no part of a longer one.
func endsInWholeWord(b []byte, word string) bool {
	b = trimRight(b)
	n := len(b) - len(word)
	return n >= 0 && bytes.EqualFold(b[n:], []byte(word)) && (n == 0 || b[n-1] >= utf8.RuneSelf || !isWordByte(b[n-1]))
}

func hasAnyPrefixFold(b []byte, prefixes ...string) bool {
	for _, p := range prefixes {
		if hasPrefixFold(b, p) {
			return true
		}
	}
	return false
}

// isClear reports whether a value of opacity is one by which nothing can be seen.
func isClear(v []byte) bool {
	v = bytes.TrimPrefix(v, []byte("0"))
	if len(v) == 0 || v[0] != '.' {
		return len(v) == 0 || v[0] < '0' || v[0] > '9'
	}
	return len(v) < 2 || v[1] == '0' || v[1] < '0' || v[1] > '9'
}

func endsInWord(b []byte, words ...string) bool {
	b = trimRight(b)
	for _, w := range words {
		if len(b) >= len(w) && bytes.EqualFold(b[len(b)-len(w):], []byte(w)) {
			return true
		}
	}
	return false
}

// cssPlaces are the bytes at which findActive looks.
var cssPlaces = func() (t [256]bool) {
	for _, c := range []byte("(:@{}") {
		t[c] = true
	}
	return t
}()

// findActive marks each place in the bytes [from, to) of the window at which a word must be changed
// so that it does nothing.
//
// These run script or load code in some client: expression() and behavior in Internet Explorer
// and so in Outlook's and others' old view, -moz-binding in old Gecko, -o-link in old Opera,
// URLs that are not allowed anywhere. A style sheet of the web that is taken in is none of them:
// no client of today runs what is in it, and newsletters have their fonts so.
func (t *cssText) findActive(p *page, from, to int) {
	for i := from; i < to; i++ {
		if !cssPlaces[t.text[i]] {
			continue
		}
		switch t.text[i] {
		case '(':
			t.call(p, i)
		case ':':
			t.property(p, i)
		case '@':
			if bytes.HasPrefix(t.text[i+1:], []byte("import")) {
				t.url(p, i+1+len("import"), true)
			}
		case '{', '}':
			t.endBlock(p)
		}
	}
}

// call looks at the function whose parenthesis is byte i.
func (t *cssText) call(p *page, i int) {
	switch start := t.wordBefore(i); string(trimBlank(t.text[start:i])) {
	case "expression":
		p.mark(checkStyle, int(t.start[start]))
	case "url", "src", "url-prefix", "image-set", "-webkit-image-set":
		t.url(p, i+1, bytes.HasSuffix(trimBlank(t.text[:start]), []byte("@import")))
	case "alphaimageloader": // a filter of Internet Explorer
		if n := bytes.Index(t.text[i:min(i+64, len(t.text))], []byte("src=")); n >= 0 {
			t.url(p, i+n+len("src="), false)
		}
	}
}

// property looks at the property whose colon is byte i.
func (t *cssText) property(p *page, i int) {
	start := t.wordBefore(i)
	at, value := int(t.start[start]), trimLeft(t.text[i+1:])
	switch word := string(trimBlank(t.text[start:i])); word {
	case "-moz-binding", "-o-link", "-o-link-source":
		p.mark(checkStyle, at)
	case "behavior", "behaviour", "-ms-behavior":
		if !harmlessBehavior(value) {
			p.mark(checkStyle, at)
		}
	case "position":
		switch {
		case hasAnyPrefixFold(value, "fixed", "sticky", "-webkit-sticky", "var("):
			p.mark(checkOverlay, at)
		case hasPrefixFold(value, "absolute"):
			t.block.absolute = true
		}
	case "opacity":
		if isClear(value) {
			t.block.clear = at
		}
	case "width", "height", "clip":
		t.block.small = t.block.small || word == "clip" || isTiny(untilSemicolon(value))
	}
}

func untilSemicolon(b []byte) []byte {
	for i, c := range b {
		if c == ';' || c == '}' || c == '!' {
			return b[:i]
		}
	}
	return b
}

// endBlock looks at what a block of declarations amounts to. What lies over something else and
// cannot be seen catches the clicks that are meant for what is below.
func (t *cssText) endBlock(p *page) {
	if t.block.absolute && t.block.clear > 0 && !t.block.small {
		p.mark(checkOverlay, t.block.clear)
	}
	t.block = cssBlock{}
}

// behaviors are those built into Internet Explorer that Word writes into every message for its
// drawings and smart tags. They run nothing of the sender's; others of them did.
var behaviors = []string{"url(#default#vml)", "url(#ieooui)"}

func harmlessBehavior(value []byte) bool {
	for _, b := range behaviors {
		if rest, ok := bytes.CutPrefix(value, []byte(b)); ok {
			rest = trimLeft(rest)
			return len(rest) == 0 || rest[0] == ';' || rest[0] == '}'
		}
	}
	return false
}

// url looks at the URL at byte i, which may be in quotes: of a style sheet, or of an image or font.
func (t *cssText) url(p *page, i int, sheet bool) {
	for i < len(t.text) && (t.text[i] <= ' ' || t.text[i] == '"' || t.text[i] == '\'') {
		i++
	}
	if i == len(t.text) {
		return
	}
	switch v := t.text[i:]; {
	case refusedURL(v, !sheet) != "", bytes.HasPrefix(t.page[t.start[i]:t.stop], []byte(`\\`)): // Word knows no escapes
		p.mark(checkStyle, int(t.start[i]))
	case p.disk && isNetworkPath(v):
		p.mark(checkStyle, int(t.start[i]))
	case !isRemote(v):
	case t.local:
		p.mark(checkSVG, int(t.start[i]))
	case sheet:
		p.mark(checkRemoteStyle, int(t.start[i]))
	default:
		p.mark(checkRemoteImage, int(t.start[i]))
	}
}

// wordBefore gives where the word that ends before byte i, or before blanks in front of it,
// begins. A comment in the source ends a word, and what is on both sides of one makes a word
// too: clients differ, and about which letters other than ASCII belong to words as well. So the word
// begins at the last of the two that is one we look for.
func (t *cssText) wordBefore(i int) int {
	for i > 0 && isBlank(t.text[i-1]) {
		i--
	}
	end := i
	for i > 0 && isWordByte(t.text[i-1]) && end-i < maxCSSWord {
		i--
		if i > 0 && (t.end[i-1] != t.start[i] || t.text[i-1] == utf8.RuneSelf) && activeWords[string(t.text[i:end])] {
			break
		}
	}
	return i
}

// maxCSSWord is longer than any word we look for.
const maxCSSWord = 20

var activeWords = set(`expression url src image-set -webkit-image-set behavior behaviour -ms-behavior -moz-binding -o-link
	-o-link-source position opacity alphaimageloader`)

func isWordByte(c byte) bool {
	return isLetter(c) || c >= '0' && c <= '9' || c == '-' || c == '_' || c >= utf8.RuneSelf
}

func trimBlank(b []byte) []byte { return trimLeft(trimRight(b)) }

func trimLeft(b []byte) []byte {
	for len(b) > 0 && isBlank(b[0]) {
		b = b[1:]
	}
	return b
}

func trimRight(b []byte) []byte {
	for len(b) > 0 && isBlank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}
