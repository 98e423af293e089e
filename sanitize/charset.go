package sanitize

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"rastel/sanitize/eml"
)

// maxRecoded is the largest page, in bytes, that is examined in a charset in which its tags are
// not ASCII: it is decoded in memory.
const maxRecoded = 8 << 20

// readings gives a page in each form in which a client may read it and in which its tags are
// ASCII; nil for one in UTF-7, which fromUTF7 gives. how is empty if the page is in that form, so that it can be edited; otherwise it names
// the charset. There is none if the page is larger than maxRecoded.
func readings(b []byte, charset string) (texts [][]byte, how string) {
	switch how = recoded(b, charset); {
	case how == "":
		return [][]byte{b}, how
	case len(b) > maxRecoded:
		return nil, how
	case unreadable(how):
		return append([][]byte{b}, inCharset(b, how)...), how
	case how == "iso-2022-jp":
		return [][]byte{b, fromISO2022JP(b)}, how // browsers guess it, whatever the label
	case how == "utf-16be":
		return [][]byte{fromUTF16(b, binary.BigEndian), b}, "utf-16"
	}
	return [][]byte{fromUTF16(b, binary.LittleEndian), b}, "utf-16" // the label may not be true
}

// inCharset gives a page as it is in a charset of the unreadable ones, as readings does; none if that is the same, as
// UTF-7 is without "+".
func inCharset(b []byte, charset string) [][]byte {
	switch {
	case !eml.IsUTF7(charset):
		return [][]byte{[]byte(eml.ToUTF8(charset, string(b)))}
	case bytes.IndexByte(b, '+') < 0:
		return nil
	}
	return [][]byte{nil}
}

// fromUTF7 decodes a page in UTF-7.
func fromUTF7(b []byte) []byte {
	c := eml.NewChanges(b, false, 0, true)
	return c.Append(make([]byte, 0, len(b)), 0, len(b))
}

// recoded names the charset of a page in which its tags are not ASCII; empty if they are.
func recoded(b []byte, charset string) string {
	starts := func(s string) bool { return bytes.HasPrefix(b, []byte(s)) }
	switch {
	case starts("\xff\xfe"), starts("<\x00"):
		return "utf-16"
	case starts("\xfe\xff"), starts("\x00<"), strings.HasPrefix(charset, "utf-16be"), charset == "unicodefffe":
		return "utf-16be"
	case isUTF16(charset):
		return "utf-16"
	case unreadable(charset):
		return charset
	case bytes.IndexByte(b, 0x1b) >= 0 && (bytes.Contains(b, []byte("\x1b(")) || bytes.Contains(b, []byte("\x1b$"))):
		return "iso-2022-jp"
	}
	return ""
}

// isUTF16 reports whether a charset is UTF-16 by one of its labels (Encoding, section 4.2).
func isUTF16(charset string) bool {
	switch charset {
	case "ucs-2", "iso-10646-ucs-2", "csunicode", "unicode", "unicodefeff":
		return true
	}
	return strings.HasPrefix(charset, "utf-16")
}

// unreadable reports whether a charset has letters of which tags are made at other places than
// ASCII has them, or none, so that the bytes do not tell what is a tag. ISO-2022-JP has them
// where it has no escape sequences.
func unreadable(charset string) bool {
	if strings.HasPrefix(charset, "iso-2022-jp") || strings.HasPrefix(charset, "csiso2022jp") || pcCharsets[charset] {
		return false
	}
	for _, s := range []string{"utf-32", "iso-2022", "csiso2022", "hz-gb", "ibm", "csibm", "ccsid", "x-imap"} {
		if strings.HasPrefix(charset, s) {
			return true
		}
	}
	for _, s := range []string{"utf-7", "utf7", "ebcdic"} {
		if strings.Contains(charset, s) {
			return true
		}
	}
	return strings.HasSuffix(charset, "65000") || ebcdicPages[charset]
}

// ebcdicPages are the names of EBCDIC by number that are not those of IBM.
var ebcdicPages = set(`cp037 cp273 cp277 cp278 cp280 cp284 cp285 cp290 cp297 cp420 cp423 cp424 cp500 cp833 cp838 cp870 cp871
	cp875 cp880 cp905 cp918 cp924 cp930 cp933 cp935 cp937 cp939 cp1025 cp1026 cp1047 cp1097 cp1112 cp1122 cp1123
	cp1140 cp1141 cp1142 cp1143 cp1144 cp1145 cp1146 cp1147 cp1148 cp1149`)

// pcCharsets are the charsets of IBM that are not EBCDIC.
var pcCharsets = set(`ibm367 ibm437 ibm737 ibm775 ibm819 ibm850 ibm852 ibm855 ibm857 ibm858 ibm00858
	ibm860 ibm861 ibm862 ibm863 ibm864 ibm865 ibm866 ibm868 ibm869`)

func fromUTF16(b []byte, order binary.ByteOrder) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i+1 < len(b); i += 2 {
		r := rune(order.Uint16(b[i:]))
		if utf16.IsSurrogate(r) && i+3 < len(b) {
			r = utf16.DecodeRune(r, rune(order.Uint16(b[i+2:])))
			if r != utf8.RuneError {
				i += 2
			}
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}

// fromISO2022JP gives text in ISO-2022-JP as a browser reads it (Encoding, section 12.2.1), with
// the replacement character for all that is not ASCII. Escape sequences are gone, wherever they
// are: in "<scr\x1b(Bipt>" too.
func fromISO2022JP(b []byte) []byte {
	out := make([]byte, 0, len(b))
	set := byte('B')
	for i := 0; i < len(b); i++ {
		c := b[i]
		switch {
		case c == 0x1b && i+2 < len(b) && isCharset(string(b[i+1:i+3])):
			set = b[i+2]
			if b[i+1] == '$' {
				set = '$'
			}
			i += 2
		case c < 0x80 && c != 0x1b && (set == 'B' || set == 'J' && c != '\\' && c != '~'):
			out = append(out, c)
		default:
			if set == '$' && c > ' ' && c < 0x7f && i+1 < len(b) && b[i+1] != 0x1b {
				i++ // the second byte
			}
			out = append(out, "\ufffd"...)
		}
	}
	return out
}

// isCharset tells the escape sequences of ISO-2022-JP, without the escape.
func isCharset(s string) bool {
	return s == "(B" || s == "(J" || s == "(I" || s == "$@" || s == "$B"
}
