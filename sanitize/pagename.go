package sanitize

import (
	"bytes"
	"strings"
)

// local is the name of an element in lower case, without NUL and without the prefix of an XML
// namespace; empty if it is too long to matter. It is overwritten by the next name.
func (p *page) local(s span) []byte { return p.lower(p.unprefixed(s)) }

// attrName is the name of an attribute likewise.
func (p *page) attrName(a attr) string { return string(p.local(a.name)) }

// unprefixed is a name without the prefix of an XML namespace, which may be of any length.
func (p *page) unprefixed(s span) span {
	for i := s.end - 1; i >= s.start; i-- {
		if p.b[i] == ':' {
			s.start = i + 1
			break
		}
	}
	return s
}

// lower gives a name in lower case, without NUL; empty if it is too long for the tables. The letters
// that become ASCII where case is folded as in Unicode are folded too: clients did so (CVE-2021-29272).
func (p *page) lower(s span) []byte {
	out := p.name[:0]
	for i := s.start; i < s.end; i++ {
		c := p.b[i]
		switch {
		case c == 0:
			continue
		case c >= 'A' && c <= 'Z':
			c |= 0x20
		case c >= 0x80:
			folded, n := foldsTo(p.b[i:s.end])
			c, i = folded, i+n-1
		}
		if len(out) == maxName {
			return nil
		}
		out = append(out, c)
	}
	return out
}

// foldsTo gives the ASCII letter for which the character at the start of b may stand, and its
// length; the byte itself if there is none.
func foldsTo(b []byte) (byte, int) {
	switch {
	case len(b) > 1 && b[0] == 0xc4 && (b[1] == 0xb0 || b[1] == 0xb1): // dotted and dotless i
		return 'i', 2
	case len(b) > 1 && b[0] == 0xc5 && b[1] == 0xbf: // long s
		return 's', 2
	case len(b) > 2 && b[0] == 0xe2 && b[1] == 0x84 && b[2] == 0xaa: // the sign for kelvin
		return 'k', 3
	}
	return b[0], 1
}

func isFolded(b []byte) bool {
	_, n := foldsTo(b)
	return n > 1
}

// maxWord is how much of a value is told where it is one of few words.
const maxWord = 256

// word is the value of an attribute as one of few words: character references decoded, in lower
// case, trimmed. A character reference may have any number of zeros, so all of the value is read. It is
// overwritten by the next one.
func (p *page) word(a attr) []byte {
	v := p.b[a.value.start:a.value.end]
	out := p.words[:0]
	for i := 0; i < len(v) && len(out) < maxWord; {
		r, n := rune(v[i]), 1
		if r == '&' {
			r, n = decodeEntity(v[i:])
		}
		i += n
		if r >= 'A' && r <= 'Z' {
			r |= 0x20
		}
		if r != 0 && r < 0x80 && (r > ' ' || len(out) > 0) {
			out = append(out, byte(r))
		}
	}
	return bytes.TrimSpace(out)
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
