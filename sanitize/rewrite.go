package sanitize

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/net/html/charset"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"rastel/sanitize/eml"
)

// ErrNotHTML is returned by Clean and Text for parts that they cannot write anew: what is no HTML,
// and drawings and other XML, of which nothing would be left.
var ErrNotHTML = errors.New("no HTML")

// isPage reports whether a part can be written anew as a page: it is HTML for HTML.Scan, but
// neither a drawing nor a message with pages in it.
func isPage(p *eml.Part) bool {
	if !p.Leaf() || !isHTML(p) || p.Type == "svg" || p.Type == "xml" || p.Type == "mail" || p.MediaType == "image/svg+xml" {
		return false
	}
	if p.Type != "html" && hasExtension(p, archivedExtensions) {
		return false
	}
	return p.Is("text") || p.Type == "data" || p.MediaType == "text/html"
}

// archivedExtensions are those of messages that hold pages.
var archivedExtensions = set("mht mhtml")

// Clean makes the edits by which an HTML part is written anew, with nothing in it but what is
// allowed. It stays in its charset if that has one byte for a character, and else becomes UTF-8.
// The errors are ErrNotHTML and ErrHeader.
func Clean(p *eml.Part) ([]eml.Edit, error) {
	if !isPage(p) || p.Member() {
		return nil, fmt.Errorf("write part %s anew: %w", p.ID, ErrNotHTML)
	}
	media := "text/html"
	if p.MediaType != media && p.MediaType != "application/xhtml+xml" && p.MediaType != "text/xhtml" && p.MediaType != "application/xhtml" {
		media = p.MediaType // of an attachment, which is saved as it is
	}
	write, label := cleanWriter(p, "")
	if len(p.Names) > 0 && mayBeXML(p) { // what is written is HTML, which is no XML
		return writeAnew(p, contentType(p, "text/html", label), dispositionField(p, newName(p.Names, ".html")), write)
	}
	return writeAnew(p, contentType(p, media, label), nil, write)
}

// cleanWriter gives what writes a part anew, with top at the beginning of its body, and in which
// charset it does so.
func cleanWriter(p *eml.Part, top string) (write func(io.Writer) error, label string) {
	from := readingOf(p)
	to, label := from.single()
	return func(w io.Writer) error { return writeClean(w, from.open(p), to, label, top) }, label
}

// textWriter gives what writes a part as text, behind top.
func textWriter(p *eml.Part, top string) func(io.Writer) error {
	from := readingOf(p)
	return func(w io.Writer) error { return writeText(w, from.open(p), len(p.Names) > 0, top) }
}

// Text makes the edits by which an HTML part becomes plain text in UTF-8. The errors are those of
// Clean.
func Text(p *eml.Part) ([]eml.Edit, error) {
	if !isPage(p) || p.Member() {
		return nil, fmt.Errorf("write part %s anew: %w", p.ID, ErrNotHTML)
	}
	var disposition []byte
	if len(p.Names) > 0 {
		disposition = dispositionField(p, newName(p.Names, ".txt"))
	} else if p.Disposition != "" {
		disposition = []byte("Content-Disposition: inline\r\n")
	}
	return writeAnew(p, contentType(p, "text/plain", "utf-8"), disposition, textWriter(p, ""))
}

// newName is the name of a page that is something else now, with its new extension.
func newName(names []string, ext string) string {
	name := strings.TrimPrefix(SafeName(names), defangedName)
	name = strings.ReplaceAll(name, "."+defangedName, "_")
	return name + ext
}

// contentType is a Content-Type field without the parameters that tell of another content.
func contentType(p *eml.Part, media, charset string) []byte {
	b := appendParam([]byte("Content-Type: "+media), "charset", charset)
	if name, ok := p.Params["name"]; ok && media == p.MediaType {
		b = appendParam(b, "name", shorten(strings.ToValidUTF8(name, "_"), maxParam))
	}
	return append(b, "\r\n"...)
}

// writeAnew replaces the content of a part by what write writes, in quoted-printable, its Content-Type
// field, and its Content-Disposition unless that is nil.
func writeAnew(p *eml.Part, fields, disposition []byte, write func(io.Writer) error) ([]eml.Edit, error) {
	prefix, err := bodyPrefix(p)
	if err != nil {
		return nil, fmt.Errorf("write part %s anew: %w", p.ID, err)
	}
	// In that order, which is that of a page that needs no new disposition when it is written once more.
	fields = append(append(fields, "Content-Transfer-Encoding: quoted-printable\r\n"...), disposition...)
	if p.Header.Count("MIME-Version") == 0 && isMessage(p) {
		fields = append([]byte("MIME-Version: 1.0\r\n"), fields...)
	}
	var old []eml.Field
	for _, f := range p.Header.Fields {
		if f.Is("Content-Type") || f.Is("Content-Transfer-Encoding") || f.Is("Content-Length") || f.Is("Content-MD5") ||
			f.Is("Content-Disposition") && disposition != nil {
			old = append(old, f)
		}
	}
	edits := replaceFields(nil, p, old, fields)
	if len(old) == 0 {
		end := int64(len(p.Header.Bytes()))
		edits = append(edits, eml.Edit{Part: p, Region: eml.InHeader, Start: end, End: end, Text: fields})
	}
	return append(edits, eml.Edit{Part: p, Region: eml.InBody, Start: 0, End: -1, Write: inQP(prefix, write)}), nil
}

// inQP writes in quoted-printable, behind a prefix.
func inQP(prefix string, write func(io.Writer) error) func(io.Writer) error {
	return func(w io.Writer) error {
		if _, err := io.WriteString(w, prefix); err != nil {
			return err
		}
		qp := &qpWriter{w: w}
		if err := write(qp); err != nil {
			return err
		}
		return qp.Close()
	}
}

// endsInHeader reports whether a part has no body, not even an empty one: what is put in would be a part of
// its header.
func endsInHeader(p *eml.Part) bool {
	prefix, err := bodyPrefix(p)
	return err != nil || prefix != ""
}

// bodyPrefix is what must be written before a new body, so that the empty line which ends the
// header is whole.
func bodyPrefix(p *eml.Part) (string, error) {
	header := p.Header.Bytes()
	gap := p.Raw().Size() - p.RawBody().Size() - int64(len(header))
	switch {
	case gap > 2, gap == 0 && !endsInBreak(header):
		return "", ErrHeader
	case gap == 1 && byteIs(p, int64(len(header)), '\r'): // the message ends in its empty line
		return "\n", nil
	case gap == 0: // a delimiter, or the end, came before the empty line that ends a header
		return "\r\n", nil
	}
	return "", nil
}

// A reading is how clients read the characters of a page.
type reading struct {
	enc  encoding.Encoding // nil is UTF-8
	name string
}

// readingOf tells how most clients read a page: by its first bytes, by its label, by what it says
// of itself, or by what its bytes can be (HTML, section 13.2.3).
func readingOf(p *eml.Part) reading {
	head := p.Head(1024)
	switch {
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		return reading{name: "utf-8"}
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("<\x00")):
		return named("utf-16le")
	case bytes.HasPrefix(head, []byte("\xfe\xff")), bytes.HasPrefix(head, []byte("\x00<")):
		return named("utf-16be")
	}
	if label := p.Charset(); label != "" && label != "us-ascii" {
		if r := named(label); r.name != "" {
			return r
		}
	}
	if _, name, certain := charset.DetermineEncoding(head, ""); certain || name != "utf-8" && name != "windows-1252" {
		if r := named(name); r.name != "" {
			return r
		}
	}
	if isUTF8(p.Content()) {
		return reading{name: "utf-8"}
	}
	return reading{charmap.Windows1252, "windows-1252"}
}

// named is the reading by the name of a charset; without a name if that is unknown.
func named(label string) reading {
	e, err := htmlindex.Get(label)
	name := label
	if err == nil && e != encoding.Replacement {
		name, err = htmlindex.Name(e)
	} else {
		e, err = ianaindex.MIME.Encoding(label)
	}
	switch {
	case err != nil || e == nil:
		return reading{}
	case name == "utf-8":
		e = nil
	}
	return reading{e, name}
}

// single is the charset in which the page is written: its own if that has ASCII and one byte for a
// character, as all that htmlindex knows have.
func (r reading) single() (*charmap.Charmap, string) {
	if cm, ok := r.enc.(*charmap.Charmap); ok {
		if e, err := htmlindex.Get(r.name); err == nil && e == r.enc {
			return cm, r.name
		}
	}
	return nil, "utf-8"
}

// open gives the content of a page in UTF-8.
func (r reading) open(p *eml.Part) io.Reader {
	content := bufio.NewReaderSize(p.Content(), 32<<10)
	if mark, _ := content.Peek(3); slices.Equal(mark, []byte("\xef\xbb\xbf")) {
		_, _ = content.Discard(3)
	}
	enc := r.enc
	if enc == nil {
		return transform.NewReader(content, utf8Decoder{unicode.UTF8.NewDecoder()})
	}
	return transform.NewReader(content, enc.NewDecoder())
}
