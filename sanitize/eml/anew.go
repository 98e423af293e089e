package eml

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// An anewWriter writes entities in the one form that all clients read alike: each Content field
// once, one boundary, which nothing else holds, nothing before the first and behind the last
// part, content as 7bit text or in base64, CRLF at the end of each line and nowhere else.
type anewWriter struct {
	w     *bufio.Writer
	lim   Limits
	edits map[*Part][]Edit // to be carried out on the way
	order map[*Part][]Edit // those of content, settled; none of a part where they do not go together
	outer [][]byte         // what begins a delimiter of entities around, which are not written anew
	seed  [sha256.Size]byte
}

// newAnewWriter takes the edits of a patch. Boundaries are made of the hash of all content, so
// that the same message always comes out the same and nobody can put them into it.
func newAnewWriter(m *Message, edits []Edit) *anewWriter {
	a := &anewWriter{lim: Limits{}.withDefaults(), edits: map[*Part][]Edit{}, order: map[*Part][]Edit{}}
	count := map[*Part]int{}
	for i := range edits {
		count[edits[i].Part]++
	}
	for p, n := range count {
		a.edits[p] = make([]Edit, 0, n)
	}
	for _, e := range edits {
		a.edits[e.Part] = append(a.edits[e.Part], e)
	}
	for p := range a.edits {
		if list, err := a.contentEdits(p); err == nil {
			a.order[p] = list
		}
	}
	h := sha256.New()
	m.Root.Walk(func(p *Part) bool {
		if p.leaf && !p.member {
			h.Write(p.SHA256[:])
		}
		return true
	})
	h.Sum(a.seed[:0])
	return a
}

// to writes an entity to w, its header only if that is given.
func (a *anewWriter) to(w io.Writer, e *anewEntity, header []byte) error {
	buf := bufio.NewWriterSize(w, 32<<10) // also keeps the first error
	b := *a
	b.w = buf
	if header != nil {
		b.write(header)
		b.write([]byte("\r\n"))
	}
	if err := b.body(e); err != nil {
		return err
	}
	return buf.Flush()
}

// cuts replace an entity. In the header of the message itself only what changes is cut, because
// the MTA is told of each field.
func (a *anewWriter) cuts(p *Part) ([]cut, error) {
	a.outer = nil
	for q := p.Parent; q != nil; q = q.Parent {
		if b := strings.TrimRight(q.Params["boundary"], " \t"); kindOf(q.MediaType) == kindMultipart {
			a.outer = append(a.outer, []byte("--"+b))
		}
	}
	e, err := a.entity(p)
	if err != nil {
		return nil, err
	}
	if p.Parent != nil {
		return []cut{{start: p.start, end: p.end, encode: func(w io.Writer) error { return a.to(w, e, e.header) }}}, nil
	}
	cuts := a.rootCuts(p, e.content)
	var last [1]byte
	if p.body == p.headerEnd() || !readFull(p.src, last[:], p.body-1) || last[0] != '\n' {
		// The message ended within its header or its empty line, as no MTA hands it on.
		cuts = append(cuts, cut{start: p.headerEnd(), end: p.body, text: []byte("\r\n")})
	}
	return append(cuts, cut{start: p.body, end: p.end, encode: func(w io.Writer) error { return a.to(w, e, nil) }}), nil
}

// rootCuts replaces the Content fields of the message by others, MIME-Version among them, and mends
// what else is in its header.
func (a *anewWriter) rootCuts(p *Part, text []byte) []cut {
	var cuts []cut
	h := &p.Header
	at := int64(0) // what is before it is a field or cut
	for _, f := range h.Fields {
		if f.Start > at {
			cuts = append(cuts, cut{start: p.start + at, end: p.start + f.Start}) // no field at all
		}
		at = f.End
		raw := h.Raw(f)
		if isContentField([]byte(f.Name)) || f.Is("MIME-Version") {
			cuts = append(cuts, cut{start: p.start + f.Start, end: p.start + f.End, text: text})
			text = nil
		} else if plain := h.appendPlainField(nil, f); !bytes.Equal(plain, raw) && !a.edited(p, f) {
			cuts = append(cuts, cut{start: p.start + f.Start, end: p.start + f.End, text: plain})
		}
	}
	switch end := int64(len(h.raw)); {
	case end > at: // no field either
		cuts = append(cuts, cut{start: p.start + at, end: p.start + end, text: text})
	case text != nil:
		cuts = append(cuts, cut{start: p.start + end, end: p.start + end, text: text})
	}
	return cuts
}

// edited reports whether an edit replaces the field.
func (a *anewWriter) edited(p *Part, f Field) bool {
	return slices.ContainsFunc(a.edits[p], func(e Edit) bool {
		return e.Region == InHeader && e.Start <= f.Start && f.End <= e.End
	})
}

// An anewEntity is what an entity is to become.
type anewEntity struct {
	part     *Part
	header   []byte                // whole, without the empty line at its end
	content  []byte                // its Content fields and MIME-Version
	boundary string                // of one that holds parts
	leaf     bool                  // it has content; also what should hold parts and has none
	plain    bool                  // the content goes as it is
	replaced func(io.Writer) error // writes the body that an edit gives it; nil if there is none
}

// entity plans how an entity is written.
func (a *anewWriter) entity(p *Part) (*anewEntity, error) {
	e := &anewEntity{part: p}
	q, err := a.read(p)
	if err != nil {
		return nil, err
	}
	for _, edit := range a.edits[p] {
		if edit.Region == InBody {
			if edit.Start != 0 || edit.End != p.end-p.body {
				return nil, fmt.Errorf("write part %s anew: only a part of its body is replaced", p.ID)
			}
			e.replaced = edit.write
		}
	}
	switch {
	case e.replaced != nil:
	case !p.leaf && len(firstReading(p)) > 0 && kindOf(p.MediaType) == kindMultipart:
		e.boundary = a.boundary(p)
	case p.leaf || kindOf(p.MediaType) == kindMultipart:
		e.leaf = true
		if e.plain, err = a.isPlain(p); err != nil {
			return nil, err
		}
	}
	e.content = e.contentFields(q)
	e.header = append(otherFields(&q.Header, p.Parent == nil || kindOf(p.Parent.MediaType) == kindMessage), e.content...)
	return e, nil
}

// read is the part, or what its header says with its edits. One without edits is not read again: that
// would cost as much as all that was done before.
func (a *anewWriter) read(p *Part) (*Part, error) {
	cuts := a.headerCuts(p)
	if len(cuts) == 0 {
		return p, nil
	}
	h, err := editedHeader(p, cuts)
	if err != nil {
		return nil, err
	}
	q := &Part{ID: p.ID, Parent: p.Parent, Header: *h}
	(&parser{lim: a.lim, others: &others{over: true}, msg: &Message{Root: q}}).classify(q)
	return q, nil
}

// headerCuts are the edits of the header of a part, counted from its start.
func (a *anewWriter) headerCuts(p *Part) (cuts []cut) {
	for _, e := range a.edits[p] {
		if e.Region == InHeader {
			cuts = append(cuts, cut{start: e.Start, end: e.End, text: e.Text})
		}
	}
	return cuts
}

// editedHeader is the header of the part with those edits.
func editedHeader(p *Part, cuts []cut) (*Header, error) {
	cuts, err := settle(cuts)
	if err != nil {
		return nil, err
	}
	var raw []byte
	at := int64(0)
	for _, c := range cuts {
		raw = append(append(raw, p.Header.raw[at:c.start]...), c.text...)
		at = c.end
	}
	raw = append(raw, p.Header.raw[at:]...)
	return headerOf(raw), nil
}

// headerOf takes a header apart; what is no field is left out.
func headerOf(raw []byte) *Header {
	h := &Header{raw: raw}
	var at int64
	for line := range bytes.Lines(raw) {
		end := at + int64(len(line))
		colon := bytes.IndexByte(line, ':')
		name := bytes.TrimRight(line[:max(colon, 0)], " \t")
		switch {
		case continues(line):
			if n := len(h.Fields); n > 0 && h.Fields[n-1].End == at {
				h.Fields[n-1].End = end
			}
		case isFieldName(name):
			h.Fields = append(h.Fields, Field{Name: string(name), Start: at, End: end, value: at + int64(colon) + 1})
		}
		at = end
	}
	return h
}

func (a *anewWriter) boundary(p *Part) string {
	sum := sha256.Sum256(append(a.seed[:], p.ID...))
	return "=_rastel_" + hex.EncodeToString(sum[:16])
}

// isPlain reports whether the edited content can stand in a mail as it is: text in US-ASCII and
// in lines that end with CRLF.
func (a *anewWriter) isPlain(p *Part) (bool, error) {
	if p.leaf && !strings.HasPrefix(p.MediaType, "text/") {
		return false, nil
	}
	c := &plainChecker{plain: true, outer: a.outer}
	if err := a.copyContent(c, p); err != nil && !errors.Is(err, errKnown) {
		return false, err
	}
	return c.plain && c.col <= maxPlainLine && c.last != '\r' && !looksLikeField(c.head), nil
}

// errKnown ends the reading of content of which enough is known.
var errKnown = errors.New("enough is known")

// mustBeEncoded reports whether the edited content cannot stand in a mail as it is: it has lines
// that an MTA breaks, NUL, or a CR that ends no line (RFC 5322 section 2.3).
func (a *anewWriter) mustBeEncoded(p *Part) (bool, error) {
	var m oddMeter
	err := a.copyContent(&m, p)
	if errors.Is(err, errKnown) {
		err = nil
	}
	return m.long || m.odd, err
}

// An oddMeter finds long lines, and bytes that no body may hold, in what is written to it.
type oddMeter struct {
	lineMeter
	odd bool
	cr  bool // the last byte was one
}

func (o *oddMeter) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	o.measure(p)
	o.odd = o.odd || o.cr && p[0] != '\n' || bytes.IndexByte(p, 0) >= 0 || hasLoneCR(p)
	o.cr = p[len(p)-1] == '\r'
	if o.long || o.odd {
		return 0, errKnown
	}
	return len(p), nil
}

// hasLoneCR reports whether a CR is followed by something else than LF.
func hasLoneCR(p []byte) bool {
	for {
		n := bytes.IndexByte(p, '\r')
		if n < 0 || n+1 == len(p) {
			return false
		}
		if p[n+1] != '\n' {
			return true
		}
		p = p[n+2:]
	}
}

// A plainChecker looks at what is written to it.
type plainChecker struct {
	plain bool
	last  byte
	col   int
	head  []byte // how it begins
	outer [][]byte
	tail  []byte // the last bytes, which may begin one of outer
}

func (c *plainChecker) Write(p []byte) (int, error) {
	c.head = append(c.head, p[:min(len(p), 100-len(c.head))]...)
	if len(c.outer) > 0 {
		c.tail = append(c.tail, p...)
		for _, s := range c.outer {
			c.plain = c.plain && !bytes.Contains(c.tail, s)
		}
		c.tail = append(c.tail[:0], c.tail[max(0, len(c.tail)-maxDelimiter):]...)
	}
	for _, b := range p {
		c.col++
		loneLF := b == '\n' && c.last != '\r'
		loneCR := b != '\n' && c.last == '\r'
		if b == 0 || b >= 0x80 || c.col > maxPlainLine+2 || loneLF || loneCR {
			c.plain = false
		}
		if b == '\n' {
			c.col = 0
		}
		c.last = b
	}
	if !c.plain {
		return 0, errKnown
	}
	return len(p), nil
}

// maxPlainLine is the longest line that is written. RFC 5322 section 2.1.1 allows 998.
const maxPlainLine = maxLine

// copyContent writes the decoded content of a leaf with its edits. It reads the raw message, as
// all of a patch does.
func (a *anewWriter) copyContent(w io.Writer, p *Part) error {
	list, err := a.contentEdits(p)
	if err != nil {
		return err
	}
	ew := &editWriter{w: w, edits: slices.Clone(list)} // which uses them up
	buf := getBuffer()
	defer putBuffer(buf)
	encoding := p.Encoding
	if !p.leaf {
		encoding = Identity // a multipart entity without parts
	}
	if err := decodeTo(ew, p.RawBody(), newDecoder(encoding, lenient), buf); err != nil {
		return err
	}
	return ew.finish()
}

// contentEdits gives the edits of a part's content in the order of their places.
func (a *anewWriter) contentEdits(p *Part) ([]Edit, error) {
	if list, ok := a.order[p]; ok {
		return list, nil
	}
	list := make([]Edit, 0, len(a.edits[p]))
	for _, e := range a.edits[p] {
		if e.Region == InContent {
			list = append(list, e)
		}
	}
	return settleContent(p, list)
}

func (a *anewWriter) write(b []byte) {
	_, _ = a.w.Write(b) // the error is that of Flush
}

// body writes what follows the header.
func (a *anewWriter) body(e *anewEntity) error {
	switch {
	case e.replaced != nil:
		return e.replaced(a.w)
	case e.boundary != "":
		return a.parts(e)
	case !e.leaf:
		return a.message(e.part)
	case e.plain:
		return a.copyContent(a.w, e.part)
	}
	enc := &base64Writer{w: a.w}
	if err := a.copyContent(enc, e.part); err != nil {
		return err
	}
	return enc.finish(true)
}

// parts writes the parts of a multipart entity.
func (a *anewWriter) parts(e *anewEntity) error {
	for _, c := range firstReading(e.part) {
		inner, err := a.entity(c)
		if err != nil {
			return err
		}
		a.write([]byte("--" + e.boundary + "\r\n"))
		a.write(inner.header)
		a.write([]byte("\r\n"))
		if err := a.body(inner); err != nil {
			return err
		}
		a.write([]byte("\r\n"))
	}
	a.write([]byte("--" + e.boundary + "--\r\n"))
	return nil
}

// firstReading are the parts of an entity that most clients see.
func firstReading(p *Part) []*Part {
	return slices.DeleteFunc(slices.Clone(p.Children), func(c *Part) bool { return c.member || c.Reading != "" })
}

// message writes the message that an entity encapsulates.
func (a *anewWriter) message(p *Part) error {
	list := firstReading(p)
	if len(list) == 0 {
		return nil
	}
	inner, err := a.entity(list[0])
	if err != nil {
		return err
	}
	a.write(inner.header)
	a.write([]byte("\r\n"))
	return a.body(inner)
}

// keptFields are Content fields that mean the same in any form of the content.
var keptFields = []string{"Content-ID", "Content-Description", "Content-Location", "Content-Language"}

// contentFields are the Content fields of an entity whose header, with its edits, is that of q.
func (e *anewEntity) contentFields(q *Part) []byte {
	var b bytes.Buffer
	if e.part.Parent == nil {
		b.WriteString("MIME-Version: 1.0\r\n")
	}
	mediaType := q.MediaType
	if e.part.leaf && e.replaced == nil && kindOf(mediaType) != kindLeaf {
		mediaType = e.part.MediaType // an edit of its header must not make it what it was not judged as
	}
	plain := len(mediaType) <= 127 && validType(mediaType) && isToken(strings.Replace(mediaType, "/", "", 1))
	switch {
	case e.leaf && !e.part.leaf:
		mediaType = "text/plain" // a multipart entity without parts
	case e.boundary != "" && (!plain || kindOf(mediaType) != kindMultipart): // an edit of its header took it for a file
		mediaType = "multipart/mixed"
	case e.leaf && (kindOf(mediaType) != kindLeaf || !plain):
		mediaType = "application/octet-stream"
	}
	b.WriteString("Content-Type: " + mediaType)
	params := make([]string, 0, len(q.Params))
	for name := range q.Params {
		if name != "boundary" && !IsNameParam(name) && !strings.ContainsAny(q.Params[name], "\"\\;") {
			params = append(params, name)
		}
	}
	slices.Sort(params)
	for _, name := range params {
		writeParam(&b, name, q.Params[name])
	}
	switch {
	case e.boundary != "":
		writeParam(&b, "boundary", e.boundary)
	case e.replaced != nil && kindOf(mediaType) == kindMultipart: // the edit gives it parts
		writeParam(&b, "boundary", q.Params["boundary"])
	}
	b.WriteString("\r\n")
	e.encodingField(&b, q)
	e.dispositionField(&b, q)
	for _, name := range keptFields {
		if v := q.Header.Get(name); v != "" && isPlainValue(v) {
			b.WriteString(name + ": " + v + "\r\n")
		}
	}
	return b.Bytes()
}

func (e *anewEntity) encodingField(b *bytes.Buffer, q *Part) {
	switch {
	case e.replaced != nil:
		if q.Encoding != Identity {
			b.WriteString("Content-Transfer-Encoding: " + q.Encoding.String() + "\r\n")
		}
	case e.leaf && !e.plain:
		b.WriteString("Content-Transfer-Encoding: base64\r\n")
	}
}

// dispositionField writes the one name that an attachment has from now on: the first of all that
// clients would show, in both forms that they read.
func (e *anewEntity) dispositionField(b *bytes.Buffer, q *Part) {
	if q.Disposition == "" && len(q.Names) == 0 || e.leaf && !e.part.leaf { // a name of what is no file
		return
	}
	d := q.Disposition
	if d != "inline" {
		d = "attachment"
	}
	b.WriteString("Content-Disposition: " + d)
	if len(q.Names) > 0 {
		name := safeName(q.Names[0])
		ascii := strings.Map(func(r rune) rune {
			if r >= 0x7f || strings.ContainsRune(notPlain, r) || r == '%' {
				return '_'
			}
			return r
		}, name)
		writeParam(b, "filename", ascii)
		if ascii != name {
			b.WriteString(";\r\n\tfilename*=utf-8''" + url.PathEscape(name))
		}
	}
	b.WriteString("\r\n")
}

// maxAnewName is how many bytes of a name are kept.
const maxAnewName = 200

// safeName is a name without what clients do not show or do not agree about.
func safeName(name string) string {
	name = strings.ReplaceAll(strings.ToValidUTF8(name, "_"), "=?", "__") // it is no encoded word any more
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return '_'
		}
		return r
	}, name)
	for len(name) > maxAnewName { // its end, which is what counts
		_, n := utf8.DecodeRuneInString(name)
		name = name[n:]
	}
	return name
}

// notPlain are characters in a quoted value that some client takes for more than themselves.
const notPlain = `"\;?`

// writeParam writes a parameter on a line of its own; one that does not fit, or that clients may read
// in several ways, is left out.
func writeParam(b *bytes.Buffer, name, value string) {
	if !isToken(name) || len(name)+len(value) > maxPlainLine/2 || !isPlainValue(value) || strings.ContainsAny(value, notPlain) {
		return
	}
	fmt.Fprintf(b, ";\r\n\t%s=\"%s\"", name, value)
}

// isToken reports whether s is a token (RFC 2045 section 5.1).
func isToken(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?=`, r)
	}) < 0
}

func isPlainValue(s string) bool {
	return len(s) <= maxPlainLine-100 && strings.IndexFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r >= 0x7f }) < 0
}
