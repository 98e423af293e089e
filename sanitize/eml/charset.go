package eml

import (
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-message/charset"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/ianaindex"
)

// ToUTF8 converts text in that charset to UTF-8. Text of an unknown charset is UTF-8 if it can
// be, and else windows-1252, as clients take it, so there is always a result.
func ToUTF8(name, s string) string {
	name = strings.ToLower(name)
	switch {
	case IsUTF7(name):
		return decodeUTF7(s)
	case utf8Names[name] && utf8.ValidString(s):
		return s
	case utf8Names[name]:
		name = "windows-1252"
	case utf16Names[name] && !hasMark(s):
		name = orderOf(s)
	}
	if out, ok := convert(name, s); ok {
		return out
	}
	if isEBCDIC(name) && strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) >= 0 {
		// The code pages of EBCDIC have the letters and stops of file names in common.
		if out, err := charmap.CodePage037.NewDecoder().String(s); err == nil {
			return out
		}
	}
	if utf8.ValidString(s) {
		return s
	}
	out, _ := convert("windows-1252", s)
	return out
}

// utf16Names are names of UTF-16 that do not tell the order of bytes; without a mark it is that of
// the client (RFC 2781 section 4.3 recommends one that few follow).
var utf16Names = map[string]bool{"utf-16": true, "utf16": true, "ucs-2": true, "iso-10646-ucs-2": true, "csunicode": true, "unicode": true}

func hasMark(s string) bool {
	return strings.HasPrefix(s, "\xff\xfe") || strings.HasPrefix(s, "\xfe\xff")
}

// orderOf tells in which order the bytes of UTF-16 are, by the zeros of ASCII.
func orderOf(s string) string {
	little, big := 0, 0
	for i := 0; i+1 < len(s); i += 2 {
		if s[i] == 0 {
			big++
		}
		if s[i+1] == 0 {
			little++
		}
	}
	if little > big {
		return "utf-16le"
	}
	return "utf-16be"
}

// isEBCDIC reports whether the name of a charset that is not known otherwise may be one of EBCDIC.
func isEBCDIC(name string) bool {
	for _, s := range []string{"cp", "ibm", "csibm", "ccsid", "x-ibm", "utf-ebcdic"} {
		if strings.HasPrefix(name, s) || strings.Contains(name, "ebcdic") {
			return true
		}
	}
	return false
}

var utf8Names = map[string]bool{"": true, "utf-8": true, "utf8": true, "us-ascii": true, "ascii": true}

func convert(name, s string) (string, bool) {
	// The usual ones without a reader, whose buffers cost more than a word of some ten bytes.
	if e, err := ianaindex.MIME.Encoding(name); err == nil && e != nil {
		out, err := e.NewDecoder().String(s)
		return out, err == nil && utf8.ValidString(out)
	}
	r, err := charset.Reader(name, strings.NewReader(s))
	if err != nil {
		return "", false
	}
	b, err := io.ReadAll(r)
	return string(b), err == nil && utf8.Valid(b)
}

// Charset is the declared charset of a text part, lower case, without blanks, quotes and comments
// that clients pass over; empty if none is declared.
func (p *Part) Charset() string { return plainCharset(p.Params["charset"]) }

func plainCharset(v string) string {
	v = strings.TrimLeftFunc(strings.ToLower(v), isCharsetEnd)
	if i := strings.IndexFunc(v, isCharsetEnd); i >= 0 {
		v = v[:i]
	}
	return v
}

// isCharsetEnd tells what is in the name of no charset (RFC 2978 section 2.3).
func isCharsetEnd(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"'(),;<>=", r) }

// charsets are the charsets that values of a parameter name.
func charsets(values []string) []string {
	var out []string
	for _, v := range values {
		if c := plainCharset(v); c != "" && !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out
}
