package sanitize

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A cssKind is the kind of a token of CSS (CSS Syntax Module Level 3, section 4). Those that are a
// single character are that character.
type cssKind byte

const (
	cssEnd      cssKind = 0
	cssIdent    cssKind = 'i'
	cssFunction cssKind = 'f' // its parenthesis included
	cssAt       cssKind = '@'
	cssHash     cssKind = '#'
	cssString   cssKind = '"'
	cssURL      cssKind = 'u'
	cssNumber   cssKind = 'n' // its unit included
	cssBlank    cssKind = ' ' // a comment too, so that what is on both sides of one stays apart
	cssMark     cssKind = '<' // "<!--" or "-->"
	cssBroken   cssKind = 'x' // what is left out with the rule or declaration that it is in
)

// A cssToken is a token. Its text has its escapes decoded; that of a number is written as it is.
type cssToken struct {
	kind       cssKind
	text, unit []byte
}

// A cssReader takes CSS apart into tokens, and writes what may stay.
type cssReader struct {
	s    []byte
	pos  int
	tok  cssToken // the current one
	out  []byte
	full bool // there was more than maxSheet
	odds bool // there is in out what is not written as it is in the value of an attribute
}

// cssDelims are the characters that mean something by themselves in selectors and values.
const cssDelims = ">+~*.|^$=!/%?:;,()[]{}"

// next goes to the next token.
func (r *cssReader) next() {
	if r.pos >= len(r.s) {
		r.tok = cssToken{}
		return
	}
	c := r.s[r.pos]
	if isLetter(c) {
		r.ident()
		return
	}
	switch {
	case isBlank(c) || r.has("/*"):
		r.blank()
	case c == '"' || c == '\'':
		r.pos++
		text, ok := r.string(c)
		r.tok = cssToken{kind: kindIf(ok, cssString), text: text}
	case r.has("<!--"):
		r.pos += len("<!--")
		r.tok = cssToken{kind: cssMark}
	case r.has("-->"):
		r.pos += len("-->")
		r.tok = cssToken{kind: cssMark}
	case r.atNumber():
		r.number()
	case r.atIdent(r.pos):
		r.ident()
	case c == '#' && r.pos+1 < len(r.s) && (isName(r.s[r.pos+1]) || r.atEscape(r.pos+1)):
		r.pos++
		r.tok = cssToken{kind: cssHash, text: r.name()}
	case c == '@' && r.atIdent(r.pos+1):
		r.pos++
		r.tok = cssToken{kind: cssAt, text: r.name()}
	default:
		r.pos++
		r.tok = cssToken{kind: cssKind(c)}
		if strings.IndexByte(cssDelims, c) < 0 {
			r.tok.kind = cssBroken
		}
	}
}

func kindIf(ok bool, kind cssKind) cssKind {
	if ok {
		return kind
	}
	return cssBroken
}

func (r *cssReader) has(s string) bool {
	return len(r.s)-r.pos >= len(s) && string(r.s[r.pos:r.pos+len(s)]) == s
}

// blank passes over white space and comments. A comment that is not closed goes on to the end.
func (r *cssReader) blank() {
	r.tok = cssToken{kind: cssBlank}
	for r.pos < len(r.s) {
		switch {
		case isBlank(r.s[r.pos]):
			r.pos++
		case r.has("/*"):
			n := bytes.Index(r.s[r.pos+2:], []byte("*/"))
			if n < 0 {
				r.pos = len(r.s)
				return
			}
			r.pos += n + 4
		default:
			return
		}
	}
}

// string reads what is in quotes, behind the first of them.
func (r *cssReader) string(quote byte) ([]byte, bool) {
	var decoded []byte
	start := r.pos
	for r.pos < len(r.s) {
		switch c := r.s[r.pos]; {
		case c == quote:
			text := append(decoded, r.s[start:r.pos]...)
			if decoded == nil {
				text = r.s[start:r.pos]
			}
			r.pos++
			return text, true
		case c == '\n' || c == '\r' || c == '\f':
			return nil, false
		case c == '\\':
			decoded = append(decoded, r.s[start:r.pos]...)
			decoded = r.appendEscape(decoded)
			start = r.pos
		default:
			r.pos++
		}
	}
	return nil, false
}

// appendEscape reads an escape (CSS Syntax Module Level 3, section 4.3.7), and appends what it stands for:
// nothing if it is a line break in a string.
func (r *cssReader) appendEscape(b []byte) []byte {
	r.pos++
	if r.has("\r\n") {
		r.pos += 2
		return b
	}
	if c := r.at(r.pos); r.pos >= len(r.s) || c == '\n' || c == '\r' || c == '\f' {
		r.pos++
		return b
	}
	start, c := r.pos, rune(0)
	for r.pos < len(r.s) && r.pos < start+6 && isHex(r.s[r.pos]) {
		c = c<<4 | rune(hexValue(r.s[r.pos]))
		r.pos++
	}
	if r.pos == start { // any other character
		c, n := utf8.DecodeRune(r.s[r.pos:])
		r.pos += n
		return utf8.AppendRune(b, c)
	}
	if r.has("\r\n") {
		r.pos++
	}
	if isBlank(r.at(r.pos)) {
		r.pos++
	}
	if c == 0 || c > utf8.MaxRune || c >= 0xd800 && c < 0xe000 {
		c = utf8.RuneError
	}
	return utf8.AppendRune(b, c)
}

func isName(c byte) bool {
	return isLetter(c) || c >= '0' && c <= '9' || c == '-' || c == '_' || c >= utf8.RuneSelf
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// at is the byte at i; 0 behind the end.
func (r *cssReader) at(i int) byte {
	if i < len(r.s) {
		return r.s[i]
	}
	return 0
}

func (r *cssReader) atEscape(i int) bool {
	c := r.at(i + 1)
	return r.at(i) == '\\' && c != 0 && c != '\n' && c != '\r' && c != '\f'
}

func (r *cssReader) atIdent(i int) bool {
	if r.at(i) == '-' {
		i++
		if r.at(i) == '-' {
			return true
		}
	}
	c := r.at(i)
	return isName(c) && c != '-' && !isDigit(c) || r.atEscape(i)
}

func (r *cssReader) atNumber() bool {
	i := r.pos
	if c := r.s[i]; c == '+' || c == '-' {
		i++
	}
	if r.at(i) == '.' {
		i++
	}
	return isDigit(r.at(i))
}

func (r *cssReader) number() {
	start := r.pos
	digits := func() {
		for isDigit(r.at(r.pos)) {
			r.pos++
		}
	}
	if c := r.s[r.pos]; c == '+' || c == '-' {
		r.pos++
	}
	digits()
	if r.at(r.pos) == '.' && isDigit(r.at(r.pos+1)) {
		r.pos++
		digits()
	}
	if e := r.pos; r.at(e)|0x20 == 'e' {
		if c := r.at(e + 1); c == '+' || c == '-' {
			e++
		}
		if isDigit(r.at(e + 1)) {
			r.pos = e + 1
			digits()
		}
	}
	r.tok = cssToken{kind: cssNumber, text: r.s[start:r.pos]}
	if r.at(r.pos) == '%' {
		r.pos++
		r.tok.text = r.s[start:r.pos]
	} else if r.atIdent(r.pos) {
		r.tok.unit = r.name()
	}
}

// name reads a name, its escapes decoded.
func (r *cssReader) name() []byte {
	start := r.pos
	for r.pos < len(r.s) && isName(r.s[r.pos]) {
		r.pos++
	}
	if !r.atEscape(r.pos) {
		return r.s[start:r.pos]
	}
	b := bytes.Clone(r.s[start:r.pos])
	for r.pos < len(r.s) {
		switch {
		case isName(r.s[r.pos]):
			b = append(b, r.s[r.pos])
			r.pos++
		case r.atEscape(r.pos):
			b = r.appendEscape(b)
		default:
			return b
		}
	}
	return b
}

func (r *cssReader) ident() {
	name := r.name()
	switch {
	case r.at(r.pos) != '(':
		r.tok = cssToken{kind: cssIdent, text: name}
	case len(name) == len("url") && strings.EqualFold(string(name), "url"):
		r.pos++
		r.url()
	default:
		r.pos++
		r.tok = cssToken{kind: cssFunction, text: name}
	}
}

// url reads what is in the parentheses of url(), quoted or not, and the second of them.
func (r *cssReader) url() {
	blanks := func() {
		for r.pos < len(r.s) && isBlank(r.s[r.pos]) {
			r.pos++
		}
	}
	blanks()
	var text []byte
	var ok bool
	if c := r.at(r.pos); c == '"' || c == '\'' {
		r.pos++
		text, ok = r.string(c)
	} else {
		text, ok = r.bareURL()
	}
	blanks()
	if ok && r.at(r.pos) == ')' {
		r.pos++
		r.tok = cssToken{kind: cssURL, text: text}
		return
	}
	for r.pos < len(r.s) && r.s[r.pos] != ')' { // a bad one
		if r.atEscape(r.pos) {
			r.pos++
		}
		r.pos++
	}
	r.pos = min(r.pos+1, len(r.s))
	r.tok = cssToken{kind: cssBroken}
}

func (r *cssReader) bareURL() ([]byte, bool) {
	b := []byte{}
	for r.pos < len(r.s) {
		switch c := r.s[r.pos]; {
		case c == ')' || isBlank(c):
			return b, true
		case r.atEscape(r.pos):
			b = r.appendEscape(b)
		case c == '"' || c == '\'' || c == '(' || c == '\\' || c < ' ' || c == 0x7f:
			return nil, false
		default:
			b = append(b, c)
			r.pos++
		}
	}
	return nil, false
}

// writeToken writes the current token in the one form in which it is written.
func (r *cssReader) writeToken() {
	r.odds = true
	switch t := &r.tok; t.kind {
	case cssIdent:
		r.writeName(t.text, true)
	case cssFunction:
		r.writeName(t.text, true)
		r.out = append(r.out, '(')
	case cssAt:
		r.out = append(r.out, '@')
		r.writeName(t.text, true)
	case cssHash:
		r.out = append(r.out, '#')
		r.writeName(t.text, false)
	case cssString:
		r.writeString(t.text)
	case cssURL:
		r.out = append(r.out, "url("...)
		r.writeString(t.text)
		r.out = append(r.out, ')')
	case cssNumber:
		r.out = append(r.out, t.text...)
		if len(t.unit) > 0 {
			r.writeName(t.unit, true)
		}
	default:
		r.out = append(r.out, byte(t.kind))
	}
}

// writeName writes a name with escapes for what is none of it (CSSOM, serialize an identifier).
func (r *cssReader) writeName(s []byte, start bool) {
	if isPlainName(s) {
		r.out = append(r.out, s...)
		return
	}
	for i, c := range string(s) {
		first := start && (i == 0 || i == 1 && s[0] == '-')
		if c < utf8.RuneSelf && (!isName(byte(c)) || first && isDigit(byte(c)) || start && len(s) == 1 && c == '-') || isUnwritten(c) {
			r.out = appendCSSEscape(r.out, c)
		} else {
			r.out = utf8.AppendRune(r.out, c)
		}
	}
}

// isPlainName reports whether a name begins with a letter and has nothing in it that is escaped.
func isPlainName(s []byte) bool {
	if len(s) == 0 || !isLetter(s[0]) {
		return false
	}
	for _, c := range s {
		if byteKinds[c]&byteName == 0 {
			return false
		}
	}
	return true
}

// writeString writes a string. What could end it, or the element or attribute that the style is
// in, is an escape.
func (r *cssReader) writeString(s []byte) {
	r.out = append(r.out, '"')
	for _, c := range string(s) {
		if c < ' ' || strings.ContainsRune("\"\\<>&'", c) || isUnwritten(c) {
			r.out = appendCSSEscape(r.out, c)
		} else {
			r.out = utf8.AppendRune(r.out, c)
		}
	}
	r.out = append(r.out, '"')
}

// appendCSSEscape appends the escape of a character.
func appendCSSEscape(b []byte, c rune) []byte {
	return append(strconv.AppendInt(append(b, '\\'), int64(c), 16), ' ')
}
