package sanitize

import (
	"fmt"
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
	text, unit string
}

// A cssReader takes CSS apart into tokens.
type cssReader struct {
	s   string
	pos int
	tok cssToken // the current one
}

// cssDelims are the characters that mean something by themselves in selectors and values.
const cssDelims = ">+~*.|^$=!/%?:;,()[]{}"

// next goes to the next token.
func (r *cssReader) next() {
	if r.pos >= len(r.s) {
		r.tok = cssToken{}
		return
	}
	switch c := r.s[r.pos]; {
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

func (r *cssReader) has(s string) bool { return strings.HasPrefix(r.s[r.pos:], s) }

// blank passes over white space and comments. A comment that is not closed goes on to the end.
func (r *cssReader) blank() {
	r.tok = cssToken{kind: cssBlank}
	for r.pos < len(r.s) {
		switch {
		case isBlank(r.s[r.pos]):
			r.pos++
		case r.has("/*"):
			n := strings.Index(r.s[r.pos+2:], "*/")
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
func (r *cssReader) string(quote byte) (string, bool) {
	var b strings.Builder
	for r.pos < len(r.s) {
		switch c := r.s[r.pos]; {
		case c == quote:
			r.pos++
			return b.String(), true
		case c == '\n' || c == '\r' || c == '\f':
			return "", false
		case c == '\\':
			b.WriteString(r.escape())
		default:
			b.WriteByte(c)
			r.pos++
		}
	}
	return "", false
}

// escape reads an escape (CSS Syntax Module Level 3, section 4.3.7); empty if it is a line break in a
// string.
func (r *cssReader) escape() string {
	r.pos++
	if r.has("\r\n") {
		r.pos += 2
		return ""
	}
	if c := r.at(r.pos); r.pos >= len(r.s) || c == '\n' || c == '\r' || c == '\f' {
		r.pos++
		return ""
	}
	start, c := r.pos, rune(0)
	for r.pos < len(r.s) && r.pos < start+6 && isHex(r.s[r.pos]) {
		c = c<<4 | rune(hexValue(r.s[r.pos]))
		r.pos++
	}
	if r.pos == start { // any other character
		c, n := utf8.DecodeRuneInString(r.s[r.pos:])
		r.pos += n
		return string(c)
	}
	if r.has("\r\n") {
		r.pos++
	}
	if isBlank(r.at(r.pos)) {
		r.pos++
	}
	if c == 0 || c > utf8.MaxRune || c >= 0xd800 && c < 0xe000 {
		return "\ufffd"
	}
	return string(c)
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
		r.tok.text += "%"
	} else if r.atIdent(r.pos) {
		r.tok.unit = r.name()
	}
}

// name reads a name, its escapes decoded.
func (r *cssReader) name() string {
	start := r.pos
	for r.pos < len(r.s) && isName(r.s[r.pos]) {
		r.pos++
	}
	if !r.atEscape(r.pos) {
		return r.s[start:r.pos]
	}
	var b strings.Builder
	b.WriteString(r.s[start:r.pos])
	for r.pos < len(r.s) {
		switch {
		case isName(r.s[r.pos]):
			b.WriteByte(r.s[r.pos])
			r.pos++
		case r.atEscape(r.pos):
			b.WriteString(r.escape())
		default:
			return b.String()
		}
	}
	return b.String()
}

func (r *cssReader) ident() {
	name := r.name()
	switch {
	case r.at(r.pos) != '(':
		r.tok = cssToken{kind: cssIdent, text: name}
	case strings.EqualFold(name, "url"):
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
	var text string
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

func (r *cssReader) bareURL() (string, bool) {
	var b strings.Builder
	for r.pos < len(r.s) {
		switch c := r.s[r.pos]; {
		case c == ')' || isBlank(c):
			return b.String(), true
		case r.atEscape(r.pos):
			b.WriteString(r.escape())
		case c == '"' || c == '\'' || c == '(' || c == '\\' || c < ' ' || c == 0x7f:
			return "", false
		default:
			b.WriteByte(c)
			r.pos++
		}
	}
	return "", false
}

// write appends the token in the one form in which it is written.
func (t *cssToken) write(b *strings.Builder) {
	switch t.kind {
	case cssIdent:
		writeCSSName(b, t.text, true)
	case cssFunction:
		writeCSSName(b, t.text, true)
		b.WriteByte('(')
	case cssAt:
		b.WriteByte('@')
		writeCSSName(b, t.text, true)
	case cssHash:
		b.WriteByte('#')
		writeCSSName(b, t.text, false)
	case cssString:
		writeCSSString(b, t.text)
	case cssURL:
		b.WriteString("url(")
		writeCSSString(b, t.text)
		b.WriteByte(')')
	case cssNumber:
		b.WriteString(t.text)
		if t.unit != "" {
			writeCSSName(b, t.unit, true)
		}
	default:
		b.WriteByte(byte(t.kind))
	}
}

// writeCSSName writes a name with escapes for what is none of it (CSSOM, serialize an identifier).
func writeCSSName(b *strings.Builder, s string, start bool) {
	for i, c := range s {
		first := start && (i == 0 || i == 1 && s[0] == '-')
		if c < utf8.RuneSelf && (!isName(byte(c)) || first && isDigit(byte(c)) || start && s == "-") || isUnwritten(c) {
			fmt.Fprintf(b, "\\%x ", c)
		} else {
			b.WriteRune(c)
		}
	}
}

// writeCSSString writes a string. What could end it, or the element or attribute that the style is
// in, is an escape.
func writeCSSString(b *strings.Builder, s string) {
	b.WriteByte('"')
	for _, c := range s {
		if c < ' ' || strings.ContainsRune("\"\\<>&'", c) || isUnwritten(c) {
			fmt.Fprintf(b, "\\%x ", c)
		} else {
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
}
