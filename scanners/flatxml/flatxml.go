// Package flatxml opens documents that are one file of XML and have others in it in base64: Office
// documents as Flat OPC or Word 2003 XML, flat OpenDocument, drawings of Visio, forms of Acrobat.
package flatxml

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"strings"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// Scanner opens such documents. It reads tags and no more: comments, entities and namespaces would only
// tell which of what looks like a file is none, and what is one too many does no harm.
type Scanner struct{}

// Checks are none: there is always something to read.
func (Scanner) Checks() []eml.Check { return nil }

// Scan finds nothing.
func (Scanner) Scan(context.Context, *eml.Part) ([]eml.Finding, error) { return nil, nil }

// elements have files in them, by their names without a prefix.
var elements = map[string]bool{
	"binaryData":    true, // Flat OPC
	"binData":       true, // Word 2003
	"binary-data":   true, // OpenDocument 1.3 part 3, 19.1
	"ForeignData":   true, // Visio 2003, where macros are in the other
	"VBProjectData": true,
	"chunk":         true, // XDP
}

// encoded is the type that any other element may say it has (XML-Data, datatypes).
const encoded = "bin.base64"

// marks are in all such documents.
var marks = func() [][]byte {
	list := [][]byte{[]byte(encoded)}
	for name := range elements {
		list = append(list, []byte(name))
	}
	return list
}()

const (
	// window is how much is read at a time.
	window = 32 << 10
	// headSize is how much may come before the first tag.
	headSize = 1024
	// maxTag is how many bytes of a tag are looked at.
	maxTag = 16 << 10
	// maxName is how many bytes a name may have.
	maxName = 4 << 10
)

// Opens reports whether p may be such a document: text that begins with a tag and has one of the
// marks in it.
func (Scanner) Opens(p *eml.Part) bool {
	if !p.Is("text") && p.Type != "data" {
		return false
	}
	head := bytes.TrimLeft(p.Head(headSize), "\x00\xef\xbb\xbf\xff\xfe \t\r\n\f")
	return len(head) > 0 && head[0] == '<' && hasMark(p.Content())
}

// hasMark reports whether one of the marks is in r, in an encoding of bytes or UTF-16; and so if r
// cannot be read, because then that is to be said.
func hasMark(r io.Reader) bool {
	found, err := scanners.Contains(scanners.WithoutZeros(r), marks...)
	return found || err != nil
}

// Expand yields the files in the document p.
func (s Scanner) Expand(ctx context.Context, p *eml.Part, b *scanners.Budget, yield func(*eml.Part) error) ([]eml.Finding, error) {
	if !s.Opens(p) {
		return nil, nil
	}
	d := &document{in: bufio.NewReaderSize(scanners.WithoutZeros(scanners.ContextReader(ctx, p.Content())), window)}
	index := 0
	for {
		names, ok, err := d.next()
		if !ok {
			return nil, err
		}
		index++
		m, err := b.Member(ctx, p, index, names, &base64Reader{in: d.in})
		if m == nil {
			return nil, err
		}
		if err != nil {
			m.Release() // the spool failed, not the content
			return nil, err
		}
		if err := yield(m); err != nil {
			return nil, err
		}
	}
}

// A document is one call of Expand.
type document struct {
	in   *bufio.Reader
	part []string // the name of the part of the package that we are in
	xdp  bool     // the document is one that has chunks
}

// next goes to the next file, and gives its names. Without one the error is that of reading, if any.
func (d *document) next() (names []string, ok bool, err error) {
	for {
		if err := d.skipText(); err != nil {
			return nil, false, atEnd(err)
		}
		t, err := d.tag()
		if err != nil {
			return nil, false, atEnd(err)
		}
		switch {
		case t.name == "part":
			d.part = t.names
		case t.name == "xdp":
			d.xdp = true
		case t.empty, t.name == "chunk" && !d.xdp:
		case elements[t.name] || t.encoded:
			if len(t.names) == 0 {
				t.names = d.part
			}
			return t.names, true, nil
		}
	}
}

func atEnd(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// skipText goes behind the next "<".
func (d *document) skipText() error {
	for {
		_, err := d.in.ReadSlice('<')
		if err != bufio.ErrBufferFull {
			return err
		}
	}
}

// A tag is what is looked at of one.
type tag struct {
	name    string // without its prefix
	names   []string
	encoded bool
	empty   bool // it has no content
}

// tag reads a tag, whose "<" was read, to its end. Within quotes it has none.
func (d *document) tag() (*tag, error) {
	var text []byte
	quote := byte(0)
	for {
		c, err := d.in.ReadByte()
		if err != nil {
			return nil, err
		}
		switch {
		case c == '<': // it cannot be in a value: what was before was no tag
			text, quote = text[:0], 0
			continue
		case quote == 0 && c == '>':
			return parseTag(string(text)), nil
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == quote:
			quote = 0
		}
		if len(text) < maxTag {
			text = append(text, c)
		}
	}
}

const blanks = " \t\r\n"

func parseTag(text string) *tag {
	t := &tag{empty: strings.HasSuffix(text, "/")}
	if strings.HasPrefix(text, "/") {
		return t
	}
	name, rest := text, ""
	if i := strings.IndexAny(text, blanks); i >= 0 {
		name, rest = text[:i], text[i:]
	}
	t.name = local(strings.TrimSuffix(name, "/"))
	for {
		key, after, ok := strings.Cut(rest, "=")
		after = strings.TrimLeft(after, blanks)
		if !ok || after == "" {
			return t
		}
		value, left, ok := strings.Cut(after[1:], after[:1])
		if !ok {
			return t
		}
		rest = left
		switch {
		case value == encoded:
			t.encoded = true
		case local(strings.Trim(key, blanks)) == "name" && value != "":
			t.names = append(t.names, unescape(value[max(len(value)-maxName, 0):]))
		}
	}
}

func local(name string) string { return name[strings.LastIndexByte(name, ':')+1:] }
