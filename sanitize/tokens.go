package sanitize

import (
	"bytes"
	"errors"
	"io"

	"golang.org/x/net/html"
)

const (
	// textRoom is how much of a long text is read at once.
	textRoom = 64 << 10
	// maxToken is how many bytes a tag, a document type or a style sheet may have; of a longer one nothing is
	// left but, of a style sheet, its beginning. A picture within an attribute is what needs room.
	maxToken = 4 << 20
	// firstRead is how much of a page is read at first, readRoom how much then.
	firstRead, readRoom = 4 << 10, 64 << 10
)

// A tokenReader reads HTML token by token, as the tokenizer of golang.org/x/net/html does, in memory that does not
// depend on its size. That tokenizer is its model and what it is tested against (FuzzTokens), token by token; it differs
// in three things: it leaves out comments, what nobody looks at, and what is longer than maxToken, where the other one
// ends; attributes are told by their names, each once, the first of them; and "<![CDATA[" is a comment up to the next ">"
// everywhere, as outside of drawings and formulas, which are not written. It is for those who write what they read
// anew, so that it does not matter what another reader takes for a tag: of what they leave out nothing
// comes through.
type tokenReader struct {
	r     io.Reader
	ended bool  // all of r is read
	err   error // that of r; nil at its end
	buf   []byte
	pos   int // in buf, behind what was read last

	kind  html.TokenType
	el    *htmlElement // of a tag; otherElement if its name is not known
	name  string       // of a tag
	attrs []tagAttr    // of a start tag, those that are known; each name once
	text  []byte       // of a text with character references decoded, or a document type; good until the next call
	has   byteKind     // the kinds of what is in a text

	in     *htmlElement // whose raw text is read; otherElement outside of one
	raw    bool         // more of it may follow
	given  bool         // some of it was read
	goes   bool         // the raw text began before
	script scriptText
}

// A tagAttr is an attribute of a start tag. Its value has its character references decoded, and is good
// until the next call.
type tagAttr struct {
	*attribute
	value []byte
	has   byteKind // the kinds of what is in it
}

func newTokenReader(r io.Reader) *tokenReader {
	return &tokenReader{r: r, in: otherElement}
}

// rest is what was read of the page and is in no token yet.
func (t *tokenReader) rest() []byte { return t.buf[t.pos:] }

// token is as much of it as may be one.
func (t *tokenReader) token() []byte { return t.buf[t.pos:min(len(t.buf), t.pos+maxToken)] }

// more reads more of the page, so that rest is longer and somewhere else. It reports false if there is no
// more, or room bytes are there already.
func (t *tokenReader) more(room int) bool {
	old := t.rest()
	left := len(old)
	if t.ended || left >= room {
		return false
	}
	size := cap(t.buf)
	switch {
	case size == 0:
		size = firstRead
	case size < readRoom || size > 4*readRoom && left < readRoom:
		size = 2 * readRoom
	case 2*left > size:
		size = min(4*size, 2*maxToken)
	}
	if size != cap(t.buf) {
		t.buf = make([]byte, size)
	}
	t.buf, t.pos = t.buf[:size], 0
	copy(t.buf, old)
	n, err := io.ReadFull(t.r, t.buf[left:])
	t.buf = t.buf[:left+n]
	if err != nil {
		t.ended = true
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.err = err
		}
	}
	return n > 0
}

// next reads the next token: a start tag (never html.SelfClosingTagToken, as in HTML a slash means
// nothing), an end tag, a text or a document type. It reports false at the end.
func (t *tokenReader) next() bool {
	for {
		if t.raw {
			if t.readRaw() {
				return true
			}
			continue
		}
		switch n, found := t.textEnd(); {
		case n > 0:
			t.readText(n, found)
			return true
		case !found:
			return false
		case t.markup():
			return true
		}
	}
}

// textEnd gives how many bytes of text come next, and whether there is something else behind them. Of a
// long text it gives textRoom bytes.
func (t *tokenReader) textEnd() (n int, found bool) {
	for {
		b := t.rest()
		b = b[:min(len(b), textRoom)]
		for n < len(b) {
			i := bytes.IndexByte(b[n:], '<')
			if i < 0 {
				n = len(b)
				break
			}
			if n += i; n+1 == len(b) {
				break
			}
			if c := b[n+1]; isLetter(c) || c == '/' || c == '!' || c == '?' {
				return n, true
			}
			n++
		}
		if !t.more(textRoom) {
			return len(b), false
		}
	}
}

// markup reads what begins with "<" (HTML, section 13.2.5.6). It reports false if that is nothing that next
// gives.
func (t *tokenReader) markup() bool {
	if len(t.rest()) < len("<!DOCTYPE") {
		t.more(textRoom)
	}
	switch b := t.rest(); {
	case b[1] == '!':
		return t.declaration()
	case b[1] == '?':
		t.skipTag(1)
	case b[1] != '/':
		return t.readTag(html.StartTagToken, 1)
	case len(b) == len("</"): // which is text at the end
		t.readText(len(b), true)
		return true
	case isLetter(b[2]):
		return t.readTag(html.EndTagToken, 2)
	default:
		t.skipTag(2)
	}
	return false
}

// declaration reads what begins with "<!" likewise.
func (t *tokenReader) declaration() bool {
	b := t.rest()
	switch {
	case bytes.HasPrefix(b, []byte("<!--")):
		t.skipComment()
		return false
	case !hasPrefixFold(b, "<!DOCTYPE"):
		t.skipTag(2)
		return false
	}
	end := bytes.IndexByte(t.token(), '>')
	for end < 0 && t.more(maxToken) {
		end = bytes.IndexByte(t.token(), '>')
	}
	if b = t.token(); end < 0 {
		if len(b) == maxToken {
			t.skipTag(maxToken)
			return false
		}
		end = len(b) // that of the page
	}
	t.kind, t.text = html.DoctypeToken, b[skipSpace(b[:end], len("<!DOCTYPE")):end]
	t.pos += min(end+1, len(b))
	t.decodeText(true)
	return true
}

// skipTag passes the next ">" from byte i of the rest on.
func (t *tokenReader) skipTag(i int) {
	t.pos += min(i, len(t.rest()))
	for {
		if n := bytes.IndexByte(t.rest(), '>'); n >= 0 {
			t.pos += n + 1
			return
		}
		if t.pos = len(t.buf); !t.more(readRoom) {
			return
		}
	}
}

// skipComment passes a comment (HTML, section 13.2.5.43 on).
func (t *tokenReader) skipComment() {
	t.pos += len("<!--")
	for len(t.rest()) < len("->") && t.more(readRoom) {
	}
	for _, s := range []string{">", "->"} {
		if bytes.HasPrefix(t.rest(), []byte(s)) {
			t.pos += len(s)
			return
		}
	}
	for i := 0; ; {
		b := t.rest()
		n := bytes.IndexByte(b[i:], '>')
		if n >= 0 {
			i += n + 1
			if bytes.HasSuffix(b[:i], []byte("-->")) || bytes.HasSuffix(b[:i], []byte("--!>")) {
				t.pos += i
				return
			}
			continue
		}
		t.pos += max(0, len(b)-len("--!")) // with which it may end
		if i = len(t.rest()); !t.more(readRoom) {
			t.pos = len(t.buf)
			return
		}
	}
}

// readTag reads the tag whose name is at byte name of the rest. It reports false if it is too long, or
// has no end.
func (t *tokenReader) readTag(kind html.TokenType, name int) bool {
	n := t.tag(name)
	for n == 0 {
		if !t.more(maxToken) {
			t.skipTag(maxToken)
			return false
		}
		n = t.tag(name)
	}
	t.pos += n
	t.kind, t.in = kind, otherElement
	if kind == html.EndTagToken {
		t.attrs = t.attrs[:0]
		return true
	}
	for i := range t.attrs {
		t.attrs[i].decode()
	}
	if t.el.is&isRawElement != 0 {
		t.in, t.raw, t.given, t.script = t.el, true, false, scriptText{}
	}
	return true
}

// tag reads a tag whose name is at byte name of the rest, but for what is decoded in it. It gives its length; 0 if
// its end is not there.
func (t *tokenReader) tag(name int) int {
	b := t.token()
	rest := t.readName(b[name:])
	n := t.readAttrs(rest)
	if n == 0 {
		return 0
	}
	return len(b) - len(rest) + n
}

// readName reads the name of a tag, which b begins with, and gives what is behind it.
func (t *tokenReader) readName(b []byte) []byte {
	n, has := 0, byteKind(0)
	for n < len(b) {
		k := byteKinds[b[n]]
		if k&byteTagName == 0 {
			break
		}
		has |= k
		n++
	}
	name := b[:n]
	if has&byteUpper != 0 {
		lower(name)
	}
	if t.el = htmlElements.find(name); t.el != nil {
		t.name = t.el.name
		return b[n:]
	}
	t.el = otherElement
	if has&byteOdd != 0 {
		name = bytes.ReplaceAll(name, []byte{0}, []byte("\ufffd"))
	}
	if t.name != string(name) {
		t.name = string(name)
	}
	return b[n:]
}

// readAttrs reads the attributes of a tag as the tokenizer does (HTML, section 13.2.5.32 on). b is what is
// behind its name. It gives what is behind the ">" that ends the tag; 0 if that is not there.
func (t *tokenReader) readAttrs(b []byte) int {
	t.attrs = t.attrs[:0]
	var seen attrSet
	i := skipSpace(b, 0)
	for ; i < len(b) && b[i] != '>'; i = skipSpace(b, i) {
		start, has := i, byteKind(0)
		if b[i] == '=' {
			i++ // the first character of a name
		}
		for i < len(b) {
			k := byteKinds[b[i]]
			if k&byteAttrKey == 0 {
				break
			}
			has |= k
			i++
		}
		key := b[start:i]
		if has&byteUpper != 0 {
			lower(key)
		}
		a := tagAttr{attribute: htmlAttrs.find(key)}
		if a.value, a.has, i = attrValue(b, skipSpace(b, i)); a.attribute != nil && !seen.has(a.id) {
			seen.add(a.id)
			t.attrs = append(t.attrs, a)
		}
	}
	if i >= len(b) {
		return 0
	}
	return i + 1
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && byteKinds[b[i]]&byteBlank != 0 {
		i++
	}
	return i
}

// attrValue reads the value of an attribute from behind its name on; there may be none. It gives the kinds
// of its bytes, and what is behind it.
func attrValue(b []byte, i int) (value []byte, has byteKind, next int) {
	switch {
	case i < len(b) && b[i] == '/':
		return nil, 0, i + 1
	case i == len(b) || b[i] != '=':
		return nil, 0, i
	}
	if i = skipSpace(b, i+1); i == len(b) || b[i] == '>' {
		return nil, 0, i
	}
	start, quote := i, b[i]
	if quote == '"' || quote == '\'' {
		for i, start = i+1, i+1; i < len(b) && b[i] != quote; i++ {
			has |= byteKinds[b[i]]
		}
		return b[start:i], has, min(i+1, len(b))
	}
	for ; i < len(b) && b[i] != '>' && byteKinds[b[i]]&byteBlank == 0; i++ {
		has |= byteKinds[b[i]]
	}
	return b[start:i], has, i
}

// attr is the value of an attribute; empty if there is none.
func (t *tokenReader) attr(name string) []byte {
	for i := range t.attrs {
		if t.attrs[i].name == name {
			return t.attrs[i].value
		}
	}
	return nil
}

// readText takes n bytes as a text; if nothing was found behind them, as a piece of a long one.
func (t *tokenReader) readText(n int, found bool) {
	t.kind, t.text = html.TextToken, t.rest()[:n]
	if !found && n == textRoom {
		t.text = t.text[:pieceEnd(t.text)]
	}
	t.pos += len(t.text)
	t.decodeText(true)
}

// pieceEnd is where a piece of a text that goes on can end.
func pieceEnd(b []byte) int {
	cut := len(b)
	if i := bytes.LastIndexAny(b[cut-maxEntity-2:], "<&\r"); i >= 0 {
		cut += i - maxEntity - 2 // a tag, a character reference or a line break may go on
	}
	return fullRunes(b[:cut]) // so may a character
}

// decodeText converts the line breaks of the text, and decodes the character references if it may have
// some.
func (t *tokenReader) decodeText(references bool) {
	t.has = kindsOf(t.text)
	t.convertBreaks()
	if references && t.has&byteAmp != 0 {
		t.text = []byte(html.UnescapeString(string(t.text)))
		t.has = kindsOf(t.text)
	}
}

// convertBreaks makes one LF of each line break of the text, in place (HTML, section 13.2.3.5).
func (t *tokenReader) convertBreaks() {
	if t.has&byteOdd == 0 {
		return
	}
	b, to := t.text, 0
	for from := 0; from < len(b); {
		n := bytes.IndexByte(b[from:], '\r')
		if n < 0 {
			n = len(b) - from
		}
		to += copy(b[to:], b[from:from+n])
		if from += n; from < len(b) {
			b[to] = '\n'
			to++
			if from++; from < len(b) && b[from] == '\n' {
				from++
			}
		}
	}
	t.text, t.has = b[:to], t.has&^byteOdd
}
