package pdf

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// docHigh are the characters of PDFDocEncoding from 0x80 on that are not those of Latin-1, and docLow
// those from 0x18 on (PDF 32000-1, D.3).
var (
	docHigh = []rune("•†‡…—–ƒ⁄‹›−‰„“”‘’‚™ﬁﬂŁŒŠŸŽıłœšž\ufffd€")
	docLow  = []rune("˘ˇˆ˙˝˛˚˜")
)

// text is a text string (7.9.2.2) as UTF-8: it is in UTF-16 or UTF-8 if its mark says so, and otherwise
// in PDFDocEncoding. Programs write UTF-8 without a mark too.
func text(b []byte) string {
	s := string(b)
	switch {
	case strings.HasPrefix(s, "\xfe\xff"):
		return wide(s[2:], 0)
	case strings.HasPrefix(s, "\xff\xfe"):
		return wide(s[2:], 1)
	case strings.HasPrefix(s, "\xef\xbb\xbf"):
		s = s[3:]
	}
	if utf8.ValidString(s) {
		return s
	}
	var out strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 0x80 && c <= 0xa0:
			out.WriteRune(docHigh[c-0x80])
		case c >= 0x18 && c < 0x20:
			out.WriteRune(docLow[c-0x18])
		default:
			out.WriteRune(rune(c))
		}
	}
	return out.String()
}

// wide is a text in UTF-16; low is which of two bytes is the lower one.
func wide(s string, high int) string {
	units := make([]uint16, 0, len(s)/2)
	for i := 0; i+1 < len(s); i += 2 {
		units = append(units, uint16(s[i+high])<<8|uint16(s[i+1-high]))
	}
	return string(utf16.Decode(units))
}
