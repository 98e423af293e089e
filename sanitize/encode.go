package sanitize

import (
	"bytes"
	"strings"
	"unicode"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/unicode/norm"
)

// encodeCharset gives text in a charset; false if that has not all of its characters, or is not known.
// A text without a charset is US-ASCII.
func encodeCharset(charset string, b []byte, s string) ([]byte, bool) {
	if big, ok := isWide(b, charset); ok {
		return wide(s, big), true
	}
	switch charset {
	case "", "us-ascii", "ascii":
		return []byte(s), isASCII([]byte(s))
	case "utf-8", "utf8":
		return []byte(s), true
	}
	e := encodingOf(charset)
	if e == nil || unreadable(charset) {
		return []byte(s), isASCII([]byte(s)) // most have it
	}
	out, err := e.NewEncoder().Bytes([]byte(s))
	return out, err == nil
}

// isWide reports whether a text is in UTF-16, and whether its bytes are in the order of the network.
func isWide(b []byte, charset string) (big, ok bool) {
	switch {
	case bytes.HasPrefix(b, []byte("\xff\xfe")), bytes.HasPrefix(b, []byte("<\x00")):
		return false, true
	case bytes.HasPrefix(b, []byte("\xfe\xff")), bytes.HasPrefix(b, []byte("\x00<")):
		return true, true
	case strings.HasPrefix(charset, "utf-16be"), charset == "unicodefffe":
		return true, true
	case isUTF16(charset):
		zeros := 0 // the first bytes of ASCII
		for i := 0; i+1 < min(len(b), 200); i += 2 {
			if b[i] == 0 {
				zeros++
			} else if b[i+1] == 0 {
				zeros--
			}
		}
		return zeros > 0, true
	}
	return false, false
}

func wide(s string, big bool) []byte {
	var b []byte
	for _, r := range s {
		if r > 0xffff {
			r = unicode.ReplacementChar
		}
		if big {
			b = append(b, byte(r>>8), byte(r))
		} else {
			b = append(b, byte(r), byte(r>>8))
		}
	}
	return b
}

// encodingOf is a charset by one of its names; nil if it is not known.
func encodingOf(charset string) encoding.Encoding {
	if e, err := ianaindex.MIME.Encoding(charset); err == nil && e != nil {
		return e
	}
	e, err := htmlindex.Get(charset)
	if err != nil {
		return nil
	}
	return e
}

func isASCII(b []byte) bool { return countASCII(b) == len(b) }

// asASCII is a text without what ASCII does not have.
func asASCII(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Mn, r):
			return -1
		case r == hardBlank:
			return r
		case r >= 0x7f:
			return '?'
		}
		return r
	}, norm.NFKD.String(s))
}

// decodeCharset gives text as UTF-8, if that loses nothing.
func decodeCharset(charset string, raw []byte) (string, bool) {
	if _, ok := isWide(raw, charset); ok || unreadable(charset) {
		return "", false
	}
	switch charset {
	case "", "us-ascii", "ascii", "utf-8", "utf8":
		return string(raw), bytes.Equal(bytes.ToValidUTF8(raw, nil), raw)
	}
	e := encodingOf(charset)
	if e == nil {
		return "", false
	}
	out, err := e.NewDecoder().Bytes(raw)
	return string(out), err == nil && !bytes.ContainsRune(out, unicode.ReplacementChar)
}

// encodeUTF8 encodes text whose lines end as they may.
func encodeUTF8(raw []byte) content {
	if countASCII(raw) < len(raw)/2 {
		return content{[]byte("base64"), base64Lines(raw)}
	}
	return content{[]byte("quoted-printable"), quotedPrintable(raw)}
}
