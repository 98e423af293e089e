package sanitize

import (
	"bufio"
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/encoding/charmap"
)

// An htmlWriter writes text so that it is text, in a charset that has ASCII.
type htmlWriter struct {
	w       *bufio.Writer // also keeps the first error
	charset *charmap.Charmap
	label   string
}

// raw writes what is escaped already, in ASCII or by escape.
func (w *htmlWriter) raw(s string) { _, _ = w.w.WriteString(s) }

// isUnwritten tells characters that are in no page: controls, and those that are none.
func isUnwritten(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' || r >= 0x7f && r < 0xa0 || r&0xfffe == 0xfffe || r >= 0xfdd0 && r <= 0xfdef || r == 0xfeff
}

func (w *htmlWriter) text(b []byte) {
	var s strings.Builder
	w.escape(&s, string(b), false)
	w.raw(s.String())
}

// escape appends text with character references for what is markup, and for what the charset
// does not have.
func (w *htmlWriter) escape(b *strings.Builder, s string, quoted bool) {
	for _, r := range s {
		switch {
		case r == '&':
			b.WriteString("&amp;")
		case r == '<':
			b.WriteString("&lt;")
		case r == '>':
			b.WriteString("&gt;")
		case r == '"' && quoted:
			b.WriteString("&#34;")
		case r == '\r':
			b.WriteByte('\n')
		case isUnwritten(r):
		default:
			w.rune(b, r, "&#%d;")
		}
	}
}

// rune appends a character, or the reference to it.
func (w *htmlWriter) rune(b *strings.Builder, r rune, reference string) {
	if r < unicode.MaxASCII || w.charset == nil {
		b.WriteRune(r)
	} else if c, ok := w.charset.EncodeRune(r); ok {
		b.WriteByte(c)
	} else {
		fmt.Fprintf(b, reference, r)
	}
}

// css writes a style sheet, in which "<" is only within escapes.
func (w *htmlWriter) css(s string) {
	var b strings.Builder
	for _, r := range s {
		w.rune(&b, r, "\\%x ")
	}
	w.raw(b.String())
}
