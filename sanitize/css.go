package sanitize

import (
	"bytes"
	"slices"
	"unicode/utf8"
)

// A cssText is a piece of CSS as a browser understands it: character references and escapes
// decoded, comments dropped, in lower case. It remembers where each of its bytes came from.
type cssText struct {
	text       []byte
	start, end []int32 // of the source of each byte of text, from the start of the page

	src  []byte  // what is read, with character references decoded
	from []int32 // where each byte of src came from, and where the last one ends
}

// load reads the bytes of a page in s.
func (t *cssText) load(page []byte, s span) {
	t.decodeEntities(page, s)
	n := len(t.src)
	t.text, t.start, t.end = slices.Grow(t.text[:0], n), slices.Grow(t.start[:0], n), slices.Grow(t.end[:0], n)
	lastComment := bytes.LastIndex(t.src, []byte("*/"))
	for i := 0; i < len(t.src); {
		if i+2 <= lastComment && t.src[i] == '/' && t.src[i+1] == '*' {
			i += bytes.Index(t.src[i+2:], []byte("*/")) + 4
			continue // one that is not closed goes on to the end, or is none
		}
		r, n := decodeEscape(t.src[i:])
		t.add(r, t.from[i], t.from[i+n])
		i += n
	}
}

// decodeEntities is the first layer: an attribute has its character references decoded before
// anybody looks for CSS in it. In a style element that only SVG does.
func (t *cssText) decodeEntities(page []byte, s span) {
	t.src, t.from = slices.Grow(t.src[:0], s.len()), slices.Grow(t.from[:0], s.len()+1)
	for i := s.start; i < s.end; {
		r, n := rune(page[i]), 1
		if r == '&' {
			r, n = decodeEntity(page[i:s.end])
		}
		if r < utf8.RuneSelf || n == 1 { // bytes of other charsets stay as they are
			t.src = append(t.src, byte(r))    //nolint:gosec // of a single byte
			t.from = append(t.from, int32(i)) //nolint:gosec // pages are smaller than maxHTMLSize
		}
		i += n
	}
	t.from = append(t.from, int32(s.end)) //nolint:gosec // as above
}

// add appends a character; 0 stands for none.
func (t *cssText) add(r rune, start, end int32) {
	if r == 0 {
		return
	}
	if r >= 'A' && r <= 'Z' {
		r |= 0x20
	}
	if r >= utf8.RuneSelf {
		r = utf8.RuneSelf // a letter like any other
	}
	t.text = append(t.text, byte(r)) //nolint:gosec // at most 0x80
	t.start, t.end = append(t.start, start), append(t.end, end)
}

// decodeEscape decodes the character at the start of b, and tells how many bytes it has. An
// escape (CSS Syntax Module, section 4.3.7) is up to six hexadecimal digits and one blank, or
// any other character.
func decodeEscape(b []byte) (rune, int) {
	if b[0] != '\\' || len(b) == 1 {
		return rune(b[0]), 1
	}
	n, r := 1, rune(0)
	for ; n < len(b) && n <= 6 && isHex(b[n]); n++ {
		r = r<<4 | rune(hexValue(b[n]))
	}
	switch {
	case n == 1 && isBlank(b[1]) && b[1] != ' ' && b[1] != '\t':
		return 0, 2 // a line break in a string, which is dropped
	case n == 1:
		return rune(b[1]), 2
	case n < len(b) && isBlank(b[n]):
		n++
	}
	return r, n
}

// The words that mayBeActive looks for before a parenthesis, and before a colon.
var (
	cssCalls  = []string{"expression", "url", "src", "image-set"}
	cssActive = []string{"behavior", "-binding", "-link", "-link-source"}
)

// mayBeActive is a quick look at CSS as it stands: false says that findActive would find
// nothing in it. Most style attributes end here.
func mayBeActive(b []byte) bool {
	for i, c := range b {
		switch c {
		case '\\', '&', '@', 0:
			return true
		case '/':
			if i+1 < len(b) && b[i+1] == '*' {
				return true
			}
		case '(':
			if endsInWord(b[:i], cssCalls) {
				return true
			}
		case ':':
			if endsInWord(b[:i], cssActive) {
				return true
			}
		}
	}
	return false
}

func endsInWord(b []byte, words []string) bool {
	b = bytes.TrimRight(b, " \t\r\n\f")
	for _, w := range words {
		if len(b) >= len(w) && bytes.EqualFold(b[len(b)-len(w):], []byte(w)) {
			return true
		}
	}
	return false
}

// findActive calls found with each place in CSS, from the start of the page, at which a word
// must be changed so that it does nothing.
//
// These run script or load code in some client: expression() and behavior in Internet Explorer
// and so in Outlook's and others' old view, -moz-binding in old Gecko, -o-link in old Opera,
// URLs that dangerousURL knows anywhere.
func (t *cssText) findActive(found func(at int, what string)) {
	for i := 0; i < len(t.text); i++ {
		switch t.text[i] {
		case '(':
			t.call(i, found)
		case ':':
			t.property(i, found)
		case '@':
			t.atRule(i, found)
		}
	}
}

// call looks at the function whose parenthesis is byte i.
func (t *cssText) call(i int, found func(int, string)) {
	switch start := t.wordBefore(i); string(trimBlank(t.text[start:i])) {
	case "expression":
		found(int(t.start[start]), "expression()")
	case "url", "src", "url-prefix", "image-set", "-webkit-image-set":
		t.url(i+1, found)
	}
}

// property looks at the property whose colon is byte i.
func (t *cssText) property(i int, found func(int, string)) {
	start := t.wordBefore(i)
	switch word := string(trimBlank(t.text[start:i])); word {
	case "-moz-binding", "-o-link", "-o-link-source":
		found(int(t.start[start]), word)
	case "behavior", "-ms-behavior":
		if !harmlessBehavior(t.text[i+1:]) {
			found(int(t.start[start]), word)
		}
	}
}

// behaviors are those built into Internet Explorer that Word writes into every message for its
// drawings and smart tags. They run nothing of the sender's; others of them did.
var behaviors = []string{"url(#default#vml)", "url(#ieooui)"}

func harmlessBehavior(value []byte) bool {
	value = bytes.TrimLeft(value, " \t\r\n\f")
	for _, b := range behaviors {
		if rest, ok := bytes.CutPrefix(value, []byte(b)); ok {
			rest = trimBlank(rest)
			return len(rest) == 0 || rest[0] == ';' || rest[0] == '}'
		}
	}
	return false
}

// atRule looks at the rule whose "@" is byte i.
func (t *cssText) atRule(i int, found func(int, string)) {
	if bytes.HasPrefix(t.text[i+1:], []byte("import")) {
		t.url(i+1+len("import"), found)
	}
}

// url looks at the URL at byte i, which may be in quotes.
func (t *cssText) url(i int, found func(int, string)) {
	for i < len(t.text) && (t.text[i] <= ' ' || t.text[i] == '"' || t.text[i] == '\'') {
		i++
	}
	if i == len(t.text) {
		return
	}
	if scheme := dangerousURL(t.text[i:]); scheme != "" {
		found(int(t.start[i]), "url("+scheme)
	}
}

// wordBefore gives where the word that ends before byte i, or before blanks in front of it,
// begins. A comment in the source ends a word, and what is on both sides of one makes a word
// too: clients differ. So the word begins at the last of the two that is one we look for.
func (t *cssText) wordBefore(i int) int {
	for i > 0 && isBlank(t.text[i-1]) {
		i--
	}
	end := i
	for i > 0 && isWordByte(t.text[i-1]) && end-i < maxCSSWord {
		i--
		if i > 0 && t.end[i-1] != t.start[i] && activeWords[string(t.text[i:end])] {
			break
		}
	}
	return i
}

// maxCSSWord is longer than any word we look for.
const maxCSSWord = 20

var activeWords = set("expression url src image-set -webkit-image-set behavior -ms-behavior -moz-binding -o-link -o-link-source")

func isWordByte(c byte) bool {
	return isLetter(c) || c >= '0' && c <= '9' || c == '-' || c == '_' || c >= utf8.RuneSelf
}

func trimBlank(b []byte) []byte { return bytes.Trim(b, " \t\r\n\f") }
