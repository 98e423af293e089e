package sanitize

import (
	"io"
	"strconv"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

const (
	// writeRoom is how much of a page is held back, and then written at once.
	writeRoom = 16 << 10
	// maxWriteRoom is how large what holds it back may stay.
	maxWriteRoom = 256 << 10
)

// An htmlWriter writes text so that it is text, in a charset that has ASCII.
type htmlWriter struct {
	w       io.Writer
	err     error  // the first one of w
	buf     []byte // what is held back
	charset *charmap.Charmap
	label   string
}

// raw writes what is escaped already, in ASCII or by escape.
func (w *htmlWriter) raw(s string) { w.buf = append(w.buf, s...) }

// write writes what is held back, if that is much.
func (w *htmlWriter) write() error {
	if len(w.buf) < writeRoom {
		return w.err
	}
	return w.flush()
}

// flush writes all that is held back.
func (w *htmlWriter) flush() error {
	if w.err == nil && len(w.buf) > 0 {
		_, w.err = w.w.Write(w.buf)
	}
	if w.buf = w.buf[:0]; cap(w.buf) > maxWriteRoom {
		w.buf = nil
	}
	return w.err
}

// isUnwritten tells characters that are in no page: controls, and those that are none.
func isUnwritten(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' || r >= 0x7f && r < 0xa0 || r&0xfffe == 0xfffe || r >= 0xfdd0 && r <= 0xfdef || r == 0xfeff
}

// text writes text, of which the kinds are known.
func (w *htmlWriter) text(b []byte, has byteKind) {
	if has&(byteMarkup|byteOdd) == 0 {
		w.buf = append(w.buf, b...)
		return
	}
	w.escape(b, byteMarkup|byteOdd)
}

// quoted writes the value of an attribute, of which the kinds are known.
func (w *htmlWriter) quoted(b []byte, has byteKind) {
	if has&(byteMarkup|byteOdd|byteQuote) == 0 {
		w.buf = append(w.buf, b...)
		return
	}
	w.escape(b, byteMarkup|byteOdd|byteQuote)
}

// escape writes text with character references for what is markup, which the kinds tell, and for what
// the charset does not have.
func (w *htmlWriter) escape(b []byte, markup byteKind) {
	buf, done, i := w.buf, 0, 0
	for i < len(b) {
		if byteKinds[b[i]]&markup == 0 {
			i++
			continue
		}
		if b[i] < utf8.RuneSelf {
			buf = append(append(buf, b[done:i]...), references[b[i]]...)
			i++
			done = i
			continue
		}
		r, size := utf8.DecodeRune(b[i:])
		if !isUnwritten(r) && w.charset == nil && (r != utf8.RuneError || size > 1) {
			i += size
			continue
		}
		buf = append(buf, b[done:i]...)
		if !isUnwritten(r) {
			buf = w.appendRune(buf, r, false)
		}
		i += size
		done = i
	}
	w.buf = append(buf, b[done:]...)
}

// references are what markup is written as. Controls are not written.
var references = [utf8.RuneSelf]string{'&': "&amp;", '<': "&lt;", '>': "&gt;", '"': "&#34;", '\r': "\n"}

// appendRune appends a character beyond ASCII, or what stands for it: a reference to it, or the escape of
// CSS.
func (w *htmlWriter) appendRune(buf []byte, r rune, css bool) []byte {
	if w.charset == nil {
		return utf8.AppendRune(buf, r)
	}
	if c, ok := w.charset.EncodeRune(r); ok {
		return append(buf, c)
	}
	if css {
		return appendCSSEscape(buf, r)
	}
	return append(strconv.AppendInt(append(buf, "&#"...), int64(r), 10), ';')
}

// css writes a style sheet, in which "<" is only within escapes.
func (w *htmlWriter) css(b []byte) {
	if w.charset == nil {
		w.buf = append(w.buf, b...)
		return
	}
	for i := 0; i < len(b); {
		if b[i] < utf8.RuneSelf {
			w.buf = append(w.buf, b[i])
			i++
			continue
		}
		r, size := utf8.DecodeRune(b[i:])
		w.buf = w.appendRune(w.buf, r, true)
		i += size
	}
}
