package eml

import (
	"bufio"
	"bytes"
	"io"
)

// A Wrapping is how an MTA breaks lines that are longer than SMTP allows (RFC 5321 section
// 4.5.3.1.6) when it hands a message on. It does so behind the filter, so that what is one word
// here is two for the recipient: "xonerror=" in a page becomes "onerror=".
type Wrapping uint8

const (
	ByPostfix  Wrapping = iota // smtp_line_length_limit = 998: CRLF and a blank between
	BySendmail                 // L=990 of its SMTP mailers: the same behind an exclamation mark
	wrappings                  // how many there are
)

// Wrappings are all of them.
func Wrappings() []Wrapping { return []Wrapping{ByPostfix, BySendmail} }

// maxLine is the longest line that no MTA breaks.
const maxLine = 990

var wrapRules = [wrappings]struct {
	limit, first, next int // the longest line that is left; how much of a longer one comes before a break
	mark               string
	chunk              int // of a line that is longer the MTA takes so much for a line of its own; 0: any length
}{
	ByPostfix:  {limit: 998, first: 998, next: 997, mark: "\r\n "},
	BySendmail: {limit: maxLine, first: 989, next: 988, mark: "!\r\n ", chunk: 2047},
}

// A breaker breaks a text, from its beginning, as an MTA does.
type breaker struct {
	by      Wrapping
	wrapped bool // within a line, behind a break
	used    int  // bytes of the line's chunk that were read
}

// limits gives the longest line that is left as it is, and how much of a longer one comes before a
// break.
func (k *breaker) limits() (limit, keep int) {
	rule := &wrapRules[k.by]
	if k.wrapped {
		return rule.limit - 1, rule.next // the blank counts
	}
	return rule.limit, rule.first
}

// room is how much of what follows piece must see.
func (k *breaker) room() int {
	limit, _ := k.limits()
	if chunk := wrapRules[k.by].chunk; chunk > 0 {
		return min(limit+2, chunk-k.used)
	}
	return limit + 2
}

// piece gives how many of the next bytes come before the end of a line or a break, and what the MTA
// puts there. b has as many of them as there is room for, or all that are left.
func (k *breaker) piece(b []byte) (n int, mark string) {
	limit, keep := k.limits()
	line := b
	end := bytes.IndexByte(b, '\n')
	if end >= 0 {
		line = bytes.TrimSuffix(b[:end], []byte("\r"))
	}
	if len(line) > limit {
		k.wrapped, k.used = true, k.used+keep
		return keep, wrapRules[k.by].mark
	}
	k.wrapped, k.used = false, 0
	if end >= 0 {
		return end + 1, ""
	}
	return len(b), "" // the end, or that of a chunk
}

// A wrapReader reads what an MTA makes of a text.
type wrapReader struct {
	r     *bufio.Reader
	lines breaker
	buf   []byte
	out   []byte // what of buf is not handed out yet
	err   error
}

func newWrapReader(r io.Reader, by Wrapping) *wrapReader {
	return &wrapReader{r: bufio.NewReaderSize(r, 4<<10), lines: breaker{by: by}}
}

func (w *wrapReader) Read(p []byte) (int, error) {
	for len(w.out) == 0 {
		if w.err != nil {
			return 0, w.err
		}
		w.piece()
	}
	n := copy(p, w.out)
	w.out = w.out[n:]
	return n, nil
}

// piece reads up to the end of a line, or to where it is broken.
func (w *wrapReader) piece() {
	b, err := w.r.Peek(w.lines.room())
	n, mark := w.lines.piece(b)
	if n == len(b) {
		w.err = err
	}
	w.buf = append(append(w.buf[:0], b[:n]...), mark...)
	w.out = w.buf
	_, _ = w.r.Discard(n) // they were peeked at
}

// Breaks are the places at which an MTA breaks the lines of a text, one after the other. A copy goes
// on for itself.
type Breaks struct {
	text  []byte
	lines breaker
	pos   int // how much of the text was read
	next  int // the break behind the last byte asked for; the length of the text if there is none
	n     int // how many breaks come before that
}

// NewBreaks gives those of a text that is sent as it stands.
func NewBreaks(text []byte, by Wrapping) Breaks {
	k := Breaks{text: text, lines: breaker{by: by}}
	k.advance()
	return k
}

// advance finds the next break.
func (k *Breaks) advance() {
	for k.pos < len(k.text) {
		n, mark := k.lines.piece(k.text[k.pos:min(len(k.text), k.pos+k.lines.room())])
		k.pos += n
		if mark != "" {
			k.next = k.pos
			return
		}
	}
	k.next = len(k.text)
}

// After gives the first byte behind byte i before which a line is broken, the length of the text if
// none is, and how many bytes the MTA has put in before byte i. It must not be asked for a byte before
// the last one.
func (k *Breaks) After(i int) (at, added int) {
	for k.next <= i && k.next < len(k.text) {
		k.n++
		k.advance()
	}
	return k.next, k.n * len(wrapRules[k.lines.by].mark)
}

// Append appends the bytes [from, to) as the recipient gets them, from being no less than the last byte asked for.
func (k Breaks) Append(out []byte, from, to int) []byte {
	for from < to {
		at, _ := k.After(from)
		end := min(at, to)
		out = append(out, k.text[from:end]...)
		if end < to {
			out = append(out, wrapRules[k.lines.by].mark...)
		}
		from = end
	}
	return out
}

// A lineMeter finds out whether what is read through it has a line that an MTA breaks.
type lineMeter struct {
	r    io.Reader
	col  int
	long bool
}

func (l *lineMeter) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if !l.long {
		l.measure(p[:n])
	}
	return n, err
}

func (l *lineMeter) measure(p []byte) {
	for !l.long {
		n := bytes.IndexByte(p, '\n')
		if n < 0 {
			l.col += len(p)
			l.long = l.col > maxLine+1 // the CR
			return
		}
		l.long = l.col+n > maxLine+1
		l.col, p = 0, p[n+1:]
	}
}

// HasLongLines reports whether MTAs may break lines in the body of the part. They do no harm to
// base64.
func (p *Part) HasLongLines() bool { return p.long }

// WriteWrapped writes the content of a leaf as its recipient gets it behind an MTA that breaks
// long lines. An edit of the content, if only of nothing, makes a patch write the part in base64,
// so that no MTA does.
func (p *Part) WriteWrapped(w io.Writer, by Wrapping) error {
	buf := getBuffer()
	defer putBuffer(buf)
	return decodeTo(w, newWrapReader(p.RawBody(), by), newDecoder(p.Encoding, p.strict), buf)
}
