package eml

import (
	"io"
	"mime"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-message/charset"
)

// maxWords is the longest field value whose encoded words are decoded; longer ones cost more
// than they tell.
const maxWords = 64 << 10

// DecodeWords decodes the encoded words (RFC 2047) in s. What cannot be decoded stays as it
// is. The result may hold anything, line breaks and NUL included.
func DecodeWords(s string) string {
	if !strings.Contains(s, "=?") || len(s) > maxWords {
		return s
	}
	d := mime.WordDecoder{CharsetReader: charset.Reader}
	out, err := d.DecodeHeader(s)
	if err != nil {
		return s
	}
	return out
}

// toUTF8 converts text in that charset to UTF-8; it leaves it alone where the charset is
// unknown, and where it is UTF-8 already.
func toUTF8(name, s string) string {
	if name == "" || strings.EqualFold(name, "utf-8") || strings.EqualFold(name, "us-ascii") {
		return s
	}
	r, err := charset.Reader(name, strings.NewReader(s))
	if err != nil {
		return s
	}
	b, err := io.ReadAll(r)
	if err != nil || !utf8.Valid(b) {
		return s
	}
	return string(b)
}

// Charset is the declared charset of a text part, lower case; empty if none is declared.
func (p *Part) Charset() string { return strings.ToLower(p.Params["charset"]) }

// UTF8 reads the content of a text part converted from its declared charset to UTF-8, or as
// it is where that charset is unknown or not declared.
func (p *Part) UTF8() io.Reader {
	name := p.Charset()
	if name == "" || name == "utf-8" || name == "us-ascii" {
		return p.Content()
	}
	r, err := charset.Reader(name, p.Content())
	if err != nil {
		return p.Content()
	}
	return r
}
