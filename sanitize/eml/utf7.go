package eml

import (
	"slices"
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

// utf7Value knows the alphabet of what is encoded.
var utf7Value = func() (t [256]byte) {
	t = b64Standard
	for i, v := range t {
		if v > 63 {
			t[i] = b64Invalid
		}
	}
	return t
}()

// appendUTF7 appends what is encoded behind the "+" that s begins with, and tells how long that is in s.
func appendUTF7[T string | []byte](out []byte, s T) (_ []byte, size int) {
	out, high, size := appendUnits(out, s, 1)
	bits, n := uint(0), 0
	for ; size < len(s) && utf7Value[s[size]] < 64; size++ {
		bits = bits<<6 | uint(utf7Value[s[size]])
		if n += 6; n >= 16 {
			n -= 16
			out, high = appendUnit(out, high, rune(bits>>n&0xffff)) //nolint:gosec // 16 bits
		}
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

// appendUnit appends a unit of UTF-16 behind the first half of a character, which is 0 if there is none. It gives the
// first half of another.
func appendUnit(out []byte, high, unit rune) ([]byte, rune) {
	if high != 0 {
		r := utf16.DecodeRune(high, unit)
		if out = utf8.AppendRune(out, r); r != utf8.RuneError {
			return out, 0
		}
	}
	if unit >= 0xd800 && unit < 0xdc00 { // its other half follows
		return out, unit
	}
	return utf8.AppendRune(out, unit), 0
}

// appendUnits appends what is encoded from byte i on, three units at a time, as long as there are that many. It gives
// the first half of a character of which the other is behind them, and where they end.
func appendUnits[T string | []byte](out []byte, s T, i int) (_ []byte, high rune, end int) {
	v := &utf7Value
	for ; i+8 <= len(s); i += 8 {
		q := s[i : i+8]
		a, b, c, d := v[q[0]], v[q[1]], v[q[2]], v[q[3]]
		e, f, g, h := v[q[4]], v[q[5]], v[q[6]], v[q[7]]
		if a|b|c|d|e|f|g|h > 63 {
			break
		}
		first := uint32(a)<<18 | uint32(b)<<12 | uint32(c)<<6 | uint32(d)
		second := uint32(e)<<18 | uint32(f)<<12 | uint32(g)<<6 | uint32(h)
		x, y, z := first>>8, first&0xff<<8|second>>16, second&0xffff
		if high != 0 || x>>11 == 0x1b || y>>11 == 0x1b || z>>11 == 0x1b { // half of a character
			out, high = appendUnit(out, high, rune(x)) //nolint:gosec // 16 bits
			out, high = appendUnit(out, high, rune(y)) //nolint:gosec // likewise
			out, high = appendUnit(out, high, rune(z)) //nolint:gosec // likewise
			continue
		}
		n := len(out)
		if cap(out)-n < 9 {
			out = slices.Grow(out, 9+(len(s)-i)/8*9)
		}
		to := out[n : n+9]
		k := putUnit(to, x)
		k += putUnit(to[k:], y)
		k += putUnit(to[k:], z)
		out = out[:n+k]
	}
	return out, high, i
}

// putUnit writes a unit of UTF-16 that is a character in UTF-8. It gives its length.
func putUnit(b []byte, u uint32) int {
	if u >= 0x800 {
		_ = b[2]
		b[0], b[1], b[2] = byte(0xe0|u>>12), byte(0x80|u>>6&0x3f), byte(0x80|u&0x3f)
		return 3
	}
	if u >= 0x80 {
		b[0], b[1] = byte(0xc0|u>>6), byte(0x80|u&0x3f)
		return 2
	}
	b[0] = byte(u)
	return 1
}
