// Package vobject reads the lines of iCalendar (RFC 5545) and vCard (RFC 6350, RFC 2426, and the
// vCard 2.1 of the Versit consortium) as programs do, and tells where in the file each byte of them
// stands. It accepts everything, and keeps nothing but one line.
package vobject

import (
	"bytes"
	"path"
	"slices"
	"sort"
	"strings"
)

// A Kind is what a file is.
type Kind uint8

const (
	None Kind = iota
	Calendar
	Card
)

// KindOf tells what a file with that media type, those names and that beginning is to some program.
func KindOf(mediaType string, names []string, head []byte) Kind {
	switch mediaType {
	case "text/calendar", "application/ics", "text/x-vcalendar", "application/calendar", "text/ics":
		return Calendar
	case "text/vcard", "text/x-vcard", "text/directory", "application/vcard", "application/x-vcard":
		return Card
	}
	for _, n := range names {
		switch strings.ToLower(path.Ext(strings.TrimRight(n, ". \"'"))) {
		case ".ics", ".ifb", ".vcs", ".ical", ".icalendar":
			return Calendar
		case ".vcf", ".vcard":
			return Card
		}
	}
	head = bytes.ReplaceAll(head, []byte{0}, nil) // UTF-16
	head = bytes.TrimLeft(head, "\xef\xbb\xbf\xff\xfe \t\r\n")
	switch {
	case hasPrefixFold(head, "BEGIN:VCALENDAR"):
		return Calendar
	case hasPrefixFold(head, "BEGIN:VCARD"):
		return Card
	}
	return None
}

// HeadSize is how much of the beginning of a file KindOf looks at.
const HeadSize = 256

func hasPrefixFold(b []byte, s string) bool {
	return len(b) >= len(s) && strings.EqualFold(string(b[:len(s)]), s)
}

// Limits of what is read of one line. What is beyond them is not lost: Over says so.
const (
	maxHead   = 64 << 10 // bytes of name and parameters
	maxParams = 100
	// maxPieces is in how many lines a property may stand: 75 MB in lines that are as long as they
	// should be.
	maxPieces = 1 << 20
)

// A Line is a property, with all lines that it is folded into.
type Line struct {
	Name   string // in upper case, without the group before it
	NameAt int    // where the name begins in the file
	Params []Param
	Value  Text
	// Colon says that there is a value; without it the line is none of the format.
	Colon bool
	// Divided says that a fold, or a control character, is in the name or a control character in the
	// parameters, so that programs may see others.
	Divided bool
	// Over says that the line is longer than the limits, so that not all of it is known.
	Over bool

	quoted bool // the value is quoted-printable
	base64 bool
}

// A Param is a parameter of a property. One without a name is of vCard 2.1, and named TYPE.
type Param struct {
	Name  string // in upper case
	Value string // without quotes
	At    int    // where its name begins in the file
}

// Param gives the values of the parameter with that name.
func (l *Line) Param(name string) []string {
	var out []string
	for _, p := range l.Params {
		if p.Name == name {
			out = append(out, p.Value)
		}
	}
	return out
}

// Is reports whether a parameter has that value, whatever the case.
func (l *Line) Is(name, value string) bool {
	for _, p := range l.Params {
		if p.Name == name && strings.EqualFold(p.Value, value) {
			return true
		}
	}
	return false
}

// Base64 reports whether the value is encoded so.
func (l *Line) Base64() bool { return l.base64 }

// Quoted reports whether the value is quoted-printable.
func (l *Line) Quoted() bool { return l.quoted }

// A Text is bytes of a file without what folds them. It does not copy them.
type Text struct {
	file   []byte
	pieces []piece
	size   int
	over   bool // it has more pieces than the limit
}

// A piece is the bytes [raw, raw+n) of the file, which are those from at on of the text.
type piece struct{ raw, n, at int }

// Len is its length in bytes.
func (t *Text) Len() int { return t.size }

// Folds reports whether it is folded.
func (t *Text) Folds() bool { return len(t.pieces) > 1 }

// At tells where in the file the byte i of the text is; at the end of the text, behind its last byte.
func (t *Text) At(i int) int {
	if len(t.pieces) == 0 {
		return 0
	}
	k := sort.Search(len(t.pieces), func(k int) bool { return t.pieces[k].at > i }) - 1
	p := t.pieces[max(k, 0)]
	return p.raw + i - p.at
}

// Bytes gives at most the first n bytes.
func (t *Text) Bytes(n int) []byte {
	out := make([]byte, 0, min(n, t.size))
	for _, p := range t.pieces {
		k := min(p.n, n-len(out))
		out = append(out, t.file[p.raw:p.raw+k]...)
	}
	return out
}

// Pieces calls f for each stretch of bytes that stand together, until it returns false.
func (t *Text) Pieces(f func([]byte) bool) {
	for _, p := range t.pieces {
		if !f(t.file[p.raw : p.raw+p.n]) {
			return
		}
	}
}

// WithBlanks gives at most n bytes of the text with a blank for each fold, as some programs leave it,
// and where each of its bytes is in the file.
func (t *Text) WithBlanks(n int) (out []byte, at []int) {
	for i, p := range t.pieces {
		if i > 0 {
			out, at = append(out, ' '), append(at, p.raw)
		}
		for k := range p.n {
			if len(out) >= n {
				return out, at
			}
			out, at = append(out, t.file[p.raw+k]), append(at, p.raw+k)
		}
	}
	return out, at
}

func (t *Text) add(raw, n int) {
	if len(t.pieces) == maxPieces {
		t.over = true
	} else if n > 0 || len(t.pieces) == 0 {
		t.grow()
		t.pieces = append(t.pieces, piece{raw, n, t.size})
		t.size += n
	}
}

// grow makes room for another piece, twice as much as there was: there may be a million.
func (t *Text) grow() {
	if len(t.pieces) == cap(t.pieces) {
		t.pieces = slices.Grow(t.pieces, len(t.pieces)+1)
	}
}

// A Reader reads the lines of a file.
type Reader struct {
	b    []byte
	pos  int
	head Text // the line that is read, without its folds
	// BareCR says that a line ended in CR alone, which not all programs take for the end.
	BareCR bool
}

// NewReader reads b, which must not change.
func NewReader(b []byte) *Reader {
	r := &Reader{b: b}
	if bytes.HasPrefix(b, []byte("\xef\xbb\xbf")) {
		r.pos = 3
	}
	return r
}

// physical gives the next line as it stands in the file, without what ends it.
func (r *Reader) physical() (start, end int, ok bool) {
	if r.pos >= len(r.b) {
		return 0, 0, false
	}
	start = r.pos
	n := bytes.IndexAny(r.b[start:], "\r\n")
	if n < 0 {
		r.pos = len(r.b)
		return start, len(r.b), true
	}
	end = start + n
	switch {
	case r.b[end] == '\n', end+1 == len(r.b):
		r.pos = end + 1
	case r.b[end+1] == '\n':
		r.pos = end + 2
	default:
		r.pos, r.BareCR = end+1, true
	}
	return start, end, true
}

// Next reads the next property; false at the end. The line is overwritten by the next call.
func (r *Reader) Next(l *Line) bool {
	*l = Line{Params: l.Params[:0], Value: Text{file: r.b, pieces: l.Value.pieces[:0]}}
	var start, end int
	for {
		var ok bool
		if start, end, ok = r.physical(); !ok {
			return false
		}
		if len(bytes.Trim(r.b[start:end], " \t\x00")) > 0 {
			break
		}
	}
	r.head = Text{file: r.b, pieces: r.head.pieces[:0]}
	head := &r.head
	for start < end && (r.b[start] == ' ' || r.b[start] == '\t') {
		start++ // a fold of nothing
	}
	head.add(start, end-start)
	for r.folds() {
		start, end, _ := r.physical()
		head.add(start+1, end-start-1)
	}
	r.split(l, head)
	l.Over = l.Over || head.over
	switch {
	case l.quoted:
		r.soft(l)
	case l.base64:
		r.rest(l)
	}
	l.Over = l.Over || l.Value.over
	return true
}

// folds reports whether the next line goes on with the one before (RFC 5545 section 3.1).
func (r *Reader) folds() bool {
	return r.pos < len(r.b) && (r.b[r.pos] == ' ' || r.b[r.pos] == '\t')
}

// soft adds the lines that quoted-printable goes on with (vCard 2.1 section 2.1.3).
func (r *Reader) soft(l *Line) {
	v := &l.Value
	for len(v.pieces) > 0 {
		last := &v.pieces[len(v.pieces)-1]
		n := len(bytes.TrimRight(r.b[last.raw:last.raw+last.n], " \t"))
		if n == 0 || r.b[last.raw+n-1] != '=' {
			return
		}
		start, end, ok := r.physical()
		if !ok || len(v.pieces) == maxPieces {
			v.over = ok
			return
		}
		v.size -= last.n - (n - 1)
		last.n = n - 1
		v.grow()
		v.pieces = append(v.pieces, piece{start, end - start, v.size})
		v.size += end - start
	}
}

// rest adds the lines that base64 goes on with though they are not folded, as in vCard 2.1: up to an
// empty line, or one that is a property.
func (r *Reader) rest(l *Line) {
	for {
		before, cr := r.pos, r.BareCR
		start, end, ok := r.physical()
		if !ok {
			return
		}
		if line := r.b[start:end]; len(bytes.TrimSpace(line)) == 0 || bytes.IndexByte(line, ':') >= 0 || bytes.IndexByte(line, ';') >= 0 {
			r.pos, r.BareCR = before, cr
			return
		}
		l.Value.add(start, end-start)
	}
}

// split finds name, parameters and value.
func (r *Reader) split(l *Line, t *Text) {
	head := t.Bytes(maxHead)
	colon, ends := cuts(head, true)
	if colon < 0 {
		colon, ends = cuts(head, false) // a quote that is not closed
	}
	l.Over = colon < 0 && t.size > maxHead || len(ends) > maxParams
	if l.Colon = colon >= 0; !l.Colon {
		colon = len(head)
	}
	nameEnd := append(ends, colon)[0]
	l.Divided = len(t.pieces) > 1 && t.pieces[1].at <= nameEnd && nameEnd > 0 || hasControl(head[:colon])
	begin := 0
	for i, end := range append(ends, colon) {
		if field := head[begin:end]; i == 0 {
			l.name(t, field)
		} else if i <= maxParams {
			l.param(t, begin, field)
		}
		begin = end + 1
	}
	from := colon + 1
	if !l.Colon {
		from = 0 // all of it is text
	}
	l.Value.pieces = slices.Grow(l.Value.pieces, len(t.pieces))
	for _, p := range t.pieces {
		if skip := max(from-p.at, 0); skip <= p.n {
			l.Value.add(p.raw+skip, p.n-skip)
		}
	}
	l.quoted = l.Is("ENCODING", "QUOTED-PRINTABLE") || l.Is("TYPE", "QUOTED-PRINTABLE")
	l.base64 = !l.quoted && (l.Is("ENCODING", "BASE64") || l.Is("ENCODING", "B") || l.Is("TYPE", "BASE64"))
}

// cuts finds the semicolons before the colon that ends name and parameters, and that colon; -1 if
// there is none. Both may stand in quotes.
func cuts(head []byte, quotes bool) (colon int, ends []int) {
	in := false
	for i, c := range head {
		switch {
		case c == '"' && quotes:
			in = !in
		case in:
		case c == ';':
			ends = append(ends, i)
		case c == ':':
			return i, ends
		}
	}
	return -1, ends
}

func hasControl(b []byte) bool {
	return bytes.IndexFunc(b, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) >= 0
}

// plain is a name in upper case, without blanks and control characters.
func plain(b []byte) string {
	return strings.ToUpper(string(bytes.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f {
			return -1
		}
		return r
	}, b)))
}

// name takes the name, which may have a group before it ("item1.URL").
func (l *Line) name(t *Text, field []byte) {
	at := bytes.LastIndexByte(field, '.') + 1
	for at < len(field) && (field[at] <= ' ' || field[at] == 0x7f) {
		at++
	}
	l.Name, l.NameAt = plain(field[at:]), t.At(at)
}

// param takes the parameter that begins at byte begin. It may have several values.
func (l *Line) param(t *Text, begin int, field []byte) {
	for len(field) > 1 && field[0] <= ' ' {
		begin, field = begin+1, field[1:]
	}
	name, value := "TYPE", field
	if i := bytes.IndexByte(field, '='); i >= 0 {
		name, value = plain(field[:i]), field[i+1:]
	}
	at := t.At(begin)
	in, from := false, 0
	for i, c := range value {
		if c == '"' {
			in = !in
		}
		if c == ',' && !in && len(l.Params) < maxParams {
			l.Params = append(l.Params, Param{name, unquoted(value[from:i]), at})
			from = i + 1
		}
	}
	l.Params = append(l.Params, Param{name, unquoted(value[from:]), at})
}

func unquoted(b []byte) string { return strings.ReplaceAll(strings.TrimSpace(string(b)), `"`, "") }
