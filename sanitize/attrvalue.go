package sanitize

import (
	"bytes"

	"golang.org/x/net/html"
)

// decode decodes what a parser decodes in the value of an attribute, in place.
func (a *tagAttr) decode() {
	if a.has&(byteAmp|byteOdd) == 0 {
		return
	}
	v := a.value
	if a.has&byteOdd != 0 {
		v = bytes.ReplaceAll(v, []byte("\r\n"), []byte("\n"))
		v = bytes.ReplaceAll(v, []byte("\r"), []byte("\n"))
		v = bytes.ReplaceAll(v, []byte{0}, []byte("\ufffd"))
	}
	if a.has&byteAmp != 0 {
		v = decodeReferences(v)
	}
	a.value, a.has = v, kindsOf(v)
}

// decodeReferences decodes character references in the value of an attribute as the tokenizer does (HTML,
// section 13.2.5.72), in place if it does not become longer.
func decodeReferences(v []byte) []byte {
	from := bytes.IndexByte(v, '&')
	if from < 0 {
		return v
	}
	out, inPlace := v[:from], true
	for from < len(v) {
		text, n := attrReference(v[from:])
		if from += n; inPlace && len(out)+len(text) > from {
			out, inPlace = bytes.Clone(out), false
		}
		out = append(out, text...)
		n = bytes.IndexByte(v[from:], '&')
		if n < 0 {
			n = len(v) - from
		}
		out = append(out, v[from:from+n]...)
		from += n
	}
	return out
}

// attrReference is what the character reference stands for that v begins with, and how long it is: "&"
// if it is none. In an attribute only a whole name is one, and none before "=" that has no semicolon.
func attrReference(v []byte) (string, int) {
	n := 1
	if len(v) > 1 && v[1] == '#' {
		n = 2
		if len(v) > 2 && v[2]|0x20 == 'x' {
			n = 3
		}
		for n < len(v) && isHex(v[n]) && (v[2]|0x20 == 'x' || isDigit(v[n])) {
			n++
		}
	} else {
		for n < len(v) && (isLetter(v[n]) || isDigit(v[n])) {
			n++
		}
	}
	if n < len(v) && v[n] == ';' {
		n++
	} else if n < len(v) && v[n] == '=' && v[1] != '#' {
		return "&", 1
	}
	if n == len("&amp;") && string(v[:n]) == "&amp;" {
		return "&", n
	}
	if n == 1 {
		return "&", 1
	}
	text := html.UnescapeString(string(v[:n]))
	if last := text[len(text)-1]; v[1] != '#' && len(text) > 1 && last == v[n-1] && last < 0x80 {
		return "&", 1 // only the beginning of it is one
	}
	if v[1] == '#' && text == string(v[:n]) {
		return "&", 1
	}
	return text, n
}
