package eml

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// otherBlanks are the forms of a field in which odd blanks outside of quotes are plain ones, or none;
// nothing if there are no odd ones.
func otherBlanks(text string) []string {
	plain := plainBlanks(text, " ")
	if plain == text {
		return nil
	}
	return []string{plain, plainBlanks(text, "")}
}

// unfoldTo takes out the line breaks of a field (RFC 5322 section 2.2.3); the blanks that follow
// one remain if blank is empty, vanish if it is "-", and become one if it is " ".
func unfoldTo(raw, blank string) string {
	if !strings.ContainsAny(raw, "\r\n") {
		return strings.Trim(raw, " \t")
	}
	var b strings.Builder
	for i := 0; i < len(raw); i++ {
		if c := raw[i]; c != '\r' && c != '\n' {
			b.WriteByte(c)
			continue
		}
		for blank != "" && i+1 < len(raw) && strings.IndexByte(" \t\r\n", raw[i+1]) >= 0 {
			i++
		}
		if blank == " " {
			b.WriteByte(' ')
		}
	}
	return strings.Trim(b.String(), " \t")
}

// foldsWithin reports whether a field is folded anywhere but behind a semicolon between parameters.
func foldsWithin(raw string) bool {
	quoted, last := false, byte(';')
	for i := range len(raw) {
		switch c := raw[i]; c {
		case '\n':
			if quoted || last != ';' {
				return true
			}
		case ' ', '\t', '\r':
		case '"':
			quoted, last = !quoted, c
		default:
			last = c
		}
	}
	return false
}

// oddBlank is the length of what s begins with if some client takes that for a blank and others do
// not: a control character, a no-break space or another blank of Unicode, in UTF-8 or in Latin-1.
func oddBlank(s string) int {
	switch c := s[0]; {
	case c < ' ' && c != '\t', c == 0x7f, c == 0x85, c == 0xa0:
		return 1
	case c < 0x80:
		return 0
	}
	if r, n := utf8.DecodeRuneInString(s); n > 1 && (unicode.IsSpace(r) || r == '\ufeff' || r >= 0x200b && r <= 0x200f || r == 0x2060) {
		return n
	}
	return 0
}

// blankControls puts blanks in the place of control characters that are not in quotes. That is how a
// field is read first, for so it is delivered when it is mended; other clients find them in a name or a
// type.
func blankControls(s string) string {
	i := strings.IndexFunc(s, isControl)
	if i < 0 {
		return s
	}
	b := []byte(s)
	quoted := strings.Count(s[:i], `"`)%2 == 1
	for ; i < len(b); i++ {
		switch {
		case b[i] == '"':
			quoted = !quoted
		case !quoted && isControl(rune(b[i])):
			b[i] = ' '
		}
	}
	return strings.Trim(string(b), " \t")
}

func isControl(r rune) bool { return r < ' ' && r != '\t' && r != 0x1b || r == 0x7f }

// plainBlanks puts blank in the place of odd blanks that are not in quotes.
func plainBlanks(s, blank string) string {
	var b strings.Builder
	quoted := false
	for i := 0; i < len(s); i++ {
		if n := oddBlank(s[i:]); n > 0 && !quoted {
			b.WriteString(blank)
			i += n - 1
			continue
		}
		if s[i] == '"' {
			quoted = !quoted
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
