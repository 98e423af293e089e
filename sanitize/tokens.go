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
	name  string           // of a tag
	attrs []html.Attribute // of a start tag, with character references decoded; each name once
	text  []byte           // of a text with character references decoded, or a document type; good until the next call

	raw     string // the element whose raw text is read; empty outside of one
	goes    bool   // the raw text began before
	room    int    // how much a token may have at once
	carried []byte // the end of a piece of text, which belongs to the next; nil but behind one
}

func newTokenReader(r io.Reader) *tokenReader {
	t := &tokenReader{r: r}
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
			t.kind, t.raw, t.goes = kind, "", false
			name, _ := t.z.TagName()
			t.name, t.attrs = string(name), t.attrs[:0]
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

func (t *tokenReader) readTag() {
	name, more := t.z.TagName()
	t.name, t.attrs = string(name), t.attrs[:0]
	for more {
		var key, value []byte
		key, value, more = t.z.TagAttr()
		if len(t.attrs) < maxAttrs && !t.hasAttr(string(key)) {
			t.attrs = append(t.attrs, html.Attribute{Key: string(key), Val: string(value)})
		}
	}
	if t.name == "noscript" {
		t.z.NextIsNotRawText() // mail clients run no scripts
	}
	if rawElements[t.name] {
		t.raw, t.goes = t.name, false
	}
	room := textRoom
	if t.raw == "style" {
		room = maxToken
	}
	t.setRoom(room)
}

func (t *tokenReader) hasAttr(key string) bool {
	for i := range t.attrs {
		if t.attrs[i].Key == key {
			return true
		}
	}
	return false
}

// attr is the value of an attribute; empty if there is none.
func (t *tokenReader) attr(key string) string {
	for i := range t.attrs {
		if t.attrs[i].Key == key {
			return t.attrs[i].Val
		}
	}
	return ""
}

// readText takes a text, or a piece of a long one. It reports false if there is nothing in it yet.
func (t *tokenReader) readText() bool {
	raw := t.z.Raw()
	if len(raw) < t.room || t.raw != "" {
		t.text = t.z.Text()
		if t.raw == "" {
			t.setRoom(textRoom)
		}
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
	t.carried = bytes.Clone(raw[cut:])
	t.text = []byte(html.UnescapeString(string(bytes.ReplaceAll(raw[:cut], []byte("\r\n"), []byte("\n")))))
	return true
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
	raw := bytes.Clone(t.z.Raw())
	rest := io.MultiReader(bytes.NewReader(bytes.Clone(t.z.Buffered())), t.r)
	switch {
	case t.carried != nil: // behind a piece of text
		t.r = io.MultiReader(bytes.NewReader(t.carried), rest)
		t.carried = nil
		t.restart(html.NewTokenizer(t.r), textRoom)
	case t.raw != "": // behind a piece of raw text
		t.r, t.goes = io.MultiReader(strings.NewReader("<"+t.raw+">"), rest), true
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
