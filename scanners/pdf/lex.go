package pdf

import (
	"bytes"
	"io"
	"math"
)

const (
	// cursorSize is how much of a file is read at a time, and cursorStart how much after a jump: most
	// objects are small.
	cursorSize  = 32 << 10
	cursorStart = 512
)

// A cursor reads bytes one after the other from any place of a file. One goroutine uses it.
type cursor struct {
	r     io.ReaderAt
	size  int64
	base  int64 // where in the file buf begins
	pos   int   // in buf
	buf   []byte
	chunk int   // how much is read next
	err   error // of reading what is there
}

func newCursor(r io.ReaderAt, size int64) *cursor {
	return &cursor{r: r, size: size, buf: make([]byte, 0, cursorSize), chunk: cursorStart}
}

// off is the offset of the next byte.
func (c *cursor) off() int64 { return c.base + int64(c.pos) }

// seek goes to an offset; one that is outside of the file is its end.
func (c *cursor) seek(off int64) {
	if off < 0 || off > c.size {
		off = c.size
	}
	if off >= c.base && off <= c.base+int64(len(c.buf)) {
		c.pos = int(off - c.base)
		return
	}
	c.base, c.pos, c.buf, c.chunk = off, 0, c.buf[:0], cursorStart
}

// fill reads more when the buffer is used up.
func (c *cursor) fill() bool {
	c.base += int64(len(c.buf))
	c.pos, c.buf = 0, c.buf[:0]
	if c.err != nil || c.base >= c.size {
		return false
	}
	n, err := c.r.ReadAt(c.buf[:min(int64(c.chunk), c.size-c.base)], c.base)
	c.chunk = min(2*c.chunk, cursorSize)
	c.buf = c.buf[:n]
	if n == 0 && err != io.EOF {
		c.err = err
	}
	return n > 0
}

// peek is the next byte; false at the end.
func (c *cursor) peek() (byte, bool) {
	if c.pos == len(c.buf) && !c.fill() {
		return 0, false
	}
	return c.buf[c.pos], true
}

// next takes a byte.
func (c *cursor) next() (byte, bool) {
	b, ok := c.peek()
	if ok {
		c.pos++
	}
	return b, ok
}

// find goes behind the next occurrence of word and gives the offset where it begins; -1, at the end of
// the file, if there is none. A word is shorter than cursorStart.
func (c *cursor) find(word string) int64 {
	pattern := []byte(word)
	var tail []byte // the end of the buffer before
	for {
		if _, ok := c.peek(); !ok {
			return -1
		}
		rest := c.buf[c.pos:]
		if len(tail) > 0 {
			joined := append(tail, rest[:min(len(rest), len(pattern)-1)]...)
			if i := bytes.Index(joined, pattern); i >= 0 {
				at := c.off() - int64(len(tail)) + int64(i)
				c.seek(at + int64(len(pattern)))
				return at
			}
		}
		if i := bytes.Index(rest, pattern); i >= 0 {
			at := c.off() + int64(i)
			c.pos += i + len(pattern)
			return at
		}
		if len(rest) < len(pattern) {
			tail = append(tail, rest...)
			tail = tail[max(len(tail)-len(pattern)+1, 0):]
		} else {
			tail = append(tail[:0], rest[len(rest)-len(pattern)+1:]...)
		}
		c.pos = len(c.buf)
	}
}

// isSpace tells white space, and isDelimiter what ends a word besides (PDF 32000-1, 7.2.2).
func isSpace(b byte) bool {
	return b == ' ' || b == '\n' || b == '\r' || b == '\t' || b == '\f' || b == 0
}

func isDelimiter(b byte) bool {
	switch b {
	case '(', ')', '<', '>', '[', ']', '{', '}', '/', '%':
		return true
	}
	return false
}

func isRegular(b byte) bool { return !isSpace(b) && !isDelimiter(b) }

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

// skipSpace skips white space and comments.
func (c *cursor) skipSpace() {
	for {
		b, ok := c.peek()
		switch {
		case !ok:
			return
		case b == '%':
			c.skipLine()
		case isSpace(b):
			c.pos++
		default:
			return
		}
	}
}

// skipLine goes to the end of a line.
func (c *cursor) skipLine() {
	for {
		b, ok := c.peek()
		if !ok || b == '\n' || b == '\r' {
			return
		}
		c.pos++
	}
}

// word appends a run of regular characters to dst, of which no more than limit are kept.
func (c *cursor) word(dst []byte, limit int) []byte {
	for {
		b, ok := c.peek()
		if !ok || !isRegular(b) {
			return dst
		}
		c.pos++
		if len(dst) < limit {
			dst = append(dst, b)
		}
	}
}

// A tokenKind is what a token is.
type tokenKind uint8

const (
	tokenEnd      tokenKind = iota // of the file
	tokenInt                       // its number is known
	tokenReal                      // any other number
	tokenString                    // decoded, not decrypted
	tokenName                      // decoded, without its slash
	tokenArray                     // [
	tokenArrayEnd                  // ]
	tokenDict                      // <<
	tokenDictEnd                   // >>
	tokenKeyword
)

// A token is one word of the language of objects. Its text is in the buffer it was read into.
type token struct {
	kind   tokenKind
	num    int64
	off    int64 // where it begins
	broken bool  // a string without an end
	escape bool  // a name that is written with #
}

// maxKeyword is how many bytes of a keyword or number are looked at.
const maxKeyword = 64

// token reads the next token. The text of a string, name or keyword is appended to *text, as far as
// limit allows for all that is in it.
func (c *cursor) token(text *[]byte, limit int) token {
	c.skipSpace()
	t := token{off: c.off()}
	b, ok := c.next()
	if !ok {
		return t
	}
	switch b {
	case '[':
		t.kind = tokenArray
	case ']':
		t.kind = tokenArrayEnd
	case '{', '}', ')':
		t.kind = tokenKeyword // nothing known
	case '/':
		t.kind, t.escape = tokenName, c.name(text, limit)
	case '(':
		t.kind, t.broken = tokenString, !c.literal(text, limit)
	case '<':
		if n, _ := c.peek(); n == '<' {
			c.pos++
			t.kind = tokenDict
			break
		}
		t.kind, t.broken = tokenString, !c.hex(text, limit)
	case '>':
		t.kind = tokenKeyword
		if n, _ := c.peek(); n == '>' {
			c.pos++
			t.kind = tokenDictEnd
		}
	default:
		c.pos--
		c.atom(&t, text, limit)
	}
	return t
}

// atom reads a number or a keyword.
func (c *cursor) atom(t *token, text *[]byte, limit int) {
	start := len(*text)
	*text = c.word(*text, min(limit, start+maxKeyword))
	word := (*text)[start:]
	var ok bool
	if t.num, ok = integer(word); ok {
		t.kind, *text = tokenInt, (*text)[:start]
		return
	}
	t.kind = tokenKeyword
	if isNumber(word) {
		t.kind, *text = tokenReal, (*text)[:start]
	}
}

// integer reads a whole number. One that is too large is as large as can be.
func integer(s []byte) (int64, bool) {
	neg := false
	for len(s) > 1 && (s[0] == '-' || s[0] == '+') { // readers take "--5" for a number
		neg = s[0] == '-'
		s = s[1:]
	}
	if len(s) == 0 {
		return 0, false
	}
	n := int64(0)
	for _, b := range s {
		if !isDigit(b) {
			return 0, false
		}
		if n = n*10 + int64(b-'0'); n > math.MaxInt64/100 {
			n = math.MaxInt64 / 100
		}
	}
	if neg {
		n = -n
	}
	return n, true
}

func isNumber(s []byte) bool {
	digits := 0
	for _, b := range s {
		switch {
		case isDigit(b):
			digits++
		case b != '.' && b != '-' && b != '+':
			return false
		}
	}
	return digits > 0
}

// name reads a name behind its slash (7.3.5). It reports whether there is a # in it.
func (c *cursor) name(text *[]byte, limit int) (escape bool) {
	for {
		b, ok := c.peek()
		if !ok || !isRegular(b) {
			return escape
		}
		c.pos++
		if b == '#' {
			escape = true
			b = c.nameEscape()
		}
		if len(*text) < limit {
			*text = append(*text, b)
		}
	}
}

// nameEscape reads what is behind a # in a name; without two digits there it stands for itself.
func (c *cursor) nameEscape() byte {
	at := c.off()
	a, _ := c.next()
	b, _ := c.next()
	x, y := hexDigit(a), hexDigit(b)
	if x < 0 || y < 0 {
		c.seek(at)
		return '#'
	}
	return byte(x<<4 | y)
}

func hexDigit(b byte) int {
	switch {
	case b >= '0' && b <= '9':
		return int(b - '0')
	case b >= 'a' && b <= 'f':
		return int(b-'a') + 10
	case b >= 'A' && b <= 'F':
		return int(b-'A') + 10
	}
	return -1
}

// hex reads a string in hexadecimal behind its < (7.3.4.3). It reports whether it has an end.
func (c *cursor) hex(text *[]byte, limit int) bool {
	high := -1
	put := func(v int) {
		if len(*text) < limit {
			*text = append(*text, byte(v))
		}
	}
	for {
		b, ok := c.next()
		if !ok || b == '>' {
			if high >= 0 {
				put(high << 4)
			}
			return ok
		}
		switch v := hexDigit(b); {
		case v < 0:
		case high < 0:
			high = v
		default:
			put(high<<4 | v)
			high = -1
		}
	}
}

// literal reads a string behind its parenthesis (7.3.4.2). It reports whether it has an end.
func (c *cursor) literal(text *[]byte, limit int) bool {
	for depth := 1; ; {
		b, ok := c.next()
		if !ok {
			return false
		}
		switch b {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return true
			}
		case '\r':
			if n, _ := c.peek(); n == '\n' {
				c.pos++
			}
			b = '\n'
		case '\\':
			if b, ok = c.escape(); !ok {
				continue
			}
		}
		if len(*text) < limit {
			*text = append(*text, b)
		}
	}
}

// escape reads what is behind a backslash; false if it stands for nothing.
func (c *cursor) escape() (byte, bool) {
	b, ok := c.next()
	if !ok {
		return 0, false
	}
	switch b {
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case '\r':
		if n, _ := c.peek(); n == '\n' {
			c.pos++
		}
		return 0, false
	case '\n':
		return 0, false
	}
	if b < '0' || b > '7' {
		return b, true
	}
	v := int(b - '0')
	for range 2 {
		n, ok := c.peek()
		if !ok || n < '0' || n > '7' {
			break
		}
		c.pos++
		v = v<<3 | int(n-'0')
	}
	return byte(v), true
}
