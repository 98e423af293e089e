package sanitize

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html"
)

const (
	// textRoom is how much of a long text is read at once.
	textRoom = 64 << 10
	// maxToken is how many bytes a tag, a comment or a style sheet may have; of a longer one
	// nothing is left but, of a style sheet, its beginning. A picture within an attribute is what
	// needs room.
	maxToken = 4 << 20
)

// A tokenReader reads HTML token by token, by golang.org/x/net/html, in memory that does not
// depend on its size. It is for those who write what they read anew, so that it does not matter
// what another reader takes for a tag: of what they leave out nothing comes through.
type tokenReader struct {
	r   io.Reader // what follows the tokenizer's buffer
	z   *html.Tokenizer
	err error // that of r; nil at its end

	kind  html.TokenType
	el    *htmlElement // of a tag; otherElement if its name is not known
	name  string       // of a tag
	attrs []tagAttr    // of a start tag, those that are known; each name once
	text  []byte       // of a text with character references decoded, or a document type; good until the next call
	has   byteKind     // the kinds of what is in a text

	in      *htmlElement // whose raw text is read; otherElement outside of one
	goes    bool         // the raw text began before
	room    int          // how much a token may have at once
	carried []byte       // the end of a piece of text, which belongs to the next; nil but behind one
}

// A tagAttr is an attribute of a start tag. Its value has its character references decoded, and is good
// until the next call.
type tagAttr struct {
	*attribute
	value []byte
	has   byteKind // the kinds of what is in it
}

func newTokenReader(r io.Reader) *tokenReader {
	t := &tokenReader{r: r, in: otherElement}
	t.restart(html.NewTokenizer(r), textRoom)
	return t
}

func (t *tokenReader) restart(z *html.Tokenizer, room int) {
	t.z = z
	t.setRoom(room)
}

// setRoom sets how much the next token may have at once.
func (t *tokenReader) setRoom(n int) {
	t.room = n
	t.z.SetMaxBuf(n)
}

// next reads the next token: a start tag (never html.SelfClosingTagToken, as in HTML a slash means
// nothing), an end tag, a text or a document type. It reports false at the end.
func (t *tokenReader) next() bool {
	for {
		switch kind := t.z.Next(); kind {
		case html.ErrorToken:
			if !t.goOn() {
				return false
			}
		case html.TextToken:
			t.kind = kind
			if t.readText() {
				return true
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			t.kind = html.StartTagToken
			t.readTag()
			return true
		case html.EndTagToken:
			t.kind, t.in, t.goes, t.attrs = kind, otherElement, false, t.attrs[:0]
			t.readName(t.z.Raw()[len("</"):])
			t.setRoom(textRoom)
			return true
		case html.DoctypeToken:
			t.kind, t.text = kind, t.z.Text()
			return true
		default: // a comment
			t.setRoom(textRoom)
		}
	}
}

// rawElements are those whose content is read as text, by HTML (section 13.2.5.1) and by the
// tokenizer.
var rawElements = set("iframe noembed noframes plaintext script style textarea title xmp")

// readTag reads a start tag. It does so anew, out of the bytes that are a tag for the tokenizer, which
// would copy each name and each value.
func (t *tokenReader) readTag() {
	rest := t.readName(t.z.Raw()[len("<"):])
	t.readAttrs(rest)
	if t.name == "noscript" {
		t.z.NextIsNotRawText() // mail clients run no scripts
	}
	if t.el.is&isRawElement != 0 {
		t.in, t.goes = t.el, false
	}
	room := textRoom
	if t.in.name == "style" {
		room = maxToken
	}
	t.setRoom(room)
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

// readAttrs reads the attributes of a start tag as the tokenizer does (HTML, section 13.2.5.32 on). b is
// what is behind its name.
func (t *tokenReader) readAttrs(b []byte) {
	t.attrs = t.attrs[:0]
	var seen attrSet
	for i := skipSpace(b, 0); i < len(b) && b[i] != '>'; i = skipSpace(b, i) {
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
			a.decode()
			t.attrs = append(t.attrs, a)
		}
	}
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

// readText takes a text, or a piece of a long one. It reports false if there is nothing in it yet.
func (t *tokenReader) readText() bool {
	raw := t.z.Raw()
	switch {
	case t.in == otherElement:
	case t.in.is&isSilentElement != 0 || t.in.name == "style": // CSS takes CR for white space too
		t.text, t.has = raw, kindsNotKnown
		return true
	default:
		t.text, t.has = t.z.Text(), kindsNotKnown
		return true
	}
	if len(raw) < t.room {
		t.text, t.has = raw, kindsOf(raw)
		if t.has&byteAmp != 0 {
			t.text = t.z.Text()
			t.has = kindsOf(t.text)
		} else {
			t.convertBreaks() // which Text does too, before it decodes
		}
		t.setRoom(textRoom)
		return true
	}
	cut := len(raw)
	if i := bytes.LastIndexAny(raw[cut-maxEntity-2:], "<&\r"); i >= 0 {
		cut += i - maxEntity - 2 // a tag, a character reference or a line break may go on
	}
	for i := cut - 1; i >= cut-utf8.UTFMax; i-- { // so may a character
		if utf8.RuneStart(raw[i]) {
			if !utf8.FullRune(raw[i:cut]) {
				cut = i
			}
			break
		}
	}
	t.carried, t.text = raw[cut:], raw[:cut]
	t.has = kindsOf(t.text)
	t.convertBreaks()
	if t.has&byteAmp != 0 {
		t.text = []byte(html.UnescapeString(string(t.text)))
		t.has = kindsOf(t.text)
	}
	return true
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

// goOn goes on behind a token that did not fit; it reports false at the end.
func (t *tokenReader) goOn() bool {
	err := t.z.Err()
	if !errors.Is(err, html.ErrBufferExceeded) {
		if !errors.Is(err, io.EOF) {
			t.err = err
		}
		return false
	}
	raw := t.z.Raw() // no other tokenizer writes to this one's buffer
	rest := io.MultiReader(bytes.NewReader(t.z.Buffered()), t.r)
	switch {
	case t.carried != nil: // behind a piece of text
		t.r = io.MultiReader(bytes.NewReader(t.carried), rest)
		t.carried = nil
		t.restart(html.NewTokenizer(t.r), textRoom)
	case t.in != otherElement: // behind a piece of raw text
		t.r, t.goes = io.MultiReader(strings.NewReader(t.in.tag+">"), rest), true
		t.restart(html.NewTokenizer(t.r), textRoom)
		t.z.Next() // the tag, by which it knows that raw text follows
		t.r = rest
	case t.room < maxToken:
		t.r = io.MultiReader(bytes.NewReader(raw), rest)
		t.restart(html.NewTokenizer(t.r), maxToken)
	default:
		t.r = rest
		end := ">"
		if bytes.HasPrefix(raw, []byte("<!--")) {
			end = "-->"
		}
		t.r = skipTo(rest, end)
		t.restart(html.NewTokenizer(t.r), textRoom)
	}
	return true
}

// skipTo gives what is behind the first end.
func skipTo(r io.Reader, end string) io.Reader {
	buf := make([]byte, 32<<10)
	have := 0
	for {
		n, err := r.Read(buf[have:])
		have += n
		if i := strings.Index(string(buf[:have]), end); i >= 0 {
			return io.MultiReader(bytes.NewReader(bytes.Clone(buf[i+len(end):have])), r)
		}
		if err != nil {
			return bytes.NewReader(nil)
		}
		keep := min(have, len(end)-1)
		have = copy(buf, buf[have-keep:have])
	}
}
