package flatxml

import (
	"bufio"
	"html"
	"io"
	"strings"
	"unicode/utf8"
)

// unescape reads the references to characters in a value. Those of HTML are more than XML has.
func unescape(value string) string { return strings.ToValidUTF8(html.UnescapeString(value), "_") }

// A base64Reader decodes the text up to the next tag. What is no digit is passed over; behind padding
// more may follow.
type base64Reader struct {
	in   *bufio.Reader
	bits uint32 // digits that are not out yet, and a 1 before them
	out  [3]byte
	left []byte // of out
	over bool
}

func (r *base64Reader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(r.left) > 0 {
			k := copy(p[n:], r.left)
			r.left, n = r.left[k:], n+k
			continue
		}
		if r.over {
			break
		}
		if err := r.step(); err != nil {
			return n, err
		}
	}
	if n == 0 && r.over && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// step reads one character.
func (r *base64Reader) step() error {
	b, err := r.in.Peek(1)
	if err == io.EOF {
		r.end()
		return nil
	} else if err != nil {
		return err
	}
	c := b[0]
	if c == '<' {
		return r.markup()
	}
	_, _ = r.in.Discard(1) // it is there
	if c == '&' {
		c = r.reference()
	}
	r.digit(c)
	return nil
}

// values are those of the digits; -1 for what is none.
var values = func() (t [256]int8) {
	for i := range t {
		t[i] = int8(strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", byte(i)))
	}
	return t
}()

func (r *base64Reader) digit(c byte) {
	if c == '=' {
		r.flush()
		return
	}
	v := values[c]
	if v < 0 {
		return
	}
	if r.bits == 0 {
		r.bits = 1
	}
	if r.bits = r.bits<<6 | uint32(v); r.bits>>24 == 1 {
		r.out = [3]byte{byte(r.bits >> 16), byte(r.bits >> 8), byte(r.bits)}
		r.left, r.bits = r.out[:], 0
	}
}

// flush gives the bytes that there are digits for.
func (r *base64Reader) flush() {
	switch {
	case r.bits>>18 == 1:
		r.out[0], r.out[1] = byte(r.bits>>10), byte(r.bits>>2)
		r.left = r.out[:2]
	case r.bits>>12 == 1:
		r.out[0] = byte(r.bits >> 4)
		r.left = r.out[:1]
	}
	r.bits = 0
}

func (r *base64Reader) end() {
	r.flush()
	r.over = true
}

// markup reads what begins with the "<" that comes next: comments and instructions do not end the text,
// and CDATA is more of it. Anything else is left for who reads tags.
func (r *base64Reader) markup() error {
	const cdata = "<![CDATA["
	b, err := r.in.Peek(len(cdata))
	if err != nil && err != io.EOF {
		return err
	}
	switch s := string(b); {
	case strings.HasPrefix(s, "<!--"):
		_, _ = r.in.Discard(len("<!--"))
		return r.skip("-->")
	case strings.HasPrefix(s, "<?"):
		return r.skip("?>")
	case s == cdata:
		_, _ = r.in.Discard(len(s))
		return nil
	}
	r.end()
	return nil
}

// skip goes behind the next end.
func (r *base64Reader) skip(end string) error {
	for at := 0; at < len(end); {
		c, err := r.in.ReadByte()
		switch {
		case err == io.EOF:
			r.end()
			return nil
		case err != nil:
			return err
		case c == end[at]:
			at++
		case c == '-' && at == 2: // more hyphens than two
		default:
			at = 0
			if c == end[0] {
				at = 1
			}
		}
	}
	return nil
}

// maxReference is how many bytes a reference to a character has at most; XML has no limit to zeros.
const maxReference = 64

// reference reads the reference whose "&" was read: the character, or 0 if it is none of ASCII.
func (r *base64Reader) reference() byte {
	text := []byte("&")
	for len(text) < maxReference {
		b, err := r.in.Peek(1)
		if err != nil || b[0] == '<' || b[0] == '&' {
			return 0
		}
		_, _ = r.in.Discard(1) // it is there
		if text = append(text, b[0]); b[0] == ';' {
			break
		}
	}
	c, _ := utf8.DecodeRuneInString(html.UnescapeString(string(text)))
	if c == '&' || c >= utf8.RuneSelf {
		return 0
	}
	return byte(c)
}
