package sanitize

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// maxForm is how many bytes of a name are looked at: half of them at its beginning, where a NUL or
// a colon may end it for some systems, half at its end, where the extension is. A longer
// name is reported as name/long anyway.
const maxForm = 4096

// NameForms are all readings of a file name by which some desktop opens it, for comparing: without
// directories, in lower case, and without what does not count.
func NameForms(name string) []string { return forms(name) }

// forms are all readings of a file name that decide how some desktop opens it, in a form made
// for matching: without directories, in lower case and compatibility form (NFKC), without
// characters that nobody sees and without what Windows drops from the end of a name.
func forms(name string) []string {
	var out []string
	name = clip(name)
	for i, s := range []string{name, hexDecode(name, '%'), hexDecode(name, '=')} {
		if i > 0 && s == name {
			continue
		}
		if head, _, ok := strings.Cut(s, "\x00"); ok {
			out = addForms(out, head) // what is written in C ends the name there
		}
		out = addForms(out, s)
		if strings.ContainsAny(s, notInNames) { // some clients drop them
			out = addForms(out, withoutNotInNames.Replace(s))
		}
	}
	return out
}

// notInNames are characters that no name of a file may have in Windows (Naming Files, Paths, and
// Namespaces), apart from those that divide it.
const notInNames = `<>"|?*`

var withoutNotInNames = strings.NewReplacer("<", "", ">", "", `"`, "", "|", "", "?", "", "*", "")

func clip(name string) string {
	if len(name) <= maxForm {
		return name
	}
	return name[:maxForm/2] + name[len(name)-maxForm/2:]
}

// maxPieces is how many pieces between colons are looked at, at either end of a name.
const maxPieces = 4

// addForms adds the form of a name, and that of each of its pieces where it has colons: in NTFS
// these divide a file from a stream of it, so that "a.exe::$DATA" is "a.exe".
func addForms(out []string, name string) []string {
	s := strings.TrimRight(fold(name), `/\. `) // "a.exe/" is a file to some
	s = s[strings.LastIndexAny(s, `/\`)+1:]
	for _, piece := range piecesOf(s) {
		if piece = trimName(piece); piece != "" && !slices.Contains(out, piece) {
			out = append(out, piece)
		}
	}
	return out
}

// piecesOf divides a name at its colons, in pieces of which no system has a use for many.
func piecesOf(s string) []string {
	pieces := strings.SplitN(s, ":", 2*maxPieces+1)
	if len(pieces) <= 2*maxPieces {
		return pieces
	}
	pieces = pieces[:2*maxPieces]
	for i := len(pieces) - 1; i >= maxPieces; i-- { // the last ones
		at := strings.LastIndexByte(s, ':')
		pieces[i], s = s[at+1:], s[:at]
	}
	return pieces
}

// fold gives a name in lower case and NFKC, in which a full-width or one-dot-leader stop is a
// stop, all blanks as one kind, and no character that does not show.
func fold(name string) string {
	if isPlain(name) {
		return strings.ToLower(name)
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r > ' ' && r < 0x7f:
			if r >= 'A' && r <= 'Z' {
				r |= 0x20
			}
			return r
		case unicode.IsSpace(r):
			return ' '
		case isInvisible(r) || unicode.IsControl(r):
			return -1
		}
		return unicode.ToLower(r)
	}, norm.NFKC.String(name))
}

func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// isInvisible tells characters that take no room: format characters (Cf), which hold the
// bidirectional controls too, and the fillers that fonts leave empty.
func isInvisible(r rune) bool {
	if r < 0xad {
		return false
	}
	switch r {
	case 0x034f, 0x115f, 0x1160, 0x17b4, 0x17b5, 0x2800, 0x3164, 0xffa0: // 0x2800: CVE-2024-43461
		return true
	}
	return unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Variation_Selector, r)
}

// isBidi tells the characters that make what follows them run in the other direction (UAX #9):
// "invoice_\u202Efdp.exe" shows as "invoice_exe.pdf". The mere marks (U+200E, U+200F) do not.
func isBidi(r rune) bool { return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 }

// trimName drops what Windows drops at the end of a name: stops and blanks; and quotes, which a
// damaged header field leaves there.
func trimName(s string) string {
	return strings.TrimLeft(strings.TrimRight(s, ". \"'`"), " \"'`")
}

// extension is what follows the last stop of a form; empty if there is none.
func extension(form string) string {
	i := strings.LastIndexByte(form, '.')
	if i < 0 {
		return ""
	}
	return strings.Trim(form[i+1:], " ")
}

// percentDecode decodes %XX and leaves anything else: some clients decode a name once more.
func percentDecode(s string) string { return hexDecode(s, '%') }

// hexDecode decodes the escapes of two hexadecimal digits that begin with mark: "%2E", or "=2E", which
// is left where a name was encoded twice.
func hexDecode(s string, mark byte) string {
	if strings.IndexByte(s, mark) < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == mark && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
			b = append(b, hexValue(s[i+1])<<4|hexValue(s[i+2]))
			i += 2
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}

// hexValue is the value of a hexadecimal digit.
func hexValue(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
