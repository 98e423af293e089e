package office

import (
	"bufio"
	"bytes"
	"html"
	"io"
	"strings"

	"rastel/scanners"
)

const (
	// window is how much is read at a time.
	window = 32 << 10
	// maxTag is how many bytes of a tag are looked at.
	maxTag = 64 << 10
	// maxText is how many bytes of a text are kept.
	maxText = 4 << 10
)

// A tags reads the tags of XML, and no more: comments, namespaces and whether it is well-formed do not
// matter, because what is one too many does no harm. Of UTF-16 what is ASCII is read.
type tags struct {
	in    *bufio.Reader
	text  []byte       // between the last tag and this one, the beginning of it
	whole func([]byte) // is given all text, in pieces; may be nil
}

func newTags(r io.Reader) *tags {
	return &tags{in: bufio.NewReaderSize(scanners.WithoutZeros(r), window)}
}

// A tag is one. Names are without their prefix, values without references.
type tag struct {
	name  string
	end   bool // it ends an element
	empty bool // it begins and ends one
	attrs []attr
}

type attr struct{ name, value string }

// get gives the value of an attribute, whatever its prefix; empty if there is none.
func (t *tag) get(name string) string {
	for _, a := range t.attrs {
		if a.name == name {
			return a.value
		}
	}
	return ""
}

// next reads to the end of the next tag. The error is that of reading, io.EOF at the end.
func (t *tags) next() (*tag, error) {
	t.text = t.text[:0]
	for {
		piece, err := t.in.ReadSlice('<')
		t.keep(bytes.TrimSuffix(piece, []byte("<")))
		if err == bufio.ErrBufferFull {
			continue
		}
		if err != nil {
			return nil, err
		}
		raw, err := t.tag()
		if err != nil {
			return nil, err
		}
		if raw != nil {
			return parseTag(raw), nil
		}
	}
}

func (t *tags) keep(b []byte) {
	if t.whole != nil {
		t.whole(b)
	}
	t.text = append(t.text, b[:min(len(b), maxText-len(t.text))]...)
}

const cdata = "![CDATA["

// tag reads a tag, whose "<" was read, to its end; nil if it was none but text. Within quotes it has
// none. What it gives is good until more is read.
func (t *tags) tag() ([]byte, error) {
	ahead, _ := t.in.Peek(t.in.Buffered())
	if i := bytes.IndexByte(ahead, '>'); i >= 0 && isPlainTag(ahead[:i]) {
		_, err := t.in.Discard(i + 1)
		return ahead[:i:i], err
	}
	text := []byte{}
	quote := byte(0)
	for {
		c, err := t.in.ReadByte()
		if err != nil {
			return nil, err
		}
		switch {
		case c == '<': // it cannot be in a value: what was before was no tag
			text, quote = text[:0], 0
			continue
		case quote == 0 && c == '>':
			return text, nil
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == quote:
			quote = 0
		}
		if len(text) < maxTag {
			text = append(text, c)
		}
		if string(text) == cdata {
			return nil, t.characters()
		}
	}
}

// isPlainTag reports whether a tag that ends there ends there indeed: there is nothing before that begins
// another, or text, and no quote is open.
func isPlainTag(b []byte) bool {
	if bytes.IndexByte(b, '<') >= 0 || bytes.HasPrefix(b, []byte(cdata)) {
		return false
	}
	for {
		i := bytes.IndexAny(b, `"'`)
		if i < 0 {
			return true
		}
		n := bytes.IndexByte(b[i+1:], b[i])
		if n < 0 {
			return false
		}
		b = b[i+1+n+1:]
	}
}

// characters reads to the end of a CDATA section, which is text.
func (t *tags) characters() error {
	var last [2]byte
	for {
		c, err := t.in.ReadByte()
		if err != nil {
			return err
		}
		if c == '>' && last == [2]byte{']', ']'} {
			t.text = bytes.TrimSuffix(t.text, []byte("]]"))
			return nil
		}
		t.keep([]byte{c})
		last[0], last[1] = last[1], c
	}
}

const blanks = " \t\r\n"

// looked are the elements that are looked at.
var looked = set(`instrText fldChar fldSimple module attachedTemplate AttachedTemplate ddeLink dde-connection-decl dde-source macrosheet
	definedName ocx event-listener Relationship`)

// noTag stands for all elements that are not looked at.
var noTag = &tag{}

func parseTag(raw []byte) *tag {
	text := bytes.Trim(raw, "/")
	end := bytes.IndexAny(text, blanks)
	if end < 0 {
		end = len(text)
	}
	name := text[:end]
	name = name[bytes.LastIndexByte(name, ':')+1:]
	if !looked[string(name)] {
		return noTag
	}
	t := &tag{name: string(name), empty: bytes.HasSuffix(raw, []byte("/")), end: bytes.HasPrefix(raw, []byte("/"))}
	for rest := string(text[end:]); ; {
		key, after, ok := strings.Cut(rest, "=")
		after = strings.TrimLeft(after, blanks)
		if !ok || after == "" || after[0] != '"' && after[0] != '\'' {
			return t
		}
		value, left, ok := strings.Cut(after[1:], after[:1])
		if !ok {
			return t
		}
		rest = left
		t.attrs = append(t.attrs, attr{local(strings.Trim(key, blanks)), html.UnescapeString(value)})
	}
}

func local(name string) string { return name[strings.LastIndexByte(name, ':')+1:] }
