package eml

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// IsUTF7 reports whether a charset, in lower case, is UTF-7, by one of the names that clients know. 65000 is
// its number in Windows.
func IsUTF7(name string) bool {
	return strings.Contains(name, "utf-7") || strings.Contains(name, "utf7") || strings.HasSuffix(name, "65000") || name == "unicode-1-1"
}

// decodeUTF7 decodes UTF-7 (RFC 2152); what is not valid is passed over.
func decodeUTF7(s string) string {
	out := make([]byte, 0, len(s))
	for {
		n := strings.IndexByte(s, '+')
		if n < 0 {
			return string(append(out, s...))
		}
		out, s = append(out, s[:n]...), s[n:]
		out, n = appendUTF7(out, s)
		s = s[n:]
	}
}

// appendUTF7 appends what is encoded behind the "+" that s begins with, and tells how long that is in s.
func appendUTF7(out []byte, s string) (_ []byte, size int) {
	bits, n, high := uint(0), 0, rune(0)
	for size = 1; size < len(s) && b64Value[s[size]] < 64 && s[size] != '-' && s[size] != '_'; size++ {
		bits = bits<<6 | uint(b64Value[s[size]])
		if n += 6; n < 16 {
			continue
		}
		n -= 16
		unit := rune(bits >> n & 0xffff)
		if high != 0 {
			r := utf16.DecodeRune(high, unit)
			if high = 0; r != utf8.RuneError {
				out = utf8.AppendRune(out, r)
				continue
			}
			out = utf8.AppendRune(out, r)
		}
		if unit >= 0xd800 && unit < 0xdc00 { // its other half follows
			high = unit
			continue
		}
		out = utf8.AppendRune(out, unit)
	}
	if high != 0 {
		out = utf8.AppendRune(out, utf8.RuneError)
	}
	if size < len(s) && s[size] == '-' {
		if size++; size == len("+-") {
			out = append(out, '+')
		}
	}
	return out, size
}
