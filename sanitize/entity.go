package sanitize

import (
	"html"
	"unicode/utf8"
)

// maxEntity is how many bytes a named character reference has at most, "&" and ";" included
// (HTML, section 13.5).
const maxEntity = 34

// decodeEntity decodes the character reference at the start of b, which begins with "&", and
// tells how many bytes it has. What is none is "&" itself. Numeric ones need no semicolon.
func decodeEntity(b []byte) (rune, int) {
	if len(b) >= 3 && b[1] == '#' {
		return decodeNumeric(b)
	}
	n := 1
	for n < len(b) && n < maxEntity && (isLetter(b[n]) || b[n] >= '0' && b[n] <= '9') {
		n++
	}
	if n == 1 || n == len(b) || b[n] != ';' {
		return '&', 1
	}
	s := html.UnescapeString(string(b[:n+1]))
	r, size := utf8.DecodeRuneInString(s)
	if size == len(s) && r != utf8.RuneError {
		return r, n + 1
	}
	return '&', 1
}

func decodeNumeric(b []byte) (rune, int) {
	base, n := rune(10), 2
	if b[2]|0x20 == 'x' {
		base, n = 16, 3
	}
	r, first := rune(0), n
	for ; n < len(b) && isHex(b[n]) && (base == 16 || b[n] <= '9'); n++ {
		r = min(r*base+rune(hexValue(b[n])), utf8.MaxRune+1)
	}
	if n == first {
		return '&', 1
	}
	if n < len(b) && b[n] == ';' {
		n++
	}
	if r > utf8.MaxRune {
		r = utf8.RuneError
	}
	return r, n
}
